"""Segments of aligned sequences: their steps, their bands, and the columns of both.

Sets of steps are integer arrays in which -1 stands for an absent step, so that sets of
different sizes fit into one array.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from .._data.tasks import pad_columns
from .._data.validation import as_array
from .._stats.moments import FoldedMoments, Moments, WideMoments, fold_moments, fold_of

__all__ = [
    "SegmentedData",
    "at_mean",
    "collider_sets",
    "evidence_blocks",
    "make_segments",
    "match_tasks",
    "resolve_segment_steps",
    "resolve_segments",
    "tested_steps",
    "to_columns",
    "validate_segments",
]


def make_segments(n_timesteps: int, segment_length: int) -> np.ndarray:
    """Split the time steps into segments of equal length.

    Parameters
    ----------
    n_timesteps : int
        Number of steps.
    segment_length : int
        Steps in a segment; the last segment has the remaining steps.

    Returns
    -------
    segments : ndarray of int of shape (n_segments, 2)
        First step of each segment, and the step after its last.

    Raises
    ------
    ValueError
        If there are fewer steps than one segment has.

    Examples
    --------
    >>> from skspecialist.structure._segments import make_segments
    >>> make_segments(5, 2).tolist()
    [[0, 2], [2, 4], [4, 5]]
    """
    if n_timesteps < segment_length:
        raise ValueError(
            f"The sequences have n_timesteps={n_timesteps} steps (a 2-D X with n_features = "
            f"{n_timesteps} columns has as many unless n_timesteps is given), fewer than "
            f"segment_length={segment_length}."
        )
    starts = np.arange(0, n_timesteps, segment_length)
    return np.stack([starts, np.minimum(starts + segment_length, n_timesteps)], axis=1)


def resolve_segments(segment_length: int | str | ArrayLike, n_timesteps: int) -> np.ndarray:
    """Return the segments of a value of ``segment_length``."""
    if isinstance(segment_length, Integral):
        return make_segments(n_timesteps, int(segment_length))
    if isinstance(segment_length, str):
        # "auto": the shortest ones, until the length is chosen.
        return make_segments(n_timesteps, 1)
    return validate_segments(segment_length, n_timesteps)


def validate_segments(segment_length: ArrayLike, n_timesteps: int) -> np.ndarray:
    """Validate segments that are given as (start, stop) pairs.

    Parameters
    ----------
    segment_length : array-like of int of shape (n_segments, 2)
        First step of each segment and the step after its last, in time order. Steps
        between two segments may be left out.
    n_timesteps : int
        Number of steps.

    Returns
    -------
    segments : ndarray of int of shape (n_segments, 2)
        The pairs.

    Raises
    ------
    ValueError
        If these are not pairs of integers, overlap, or exceed the steps.
    """
    pairs = as_array(segment_length, "segment_length")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
        raise ValueError(
            "segment_length must be a number of steps, 'auto', or pairs of integers, the first "
            "step of a segment and the step after its last, as in [(0, 3), (3, 8)]; got "
            f"{segment_length!r}."
        )
    ends = pairs.ravel()
    if (np.diff(ends)[::2] < 1).any() or (np.diff(ends)[1::2] < 0).any():
        raise ValueError(
            "The segments of segment_length must be in time order, without overlap, and have at "
            f"least one step; got {pairs.tolist()}."
        )
    if ends[0] < 0 or ends[-1] > n_timesteps:
        raise ValueError(
            f"The segments of segment_length must lie within the {n_timesteps} steps of the "
            f"sequences, got {pairs.tolist()}."
        )
    return pairs.astype(int)


def resolve_segment_steps(segment_steps: str, segments: np.ndarray) -> str:
    """Return the steps that enter the tests: "auto" is "all" for segments of one step."""
    if segment_steps != "auto":
        return segment_steps
    # The first step of a longer segment may be driven by the action before it, which belongs
    # to another segment. A segment of one step has no other step to judge it by.
    return "all" if np.diff(segments).max() == 1 else "interior"


def evidence_blocks(
    segments: np.ndarray, n_timesteps: int, segment_steps: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of each segment that enter its tests, and their band.

    Parameters
    ----------
    segments : ndarray of shape (n_segments, 2)
        As from :func:`make_segments`.
    n_timesteps : int
        Number of steps.
    segment_steps : {"interior", "all", "last"}
        All steps but the first, all steps, or the last one. The only step of a segment
        of one step always enters.

    Returns
    -------
    blocks : ndarray of shape (n_segments, width)
        Steps of each segment that enter its tests.
    bands : ndarray of shape (n_segments, 2)
        The steps that separate the block from the rest of the chain: the one before its
        first and the one after its last.
    """
    first, stop = segments[:, 0], segments[:, 1]
    if segment_steps == "interior":
        first = np.minimum(first + 1, stop - 1)
    elif segment_steps == "last":
        first = stop - 1
    steps = first[:, None] + np.arange((stop - first).max())
    blocks = np.where(steps < stop[:, None], steps, -1)
    after = np.where(stop < n_timesteps, stop, -1)
    return blocks, np.stack([first - 1, after], axis=1)


