"""The Frechet cumulative covariance: definition, size, power, refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.spatial.distance import cdist

from skspecialist.independence import FrechetCovariance


def standardized(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def test_the_statistic_is_the_mean_squared_covariance_with_balls():
    rng = np.random.default_rng(0)
    x, y = standardized(rng.normal(size=(25, 2))), standardized(rng.normal(size=(25, 3)))
    distances = np.round(cdist(y, y), 1)  # with ties
    balls = distances[:, None, :] <= distances[:, :, None]  # center, border, sample
    expected = np.sum((balls @ x / 25) ** 2, axis=2).mean()
    result = FrechetCovariance("precomputed").test(x, distances)
    assert_allclose(result.statistic, 25**2 * expected)
    assert_allclose(result.pvalue, FrechetCovariance("precomputed").test(x, 9 * distances).pvalue)
    moved = FrechetCovariance().test(x, 2 * y + 1)
    assert_allclose(moved.statistic, FrechetCovariance("euclidean").test(x, y).statistic)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cauchy", "label", "curve", "variance", "z"])
def test_size_is_within_the_error_of_its_estimate(kind):
    rng = np.random.default_rng(1)
    pvalues = []
    for _ in range(300):
        x, z = rng.normal(size=(150, 2)), None
        if kind == "cauchy":
            y = rng.standard_cauchy(size=(150, 2))
        elif kind == "label":
            y = rng.integers(3, size=150)
        elif kind == "curve":
            y = np.sin(np.linspace(0, 6, 20) * (1 + rng.uniform(size=(150, 1))))
        elif kind == "variance":
            y = rng.normal(size=150)
            x = x * (0.3 + np.abs(y[:, None]))
        else:
            z = rng.normal(size=(150, 2))
            y = np.tanh(z.sum(axis=1)) + rng.normal(size=150)
            x = x + z.sum(axis=1, keepdims=True) ** 2
        pvalues.append(FrechetCovariance().test(x, y, z).pvalue)
    assert np.sum(np.array(pvalues) <= 0.05) <= stats.binom.ppf(0.999, 300, 0.05)


def test_a_mean_that_depends_on_a_response_is_found():
    rng = np.random.default_rng(2)
    y = rng.standard_cauchy(size=150)  # outliers of the response have no weight
    x = np.sign(y) + rng.normal(size=150)
    result = FrechetCovariance().test(x, y)
    assert result.pvalue < 1e-6
    assert 0 < result.effect_size <= 1
    given = FrechetCovariance().test(x, y, np.sign(y))
    assert given.pvalue > 0.05


@pytest.mark.parametrize("wrong", [np.ones((20, 19)), -np.ones((20, 20)), np.ones((20, 20))])
def test_matrices_that_are_not_distances_are_refused(wrong):
    with pytest.raises(ValueError, match="distances"):
        FrechetCovariance("precomputed").test(np.arange(20.0), wrong)
    with pytest.raises(ValueError, match="FrechetCovariance costs"):
        FrechetCovariance(max_samples=10).test(np.arange(20.0), np.arange(20.0))
    nothing = FrechetCovariance("precomputed").test(np.arange(20.0), np.zeros((20, 20)))
    assert nothing.pvalue == 1
