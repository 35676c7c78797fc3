"""Sufficient statistics of Gaussian data: sample size, mean and scatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from .._data.validation import naming, refuse_dates

__all__ = ["Moments"]

# Offsets of so many standard deviations cost at most two digits of the scatter, and a copy
# of the data is saved.
SMALL_OFFSET = 10.0


@dataclass(frozen=True)
class Moments:
    """Sample size, mean and centered scatter matrix of the columns of some data.

    All that a test from one covariance needs to know of the data, at a size that does
    not depend on the number of samples.

    Attributes
    ----------
    n : int
        Number of samples.
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

    n: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def from_data(cls, data: ArrayLike) -> Self:
        """Compute from data.

        Parameters
        ----------
        data : array-like of shape (n_samples, n_columns)
            The data.

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
    with naming("data"):
        rows = np.asarray(data)
        if rows.dtype.kind == "c":
            raise TypeError("data is complex.")
        rows = rows.astype(np.float64, copy=False)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"data must have shape (n_samples, n_columns) and not be empty, got shape {rows.shape}."
        )
    return rows
