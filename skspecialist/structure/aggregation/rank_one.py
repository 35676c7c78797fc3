"""Pool pairs along the rank-one shape of a clique."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ...independence._base import IndependenceResult
from .base import BaseAggregation, Correction, to_matrix

__all__ = ["RankOne"]


class RankOne(BaseAggregation):
    r"""Pool the pairs of a task by the rank-one shape of its evidence.

    Given a task, the actions of its segments are dependent in proportion to the product
    of their weights, so the matrix of pair scores of a task is :math:`-w w^\top` plus
    noise, with :math:`w_k = 0` for irrelevant segments. A segment is tested with the
    weighted sum :math:`\sum_v u_v z_{kv}` of its pair scores, where the weights
    :math:`u` are the leading eigenvector of the matrix *without this segment*: they
    know where the task's other segments are and nothing of the scores that they weigh,
    so that the sum is standard normal if the segment is irrelevant. A task with two
    segments leaves no such vector when one of them is left out; therefore the smallest
    p-value of a segment's pairs is looked at as well, and the smaller of the two
    answers counts, each Bonferroni-adjusted.

    The scores are the signed z of the test where it has one, or else the one-sided
    normal score of its p-value, whose weights are then non-negative.

    Parameters
    ----------
    n_iter : int, default=50
        Power iterations. The weights need not have converged for the test to be valid.

    Notes
    -----
    The scores of a segment with the members of a clique are correlated as these are.
    The variance of the sum is taken as :math:`u^\top R u` with the matrix R of pair
    effect sizes, and as 1 where that is smaller, which is conservative.
    """

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
        scores = to_matrix(result.normal_score, pairs, n_segments, fill=0.0)
        effects = to_matrix(result.effect_size, pairs, n_segments, fill=0.0)
        if not result.signed:
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
        by_pair = max(n_segments - 1, 1) * smallest
        pvalues = np.clip(2.0 * np.minimum(by_sum, by_pair), 0.0, 1.0)
        return pooled, pvalues, correct(pvalues)

    def _pool(self, scores: np.ndarray, effects: np.ndarray, signed: bool) -> np.ndarray:
        """Return the pooled score of each segment, from a symmetric zero-diagonal matrix."""
        weights = _leave_one_out_vectors(scores, self.n_iter, signed)
        sums = np.einsum("vk,vk->k", weights, scores)
        variances = 1.0 + np.einsum("vk,vk->k", weights, effects @ weights)
        return sums / np.sqrt(np.maximum(variances, 1.0))


def _leave_one_out_vectors(scores: np.ndarray, n_iter: int, signed: bool) -> np.ndarray:
    """Return in column k the leading vector of ``scores`` without row and column k.

    All the power iterations run at once: the matrix has a zero diagonal, so that
    setting entry k of column k to zero after each product is leaving k out.
    """
    square = scores**2
    # Without row k, the row with the largest norm is a start that knows nothing of k.
    norms = square.sum(axis=0)[:, None] - square
    np.fill_diagonal(norms, -np.inf)
    start = norms.argmax(axis=0)
    columns = np.arange(len(scores))
    vectors = scores[:, start].copy()
    vectors[start, columns] = np.sqrt(np.maximum(norms[start, columns], 0.0))
    for _ in range(n_iter):
        if not signed:
            vectors = np.maximum(vectors, 0.0)
        np.fill_diagonal(vectors, 0.0)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=0), 1e-300)
        vectors = scores @ vectors
    if not signed:
        vectors = np.maximum(vectors, 0.0)
    np.fill_diagonal(vectors, 0.0)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-300)
