"""Tests from one covariance: many Schur complements at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from .base import BaseIndependenceTest, IndependenceResult, ResultFlag
from .moments import Moments

__all__ = ["CovarianceTest", "Partial"]

# A column that keeps less than this share of its variance is a combination of the others.
RANK_TOLERANCE = 1e-10
# Columns that are taken out before the rest is brought up to date.
PANEL = 16
# Working memory for one chunk of tests, in bytes.
CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Partial:
    """Partial covariances of two sides x and y, many tests at a time.

    Attributes
    ----------
    matrix : ndarray of shape (n_tests, p + q, p + q)
        Covariance of (x, y) given z, of columns that had unit variance before. Columns
        that stand for none are zero.
    p : int
        Number of columns of ``matrix`` that belong to x.
    n : int
        Number of samples.
    rank_z : ndarray of int of shape (n_tests,)
        Dimension conditioned on.
    width_x, width_y : ndarray of int of shape (n_tests,)
        Number of columns asked for on each side.
    flag : ndarray of int of shape (n_tests,)
        Flags of the conditioning.
    """

    matrix: np.ndarray
    p: int
    n: int
    rank_z: np.ndarray
    width_x: np.ndarray
    width_y: np.ndarray
    flag: np.ndarray


class CovarianceTest(BaseIndependenceTest):
    """Base of the tests that need no more of the data than its covariance."""

    def test_many(
        self,
        data: ArrayLike | Moments,
        x: ArrayLike,
        y: ArrayLike,
        z: ArrayLike | None = None,
        *,
        given: ArrayLike | None = None,
    ) -> IndependenceResult:
        """Test many triples; see :meth:`BaseIndependenceTest.test_many`.

        Raises
        ------
        ValueError
            If the data have NaN or infinite values, or a column is out of range.
        """
        moments = data if isinstance(data, Moments) else Moments.from_data(check_array(data))
        n_columns = len(moments.mean)
        x, y, z, given_ = (_as_sets(s, len(np.asarray(x)), n_columns) for s in (x, y, z, given))
        if not len(x) == len(y) == len(z):
            raise ValueError(
                f"x, y and z must list as many tests, got {len(x)}, {len(y)} and {len(z)}."
            )
        if given is None:
            given_ = np.empty((1, 0), dtype=np.intp)
        # One column more, of zeros, is what -1 points to.
        correlation = np.pad(moments.correlation(), (0, 1))
        parts = [
            self._decide(partial) for partial in _partials(correlation, moments.n, x, y, z, given_)
        ]
        result = _concatenate(parts, len(x), len(given_))
        return result[:, 0] if given is None else result

    @abstractmethod
    def _decide(self, partial: Partial) -> IndependenceResult:
        """Return statistics and p-values for a chunk of partial covariances."""


def _as_sets(columns: ArrayLike | None, n_tests: int, n_columns: int) -> np.ndarray:
    if columns is None:
        return np.empty((n_tests, 0), dtype=np.intp)
    sets = np.asarray(columns)
    if sets.dtype.kind not in "iu":
        raise TypeError(f"Column sets must be integers, got dtype {sets.dtype}.")
    sets = sets[:, None] if sets.ndim == 1 else sets
    if sets.size and (sets.min() < -1 or sets.max() >= n_columns):
        raise ValueError(
            f"Column sets must lie in -1..{n_columns - 1}, got {sets.min()}..{sets.max()}."
        )
    return sets.astype(np.intp, copy=False)


def _partials(
    correlation: np.ndarray,
    n: int,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    given: np.ndarray,
) -> Iterator[Partial]:
    """Yield partial covariances, in chunks of tests, for all triples and given sets.

    The Schur complement on z is shared by all given sets; each of these is a downdate
    of its result.
    """
    widths = [z.shape[1], x.shape[1], y.shape[1], given.size]
    cell = 8 * sum(widths) ** 2 * 3 + 8 * (widths[1] + widths[2]) ** 2 * 4 * len(given)
    size = max(1, CHUNK_BYTES // cell)
    r, p, w = widths[0], widths[1], widths[1] + widths[2]
    for start in range(0, max(len(x), 1), size):
        rows = slice(start, start + size)
        shared = np.broadcast_to(given.reshape(1, -1), (len(x[rows]), given.size))
        columns = np.concatenate([z[rows], x[rows], y[rows], shared], axis=1)
        matrix = correlation[columns[:, :, None], columns[:, None, :]]
        rank = _rank(sweep(matrix, range(r)))
        deficient = rank < _width(z[rows])
        rest = matrix[:, r:, r:]
        blocks, ranks, flags = [], [], []
        for j, extra in enumerate(given):
            order = np.r_[w + j * len(extra) : w + (j + 1) * len(extra), :w]
            block = rest[:, order[:, None], order]
            extra_rank = _rank(sweep(block, range(len(extra))))
            blocks.append(block[:, len(extra) :, len(extra) :])
            ranks.append(rank + extra_rank)
            flags.append(deficient | (extra_rank < _width(extra)))
        yield Partial(
            matrix=np.stack(blocks, axis=1).reshape(-1, w, w),
            p=p,
            n=n,
            rank_z=np.stack(ranks, axis=1).ravel(),
            width_x=np.repeat(_width(x[rows]), len(given)),
            width_y=np.repeat(_width(y[rows]), len(given)),
            flag=np.where(np.stack(flags, axis=1).ravel(), ResultFlag.RANK_DEFICIENT, 0),
        )


def sweep(matrix: np.ndarray, columns: range) -> np.ndarray:
    """Take columns out of covariance matrices, one after the other, in place.

    What remains of the later columns is their covariance given those taken out. A
    column without variance of its own left is passed over.

    Parameters
    ----------
    matrix : ndarray of shape (n_tests, k, k)
        Covariances of unit-variance columns; overwritten.
    columns : range
        Which to take out.

    Returns
    -------
    pivots : ndarray of shape (n_tests, len(columns))
        Variance of each column given the earlier ones; 0 where it was passed over.
        Their product over the others is a determinant.
    """
    pivots = np.empty((len(matrix), len(columns)))
    factors = np.empty_like(pivots)
    for start in range(columns.start, columns.stop, PANEL):
        # Within a panel column by column, beyond it all at once: a blocked Cholesky
        # factorisation that steps over columns without variance.
        panel = range(start, min(start + PANEL, columns.stop))
        for j in panel:
            pivot = matrix[:, j, j]
            kept = pivot > RANK_TOLERANCE
            i = j - columns.start
            pivots[:, i] = np.where(kept, pivot, 0.0)
            inverse = np.where(kept, 1.0 / np.where(kept, pivot, 1.0), 0.0)
            factors[:, i] = np.sqrt(inverse)
            below = matrix[:, j + 1 :, j]
            beside = below[:, : panel.stop - j - 1] * inverse[:, None]
            matrix[:, j + 1 :, j + 1 : panel.stop] -= below[:, :, None] * beside[:, None, :]
        scale = factors[:, panel.start - columns.start : panel.stop - columns.start]
        beyond = matrix[:, panel.stop :, panel.start : panel.stop] * scale[:, None, :]
        matrix[:, panel.stop :, panel.stop :] -= beyond @ beyond.transpose(0, 2, 1)
    return pivots


def _rank(pivots: np.ndarray) -> np.ndarray:
    return (pivots > 0).sum(axis=1)


def _width(columns: np.ndarray) -> np.ndarray:
    return (columns >= 0).sum(axis=-1)


def _concatenate(parts: list[IndependenceResult], n_tests: int, n_given: int) -> IndependenceResult:
    def join(name: str) -> Any:
        array = np.concatenate([getattr(part, name) for part in parts])
        return array.reshape(n_tests, n_given, *array.shape[1:])

    names = ("statistic", "pvalue", "effect_size", "df", "flag")
    return IndependenceResult(
        **{name: join(name) for name in names}, n=parts[0].n, signed=parts[0].signed
    )
