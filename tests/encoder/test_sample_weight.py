"""Laws of sample weights: repetition, absence, scale, and the order of the samples."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import shuffle

from skspecialist import (
    SparseMultiTaskSelector,
    SparseMultiTaskSelectorCV,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
)
from skspecialist.datasets import make_specialist_latents

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

QUICK = {"max_epochs": 2, "random_state": 0}
SMALL = QUICK | {"hidden_layer_sizes": (8,)}
# One network: neither its width nor the noise of the inputs is searched for.
SINGLE = SMALL | {"n_relevant": 2, "input_noise": 0.3, "sparsity": 0}
ESTIMATORS = [
    SparseSpecialistEncoder(3, **SMALL),
    SparseSpecialistEncoder(heads="linear", **SINGLE),
    SparseSpecialistEncoderCV(3, cv=2, **SMALL),
    SparseMultiTaskSelector(**QUICK),
    SparseMultiTaskSelectorCV(cv=2, sparsities=[0.1], **QUICK),
]
ids = [type(estimator).__name__ for estimator in ESTIMATORS]


@pytest.fixture(scope="module")
def data():
    return make_specialist_latents(60, 4, 2, n_layers=1, random_state=0)


def assert_same(first, second, X):
    for method in ("predict", "latents", "transform"):
        assert_array_equal(getattr(first, method)(X), getattr(second, method)(X))
    assert_array_equal(first.mask_, second.mask_)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=ids)
def test_an_integer_weight_is_repetition(data, estimator):
    weights = np.random.RandomState(0).randint(4, size=60)
    X, y = np.repeat(data.X, weights, axis=0), np.repeat(data.y, weights, axis=0)
    repeated = estimator.fit(X, y)
    expected = {name: getattr(repeated, name)(data.X) for name in ("predict", "latents")}
    X, y, weights = shuffle(data.X, data.y, weights, random_state=1)
    weighted = estimator.fit(X, y, sample_weight=weights)
    for name, values in expected.items():
        assert_array_equal(getattr(weighted, name)(data.X), values)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=ids)
def test_weight_zero_is_absence(data, estimator):
    present = np.arange(60) % 3 > 0
    expected = estimator.fit(data.X[present], data.y[present]).predict(data.X)
    changed = np.where(present[:, None], data.X, 7.0)
    found = estimator.fit(changed, data.y, sample_weight=present.astype(float)).predict(data.X)
    assert_array_equal(found, expected)


def test_equal_weights_are_none(data):
    encoder = SparseSpecialistEncoder(**SINGLE)
    expected = encoder.fit(data.X, data.y).latents(data.X)
    for weights in (np.full(60, 0.3), np.ones((60, 4)) * [1.0, 2.0, 3.0, 4.0]):
        assert_array_equal(
            encoder.fit(data.X, data.y, sample_weight=weights).latents(data.X), expected
        )


def test_weights_of_all_tasks_are_those_of_samples(data):
    encoder = SparseSpecialistEncoder(**SINGLE)
    weights = np.random.RandomState(0).uniform(size=60)
    expected = encoder.fit(data.X, data.y, sample_weight=weights).latents(data.X)
    each = np.tile(weights[:, None], 4)
    assert_array_equal(encoder.fit(data.X, data.y, sample_weight=each).latents(data.X), expected)


def test_a_zero_for_one_task_is_a_missing_value(data):
    encoder = SparseSpecialistEncoder(**SINGLE)
    weights = np.ones((60, 4))
    weights[::3, 1] = 0
    expected = encoder.fit(data.X, np.where(weights > 0, data.y, np.nan)).latents(data.X)
    changed = np.where(weights > 0, data.y, 1e6)
    assert_array_equal(
        encoder.fit(data.X, changed, sample_weight=weights).latents(data.X), expected
    )


def test_weights_reach_scale_and_latents_of_the_features(data):
    weights = 1.0 + (data.X[:, 0] > 0)
    encoder = SparseSpecialistEncoder(**SINGLE).fit(data.X, data.y, sample_weight=weights)
    latents = encoder.latents(data.X)
    assert_allclose(np.average(latents, weights=weights, axis=0), 0, atol=1e-4)
    assert_allclose(np.average(latents**2, weights=weights, axis=0), 1, atol=1e-3)
    assert abs(latents.mean(axis=0)).max() > 0.01


def test_sequences_have_weights_too():
    rng = np.random.RandomState(0)
    X, y, steps = rng.standard_normal((40, 3, 4)), rng.standard_normal(40), rng.uniform(size=(3, 1))
    weights = rng.randint(3, size=40)
    encoder = SparseSpecialistEncoder(**SINGLE)
    for given in (None, steps, np.tile(steps, (40, 1, 1)) + rng.uniform(size=(40, 1, 1))):
        each = np.repeat(given, weights, axis=0) if np.ndim(given) == 3 else given
        encoder.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights), each)
        expected = encoder.latents(X)
        assert_array_equal(encoder.fit(X, y, given, weights).latents(X), expected)


def test_labels_and_groups_of_any_type(data):
    y = np.where(data.y[:, 0] > 0, "high", "low").astype(object)
    y[::7] = None
    groups = np.array(["a", "b", "c", "d"])[np.arange(60) % 4]
    weights = np.random.RandomState(0).randint(1, 3, size=60)
    for estimator in (ESTIMATORS[0], ESTIMATORS[2]):
        repeated = [np.repeat(part, weights, axis=0) for part in (data.X, y, groups)]
        expected = estimator.fit(*repeated[:2], groups=repeated[2]).latents(data.X)
        found = estimator.fit(data.X, y, sample_weight=weights, groups=groups).latents(data.X)
        assert_array_equal(found, expected)


@pytest.mark.parametrize("estimator", [ESTIMATORS[0], ESTIMATORS[2]], ids=["given", "searched"])
def test_groups_are_held_out_together(data, estimator):
    groups = np.arange(60) // 5
    folds = estimator._draw_folds(60, groups, np.random.RandomState(0))
    assert all(len(set(folds[groups == group])) == 1 for group in range(12))
    assert len(set(folds)) == 2
    with pytest.raises(ValueError, match="group"):
        estimator.fit(data.X, data.y, groups=np.zeros(60))


def test_the_score_is_weighted(data):
    encoder = SparseSpecialistEncoder(**SINGLE).fit(data.X, data.y)
    weights = np.random.RandomState(0).randint(3, size=60)
    X, y = np.repeat(data.X, weights, axis=0), np.repeat(data.y, weights, axis=0)
    assert encoder.score(data.X, data.y, sample_weight=weights) == pytest.approx(
        encoder.score(X, y)
    )
    with pytest.raises(ValueError, match="sample_weight"):
        encoder.score(data.X, data.y, sample_weight=-np.ones(60))
