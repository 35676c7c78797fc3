"""Displays of encoders: their contents, their axes, and invalid arguments."""

import itertools
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import (
    SparseMultiTaskSelectorCV,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
)
from skspecialist.exceptions import SpecialistWarning
from skspecialist.inspection import LatentTraversalDisplay, SparsityPathDisplay

SCORES = np.array([[0.80, 0.90], [0.83, 0.91], [0.79, 0.89], [0.5, 0.6], [0.0, 0.0]])
N_ACTIVE = [6.0, 4.0, 3.0, 1.0, 0.0]
SHARES = [0.0, 0.02, 0.1, 0.5, 1.0]
VALUES = np.array([-2.0, 0.0, 2.0])
FEATURES = np.random.default_rng(0).normal(size=(2, 3, 12))


class FakePath(BaseEstimator):
    n_components_ = 6

    def __init__(self, tolerance=0.02):
        self.tolerance = tolerance
        self.scores_path_ = SCORES
        self.n_active_path_ = np.array(N_ACTIVE)
        self.sparsity_path_ = np.array(SHARES)
        self.best_index_ = 2

    def fit(self, X):
        return self


class FakeSelectorPath(FakePath):
    n_components_ = property()  # raises AttributeError


class FakeDecoder(BaseEstimator):
    """Kept are latents 1 and 3; its features are the kept latents, and their sum."""

    def __init__(self):
        self.support_ = np.array([False, True, False, True])

    def fit(self, X):
        return self

    def transform(self, X):
        return np.asarray(X)[..., :2]

    def inverse_transform(self, X):
        return np.concatenate([X, X.sum(axis=-1, keepdims=True)], axis=-1)


DISPLAYS = {
    "path of numbers": lambda: SparsityPathDisplay(SCORES, N_ACTIVE, best_index=2),
    "path of penalties": lambda: SparsityPathDisplay(
        SCORES, N_ACTIVE, best_index=2, sparsity_path=SHARES, tolerance=0.02
    ),
    "curves": lambda: LatentTraversalDisplay(FEATURES, VALUES),
    "images": lambda: LatentTraversalDisplay(FEATURES, VALUES, image_shape=(4, 3)),
    "one feature": lambda: LatentTraversalDisplay(FEATURES[:, :, :1], VALUES),
    "constant features": lambda: LatentTraversalDisplay(np.ones((2, 3, 4)), VALUES),
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def line(ax, label):
    return next(line for line in ax.lines if line.get_label().startswith(label))


def assert_no_overlap(axis, start, end):
    boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
    boxes = sorted(boxes, key=lambda box: getattr(box, start))
    for first, second in itertools.pairwise(boxes):
        assert getattr(first, end) <= getattr(second, start)


@pytest.mark.parametrize("make", DISPLAYS.values(), ids=DISPLAYS)
def test_plot_makes_a_figure_or_uses_the_axes_given(make):
    display = make()
    assert display.plot() is display
    assert display.ax_.figure is display.figure_
    assert display.ax_.get_xlabel()
    assert display.ax_.get_ylabel()

    _, ax = plt.subplots()
    n_figures = len(plt.get_fignums())
    assert display.plot(ax=ax).ax_ is ax
    assert len(plt.get_fignums()) == n_figures


@pytest.mark.parametrize("make", DISPLAYS.values(), ids=DISPLAYS)
def test_drawing_warns_of_nothing(make, recwarn):
    make().plot().figure_.canvas.draw()
    assert not recwarn.list


def test_path_draws_means_and_standard_errors_over_numbers_of_latents():
    ax = SparsityPathDisplay(SCORES, N_ACTIVE, best_index=2).plot().ax_
    curve, _, (whiskers,) = ax.containers[0]
    np.testing.assert_allclose(curve.get_xdata(), N_ACTIVE)
    np.testing.assert_allclose(curve.get_ydata(), SCORES.mean(axis=1))
    ends = np.array([segment[:, 1] for segment in whiskers.get_segments()])
    # Of two folds the standard error is half their distance: the whiskers end at the folds.
    np.testing.assert_allclose(ends, SCORES)
    left, right = ax.get_xlim()
    assert left > 6 > 0 > right, "from dense to empty"


def test_path_of_penalties_has_shares_below_and_numbers_of_latents_above():
    display = DISPLAYS["path of penalties"]().plot()
    ax = display.ax_
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose(display.positions_[1:], SHARES[1:])
    np.testing.assert_allclose(display.positions_[0], 0.02 / (1 / 0.02) ** 0.1)
    assert labels(ax.xaxis) == ["0", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]
    (above,) = ax.child_axes
    named = dict(zip(above.get_xticks(), labels(above.xaxis), strict=True))
    assert named == dict(zip(display.positions_, ["6", "4", "3", "1", "0"], strict=True))


def test_band_and_filled_points_are_those_of_the_rule():
    # The best, 0.87, has the standard error 0.04. Point 0 loses 0.02 on average and 0.03
    # and 0.01 by fold, a standard error of 0.01; point 2 loses 0.03, of which the standard
    # error is 0.01 too. The tolerance grants 0.87 times its share.
    for tolerance, good in ((0.0, [1]), (0.012, [0, 1]), (0.024, [0, 1, 2])):
        display = SparsityPathDisplay(SCORES, N_ACTIVE, best_index=1, tolerance=tolerance)
        ax = display.plot().ax_
        np.testing.assert_allclose(line(ax, "as good").get_xdata(), np.take(N_ACTIVE, good))
        worse = line(ax, "worse").get_xdata()
        assert {*worse} == {*N_ACTIVE} - {*np.take(N_ACTIVE, good)}
        band = next(patch for patch in ax.patches if patch.get_label().startswith("within"))
        bottom = band.get_y()
        np.testing.assert_allclose(bottom, 0.87 - 0.04 - tolerance * 0.87)
        np.testing.assert_allclose(bottom + band.get_height(), 0.87)


def test_chosen_point_is_marked_and_named():
    ax = SparsityPathDisplay(SCORES, N_ACTIVE, best_index=3).plot().ax_
    mark = line(ax, "chosen")
    np.testing.assert_allclose(mark.get_xydata(), [[1.0, 0.55]])
    assert mark.get_label() == "chosen: 1 latent"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0] == "within one standard error of the best"
    assert texts[-1] == "chosen: 1 latent"


