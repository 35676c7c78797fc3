"""RCIT: agreement with the original on the same features, uniformity, power."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skspecialist._stats.pvalues import hall_buckley_eagleson, lindsay_pilla_basak
from skspecialist.independence import RCIT
from skspecialist.independence._rcit import _statistic, _unit_features, ridge_residuals


def null_sample(rng, n=400):
    z = rng.normal(size=(n, 2))
    u = z.sum(axis=1, keepdims=True)
    return u + rng.normal(size=(n, 2)), np.tanh(u) + rng.normal(size=(n, 2)), z


def test_equals_causal_learn_on_the_same_features(monkeypatch):
    reference = pytest.importorskip("causallearn.utils.RCIT.RCIT")
    # Its Lindsay-Pilla-Basak method looks for this and otherwise does without.
    monkeypatch.setattr(np, "math", math, raising=False)
    rng = np.random.default_rng(0)
    x, y, z = (rng.normal(size=(400, k)) for k in (2, 2, 5))
    of_x, of_y, of_z = (
        _unit_features(columns, k, rng) for columns, k in [(x, 5), (np.hstack([y, z]), 5), (z, 100)]
    )
    drawn = iter([of_z, of_x, of_y])
    oracle = reference.RCIT(approx="lpd4", num_f=100)
    monkeypatch.setattr(oracle, "random_fourier_features", lambda *a, **k: next(drawn))
    expected_pvalue, expected = oracle.compute_pvalue(x, y, z)

    sides, deflation = ridge_residuals([of_x, of_y], of_z, 1e-10)
    statistic = _statistic(*sides)
    assert_allclose(statistic, expected, rtol=1e-6)
    assert_allclose(deflation, 1 - 101 / 400, rtol=0.02)
    products = (sides[0][:, :, None] * sides[1][:, None, :]).reshape(400, -1)
    weights = np.linalg.eigvalsh(products.T @ products / 400)
    assert_allclose(lindsay_pilla_basak(statistic, weights), expected_pvalue, atol=1e-6)


@pytest.mark.parametrize("n_weights", [1, 3, 5, 25, 100])
def test_tails_of_weighted_sums(n_weights):
    rng = np.random.default_rng(n_weights)
    weights = rng.gamma(0.7, size=n_weights)
    draws = rng.chisquare(1, size=(50_000, n_weights)) @ weights
    quantiles = np.quantile(draws, [0.9, 0.95, 0.99])
    ours = [lindsay_pilla_basak(q, weights) for q in quantiles]
    assert_allclose(ours, [0.1, 0.05, 0.01], atol=0.003)
    traces = tuple((weights**k).sum() for k in (1, 2, 3))
    ours = [hall_buckley_eagleson(q, traces) for q in quantiles]
    assert_allclose(ours, [0.1, 0.05, 0.01], atol=0.006)


def test_lindsay_pilla_basak_equals_momentchi2(monkeypatch):
    momentchi2 = pytest.importorskip("momentchi2")
    monkeypatch.setattr(np, "math", math, raising=False)
    weights = np.random.default_rng(0).gamma(0.5, size=25)
    for share in (0.3, 1.0, 2.0, 4.0):
        x = float(share * weights.sum())
        assert_allclose(lindsay_pilla_basak(x, weights), 1 - momentchi2.lpb4(weights, x), atol=1e-8)
        traces = tuple((weights**k).sum() for k in (1, 2, 3))
        assert_allclose(hall_buckley_eagleson(x, traces), 1 - momentchi2.hbe(weights, x))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("null", "count"), [("moments", 60), pytest.param("permutation", 20, marks=pytest.mark.slow)]
)
def test_size_is_kept_under_the_null(null, count):
    rng = np.random.default_rng(1)
    test = RCIT(null=null)
    pvalues = np.array([test.test(*null_sample(rng)).pvalue for _ in range(count)])
    assert np.sum(pvalues <= 0.05) <= stats.binom.ppf(0.9995, count, 0.05)
    assert 0.35 < pvalues.mean() < 0.65


@pytest.mark.parametrize("null", ["moments", "permutation"])
def test_dependence_of_squares_is_found(null):
    rng = np.random.default_rng(2)
    z = rng.normal(size=(500, 2))
    x = rng.normal(size=(500, 1))
    result = RCIT(null=null).test(x, x**2 + z[:, :1] + rng.normal(size=(500, 1)), z)
    assert result.pvalue < 0.01
    assert 0 < result.effect_size <= 1


def test_few_features_of_z_leave_its_influence_in():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(1000, 5))
    x, y = z[:, :2] + rng.normal(size=(2, 1000, 2))
    assert RCIT(n_features_z=10).test(x, y, z).pvalue < 1e-6
    assert RCIT().test(x, y, z).pvalue > 0.01
