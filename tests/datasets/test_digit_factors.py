"""The images are of real digits, show their factors, and the tasks use a few of these."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline

from skspecialist.datasets import make_digit_factors, make_digit_sequences
from skspecialist.datasets._digit_factors import FRAME, HEIGHT, RANGES, _distances

SIDE = 48  # pixels: 2.7 for a pixel of the bundled digits, so that moments are nearly exact


def one_factor(name, digits=(2,)):
    """Return images that differ by one factor and by their digit, and the factor's values."""
    data = make_digit_factors(
        400,
        factors=[name],
        n_relevant=1,
        n_factors_per_task=1,
        digits=digits,
        image_size=SIDE,
        random_state=0,
    )
    low, high = RANGES[name]
    return data, (low + high) / 2 + (high - low) / 2 * data.latents[:, 0] / np.sqrt(3)


def moments(images):
    """Return centers of mass in shares of the frame, x to the right and y up, and covariances."""
    axis = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    points = np.stack(np.meshgrid(axis, -axis), axis=-1).reshape(-1, 2)
    weights = images.reshape(len(images), -1) / images.sum(axis=(1, 2))[:, None]
    centers = weights @ points
    squares = np.einsum("np,pi,pj->nij", weights, points, points)
    return centers, squares - centers[:, :, None] * centers[:, None, :]


def from_own_mean(values, source):
    """Subtract from each value the mean over images of the same bundled digit."""
    _, group = np.unique(source, return_inverse=True)
    return values - (np.bincount(group, values) / np.bincount(group))[group]


def test_shapes_types_and_ranges():
    data = make_digit_factors(200, n_tasks=4, image_size=12, random_state=0)
    assert data.X.shape == (200, 144)
    assert data.images.shape == (200, 12, 12)
    assert data.y.shape == (200, 4)
    assert data.latents.shape == (200, 5)
    assert data.mask.shape == (4, 5)
    assert data.factor_names == list(RANGES)
    assert {data.X.dtype, data.y.dtype, data.latents.dtype} == {np.dtype(np.float64)}
    assert data.mask.dtype == data.relevant.dtype == bool
    assert data.X.min() == 0
    assert data.X.max() == 1
    np.testing.assert_array_equal(data.X, data.images.reshape(200, -1))
    np.testing.assert_array_equal(data.digit, load_digits().target[data.source])
    assert set(data.digit) == {2, 3, 5}
    assert "rotation" in data.DESCR


@pytest.mark.slow
def test_factors_are_standard_and_independent():
    n = 5000
    latents = make_digit_factors(n, image_size=8, random_state=0).latents
    assert np.abs(latents).max() <= np.sqrt(3)
    # Five standard errors; a uniform variable's squares have variance 9 / 5 - 1.
    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(latents.var(axis=0), 1, atol=5 * np.sqrt(0.8 / n))
    np.testing.assert_allclose(np.corrcoef(latents.T), np.eye(5), atol=5 / np.sqrt(n))


def test_the_same_seed_gives_the_same_data_and_another_seed_another():
    first, second, other = (make_digit_factors(20, random_state=seed) for seed in (3, 3, 4))
    for key in ("X", "y", "latents", "mask", "source"):
        np.testing.assert_array_equal(first[key], second[key])
    assert not np.isin(first.latents, other.latents).any()


@pytest.mark.slow
def test_train_and_test_share_no_image_here_or_in_the_sequences():
    train, test = (make_digit_factors(500, subset=s, random_state=0) for s in ("train", "test"))
    assert not np.isin(train.source, test.source).any()
    assert not np.isin(train.latents, test.latents).any()
    images = make_digit_sequences(200, subset="train", random_state=0).X.reshape(-1, 64)
    shown = {image.tobytes() for image in images}
    assert not any(image.tobytes() in shown for image in load_digits().data[test.source] / 16)


@pytest.mark.slow
def test_train_and_test_share_their_tasks():
    train, test = (
        make_digit_factors(
            n, 3, n_relevant=3, n_factors_per_task=1, noise=0.0, subset=s, random_state=0
        )
        for n, s in ((3000, "train"), (500, "test"))
    )
    np.testing.assert_array_equal(train.mask, test.mask)
    for task, used in enumerate(train.mask):
        known = np.argsort(train.latents[:, used].ravel())
        expected = np.interp(
            test.latents[:, used].ravel(),
            train.latents[known][:, used].ravel(),
            train.y[known, task],
        )
        assert np.corrcoef(expected, test.y[:, task])[0, 1] > 0.9999