@pytest.mark.slow
def test_single_fold_has_no_standard_error():
    display = SparsityPathDisplay(SCORES[:, :1], N_ACTIVE, best_index=1, tolerance=0.05).plot()
    band = display.ax_.patches[0]
    assert band.get_label() == "within 5 % of the best"
    np.testing.assert_allclose([band.get_y(), band.get_height()], [0.83 * 0.95, 0.83 * 0.05])


@pytest.mark.parametrize("n_points", [2, 60])
@pytest.mark.parametrize("penalties", [False, True])
def test_labels_of_paths_do_not_overlap(n_points, penalties):
    numbers = np.linspace(200.0, 0.0, n_points)
    shares = np.append(0.0, np.geomspace(1e-5, 1.0, n_points - 1)) if penalties else None
    if n_points == 2 and penalties:
        shares = [0.0, 1.0]
    scores = np.linspace([0.9, 0.8], 0.0, n_points)
    ax = SparsityPathDisplay(scores, numbers, best_index=0, sparsity_path=shares).plot().ax_
    ax.figure.canvas.draw()
    for drawn in (ax, *ax.child_axes):
        assert_no_overlap(drawn.xaxis, "x0", "x1")


@pytest.mark.parametrize(
    ("encoder", "shares", "tolerance"),
    [
        (FakePath(), None, 0.02),
        (FakeSelectorPath(), SHARES, 0.02),
        (FakePath(tolerance=0.1), None, 0.1),
        (FakePath(tolerance=0.0), None, 0.0),
    ],
)
def test_path_from_estimator(encoder, shares, tolerance):
    display = SparsityPathDisplay.from_estimator(encoder)
    assert display.tolerance == tolerance
    assert display.best_index == 2
    if shares is None:
        assert display.sparsity_path is None
    else:
        np.testing.assert_array_equal(display.sparsity_path, shares)
    np.testing.assert_array_equal(display.scores_path, SCORES)


@pytest.mark.slow
@pytest.mark.parametrize("selects", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_path_marks_the_point_that_the_encoder_chose(selects):
    # Folds are equal in size, so that means over them are means over samples.
    data = make_specialist_latents(300, 4, 2, n_layers=1, random_state=0)
    X = data.latents if selects else data.X
    quick = {"cv": 3, "max_epochs": 30, "random_state": 0}
    encoder = SparseSpecialistEncoderCV(hidden_layer_sizes=(16,), **quick)
    if selects:
        encoder = SparseMultiTaskSelectorCV(**quick)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)  # so short a fit may keep too many
        encoder.fit(X, data.y)
    display = SparsityPathDisplay.from_estimator(encoder)
    good = line(display.ax_, "as good").get_xdata()
    chosen = line(display.ax_, "chosen").get_xdata()
    # Numbers of latents must be good in each task, too, which means over tasks do not show.
    assert chosen == [good.max()] if selects else np.isin(chosen, good)
    assert 0 < encoder.best_index_ < len(encoder.sparsity_path_) - 1, "a trivial path"


