"""Aggregation of pair tests: from pairs of segments to segments."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral

import numpy as np
from scipy.stats import norm

from .._base.estimator import Part
from .._base.sklearn_compat import Interval
from .._stats.pvalues import cauchy_combination, normal_score, simes_combination
from ..independence._base import IndependenceResult

__all__ = ["AnyPair", "BaseAggregation", "Cauchy", "RankOne", "Simes"]

Correction = Callable[[np.ndarray], np.ndarray]


class BaseAggregation(Part):
    """Base class of the rules that aggregate the pair tests of a task.

    A new rule is a subclass that implements :meth:`aggregate`, and one line in
    ``skspecialist.structure.aggregation.AGGREGATIONS`` that gives it a short name.
    """

    _registry = "skspecialist.structure.aggregation:AGGREGATIONS"

    @abstractmethod
    def aggregate(
        self,
        result: IndependenceResult,
        pairs: np.ndarray,
        n_segments: int,
        correct: Correction,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Aggregate the tests of all pairs of segments.

        Parameters
        ----------
        result : IndependenceResult
            Tests of shape (n_pairs, n_tasks).
        pairs : ndarray of int of shape (n_pairs, 2)
            The two segments of each pair.
        n_segments : int
            Number of segments.
        correct : callable
            Adjusts p-values for multiple testing along the first axis.

        Returns
        -------
        statistics, pvalues, adjusted : ndarray of shape (n_segments, n_tasks)
            Aggregated statistic, its p-value, and the p-value adjusted for multiplicity.
        """


def to_matrix(values: np.ndarray, pairs: np.ndarray, n_segments: int, *, fill: float) -> np.ndarray:
    """Return pair values as symmetric matrices, (n_segments, n_segments, n_tasks)."""
    matrix = np.full((n_segments, n_segments, values.shape[1]), fill)
    matrix[pairs[:, 0], pairs[:, 1]] = values
    matrix[pairs[:, 1], pairs[:, 0]] = values
    return matrix


