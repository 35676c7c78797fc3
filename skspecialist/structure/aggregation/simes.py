"""Simes' combination of the pairs of a segment."""

from __future__ import annotations

import numpy as np

from ...independence.base import IndependenceResult, normal_score
from .base import BaseAggregation, Correction, to_matrix

__all__ = ["Simes"]


class Simes(BaseAggregation):
    r"""Test a segment by Simes' combination of the p-values of its pairs.

    The p-value is :math:`\min_j m\, p_{(j)} / j` over the m sorted p-values of the
    segment's pairs, valid if they are independent or positively dependent. Adjusting
    it over segments makes a hierarchical rule: first all pairs of a segment as one
    hypothesis, then the segments. Unlike :class:`RankOne` it does not know the shape of
    the evidence: it needs one strong pair, or several middling ones.

    The statistic is the p-value's normal score.

    References
    ----------
    .. [1] R. J. Simes, "An improved Bonferroni procedure for multiple tests of
       significance", Biometrika 73, 1986.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> identifier = TaskStructureIdentifier(criterion="collider", aggregation="simes")
    """

    def aggregate(
        self,
        result: IndependenceResult,
        pairs: np.ndarray,
        n_segments: int,
        correct: Correction,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`BaseAggregation.aggregate`."""
        matrix = np.sort(to_matrix(result.pvalue, pairs, n_segments, fill=np.nan), axis=0)
        n_pairs = np.maximum(np.isfinite(matrix).sum(axis=0), 1)
        ranks = np.arange(1, n_segments + 1)[:, None, None]
        pvalues = np.nanmin(np.nan_to_num(matrix * n_pairs / ranks, nan=1.0), axis=0)
        return normal_score(pvalues), pvalues, correct(pvalues)
