"""Sequences and their tasks, cut into segments: what the criteria look at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from .._data.tasks import TaskTargets, pad_columns
from .._stats.moments import FoldedMoments, Moments, fold_of

__all__ = ["SegmentedData", "at_mean"]


@dataclass(frozen=True)
class SegmentedData:
    """Flat sequences beside the columns of their tasks, and where things are.

    Attributes
    ----------
    folded : FoldedMoments
        Statistics of the columns, missing steps at their mean.
    segments : ndarray of shape (n_segments, 2)
        First step of each segment and the step after its last.
    n_timesteps, n_features : int
        Number of steps, and of features of a step.
    task_columns : ndarray of shape (n_tasks, width)
        Columns of each task, -1 where it has fewer.
    X : ndarray of shape (n_sequences, n_timesteps * n_features) or None
        The sequences of all folds, NaN where a step is missing; None where only their
        statistics were kept.
    tasks : ndarray of shape (n_sequences, n_task_columns) or None
        The columns of the tasks.
    has_missing : bool
        Whether ``X`` has NaN.
    """

    folded: FoldedMoments
    segments: np.ndarray
    n_timesteps: int
    n_features: int
    task_columns: np.ndarray
    X: np.ndarray | None = None
    tasks: np.ndarray | None = None
    has_missing: bool = False

    @classmethod
    def from_arrays(
        cls, X: np.ndarray, tasks: np.ndarray, targets: TaskTargets | None, segments: np.ndarray
    ) -> Self:
        """Build from sequences (n_sequences, n_timesteps, n_features), NaN where missing."""
        flat = X.reshape(len(X), -1)
        filled = at_mean(flat)
        folded = FoldedMoments.from_data(filled, tasks)
        shape = X.shape[1], X.shape[2]
        statistics = cls.from_statistics(folded, shape, targets, segments)
        return replace(statistics, X=flat, tasks=tasks, has_missing=filled is not flat)

    @classmethod
    def from_statistics(
        cls,
        folded: FoldedMoments,
        shape: tuple[int, int],
        targets: TaskTargets | None,
        segments: np.ndarray,
    ) -> Self:
        """Build from the statistics of sequences of ``shape`` (n_timesteps, n_features)."""
        return cls(folded, segments, *shape, _task_columns(targets, shape[0] * shape[1]))

    @property
    def moments(self) -> Moments:
        """Statistics of all columns over all sequences."""
        return self.folded.total

    @cached_property
    def data(self) -> np.ndarray | None:
        """All columns of the sequences of these folds, for tests that look at them."""
        if self.X is None or self.tasks is None:
            return None
        fold = fold_of(np.arange(len(self.X)), self.folded.n_folds)
        rows = np.isin(fold, list(self.folded.folds))
        return np.hstack([self.X[rows], self.tasks[rows]], dtype=np.float64)

    def with_segments(self, segments: np.ndarray) -> Self:
        """Return the same sequences in other segments."""
        return replace(self, segments=segments)

    def subset(self, folds: Collection[int]) -> Self:
        """Return the sequences of some folds only."""
        return replace(self, folded=self.folded.subset(folds))


def at_mean(X: np.ndarray, means: np.ndarray | None = None) -> np.ndarray:
    """Return flat sequences with missing steps at their mean; the same array if none is."""
    if not np.isnan(X.sum()):
        return X
    missing = np.isnan(X)
    if not missing.any():
        return X
    if means is None:
        counts = (~missing).sum(axis=0)
        means = np.where(missing, 0.0, X).sum(axis=0) / np.maximum(counts, 1)
    return np.where(missing, means, X)


def _task_columns(targets: TaskTargets | None, first: int) -> np.ndarray:
    """Return the columns of each task, counted from ``first``, -1 where it has fewer."""
    return pad_columns([] if targets is None else targets.groups, first)
