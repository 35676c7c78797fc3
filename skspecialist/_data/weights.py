"""Weights of samples, of the values of tasks, of tasks, and of the steps of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from .validation import check_numbers, is_missing

__all__ = [
    "as_counts",
    "as_sequences",
    "merge_samples",
    "validate_sample_weight",
    "validate_step_weights",
    "validate_task_weight",
    "weighted_means",
    "weights_of_tasks",
]


def validate_sample_weight(sample_weight: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return the weights of the values of the tasks.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks) or None
        Weights of the samples, or of their values in each task. None is equal weights.
    shape : tuple of int
        Numbers of samples and of tasks.

    Returns
    -------
    weights : ndarray of shape (n_samples, n_tasks), float64
        Non-negative.

    Raises
    ------
    ValueError
        If the shape is wrong, a weight is negative or not finite, or all are zero.
    """
    if sample_weight is None:
        return np.ones(shape)
    weights = check_numbers(sample_weight, "sample_weight", ensure_2d=False)
    if weights.shape not in (shape, shape[:1]):
        raise ValueError(
            f"sample_weight must have shape (n_samples,) = {shape[:1]} or (n_samples, n_tasks) = "
            f"{shape}, got {weights.shape}."
        )
    check_numbers(weights, "sample_weight", ensure_2d=False, ensure_non_negative=True)
    weights = np.ones(shape) * weights.reshape(len(weights), -1)
    if not weights.any():
        raise ValueError("sample_weight is zero for all samples.")
    # Squares of others would be zero or infinite.
    largest = weights.max()
    return weights if 1e-100 < largest < 1e100 else weights / largest


def as_counts(weights: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return weights as numbers of sequences, and whether they are such counts.

    Integers are counts (frequency weights). Others are importance weights: they are scaled to
    the effective sample size of Kish, the number of equal weights that give a mean the same
    variance, so that their unit does not matter.
    """
    if (weights == np.round(weights)).all():
        return weights, True
    return weights * (weights.sum() / (weights**2).sum()), False


def validate_task_weight(task_weight: Any, n_tasks: int) -> np.ndarray:
    """Return the weights of the tasks, of mean 1, shape (n_tasks,)."""
    if task_weight is None:
        return np.ones(n_tasks)
    weights = check_numbers(task_weight, "task_weight", ensure_2d=False, ensure_non_negative=True)
    if weights.shape != (n_tasks,) or not weights.any():
        raise ValueError(
            f"task_weight must have one weight for each of the {n_tasks} tasks, one of "
            f"them above zero, got {task_weight!r}."
        )
    return np.asarray(weights / weights.mean())


def merge_samples(
    weights: np.ndarray,
    arrays: Sequence[np.ndarray],
    columns: Sequence[np.ndarray],
    labels: Sequence[np.ndarray] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one sample for all that are equal, with the sum of their weights.

    Training on the merged samples makes an integer weight exactly equivalent to as many
    repetitions of the sample, in any order, and a weight of zero to its absence, as
    scikit-learn defines weights. Samples of unequal weights are put in an order that depends
    on their content only, since batches depend on the order; samples of equal weights stay in
    the order in which they came.

    Parameters
    ----------
    weights : ndarray of shape (n_samples, n_tasks)
        Non-negative weights of the values.
    arrays : sequence of ndarray of shape (n_samples, ...)
        Numbers, such as the features.
    columns : sequence of ndarray of shape (n_samples,)
        Values of each task. Missing ones, and those of weight zero, are equal.
    labels : sequence of ndarray of shape (n_samples,), default=()
        Folds and groups: samples in different ones are never merged.

    Returns
    -------
    index : ndarray of int
        The samples to train on.
    merged : ndarray of shape (len(index), n_tasks)
        Their weights, of maximum 1 in each task.
    places : ndarray of int of shape (n_samples,)
        Place in ``index`` of the sample that stands for each; -1 where all weights are zero.
    """
    is_absent = np.column_stack([is_missing(values) for values in columns]) | (weights == 0)
    rows = zip(
        np.asarray(weights.any(axis=1)).tolist(),
        is_absent.tolist(),
        zip(*(column.tolist() for column in columns), strict=True),
        strict=True,
    )
    positions: dict[bytes, int] = {}
    index: list[int] = []
    places = np.full(len(weights), -1)
    for sample, (is_present, absent, row) in enumerate(rows):
        if not is_present:
            continue
        shown = [None if is_none else v for v, is_none in zip(row, absent, strict=True)]
        shown += [str(label[sample]) for label in labels]
        digest = sha256(repr(shown).encode())
        for array in arrays:
            # Zero is added because -0.0 and 0.0 are equal and have different bytes.
            digest.update((array[sample] + 0).tobytes())
        places[sample] = positions.setdefault(digest.digest(), len(index))
        if places[sample] == len(index):
            index.append(sample)
    kept = places >= 0
    totals = np.zeros((len(index), weights.shape[1]))
    np.add.at(totals, places[kept], weights[kept])
    largest = totals.max(axis=0)
    totals /= np.where(largest > 0, largest, 1.0)  # a task may be absent
    order = np.arange(len(index))
    if not np.isin(totals, (0.0, 1.0)).all():
        order = np.argsort(np.array(list(positions)), kind="stable")
    places[kept] = np.argsort(order)[places[kept]]
    return np.array(index)[order], totals[order], places


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


def weights_of_tasks(weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the step weights of some tasks, a view where samples share them."""
    if chosen.all():
        return weights
    if weights.strides[0] == 0:
        return np.broadcast_to(weights[0][:, chosen], (*weights.shape[:2], chosen.sum()))
    return weights[:, :, chosen]


def weighted_means(steps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return means over the steps of each task, zero where no step has a weight.

    Parameters
    ----------
    steps : ndarray of shape (n_samples, n_timesteps, n_features)
        Features of the steps.
    weights : ndarray of shape (n_samples, n_timesteps, n_tasks)
        Non-negative weights of the steps.

    Returns
    -------
    means : ndarray of shape (n_samples, n_tasks, n_features)
        One mean per task.
    """
    sums = np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return np.asarray(np.einsum("ntk,ntd->nkd", weights / sums, steps))
