"""Segments of aligned sequences: their steps, their bands, the selection of their steps.

Sets of steps are integer arrays in which -1 stands for an absent step, so that sets of
different sizes fit into one array.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import TaskEstimatorMixin
from .._data.ragged import is_ragged_list, pad_list
from .._data.validation import as_array, check_numbers, n_dimensions, validate_sequences
from ..exceptions import warn

__all__ = [
    "AlignedStructureMixin",
    "at_mean",
    "center",
    "collider_sets",
    "evidence_blocks",
    "group_means",
    "is_constant_within",
    "is_dask",
    "make_segments",
    "mean_over",
    "resolve_segment_steps",
    "resolve_segments",
    "std_over",
    "sum_within",
    "tested_steps",
    "to_columns",
    "validate_segments",
]

# Groups below which a task that groups determine is not tested between them.
MIN_GROUPS_BETWEEN = 30


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


def is_dask(X: Any) -> bool:
    """Return whether this is a Dask array, without importing Dask."""
    return type(X).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(X, "ndim")


def to_columns(steps: np.ndarray, n_features: int) -> np.ndarray:
    """Return the columns of flat sequences that hold all features of the given steps."""
    columns = steps[:, :, None] * n_features + np.arange(n_features)
    kept = np.where(steps[:, :, None] >= 0, columns, -1)
    return kept.reshape(len(steps), steps.shape[1] * n_features)


def at_mean(
    X: np.ndarray, means: np.ndarray | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """Impute missing steps of flat sequences by their mean; the same array if none is missing."""
    # The sum is NaN if any value is, and needs no array of the size of X.
    if not np.isnan(X.sum(dtype=np.float64 if X.dtype == np.float16 else None)):
        return X
    missing = np.isnan(X)
    if not missing.any():
        return X
    if means is None:
        w = np.ones(len(X)) if weights is None else weights
        counts = w @ ~missing
        means = w @ np.where(missing, 0.0, X) / np.where(counts > 0, counts, 1.0)
    return np.where(missing, means, X)


def center(
    A: np.ndarray, groups: np.ndarray | None, weights: np.ndarray | None = None
) -> np.ndarray:
    """Take out the mean, or the mean of each group."""
    if groups is None:
        return A - mean_over(A, weights)
    shape = -1, *[1] * (A.ndim - 1)
    w = np.ones(len(A)) if weights is None else weights
    means = sum_within(A * w.reshape(shape), groups) / np.bincount(groups, w).reshape(shape)
    return A - means[groups]


def sum_within(A: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the sum of each group's rows."""
    order = np.argsort(groups, kind="stable")
    return np.add.reduceat(A[order], np.searchsorted(groups[order], np.unique(groups)), axis=0)