def collider_sets(
    segments: np.ndarray, n_timesteps: int, segment_steps: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the tests of the collider criterion: each segment against each later one.

    If two segments touch, the first step of the later one belongs to the band of the
    earlier one: it is conditioned on and does not enter the test. Pairs without any step
    left to test are dropped.

    Returns
    -------
    pairs : ndarray of shape (n_pairs, 2)
        The two segments, the earlier one first.
    x, y : ndarray of shape (n_pairs, width)
        Steps of the earlier and of the later segment.
    z : ndarray of shape (n_pairs, 4)
        Steps of the band of the pair, without duplicates.
    """
    blocks, bands = evidence_blocks(segments, n_timesteps, segment_steps)
    pairs = np.stack(np.triu_indices(len(segments), 1), axis=1)
    x, y = blocks[pairs[:, 0]], blocks[pairs[:, 1]]
    z = bands[pairs].reshape(len(pairs), 4)
    z = _without(z, x)
    # For neighbors, a step may be in both bands: it is kept where it comes first.
    for j in range(1, 4):
        z[:, j : j + 1] = _without(z[:, j : j + 1], z[:, :j])
    y = _without(y, z)
    testable = (y >= 0).any(axis=1)
    return pairs[testable], x[testable], y[testable], z[testable]


def _without(steps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Replace each step that is among the others of the same row by -1."""
    return np.where((steps[:, :, None] == others[:, None, :]).any(axis=2), -1, steps)


def tested_steps(steps: np.ndarray, informative: np.ndarray, n_timesteps: int) -> np.ndarray:
    """Return which steps entered any test that could be carried out.

    Parameters
    ----------
    steps : ndarray of int of shape (n_tests, width)
        Steps of each test.
    informative : ndarray of bool of shape (n_tests, n_tasks)
        Whether the test could be carried out.
    n_timesteps : int
        Number of steps.

    Returns
    -------
    tested : ndarray of bool of shape (n_timesteps, n_tasks)
        One row per step.
    """
    # Counted per column of steps, as ufunc.at is slow for a million pairs. Absent steps (-1)
    # are counted in an additional first row.
    counts = np.zeros((n_timesteps + 1, informative.shape[1]))
    for column in steps.T + 1:
        for task, weights in enumerate(informative.T):
            counts[:, task] += np.bincount(column, weights, minlength=n_timesteps + 1)
    return counts[1:] > 0


def to_columns(steps: np.ndarray, n_features: int) -> np.ndarray:
    """Return the columns of flat sequences that hold all features of the given steps."""
    columns = steps[:, :, None] * n_features + np.arange(n_features)
    kept = np.where(steps[:, :, None] >= 0, columns, -1)
    return kept.reshape(len(steps), steps.shape[1] * n_features)


def match_tasks(reference: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the tasks found in the order of the reference tasks that they agree with most.

    Parameters
    ----------
    reference : ndarray of bool of shape (n_segments, n_tasks)
        Structure whose tasks give the order.
    found : ndarray of bool of shape (n_segments, n_found)
        Structure whose tasks have no order.

    Returns
    -------
    matched : ndarray of bool of shape (n_segments, max(n_tasks, n_found))
        The tasks of ``found``; a task without a partner is last, a reference task without
        a partner is matched with an empty one.
    """
    width = max(reference.shape[1], found.shape[1])
    reference, found = (
        np.pad(structure, ((0, 0), (0, width - structure.shape[1])))
        for structure in (reference, found)
    )
    agreement = (reference[:, :, None] == found[:, None, :]).sum(axis=0)
    return found[:, linear_sum_assignment(agreement, maximize=True)[1]]


@dataclass(frozen=True)
class SegmentedData:
    """Statistics of flat sequences beside the columns of their tasks, with segments.

    Attributes
    ----------
    folded : FoldedMoments or WideMoments
        Statistics of the columns, missing steps imputed by their mean.
    segments : ndarray of shape (n_segments, 2)
        First step of each segment and the step after its last.
    n_timesteps, n_features : int
        Number of steps, and of features of a step.
    task_columns : ndarray of shape (n_tasks, width)
        Columns of each task, padded with -1.
    X : ndarray of shape (n_sequences, n_timesteps * n_features) or None
        The sequences of all folds, with NaN for missing steps; None if only their
        statistics were kept.
    tasks : ndarray of shape (n_sequences, n_task_columns) or None
        The columns of the tasks.
    has_missing : bool
        Whether ``X`` has NaN.
    groups : ndarray of int of shape (n_sequences,) or None
        Group of each sequence; none is in two folds.
    """

    folded: FoldedMoments | WideMoments
    segments: np.ndarray
    n_timesteps: int
    n_features: int
    task_columns: np.ndarray
    X: np.ndarray | None = None
    tasks: np.ndarray | None = None
    has_missing: bool = False
    groups: np.ndarray | None = None

    @classmethod
    def from_arrays(
        cls,
        X: np.ndarray,
        tasks: np.ndarray,
        owned: Sequence[np.ndarray],
        segments: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> Self:
        """Build from sequences (n_sequences, n_timesteps, n_features), with NaN for missing.

        ``owned`` has the columns of ``tasks`` that belong to each task.
        """
        flat = X.reshape(len(X), -1)
        filled = at_mean(flat)
        folded = fold_moments(filled, tasks, groups)
        shape = X.shape[1], X.shape[2]
        statistics = cls.from_statistics(folded, shape, owned, segments)
        missing = filled is not flat
        return replace(statistics, X=flat, tasks=tasks, has_missing=missing, groups=groups)

    @classmethod
    def from_statistics(
        cls,
        folded: FoldedMoments | WideMoments,
        shape: tuple[int, int],
        owned: Sequence[np.ndarray],
        segments: np.ndarray,
    ) -> Self:
        """Build from the statistics of sequences of ``shape`` (n_timesteps, n_features)."""
        return cls(folded, segments, *shape, pad_columns(owned, shape[0] * shape[1]))

    @property
    def moments(self) -> Moments | WideMoments:
        """Statistics of all columns over all sequences."""
        return self.folded.total

    @cached_property
    def data(self) -> np.ndarray | None:
        """All columns of the sequences of these folds, for tests that need the samples."""
        if self.X is None or self.tasks is None:
            return None
        rows = self.rows
        return np.hstack([self.X[rows], self.tasks[rows]], dtype=np.float64)

    @property
    def rows(self) -> np.ndarray:
        """Mask of the sequences of these folds, of shape (n_sequences,)."""
        assert self.X is not None
        units = np.arange(len(self.X)) if self.groups is None else self.groups
        return np.isin(fold_of(units, self.folded.n_folds), list(self.folded.folds))

    def with_segments(self, segments: np.ndarray) -> Self:
        """Return the same sequences with other segments."""
        return replace(self, segments=segments)

    def subset(self, folds: Collection[int]) -> Self:
        """Return the sequences of some folds only."""
        return replace(self, folded=self.folded.subset(folds))


def at_mean(X: np.ndarray, means: np.ndarray | None = None) -> np.ndarray:
    """Impute missing steps of flat sequences by their mean; the same array if none is missing."""
    # The sum is NaN if any value is, and needs no array of the size of X.
    if not np.isnan(X.sum()):
        return X
    missing = np.isnan(X)
    if not missing.any():
        return X
    if means is None:
        counts = (~missing).sum(axis=0)
        means = np.where(missing, 0.0, X).sum(axis=0) / np.maximum(counts, 1)
    return np.where(missing, means, X)
