"""The timeline of a sequence: its contents, their sources, and invalid arguments."""

import itertools
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.exceptions import NotFittedError

from skspecialist import TaskLocalizer
from skspecialist.exceptions import SpecialistWarning
from skspecialist.inspection import TaskTimelineDisplay

CHANCES = np.array([[0.9, 0.1], [0.8, 0.0], [0.2, 0.3], [0.0, 0.7], [0.6, 0.1]])
FOUND = np.array([[1, 0], [1, 0], [0, 0], [0, 1], [1, 0]])
TRUTH = np.array([[0, 0], [1, 0], [1, 0], [1, 1], [0, 0]])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def sequences():
    return np.random.default_rng(0).normal(size=(60, 6, 2))


def fit(sequences, y):
    return TaskLocalizer(max_epochs=3, alpha=0.9, random_state=0).fit(sequences, y)


def n_tasks_of(display):
    return display.values.shape[1]


def shades(display):
    """Return the values behind the shades, (n_cells, n_tasks)."""
    cells = display.ax_.collections[0]
    n_rows = 2 * n_tasks_of(display) - 1
    return cells.get_array().reshape(n_rows, -1)[::2].T


def bars(display):
    """Return (task, side, first step, step after the last) of each bar, side -1 above."""
    boxes = [
        path.get_extents().bounds
        for marks in display.ax_.collections[2:]
        for path in marks.get_paths()
    ]
    centers = [(left, y + height / 2, width) for left, y, width, height in boxes]
    return {
        (round(y), int(np.sign(y - round(y))), round(left + 0.5), round(left + width + 0.5))
        for left, y, width in centers
    }


def test_shades_are_the_probabilities_with_a_gap_between_tasks():
    display = TaskTimelineDisplay.from_predictions(CHANCES)
    np.testing.assert_array_equal(shades(display), CHANCES)
    cells = display.ax_.collections[0]
    assert cells.get_clim() == (0, 1)
    assert np.ma.getmaskarray(cells.get_array()).reshape(3, 5)[1].all()
    assert display.ax_.get_legend() is None
    assert [bar.get_ylabel() for bar in display.ax_.child_axes] == ["probability"]


def test_runs_of_true_steps_are_bars_above_and_found_ones_below():
    display = TaskTimelineDisplay.from_predictions(CHANCES, FOUND, TRUTH)
    found = {(0, 1, 0, 2), (0, 1, 4, 5), (1, 1, 3, 4)}
    true = {(0, -1, 1, 4), (1, -1, 3, 4)}
    assert bars(display) == found | true
    assert bars(TaskTimelineDisplay.from_predictions(CHANCES, FOUND)) == found
    assert bars(TaskTimelineDisplay.from_predictions(CHANCES, true_steps=TRUTH)) == true


def test_legend_explains_each_side_by_its_own_color():
    ax = TaskTimelineDisplay.from_predictions(CHANCES, FOUND, TRUTH).ax_
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["true (above)", "found (below)"]
    explained = [to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    assert explained == [to_hex(marks.get_facecolor()) for marks in ax.collections[2:]]
    assert len(set(explained)) == 2


def test_no_bar_touches_the_shades_or_those_of_the_next_task():
    display = TaskTimelineDisplay.from_predictions(CHANCES, CHANCES >= 0, CHANCES >= 0)
    edges = np.unique(display.ax_.collections[0].get_coordinates()[..., 1]).reshape(-1, 2)
    boxes = [path.get_extents() for m in display.ax_.collections[2:] for path in m.get_paths()]
    spans = sorted([(box.y0, box.y1) for box in boxes] + [tuple(pair) for pair in edges])
    assert len(spans) == 3 * n_tasks_of(display)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


def test_signs_are_told_by_lightness_and_zero_is_in_the_middle():
    display = TaskTimelineDisplay(CHANCES - 0.5).plot()
    cells = display.ax_.collections[0]
    assert cells.get_clim() == (-0.5, 0.5)
    luminance = cells.to_rgba(np.linspace(-0.5, 0.5, 9))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance) < 0).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_no_peak_is_lost_among_thousands_of_steps(sign):
    values = np.random.default_rng(0).uniform(-0.1, 0.1, size=(2003, 2))
    values[[0, 701, 2002], 0] = sign * np.array([1.0, 2.0, 3.0])
    display = TaskTimelineDisplay(values).plot()
    drawn, edges = shades(display), display.ax_.collections[0].get_coordinates()[0, :, 0]
    assert len(drawn) < len(values)
    for step in (0, 701, 2002):
        cell = np.searchsorted(edges, step) - 1
        assert drawn[cell, 0] == values[step, 0]
    assert np.isin(drawn, values).all()


def test_nothing_is_drawn_after_the_end():
    chances = CHANCES.copy()
    chances[3:] = np.nan
    display = TaskTimelineDisplay.from_predictions(chances)
    np.testing.assert_array_equal(np.ma.getmaskarray(shades(display)), np.isnan(chances))
    outlines = display.ax_.collections[1].get_segments()
    assert {line[:, 0].max() for line in outlines} == {2.5}


