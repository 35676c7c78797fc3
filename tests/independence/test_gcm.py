"""The generalized covariance measure, and what all tests on samples share."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.svm import SVR

from skspecialist import TaskStructureIdentifier
from skspecialist._stats.smoothing import RidgeSmoother
from skspecialist.datasets import make_collider_sequences
from skspecialist.independence import GCM, KCI, RCIT, ResultFlag
from skspecialist.independence._sampled import SampledTest

SAMPLED = [GCM(), GCM(features="linear"), RCIT(), KCI()]


def nonlinear(rng, n=300):
    """x and y depend on z in the same nonlinear way, and on nothing else."""
    z = rng.normal(size=(n, 2))
    shared = 2 * np.sin(2 * z)
    return shared + rng.normal(size=(n, 2)), shared + rng.normal(size=(n, 2)), z


def even_collider(rng, n=300):
    """x and y are independent, and dependent, without covariance, given the last of z."""
    x, y, z = rng.normal(size=(3, n, 2))
    sphere = (x**2).sum(axis=1) + (y**2).sum(axis=1) + rng.normal(size=n)
    return x, y, np.column_stack([z, sphere])


@pytest.mark.slow
@pytest.mark.parametrize("features", ["quadratic", "linear"])
def test_pvalues_are_uniform_where_both_sides_share_a_nonlinear_cause(features):
    rng = np.random.default_rng(0)
    test = GCM(features=features)
    pvalues = [test.test(*nonlinear(rng)).pvalue for _ in range(50)]
    low, high = stats.binom.ppf([0.0005, 0.9995], 50, 0.05)
    assert low <= np.sum(np.array(pvalues) <= 0.05) <= high
    if features == "linear":
        assert stats.kstest(pvalues, "uniform").pvalue > 0.001


@pytest.mark.slow
def test_dependence_without_covariance_needs_quadratic_features():
    rng = np.random.default_rng(1)
    data = [even_collider(rng) for _ in range(20)]
    assert np.mean([GCM().test(*sample).pvalue <= 0.01 for sample in data]) > 0.9
    linear = GCM(features="linear")
    assert np.mean([linear.test(*sample).pvalue <= 0.01 for sample in data]) < 0.3


def test_one_side_quadratic_in_the_other_is_found():
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=(2, 400))
    result = GCM().test(x, x**2 + z + rng.normal(size=400), z)
    assert result.pvalue < 1e-6
    assert result.effect_size > 0.3


def test_scalar_statistic_is_that_of_shah_and_peters():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 200))
    result = GCM(features="linear").test(x, y)
    # Without z the residuals are the centered columns.
    products = (x - x.mean()) * (y - y.mean())
    expected = np.sqrt(200) * products.mean() / products.std()
    assert_allclose(result.statistic, expected, rtol=0.01)
    assert_allclose(result.pvalue, 2 * stats.norm.sf(abs(result.statistic)), rtol=1e-6)
    assert_allclose(result.effect_size, np.corrcoef(x, y)[0, 1], atol=1e-10)
    assert result.signed
    assert_allclose(result.normal_score, result.statistic, rtol=1e-6)


@pytest.mark.slow
def test_statistic_without_z_agrees_with_a_permutation_test():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 150, 2))
    y[:, 0] += 0.15 * x[:, 0]
    test = GCM(features="linear")
    observed = test.test(x, y)
    permuted = [test.test(x[rng.permutation(150)], y).statistic for _ in range(100)]
    assert_allclose(observed.pvalue, np.mean(permuted >= observed.statistic), atol=0.12)


@pytest.mark.parametrize(
    "regressor",
    [
        LinearRegression(),
        pytest.param(SVR(), marks=pytest.mark.slow),
        pytest.param(RandomForestRegressor(5, random_state=0), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_any_regressor_will_do(regressor):
    rng = np.random.default_rng(5)
    z = rng.normal(size=(200, 2))
    x, y = z + rng.normal(size=(2, 200, 2))
    test = GCM(regressor=regressor)
    assert test.test(x, y, z).pvalue > 0.01
    assert test.test(x, y + x, z).pvalue < 1e-6
    assert_array_equal(test.test(x, y, z).pvalue, clone(test).test(x, y, z).pvalue)


def test_a_regressor_that_fits_badly_shows():
    rng = np.random.default_rng(6)
    x, y, z = nonlinear(rng)
    assert GCM(regressor=LinearRegression()).test(x, y, z).pvalue < 1e-6
    assert GCM().test(x, y, z).pvalue > 0.01


def test_unknown_features_are_named():
    with pytest.raises(ValueError, match="'features' parameter of GCM"):
        GCM(features="cubic").test(np.arange(50.0), np.arange(50.0))


def test_more_columns_than_pairs_are_good_for():
    rng = np.random.default_rng(7)
    x, y, z = rng.normal(size=(3, 200, 8))
    assert GCM().test(x, y, z).pvalue > 0.01
    assert GCM().test(x, y + x**2, z).pvalue < 0.01


@pytest.mark.parametrize("n_columns", [1, 30])
def test_residuals_of_pure_noise_keep_their_variance(n_columns):
    rng = np.random.default_rng(8)
    z, noise = rng.normal(size=(500, n_columns)), rng.normal(size=(500, 40))
    smoother = RidgeSmoother(z, rng)
    residuals, kept = smoother.residuals(noise)
    assert_allclose(residuals.var(), 1.0, atol=0.1)
    assert 0 < smoother.deflation(kept, kept) <= 1


class TestEverySampledTest:
    """Laws of the tests that look at samples."""

    @pytest.mark.slow
    @pytest.mark.parametrize("test", SAMPLED, ids=repr)
    def test_workers_change_no_bit(self, test):
        data = np.random.default_rng(0).normal(size=(60, 6))
        triples = {"x": [0, 1, 0], "y": [2, 3, 3], "z": [[4], [-1], [5]], "given": [[4], [5]]}
        alone = test.test_many(data, **triples)
        assert alone.pvalue.shape == (3, 2)
        shared = clone(test).set_params(n_jobs=2).test_many(data, **triples)
        for name in ("statistic", "pvalue", "effect_size", "flag"):
            assert_array_equal(getattr(alone, name), getattr(shared, name))

    @pytest.mark.parametrize("test", SAMPLED, ids=repr)
    def test_given_is_more_to_condition_on(self, test):
        # The first test of both calls has the same random stream.
        data = np.random.default_rng(1).normal(size=(100, 5))
        one = test.test_many(data, [0], [1], [[2, 3]])
        other = test.test_many(data, [0], [1], [[2]], given=[3])
        assert_array_equal(one.pvalue, other.pvalue[:, 0])

    @pytest.mark.parametrize("test", SAMPLED, ids=repr)
    def test_a_constant_or_explained_side_is_no_evidence(self, test):
        x, z = np.random.default_rng(2).normal(size=(2, 100))
        for side in (np.full(100, 3.0), 2 * z - 1):
            result = test.test(side, x, z)
            assert (result.pvalue, result.flag) == (1.0, ResultFlag.DEGENERATE)

    @pytest.mark.parametrize("test", SAMPLED, ids=repr)
    def test_too_few_samples_are_no_evidence(self, test):
        x, y, z = np.random.default_rng(3).normal(size=(3, 8))
        result = test.test(x, y, z)
        assert (result.pvalue, result.flag) == (1.0, ResultFlag.TOO_FEW_SAMPLES)

    @pytest.mark.parametrize("test", SAMPLED, ids=repr)
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_nan_and_infinity_are_named(self, test, bad):
        x, y, z = np.random.default_rng(4).normal(size=(3, 50))
        z[3] = bad
        with pytest.raises(ValueError, match="Input z contains"):
            test.test(x, y, z)
        with pytest.raises(ValueError, match="Input data contains"):
            test.test_many(np.column_stack([x, z]), [0], [1])

    @pytest.mark.parametrize("test", SAMPLED, ids=repr)
    @pytest.mark.parametrize("scale", [1e-150, 1e150])
    def test_scale_does_not_matter(self, test, scale):
        x, y, z = np.random.default_rng(5).normal(size=(3, 100, 1))
        expected = test.test(x, y, z).pvalue
        assert_allclose(test.test(x * scale, y * scale, z * scale).pvalue, expected, rtol=1e-6)

    @pytest.mark.parametrize("test", SAMPLED, ids=repr)
    def test_strong_dependence_is_found_and_bounded(self, test):
        rng = np.random.default_rng(6)
        x, z = rng.normal(size=(2, 200, 2))
        result = test.test(x, x + 0.5 * rng.normal(size=(200, 2)), z)
        assert result.pvalue < 1e-4
        assert 0.2 < result.effect_size <= 1.0
        assert result.n == 200

    @pytest.mark.parametrize("test", SAMPLED, ids=repr)
    def test_wrong_columns_are_named(self, test):
        data = np.zeros((50, 3))
        with pytest.raises(ValueError, match=r"must lie in -1\.\.2"):
            test.test_many(data, [0], [3])
        with pytest.raises(ValueError, match="as many tests"):
            test.test_many(data, [0, 1], [2])
        none = np.empty((0, 1), dtype=int)
        assert test.test_many(data, none, none).pvalue.shape == (0,)

    def test_each_triple_has_a_stream_of_its_own(self):
        class Draw(SampledTest):
            n_jobs = None
            random_state = 0

            def _test(self, x, y, z, rng):
                from skspecialist.independence._sampled import answer

                return answer(len(x), 0.0, rng.random(), 0.0)

        pvalues = Draw().test_many(np.eye(40), [0, 0], [1, 1]).pvalue
        assert pvalues[0] != pvalues[1]
        assert_array_equal(pvalues, Draw().test_many(np.eye(40), [0, 0], [1, 1]).pvalue)


@pytest.mark.slow
@pytest.mark.parametrize("test", ["gcm", GCM(features="linear", n_jobs=2)])
def test_structure_is_found_with_it(test):
    data = make_collider_sequences(400, n_timesteps=8, n_tasks=2, random_state=0)
    identifier = TaskStructureIdentifier(2, independence_test=test, alpha=0.01)
    assert_array_equal(identifier.fit(data.X, data.y).structure_, data.structure)
