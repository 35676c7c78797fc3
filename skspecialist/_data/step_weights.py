"""Weights of the steps of sequences in the tasks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .validation import check_numbers

__all__ = ["as_sequences", "validate_step_weights", "weighted_means"]


def as_sequences(X: np.ndarray) -> np.ndarray:
    """Return rows as sequences of one step."""
    return X if X.ndim == 3 else X[:, None, :]


def validate_step_weights(step_weights: Any, X: np.ndarray, n_tasks: int) -> np.ndarray:
    """Return weights (n_samples, n_timesteps, n_tasks), a view where samples share them."""
    shape = (*as_sequences(X).shape[:2], n_tasks)
    if step_weights is None:
        return np.broadcast_to(np.ones(shape[1:]), shape)
    if X.ndim == 2:
        raise ValueError("step_weights needs sequences: X has two dimensions, each row a step.")
    weights = check_numbers(step_weights, "step_weights", allow_nd=True, ensure_non_negative=True)
    if weights.shape not in (shape, shape[1:]):
        raise ValueError(
            f"step_weights must have shape (n_timesteps, n_tasks) = {shape[1:]} or, with the "
            f"number of sequences before, {shape}; got {weights.shape}."
        )
    return np.broadcast_to(weights, shape)


def weighted_means(steps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return means over the steps of each task, zero where no step has a weight.

    Parameters
    ----------
    steps : ndarray of shape (n_samples, n_timesteps, n_features)
        What to average.
    weights : ndarray of shape (n_samples, n_timesteps, n_tasks)
        Non-negative weights of the steps.

    Returns
    -------
    means : ndarray of shape (n_samples, n_tasks, n_features)
        One mean for each task.
    """
    sums = np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return np.asarray(np.einsum("ntk,ntd->nkd", weights / sums, steps))
