"""Laws of the robust score tests."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom

from skspecialist.datasets import make_collider_sequences
from skspecialist.structure._robust import BASIS, LEARNED, OWN, robust_scores
from skspecialist.structure._robust_columns import principal_components, split_static


def chain(n, n_timesteps, n_features, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_timesteps, n_features))
    for t in range(1, n_timesteps):
        X[:, t] += 0.5 * X[:, t - 1]
    return X, rng


def within_binomial(pvalues, level):
    """Whether as many p-values are below the level as a valid test may give."""
    return (pvalues <= level).sum() <= binom.ppf(0.9995, pvalues.size, level)


@pytest.fixture(scope="module")
def curved():
    X, rng = chain(400, 8, 2, 0)
    y = X[:, 2, 0] + np.abs(X[:, 5, 1]) * 1.5 + rng.normal(size=400)
    return X, np.stack([y, rng.normal(size=400)], axis=1)


@pytest.mark.parametrize("world", ["normal", "volatile", "heavy", "missing", "groups", "few"])
def test_null_pvalues_are_valid(world):
    n = 70 if world == "few" else 250
    X, rng = chain(n, 10, 3 if world == "few" else 2, 1)
    Y, groups = rng.normal(size=(n, 25)), None
    if world == "volatile":
        volatility = np.exp(rng.normal(size=n))
        X, Y = X * volatility[:, None, None], Y * volatility[:, None]
    elif world == "heavy":
        X, Y = np.exp(2 * X), rng.standard_cauchy(size=Y.shape)
    elif world == "missing":
        Y += 2 * X[:, 3, :1]
        X[rng.uniform(size=X.shape[:2]) < 0.2] = np.nan
    elif world == "groups":
        groups = np.repeat(np.arange(25), 10)
        X = X + rng.normal(size=(25, 1, 2))[groups]
        Y = Y + rng.normal(size=(25, 25))[groups]
    scores = robust_scores(X, Y, groups=groups)
    null = np.delete(scores.pvalues, 3, axis=0) if world == "missing" else scores.pvalues
    assert scores.tested.all()
    # The tasks are independent of each other, and steps nearly so.
    assert within_binomial(null, 0.05)
    assert within_binomial(null, 0.01)


def test_planted_steps_come_back(curved):
    scores = robust_scores(*curved)
    assert_array_equal(np.flatnonzero(scores.pvalues[:, 0] < 1e-3), [2, 5])
    assert (scores.pvalues[:, 1] > 1e-3).all()
    assert scores.effect_sizes[[2, 5], 0].min() > scores.effect_sizes[[0, 1, 3, 4, 6, 7], 0].max()
    # A linear test is blind to the second.
    assert scores.parts[OWN, 5, 0] > 1e-3
    assert max(scores.parts[[BASIS, LEARNED], 5, 0]) < 1e-3


def test_permuting_tasks_or_features_permutes_the_results(curved):
    X, Y = curved
    pvalues = robust_scores(X, Y).pvalues
    assert_allclose(robust_scores(X, Y[:, ::-1]).pvalues, pvalues[:, ::-1], rtol=1e-6)
    assert_allclose(robust_scores(X[:, :, ::-1], Y).pvalues, pvalues, rtol=1e-6)


def test_scales_do_not_matter(curved):
    X, Y = curved
    pvalues = robust_scores(X, Y).pvalues
    assert_allclose(robust_scores(5 * X - 2, 3 * Y + 1).pvalues, pvalues, rtol=1e-6)


def test_columns_without_information_change_nothing(curved):
    X, Y = curved
    useless = np.concatenate([X, X[:, :, :1], np.full((*X.shape[:2], 1), 7.0)], axis=2)
    assert_array_equal(robust_scores(useless, Y).pvalues, robust_scores(X, Y).pvalues)


def test_shares_that_sum_to_one_and_a_static_feature(curved):
    X, Y = curved
    rng = np.random.default_rng(3)
    one_hot = np.eye(3)[rng.integers(3, size=X.shape[:2])]
    static = np.repeat(rng.normal(size=(len(X), 1, 1)), X.shape[1], axis=1)
    more = np.concatenate([X, one_hot, static], axis=2)
    task = Y[:, :1] + 2 * static[:, 0]
    scores = robust_scores(more, np.concatenate([task, Y], axis=1))
    assert_array_equal(np.flatnonzero(scores.pvalues[:, 0] < 1e-3), [2, 5])
    assert_array_equal(np.flatnonzero(scores.pvalues[:, 1] < 1e-3), [2, 5])
    assert split_static(more)[1].shape == (len(X), 1)


@pytest.mark.slow
def test_one_feature_without_lift_is_the_robust_score_test():
    """With one column per step and no curves the own test is statsmodels' HC2 regression."""
    sm = pytest.importorskip("statsmodels.api")
    X, rng = chain(2000, 3, 1, 4)
    y = 0.05 * X[:, 1, 0] + rng.normal(size=2000) * (1 + X[:, 0, 0] ** 2) ** 0.5
    own = robust_scores(X, y[:, None]).parts[OWN, :, 0]
    wald = sm.OLS(y, sm.add_constant(X[:, :, 0])).fit(cov_type="HC2").pvalues[1:]
    assert_allclose(own, wald, atol=0.06)


