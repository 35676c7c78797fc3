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
    validate_sequences,
    validate_steps,
)

__all__ = ["RaggedSequences", "after_the_end", "is_ragged_list", "pad_list", "repeat_steps"]


@dataclass(frozen=True)
class RaggedSequences:
    """Sequences in one array, each padded to the longest by repetition of its own steps.

    Padding with repeated steps keeps the statistics of a batch near those of the observed steps.

    Attributes
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features), float64 or float32
        The sequences.
    lengths : ndarray of shape (n_sequences,), int
        Number of observed steps of each.
    layout : {"array", "list", "rows"}
        Form of the input: an array, a list of arrays, or the steps of all sequences one below
        the other.
    """

    X: np.ndarray
    lengths: np.ndarray
    layout: str
    order: np.ndarray | None = None  # of the rows

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
            Sequences. In an array, steps at the end of a sequence may be all NaN.
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
            rows = validate_steps(estimator, _stacked(X), reset=reset)
            return cls(_fill(rows, lengths), lengths, "list")
        if n_dimensions(X) == 3:
            return cls._from_padded(estimator, as_array(X, "X"), reset)
        if groups is None:
            X = validate_sequences(estimator, X, n_timesteps=n_timesteps, reset=reset)
            return cls(X, np.full(len(X), X.shape[1]), "array")
        rows = validate_steps(estimator, X, reset=reset)
        check_same_length(X=rows, groups=groups)
        codes = check_labels(groups, "groups")
        order, lengths = np.argsort(codes, kind="stable"), np.bincount(codes)
        return cls(_fill(rows[order], lengths), lengths, "rows", order)

    @classmethod
    def _from_padded(cls, estimator: Any, X: np.ndarray, reset: bool) -> Self:
        if not X.shape[2]:
            raise ValueError(f"X has no features: its shape is {X.shape}.")
        X = check_numbers(X, "X", dtype=FLOATS, allow_nd=True, ensure_all_finite="allow-nan")
        missing = np.isnan(X[:, :, 0]) & np.isnan(X).all(axis=2)
        lengths = X.shape[1] - missing.sum(axis=1)
        if not missing.any():
            return cls(validate_steps(estimator, X, reset=reset), lengths, "array")
        if not np.array_equal(missing, np.arange(X.shape[1]) >= lengths[:, None]):
            raise ValueError(
                "X has sequences with missing steps before their end: leave these steps out, or "
                "fill them in."
            )
        if not lengths.all():
            raise ValueError(f"X has {np.sum(lengths == 0)} sequences without any step.")
        rows = validate_steps(estimator, X[~missing], reset=reset)
        return cls(_fill(rows, lengths, X.shape[1]), lengths, "array")

    def __len__(self) -> int:
        return len(self.X)

    @property
    def observed(self) -> np.ndarray:
        """Mask of the steps that are not padding, shape (n_sequences, n_timesteps), bool."""
        return np.arange(self.X.shape[1]) < self.lengths[:, None]

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
        if self.layout == "array":
            shaped = self.observed.reshape(self.observed.shape + (1,) * (values.ndim - 2))
            return values if self.observed.all() else np.where(shaped, values, fill)
        parts = [part[:length] for part, length in zip(values, self.lengths, strict=True)]
        if self.layout == "list":
            return parts
        rows = np.concatenate(parts)
        return rows[np.argsort(np.asarray(self.order))]


def is_ragged_list(X: Any) -> bool:
    """Return whether these are separate sequences: a list or tuple of 2-D arrays or tables."""
    shapes = [getattr(part, "shape", None) for part in X] if isinstance(X, list | tuple) else []
    return bool(shapes) and all(isinstance(s, tuple) and len(s) == 2 for s in shapes)


def pad_list(X: Any, n_timesteps: int | None = None) -> Any:
    """Return separate sequences of unequal lengths as an array, NaN after the end of shorter ones.

    Everything else stays as it is.

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
        return X
    lengths = np.array([_n_steps(part, k) for k, part in enumerate(X)])
    longest = lengths.max() if n_timesteps is None else n_timesteps
    if (lengths == longest).all():
        return np.stack([as_array(part, "X") for part in X])
    if lengths.max() > longest:
        raise ValueError(
            f"X has a sequence of {lengths.max()} steps, but the longest of fit had {longest}."
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