def test_images_hold_the_features():
    ax = DISPLAYS["images"]().plot().ax_
    assert len(ax.images) == 2 * 3
    for image, features in zip(ax.images, FEATURES.reshape(6, 4, 3), strict=True):
        np.testing.assert_allclose(image.get_array(), features)
        assert image.get_clim() == (FEATURES.min(), FEATURES.max())
    centers = [(sum(i.get_extent()[:2]) / 2, sum(i.get_extent()[2:]) / 2) for i in ax.images]
    np.testing.assert_allclose(centers, [(c, r) for r in range(2) for c in range(3)])
    assert labels(ax.xaxis) == ["\N{MINUS SIGN}2", "0", "2"]
    assert labels(ax.yaxis) == ["0", "1"]
    assert "standard deviations" in ax.get_xlabel()
    assert ax.get_aspect() == 4 / 3, "pixels are square"


def test_curves_hold_the_features_on_one_scale_in_rows_of_their_own():
    ax = LatentTraversalDisplay(FEATURES, VALUES, latent_names=["a", "b"]).plot().ax_
    curves = np.array([curve.get_ydata() for curve in ax.lines]).reshape(FEATURES.shape)
    heights = np.arange(2)[:, None, None] - curves  # the axis points down
    slope, offset = np.polyfit(FEATURES.ravel(), heights.ravel(), 1)
    assert slope > 0
    np.testing.assert_allclose(heights, slope * FEATURES + offset, atol=1e-12)
    assert np.abs(heights).max() < 0.5
    colors = [curve.get_color() for curve in ax.lines]
    assert colors[:3] == colors[3:]
    luminance = np.array(colors[:3])[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance) > 0.1).all(), "told apart in gray"
    assert luminance[-1] < 0.85, "and from white"
    assert labels(ax.yaxis) == ["a", "b"]
    low, high = (
        f"{value:.2g}".replace("-", "\N{MINUS SIGN}") for value in (FEATURES.min(), FEATURES.max())
    )
    assert ax.get_xlabel() == f"feature (a row spans values from {low} to {high})"
    bar = next(other for other in ax.figure.axes if other is not ax)
    assert bar.get_ylabel() == "standard deviations"
    assert labels(bar.yaxis) == ["\N{MINUS SIGN}2", "0", "2"]


@pytest.mark.parametrize(
    ("n_latents", "n_values", "image_shape"),
    [
        (1, 2, None),
        (6, 5, (3, 4)),
        pytest.param(12, 7, (3, 4), marks=pytest.mark.slow),
        pytest.param(40, 3, (3, 4), marks=pytest.mark.slow),
        pytest.param(2, 31, None, marks=pytest.mark.slow),
    ],
)
def test_labels_of_traversals_do_not_overlap(n_latents, n_values, image_shape):
    features = np.arange(n_latents * n_values * 12.0).reshape(n_latents, n_values, 12)
    values = np.linspace(-2, 2, n_values)
    display = LatentTraversalDisplay(features, values, image_shape=image_shape).plot()
    display.figure_.canvas.draw()
    for ax in display.figure_.axes:
        assert_no_overlap(ax.xaxis, "x0", "x1")
        assert_no_overlap(ax.yaxis, "y0", "y1")
    if n_latents <= 12:
        assert len(labels(display.ax_.yaxis)) == n_latents, "every row has its name"
        if image_shape and n_values <= 7:
            assert len(labels(display.ax_.xaxis)) == n_values, "and every column its value"


def test_traversal_from_estimator_moves_one_latent_at_a_time():
    display = LatentTraversalDisplay.from_estimator(FakeDecoder(), n_values=3)
    moved, still = [-2.0, 0.0, 2.0], [0.0, 0.0, 0.0]
    np.testing.assert_array_equal(display.features[0].T, [moved, still, moved])
    np.testing.assert_array_equal(display.features[1].T, [still, moved, moved])
    np.testing.assert_array_equal(display.values, moved)
    assert display.latent_names == ["1", "3"]


def test_traversal_shows_the_latents_asked_for_in_their_order():
    display = LatentTraversalDisplay.from_estimator(FakeDecoder(), latents=[3, 1], n_values=3)
    assert display.latent_names == ["3", "1"]
    np.testing.assert_array_equal(display.features[0, :, 1], VALUES)
    one = LatentTraversalDisplay.from_estimator(
        FakeDecoder(), latents=[3], n_values=5, image_shape=(3, 1)
    )
    assert one.features.shape == (1, 5, 3)
    assert len(one.ax_.images) == 5


