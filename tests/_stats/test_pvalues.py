"""Combinations of p-values against scipy and their definitions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import cauchy, chi2

from skspecialist._stats.pvalues import (
    cauchy_combination,
    fisher_combination,
    normal_score,
    simes_combination,
)

RNG = np.random.default_rng(0)
PVALUES = RNG.uniform(size=(7, 4))


def test_cauchy_is_the_tail_of_the_mean_of_quantiles():
    expected = cauchy.sf(cauchy.isf(PVALUES).mean(axis=0))
    assert_allclose(cauchy_combination(PVALUES), expected)
    valid = np.ones(PVALUES.shape, bool)
    valid[2:, 0], valid[:, 1] = False, False
    combined = cauchy_combination(PVALUES, valid=valid)
    assert_allclose(combined[0], cauchy.sf(cauchy.isf(PVALUES[:2, 0]).mean()))
    assert combined[1] == 1.0


def test_cauchy_bounds_p_values_of_one_and_zero():
    assert 0 < cauchy_combination(np.array([0.0, 0.5])) < 1e-200
    assert cauchy_combination(np.array([1.0, 1e-4]), largest=0.5) < 1e-3


def test_fisher_leaves_out_what_is_missing():
    pvalues = PVALUES.copy()
    pvalues[3:, 0], pvalues[:, 1] = np.nan, np.nan
    statistic, pvalue = fisher_combination(pvalues)
    assert_allclose(statistic[0], -2 * np.log(PVALUES[:3, 0]).sum())
    assert_allclose(pvalue[0], chi2.sf(statistic[0], 6))
    assert (statistic[1], pvalue[1]) == (0.0, 1.0)


def test_simes_is_the_least_scaled_sorted_p_value():
    ordered = np.sort(PVALUES, axis=0)
    expected = (7 * ordered / np.arange(1, 8)[:, None]).min(axis=0)
    assert_allclose(simes_combination(PVALUES), expected)
    assert_array_equal(simes_combination(np.empty((0, 3))), np.ones(3))


@pytest.mark.parametrize("combine", [cauchy_combination, simes_combination])
def test_equal_p_values_combine_to_themselves(combine):
    assert_allclose(combine(np.full((5, 1), 0.03)), 0.03)


def test_normal_scores_are_finite_and_decrease():
    scores = normal_score(np.array([0.0, 1e-10, 0.5, 1.0]))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()
