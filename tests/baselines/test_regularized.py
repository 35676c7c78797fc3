"""CCA, group lasso and graphical lasso: level, optimality, cliques."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom
from sklearn.linear_model import Lasso

from skspecialist.baselines import CCABaseline, GraphicalLassoBaseline, GroupLassoBaseline
from skspecialist.baselines._regularized import (
    _clique_cover,
    _maximum_likelihood,
    _orthonormal_groups,
)
from skspecialist.datasets import make_collider_sequences
from skspecialist.metrics import structure_scores


def standardized(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


@pytest.mark.slow
def test_cca_holds_its_level_only_where_nothing_is_correlated():
    n_draws, n_empty = 200, 0
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        n_empty += (
            not CCABaseline().fit(rng.normal(size=(100, 8)), rng.normal(size=100)).support_.any()
        )
    assert binom.ppf(0.001, n_draws, 0.95) <= n_empty <= binom.ppf(0.999, n_draws, 0.95)

    data = make_collider_sequences(10_000, random_state=0)
    found = CCABaseline().fit(data.X, data.y).structure_
    assert structure_scores(data.structure, found).false_discovery_proportion > 0.3


@pytest.mark.parametrize("segment_length", [2, 3])
def test_group_lasso_is_optimal(segment_length):
    data = make_collider_sequences(500, n_timesteps=8, n_tasks=2, n_features=2, random_state=1)
    model = GroupLassoBaseline(segment_length).fit(data.X, data.y)
    starts = model.segments_[:, 0] * 2
    X = _orthonormal_groups(standardized(data.X.reshape(500, -1)), starts)
    y = standardized(data.y)
    for coef, penalty, target in zip(model.coef_, model.penalties_, y.T, strict=True):
        gradient = X.T @ (X @ coef - target) / len(X)
        for first, stop in model.segments_ * 2:
            w, g = coef[first:stop], gradient[first:stop]
            bound = penalty * np.sqrt(stop - first)
            if w.any():
                assert_allclose(g, -bound * w / np.linalg.norm(w), atol=1e-6)
            else:
                assert np.linalg.norm(g) <= bound + 1e-6


@pytest.mark.slow  # skglm compiles its solver first
def test_group_lasso_agrees_with_skglm():
    skglm = pytest.importorskip("skglm")
    data = make_collider_sequences(500, n_timesteps=8, n_tasks=2, n_features=2, random_state=1)
    model = GroupLassoBaseline().fit(data.X, data.y)
    starts = model.segments_[:, 0] * 2
    X = np.asfortranarray(_orthonormal_groups(standardized(data.X.reshape(500, -1)), starts))
    groups = [group.tolist() for group in np.split(np.arange(16), starts[1:])]
    for coef, penalty, target in zip(
        model.coef_, model.penalties_, standardized(data.y).T, strict=True
    ):
        reference = skglm.GroupLasso(
            groups, penalty, weights=np.full(4, 2.0), fit_intercept=False, tol=1e-10
        )
        assert_allclose(coef, reference.fit(X, target).coef_, atol=1e-7)


def test_group_lasso_does_not_see_linear_maps_of_a_step():
    data = make_collider_sequences(500, n_timesteps=8, n_tasks=2, n_features=3, random_state=1)
    mixing = np.random.default_rng(0).normal(size=(3, 3))
    one = GroupLassoBaseline().fit(data.X, data.y)
    other = GroupLassoBaseline().fit(data.X @ mixing, data.y)
    assert_allclose(one.penalties_, other.penalties_)
    assert_array_equal(one.structure_, other.structure_)


def test_groups_of_one_are_the_lasso():
    data = make_collider_sequences(500, n_timesteps=6, n_tasks=1, random_state=2)
    model = GroupLassoBaseline(1).fit(data.X, data.y)
    lasso = Lasso(model.penalties_[0], tol=1e-10)
    lasso.fit(standardized(data.X[:, :, 0]), standardized(data.y[:, 0]))
    assert_allclose(model.coef_[0], lasso.coef_, atol=1e-6)


def test_graphical_lasso_finds_the_task_that_sequences_were_selected_for():
    data = make_collider_sequences(
        3000, n_tasks=1, action_effect=0.0, selection=True, random_state=3
    )
    found = GraphicalLassoBaseline().fit(data.X)
    assert found.task_names_[0] == "task0"
    scores = [structure_scores(data.structure[:, 0], task).mcc for task in found.structure_.T]
    assert max(scores) > 0.6


def test_states_without_a_trace_of_tasks_have_no_cliques():
    X = np.random.default_rng(4).normal(size=(2000, 8))
    assert GraphicalLassoBaseline().fit(X).structure_.shape == (4, 0)


@pytest.mark.parametrize("density", [0.2, 0.5, 0.9])
def test_the_most_likely_precision_matches_the_moments_of_its_graph(density):
    rng = np.random.default_rng(6)
    graph = np.triu(rng.uniform(size=(10, 10)) < density, 1)
    graph |= graph.T | np.eye(10, dtype=bool)
    correlation = np.corrcoef(rng.normal(size=(10, 40)))
    precision = _maximum_likelihood(correlation, graph)
    assert not precision[~graph].any()
    assert_allclose(np.linalg.inv(precision)[graph], correlation[graph], atol=1e-3)


@pytest.mark.parametrize("density", [0.2, 0.5, 0.9])
def test_cliques_cover_every_edge_and_nothing_else(density):
    rng = np.random.default_rng(5)
    graph = np.triu(rng.uniform(size=(12, 12)) < density, 1)
    graph |= graph.T
    cliques = _clique_cover(graph).astype(int)
    covered = (cliques @ cliques.T > 0) & ~np.eye(12, dtype=bool)
    assert_array_equal(covered, graph)
