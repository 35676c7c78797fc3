"""Missing steps: each test uses the sequences with all of its steps."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.exceptions import SpecialistWarning
from skspecialist.metrics import structure_scores


@pytest.fixture(scope="module")
def data():
    return make_collider_sequences(4000, n_timesteps=12, n_tasks=3, random_state=0)


def without(X, share, seed=0):
    """Return sequences with steps missing at random."""
    missing = np.random.default_rng(seed).uniform(size=X.shape[:2]) < share
    return np.where(missing[:, :, None], np.nan, X)


@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_a_test_is_that_of_the_sequences_that_have_its_steps(data, criterion):
    X = without(data.X, 0.2)
    identifier = TaskStructureIdentifier(2, criterion=criterion, conditioning="band")
    found = clone(identifier).fit(X, data.y)
    if criterion == "direct":
        segment, steps = 2, [4, 5, 6]
        rows = ~np.isnan(X[:, steps, 0]).any(axis=1)
        pvalue = found.pvalues_[segment, 1]
        n_used = found.n_sequences_[segment, 1]
    else:
        row, steps = found.pairs_.tolist().index([1, 4]), [2, 3, 4, 8, 9, 10]
        rows = ~np.isnan(X[:, steps, 0]).any(axis=1)
        pvalue, n_used = found.test_result_.pvalue[row, 1], found.test_result_.n[row, 1]
        segment = row
    complete = clone(identifier).fit(data.X[rows], data.y[rows])
    expected = complete.pvalues_ if criterion == "direct" else complete.test_result_.pvalue
    assert_allclose(pvalue, expected[segment, 1], rtol=1e-8)
    assert n_used == rows.sum()


@pytest.mark.slow
def test_missing_steps_cost_no_more_than_the_sequences_that_lack_them():
    scores = {"missing": [], "fewer": []}
    for seed in range(3):
        data = make_collider_sequences(3000, 12, random_state=1000 + seed)
        for name, X in [("missing", without(data.X, 0.3, seed)), ("fewer", data.X[:1000])]:
            found = TaskStructureIdentifier(2, alpha=0.01).fit(X, data.y[: len(X)]).structure_
            scores[name].append(structure_scores(data.structure, found).mcc)
    assert np.mean(scores["missing"]) > np.mean(scores["fewer"]) - 0.05


def test_ragged_ends_and_sequences_without_any_step(data):
    X = data.X.copy()
    stops = np.random.default_rng(1).integers(6, 13, size=len(X))
    X[np.arange(12) >= stops[:, None]] = np.nan
    X[:50] = np.nan
    found = TaskStructureIdentifier(2).fit(X, data.y)
    assert (np.diff(found.n_sequences_[:, 0]) <= 0).all()
    assert structure_scores(data.structure, found.structure_).mcc > 0.7
    assert np.isfinite(found.score(X, data.y))
    assert np.isnan(found.transform(X)).any()


def test_order_of_the_sequences_does_not_matter(data):
    X, order = without(data.X, 0.2), np.random.default_rng(2).permutation(len(data.X))
    linear = TaskStructureIdentifier(2, independence_test="wilks")
    one = clone(linear).fit(X, data.y)
    other = clone(linear).fit(X[order], data.y[order])
    assert_allclose(one.pvalues_, other.pvalues_, rtol=1e-6, atol=1e-300)


def test_few_sequences_with_a_step_trigger_a_warning(data):
    X = data.X.copy()
    X[20:, 11] = np.nan
    with pytest.warns(SpecialistWarning, match="fewest: 20"):
        found = TaskStructureIdentifier(2).fit(X, data.y)
    X[:, 11] = np.nan
    with (
        pytest.warns(SpecialistWarning, match="fewest: 0"),
        pytest.warns(SpecialistWarning, match="1 of 6 segments could not be tested for any task"),
    ):
        found = TaskStructureIdentifier(2).fit(X, data.y)
    assert not found.tested_[10:].any()
    assert_array_equal(found.pvalues_[5], 1.0)


def test_tests_of_the_samples_skip_missing_steps_too(data):
    X = without(data.X[:400], 0.1)
    found = TaskStructureIdentifier(2, independence_test="gcm", random_state=0).fit(X, data.y[:400])
    assert (found.n_sequences_ < 400).all()


def test_selection_and_batches_need_complete_sequences(data):
    X = without(data.X, 0.1)
    with pytest.raises(ValueError, match="complete sequences"):
        TaskStructureIdentifier(2).partial_fit(X, data.y)
    with pytest.raises(ValueError, match="complete sequences"):
        TaskStructureIdentifier(2).fit(X)
