"""Change points of the association with the tasks."""

from __future__ import annotations

from numbers import Real

import numpy as np

from .._base.sklearn_compat import Interval
from .base import BaseBaseline, StructureProblem, import_extra
from .segmenter import BaseSegmenter, association_signal

__all__ = ["ChangePointBaseline"]


class ChangePointBaseline(BaseSegmenter):
    """Cut time where the association with the tasks changes, one task a piece.

    Change points need a signal over time in which tasks differ. In aligned sequences
    that is how strongly each segment is associated with each task over sequences: a
    multiple correlation, nothing conditioned on, times the root of the number of
    sequences. Its mean changes where the penalized least-squares fit by pieces says so
    (exactly, by dynamic programming with pruning [1]_). Each piece gets the task with
    which it is associated most, or none if none of its segments is significantly.

    A segment has one task at most. Where tasks overlap, all but one of them are missed
    whatever the data.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment has what remains.
    penalty : float, default=None
        Cost of a change point, not negative. None takes the number of tasks times the
        logarithm of the number of segments: the Bayesian information criterion, the
        signal's noise having about variance 1.
    alpha : float, default=0.05
        Level, in (0, 1), at which a piece is associated with a task at all.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column for a step.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_segments,)
        Number of the piece of each segment.
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

    References
    ----------
    .. [1] R. Killick, P. Fearnhead and I. A. Eckley, "Optimal detection of changepoints
       with a linear computational cost", Journal of the American Statistical
       Association 107, 2012; computed by ruptures.

    Examples
    --------
    >>> from skspecialist.baselines import ChangePointBaseline
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(500, n_timesteps=8, n_tasks=2, random_state=0)
    >>> data.structure.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    >>> baseline = ChangePointBaseline().fit(data.X, data.y)  # needs ruptures
    >>> baseline.structure_.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    """

    _parameter_constraints: dict = {
        **BaseBaseline._parameter_constraints,
        "penalty": [Interval(Real, 0, None, closed="left"), None],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        segment_length: int = 2,
        *,
        penalty: float | None = None,
        alpha: float = 0.05,
        n_timesteps: int | None = None,
    ) -> None:
        self.segment_length = segment_length
        self.penalty = penalty
        self.alpha = alpha
        self.n_timesteps = n_timesteps

    def _label(self, problem: StructureProblem) -> np.ndarray:
        ruptures = import_extra("ruptures", self)
        signal, _ = association_signal(problem)
        n_segments, n_tasks = signal.shape
        penalty = n_tasks * np.log(n_segments) if self.penalty is None else self.penalty
        ends = ruptures.Pelt(model="l2", min_size=1, jump=1).fit_predict(signal, penalty)
        self.labels_ = np.searchsorted(ends, np.arange(n_segments), side="right")
        return self.labels_
