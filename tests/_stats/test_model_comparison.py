"""Standard errors of means, and the loss that the one-standard-error rule tolerates."""

import numpy as np
from numpy.testing import assert_allclose
from scipy.stats import sem

from skspecialist._stats.model_comparison import standard_error, tolerated_loss

RNG = np.random.default_rng(0)


def test_agrees_with_scipy_over_the_last_axis():
    values = RNG.normal(size=(3, 50))
    assert_allclose(standard_error(values), sem(values, axis=1))
    assert_allclose(standard_error(values[0], np.arange(50)), sem(values[0]))


def test_copies_of_a_group_are_no_further_evidence():
    values = RNG.normal(size=50)
    copied = standard_error(np.repeat(values, 2), np.repeat(np.arange(50), 2))
    assert_allclose(copied, sem(values))


def test_single_value_or_group_has_none():
    values = RNG.normal(size=50)
    assert np.isnan(standard_error(values[:1]))
    assert np.isnan(standard_error(values[:1], np.arange(1)))
    assert np.isnan(standard_error(values, np.zeros(50, dtype=int)))
    assert tolerated_loss(values[:1]) == 0


def test_smaller_of_two_errors_is_tolerated():
    best = RNG.normal(size=9)
    lost = np.stack([np.full(9, 0.1), 5 * RNG.normal(size=9)])
    assert_allclose(tolerated_loss(best, lost), [0.0, sem(best)], atol=1e-15)
