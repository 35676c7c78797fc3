"""Tests from one covariance: many Schur complements at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from .._data.validation import as_array
from ._base import ARRAYS, BaseIndependenceTest, IndependenceResult, ResultFlag
from ._moments import Moments

__all__ = ["CovarianceTest", "Partial"]

# A column that keeps less than this share of its variance is a combination of the others: what
# remains is rounding, 1e-16 times their condition number.
RANK_TOLERANCE = 1e-10
# Covariances of one chunk of tests, in bytes: little enough for the cache, and long enough
# rows of tests for the threads to compute rather than to wait for the interpreter.
CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Partial:
    """Partial covariances given z of two sides x and y, and of sets still to be given.

    Attributes
    ----------
    matrix : ndarray of shape (p + q, p + q, n_triples)
        Covariance of (x, y) given z, of columns that had unit variance before; only the
        upper triangle is meant. Columns that stand for none are zero.
    side : ndarray of shape (p + q, w, n_given, n_triples)
        Their covariance with the ``n_given`` sets of ``w`` columns.
    corner : ndarray of shape (w, w, n_given, n_triples)
        Covariance of these sets.
    p : int
        Number of columns of ``matrix`` that belong to x.
    n : int
        Number of samples.
    rank_z : ndarray of int of shape (n_triples,)
        Dimension of z.
    width_x, width_y, width_z : ndarray of int of shape (n_triples,)
        Number of columns asked for.
    width_given : ndarray of int of shape (n_given, 1)
        Number of columns of each set.
    """

    matrix: np.ndarray
    side: np.ndarray
    corner: np.ndarray
    p: int
    n: float
    rank_z: np.ndarray
    width_x: np.ndarray
    width_y: np.ndarray
    width_z: np.ndarray
    width_given: np.ndarray

    def given(self) -> tuple[np.ndarray, np.ndarray]:
        """Condition on each set as well.

        Returns
        -------
        matrix : ndarray of shape (p + q, p + q, n_given, n_triples)
            Covariance of (x, y) given z and the set.
        rank : ndarray of int of shape (n_given, n_triples)
            Dimension that the set adds to z.
        """
        # The set comes first, so that its columns are the pivots of the elimination.
        w = len(self.corner)
        size = w + len(self.matrix)
        local = np.empty((size, size, *self.corner.shape[2:]))
        local[:w, :w] = self.corner
        local[:w, w:] = self.side.swapaxes(0, 1)
        local[w:, w:] = self.matrix[:, :, None]
        pivots = eliminate(local, w)
        return local[w:, w:], rank(pivots)

    def flag(self, rank_given: np.ndarray) -> np.ndarray:
        """Return the flags of the conditioning, for the dimension that each set adds."""
        complete = self.rank_z + rank_given == self.width_z + self.width_given
        return np.where(complete, ResultFlag.OK, ResultFlag.RANK_DEFICIENT)


class CovarianceTest(BaseIndependenceTest):
    """Base of the tests that need no more of the data than its covariance.

    All tests of one call come from one covariance, in chunks and without a loop over
    tests: the Schur complement on ``z`` is shared by all given sets, and each of these
    is a downdate of its result. Chunks run in as many threads as numpy's linear algebra
    (``OMP_NUM_THREADS`` and threadpoolctl limit both), and their number changes no
    result. A new test of this kind implements ``_decide``.
    """

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
        moments = data if isinstance(data, Moments) else Moments.from_data(data)
        x, y, z, extra = as_sets(x, y, z, given, n_columns=len(moments.mean))
        # One column more, of zeros, is what -1 points to.
        correlation = np.pad(moments.correlation(), (0, 1))
        result = IndependenceResult.no_evidence((len(x), len(extra)), moments.n, ResultFlag.OK)

        def fill(rows: slice) -> bool:
            partial = _condition(correlation, moments.n, x[rows], y[rows], z[rows], extra)
            part = self._decide(partial)
            for name in ARRAYS:
                getattr(result, name)[rows] = getattr(part, name).swapaxes(0, 1)
            return part.signed

        signed = all(_in_threads(fill, list(_chunks(x, y, z, extra))))
        result = replace(result, signed=signed)
        return result[:, 0] if given is None else result

    def test_given_rest(
        self, moments: Moments, x: np.ndarray, y: np.ndarray, among: np.ndarray
    ) -> IndependenceResult | None:
        r"""Test column sets against targets, given all other columns of a group.

        All tests come from one inverse. With :math:`P` the precision of the group,
        :math:`B` the coefficients of the targets on it and :math:`E` their residual
        covariance, a set b given the rest has the covariances
        :math:`C_{bb} = P_{bb}^{-1}`, :math:`C_{by} = C_{bb} B_b` and
        :math:`C_{yy} = E + B_b' C_{bb} B_b`.

        Parameters
        ----------
        moments : Moments
            Statistics of the data.
        x : ndarray of int of shape (n_sets, width)
            Columns of each set, all in ``among``; -1 stands for none.
        y : ndarray of int of shape (n_targets, width_y)
            Columns of each target, none in ``among``; -1 stands for none.
        among : ndarray of int of shape (n_group,)
            The group, 0 to n_group - 1.

        Returns
        -------
        result : IndependenceResult or None
            Of shape (n_sets, n_targets). None where the group is collinear, so that its
            precision is not defined.
        """
        correlation = np.pad(moments.correlation(), (0, 1))
        try:
            root = np.linalg.cholesky(correlation[np.ix_(among, among)])
        except np.linalg.LinAlgError:
            return None
        # A squared pivot is the variance of a column given those before it.
        if np.diag(root).min() ** 2 <= RANK_TOLERANCE:
            return None
        # P = R^-1 = L^-T L^-1 for the Cholesky factor L of the correlations R.
        half = np.linalg.inv(root)
        # One row and column more, of zeros, is what -1 points to.
        precision = np.pad(half.T @ half, (0, 1))
        # B = P R_gy and E = R_yy - R_yg B, of all targets at once.
        columns = np.append(y.ravel(), -1)
        loadings = np.pad(
            precision[:-1, :-1] @ correlation[np.ix_(among, columns)], ((0, 1), (0, 0))
        )
        residual = correlation[np.ix_(columns, columns)]
        residual = residual - correlation[np.ix_(columns, among)] @ loadings[:-1]
        matrix = _given_rest(precision, loadings, residual, x, y.shape)
        n_sets, n_targets = len(x), len(y)
        shape = matrix.shape[0], 0, 1, n_sets * n_targets
        rank_z = np.repeat(len(among) - width(x), n_targets)
        partial = Partial(
            matrix=matrix,
            side=np.empty(shape),
            corner=np.empty((0, *shape[1:])),
            p=x.shape[1],
            n=moments.n,
            rank_z=rank_z,
            width_x=np.repeat(width(x), n_targets),
            width_y=np.tile(width(y), n_sets),
            width_z=rank_z,
            width_given=np.zeros((1, 1), dtype=int),
        )
        return self._decide(partial)[0].reshape(n_sets, n_targets)

    @abstractmethod
    def _decide(self, partial: Partial) -> IndependenceResult:
        """Return arrays of shape (n_given, n_triples) for a chunk of partial covariances."""


def as_sets(
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike | None,
    given: ArrayLike | None,
    *,
    n_columns: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return one row of columns per set; without ``given``, a single empty set."""
    x, y = _as_set(x, "x", n_columns), _as_set(y, "y", n_columns)
    z = np.empty((len(x), 0), dtype=np.intp) if z is None else _as_set(z, "z", n_columns)
    if not len(x) == len(y) == len(z):
        raise ValueError(
            f"x, y and z must list as many tests, got {len(x)}, {len(y)} and {len(z)}."
        )
    if given is None:
        return x, y, z, np.empty((1, 0), dtype=np.intp)
    return x, y, z, _as_set(given, "given", n_columns)


