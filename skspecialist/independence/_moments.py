"""Sufficient statistics of Gaussian data: of arrays, and of folds that add up."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigvalsh_tridiagonal, lapack, solveh_banded

from .._data.validation import as_array, refuse_dates

__all__ = [
    "FoldedMoments",
    "Moments",
    "WideMoments",
    "complementary_halves",
    "fold_moments",
    "fold_of",
    "ridge_in_eigenbasis",
    "ridge_path",
]

# Offsets of up to this many standard deviations cost at most two digits of the scatter matrix,
# and save a centered copy of the data.
SMALL_OFFSET = 10.0
MAX_FOLDS = 10
# Memory of the statistics of all folds, in bytes; there are at least two folds.
FOLDS_BYTES = 2**30
# Rows are read in blocks of about this many bytes, so that a memory map can be larger.
BLOCK_BYTES = 64 * 2**20
# A larger covariance of all columns is not computed: those of two folds, their sum and the
# products that make them take some six times as much.
MAX_COVARIANCE_BYTES = 2**28
# Predictors from which a tridiagonal scatter is quicker than eigenvectors.
MANY_PREDICTORS = 64
GOLDEN_RATIO = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Moments:
    """Sample size, mean and centered scatter matrix of the columns of some data.

    All that a test from one covariance needs to know of the data, at a size that does
    not depend on the number of samples.

    Attributes
    ----------
    n : int or float
        Number of samples, or the sum of their weights.
    mean : ndarray of shape (n_columns,)
        Column means.
    scatter : ndarray of shape (n_columns, n_columns)
        Sum over samples of the outer products of the centered rows, float64.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.independence import Moments
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> both = Moments.from_data(X[:40]).merge(Moments.from_data(X[40:]))
    >>> bool(np.allclose(both.scatter, Moments.from_data(X).scatter))
    True
    """

    n: float
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def from_data(cls, data: ArrayLike, weights: np.ndarray | None = None) -> Self:
        """Compute from data.

        Parameters
        ----------
        data : array-like of shape (n_samples, n_columns)
            The data.
        weights : ndarray of shape (n_samples,), default=None
            Numbers of samples that the rows stand for. None is one each.

        Returns
        -------
        moments : Moments
            Its statistics.

        Raises
        ------
        ValueError or TypeError
            If they are not numbers in rows and columns, or some are not finite, or so large
            that their squares are not.
        """
        data = _rows(data)
        if weights is not None:
            mean = np.average(data, axis=0, weights=weights)
            centered = (data - mean) * np.sqrt(weights)[:, None]
            return cls(float(weights.sum()), mean, centered.T @ centered)
        mean = data.mean(axis=0)
        # Some rows are enough to see a variance: that of all is at least their share of it.
        some = data[:: len(data) // 1000 + 1]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.all(np.abs(mean) <= SMALL_OFFSET * some.std(axis=0)):
                offset = np.sqrt(len(data)) * mean
                scatter = data.T @ data - np.outer(offset, offset)
            else:
                centered = data - mean
                # What rounding left of the mean, where offsets are large.
                rest = centered.mean(axis=0)
                mean = mean + rest
                scatter = centered.T @ centered - len(data) * np.outer(rest, rest)
        if not np.isfinite(scatter).all():
            raise ValueError(
                "data contains NaN or infinity, or values so large that their squares are infinite."
            )
        return cls(len(data), mean, scatter)

    def merge(self, other: Self) -> Self:
        """Return the statistics of both data sets together.

        Parameters
        ----------
        other : Moments
            Statistics of other samples of the same columns.

        Returns
        -------
        moments : Moments
            Statistics of all samples, stable for large offsets (Chan, Golub & LeVeque,
            "Algorithms for computing the sample variance", 1983).

        Raises
        ------
        TypeError
            If these are no statistics of as many columns.
        """
        if not isinstance(other, Moments) or other.scatter.shape != self.scatter.shape:
            raise TypeError(f"other must be Moments of {len(self.mean)} columns.")
        n = self.n + other.n
        difference = other.mean - self.mean
        mean = self.mean + difference * (other.n / n)
        between = np.outer(difference, difference) * (self.n * other.n / n)
        return type(self)(n, mean, self.scatter + other.scatter + between)

    def columns(self, chosen: np.ndarray) -> Moments:
        """Return the statistics of some columns.

        Parameters
        ----------
        chosen : ndarray of int of shape (n_chosen,)
            Columns.

        Returns
        -------
        moments : Moments
            Their statistics, in this order.
        """
        return Moments(self.n, self.mean[chosen], self.scatter[np.ix_(chosen, chosen)])

    def update(self, data: ArrayLike) -> Self:
        """Return the statistics with more samples.

        Parameters
        ----------
        data : array-like of shape (n_samples, n_columns)
            The samples to add.

        Returns
        -------
        moments : Moments
            Statistics of all samples.
        """
        return self.merge(type(self).from_data(data))

    def correlation(self) -> np.ndarray:
        """Return the correlation matrix.

        Returns
        -------
        correlation : ndarray of shape (n_columns, n_columns)
            A constant column has zeros, also on the diagonal.
        """
        variance = np.diag(self.scatter) / max(self.n, 1)
        # Rounding leaves this much variance in a column that is constant.
        constant = variance <= (1e-12 * np.abs(self.mean)) ** 2
        scale = np.where(constant, 0.0, np.sqrt(1.0 / np.where(constant, 1.0, variance)))
        return self.scatter / max(self.n, 1) * scale[:, None] * scale


def _rows(data: ArrayLike) -> np.ndarray:
    """Return data as float64, whose values are looked at only in sums: it may be a memory map."""
    refuse_dates(data, "data")
    rows = as_array(data, "data")
    if rows.dtype.kind == "c":
        raise TypeError("data must be real, got complex numbers.")
    rows = as_array(rows, "data", dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"data must have shape (n_samples, n_columns) and not be empty, got shape {rows.shape}."
        )
    return rows


@dataclass(frozen=True)
class FoldedMoments:
    """Moments of disjoint folds of the sequences, which add up to those of all.

    Attributes
    ----------
    folds : dict of {int: Moments}
        Moments of each fold that has sequences.
    n_folds : int
        Number of folds, with and without sequences.
    """

    folds: dict[int, Moments]
    n_folds: int

    @classmethod
    def from_data(
        cls,
        X: np.ndarray,
        tasks: np.ndarray,
        first: int = 0,
        units: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> Self:
        """Compute from flat sequences and their tasks, in blocks of rows.

        Parameters
        ----------
        X : ndarray of shape (n_sequences, n_columns)
            Sequences; may be a memory map.
        tasks : ndarray of shape (n_sequences, n_task_columns)
            Columns of the tasks.
        first : int, default=0
            Number of the first sequence, if there were others before.
        units : ndarray of int of shape (n_sequences,), default=None
            Numbers of sequences or groups, of which each is in one fold. None is one per
            sequence.
        weights : ndarray of shape (n_sequences,), default=None
            Numbers of sequences that the rows stand for. None is one each.
        """
        if units is None:
            units = np.arange(first, first + len(X))
        width = X.shape[1] + tasks.shape[1]
        n_folds = int(np.clip(FOLDS_BYTES // (8 * width**2), 2, MAX_FOLDS))
        folded = cls({}, n_folds)
        for rows in _blocks(len(X), width):
            block = np.hstack([X[rows], tasks[rows]], dtype=np.float64)
            fold = fold_of(units[rows], n_folds)
            parts = {}
            for k in np.unique(fold):
                own = None if weights is None else weights[rows][fold == k]
                parts[int(k)] = Moments.from_data(block[fold == k], own)
            folded = folded.merge(cls(parts, n_folds))
        return folded

    def merge(self, other: Self) -> Self:
        """Return the statistics of both sets of sequences together."""
        folds = dict(self.folds)
        for k, moments in other.folds.items():
            folds[k] = folds[k].merge(moments) if k in folds else moments
        return type(self)(folds, self.n_folds)

    def subset(self, chosen: Collection[int]) -> Self:
        """Return the statistics of some folds only."""
        return type(self)({k: m for k, m in self.folds.items() if k in chosen}, self.n_folds)

    @cached_property
    def total(self) -> Moments:
        """Moments of all sequences."""
        return reduce(Moments.merge, (self.folds[k] for k in sorted(self.folds)))

    def part(self, n_samples: int) -> Moments:
        """Return the moments of as few folds as have ``n_samples`` sequences."""
        parts = [self.folds[k] for k in sorted(self.folds)]
        reached = np.cumsum([moments.n for moments in parts]) >= n_samples
        count = int(reached.argmax()) + 1 if reached.any() else len(parts)
        return reduce(Moments.merge, parts[:count])

    def splits(self, n_splits: int) -> Iterator[tuple[list[int], Moments]]:
        """Yield the training folds and the moments of the others, for cross-validation."""
        for held_out in np.array_split(np.array(sorted(self.folds)), n_splits):
            if 0 < len(held_out) < len(self.folds):
                rest = [k for k in self.folds if k not in held_out]
                yield rest, self.subset(held_out.tolist()).total


@dataclass(frozen=True)
class WideMoments:
    """Moments of more columns than a covariance has room for, by the columns asked for.

    It stands for the moments of folds (:class:`FoldedMoments`) and for their total: memory
    grows with the number of columns, and not with its square.

    Attributes
    ----------
    X : ndarray of shape (n_sequences, n_columns)
        Flat sequences.
    tasks : ndarray of shape (n_sequences, n_task_columns)
        Columns of the tasks.
    fold : ndarray of int of shape (n_sequences,)
        Fold of each sequence.
    folds : dict of {int: None}
        Folds that are included.
    n_folds : int
        Number of folds, with and without sequences.
    weights : ndarray of shape (n_sequences,) or None
        Numbers of sequences that the rows stand for.
    """

    X: np.ndarray
    tasks: np.ndarray
    fold: np.ndarray
    folds: dict[int, None]
    n_folds: int = MAX_FOLDS
    weights: np.ndarray | None = None

    @property
    def total(self) -> Self:
        """Moments of all sequences of these folds."""
        return self

    @cached_property
    def rows(self) -> np.ndarray:
        """Sequences of these folds."""
        return np.flatnonzero(np.isin(self.fold, list(self.folds)))

    @property
    def own_weights(self) -> np.ndarray | None:
        """Weights of the sequences of these folds."""
        return None if self.weights is None else self.weights[self.rows]

    @property
    def n(self) -> float:
        """Number of sequences."""
        return len(self.rows) if self.weights is None else float(self.weights[self.rows].sum())

    @cached_property
    def mean(self) -> np.ndarray:
        """Means of all columns."""
        parts = [np.asarray(part[self.rows], np.float64) for part in (self.X, self.tasks)]
        return np.concatenate([np.average(p, axis=0, weights=self.own_weights) for p in parts])

    def columns(self, chosen: np.ndarray) -> Moments:
        """Return the statistics of some columns, in this order."""
        if not len(chosen):
            return Moments(self.n, *np.zeros((2, 0)))
        return Moments.from_data(self.rows_of(chosen), self.own_weights)

    def rows_of(self, chosen: np.ndarray) -> np.ndarray:
        """Return some columns of the sequences of these folds, in this order."""
        width = self.X.shape[1]
        block = np.empty((len(self.rows), len(chosen)))
        of_X = chosen < width
        block[:, of_X] = self.X[np.ix_(self.rows, chosen[of_X])]
        block[:, ~of_X] = self.tasks[np.ix_(self.rows, chosen[~of_X] - width)]
        return block

    def subset(self, chosen: Collection[int]) -> Self:
        """Return the statistics of some folds only."""
        return replace(self, folds={k: None for k in self.folds if k in chosen})

    def part(self, n_samples: int) -> Self:
        """Return as few folds as have ``n_samples`` sequences."""
        counts = [self.subset([k]).n for k in self.folds]
        reached = np.cumsum(counts) >= n_samples
        count = int(reached.argmax()) + 1 if reached.any() else len(counts)
        return self.subset(list(self.folds)[:count])

    def splits(self, n_splits: int) -> Iterator[tuple[list[int], Self]]:
        """Yield the training folds and the others, for cross-validation."""
        for held_out in np.array_split(np.array(sorted(self.folds)), n_splits):
            if 0 < len(held_out) < len(self.folds):
                yield [k for k in self.folds if k not in held_out], self.subset(held_out.tolist())


def fold_moments(
    X: np.ndarray,
    tasks: np.ndarray,
    units: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> FoldedMoments | WideMoments:
    """Return the moments of the folds of flat sequences, by columns where they are many."""
    width = X.shape[1] + tasks.shape[1]
    # Tests and gains of observed tasks need few columns at a time. With fewer sequences than
    # columns, the covariance of all of them is singular, and larger than the sequences.
    few_at_a_time = tasks.shape[1] > 0 and width > len(X)
    if 8 * width**2 <= MAX_COVARIANCE_BYTES and not few_at_a_time:
        return FoldedMoments.from_data(X, tasks, units=units, weights=weights)
    fold = fold_of(np.arange(len(X)) if units is None else units, MAX_FOLDS)
    folds = dict.fromkeys(np.unique(fold).tolist())
    return WideMoments(X, tasks, fold, folds, weights=weights)


def fold_of(rows: np.ndarray, n_folds: int) -> np.ndarray:
    """Return the fold of each sequence, or group, from its number alone.

    However the sequences come in batches, each gets the same fold. The fractional parts
    of multiples of the golden ratio spread evenly and have no period that a periodic
    order of the sequences could share.
    """
    return (np.mod(rows * GOLDEN_RATIO, 1.0) * n_folds).astype(int)


def complementary_halves(
    folds: ArrayLike, n_halves: int, rng: np.random.RandomState | np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield random halves of the folds in pairs that complement each other [1]_.

    One more if ``n_halves`` is odd.

    References
    ----------
    .. [1] R. D. Shah and R. J. Samworth, "Variable selection with error control: another
       look at stability selection", Journal of the Royal Statistical Society B 75, 2013.
    """
    for _ in range((n_halves + 1) // 2):
        yield from np.array_split(rng.permutation(folds), 2)


def _blocks(n_rows: int, width: int) -> Iterator[slice]:
    # With fewer rows than columns, merging would cost more than reading.
    size = max(BLOCK_BYTES // (8 * width), width)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def ridge_path(scatter: np.ndarray, products: np.ndarray) -> tuple[Any, ...]:
    """Return what ridge regression of any penalty needs, from sufficient statistics.

    Parameters
    ----------
    scatter : ndarray of shape (n_predictors, n_predictors)
        Scatter of the predictors.
    products : ndarray of shape (n_predictors, n_responses)
        Their products with the responses.

    Returns
    -------
    eigenvalues : ndarray of shape (n_predictors,)
        Of the scatter.
    projected : ndarray of shape (n_predictors, n_responses)
        The products in an orthonormal basis.
    solve, back : callable
        Coefficients in this basis for a penalty, and those of the predictors.
    """
    if len(scatter) < MANY_PREDICTORS:
        values, vectors = np.linalg.eigh(scatter)
        return ridge_in_eigenbasis(np.maximum(values, 0.0), vectors, vectors.T @ products)
    # In a basis of a tridiagonal scatter, which takes half of the time of eigenvectors.
    size = 64 * len(scatter)
    reflectors, diagonal, off, tau, _ = lapack.dsytrd(scatter, lower=1, lwork=size)

    def reflect(columns: np.ndarray, transposed: str) -> np.ndarray:
        below = lapack.dormqr("L", transposed, reflectors[1:, :-1], tau, columns[1:], size)[0]
        return np.concatenate([columns[:1], below])

    projected = reflect(products, "T")
    band = np.stack([diagonal, np.append(off, 0.0)])
    shift = np.array([[1.0], [0.0]])
    return (
        np.maximum(eigvalsh_tridiagonal(diagonal, off), 0.0),
        projected,
        lambda penalty: solveh_banded(band + penalty * shift, projected, lower=True),
        lambda coef: reflect(coef, "N"),
    )


def ridge_in_eigenbasis(
    values: np.ndarray, vectors: np.ndarray, projected: np.ndarray
) -> tuple[Any, ...]:
    """Return the path of ridge regression in an eigenbasis."""
    return (
        values,
        projected,
        lambda penalty: projected / (values + penalty)[:, None],
        lambda coef: vectors @ coef,
    )