@pytest.mark.parametrize("values", [np.zeros((3, 1)), np.full((3, 1), np.nan)])
def test_values_without_any_size(values, recwarn):
    TaskTimelineDisplay(values).plot().figure_.canvas.draw()
    assert not recwarn.list


@pytest.mark.parametrize("shape", [(1, 1), (20, 40), (2000, 2)])
def test_no_labels_overlap_whatever_the_size(shape, recwarn):
    marks = np.ones(shape)
    display = TaskTimelineDisplay.from_predictions(np.ones(shape), marks, marks)
    display.figure_.canvas.draw()
    assert not recwarn.list
    ax = display.ax_
    for axis, (start, end) in ((ax.xaxis, ("x0", "x1")), (ax.yaxis, ("y0", "y1"))):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        boxes = sorted(boxes, key=lambda box: getattr(box, start))
        for first, second in itertools.pairwise(boxes):
            assert getattr(first, end) <= getattr(second, start)
    title = ax.get_tightbbox(for_layout_only=False).y1
    legend = ax.get_legend().get_window_extent()
    assert legend.y1 <= title
    assert legend.y0 >= ax.get_window_extent().y1 - 1


def test_plot_uses_the_axes_given():
    _, ax = plt.subplots()
    n_figures = len(plt.get_fignums())
    display = TaskTimelineDisplay(CHANCES)
    assert display.plot(ax=ax) is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert TaskTimelineDisplay.from_predictions(CHANCES, ax=ax).ax_ is ax
    assert len(plt.get_fignums()) == n_figures


def test_a_localizer_shows_its_probabilities_and_steps(sequences):
    y = pd.DataFrame({"reach": sequences[..., 0].max(axis=1) > 1.5})
    y["grasp"] = sequences[..., 1].max(axis=1) > 1.5
    localizer = fit(sequences, y)
    truth = sequences[3] > 1.5
    _, ax = plt.subplots()
    display = TaskTimelineDisplay.from_estimator(localizer, sequences[3], truth, ax=ax)
    assert display.ax_ is ax
    np.testing.assert_allclose(shades(display), localizer.predict_proba(sequences[[3]])[0])
    np.testing.assert_array_equal(display.steps, localizer.predict(sequences[[3]])[0])
    np.testing.assert_array_equal(display.true_steps, truth)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["reach", "grasp"]
    assert ax.collections[0].get_clim() == (0, 1)


def test_amounts_are_in_standard_deviations_beside_probabilities(sequences):
    amount = 1000 * sequences[..., 0].sum(axis=1)
    y = pd.DataFrame({"work": amount, "reach": sequences[..., 1].max(axis=1) > 1.5})
    localizer = fit(sequences, y[["work"]])
    display = TaskTimelineDisplay.from_estimator(localizer, sequences[0])
    expected = localizer.contributions(sequences[:1])[0] / amount.std()
    np.testing.assert_allclose(display.values, expected)
    assert display.values_label == "contribution (SD)"
    assert display.steps is None  # no sequence is without the amount
    with pytest.warns(SpecialistWarning, match="'work'"):
        display = TaskTimelineDisplay.from_estimator(fit(sequences, y), sequences[0])
    assert not display.steps[:, 0].any()
    assert display.values_label == "probability,\ncontribution (SD)"


def test_a_table_is_a_sequence_to_a_localizer_of_tables(sequences):
    frame = pd.DataFrame(sequences.reshape(-1, 2), columns=["left", "right"])
    occurs = sequences[..., 0].max(axis=1) > 1.5
    localizer = TaskLocalizer(max_epochs=2, alpha=0.9, random_state=0)
    localizer.fit(frame, occurs, np.repeat(np.arange(60), 6))
    display = TaskTimelineDisplay.from_estimator(localizer, frame[:6])
    expected = localizer.predict_proba(frame[:6], np.zeros(6))
    np.testing.assert_array_equal(display.values, expected)


def test_a_sequence_of_another_kind_is_refused(sequences):
    localizer = fit(sequences, sequences[..., 0].max(axis=1) > 1.5)
    for wrong in (sequences[:1], sequences[0, 0], sequences[:0, 0], sequences[0, :, :1]):
        with pytest.raises(ValueError, match="sequence"):
            TaskTimelineDisplay.from_estimator(localizer, wrong)
    with pytest.raises((TypeError, ValueError), match="sequence"):
        TaskTimelineDisplay.from_estimator(localizer, [["a", "b"]])
    with pytest.raises(ValueError, match=r"true_steps must have shape \(6, 1\)"):
        TaskTimelineDisplay.from_estimator(localizer, sequences[0], np.ones((6, 2)))
    with pytest.raises(NotFittedError):
        TaskTimelineDisplay.from_estimator(TaskLocalizer(), sequences[0])


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"plot needs matplotlib: .*skspecialist\[plot\]"):
        TaskTimelineDisplay(CHANCES).plot()
