"""Selectors of columns: supports, the path of the penalty, and the contract of a selector."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist import SparseMultiTaskSelector, SparseMultiTaskSelectorCV
from skspecialist.exceptions import SpecialistWarning
from skspecialist.networks.penalties import L1

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

SHARES = [0.1, 0.3]


def quick(**params):
    """Return a selector with a short path."""
    params = {"cv": 2, "sparsities": SHARES, "max_epochs": 40, "random_state": 0} | params
    return SparseMultiTaskSelectorCV(**params)


@pytest.fixture(scope="module")
def data():
    """Return six features, three tasks of two each, and which."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((600, 6))
    a, b, c = X[:, :3].T
    y = np.column_stack([np.tanh(a) + b**2 / 2, np.sin(b) + c, a * c + a])
    truth = np.zeros((3, 6), dtype=bool)
    truth[[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 0, 2]] = True
    return 3.0 * X + 1.0, y / y.std(axis=0) + 0.1 * rng.standard_normal(y.shape), truth


@pytest.fixture(scope="module")
def fitted(data):
    X, y, _ = data
    return quick().fit(X, y)


def test_the_path_runs_from_dense_to_empty(fitted):
    assert_array_equal(fitted.sparsity_path_, [0.0, *SHARES, 1.0])
    assert (np.diff(fitted.n_active_path_) <= 0).all()
    assert fitted.n_active_path_[0] == 6
    assert fitted.n_active_path_[-1] == 0
    assert fitted.scores_path_.shape == (4, 2)
    assert fitted.support_path_.shape == (4, 3, 6)
    assert_array_equal(fitted.support_path_[-1], 0)
    assert fitted.sparsity_ == fitted.sparsity_path_[fitted.best_index_]


@pytest.mark.slow
def test_a_bigger_tolerance_never_keeps_more(data):
    X, y, _ = data
    fits = [
        quick(tolerance=tolerance, max_epochs=10, penalty="l1").fit(X[:300], y[:300])
        for tolerance in (0.0, 0.05, 0.99)
    ]
    chosen = [selector.best_index_ for selector in fits]
    for selector in fits[1:]:
        assert_array_equal(selector.scores_path_, fits[0].scores_path_)
    assert chosen == sorted(chosen)
    assert chosen[0] < chosen[-1]


def test_supports_come_back_exactly(fitted, data):
    X, y, truth = data
    assert_array_equal(fitted.mask_ > 0, truth)
    assert_array_equal(fitted.support_, truth.any(axis=0))
    assert fitted.score(X, y) > 0.9
    chosen = fitted.support_path_[fitted.best_index_]
    assert chosen[truth].min() == 1
    assert chosen[~truth].max() <= 0.5


@pytest.mark.slow
def test_supports_come_back_from_halves_of_the_samples(fitted, data):
    X, y, truth = data
    assert fitted.selection_frequency_ is None
    halves = quick(n_subsamples=2).fit(X, y)
    assert halves.selection_frequency_.shape == truth.shape
    assert (halves.selection_frequency_[truth] == 1).all()
    assert halves.selection_frequency_[~truth].mean() < 0.5
    assert_array_equal(halves.mask_, fitted.mask_)


def test_it_is_a_feature_selector(fitted, data):
    X, _, truth = data
    assert_array_equal(fitted.get_support(), truth.any(axis=0))
    assert_array_equal(fitted.transform(X), X[:, fitted.get_support(indices=True)])
    assert list(fitted.get_feature_names_out()) == ["x0", "x1", "x2"]
    back = fitted.inverse_transform(fitted.transform(X))
    assert_array_equal(back, np.where(fitted.support_, X, 0.0))
    assert_array_equal(fitted.transform(X[:, None]), fitted.transform(X)[:, None])
    assert_allclose(fitted.latents(X), (X - X.mean(axis=0)) / X.std(axis=0), atol=1e-6)


def test_columns_outside_the_mask_do_not_reach_the_predictions(fitted, data):
    X, _, truth = data
    before = fitted.predict(X)
    for feature in range(6):
        moved = X.copy()
        moved[:, feature] += 10.0
        assert_array_equal((fitted.predict(moved) != before).any(axis=0), truth[:, feature])


@pytest.mark.parametrize(
    "selector", [SparseMultiTaskSelector(sparsity=1, max_epochs=10), quick(max_epochs=5)]
)
def test_without_any_gain_no_column_is_kept(data, selector):
    X, _, _ = data
    y = np.random.RandomState(1).standard_normal((600, 2))
    with pytest.warns(SpecialistWarning, match="support is empty"):
        selector.fit(X, y)
    assert selector.transform(X).shape == (600, 0)
    assert_allclose(selector.predict(X), np.tile(y.mean(axis=0), (600, 1)), atol=1e-6)


def test_penalties_are_validated(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="group"):
        SparseMultiTaskSelector(penalty=L1(group=-1.0)).fit(X, y)


@pytest.mark.parametrize("sparsities", [[0.0, 0.1], [0.1, 1.0], []])
def test_sparsities_are_named(data, sparsities):
    X, y, _ = data
    with pytest.raises(ValueError, match="sparsities"):
        quick(sparsities=sparsities).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [pytest.param("l1", marks=pytest.mark.slow), "hard_concrete"])
def test_a_given_sparsity(data, penalty):
    X, y, truth = data
    selector = SparseMultiTaskSelector(
        penalty=penalty, sparsity=0.1, max_epochs=40, random_state=0
    ).fit(X, y)
    assert (selector.mask_[truth] > 0).all()
    # Of the 12 entries without use the penalty takes most to exactly zero.
    assert (selector.mask_[~truth] == 0).sum() >= 9
    assert selector.score(X, y) > 0.9


@pytest.mark.slow
def test_linear_heads_are_sparse_regressions():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((300, 5))
    y = X[:, [0, 2]] @ np.array([[1.0, 1.0], [0.0, -1.0]]) + 0.1 * rng.standard_normal((300, 2))
    selector = quick(heads="linear", max_epochs=80).fit(X, y)
    expected = np.zeros((2, 5), dtype=bool)
    expected[[0, 1, 1], [0, 0, 2]] = True
    assert_array_equal(selector.mask_ > 0, expected)


@pytest.mark.slow
def test_as_many_columns_as_outputs_are_no_reason_for_a_warning(data):
    X, y, _ = data
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpecialistWarning)
        quick(sparsities=[0.1]).fit(X[:300], y[:300])


def test_warm_start_continues(data):
    X, y, _ = data
    selector = SparseMultiTaskSelector(warm_start=True, max_epochs=5, random_state=0).fit(X, y)
    first = selector.score(X, y)
    assert selector.fit(X, y).score(X, y) > first
    assert {row["phase"] for row in selector.history_} == {"sparse", "refit"}
