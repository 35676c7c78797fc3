"""Thresholds that keep the false discovery rate."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom

from skspecialist.localizer._calibration import false_discovery_threshold


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_rate_is_kept_on_new_steps(alpha, share):
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        is_task = rng.random(2000) < share
        scores = rng.normal(size=2000) + 3 * is_task
        threshold = false_discovery_threshold(scores, rng.normal(size=1000), alpha)
        new_task = rng.random(2000) < share
        found = rng.normal(size=2000) + 3 * new_task >= threshold
        rates.append((found & ~new_task).sum() / max(1, found.sum()))
    assert np.mean(rates) < alpha + 3 * np.std(rates) / np.sqrt(200)
    # All steps are taken for null, which the share of the task makes cautious by as much.
    assert np.mean(rates) > 0.5 * alpha * (1 - share)


def test_nothing_is_found_where_nothing_is():
    rng = np.random.default_rng(1)
    found = [
        np.isfinite(false_discovery_threshold(rng.normal(size=200), rng.normal(size=5000), 0.1))
        for _ in range(500)
    ]
    # At the level: of all-null families at most alpha have any discovery.
    assert sum(found) <= binom.ppf(0.9995, 500, 0.1)


def test_it_does_not_depend_on_the_scale():
    rng = np.random.default_rng(2)
    scores, null = rng.normal(1, 2, size=500), rng.normal(size=500)
    expected = false_discovery_threshold(scores, null, 0.2)
    assert_allclose(false_discovery_threshold(5 * scores, 5 * null, 0.2), 5 * expected)


def test_without_null_steps_nothing_is_certain():
    assert false_discovery_threshold(np.arange(10.0), np.empty(0), 0.1) == np.inf