def test_own_test_agrees_with_the_f_test_where_variances_are_equal():
    sm = pytest.importorskip("statsmodels.api")
    X, rng = chain(3000, 3, 2, 5)
    y = 0.05 * X[:, 1].sum(axis=1) + rng.normal(size=3000)
    own = robust_scores(X, y[:, None]).parts[OWN, :, 0]
    fit = sm.OLS(y, sm.add_constant(X.reshape(3000, -1))).fit()
    restrictions = np.eye(7)[1:].reshape(3, 2, 7)
    assert_allclose(own, [float(fit.f_test(r).pvalue) for r in restrictions], atol=0.06)


def test_missing_tasks_use_the_sequences_that_have_them(curved):
    X, Y = curved
    gaps = Y.copy()
    gaps[:100, 0] = np.nan
    scores = robust_scores(X, gaps)
    assert_array_equal(scores.pvalues[:, :1], robust_scores(X[100:], Y[100:, :1]).pvalues)
    assert_allclose(scores.pvalues[:, 1], robust_scores(X, Y).pvalues[:, 1], rtol=1e-6)


def test_steps_that_are_never_observed_are_untested(curved):
    X, Y = curved
    X = X.copy()
    X[:, 4] = np.nan
    X[5:, 6] = np.nan
    scores = robust_scores(X, Y)
    assert_array_equal(np.flatnonzero(~scores.tested[:, 0]), [4, 6])
    assert (scores.pvalues[[4, 6]] == 1).all()
    assert scores.pvalues[[2, 5], 0].max() < 1e-3


def test_sequences_without_any_step_change_little(curved):
    X, Y = curved
    X = np.concatenate([X, np.full((50, *X.shape[1:]), np.nan)])
    Y = np.concatenate([Y, Y[:50]])
    scores = robust_scores(X, Y)
    assert scores.tested.all()
    assert_array_equal(np.flatnonzero(scores.pvalues[:, 0] < 1e-3), [2, 5])


def test_a_learned_function_of_noise_keeps_its_level():
    rng = np.random.default_rng(10)
    X, Y = rng.normal(size=(300, 4, 12)), rng.normal(size=(300, 100))
    learned = robust_scores(X, Y, n_components=None).parts[LEARNED]
    assert within_binomial(learned, 0.05)


@pytest.mark.parametrize(("n_groups", "tested"), [(10, False), (40, True)])
def test_tasks_that_groups_determine(n_groups, tested):
    X, rng = chain(400, 4, 1, 6)
    groups = np.arange(400) % n_groups
    trait = rng.normal(size=n_groups)
    X[:, 2, 0] += 3 * trait[groups]
    scores = robust_scores(X, np.stack([trait[groups], X[:, 1, 0]], axis=1), groups=groups)
    assert_array_equal(scores.tested[:, 0], [tested] * 4)
    assert_array_equal(scores.between_groups, [True, False])
    if tested:
        assert_array_equal(np.flatnonzero(scores.pvalues[:, 0] < 1e-3), [2])


def test_blocks_of_steps_and_columns_of_labels(curved):
    X, Y = curved
    third = np.digitize(Y[:, 0], np.quantile(Y[:, 0], [1 / 3, 2 / 3]))
    contrasts = np.concatenate([np.eye(3)[third], Y[:, 1:]], axis=1)
    blocks = [np.arange(4), np.array([4, 5]), np.array([7])]
    columns = np.array([[0, 1, 2], [3, -1, -1]])
    scores = robust_scores(X, contrasts, blocks=blocks, task_columns=columns)
    assert scores.pvalues.shape == (3, 2)
    assert_array_equal(scores.pvalues < 1e-3, [[True, False], [True, False], [False, False]])


def test_wide_steps_are_reduced():
    X, rng = chain(300, 6, 3, 7)
    wide = np.tanh(X @ rng.normal(size=(3, 40))) @ rng.normal(size=(40, 100))
    y = X[:, 4].sum(axis=1) + rng.normal(size=300)
    scores = robust_scores(wide, y[:, None])
    assert scores.n_components == 12
    assert_array_equal(np.flatnonzero(scores.pvalues[:, 0] < 1e-3), [4])


def test_few_sequences_get_a_window_and_no_nan():
    data = make_collider_sequences(40, 60, 2, random_state=0)
    scores = robust_scores(data.X, data.y)
    assert scores.conditioning == "window"
    assert scores.tested.all()
    assert np.isfinite(scores.pvalues).all()


@pytest.mark.parametrize("n", [2, 12, 30])
def test_nothing_is_nan_in_tiny_samples(n):
    X, rng = chain(n, 5, 2, 8)
    scores = robust_scores(X, np.stack([rng.normal(size=n), np.ones(n)], axis=1))
    for values in (scores.pvalues, scores.statistics, scores.effect_sizes):
        assert np.isfinite(values).all()
    assert not scores.tested[:, 1].any()


@pytest.mark.parametrize("shape", [(200, 3, 5), (4, 2, 30)])
def test_principal_components_are_those_of_all_steps(shape):
    X = np.random.default_rng(9).normal(size=shape)
    scores = principal_components(X, 2)
    rows = X.reshape(-1, shape[2])
    singular = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    assert_allclose(np.linalg.norm(scores.reshape(-1, 2), axis=0), singular[:2])


@pytest.mark.parametrize("seed", range(5))
def test_more_basis_functions_than_sequences_leave_degrees_of_freedom(seed):
    # 18 columns are lifted to many more functions than there are sequences.
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 6, 3))
    y = X[:, [1, 4], 0].sum(axis=1) + np.abs(X[:, [1, 4], 1]).sum(axis=1)
    result = robust_scores(X, y[:, None] + 0.3 * rng.normal(size=(60, 1)))
    assert result.tested.all()
    assert np.isfinite(result.pvalues).all()
