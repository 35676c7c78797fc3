"""The collider generator obeys the graph that it promises."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist.datasets import make_collider_sequences
from skspecialist.independence import Wilks


@pytest.mark.parametrize("n_features", [1, 3])
def test_shapes_and_truth_agree(n_features):
    data = make_collider_sequences(50, 13, 5, 3, n_features, n_null_tasks=1, random_state=0)
    assert data.X.shape == (50, 13, n_features)
    assert data.y.shape == (50, 6)
    assert data.structure.shape == (5, 6)
    for k, (start, stop) in enumerate(data.segments):
        assert (data.step_weights[start:stop] == data.structure[k]).all()
    assert (data.structure[:, :5].sum(axis=0) >= 2).all()
    assert not data.structure[:, 5].any()


def test_random_state_decides_everything():
    one, other = (make_collider_sequences(20, random_state=3) for _ in range(2))
    assert_array_equal(one.X, other.X)
    assert_array_equal(one.y, other.y)
    assert not np.array_equal(one.X, make_collider_sequences(20, random_state=4).X)


def test_states_follow_a_first_order_chain():
    data = make_collider_sequences(20_000, 8, 1, n_features=2, random_state=1)
    flat = data.X.reshape(len(data.X), -1)
    columns = np.arange(16).reshape(8, 2)
    tests = Wilks().test_many(flat, columns[:-2], columns[2:], columns[1:-1])
    assert (tests.pvalue > 1e-4).all()
    arrows = Wilks().test_many(flat, columns[:-1], columns[1:])
    assert_array_equal(arrows.pvalue < 1e-4, data.chain)


def test_tasks_do_not_depend_on_other_steps_given_their_own_and_the_next():
    data = make_collider_sequences(50_000, 12, 1, random_state=2)
    steps = np.flatnonzero(data.step_weights[:, 0])
    after = np.setdiff1d(np.minimum(steps + 1, 11), steps)
    others = np.setdiff1d(np.arange(12), np.r_[steps, after])
    X = data.X[:, :, 0]
    assert Wilks().test(X[:, others], data.y, X[:, np.r_[steps, after]]).pvalue > 1e-4


def test_selection_is_the_conditional_distribution():
    # Sequences whose single task happens to be near zero have the same covariance.
    options = {"n_timesteps": 6, "n_tasks": 1, "random_state": 5}
    free = make_collider_sequences(200_000, **options)
    selected = make_collider_sequences(50_000, selection=True, **options)
    assert selected.y is None
    assert_array_equal(free.structure, selected.structure)
    near_zero = np.abs(free.y[:, 0]) < 0.2 * free.y.std()
    assert_allclose(np.cov(selected.X[:, :, 0].T), np.cov(free.X[near_zero][:, :, 0].T), atol=0.06)
