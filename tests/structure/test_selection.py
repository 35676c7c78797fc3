"""Structure from selection alone: planted tasks come back, and nothing from nothing."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.independence._moments import Moments
from skspecialist.metrics import structure_scores
from skspecialist.structure import Selection
from skspecialist.structure._segments import make_segments
from skspecialist.structure.selection import SelectionModel
from skspecialist.structure.selection._gaussian import (
    Curvature,
    Layout,
    Parameters,
    chain_entries,
    fit_chain,
    negative_log_likelihood,
)

DIRECT = {"action_noise": 0.0, "action_effect": 0.0}


def make(seed, n_sequences=2000, n_timesteps=12, n_tasks=2, selection=True, **options):
    return make_collider_sequences(
        n_sequences, n_timesteps, n_tasks, selection=selection, random_state=seed, **options
    )


def folds_of(X):
    flat = X.reshape(len(X), -1)
    return [Moments.from_data(flat[fold::10]) for fold in range(10)]


def fit(data, **options):
    options = {"n_starts": 4} | options
    return SelectionModel(data.segments, data.X.shape[2], **options).fit(folds_of(data.X))


def mcc(data, model):
    return structure_scores(data.structure, model.structure_, match=True).mcc


@pytest.mark.parametrize(
    "hidden",
    [DIRECT, *(pytest.param(p, marks=pytest.mark.slow) for p in ({"action_effect": 0.0}, {}))],
)
def test_planted_structure_comes_back(hidden):
    scores = []
    for seed in (20, 21, 22):
        data = make(seed, n_sequences=5000, **hidden)
        model = fit(data)
        assert model.n_tasks_ == 2
        scores.append(mcc(data, model))
    # All cells right in two of three, and not much wrong in the third.
    assert np.median(scores) == 1.0
    assert min(scores) >= 0.75


@pytest.mark.slow
def test_states_of_several_features():
    data = make(22, n_timesteps=8, n_features=3, **DIRECT)
    assert mcc(data, fit(data)) == 1.0


@pytest.mark.slow
def test_nothing_is_found_without_selection():
    # The price of a task in the criterion leaves a false one less than one time in 100.
    n_empty = sum(fit(make(seed, 500, selection=False)).n_tasks_ == 0 for seed in range(6))
    assert n_empty >= 5


def test_empty_structure_gains_nothing():
    data = make(23, 500, selection=False)
    model = fit(data)
    assert model.structure_.shape == (6, 0)
    assert model.gain(Moments.from_data(make(24, 100).X.reshape(100, -1))) == 0.0
    assert model.selection_frequency(folds_of(data.X), 2).shape == (6, 0)


@pytest.mark.slow
def test_units_offsets_and_order_of_features_do_not_matter():
    data = make(25, n_timesteps=8, n_features=2)
    before = fit(data, n_tasks=2)
    rng = np.random.default_rng(0)
    scale = np.exp(2 * rng.normal(size=data.X.shape[1:]))
    data.X = (5.0 + data.X * scale)[:, :, ::-1]
    after = fit(data, n_tasks=2)
    assert structure_scores(before.structure_, after.structure_, match=True).mcc == 1.0


@pytest.mark.slow
def test_permuted_sequences_of_folds_do_not_matter():
    data = make(26, n_timesteps=8)
    before = fit(data, n_tasks=2)
    data.X = data.X[np.random.default_rng(0).permutation(len(data.X))]
    assert_allclose(fit(data, n_tasks=2).precision_, before.precision_, atol=1e-3)


@pytest.mark.slow
def test_same_seed_same_result():
    data = make(27, n_timesteps=8)
    assert np.array_equal(fit(data).loadings_, fit(data).loadings_)


@pytest.mark.slow
def test_precision_is_that_of_the_data():
    data = make(28, 20_000)
    S = np.cov(data.X.reshape(len(data.X), -1).T)
    # Partial correlations have a standard error of 1 / sqrt(n); this is four of them.
    assert_allclose(correlation(fit(data).precision_), correlation(np.linalg.inv(S)), atol=0.03)


def correlation(matrix):
    scale = 1 / np.sqrt(np.diag(matrix))
    return matrix * np.outer(scale, scale)


@pytest.mark.slow
def test_gain_is_the_held_out_log_likelihood():
    data = make(29, 4000)
    flat = data.X.reshape(len(data.X), -1)
    model = SelectionModel(data.segments, 1, n_starts=4).fit(folds_of(data.X[:3000]))
    centered = flat[3000:] - flat[:3000].mean(axis=0)
    densities = [
        0.5 * np.linalg.slogdet(P)[1] - 0.5 * np.einsum("ni,ij,nj->n", centered, P, centered)
        for P in (model.precision_, model.chain_precision_)
    ]
    expected = (densities[0] - densities[1]).mean()
    assert_allclose(model.gain(Moments.from_data(flat[3000:])), expected)
    assert expected > 0


@pytest.mark.slow
def test_selection_frequency_tells_planted_cells_from_others():
    data = make(30, n_timesteps=8)
    model = fit(data)
    frequency = model.selection_frequency(folds_of(data.X), 4)
    assert frequency[model.structure_].min() >= 0.75
    assert frequency[~model.structure_].mean() <= 0.1
    assert np.isnan(model.selection_frequency(folds_of(data.X), 0)).all()


@pytest.mark.slow
def test_effect_sizes_are_larger_in_the_structure():
    model = fit(make(31))
    sizes = model.effect_sizes_
    assert ((sizes >= 0) & (sizes < 1)).all()
    assert sizes[model.structure_].min() > sizes[~model.structure_].max()


@pytest.mark.slow
def test_number_of_tasks_is_a_limit():
    data = make(32, n_timesteps=16, n_tasks=3, **DIRECT)
    assert fit(data, n_tasks=2).n_tasks_ <= 2
    assert fit(data, n_tasks=5).n_tasks_ == 3


@pytest.mark.slow
def test_segments_with_steps_between_them():
    data = make(33, **DIRECT)
    kept = [0, 1, 2, 4, 5]
    data.structure = np.zeros((6, 1), dtype=bool)
    data.structure[[0, 2, 5]] = True
    rng = np.random.default_rng(0)
    data.X = rng.normal(size=(3000, 12, 1))
    weights = np.repeat(data.structure[:, 0], 2)
    # Selected for a sum of the segments' states near zero.
    data.X -= (data.X[:, weights].sum(axis=1) * 0.15)[:, None] * weights[:, None]
    model = SelectionModel(data.segments[kept], 1, n_starts=4).fit(folds_of(data.X))
    assert np.array_equal(model.structure_, data.structure[kept])


@pytest.mark.slow
def test_effects_on_the_next_state_are_not_evidence():
    # With "all", the states that follow a task's segment are taken for its own.
    false = {"interior": [], "all": []}
    for seed in (134, 135, 136):
        data = make(seed, 10_000, n_timesteps=18, segment_length=3, action_effect=0.8)
        for segment_steps, shares in false.items():
            found = fit(data, segment_steps=segment_steps).structure_
            scores = structure_scores(data.structure, found, match=True)
            shares.append(scores.false_discovery_proportion)
    assert max(false["interior"]) == 0.0
    assert np.mean(false["all"]) > 0.05


def test_few_sequences_and_constant_columns_do_not_fail():
    data = make(36, 20)
    data.X[:, 3] = 1.0
    model = fit(data)
    assert np.isfinite(model.precision_).all()
    assert np.isfinite(model.gain(Moments.from_data(data.X.reshape(20, -1))))


def test_scores_are_derivatives_of_the_likelihood():
    rng = np.random.default_rng(1)
    layout = Layout(make_segments(6, 2), 6, 1, "interior")
    S = np.cov(rng.normal(size=(20, 6)).T)
    L, C = np.zeros((6, 6)), np.zeros((6, 6))
    L[layout.entries] = 0.2 * rng.normal(size=len(layout.entries[0]))
    C[layout.effects] = 0.3
    parameters = Parameters(L + np.eye(6), C, rng.normal(size=(6, 2)), 0.4)
    curvature = Curvature(S, 1.0, layout, parameters)

    def value(flat):
        ends = np.cumsum([len(layout.entries[0]), len(layout.effects[0])])
        noise, own = flat[-1], np.split(flat[:-1], ends)
        L, C, W = parameters.L.copy(), parameters.C.copy(), own[2].reshape(6, 2)
        L[layout.entries], C[layout.effects] = own[:2]
        return negative_log_likelihood(S, Parameters(L, C, W, noise))

    P = parameters.precision()
    expected = 0.5 * (np.sum(S * P) - np.linalg.slogdet(P)[1])
    assert_allclose(negative_log_likelihood(S, parameters), expected)
    score = np.append(curvature.score, curvature.noise_score)
    flat = np.append(curvature.theta, parameters.noise)
    assert_allclose(-score, approx_fprime(flat, value, 1e-7), atol=1e-5)


@pytest.mark.slow
def test_wide_features_are_reduced_with_a_warning():
    data = make(38, 300, n_timesteps=8, n_features=12, **DIRECT)
    identifier = TaskStructureIdentifier(
        2, criterion=Selection(n_tasks=1), n_subsamples=0, random_state=0
    )
    with (
        pytest.warns(UserWarning, match="reduced to 7 principal components"),
        pytest.warns(UserWarning, match="No task was found"),
    ):
        identifier.fit(data.X)


def test_chain_has_the_covariances_of_neighboring_steps():
    S = np.cov(np.random.default_rng(2).normal(size=(50, 8)).T)
    L = fit_chain(S, chain_entries(4, 2))
    step = np.repeat(np.arange(4), 2)
    near = np.abs(step[:, None] - step) <= 1
    assert_allclose(np.linalg.inv(L @ L.T)[near], S[near])


@pytest.mark.slow
def test_structure_of_one_step_segments():
    data = make(37, n_timesteps=10, segment_length=1, **DIRECT, segment_probability=0.5)
    assert np.array_equal(data.segments, make_segments(10, 1))
    assert mcc(data, fit(data, segment_steps="all")) >= 0.8
