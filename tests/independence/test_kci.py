"""KCI: agreement with the original at equal widths, size, power, cost."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skspecialist.exceptions import SpecialistWarning
from skspecialist.independence import KCI


def null_sample(rng, n=150):
    z = rng.normal(size=(n, 2))
    u = z.sum(axis=1, keepdims=True)
    return u + u**2 / 2 + rng.normal(size=(n, 2)), np.tanh(u) + rng.normal(size=(n, 2)), z


def test_equals_causal_learn_at_equal_widths():
    reference = pytest.importorskip("causallearn.utils.KCI.KCI")
    x, y, z = null_sample(np.random.default_rng(0), n=60)
    widths = {"kwidthx": 1.3, "kwidthy": 0.9, "kwidthz": 1.1}
    oracle = reference.KCI_CInd(est_width="manual", **widths)
    oracle.thresh = 0.0  # it leaves out small eigenvalues otherwise
    pvalue, statistic = oracle.compute_pvalue(x, y, z)
    ours = KCI(width_x=1.3, width_y=0.9, width_z=1.1, regularization=1e-3).test(x, y, z)
    assert_allclose(ours.statistic, statistic, rtol=1e-8)
    assert_allclose(ours.pvalue, pvalue, atol=1e-8)


@pytest.mark.slow
def test_size_is_kept_under_a_nonlinear_null():
    rng = np.random.default_rng(1)
    pvalues = np.array([KCI().test(*null_sample(rng)).pvalue for _ in range(50)])
    assert np.sum(pvalues <= 0.05) <= stats.binom.ppf(0.9995, 50, 0.05)
    assert 0.35 < pvalues.mean() < 0.7


@pytest.mark.slow
def test_without_z_it_agrees_with_a_permutation_test():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 100))
    y = y + 0.15 * x**2
    observed = KCI().test(x, y)
    permuted = [KCI().test(x[rng.permutation(100)], y).statistic for _ in range(300)]
    assert_allclose(observed.pvalue, np.mean(permuted >= observed.statistic), atol=0.06)


def test_dependence_of_squares_is_found():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(250, 2))
    x = rng.normal(size=(250, 1))
    result = KCI().test(x, x**2 + z[:, :1] + 0.5 * rng.normal(size=(250, 1)), z)
    assert result.pvalue < 1e-3
    assert 0 < result.effect_size <= 1


def test_too_many_samples_are_refused():
    x, y = np.random.default_rng(4).normal(size=(2, 60))
    with pytest.raises(ValueError, match="max_samples=50, got 60; use independence_test='gcm'"):
        KCI(max_samples=50).test(x, y)


def test_a_long_run_is_announced(monkeypatch):
    data = np.random.default_rng(5).normal(size=(40, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KCI().test_many(data, [0], [1])
    monkeypatch.setattr("skspecialist.independence._kci.SECONDS_PER_TEST", 1e9)
    with pytest.warns(SpecialistWarning, match="1 tests by KCI with 40 samples take about"):
        KCI().test_many(data, [0], [1])
