"""Displays: their contents, their axes, and invalid arguments."""

import itertools
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skspecialist import SpecialistPipeline
from skspecialist.inspection import (
    AttributionDisplay,
    MaskDisplay,
    SequenceDisplay,
    SpecialistGainDisplay,
    TaskStructureDisplay,
)

FOUND = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0]])
TRUTH = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [0, 0]])
CONFIDENCE = np.random.default_rng(1).random(FOUND.shape)
MASK = np.array([[0.9, 0.0, 1e-9], [0.0, -0.4, 0.0]])
IMAGES = np.random.default_rng(0).random((2, 5, 4, 3))


class FakeIdentifier(BaseEstimator):
    def __init__(self):
        self.step_mask_ = FOUND
        self.task_names_ = ["reach", "grasp"]

    def fit(self, X):
        return self

    def step_weights(self, X):
        return np.broadcast_to(FOUND, (len(X), *FOUND.shape))


class FakeFinding(FakeIdentifier):
    """Segments of two steps and of three, with p-values and frequencies."""

    def __init__(self, pvalues=((0.01, 1.0), (1e-9, 0.3)), frequency=((0.9, 0.0), (1.0, 0.4))):
        super().__init__()
        self.segments_ = np.array([[0, 2], [2, 5]])
        self.adjusted_pvalues_, self.selection_frequency_ = np.array(pvalues), np.array(frequency)


class FakeEncoder(BaseEstimator):
    def __init__(self):
        self.mask_ = MASK
        self.tasks_ = SimpleNamespace(names=["reach", "grasp"])

    def fit(self, X):
        return self


