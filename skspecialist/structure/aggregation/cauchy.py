"""Cauchy combination of the pairs of a segment."""

from __future__ import annotations

import numpy as np

from ..._stats.pvalues import cauchy_combination, normal_score
from ...independence._base import IndependenceResult
from .base import BaseAggregation, Correction, to_matrix

__all__ = ["Cauchy"]


class Cauchy(BaseAggregation):
    r"""Test a segment by the Cauchy combination of the p-values of its pairs.

    The mean over pairs of :math:`\tan((1/2 - p)\pi)` has Cauchy tails whatever the
    dependence of the p-values, so that small p-values hold their level where Simes'
    condition may fail. Adjusting over segments makes a hierarchical rule.

    The statistic is the p-value's normal score.

    References
    ----------
    .. [1] Y. Liu & J. Xie, "Cauchy combination test: a powerful test with analytic
       p-value calculation under arbitrary dependency structures", JASA 115, 2020.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> identifier = TaskStructureIdentifier(criterion="collider", aggregation="cauchy")
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
            # As in the reference's own code: p-values of discrete tests may be one.
            largest=1 - 1 / max(n_segments, 2),
            valid=to_matrix(result.informative * 1.0, pairs, n_segments, fill=0.0) > 0,
        )
        return normal_score(pvalues), pvalues, correct(pvalues)