@pytest.mark.slow
def test_factors_can_be_read_from_images_of_other_writers():
    train, test = (make_digit_factors(1000, subset=s, random_state=0) for s in ("train", "test"))
    width = 0.15 / train.X.var(axis=0).sum()
    probe = make_pipeline(
        PCA(40, random_state=0), KernelRidge(alpha=0.05, kernel="rbf", gamma=width)
    )
    predicted = probe.fit(train.X, train.latents).predict(test.X)
    # A factor that does not show scores 0 or less.
    assert r2_score(test.latents, predicted, multioutput="raw_values").min() > 0.7


@pytest.mark.slow
@pytest.mark.parametrize(("name", "direction"), [("shift_x", (1, 0)), ("shift_y", (0, -1))])
def test_shifts_move_the_centre_of_mass_by_their_value(name, direction):
    data, shift = one_factor(name)
    centers, _ = moments(data.images)
    moved = [from_own_mean(center, data.source) for center in centers.T]
    expected = np.outer(direction, from_own_mean(shift, data.source))
    np.testing.assert_allclose(moved, expected, atol=0.1 / SIDE)  # a tenth of a pixel


@pytest.mark.slow
def test_rotation_turns_the_long_axis_counterclockwise_by_its_angle():
    data, angle = one_factor("rotation", digits=(1,))
    _, covariances = moments(data.images)
    across, up, both = covariances[:, 0, 0], covariances[:, 1, 1], covariances[:, 0, 1]
    # Axes have no direction: doubled angles make the two ends of one the same.
    doubled = np.arctan2(2 * both, across - up) - 2 * np.deg2rad(angle)
    _, first, group = np.unique(data.source, return_index=True, return_inverse=True)
    apart = np.angle(np.exp(1j * (doubled - doubled[first][group])))
    assert np.abs(np.rad2deg(apart / 2)).max() < 1


@pytest.mark.slow
def test_ink_grows_with_the_square_of_scale():
    data, scale = one_factor("scale")
    ink = np.log(data.images.sum(axis=(1, 2)))
    excess = from_own_mean(ink - 2 * np.log(scale), data.source)
    np.testing.assert_allclose(excess, 0, atol=0.01)


@pytest.mark.slow
def test_every_pixel_darkens_with_thickness():
    data, thickness = one_factor("thickness")
    for source in np.unique(data.source):
        rows = np.flatnonzero(data.source == source)
        images = data.images[rows[np.argsort(thickness[rows])]]
        assert (np.diff(images, axis=0) >= 0).all()
        assert (np.diff(images.sum(axis=(1, 2))) > 0).all()


@pytest.mark.slow
def test_largest_broadest_most_shifted_digit_stays_within_the_frame():
    distances, centers = _distances(load_digits().images[::5] / 16)
    axis = (np.arange(distances.shape[1]) + 0.5) / 4 - 0.5
    pen = HEIGHT * RANGES["thickness"][1] / 2
    for distance, (row, column) in zip(distances, centers, strict=True):
        reach = np.hypot(axis[:, None] - row, axis - column)[distance + pen > 0].max()
        assert reach * RANGES["scale"][1] / FRAME + RANGES["shift_x"][1] < 0.5


@pytest.mark.slow
def test_tasks_are_functions_of_the_factors_of_their_mask():
    data = make_digit_factors(800, noise=0.0, image_size=8, random_state=0)
    train, test = slice(400), slice(400, None)
    for used, values in zip(data.mask, data.y.T, strict=True):
        scores = []
        for columns in (used, ~used):
            probe = KernelRidge(alpha=1e-3, kernel="rbf", gamma=0.5)
            probe.fit(data.latents[train][:, columns], values[train])
            scores.append(probe.score(data.latents[test][:, columns], values[test]))
        assert used.sum() == 2
        assert scores[0] > 0.98
        # The other factors say nothing, and the tasks have unit variance.
        assert scores[1] < 0.05
    np.testing.assert_allclose(data.y.std(axis=0), 1)


def test_relevant_factors_are_the_first_or_those_named():
    data = make_digit_factors(10, n_relevant=2, random_state=0)
    np.testing.assert_array_equal(data.relevant, [True, True, False, False, False])
    data = make_digit_factors(10, relevant=("thickness", "rotation", "scale"), random_state=0)
    np.testing.assert_array_equal(data.relevant, [False, False, True, True, True])
    np.testing.assert_array_equal(data.relevant, data.mask.any(axis=0))


@pytest.mark.slow
def test_noise_has_its_standard_deviation():
    clean, noisy = (
        make_digit_factors(1000, noise=noise, image_size=8, random_state=0).y
        for noise in (0.0, 0.1)
    )
    # Five standard errors of a standard deviation.
    np.testing.assert_allclose((noisy - clean).std(axis=0), 0.1, rtol=5 / np.sqrt(2 * 1000))
