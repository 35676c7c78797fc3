"""Consistency of fits against its definition."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skspecialist.metrics import consistency


def held_out_r2(source, target, n_folds=5):
    """Predict by least squares, fold by fold in the order of the rows."""
    predicted = np.empty_like(target)
    design = np.column_stack([np.ones(len(source)), source])
    for test in np.array_split(np.arange(len(source)), n_folds):
        train = np.setdiff1d(np.arange(len(source)), test)
        predicted[test] = design[test] @ np.linalg.lstsq(design[train], target[train])[0]
    return (1 - ((target - predicted) ** 2).sum(axis=0) / (len(target) * target.var(axis=0))).mean()


def test_it_is_the_held_out_r2_both_ways():
    rng = np.random.RandomState(0)
    first, noise = rng.standard_normal((2, 2000, 3))
    second = first[:, :2] + 0.5 * noise[:, :2]
    scores = consistency([first, second])
    expected = [held_out_r2(first, second), held_out_r2(second, first)]
    # The folds differ, which moves the R2 of 2,000 rows in the third digit.
    assert_allclose(scores.pairwise, [[1, expected[0]], [expected[1], 1]], atol=0.005)
    assert scores.score == pytest.approx((scores.pairwise[0, 1] + scores.pairwise[1, 0]) / 2)


def test_invertible_linear_maps_are_consistent():
    latents = np.random.RandomState(0).standard_normal((100, 3))
    mixing = np.random.RandomState(1).standard_normal((3, 3))
    fits = [latents, -latents[:, [2, 0, 1]], 5 * latents @ mixing + 1]
    assert_allclose(consistency(fits).pairwise, np.ones((3, 3)))


def test_order_signs_and_scales_do_not_matter():
    rng = np.random.RandomState(0)
    first, noise = rng.standard_normal((2, 100, 3))
    second = first + noise
    moved = second[:, [1, 2, 0]] * [-1, 10, 0.1]
    assert_allclose(consistency([first, moved]).score, consistency([first, second]).score)


def test_many_unrelated_latents_are_not_consistent_by_overfitting():
    first, second = np.random.RandomState(0).standard_normal((2, 100, 60))
    assert consistency([first, second]).score < 0.0


def test_one_fit_cannot_be_compared():
    with pytest.raises(ValueError, match="latents has 1 fits"):
        consistency([np.ones((10, 2))])
