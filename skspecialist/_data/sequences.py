"""Sequences as arrays: three dimensions, or the same numbers flat."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from .validation import naming, refuse_dates, refuse_huge

__all__ = ["FLOATS", "n_dimensions", "validate_sequences", "validate_steps"]

FLOATS = [np.float64, np.float32]


def n_dimensions(X: Any) -> int:
    """Return the number of dimensions of anything array-like."""
    with naming("X"):
        return X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim


def validate_sequences(
    estimator: Any, X: Any, *, n_timesteps: int | None = None, reset: bool = True, **checks: Any
) -> np.ndarray:
    """Validate sequences for an estimator whose features are (step, feature) pairs.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` (steps times features) and, where there are names,
        ``feature_names_in_`` when ``reset`` is True; is checked against otherwise.
    X : array-like of shape (n_sequences, n_timesteps, n_features) or \
            (n_sequences, n_timesteps * n_features)
        The sequences. The columns of a flat ``X`` are the steps in time order.
    n_timesteps : int, default=None
        Number of steps. None takes it from a 3-D ``X``; the columns of a flat ``X``
        are then one step each.
    reset : bool, default=True
        Whether this is ``fit``.
    **checks : dict
        Passed on to :func:`sklearn.utils.validation.validate_data`.

    Returns
    -------
    X : ndarray of shape (n_sequences, n_timesteps, n_features)
        float64, or float32 where the input was.

    Raises
    ------
    ValueError or TypeError
        If ``X`` does not hold numbers, or the number of steps does not fit the array.
    """
    refuse_dates(X, "X")
    if n_dimensions(X) == 3:
        X = np.asarray(X)
        if n_timesteps is not None and X.shape[1] != n_timesteps:
            raise ValueError(
                f"X has {X.shape[1]} time steps per sequence, but "
                f"{type(estimator).__name__} expects n_timesteps={n_timesteps}."
            )
        n_timesteps = X.shape[1]
        X = X.reshape(len(X), X.shape[1] * X.shape[2])
    with naming("X"):
        X = validate_data(estimator, X, reset=reset, dtype=FLOATS, **checks)
        refuse_huge(X, "X")
    n_timesteps = X.shape[1] if n_timesteps is None else n_timesteps
    if X.shape[1] % n_timesteps:
        raise ValueError(
            f"The columns of a 2-D X are n_timesteps equal blocks, but n_features={X.shape[1]} "
            f"columns cannot be cut into n_timesteps={n_timesteps} blocks."
        )
    return X.reshape(len(X), n_timesteps, -1)


def validate_steps(estimator: Any, X: Any, *, reset: bool = True, **checks: Any) -> np.ndarray:
    """Validate steps for an estimator that treats every step alike.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` (the features of one step) when ``reset`` is True.
    X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
        Single steps, or sequences of them.
    reset : bool, default=True
        Whether this is ``fit``.
    **checks : dict
        Passed on to :func:`sklearn.utils.validation.validate_data`.

    Returns
    -------
    X : ndarray of the same shape
        float64, or float32 where the input was.

    Raises
    ------
    ValueError or TypeError
        If ``X`` does not hold numbers, or other features than in ``fit``.
    """
    refuse_dates(X, "X")
    shape = None
    if n_dimensions(X) == 3:
        X = np.asarray(X)
        shape = X.shape
        X = X.reshape(shape[0] * shape[1], shape[2])
    with naming("X"):
        X = validate_data(estimator, X, reset=reset, dtype=FLOATS, **checks)
        refuse_huge(X, "X")
    return X if shape is None else X.reshape(shape)
