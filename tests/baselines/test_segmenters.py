"""HMMBaseline and ChangePointBaseline: one task a step at most, and none out of noise."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import binom
from sklearn.base import clone

from skspecialist.baselines import ChangePointBaseline, HMMBaseline
from skspecialist.datasets import make_collider_sequences

LIBRARIES = {HMMBaseline: "hmmlearn", ChangePointBaseline: "ruptures"}
SEGMENTERS = [HMMBaseline(random_state=0), ChangePointBaseline()]


@pytest.fixture
def installed(estimator):
    pytest.importorskip(LIBRARIES[type(estimator)])


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("estimator", SEGMENTERS, ids=repr)
def test_a_step_never_has_two_tasks(estimator):
    for seed in range(5):
        data = make_collider_sequences(1000, segment_probability=0.6, random_state=seed)
        assert (data.step_weights.sum(axis=1) > 1).any()
        found = clone(estimator).fit(data.X, data.y)
        assert found.step_mask_.sum(axis=1).max() == 1
        assert len(found.labels_) == len(data.segments)


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("estimator", SEGMENTERS, ids=repr)
def test_tasks_that_touch_nothing_stay_empty(estimator):
    n_draws, n_empty = 40, 0
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(200, 8)), rng.normal(size=(200, 2))
        n_empty += not clone(estimator).fit(X, y).structure_.any()
    assert n_empty >= binom.ppf(0.001, n_draws, 0.95)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("estimator", SEGMENTERS, ids=repr)
def test_a_single_segment_and_many_features_are_fine(estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2, 5))
    found = clone(estimator).fit(X, X[:, 0, 0])
    assert_array_equal(found.structure_, [[True]])


@pytest.mark.parametrize("estimator", SEGMENTERS, ids=repr)
def test_a_missing_library_is_named(estimator, monkeypatch):
    for name in ("hmmlearn", "hmmlearn.hmm", "ruptures"):
        monkeypatch.setitem(sys.modules, name, None)
    X = np.random.default_rng(0).normal(size=(50, 8))
    with pytest.raises(ImportError, match=r'pip install "skspecialist\[baselines\]"'):
        clone(estimator).fit(X, X[:, 0])


def test_a_larger_penalty_has_fewer_pieces():
    pytest.importorskip("ruptures")
    data = make_collider_sequences(1000, random_state=0)
    n_pieces = [
        ChangePointBaseline(penalty=penalty).fit(data.X, data.y).labels_.max() + 1
        for penalty in (0.0, 300.0, 1e9)
    ]
    assert n_pieces[0] > n_pieces[1] > n_pieces[2] == 1


def test_the_global_generator_is_left_alone():
    pytest.importorskip("hmmlearn")
    data = make_collider_sequences(300, n_timesteps=8, n_tasks=2, random_state=0)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, other = (HMMBaseline(random_state=3).fit(data.X, data.y).labels_ for _ in range(2))
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert_array_equal(one, other)
