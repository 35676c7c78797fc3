"""Sequences: three dimensions, the same numbers flat, and invalid arguments."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from skspecialist._data.validation import n_dimensions, validate_sequences, validate_steps


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(5, 4, 3))


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 2], 1), ([[1], [2]], 2), (np.zeros((1, 2, 3)), 3)]
)
def test_n_dimensions(values, expected):
    assert n_dimensions(values) == expected


def test_flat_and_3d_are_the_same_numbers(X):
    deep, flat = BaseEstimator(), BaseEstimator()
    from_deep = validate_sequences(deep, X)
    from_flat = validate_sequences(flat, X.reshape(5, 12), n_timesteps=4)
    np.testing.assert_array_equal(from_deep, X)
    np.testing.assert_array_equal(from_flat, X)
    assert deep.n_features_in_ == flat.n_features_in_ == 12


def test_flat_without_n_timesteps_is_one_feature_a_step(X):
    assert validate_sequences(BaseEstimator(), X.reshape(5, 12)).shape == (5, 12, 1)


def test_feature_names_are_kept(X):
    names = [f"f{j}" for j in range(12)]
    estimator = BaseEstimator()
    frame = pd.DataFrame(X.reshape(5, 12), columns=names)
    np.testing.assert_array_equal(validate_sequences(estimator, frame, n_timesteps=4), X)
    assert list(estimator.feature_names_in_) == names


@pytest.mark.parametrize("validate", [validate_sequences, validate_steps])
@pytest.mark.parametrize(
    ("given", "kept"),
    [(np.float64, np.float64), (np.float32, np.float32), (np.int64, np.float64)],
)
def test_dtype(X, validate, given, kept):
    assert validate(BaseEstimator(), X.astype(given)).dtype == kept


def test_lists_are_taken(X):
    np.testing.assert_array_equal(validate_sequences(BaseEstimator(), X.tolist()), X)
    np.testing.assert_array_equal(validate_steps(BaseEstimator(), X.tolist()), X)


def test_wrong_number_of_steps(X):
    with pytest.raises(ValueError, match=r"4 time steps .* expects n_timesteps=6"):
        validate_sequences(BaseEstimator(), X, n_timesteps=6)
    with pytest.raises(ValueError, match="n_features=12 columns cannot be cut into n_timesteps=5"):
        validate_sequences(BaseEstimator(), X.reshape(5, 12), n_timesteps=5)


@pytest.mark.parametrize("validate", [validate_sequences, validate_steps])
def test_other_width_than_in_fit(X, validate):
    estimator = BaseEstimator()
    validate(estimator, X)
    with pytest.raises(ValueError, match="expecting"):
        validate(estimator, X[:, :, :2], reset=False)


@pytest.mark.parametrize("validate", [validate_sequences, validate_steps])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_and_infinite_numbers_are_refused_unless_allowed(X, validate, bad):
    X[1, 2, 0] = bad
    with pytest.raises(ValueError, match="contains"):
        validate(BaseEstimator(), X)
    if np.isnan(bad):
        checked = validate(BaseEstimator(), X, ensure_all_finite="allow-nan")
        np.testing.assert_array_equal(checked, X)


@pytest.mark.parametrize("validate", [validate_sequences, validate_steps])
@pytest.mark.parametrize("shape", [(0, 4, 3), (5, 4, 0)])
def test_empty(validate, shape):
    with pytest.raises(ValueError, match=r"0 (sample|feature)\(s\)"):
        validate(BaseEstimator(), np.zeros(shape))


@pytest.mark.parametrize("validate", [validate_sequences, validate_steps])
@pytest.mark.parametrize("shape", [(4,), (2, 2, 2, 2)])
def test_other_numbers_of_dimensions(validate, shape):
    with pytest.raises(ValueError, match="array"):
        validate(BaseEstimator(), np.zeros(shape))


def test_steps_keep_their_shape_and_count_the_features_of_one_step(X):
    for values in (X, X[0]):
        estimator = BaseEstimator()
        np.testing.assert_array_equal(validate_steps(estimator, values), values)
        assert estimator.n_features_in_ == 3