def is_constant_within(Y: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return the columns that do not vary within groups."""
    if groups is None or not len(Y):
        return np.zeros(Y.shape[1], dtype=bool)
    return center(Y, groups).std(axis=0) <= 1e-9 * np.maximum(Y.std(axis=0), 1e-300)


def group_means(
    X: np.ndarray, Y: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return one sequence per group, and its tasks; none with too few groups."""
    if groups.max() + 1 < MIN_GROUPS_BETWEEN:
        return X[:0], Y[:0]
    w = np.ones((len(X), 1)) if weights is None else weights[:, None]
    flat = X.reshape(len(X), -1)
    observed = np.isfinite(flat)
    seen = sum_within(observed * w, groups)
    sums = sum_within(np.where(observed, flat, 0.0) * w, groups)
    means = np.where(seen > 0, sums / np.where(seen > 0, seen, 1.0), np.nan)
    return means.reshape(-1, *X.shape[1:]), sum_within(Y * w, groups) / sum_within(w, groups)


def mean_over(x: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over sequences of the entries that are not NaN, 0 where there are none."""
    if weights is None and np.isfinite(total := x.sum(axis=0)).all():
        return np.asarray(total / max(len(x), 1))
    observed = np.isfinite(x)
    x, weights = np.where(observed, x, 0.0), np.ones(len(x)) if weights is None else weights
    totals = np.tensordot(weights, observed, 1)
    return np.asarray(np.tensordot(weights, x, 1) / np.where(totals > 0, totals, 1.0))


def std_over(x: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Standard deviation over sequences of the entries that are not NaN."""
    return np.sqrt(mean_over((x - mean_over(x, weights)) ** 2, weights))


class AlignedStructureMixin(TaskEstimatorMixin, OneToOneFeatureMixin, TransformerMixin):
    """Selector of the time steps that belong to any task.

    ``fit`` of a subclass validates with :meth:`_validate` and ends with
    :meth:`_set_structure`.
    """

    segments_: np.ndarray
    structure_: np.ndarray
    step_mask_: np.ndarray
    support_: np.ndarray
    n_timesteps_: int
    n_tasks_: int
    task_names_: list[str]
    n_features_in_: int

    def _set_structure(
        self,
        structure: np.ndarray,
        segments: np.ndarray,
        n_timesteps: int,
        task_names: list[str] | None,
    ) -> None:
        """Set the fitted attributes that are derived from the structure."""
        self.structure_, self.segments_ = structure, segments
        self.step_mask_ = np.zeros((n_timesteps, structure.shape[1]), dtype=bool)
        for (first, stop), tasks in zip(segments, structure, strict=True):
            self.step_mask_[first:stop] = tasks
        self.support_ = np.any(self.step_mask_, axis=1)
        self.n_timesteps_, self.n_tasks_ = n_timesteps, structure.shape[1]
        self.task_names_ = task_names or [f"task{j}" for j in range(self.n_tasks_)]

    def step_weights(self, X: ArrayLike) -> np.ndarray:
        """Return the weight of each step for each task and sequence.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences.

        Returns
        -------
        weights : ndarray of shape (n_sequences, n_timesteps, n_tasks)
            1.0 for the steps of a task and 0.0 otherwise, equal in all sequences. A
            read-only view.
        """
        X = self._validate(X)
        return np.broadcast_to(self.step_mask_.astype(float), (len(X), *self.step_mask_.shape))

    def get_support(self, indices: bool = False) -> np.ndarray:
        """Return the steps that belong to any task.

        Parameters
        ----------
        indices : bool, default=False
            Whether to return indices of steps instead of a mask.

        Returns
        -------
        support : ndarray of bool of shape (n_timesteps,), or of int
            The steps that :meth:`transform` keeps.
        """
        check_is_fitted(self)
        return np.flatnonzero(self.support_) if indices else np.asarray(self.support_)

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Reduce sequences to the steps that belong to any task.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences.

        Returns
        -------
        X : ndarray of shape (n_sequences, n_kept, n_features) or \
                (n_sequences, n_kept * n_features)
            The kept steps, with as many dimensions as the input.
        """
        flat = not is_ragged_list(X) and n_dimensions(X) != 3
        X = self._validate(X)
        if not self.support_.any():
            warn(
                "No step of any task was found, so that no step is kept: there may be "
                "too few sequences, or the tasks depend on none of the steps."
            )
        return _like_input(X[:, self.support_], flat)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Reverse :meth:`transform`, with zeros for the steps that were removed.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_kept, n_features) or \
                (n_sequences, n_kept * n_features)
            Kept steps, as returned by :meth:`transform`.

        Returns
        -------
        X : ndarray of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Complete sequences.

        Raises
        ------
        ValueError or TypeError
            If ``X`` is not numeric, or its shape is not that of the kept steps.
        """
        check_is_fitted(self)
        kept = check_numbers(
            X,
            "X",
            dtype="numeric",
            allow_nd=True,
            ensure_all_finite="allow-nan",
            ensure_min_samples=0,
            ensure_min_features=0,
        )
        n_features, n_kept = self.n_features_in_ // self.n_timesteps_, int(self.support_.sum())
        if kept.shape[1:] not in [(n_kept, n_features), (n_kept * n_features,)]:
            raise ValueError(
                f"X must hold the {n_kept} kept steps with {n_features} features each, "
                f"got shape {kept.shape}."
            )
        sequences = np.zeros((len(kept), self.n_timesteps_, n_features), dtype=kept.dtype)
        sequences[:, self.support_] = kept.reshape(len(kept), n_kept, n_features)
        return _like_input(sequences, kept.ndim == 2)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """Return the feature names of the output of :meth:`transform`.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features_in_,), default=None
            Names of the columns; None takes those of ``fit``, or x0, x1, ...

        Returns
        -------
        names : ndarray of str
            Names of the kept columns.
        """
        names = super().get_feature_names_out(input_features)
        return names[np.repeat(self.support_, self.n_features_in_ // self.n_timesteps_)]

    def _validate(
        self, X: Any, *, n_timesteps: int | None = None, reset: bool = False, **checks: Any
    ) -> np.ndarray:
        """Return sequences (n_sequences, n_timesteps, n_features), of ``fit`` if ``reset``.

        Those of a list are padded with NaN after their last step.
        """
        if not reset:
            check_is_fitted(self)
            n_timesteps = self.n_timesteps_
        X = pad_list(X, n_timesteps) if isinstance(X, list | tuple) else X
        checks["ensure_all_finite"] = "allow-nan" if get_tags(self).input_tags.allow_nan else True
        if reset and isinstance(X, np.memmap) and X.dtype == np.float16:
            # Four times its size may exceed the memory; sums of blocks find infinite values.
            checks |= {"dtype": np.float16, "ensure_all_finite": False}
        return validate_sequences(self, X, n_timesteps=n_timesteps, reset=reset, **checks)


def _like_input(sequences: np.ndarray, flat: bool) -> np.ndarray:
    """Return sequences with the number of dimensions of the input."""
    if not flat:
        return sequences
    return sequences.reshape(len(sequences), sequences.shape[1] * sequences.shape[2])
