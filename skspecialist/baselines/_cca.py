"""Canonical correlation of each segment with each task."""

from __future__ import annotations

from numbers import Real

import numpy as np
from scipy.stats import false_discovery_control

from .._base.sklearn_compat import Interval
from ._base import BaseBaseline, StructureProblem

__all__ = ["CCABaseline"]


class CCABaseline(BaseBaseline):
    """Test the canonical correlations of each segment with each task.

    Wilks' lambda tests whether any linear combination of a segment's steps correlates
    with the task [1]_. Nothing is conditioned on, so that whatever is correlated with a
    task's segment is found too, above all its neighbors in time: the more sequences,
    the more of them.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment may be shorter.
    alpha : float, default=0.05
        False discovery rate, in (0, 1), of the Benjamini-Hochberg procedure over the
        segments of a task.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None means that every column is a step.

    Attributes
    ----------
    pvalues_ : ndarray of shape (n_segments, n_tasks)
        P-value of each segment and task, not adjusted.
    {structure_attributes}

    See Also
    --------
    skspecialist.TaskStructureIdentifier : Tests the same given the steps around.

    References
    ----------
    .. [1] H. Hotelling, "Relations between two sets of variates", Biometrika 28, 1936.

    Examples
    --------
    A segment that is none of the task's correlates with one that is.

    >>> from skspecialist.baselines import CCABaseline
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> data.structure.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    >>> CCABaseline().fit(data.X, data.y).structure_.astype(int).T.tolist()
    [[0, 1, 1, 1], [1, 0, 1, 1]]
    """

    _parameter_constraints: dict = {
        **BaseBaseline._parameter_constraints,
        "alpha": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self, segment_length: int = 2, *, alpha: float = 0.05, n_timesteps: int | None = None
    ) -> None:
        self.segment_length = segment_length
        self.alpha = alpha
        self.n_timesteps = n_timesteps

    def _find_structure(self, problem: StructureProblem) -> np.ndarray:
        self.pvalues_ = problem.associations().pvalue
        return false_discovery_control(self.pvalues_, axis=0) <= self.alpha
