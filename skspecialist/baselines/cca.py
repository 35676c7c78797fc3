"""Canonical correlation of each segment with each task."""

from __future__ import annotations

from numbers import Real

import numpy as np
from scipy.stats import false_discovery_control

from .._base.sklearn_compat import Interval
from .base import BaseBaseline, StructureProblem

__all__ = ["CCABaseline"]


class CCABaseline(BaseBaseline):
    """Test the canonical correlations of each segment with each task.

    Wilks' lambda says whether any linear combination of a segment's steps correlates
    with the task [1]_. Nothing is conditioned on, so that whatever is correlated with a
    task's segment is found too, above all its neighbors in time: the more sequences,
    the more of them.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment has what remains.
    alpha : float, default=0.05
        Level, in (0, 1), of the Benjamini-Hochberg procedure over the segments of a
        task.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column for a step.

    Attributes
    ----------
    pvalues_ : ndarray of shape (n_segments, n_tasks)
        P-value of each segment and task, not adjusted.
    segments_ : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    structure_ : ndarray of bool of shape (n_segments, n_tasks)
        Which segments each task has.
    step_mask_ : ndarray of bool of shape (n_timesteps, n_tasks)
        The same for steps.
    support_ : ndarray of bool of shape (n_timesteps,)
        Steps of any task.
    n_tasks_ : int
        Number of tasks.
    task_names_ : list of str
        Their names: column names of a DataFrame ``y``, or task0, task1, ...
    n_timesteps_ : int
        Number of steps.
    n_features_in_ : int
        Number of columns of the flat sequences: steps times features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where ``X`` had names.

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
