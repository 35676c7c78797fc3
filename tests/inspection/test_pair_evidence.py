"""Display of pairs: which are drawn, marked and framed, and invalid arguments."""

import itertools
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm
from sklearn.exceptions import NotFittedError

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.inspection import PairEvidenceDisplay
from skspecialist.structure import Selection

NAN = np.nan
SCORES = np.array([[NAN, 1.0, 4.0], [1.0, NAN, NAN], [4.0, NAN, NAN]])[:, :, None]
STRUCTURE = np.array([[1], [0], [1]])
DATA = make_collider_sequences(2000, n_timesteps=12, n_tasks=2, random_state=0)


def make(n_segments=3):
    if n_segments == 3:
        return PairEvidenceDisplay(SCORES, SCORES > 3, STRUCTURE)
    ones = np.ones((n_segments, n_segments, 1))
    return PairEvidenceDisplay(ones, ones, np.ones((n_segments, 1)))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def drawn(display):
    """Return the scores, the dots and the framed cells of a display."""
    cells, frames = display.ax_.collections
    side = len(display.structure)
    scores = np.ma.filled(cells.get_array(), NAN).reshape(side, side)
    dots, framed = np.zeros((side, side), bool), np.zeros((side, side), bool)
    columns, rows = display.ax_.lines[0].get_data()
    dots[rows, columns] = True
    for path in frames.get_paths():
        column, row = path.vertices[:4].mean(axis=0).round().astype(int)
        framed[row, column] = True
    return scores, dots, framed


def test_plot_draws_scores_dots_and_frames():
    display = make()
    assert display.plot() is display
    scores, dots, framed = drawn(display)
    np.testing.assert_array_equal(scores, SCORES[:, :, 0])
    np.testing.assert_array_equal(dots, SCORES[:, :, 0] > 3)
    np.testing.assert_array_equal(framed, [[1, 0, 1], [0, 0, 0], [1, 0, 1]])
    assert display.ax_.get_xlabel() == display.ax_.get_ylabel() == "segment"
    assert display.ax_.get_title(loc="left") == "Pairs of task0"


def test_plot_uses_the_axes_given(recwarn):
    _, ax = plt.subplots()
    n_figures = len(plt.get_fignums())
    display = make().plot(ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert len(plt.get_fignums()) == n_figures
    display.figure_.canvas.draw()
    assert not recwarn.list


@pytest.mark.parametrize("n_segments", [1, 2, 12, 50])
def test_labels_do_not_overlap_and_dots_fit_their_cells(n_segments):
    display = make(n_segments).plot()
    display.figure_.canvas.draw()
    ax = display.ax_
    for axis, ends in ((ax.xaxis, ("x0", "x1")), (ax.yaxis, ("y0", "y1"))):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        boxes = sorted(boxes, key=lambda box: getattr(box, ends[0]))
        for first, second in itertools.pairwise(boxes):
            assert getattr(first, ends[1]) <= getattr(second, ends[0])
    each = ax.get_window_extent().width / n_segments * 72 / display.figure_.dpi
    assert ax.lines[0].get_markersize() < each


@pytest.mark.parametrize("correction", ["bh", "none"])
@pytest.mark.parametrize("task", [1, "task1"])
def test_collider_criterion_shows_the_tests_that_it_pooled(task, correction):
    identifier = TaskStructureIdentifier(2, criterion="collider", correction=correction)
    identifier.fit(DATA.X, DATA.y)
    display = PairEvidenceDisplay.from_estimator(identifier, task=task)
    scores, dots, framed = drawn(display)
    pvalues = identifier.test_result_.pvalue[:, 1]
    adjusted = false_discovery_control(pvalues) if correction == "bh" else pvalues
    for (first, second), pvalue, small in zip(
        identifier.pairs_, pvalues, adjusted <= 0.05, strict=True
    ):
        np.testing.assert_allclose(scores[first, second], norm.isf(pvalue / 2))
        assert scores[first, second] == scores[second, first]
        assert dots[first, second] == dots[second, first] == small
    assert dots.any()
    assert np.isnan(np.diag(scores)).all()
    found = identifier.structure_[:, 1]
    np.testing.assert_array_equal(framed, np.outer(found, found))


@pytest.mark.parametrize("n_features", [1, 2])
def test_selection_shows_pairs_that_do_not_touch_given_all_else(n_features):
    settings = {"n_timesteps": 12, "n_tasks": 1, "action_noise": 0.0, "action_effect": 0.0}
    data = make_collider_sequences(
        2000, n_features=n_features, selection=True, random_state=3, **settings
    )
    # As the search would leave it, which takes long.
    identifier = TaskStructureIdentifier(2).fit(data.X[:100], np.arange(100.0))
    identifier.criterion_, identifier.structure_ = Selection(), data.structure
    scores, dots, framed = drawn(PairEvidenceDisplay.from_estimator(identifier, data.X))
    first, second = np.indices(scores.shape)
    np.testing.assert_array_equal(np.isnan(scores), abs(first - second) < 2)
    if n_features == 1:  # the partial correlation of the last steps, from the precision
        precision = np.linalg.inv(np.corrcoef(data.X[:, :, 0].T))[1::2, 1::2]
        partial = precision[0, 3] / np.sqrt(precision[0, 0] * precision[3, 3])
        fisher = abs(np.arctanh(partial)) * np.sqrt(len(data.X) - 10 - 3)
        np.testing.assert_allclose(scores[0, 3], fisher)
    true = np.outer(data.structure[:, 0], data.structure[:, 0])
    np.testing.assert_array_equal(framed, true)
    apart = abs(first - second) > 1
    assert (true & apart).any()
    assert dots[true & apart].all(), "every pair of the clique is seen"
    assert (scores[true & apart].min() > scores[~true & apart]).all()


def test_from_estimator_refuses_what_has_no_pairs():
    with pytest.raises(NotFittedError):
        PairEvidenceDisplay.from_estimator(TaskStructureIdentifier(2))
    direct = TaskStructureIdentifier(2).fit(DATA.X, DATA.y)
    with pytest.raises(ValueError, match=r"criterion=Direct\(\) does not test pairs"):
        PairEvidenceDisplay.from_estimator(direct)
    direct.criterion_ = Selection()
    with pytest.raises(ValueError, match="X is required with criterion='selection'"):
        PairEvidenceDisplay.from_estimator(direct)
    with pytest.raises(ValueError, match="expects n_timesteps=12"):
        PairEvidenceDisplay.from_estimator(direct, DATA.X[:, :5])
    direct.structure_ = np.zeros((6, 0), dtype=bool)
    with pytest.raises(ValueError, match=r"structure must be a matrix that is not empty"):
        PairEvidenceDisplay.from_estimator(direct, DATA.X)
    direct.segments_ = np.array([[0, 6], [6, 12]])  # these touch
    with pytest.raises(ValueError, match="no pair of segments to draw: segments_ has 2"):
        PairEvidenceDisplay.from_estimator(direct, DATA.X)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"plot needs matplotlib: .*skspecialist\[plot\]"):
        make().plot()
