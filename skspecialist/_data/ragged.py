"""Sequences of unequal lengths, padded to one array."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from .validation import (
    FLOATS,
    as_array,
    check_convertible,
    check_labels,
    check_numbers,
    check_same_length,
    n_dimensions,
    unstack_steps,
    validate_sequences,
    validate_steps,
)

__all__ = ["RaggedSequences", "after_the_end", "is_ragged_list", "pad_list", "repeat_steps"]


@dataclass(frozen=True)
class RaggedSequences:
    """Sequences in one array, each padded to the longest by repetition of its own steps.

    Padding with repeated steps keeps the statistics of a batch near those of the observed steps.
    Steps that are missing (all NaN) are left out, wherever they are; single values may be NaN.

    Attributes
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features), float64 or float32
        The sequences.
    lengths : ndarray of shape (n_sequences,), int
        Number of observed steps of each.
    layout : {"array", "list", "rows"}
        Form of the input: an array, a list of arrays, or the steps of all sequences one below
        the other.
    order : ndarray of int or None
        Order of the rows of the input that puts them one sequence after the other.
    present : ndarray of bool or None
        Steps of the input, one sequence after the other, that are not missing; None if all are.
    sizes : ndarray of int or None
        Number of steps of each sequence, with those that are missing.
    """

    X: np.ndarray
    lengths: np.ndarray
    layout: str
    order: np.ndarray | None = None
    present: np.ndarray | None = None
    sizes: np.ndarray | None = None

    @classmethod
    def read(
        cls,
        estimator: Any,
        X: Any,
        groups: Any = None,
        *,
        n_timesteps: int | None = None,
        reset: bool = False,
    ) -> Self:
        """Validate sequences in any of their forms.

        Parameters
        ----------
        estimator : estimator
            Gets ``n_features_in_`` if ``reset``, and is checked against otherwise.
        X : array-like of shape (n_sequences, n_timesteps, n_features), or list of array-like \
                of shape (n_timesteps, n_features), or array-like of shape (n_steps, n_features)
            Sequences. Steps that are all NaN are missing, such as those after the end of shorter
            sequences in an array.
        groups : array-like of shape (n_steps,), default=None
            With a 2-D ``X``, the sequence of each row.
        n_timesteps : int, default=None
            Number of steps in a row of a 2-D ``X`` without ``groups``; None is one per column.
        reset : bool, default=False
            Whether this is ``fit``.

        Raises
        ------
        ValueError or TypeError
            If they are not sequences in one of these forms.
        """
        if is_ragged_list(X):
            lengths = np.array([_n_steps(part, k) for k, part in enumerate(X)])
            return cls._from_steps(estimator, _stacked(X), lengths, "list", reset)
        if n_dimensions(X) == 3:
            X = as_array(X, "X")
            if not X.shape[2]:
                raise ValueError(f"X has no features: its shape is {X.shape}.")
            lengths = np.full(len(X), X.shape[1])
            return cls._from_steps(estimator, X.reshape(-1, X.shape[2]), lengths, "array", reset)
        if groups is None:
            checks: dict[str, Any] = {"reset": reset, "ensure_all_finite": "allow-nan"}
            X = validate_sequences(estimator, X, n_timesteps=n_timesteps, **checks)
            lengths = np.full(len(X), X.shape[1])
            return cls._from_rows(X.reshape(-1, X.shape[2]), lengths, "array")
        check_same_length(X=X, groups=groups)
        codes = check_labels(groups, "groups")
        order, lengths = np.argsort(codes, kind="stable"), np.bincount(codes)
        return cls._from_steps(estimator, X, lengths, "rows", reset, order)

    @classmethod
    def _from_steps(
        cls,
        estimator: Any,
        rows: Any,
        lengths: np.ndarray,
        layout: str,
        reset: bool,
        order: np.ndarray | None = None,
    ) -> Self:
        """Build from the steps of all sequences, which ``order`` puts one after the other."""
        rows = validate_steps(estimator, rows, reset=reset, ensure_all_finite="allow-nan")
        return cls._from_rows(rows if order is None else rows[order], lengths, layout, order)

    @classmethod
    def _from_rows(
        cls, rows: np.ndarray, lengths: np.ndarray, layout: str, order: np.ndarray | None = None
    ) -> Self:
        present = ~np.isnan(rows).all(axis=1)
        if present.all():
            return cls(_fill(rows, lengths), lengths, layout, order)
        counts = np.add.reduceat(present, np.cumsum(lengths) - lengths, dtype=int)
        if not counts.all():
            raise ValueError(f"X has {np.sum(counts == 0)} sequences without any step.")
        X = _fill(rows[present], counts, max(lengths))
        return cls(X, counts, layout, order, present, lengths)

    def __len__(self) -> int:
        return len(self.X)

    @property
    def observed(self) -> np.ndarray:
        """Mask of the steps that are not padding, shape (n_sequences, n_timesteps), bool."""
        return np.arange(self.X.shape[1]) < self.lengths[:, None]

    def take(self, rows: np.ndarray) -> Self:
        """Return some of the sequences, without the layout of the input."""
        X, lengths = self.X[rows], self.lengths[rows]
        return replace(self, X=X, lengths=lengths, order=None, present=None, sizes=None)

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """Return values (n_sequences, n_timesteps, ...) of the observed steps of each sequence."""
        return [part[:n] for part, n in zip(values, self.lengths, strict=True)]

    def chunks(self, n_steps: int) -> Iterator[slice]:
        """Yield slices of whole sequences, of at most so many steps unless one is longer."""
        size = max(1, n_steps // self.X.shape[1])
        for start in range(0, len(self), size):
            yield slice(start, start + size)

    def split(self, longest: int) -> tuple[Self, np.ndarray]:
        """Return pieces of at most ``longest`` steps, of nearly equal lengths, and their owners."""
        n_pieces = -(-self.lengths // longest)
        owners = np.repeat(np.arange(len(self)), n_pieces)
        if len(owners) == len(self):
            return self, owners
        # Number of each piece within its sequence, then its first and last step.
        places = np.arange(len(owners)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
        starts, ends = (
            (places + later) * self.lengths[owners] // n_pieces[owners] for later in (0, 1)
        )
        lengths = ends - starts
        return replace(self, X=_fill(self.X[self.observed], lengths), lengths=lengths), owners

    def restore_layout(self, values: np.ndarray, fill: Any = np.nan) -> Any:
        """Return values (n_sequences, n_timesteps, ...) of the steps in the layout of the input."""
        if self.layout == "array" and self.present is None:
            return values
        steps, sizes = values[self.observed], self.lengths
        if self.present is not None and self.sizes is not None:
            dtype = np.result_type(steps, np.asarray(fill))
            every = np.full((len(self.present), *steps.shape[1:]), fill, dtype=dtype)
            every[self.present] = steps
            steps, sizes = every, self.sizes
        if self.layout == "array":
            return steps.reshape(len(self), -1, *steps.shape[1:])
        if self.layout == "list":
            return np.split(steps, np.cumsum(sizes)[:-1])
        return steps[np.argsort(np.asarray(self.order))]


def is_ragged_list(X: Any) -> bool:
    """Return whether these are separate sequences: a list or tuple of 2-D arrays or tables."""
    shapes = [getattr(part, "shape", None) for part in X] if isinstance(X, list | tuple) else []
    return bool(shapes) and all(isinstance(s, tuple) and len(s) == 2 for s in shapes)


def pad_list(X: Any, n_timesteps: int | None = None) -> Any:
    """Return separate sequences of unequal lengths as an array, NaN after the end of shorter ones.

    So are tables whose rows have two index levels. Everything else stays as it is.

    Parameters
    ----------
    X : object
        Sequences in any form.
    n_timesteps : int, default=None
        Number of steps of the array. None is that of the longest sequence.

    Raises
    ------
    ValueError or TypeError
        If a sequence has no steps, more than ``n_timesteps``, or other features than others.
    """
    if not is_ragged_list(X):
        return unstack_steps(X)
    lengths = np.array([_n_steps(part, k) for k, part in enumerate(X)])
    longest = lengths.max() if n_timesteps is None else n_timesteps
    if (lengths == longest).all():
        return np.stack([as_array(part, "X") for part in X])
    if lengths.max() > longest:
        raise ValueError(
            f"X has a sequence of {lengths.max()} steps, but the longest of fit had {longest}: cut "
            "it, or use TaskLocalizer without a pipeline, which takes sequences of any length."
        )
    rows = check_numbers(_stacked(X), "X", dtype=FLOATS, ensure_all_finite="allow-nan")
    padded = np.full((len(X), longest, rows.shape[1]), np.nan, dtype=rows.dtype)
    padded[np.arange(longest) < lengths[:, None]] = rows
    return padded


def after_the_end(X: np.ndarray) -> np.ndarray:
    """Return the steps at the end of each sequence that are all NaN, (n_sequences, n_timesteps)."""
    missing = np.isnan(X).all(axis=2)
    return np.logical_and.accumulate(missing[:, ::-1], axis=1)[:, ::-1]


def repeat_steps(X: np.ndarray) -> np.ndarray:
    """Return sequences whose steps after the end are repetitions of their own."""
    ended = after_the_end(X)
    if not ended.any():
        return X
    lengths = X.shape[1] - ended.sum(axis=1)
    places = np.arange(X.shape[1]) % lengths[:, None]
    return np.asarray(X[np.arange(len(X))[:, None], places])


def _n_steps(part: Any, k: int) -> int:
    steps = as_array(part, "X")
    if steps.ndim != 2:
        raise TypeError(
            f"Sequence {k} of X must be an array-like of shape (n_steps, n_features), got a "
            f"{type(part).__name__}."
        )
    if not len(steps):
        raise ValueError(f"Sequence {k} of X has no steps.")
    return len(steps)


def _stacked(parts: Sequence[Any]) -> Any:
    """Return all steps one below the other; those of tables as a table, with its names."""
    tables = [part for part in parts if hasattr(part, "columns")]
    if len({tuple(table.columns) for table in tables}) > 1:
        raise ValueError("X has sequences whose columns differ, or are in another order.")
    library = sys.modules[type(parts[0]).__module__.partition(".")[0]]
    if len(tables) == len(parts) and hasattr(library, "concat"):  # of pandas and of polars
        if len({type(table) for table in tables}) > 1:
            raise TypeError("X has DataFrames of different libraries.")
        return library.concat(tables)
    if len(widths := {part.shape[1] for part in parts}) > 1:
        raise ValueError(f"X has sequences of {sorted(widths)} features: all must have the same.")
    return np.concatenate([as_array(check_convertible(part, "X"), "X") for part in parts])


def _fill(
    rows: np.ndarray, lengths: Sequence[int] | np.ndarray, width: int | None = None
) -> np.ndarray:
    # Step t of a sequence of length n is its step t modulo n.
    starts = np.cumsum(lengths) - lengths
    steps = np.arange(max(lengths) if width is None else width)
    places = starts[:, None] + steps % np.asarray(lengths)[:, None]
    return np.asarray(rows[places])
