"""SelTaskBaseline: conditions on the factors, and recovery of recurring segments."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist.baselines import SelTaskBaseline

STRUCTURE = np.array([[1, 0, 0, 1], [0, 0, 1, 0]], dtype=bool).T


def comodulated(seed):
    """Return states whose size, step by step, is the value of the step's task."""
    rng = np.random.default_rng(seed)
    y = rng.exponential(size=(300, 2))
    return y @ np.repeat(STRUCTURE, 2, axis=0).T + 0.1 * rng.normal(size=(300, 8)), y


@pytest.mark.parametrize("seed", range(3))
def test_patterns_that_recur_come_back(seed):
    X, y = comodulated(seed)
    assert_array_equal(SelTaskBaseline(random_state=0).fit(X, y).structure_, STRUCTURE)


def test_the_factorization_does_not_look_at_the_tasks():
    X, y = comodulated(0)
    with_y = SelTaskBaseline(random_state=0).fit(X, y)
    without = SelTaskBaseline(n_components=2, random_state=0).fit(X)
    assert_array_equal(with_y.loadings_, without.loadings_)
    assert {tuple(task) for task in without.structure_.T} == {tuple(t) for t in STRUCTURE.T}
    with pytest.raises(ValueError, match="needs y, or n_components"):
        SelTaskBaseline().fit(X)


def test_factors_are_non_negative_and_activations_at_most_one():
    model = SelTaskBaseline(random_state=0).fit(*comodulated(1))
    assert (model.loadings_ >= 0).all()
    assert (model.activations_ >= 0).all()
    assert_allclose(model.activations_.max(axis=1), 1)


def test_more_tasks_than_components_leaves_tasks_empty():
    X, y = comodulated(2)
    found = SelTaskBaseline(n_components=1, random_state=0).fit(X, y).structure_
    assert found.any(axis=0).sum() == 1


def test_a_task_with_one_value_is_refused():
    X, _ = comodulated(0)
    with pytest.raises(ValueError, match="constant"):
        SelTaskBaseline().fit(X, np.ones(300))
