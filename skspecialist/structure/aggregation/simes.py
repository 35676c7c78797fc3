"""Simes' combination of the pairs of a segment."""

from __future__ import annotations

import numpy as np

from ..._stats.pvalues import normal_score, simes_combination
from ...independence._base import IndependenceResult
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
        matrix = to_matrix(result.pvalue, pairs, n_segments, fill=np.nan)
        # A segment has no pair with itself.
        own = [matrix[k][~np.isnan(matrix[k]).any(axis=1)] for k in range(n_segments)]
        pvalues = np.stack([simes_combination(pvalues) for pvalues in own])
        return normal_score(pvalues), pvalues, correct(pvalues)
