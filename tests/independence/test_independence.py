"""Laws of the independence tests: agreement, uniformity, invariance, honest edge cases."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from threadpoolctl import threadpool_limits

from skspecialist.independence import FisherZ, ResultFlag, Wilks
from skspecialist.independence._moments import Moments

TESTS = [FisherZ(), Wilks()]


@pytest.fixture(scope="module")
def correlated():
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 8)) @ rng.normal(size=(8, 8))


def test_fisher_z_equals_causal_learn(correlated):
    cit = pytest.importorskip("causallearn.utils.cit")
    oracle = cit.CIT(correlated, "fisherz")
    rng = np.random.default_rng(1)
    triples = [rng.permutation(8)[: rng.integers(2, 8)] for _ in range(200)]
    z = np.full((200, 6), -1)
    for row, triple in zip(z, triples, strict=True):
        row[: len(triple) - 2] = triple[2:]
    ours = FisherZ().test_many(correlated, [t[0] for t in triples], [t[1] for t in triples], z)
    theirs = [oracle(int(t[0]), int(t[1]), [int(j) for j in t[2:]]) for t in triples]
    assert_allclose(ours.pvalue, theirs, rtol=0, atol=1e-10)


def test_fisher_z_does_not_underflow_where_the_cdf_does(correlated):
    x, noise = correlated[:, 0], np.random.default_rng(0).normal(size=400)
    r = FisherZ().test(x, x + 0.6 * x.std() * noise)
    assert 0 < r.pvalue < 1e-100


@pytest.mark.parametrize("width", [1, 3])
def test_wilks_with_one_column_is_the_f_test_of_a_regression(correlated, width):
    sm = pytest.importorskip("statsmodels.api")
    y, x, z = correlated[:, 0], correlated[:, 1 : 1 + width], correlated[:, 5:7]
    full = sm.OLS(y, sm.add_constant(np.hstack([z, x]))).fit()
    reduced = sm.OLS(y, sm.add_constant(z)).fit()
    statistic, pvalue, _ = full.compare_f_test(reduced)
    ours = Wilks().test(x, y, z)
    assert_allclose(ours.statistic, statistic, rtol=1e-9)
    assert_allclose(ours.pvalue, pvalue, rtol=1e-9)


def test_wilks_equals_multivariate_regression(correlated):
    multivariate = pytest.importorskip("statsmodels.multivariate.multivariate_ols")
    x, y = correlated[:, :2], correlated[:, 2:5]
    exog = np.column_stack([np.ones(len(x)), x])
    test = multivariate._MultivariateOLS(y, exog).fit().mv_test([("x", np.eye(3)[1:])])
    row = test.results["x"]["stat"].loc["Wilks' lambda"]
    ours = Wilks().test(x, y)
    assert_allclose(ours.statistic, float(row["F Value"]), rtol=1e-8)
    assert_allclose(ours.df, [float(row["Num DF"]), float(row["Den DF"])], rtol=1e-8)


def test_wilks_equals_the_determinants_of_one_test():
    """Wide sets, some with fewer columns, against the formula for one test at a time."""
    rng = np.random.default_rng(8)
    data = rng.normal(size=(150, 40)) @ rng.normal(size=(40, 40))
    covariance = np.cov(data.T)
    columns = np.array([rng.permutation(36)[:24] for _ in range(20)])
    columns[::2, rng.permutation(24)[:5]] = -1
    x, y, z, given = columns[:, :4], columns[:, 4:9], columns[:, 9:], np.arange(36, 40)
    ours = Wilks().test_many(data, x, y, z, given=given)

    def log_det_given(sets, band):
        joint = [log_det(covariance[np.ix_(s, s)]) for s in (np.r_[sets, band], band)]
        return joint[0] - joint[1]

    for i in range(20):
        a, b, band = (row[row >= 0] for row in (x[i], y[i], z[i]))
        for j, task in enumerate(given):
            band_task = np.r_[band, task]
            log_lambda = (
                log_det_given(np.r_[a, b], band_task)
                - log_det_given(a, band_task)
                - log_det_given(b, band_task)
            )
            effect_size = np.sqrt(-np.expm1(log_lambda / min(len(a), len(b))))
            assert_allclose(ours.effect_size[i, j], effect_size, rtol=1e-8)


def log_det(matrix):
    return np.linalg.slogdet(matrix)[1]


@pytest.mark.parametrize(("p", "q", "r"), [(1, 1, 3), (4, 3, 2)])
def test_pvalues_are_uniform_under_the_null(p, q, r):
    rng = np.random.default_rng(p * 100 + q * 10 + r)
    test = FisherZ() if p == q == 1 else Wilks()
    pvalues = []
    for _ in range(120):
        z = rng.normal(size=(60, r))
        x = rng.normal(size=(60, p)) + z.sum(axis=1, keepdims=True)
        y = rng.normal(size=(60, q)) - z.sum(axis=1, keepdims=True)
        pvalues.append(test.test(x, y, z).pvalue)
    assert stats.kstest(pvalues, "uniform").pvalue > 0.001


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_permuting_samples_changes_nothing(test, correlated):
    order = np.random.default_rng(2).permutation(len(correlated))
    one = test.test_many(correlated, [0, 1], [2, 3], [[4, 5], [6, -1]])
    other = test.test_many(correlated[order], [0, 1], [2, 3], [[4, 5], [6, -1]])
    assert_allclose(one.statistic, other.statistic, rtol=1e-8)


def test_wilks_is_invariant_under_invertible_maps(correlated):
    rng = np.random.default_rng(3)
    x, y, z = correlated[:, :3], correlated[:, 3:5], correlated[:, 5:7]
    mapped = [b @ rng.normal(size=(b.shape[1],) * 2) * 1e6 + 5 for b in (x, y, z)]
    assert_allclose(Wilks().test(x, y, z).statistic, Wilks().test(*mapped).statistic, rtol=1e-7)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e8, 1e150])
@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_scale_does_not_matter(test, correlated, scale):
    expected = test.test(correlated[:, 0], correlated[:, 1], correlated[:, 2])
    scaled = test.test(*(correlated[:, j] * scale for j in range(3)))
    assert_allclose(scaled.pvalue, expected.pvalue, rtol=1e-8)


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_given_equals_adding_to_the_conditioning_set(test, correlated):
    x, y, z = [0, 1], [2, 3], [[4], [5]]
    shared = test.test_many(correlated, x, y, z, given=[6, 7])
    assert shared.pvalue.shape == (2, 2)
    for j, column in enumerate([6, 7]):
        one = test.test_many(correlated, x, y, [[4, column], [5, column]])
        assert_allclose(shared.statistic[:, j], one.statistic, rtol=1e-9)
        assert_allclose(shared.df[:, j], one.df)


def test_given_the_rest_equals_conditioning_on_it():
    rng = np.random.default_rng(5)
    group = rng.normal(size=(200, 9)) @ rng.normal(size=(9, 9))
    targets = group @ rng.normal(size=(9, 4)) / 20 + rng.normal(size=(200, 4))
    moments = Moments.from_data(np.hstack([group, targets]))
    x, y = [[0, 1, -1], [2, 3, 4], [5, -1, -1], [6, 7, 8]], [[9, 10], [11, -1], [12, -1]]
    together = Wilks().test_given_rest(moments, np.array(x), np.array(y), np.arange(9))
    for i, columns in enumerate(x):
        rest = [column for column in range(9) if column not in columns]
        one = Wilks().test_many(moments, [columns] * 3, y, [rest] * 3)
        for name in ("pvalue", "statistic", "effect_size", "df", "flag"):
            assert_allclose(getattr(together, name)[i], getattr(one, name), rtol=1e-9, atol=1e-12)
    scalar = FisherZ().test_given_rest(moments, np.array([[3]]), np.array([[12]]), np.arange(9))
    one = FisherZ().test_many(moments, [3], [12], [[0, 1, 2, 4, 5, 6, 7, 8]])
    assert_allclose(scalar.statistic[0], one.statistic)


@pytest.mark.parametrize("extra", ["sum", "constant"])
def test_given_the_rest_needs_a_regular_group(correlated, extra):
    column = correlated[:, :3].sum(axis=1) if extra == "sum" else np.ones(400)
    moments = Moments.from_data(np.column_stack([correlated, column, correlated[:, 0]]))
    x, y = np.array([[0], [8]]), np.array([[9]])
    assert Wilks().test_given_rest(moments, x, y, np.arange(9)) is None


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_chunks_do_not_matter(test, correlated, monkeypatch):
    rng = np.random.default_rng(4)
    triples = np.array([rng.permutation(8)[:4] for _ in range(200)])
    whole = test.test_many(correlated, triples[:, 0], triples[:, 1], triples[:, 2:])
    monkeypatch.setattr("skspecialist.independence._covariance.CHUNK_BYTES", 1)
    one_by_one = test.test_many(correlated, triples[:, 0], triples[:, 1], triples[:, 2:])
    assert_allclose(whole.statistic, one_by_one.statistic, rtol=1e-12)


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_threads_do_not_matter(test, correlated, monkeypatch):
    monkeypatch.setattr("skspecialist.independence._covariance.CHUNK_BYTES", 1)
    rng = np.random.default_rng(7)
    triples = np.array([rng.permutation(7)[:4] for _ in range(1000)])
    moments = Moments.from_data(correlated)

    def run(n_threads):
        with threadpool_limits(n_threads, user_api="blas"):
            return test.test_many(moments, triples[:, 0], triples[:, 1], triples[:, 2:], given=[7])

    one, several = run(1), run(2)
    for name in ("statistic", "pvalue", "effect_size", "df", "flag"):
        assert_array_equal(getattr(one, name), getattr(several, name))


def test_errors_of_threads_are_raised(correlated, monkeypatch):
    monkeypatch.setattr("skspecialist.independence._covariance.CHUNK_BYTES", 1)
    pairs = np.tile([[0, 1]], (200, 1))
    with pytest.raises(ValueError, match="independence_test='wilks'"):
        FisherZ().test_many(correlated, pairs, pairs + 2)


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_redundant_conditioning_is_flagged_and_harmless(test, correlated):
    x, y, z = correlated[:, 0], correlated[:, 1], correlated[:, 2:4]
    expected = test.test(x, y, z)
    redundant = test.test(x, y, np.column_stack([z, z @ [1, 2], np.ones(len(z)), z[:, 0]]))
    assert redundant.flag == ResultFlag.RANK_DEFICIENT
    assert_allclose(redundant.pvalue, expected.pvalue, rtol=1e-6)


def test_wilks_counts_redundant_columns_once(correlated):
    x, y = correlated[:, :2], correlated[:, 3]
    redundant = Wilks().test(np.column_stack([x, x.sum(axis=1), np.zeros(len(x))]), y)
    assert redundant.flag == ResultFlag.RANK_DEFICIENT
    assert_allclose(redundant.pvalue, Wilks().test(x, y).pvalue, rtol=1e-6)
    assert_allclose(redundant.df, Wilks().test(x, y).df)


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_a_constant_or_explained_side_is_no_evidence(test, correlated):
    for x in (np.full(400, 7.3), correlated[:, 2] * 3 - 1):
        result = test.test(x, correlated[:, 0], correlated[:, 2])
        assert result.pvalue == 1.0
        assert result.statistic == 0.0
        assert result.flag & ResultFlag.DEGENERATE


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_a_deterministic_relation_is_flagged_and_finite(test, correlated):
    result = test.test(correlated[:, 0], -3 * correlated[:, 0] + 2)
    assert result.flag == ResultFlag.DETERMINISTIC
    assert np.isfinite(result.statistic)
    assert result.pvalue < 1e-100
    assert_allclose(abs(result.effect_size), 1.0)


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_too_few_samples_are_no_evidence(test, correlated):
    result = test.test(correlated[:5, 0], correlated[:5, 1], correlated[:5, 2:])
    assert result.pvalue == 1.0
    assert result.flag & ResultFlag.TOO_FEW_SAMPLES


@pytest.mark.parametrize("test", TESTS, ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_named(test, correlated, bad):
    z = correlated[:, 2].copy()
    z[3] = bad
    with pytest.raises(ValueError, match="Input z contains"):
        test.test(correlated[:, 0], correlated[:, 1], z)


def test_wrong_columns_are_named(correlated):
    with pytest.raises(ValueError, match=r"must lie in -1\.\.7"):
        FisherZ().test_many(correlated, [0], [8])
    with pytest.raises(TypeError, match="must be integers"):
        FisherZ().test_many(correlated, [0.5], [1])
    with pytest.raises(ValueError, match="as many tests"):
        FisherZ().test_many(correlated, [0, 1], [2])
    with pytest.raises(ValueError, match="independence_test='wilks'"):
        FisherZ().test(correlated[:, :2], correlated[:, 3])


class TestMoments:
    @pytest.mark.parametrize("offset", [0.0, 5.0, 20.0, 1e6])
    def test_shards_equal_one_pass(self, offset):
        X = np.random.default_rng(5).normal(size=(1000, 4)) + offset
        whole = Moments.from_data(X)
        merged = Moments.from_data(X[:100])
        for shard in np.split(X[100:], 9):
            merged = merged.update(shard)
        assert merged.n == whole.n
        assert_allclose(merged.mean, whole.mean, rtol=1e-14)
        assert_allclose(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-7)
        centered = X.astype(np.longdouble) - X.mean(axis=0, dtype=np.longdouble)
        assert_allclose(whole.scatter, (centered.T @ centered).astype(float), rtol=1e-10, atol=1e-9)
        assert_allclose(merged.correlation(), whole.correlation(), atol=1e-10)

    @pytest.mark.parametrize("varying", [slice(None, None, 6), slice(1, None, 6)])
    def test_constant_stretches_and_outliers(self, varying):
        """The result does not depend on the rows from which the offset is estimated."""
        rng = np.random.default_rng(6)
        X = np.full((5000, 3), 3.0)
        X[varying] += rng.normal(size=X[varying].shape) * [1e-3, 1.0, 1e3]
        assert_allclose(Moments.from_data(X).correlation(), np.corrcoef(X.T), atol=1e-11)

    def test_correlation_is_that_of_numpy(self, correlated):
        assert_allclose(
            Moments.from_data(correlated).correlation(), np.corrcoef(correlated.T), atol=1e-12
        )
