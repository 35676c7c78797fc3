"""Mean correlation coefficient against its definition."""

from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import pearsonr, spearmanr

from skspecialist.metrics import mean_correlation_coefficient


@pytest.mark.parametrize(("method", "correlate"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_it_is_the_best_of_all_matchings(method, correlate):
    rng = np.random.RandomState(0)
    true, learned = rng.standard_normal((50, 3)), rng.standard_normal((50, 4))
    learned[:, :2] += true[:, 1:]

    def score(order):
        return np.mean([abs(correlate(true[:, i], learned[:, j])[0]) for i, j in enumerate(order)])

    best = max(permutations(range(4), 3), key=score)
    scores = mean_correlation_coefficient(true, learned, method=method)
    assert scores.score == pytest.approx(score(best))
    assert scores.assignment.tolist() == list(best)
    assert scores.correlations.mean() == pytest.approx(scores.score)


def test_order_signs_and_scales_do_not_matter_nor_do_monotone_maps_to_ranks():
    rng = np.random.RandomState(0)
    true = rng.standard_normal((200, 3))
    learned = true + rng.standard_normal((200, 3))
    for method in ("pearson", "spearman"):
        expected = mean_correlation_coefficient(true, learned, method=method).score
        moved = 3 - learned[:, [2, 0, 1]] * [1, -2, 30]
        assert mean_correlation_coefficient(true, moved, method=method).score == pytest.approx(
            expected
        )
    curved = mean_correlation_coefficient(np.exp(true), learned**3, method="spearman").score
    assert curved == pytest.approx(expected)


def test_the_truth_scores_one_and_noise_what_chance_finds():
    rng = np.random.RandomState(0)
    true, noise = rng.standard_normal((2, 2000, 3))
    assert mean_correlation_coefficient(true, true).score == pytest.approx(1)
    # Nine correlations with a standard deviation of 0.022.
    assert mean_correlation_coefficient(true, noise).score < 4 / np.sqrt(2000)


def test_a_true_latent_without_a_match_counts_as_zero():
    true = np.random.RandomState(0).standard_normal((50, 2))
    scores = mean_correlation_coefficient(true, -true[:, 1:])
    assert_allclose(scores.correlations, [0, 1])
    assert scores.assignment.tolist() == [-1, 0]
