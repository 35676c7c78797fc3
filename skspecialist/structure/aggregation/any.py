"""Relevant if any pair is."""

from __future__ import annotations

import numpy as np

from ...independence._base import IndependenceResult
from .base import BaseAggregation, Correction, to_matrix

__all__ = ["AnyPair"]


class AnyPair(BaseAggregation):
    """A segment is relevant if any of its pairs is: the paper's Algorithm 1.

    The statistic is the largest absolute normal score of a segment's pairs and the
    p-value their smallest. This is not a p-value of the segment: an irrelevant one has
    ``n_segments - 1`` chances of a false rejection, 37 % for ten segments at level 0.05
    without correction. It is here as the published method; :class:`RankOne` is the
    calibrated one.

    References
    ----------
    .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733, Algorithm 1.
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
