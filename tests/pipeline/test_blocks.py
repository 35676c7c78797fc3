"""More sequences than fit in memory: a sample, ridge regressions in blocks, and predictions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit

from skspecialist import SpecialistClassifier, SpecialistPipeline, TaskStructureIdentifier
from skspecialist.exceptions import SpecialistWarning
from skspecialist.independence import Moments
from skspecialist.pipeline import _blocks, _sequences
from skspecialist.pipeline._heads import TunedRidge

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3, 4)).astype(np.float16)
Y = X[:, 1, :2].astype(float) + 0.3 * RNG.normal(size=(400, 2))


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A memory map of several blocks."""
    monkeypatch.setattr(_blocks, "BLOCK", 70 * X[0].size)
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def fit(X, y=Y, **params):
    fixed = {"candidates": ["steps"], "max_samples": 120, "cv": 2, "random_state": 0}
    linear = TaskStructureIdentifier(independence_test="wilks")
    return SpecialistPipeline(structure=linear, **(fixed | params)).fit(X, y)


def test_a_ridge_regression_in_blocks_is_that_of_all_sequences(stored):
    weights, y = RNG.uniform(0.5, 1, size=400), Y.copy()
    y[::3, 0] = np.nan
    pipeline = SpecialistPipeline(strategy="generalist", max_samples=120, random_state=0)
    pipeline.fit(stored, y, sample_weight=weights)
    for model, target in zip(pipeline._models, y.T, strict=True):
        scaler, ridge = model.members[0].fits[0][2]
        known = np.isfinite(target)
        columns = scaler.transform(X.reshape(400, -1)[known].astype(float))
        expected = TunedRidge([ridge.alpha_]).fit(
            columns, target[known], weights[known] / weights.max()
        )
        assert_allclose(ridge.coef_, expected.coef_, atol=1e-9)
        assert_allclose(ridge.intercept_, expected.intercept_, atol=1e-9)


def test_cross_validation_by_moments_chooses_the_strength_of_leave_one_out():
    columns = RNG.normal(size=(2000, 30))
    y = columns[:, 0] + 8 * RNG.normal(size=2000)
    expected = TunedRidge().fit(columns, y)
    found = _blocks.fit_to_moments(TunedRidge(), Moments.from_data(np.column_stack([columns, y])))
    assert found.alpha_ == expected.alpha_ > 1
    assert_allclose(found.coef_, expected.coef_, atol=1e-9)


def test_files_and_arrays_are_fitted_alike(stored):
    split = PredefinedSplit(np.arange(400) % 2)
    for params in ({}, {"cv": split}):
        fits = [fit(data, **params) for data in (X, stored)]
        assert_array_equal(*(found.predict(X) for found in fits))
        assert fits[0].weights_ == fits[1].weights_
    whole = fit(X, max_samples=400).score(X, Y)
    assert fits[0].score(X, Y) > whole - 0.01


def test_labels_and_given_estimators_are_fitted_to_the_sample(stored):
    labels = np.where(Y > 0, "high", "low")
    kwargs = {"strategy": "generalist", "max_samples": 120, "random_state": 0}
    classifier = SpecialistClassifier(estimator=LogisticRegression(), **kwargs)
    assert classifier.fit(stored, labels).score(X, labels) > 0.8


def test_a_sample_of_a_file_is_announced(stored, monkeypatch):
    monkeypatch.setattr(_sequences, "SAMPLE", 100 * X[0].size)
    with pytest.warns(SpecialistWarning, match="fitted to 100 random ones"):
        fit(stored, max_samples="auto")


@pytest.mark.slow  # the import of Dask
def test_dask_arrays_are_fitted_and_predicted_in_blocks(stored):
    dask_array = pytest.importorskip("dask.array")
    given = dask_array.from_array(X, chunks=(50, 3, 4))
    assert [len(block) for block in _blocks.in_blocks(stored)] == [70] * 5 + [50]
    expected, found = fit(X), fit(given, dask_array.from_array(Y, chunks=(90, 2)))
    for data in (given, stored):
        for name in ("predict", "transform"):
            assert_allclose(getattr(found, name)(data), getattr(expected, name)(X), atol=1e-12)
