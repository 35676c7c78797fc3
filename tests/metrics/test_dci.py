"""DCI against its definition."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skspecialist.metrics import dci


def factors(n_samples=300, n_factors=3):
    return np.random.RandomState(0).standard_normal((n_samples, n_factors))


def entropy(weights):
    shares = weights[weights > 0] / weights.sum()
    return -(shares * np.log(shares)).sum()


@pytest.mark.slow
@pytest.mark.parametrize("importances", ["lasso", "boosting"])
def test_scores_follow_from_the_importances(importances):
    true = factors()
    learned = true @ [[1, 0.5, 0.3, 0], [0, 1, 0.2, 0.5], [0, 0, 1, 0]]
    scores = dci(true, learned + 0.1 * factors(300, 4)[::-1], importances=importances)
    weights = scores.importances
    assert weights.shape == (3, 4)
    purities = [1 - entropy(column) / np.log(3) for column in weights.T]
    expected = sum(p * c.sum() for p, c in zip(purities, weights.T, strict=True)) / weights.sum()
    assert scores.disentanglement == pytest.approx(expected)
    expected = np.mean([1 - entropy(row) / np.log(4) for row in weights])
    assert scores.completeness == pytest.approx(expected)


@pytest.mark.slow
def test_importances_of_the_lasso_are_the_coefficients():
    true = factors(2000, 2)
    mixing = np.array([[1, 0.5], [0, 1]])
    learned = true @ mixing
    expected = np.abs(np.linalg.inv(mixing)).T * learned.std(axis=0) / true.std(axis=0)[:, None]
    scores = dci(true, learned, importances="lasso")
    # The penalty, the smallest of the path, is a thousandth of the largest.
    assert_allclose(scores.importances, expected, atol=0.02)


@pytest.mark.parametrize("importances", ["lasso", pytest.param("boosting", marks=pytest.mark.slow)])
def test_the_truth_scores_one_and_noise_zero(importances):
    true, noise = factors(150, 2), np.random.RandomState(1).standard_normal((150, 3))
    scores = dci(true, true[:, ::-1], importances=importances)
    assert min(scores.disentanglement, scores.completeness, scores.informativeness) > 0.97
    scores = dci(true, noise, importances=importances)
    assert (scores.disentanglement, scores.completeness) == (0, 0)
    assert scores.informativeness < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("importances", ["lasso", "boosting"])
def test_order_signs_and_scales_do_not_matter(importances):
    true = factors(200, 2)
    learned = true @ [[1, 0.5], [0, 1]]
    expected = dci(true, learned, importances=importances)
    scores = dci(true, learned[:, ::-1] * [-1, 20], importances=importances)
    # Both fits stop at a tolerance, or break ties at random.
    assert_allclose(scores.importances, expected.importances[:, ::-1], atol=0.02)
    assert_allclose(list(scores.values())[:3], list(expected.values())[:3], atol=0.02)


@pytest.mark.slow
def test_monotone_maps_leave_the_importances_of_trees():
    true = factors(200, 2)
    learned = true @ [[1, 0.5], [0, 1]]
    expected, scores = dci(true, learned), dci(true, np.exp(learned))
    assert_allclose(scores.importances, expected.importances, atol=1e-3)


def test_one_factor_in_one_latent():
    true = factors(100, 1)
    scores = dci(true, 2 * true, importances="lasso")
    assert (scores.disentanglement, scores.completeness) == (1, 1)


@pytest.mark.slow
def test_a_latent_of_two_factors_is_not_disentangled_and_two_of_one_are_not_complete():
    true = factors(200, 2)
    together = dci(true, true.sum(axis=1, keepdims=True), importances="lasso")
    assert together.disentanglement < 0.05
    assert together.completeness == 1
    noise = np.random.RandomState(1).standard_normal((200, 2))
    apart = dci(true[:, :1], true[:, :1] + noise, importances="lasso")
    assert apart.completeness < 0.05
    assert apart.disentanglement == 1