DISPLAYS = {
    "structure": lambda: TaskStructureDisplay(FOUND),
    "structure with truth": lambda: TaskStructureDisplay(FOUND, true_step_tasks=TRUTH),
    "structure with confidence": lambda: TaskStructureDisplay(
        FOUND, true_step_tasks=TRUTH, confidence=CONFIDENCE
    ),
    "mask": lambda: MaskDisplay(MASK),
    "attribution": lambda: AttributionDisplay(MASK.T, base=[0.0, 0.5]),
    "images": lambda: SequenceDisplay(IMAGES, FOUND),
    "gain": lambda: SpecialistGainDisplay([0.3, -0.1], [0.1, 0.2]),
    "curves": lambda: SequenceDisplay(IMAGES.reshape(2, 5, 12), FOUND),
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def n_drawn(ax):
    return [len(collection.get_paths()) for collection in ax.collections]


@pytest.mark.parametrize("make", DISPLAYS.values(), ids=DISPLAYS)
def test_plot_makes_a_figure_or_uses_the_axes_given(make):
    display = make()
    assert display.plot() is display
    assert display.ax_.figure is display.figure_
    assert display.ax_.get_xlabel().split(" in ")[0] in (
        "time step",
        "latent",
        "gain",
        "contribution to the prediction",
    )

    _, ax = plt.subplots()
    n_figures = len(plt.get_fignums())
    assert display.plot(ax=ax).ax_ is ax
    assert len(plt.get_fignums()) == n_figures


@pytest.mark.parametrize("make", DISPLAYS.values(), ids=DISPLAYS)
def test_drawing_warns_of_nothing(make, recwarn):
    make().plot().figure_.canvas.draw()
    assert not recwarn.list


def test_structure_alone_is_filled_squares():
    squares = TaskStructureDisplay(FOUND).plot().ax_.collections[0]
    centers = [path.vertices[:4].mean(axis=0) for path in squares.get_paths()]
    np.testing.assert_allclose(centers, np.argwhere(FOUND))


def test_structure_with_truth_counts_hits_misses_and_false_discoveries():
    ax = TaskStructureDisplay(FOUND, true_step_tasks=TRUTH).plot().ax_
    hits, misses, lines_of_crosses = n_drawn(ax)[:3]
    assert (hits, misses, lines_of_crosses) == (3, 1, 2 * 1)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["found, true", "missed", "found, false"]


def test_confidence_shades_its_own_cells():
    display = TaskStructureDisplay(FOUND, confidence=CONFIDENCE, confidence_label="sure").plot()
    shades = display.ax_.collections[0]
    np.testing.assert_array_equal(np.reshape(shades.get_array(), (2, 5)), CONFIDENCE.T)
    assert [bar.get_ylabel() for bar in display.ax_.child_axes] == ["sure"]
    lightness = shades.to_rgba(np.linspace(0, CONFIDENCE.max(), 9))[:, :3].mean(axis=1)
    assert (np.diff(lightness) < 0).all(), "darker for surer"
    assert lightness[0] == 1.0
    assert lightness[-1] > 0.5, "marks of any color show on the darkest shade"


def test_confidence_of_a_finding_is_that_of_the_segment():
    display = TaskStructureDisplay.from_estimator(FakeFinding(), confidence=True)
    digits = np.array([[2.0, 0.0], [5.0, -np.log10(0.3)]])  # at most five
    np.testing.assert_allclose(display.confidence, digits[[0, 0, 1, 1, 1]])
    without = FakeFinding(pvalues=np.full((2, 2), np.nan))
    display = TaskStructureDisplay.from_estimator(without, confidence=True)
    np.testing.assert_allclose(display.confidence, without.selection_frequency_[[0, 0, 1, 1, 1]])
    assert TaskStructureDisplay.from_estimator(without).confidence is None
    without.selection_frequency_ = np.full((2, 2), np.nan)
    for unsure in (without, FakeIdentifier()):
        with pytest.raises(ValueError, match="confidence=True needs adjusted_pvalues_ or"):
            TaskStructureDisplay.from_estimator(unsure, confidence=True)


@pytest.mark.parametrize("confidence", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("shape", [(1, 1), (100, 40)])
def test_no_labels_overlap_whatever_the_size(shape, confidence):
    shade = np.ones(shape) if confidence else None
    display = TaskStructureDisplay(np.ones(shape), confidence=shade).plot()
    display.figure_.canvas.draw()
    for axis, (start, end) in (
        (display.ax_.xaxis, ("x0", "x1")),
        (display.ax_.yaxis, ("y0", "y1")),
    ):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        boxes = sorted(boxes, key=lambda box: getattr(box, start))
        for first, second in itertools.pairwise(boxes):
            assert getattr(first, end) <= getattr(second, start)


def test_mask_tints_every_value_but_exact_zeros():
    ax = MaskDisplay(MASK).plot().ax_
    cells = np.ma.getmaskarray(ax.collections[0].get_array()).reshape(MASK.shape)
    np.testing.assert_array_equal(cells, MASK == 0)
    columns, rows = ax.lines[0].get_data()
    assert {*zip(rows.tolist(), columns.tolist(), strict=True)} == {(0, 1), (1, 0), (1, 2)}
    rgb = ax.collections[0].get_cmap()(0.0)[:3]
    assert min(rgb) < 0.85, "the smallest value must not look like the white of a zero"


def test_mask_of_zeros_and_mask_without_zeros():
    assert MaskDisplay(np.zeros((2, 3))).plot().ax_.get_legend() is not None
    assert MaskDisplay(np.ones((2, 3))).plot().ax_.get_legend() is None


def test_bars_of_a_task_have_the_signs_and_ratios_of_its_contributions():
    contributions = np.array([[2.0, 0.0], [-1.0, 0.0], [0.1, 0.0]])
    display = AttributionDisplay(contributions, base=[1.0, 0.0], class_names=["yes", None]).plot()
    lengths = np.array([bar.get_width() for bar in display.ax_.patches]).reshape(2, 3)
    np.testing.assert_allclose(lengths[0] / lengths[0, 0], contributions[:, 0] / 2)
    assert not lengths[1].any()
    assert labels(display.ax_.xaxis)[0] == "P(task0 = yes)\n2.10, base 1.00"
    explanation = SimpleNamespace(
        contributions=[np.stack([-contributions, contributions])],
        predictions=[np.array([[0.0, 0.0], [2.1, 0.0]])],
        base=[np.array([1.0, 0.0])],
        part_names=["a", "b", "c"],
        task_names=["task0"],
        classes=[np.array(["yes", "no"])],
    )
    again = AttributionDisplay.from_explanation(explanation, sequence=1)
    assert labels(again.ax_.xaxis) == labels(display.ax_.xaxis)[:1]


def test_gains_have_bars_and_tasks_without_one_a_reason():
    reasons = [None, "too small", "no step"]
    display = SpecialistGainDisplay([0.3, 0.1, np.nan], [0.1, 0.2, np.nan], reasons=reasons)
    np.testing.assert_array_equal(display.use_specialist, [True, False, False])
    ax = display.plot().ax_
    centers = [path.vertices.mean(axis=0) for c in ax.collections for path in c.get_paths()]
    np.testing.assert_allclose(centers, [[0.3, 0], [0.1, 1]])
    assert [text.get_text() for text in ax.texts] == ["no step"]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["specialist", "generalist kept"]


def test_gains_that_were_never_measured():
    display = SpecialistGainDisplay([np.nan] * 2, [np.nan] * 2, use_specialist=[True, True])
    texts = [text.get_text() for text in display.plot().ax_.texts]
    assert texts == ["specialist, without comparison"] * 2


@pytest.mark.parametrize("task", [1, "grasp"])
def test_sequences_frame_the_steps_of_the_task(task):
    display = SequenceDisplay(IMAGES, FOUND, task_names=["reach", "grasp"]).plot(task=task)
    frames = display.ax_.collections[0].get_paths()
    centers = {tuple(path.vertices[:4].mean(axis=0)) for path in frames}
    assert centers == {(step, row) for row in range(2) for step in (2, 3)}
    assert display.ax_.get_title(loc="left") == "Steps of grasp"


def test_sequences_each_with_its_own_steps():
    weights = np.zeros((2, 5, 1))
    weights[0, 1] = 1.0
    weights[1, 4] = 0.5
    frames = SequenceDisplay(IMAGES, weights).plot().ax_.collections[0]
    centers = [tuple(path.vertices[:4].mean(axis=0)) for path in frames.get_paths()]
    assert centers == [(1, 0), (4, 1)]
    full, half = frames.get_edgecolors()[:, 3]
    assert full == 1.0
    assert half < 1.0


def test_sequences_without_a_step_of_the_task_and_constant_ones():
    display = SequenceDisplay(np.ones((1, 5, 2)), np.zeros((5, 1))).plot()
    assert n_drawn(display.ax_) == [0]


def test_image_shape_makes_images_of_features():
    flat = IMAGES.reshape(2, 5, 12)
    display = SequenceDisplay(flat, FOUND, image_shape=(4, 3))
    np.testing.assert_array_equal(display.sequences, IMAGES)
    assert len(display.plot().ax_.images) == 10


def test_from_estimator():
    structure = TaskStructureDisplay.from_estimator(FakeIdentifier(), true_step_tasks=TRUTH)
    assert labels(structure.ax_.yaxis) == ["reach", "grasp"]
    mask = MaskDisplay.from_estimator(FakeEncoder())
    assert labels(mask.ax_.yaxis) == ["reach", "grasp"]
    X = np.random.default_rng(0).normal(size=(9, 5, 12))
    for values in (X, X.reshape(9, 60)):
        sequences = SequenceDisplay.from_estimator(
            FakeIdentifier(), values, task="grasp", max_sequences=3, image_shape=(4, 3)
        )
        assert labels(sequences.ax_.yaxis) == ["0", "1", "2"]
        assert len(sequences.ax_.images) == 15


def test_from_estimator_wants_a_fitted_one():
    identifier, encoder = FakeIdentifier(), FakeEncoder()
    del identifier.step_mask_, encoder.mask_
    with pytest.raises(NotFittedError):
        TaskStructureDisplay.from_estimator(identifier)
    with pytest.raises(NotFittedError):
        MaskDisplay.from_estimator(encoder)
    with pytest.raises(NotFittedError):
        SpecialistGainDisplay.from_estimator(SpecialistPipeline())


@pytest.mark.parametrize("make", DISPLAYS.values(), ids=DISPLAYS)
def test_without_matplotlib_the_error_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"plot needs matplotlib: .*skspecialist\[plot\]"):
        make().plot()