class AnyPair(BaseAggregation):
    """A segment is relevant if any of its pairs is: Algorithm 1 of [1]_.

    The statistic is the largest absolute normal score of a segment's pairs, and the
    p-value their smallest. This is not a valid p-value of the segment: an irrelevant one
    has ``n_segments - 1`` chances of a false rejection, 37 % for ten segments at level
    0.05 without correction. It is provided as the published method; :class:`RankOne` is
    calibrated.

    References
    ----------
    .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.structure import Collider
    >>> identifier = TaskStructureIdentifier(criterion=Collider(aggregation="any"))
    """

    def aggregate(
        self,
        result: IndependenceResult,
        pairs: np.ndarray,
        n_segments: int,
        correct: Correction,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`BaseAggregation.aggregate`."""
        return (
            to_matrix(np.abs(result.normal_score), pairs, n_segments, fill=0.0).max(axis=0),
            to_matrix(result.pvalue, pairs, n_segments, fill=1.0).min(axis=0),
            to_matrix(correct(result.pvalue), pairs, n_segments, fill=1.0).min(axis=0),
        )


class Simes(BaseAggregation):
    r"""Test a segment by Simes' combination of the p-values of its pairs.

    The p-value is :math:`\min_j m\, p_{(j)} / j` over the m sorted p-values of the
    segment's pairs [1]_, valid if they are independent or positively dependent. Adjusting
    it over segments makes a hierarchical procedure: first all pairs of a segment as one
    hypothesis, then the segments. Unlike :class:`RankOne` it makes no use of the shape of
    the evidence: it needs one strong pair, or several of moderate strength.

    The statistic is the normal score of the p-value.

    References
    ----------
    .. [1] R. J. Simes, "An improved Bonferroni procedure for multiple tests of
       significance", Biometrika 73, 1986.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.structure import Collider
    >>> identifier = TaskStructureIdentifier(criterion=Collider(aggregation="simes"))
    """

    def aggregate(
        self,
        result: IndependenceResult,
        pairs: np.ndarray,
        n_segments: int,
        correct: Correction,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`BaseAggregation.aggregate`."""
        matrix = to_matrix(result.pvalue, pairs, n_segments, fill=np.nan)
        # A segment has no pair with itself, and none that was not tested.
        own = [matrix[k][~np.isnan(matrix[k]).any(axis=1)] for k in range(n_segments)]
        pvalues = np.stack([simes_combination(pvalues) for pvalues in own])
        return normal_score(pvalues), pvalues, correct(pvalues)


class Cauchy(BaseAggregation):
    r"""Test a segment by the Cauchy combination of the p-values of its pairs.

    The mean over pairs of :math:`\tan((1/2 - p)\pi)` has Cauchy tails under any dependence
    of the p-values [1]_, so that small p-values hold their level where Simes' condition
    may fail. Adjusting over segments makes a hierarchical procedure.

    The statistic is the normal score of the p-value.

    References
    ----------
    .. [1] Y. Liu & J. Xie, "Cauchy combination test: a powerful test with analytic
       p-value calculation under arbitrary dependency structures", JASA 115, 2020.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.structure import Collider
    >>> identifier = TaskStructureIdentifier(criterion=Collider(aggregation="cauchy"))
    """

    def aggregate(
        self,
        result: IndependenceResult,
        pairs: np.ndarray,
        n_segments: int,
        correct: Correction,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`BaseAggregation.aggregate`."""
        pvalues = cauchy_combination(
            to_matrix(result.pvalue, pairs, n_segments, fill=1.0),
            # The term of a p-value of 1, as of discrete tests, is minus infinity and would
            # outweigh all others: p-values are at most 1 - 1/m, as in the code of [1].
            largest=1 - 1 / max(n_segments, 2),
            valid=to_matrix(result.informative * 1.0, pairs, n_segments, fill=0.0) > 0,
        )
        return normal_score(pvalues), pvalues, correct(pvalues)


class RankOne(BaseAggregation):
    r"""Aggregate the pairs of a task by the rank-one shape of a clique.

    Given a task, the actions of its segments are dependent in proportion to the product
    of their weights. The matrix of pair scores of a task is therefore :math:`-w w^\top`
    plus noise, with :math:`w_k = 0` for irrelevant segments. A segment is tested by the
    weighted sum :math:`\sum_v u_v z_{kv}` of its pair scores, where the weights :math:`u`
    are the leading eigenvector of the matrix *without this segment*. They are independent
    of the scores that they weight, so that the sum is standard normal if the segment is
    irrelevant. A task with two segments leaves no such vector when one of them is left
    out. Therefore the smallest p-value of a segment's pairs is used as well, and the
    smaller of the two p-values counts, each Bonferroni-adjusted.

    The scores are the signed z statistics of the test if it has a sign, and otherwise the
    one-sided normal scores of its p-values, with non-negative weights.

    Parameters
    ----------
    n_iter : int, default=50
        Number of power iterations; with signed scores they are up to eight Lanczos iterations.
        The test is valid also if the weights have not converged.

    Notes
    -----
    The scores of a segment with the members of a clique are correlated as the members
    are. The variance of the sum is :math:`u^\top R u` with the matrix R of pair effect
    sizes, and 1 where that is smaller, which is conservative.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.structure import Collider
    >>> from skspecialist.structure.aggregation import RankOne
    >>> identifier = TaskStructureIdentifier(criterion=Collider(RankOne(n_iter=100)))
    """

    _parameter_constraints: dict = {"n_iter": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, n_iter: int = 50) -> None:
        self.n_iter = n_iter

    def aggregate(
        self,
        result: IndependenceResult,
        pairs: np.ndarray,
        n_segments: int,
        correct: Correction,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`BaseAggregation.aggregate`."""
        self._validate_params()
        scores = to_matrix(result.normal_score, pairs, n_segments, fill=0.0)
        effects = to_matrix(result.effect_size, pairs, n_segments, fill=0.0)
        if not result.signed:
            # Statistics without a sign are correlated as squares of normal variables are.
            effects = effects**2
        pooled = np.stack(
            [
                self._pool(scores[:, :, i], effects[:, :, i], result.signed)
                for i in range(scores.shape[2])
            ],
            axis=1,
        )
        by_sum = 2.0 * norm.sf(np.abs(pooled)) if result.signed else norm.sf(pooled)
        smallest = to_matrix(result.pvalue, pairs, n_segments, fill=1.0).min(axis=0)
        # Bonferroni over the pairs of the segment, and then over the two p-values.
        by_pair = max(n_segments - 1, 1) * smallest
        pvalues = np.clip(2.0 * np.minimum(by_sum, by_pair), 0.0, 1.0)
        return pooled, pvalues, correct(pvalues)

    def _pool(self, scores: np.ndarray, effects: np.ndarray, signed: bool) -> np.ndarray:
        """Return the pooled score of each segment, from a symmetric zero-diagonal matrix."""
        weights = _leave_one_out_vectors(scores, self.n_iter, signed)
        # Column k of weights is u for segment k: the sums are sum_v u_v z_kv.
        sums = np.einsum("vk,vk->k", weights, scores)
        # u' R u, with ones on the diagonal of R and u of unit norm.
        variances = 1.0 + np.einsum("vk,vk->k", weights, effects @ weights)
        return sums / np.sqrt(np.maximum(variances, 1.0))


# Lanczos iterations converge as the square of as many power iterations do.
MAX_LANCZOS = 8


def _leave_one_out_vectors(scores: np.ndarray, n_iter: int, signed: bool) -> np.ndarray:
    """Return in column k the leading eigenvector of ``scores`` without row and column k.

    All power iterations run at once: as the matrix has a zero diagonal, k is left out if
    entry k of column k is set to zero after each product.
    """
    square = scores**2
    # The power iteration for k starts at the row of the largest norm, of which entry k is
    # subtracted so that the start is independent of the scores of k.
    norms = square.sum(axis=0)[:, None] - square
    np.fill_diagonal(norms, -np.inf)
    start = norms.argmax(axis=0)
    columns = np.arange(len(scores))
    vectors = scores[:, start].copy()
    vectors[start, columns] = np.sqrt(np.maximum(norms[start, columns], 0.0))
    np.fill_diagonal(vectors, 0.0)
    if signed:
        return _lanczos_vectors(scores, _unit(vectors), min(n_iter, MAX_LANCZOS))
    for _ in range(n_iter):
        vectors = np.maximum(scores @ _unit(np.maximum(vectors, 0.0)), 0.0)
        np.fill_diagonal(vectors, 0.0)
    return _unit(vectors)


def _lanczos_vectors(scores: np.ndarray, start: np.ndarray, n_iter: int) -> np.ndarray:
    """Return the leading eigenvectors by Lanczos' method [1]_, all columns at once.

    References
    ----------
    .. [1] C. Lanczos, "An iteration method for the solution of the eigenvalue problem of linear
       differential and integral operators", Journal of Research of the National Bureau of
       Standards 45, 1950.
    """
    n = len(scores)
    T = np.zeros((n, n_iter + 1, n_iter + 1))
    basis, before, size = [start], np.zeros_like(start), np.zeros(n)
    for j in range(n_iter):
        product = scores @ basis[j]
        np.fill_diagonal(product, 0.0)
        T[:, j, j] = np.einsum("vk,vk->k", product, basis[j])
        product -= T[:, j, j] * basis[j] + size * before
        before, size = basis[j], np.linalg.norm(product, axis=0)
        # An exhausted Krylov space goes on with zeros.
        size = np.where(size > 1e-9 * np.abs(T[:, : j + 1, : j + 1]).max(axis=(1, 2)), size, 0.0)
        T[:, j, j + 1] = T[:, j + 1, j] = size
        basis.append(np.where(size > 0, product / np.where(size > 0, size, 1.0), 0.0))
    values, vectors = np.linalg.eigh(T[:, :n_iter, :n_iter])
    leading = np.abs(values).argmax(axis=1)
    weights = vectors[np.arange(n), :, leading]
    # The sign is that of an even number of power iterations.
    weights = weights * np.where(weights[:, 0] < 0, -1.0, 1.0)[:, None]
    found = sum(column * w for column, w in zip(basis[:n_iter], weights.T, strict=True))
    return _unit(np.asarray(found))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-300)


# The short names of the parameter ``aggregation``.
AGGREGATIONS: dict[str, type[BaseAggregation]] = {
    "any": AnyPair,
    "cauchy": Cauchy,
    "rank_one": RankOne,
    "simes": Simes,
}