def _as_set(columns: ArrayLike, argument: str, n_columns: int) -> np.ndarray:
    sets = as_array(columns, argument)
    if sets.dtype.kind not in "iu":
        raise TypeError(
            f"The column sets of {argument} must be integers, got {sets.dtype} in {columns!r}."
        )
    if sets.ndim not in (1, 2):
        raise ValueError(
            f"{argument} must have a row of columns for each test, got shape {sets.shape}."
        )
    sets = sets[:, None] if sets.ndim == 1 else sets
    if sets.size and (sets.min() < -1 or sets.max() >= n_columns):
        raise ValueError(
            f"The column sets of {argument} must lie in -1..{n_columns - 1}, "
            f"got {sets.min()}..{sets.max()}."
        )
    return sets.astype(np.intp, copy=False)


def _chunks(x: np.ndarray, y: np.ndarray, z: np.ndarray, given: np.ndarray) -> Iterator[slice]:
    """Yield slices of tests whose arrays fit the working memory."""
    rows = x.shape[1] + y.shape[1] + z.shape[1]
    # At least 64 tests a chunk, below which calls of numpy cost more than their arithmetic.
    size = max(64, CHUNK_BYTES // (8 * rows * (rows + given.size)))
    for start in range(0, max(len(x), 1), size):
        yield slice(start, start + size)


def _in_threads(function: Callable[[slice], bool], chunks: list[slice]) -> list[bool]:
    """Call a function for all chunks, in as many threads as the linear algebra may use."""
    if len(chunks) == 1:
        return [function(chunks[0])]
    limits = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
    with ThreadPoolExecutor(max(limits, default=1)) as threads:
        return list(threads.map(function, chunks))


def _condition(
    correlation: np.ndarray,
    n: float,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    given: np.ndarray,
) -> Partial:
    """Return the partial covariances given z."""
    r = z.shape[1]
    # Contiguous, as the arrays that it indexes inherit the order of its axes.
    rows = np.ascontiguousarray(np.concatenate([z, x, y], axis=1).T)
    matrix = correlation[rows[:, None], rows]
    side = correlation[given.T].take(rows, axis=2).transpose(2, 0, 1, 3)
    corner = correlation[given.T[:, None], given.T][..., None]
    corner = np.repeat(corner, rows.shape[1], axis=3)
    # z comes first: after r pivots the rest is S_vv - S_vz S_zz^-1 S_zv for v = (x, y).
    pivots = eliminate(matrix, r, side, corner)
    return Partial(
        matrix=matrix[r:, r:],
        side=side[r:],
        corner=corner,
        p=x.shape[1],
        n=n,
        rank_z=rank(pivots),
        width_x=width(x),
        width_y=width(y),
        width_z=width(z),
        width_given=width(given)[:, None],
    )


def _given_rest(
    precision: np.ndarray,
    loadings: np.ndarray,
    residual: np.ndarray,
    x: np.ndarray,
    targets: tuple[int, int],
) -> np.ndarray:
    """Return covariances of (set, target) given the rest, sets first along the last axis."""
    (n_sets, p), (n_targets, q) = x.shape, targets
    # C_bb = P_bb^-1; a one on the diagonal makes the rows of absent columns invertible.
    own = precision[x[:, :, None], x[:, None]]
    absent = np.eye(p) * (x < 0)[:, :, None]
    covariance = np.linalg.inv(own + absent) - absent
    # C_by = C_bb B_b
    of_set = loadings[x][:, :, : n_targets * q].reshape(n_sets, p, n_targets, q)
    crossed = np.einsum("sab,sbtq->satq", covariance, of_set)
    diagonal = np.arange(n_targets * q).reshape(targets)
    own_residual = residual[diagonal[:, :, None], diagonal[:, None]]
    matrix = np.empty((p + q, p + q, n_sets, n_targets))
    matrix[:p, :p] = covariance.transpose(1, 2, 0)[..., None]
    matrix[:p, p:] = crossed.transpose(1, 3, 0, 2)
    matrix[p:, :p] = crossed.transpose(3, 1, 0, 2)
    # C_yy = E + B_b' C_bb B_b
    explained = np.einsum("satq,satr->qrst", of_set, crossed)
    matrix[p:, p:] = explained + own_residual.transpose(1, 2, 0)[:, :, None]
    return matrix.reshape(p + q, p + q, n_sets * n_targets)


def eliminate(
    matrix: np.ndarray,
    n_pivots: int,
    side: np.ndarray | None = None,
    corner: np.ndarray | None = None,
) -> np.ndarray:
    """Take the first columns out of covariance matrices, in place.

    What remains of the later columns is their covariance given those taken out. A
    column without variance of its own left is passed over. The matrices are along the
    last axes, so that every operation runs over contiguous numbers of many tests. Each
    row is updated once, for all columns taken out before it, by a sum of products that
    never stores the products.

    Parameters
    ----------
    matrix : ndarray of shape (k, k, ...)
        Covariances of unit-variance columns, of which the upper triangle is used.
    n_pivots : int
        Number of columns to take out.
    side : ndarray of shape (k, w, n_given, n), default=None
        Covariances with further columns, in ``n_given`` sets of ``w``; updated too.
    corner : ndarray of shape (w, w, n_given, n), default=None
        Covariances of the further columns within their sets; updated too.

    Returns
    -------
    pivots : ndarray of shape (n_pivots, ...)
        Variance of each column given the earlier ones; 0 where it was passed over.
        Their product over the others is a determinant.
    """
    pivots = np.empty((n_pivots, *matrix.shape[2:]))
    inverse = np.empty_like(pivots)
    for a in range(len(matrix)):
        earlier = slice(min(a, n_pivots))
        # S_ab - sum_j S_aj S_jb / S_jj over the pivots j before a: row a of the Schur
        # complement, as in an LDL' factorization.
        factors = matrix[earlier, a] * inverse[earlier]
        matrix[a, a:] -= np.einsum("j...,jb...->b...", factors, matrix[earlier, a:])
        if side is not None and side.size:
            side[a] -= np.einsum("jn,jwgn->wgn", factors, side[earlier])
        if a < n_pivots:
            # A pivot of rounding error is a combination of earlier columns: it is passed over.
            kept = matrix[a, a] > RANK_TOLERANCE
            pivots[a] = np.where(kept, matrix[a, a], 0.0)
            inverse[a] = kept / np.where(kept, matrix[a, a], 1.0)
    if side is not None and corner is not None and side.size:
        # The Schur complement of the further columns: C - B' D^-1 B with D the pivots.
        taken = side[:n_pivots]
        corner -= np.einsum("jvgn,jwgn->vwgn", taken * inverse[:, None, None], taken)
    return pivots


def rank(pivots: np.ndarray) -> np.ndarray:
    """Return the number of columns that were not passed over."""
    return (pivots > 0).sum(axis=0)


def width(columns: np.ndarray) -> np.ndarray:
    return (columns >= 0).sum(axis=-1)
