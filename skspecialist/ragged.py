"""Sequences of unequal lengths, in an array with the steps that there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_array

from .sequences import FLOATS, n_dimensions, validate_sequences, validate_steps
from .validation import check_same_length, naming

__all__ = ["RaggedSequences", "is_ragged_list"]


@dataclass(frozen=True)
class RaggedSequences:
    """Sequences side by side, each filled up to the longest with its own steps, over and over.

    So filled, they have the means and variances of the steps that there are.

    Attributes
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features), float64 or float32
        The sequences.
    lengths : ndarray of shape (n_sequences,), int
        Number of steps of each.
    given_as : {"array", "list", "rows"}
        What came in: an array, arrays, or the steps of all sequences one below the other.
    """

    X: np.ndarray
    lengths: np.ndarray
    given_as: str
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
            Number of steps in a row of a 2-D ``X`` without ``groups``; None is one a column.
        reset : bool, default=False
            Whether this is ``fit``.

        Raises
        ------
        ValueError or TypeError
            If they are no such sequences.
        """
        if is_ragged_list(X):
            parts = [_steps_of(part, k) for k, part in enumerate(X)]
            lengths = np.array([len(part) for part in parts])
            with naming("X"):
                stacked = np.concatenate(parts)
            rows = validate_steps(estimator, stacked, reset=reset)
            return cls(_fill(rows, lengths), lengths, "list")
        if n_dimensions(X) == 3:
            return cls._from_padded(estimator, np.asarray(X), reset)
        if groups is None:
            X = validate_sequences(estimator, X, n_timesteps=n_timesteps, reset=reset)
            return cls(X, np.full(len(X), X.shape[1]), "array")
        rows = validate_steps(estimator, X, reset=reset)
        check_same_length(X=rows, groups=groups)
        with naming("groups"):
            codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        order, lengths = np.argsort(codes, kind="stable"), np.bincount(codes)
        return cls(_fill(rows[order], lengths), lengths, "rows", order)

    @classmethod
    def _from_padded(cls, estimator: Any, X: np.ndarray, reset: bool) -> Self:
        with naming("X"):
            X = check_array(
                X, dtype=FLOATS, allow_nd=True, ensure_all_finite="allow-nan", input_name="X"
            )
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
        return cls(_fill(rows, lengths), lengths, "array")

    def __len__(self) -> int:
        return len(self.X)

    @property
    def there(self) -> np.ndarray:
        """The steps that there are, shape (n_sequences, n_timesteps), bool."""
        return np.arange(self.X.shape[1]) < self.lengths[:, None]

    def chunks(self, n_steps: int) -> Iterator[slice]:
        """Yield slices of whole sequences, of at most so many steps unless one is longer."""
        size = max(1, n_steps // self.X.shape[1])
        for start in range(0, len(self), size):
            yield slice(start, start + size)

    def in_its_form(self, values: np.ndarray, fill: Any = np.nan) -> Any:
        """Return values (n_sequences, n_timesteps, ...) of the steps in the form that X had."""
        if self.given_as == "array":
            shaped = self.there.reshape(self.there.shape + (1,) * (values.ndim - 2))
            return values if self.there.all() else np.where(shaped, values, fill)
        parts = [part[:length] for part, length in zip(values, self.lengths, strict=True)]
        if self.given_as == "list":
            return parts
        rows = np.concatenate(parts)
        return rows[np.argsort(np.asarray(self.order))]


def is_ragged_list(X: Any) -> bool:
    """Return whether these are separate sequences: a list or tuple of 2-D arrays."""
    return (
        isinstance(X, list | tuple)
        and len(X) > 0
        and all(getattr(part, "ndim", None) == 2 for part in X)
    )


def _steps_of(part: Any, k: int) -> np.ndarray:
    steps = np.asarray(part)
    if not len(steps):
        raise ValueError(f"Sequence {k} of X has no steps.")
    return steps


def _fill(rows: np.ndarray, lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    starts = np.cumsum(lengths) - lengths
    places = starts[:, None] + np.arange(max(lengths)) % np.asarray(lengths)[:, None]
    return np.asarray(rows[places])
