"""Weak labels: the tasks that occur in a sequence, or their amounts."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np

from .._base.sklearn_compat import safe_indexing
from .._data.ragged import RaggedSequences
from .._data.tasks import TaskTargets, read_tasks, split_columns
from .._data.validation import check_labels, check_same_length, split_indices
from .._data.weights import merge_samples, validate_sample_weight
from ..networks.training import StepData

__all__ = ["WeakData", "WeakLabels", "training_data"]

# Mean of amounts in standard deviations. Single precision has 7 digits, of which 3 are left for
# their differences.
LARGEST_MEAN = 1e4


@dataclass(frozen=True)
class WeakLabels:
    """Outputs to localize: one per amount or pair of classes, one per class of several.

    Tasks without two different values have none.

    Attributes
    ----------
    tasks : TaskTargets
        Tasks of ``y``.
    names : list of str
        Name of each output.
    owners : ndarray of shape (n_outputs,), int
        Column of ``y`` that an output belongs to.
    is_amount : ndarray of shape (n_outputs,), bool
        Whether the label of a sequence is an amount, rather than an occurrence.
    scales : ndarray of shape (n_outputs,)
        Standard deviation of an amount; 1 otherwise.
    """

    tasks: TaskTargets
    names: list[str]
    owners: np.ndarray
    is_amount: np.ndarray
    scales: np.ndarray

    @classmethod
    def from_tasks(cls, tasks: TaskTargets) -> Self:
        """Return the outputs of the tasks of ``y``.

        Raises
        ------
        ValueError
            If the differences of amounts are far smaller than the amounts.
        """
        names: list[str] = []
        owners: list[int] = []
        for place, task in enumerate(tasks.tasks):
            if task.is_constant:
                continue
            if task.classes is None and abs(task.mean) > LARGEST_MEAN * task.scale:
                raise ValueError(
                    f"The amounts of task {task.name!r} of y are near {task.mean:.4g}, but differ "
                    f"by {task.scale:.2g} only: subtract what all sequences share."
                )
            several = task.n_classes > 2
            labels = list(task.classes) if task.classes is not None and several else []
            names += [f"{task.name}={label}" for label in labels] or [task.name]
            owners += [place] * max(1, len(labels))
        chosen = [tasks.tasks[place] for place in owners]
        return cls(
            tasks,
            names,
            np.array(owners),
            np.array([task.classes is None for task in chosen]),
            np.array([task.scale for task in chosen]),
        )

    def __len__(self) -> int:
        return len(self.names)

    def values(self, y: Any, *, held_out: bool = False) -> np.ndarray:
        """Return amounts, and zero or one, shape (n_sequences, n_outputs); NaN where missing."""
        columns = []
        encoded = self.tasks.encode(y, held_out=held_out)
        for task, codes in zip(self.tasks.tasks, encoded, strict=True):
            if task.is_constant:
                continue
            if task.classes is None:
                columns.append(task.decode(codes))
            elif task.n_classes == 2:
                columns.append(codes.astype(float))
            else:
                found = (codes[:, None] == np.arange(task.n_classes)).astype(float)
                columns += list(np.where(np.isnan(codes[:, None].astype(float)), np.nan, found).T)
        return np.column_stack(columns)


@dataclass(frozen=True)
class WeakData:
    """Sequences with weak labels, one for all that are equal, with the sum of their weights.

    Attributes
    ----------
    sequences : RaggedSequences
        Sequences with a weight.
    labels : WeakLabels
        Outputs to localize.
    values : ndarray of shape (n_sequences, n_outputs)
        Amounts, and zero or one; NaN where missing, or of weight zero.
    weights : ndarray of shape (n_sequences, n_outputs)
        Weights of the values.
    groups : ndarray of shape (n_sequences,) or None
        Sequences that are held out together.
    folds : ndarray of shape (n_sequences,) or None
        Folds of given splits, in which each sequence is held out.
    places : ndarray of int of shape (n_given,)
        Place of each sequence that was given, -1 for those of weight zero.
    """

    sequences: RaggedSequences
    labels: WeakLabels
    values: np.ndarray
    weights: np.ndarray
    groups: np.ndarray | None
    folds: np.ndarray | None
    places: np.ndarray

    @classmethod
    def merge(
        cls,
        given: RaggedSequences,
        y: Any,
        groups: Any,
        sample_weight: Any,
        task_types: Any,
        cv: Any,
    ) -> Self:
        """Return the data of a fit, without sequences of weight zero and without copies.

        Raises
        ------
        ValueError or TypeError
            If lengths differ, or splits do not hold out each sequence once.
        """
        y = read_tasks(y)
        columns = split_columns(y, allow_missing=True)[0]
        check_same_length(X=given, y=columns[0], groups=groups)
        weights = validate_sample_weight(sample_weight, (len(given), len(columns)))
        codes = None if groups is None else check_labels(groups, "groups")
        folds = None if isinstance(cv, Integral) else _given_folds(cv, given.X, y, codes)
        apart = [part for part in (codes, folds) if part is not None]
        arrays = [given.X, given.lengths]
        index, weights, places = merge_samples(weights, arrays, columns, apart)
        if not np.array_equal(index, np.arange(len(given))):
            given, y = given.take(index), safe_indexing(y, index)
            codes, folds = (None if part is None else part[index] for part in (codes, folds))
        tasks = TaskTargets(y, allow_missing=True, weights=weights, task_types=task_types)
        labels = WeakLabels.from_tasks(tasks)
        values = labels.values(tasks.with_kinds(y, weights == 0))
        return cls(given, labels, values, weights[:, labels.owners], codes, folds, places)

    @property
    def row_weights(self) -> np.ndarray:
        """Weights (n_sequences,) of mean 1: those of the outputs for which they count most."""
        rows = self.weights.max(axis=1)
        return np.asarray(rows / rows.mean())


def _given_folds(cv: Any, X: np.ndarray, y: Any, groups: np.ndarray | None) -> np.ndarray:
    folds, counts = np.zeros(len(X), dtype=int), np.zeros(len(X), dtype=int)
    for fold, (_, held_out) in enumerate(split_indices(cv, X, y, groups)):
        folds[held_out] = fold
        counts[held_out] += 1
    if (counts != 1).any():
        raise ValueError(
            f"cv={cv!r} must hold out each sequence once, not {counts.min()} to "
            f"{counts.max()} times."
        )
    return folds


def training_data(
    data: WeakData, features: RaggedSequences, folds: np.ndarray, window: int | None
) -> StepData:
    """Return data for the networks: whole sequences, or pieces of at most ``window`` steps.

    Raises
    ------
    ValueError
        If amounts would have to be divided among pieces.
    """
    labels = data.labels
    if window is not None and labels.is_amount.any():
        raise ValueError(
            "window must be None where y holds amounts (floats): the amount in a piece of a "
            "sequence is not given."
        )
    pieces, owners = features.split(window or features.X.shape[1])
    present = np.repeat(pieces.observed[..., None], len(labels), axis=2)
    targets = list((data.values / labels.scales)[owners].T)
    rows = data.row_weights[owners]
    return StepData.from_arrays(
        pieces.X,
        present,
        targets,
        data.weights[owners],
        folds=folds[owners],
        row_weights=rows / rows.mean(),
    )
