"""What a rule that pools pairs must provide."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from ..._base.estimator import Part
from ...independence._base import IndependenceResult

__all__ = ["BaseAggregation", "Correction", "to_matrix"]

Correction = Callable[[np.ndarray], np.ndarray]


class BaseAggregation(Part):
    """Base of the rules that pool the pair tests of a task into one test per segment.

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
        """Pool the tests of all pairs of segments.

        Parameters
        ----------
        result : IndependenceResult
            Of shape (n_pairs, n_tasks).
        pairs : ndarray of int of shape (n_pairs, 2)
            The two segments of each pair.
        n_segments : int
            Number of segments.
        correct : callable
            Adjusts p-values for their number, down the first axis.

        Returns
        -------
        statistics, pvalues, adjusted : ndarray of shape (n_segments, n_tasks)
            Pooled statistic, its p-value, and the p-value adjusted for multiplicity.
        """


def to_matrix(values: np.ndarray, pairs: np.ndarray, n_segments: int, *, fill: float) -> np.ndarray:
    """Return pair values as symmetric matrices, (n_segments, n_segments, n_tasks)."""
    matrix = np.full((n_segments, n_segments, values.shape[1]), fill)
    matrix[pairs[:, 0], pairs[:, 1]] = values
    matrix[pairs[:, 1], pairs[:, 0]] = values
    return matrix
