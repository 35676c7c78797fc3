"""The projected covariance measure."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.svm import SVC

from skspecialist import TaskStructureIdentifier
from skspecialist.independence import PCM, ResultFlag
from skspecialist.independence._pcm import _positive_covariance


def draw(rng, effect=0.0, n=300):
    """y depends on x in interaction with z; both share a nonlinear cause."""
    z, noise = rng.normal(size=(n, 2)), rng.normal(size=(2, n))
    shared = 2 * np.sin(2 * z[:, 0])
    return shared + noise[0], shared + effect * noise[0] * z[:, 1] + noise[1], z


@pytest.mark.slow
@pytest.mark.parametrize("regressor", [None, LinearRegression()], ids=["kernel", "linear"])
def test_pvalues_keep_their_level_where_both_sides_share_a_cause(regressor):
    rng = np.random.default_rng(0)
    pvalues = []
    for _ in range(100):
        x, y, z = draw(rng)
        if regressor is not None:  # the cause is linear for a linear regressor
            x, y = x - 2 * np.sin(2 * z[:, 0]) + z[:, 0], y - 2 * np.sin(2 * z[:, 0]) + z[:, 1]
        pvalues.append(PCM(regressor).test(x, y, z).pvalue)
    low, high = stats.binom.ppf([0.0005, 0.9995], 100, 0.05)
    assert low <= np.sum(np.array(pvalues) <= 0.05) <= high


def test_an_interaction_without_covariance_is_found():
    x, y, z = draw(np.random.default_rng(1), effect=1.0)
    result = PCM().test(x, y, z)
    assert result.pvalue < 1e-3
    assert result.effect_size > 0.2
    assert PCM().test(*draw(np.random.default_rng(1))).pvalue > 0.01


def test_the_statistic_is_that_of_the_paper():
    """sqrt(n) mean(L) / sd(L) for the products L of the residuals, without z."""
    y, direction = np.random.default_rng(2).normal(size=(2, 100))

    class Mean:
        def residuals(self, targets):
            return targets - targets.mean(axis=0), np.empty((0, targets.shape[1]))

        def deflation(self, kept_x, kept_y):
            return 1.0

    pvalue, correlation = _positive_covariance(y, direction, Mean())
    products = (y - y.mean()) * (direction - direction.mean())
    assert pvalue == pytest.approx(
        stats.ttest_1samp(products, 0, alternative="greater").pvalue, abs=0.01
    )
    assert correlation == pytest.approx(np.corrcoef(y, direction)[0, 1])


def test_any_regressor_and_several_columns():
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(2, 200, 2))
    y = np.column_stack([rng.normal(size=200), x[:, 0] + rng.normal(size=200)])
    assert PCM(LinearRegression()).test(x, y, z).pvalue < 1e-3
    assert PCM(LinearRegression()).test(x, y[:, 0], z).pvalue > 0.01
    with pytest.raises(ValueError, match="regressor=SVC"):
        PCM(SVC()).test(x, y, z)


def test_few_samples_and_constant_sides_are_no_evidence():
    rng = np.random.default_rng(4)
    assert PCM().test(*rng.normal(size=(2, 39))).flag == ResultFlag.TOO_FEW_SAMPLES
    assert PCM().test(np.ones(100), rng.normal(size=100)).flag == ResultFlag.DEGENERATE


def test_it_tests_steps_given_their_band():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(100, 2, 1))
    y = np.abs(X[:, 1, 0]) + 0.3 * rng.normal(size=100)
    identifier = TaskStructureIdentifier(independence_test="pcm", n_jobs=1).fit(X, y)
    assert identifier.structure_.ravel().tolist() == [False, True]