@pytest.mark.parametrize("shape", [(20, 2), (4, 5, 2)])
def test_traversal_around_data(shape):
    X = 3.0 + 0.5 * np.random.default_rng(1).normal(size=shape)
    display = LatentTraversalDisplay.from_estimator(FakeDecoder(), X, n_values=3)
    mean, deviation = X.reshape(20, 2).mean(axis=0), X.reshape(20, 2).std(axis=0)
    np.testing.assert_allclose(display.features[0, :, 0], mean[0] + VALUES * deviation[0])
    np.testing.assert_allclose(display.features[0, :, 1], mean[1])
    np.testing.assert_allclose(display.features[1, :, 1], mean[1] + VALUES * deviation[1])


def test_traversal_of_a_fitted_encoder_decodes_its_latents():
    data = make_specialist_latents(200, 4, 2, n_layers=1, random_state=0)
    encoder = SparseSpecialistEncoder(
        n_components=4, n_relevant=2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)
        encoder.fit(data.X, data.y)
    display = LatentTraversalDisplay.from_estimator(encoder, n_values=5)
    kept = np.flatnonzero(encoder.support_)
    assert display.latent_names == [str(latent) for latent in kept]
    assert display.features.shape == (len(kept), 5, data.X.shape[1])
    mean = encoder.inverse_transform(np.zeros((1, len(kept))))
    np.testing.assert_allclose(display.features[:, 2], np.repeat(mean, len(kept), axis=0))
    corner = np.zeros((1, len(kept)))
    corner[0, -1] = 2.0
    np.testing.assert_allclose(display.features[-1, -1], encoder.inverse_transform(corner)[0])


def test_from_estimator_wants_a_fitted_one():
    path, decoder = FakePath(), FakeDecoder()
    del path.scores_path_, decoder.support_
    with pytest.raises(NotFittedError):
        SparsityPathDisplay.from_estimator(path)
    with pytest.raises(NotFittedError):
        LatentTraversalDisplay.from_estimator(decoder)


def path(scores=SCORES, n_active=N_ACTIVE, best_index=2, **options):
    return SparsityPathDisplay(scores, n_active, best_index=best_index, **options)


def traverse(support=(False, True, False, True), **options):
    decoder = FakeDecoder()
    decoder.support_ = np.array(support)
    return LatentTraversalDisplay.from_estimator(decoder, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: path(SCORES[:, 0]), "scores_path must be a matrix"),
        (lambda: path(SCORES * np.nan), "scores_path must hold finite numbers"),
        (lambda: path(SCORES[:1], [1]), "scores_path must have at least two points"),
        (lambda: path(n_active=[1, 0]), "n_active_path must hold 5 finite numbers"),
        (lambda: path(n_active=[4, 3, 3, 1, 0]), "n_active_path must fall"),
        (lambda: path(best_index=5), "best_index must be a position from 0 to 4, got 5"),
        (lambda: path(best_index=-1), "best_index must be a position from 0 to 4, got -1"),
        (lambda: path(sparsity_path=[0, 1]), "sparsity_path must hold 5 finite numbers"),
        (lambda: path(sparsity_path=SHARES[::-1]), r"sparsity_path must rise within \[0, 1\]"),
        (lambda: path(sparsity_path=[0, 1, 2, 3, 4]), r"sparsity_path must rise within \[0, 1\]"),
        (lambda: path(tolerance=2), r"tolerance must be within \[0, 1\], got 2"),
        (lambda: LatentTraversalDisplay(FEATURES[0], VALUES), "features must have shape"),
        (lambda: LatentTraversalDisplay(FEATURES[:0], VALUES), "features must have shape"),
        (lambda: LatentTraversalDisplay(FEATURES * np.nan, VALUES), "features must hold finite"),
        (lambda: LatentTraversalDisplay(FEATURES, [0, 1]), "values must hold 3 finite numbers"),
        (
            lambda: LatentTraversalDisplay(FEATURES, VALUES, latent_names=["a"]),
            "latent_names must hold 2 names, got 1",
        ),
        (
            lambda: LatentTraversalDisplay(FEATURES, VALUES, image_shape=(5, 5)),
            r"image_shape=\(5, 5\) needs 25 features, but there are 12",
        ),
        (lambda: traverse(n_values=1), "n_values must be at least 2, got 1"),
        (lambda: traverse(latents=[0]), r"latents must be some of the support, \[1, 3\]"),
        (lambda: traverse(latents=[]), r"latents must be some of the support, \[1, 3\]"),
        (lambda: traverse(latents=[True]), r"latents must be some of the support, \[1, 3\]"),
        (lambda: traverse(support=(False, False)), "encoder has an empty support"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", DISPLAYS.values(), ids=DISPLAYS)
def test_without_matplotlib_the_error_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"plot needs matplotlib: .*skspecialist\[plot\]"):
        make().plot()
