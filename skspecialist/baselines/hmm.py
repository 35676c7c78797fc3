"""Hidden Markov model of the association with the tasks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from .._base.sklearn_compat import Interval
from .base import BaseBaseline, StructureProblem, import_extra
from .segmenter import BaseSegmenter, association_signal

__all__ = ["HMMBaseline"]

# Dirichlet parameters above 1: a state that is never left keeps proper probabilities.
PRIOR = 1.1
# The signal's noise, without which a state with one segment would have no variance.
NOISE_VARIANCE = 1.0


class HMMBaseline(BaseSegmenter):
    """Label segments by the states of a hidden Markov model, one task a state.

    A hidden Markov model needs a signal over time in which tasks differ; the states of
    a sequence alone have none, as long as a step with a task looks like one without. In
    aligned sequences the signal is how strongly each segment is associated with each
    task over sequences: a multiple correlation, nothing conditioned on, times the root
    of the number of sequences. The labels are shared by all sequences, and so is this
    signal: it is one sequence with a feature for each task. A model with Gaussian
    emissions and one state more than there are tasks is fitted to it, and each segment
    gets its most probable state. Segments of a state get the task with which they are
    associated most, or none if none of them is significantly.

    A segment has one task at most. Where tasks overlap, all but one of them are missed
    whatever the data.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment has what remains.
    n_init : int, default=5
        Starts, of which the most likely model is kept: the likelihood has many maxima.
    alpha : float, default=0.05
        Level, in (0, 1), at which a state is associated with a task at all.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column for a step.
    random_state : int, RandomState instance or None, default=None
        Seed of the starts.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_segments,)
        Hidden state of each segment.
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
    .. [1] L. R. Rabiner, "A tutorial on hidden Markov models and selected applications
       in speech recognition", Proceedings of the IEEE 77, 1989; computed by hmmlearn.

    Examples
    --------
    >>> from skspecialist.baselines import HMMBaseline
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(500, n_timesteps=8, n_tasks=2, random_state=0)
    >>> data.structure.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    >>> baseline = HMMBaseline(random_state=0).fit(data.X, data.y)  # needs hmmlearn
    >>> baseline.structure_.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    """

    _parameter_constraints: dict = {
        **BaseBaseline._parameter_constraints,
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        segment_length: int = 2,
        *,
        n_init: int = 5,
        alpha: float = 0.05,
        n_timesteps: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.segment_length = segment_length
        self.n_init = n_init
        self.alpha = alpha
        self.n_timesteps = n_timesteps
        self.random_state = random_state

    def _label(self, problem: StructureProblem) -> np.ndarray:
        hmm = import_extra("hmmlearn.hmm", self)
        signal, _ = association_signal(problem)
        if len(signal) == 1:
            self.labels_ = np.zeros(1, dtype=int)
            return self.labels_
        rng = check_random_state(self.random_state)
        models = []
        with _quiet():
            for _ in range(self.n_init):
                model = hmm.GaussianHMM(
                    min(signal.shape[1] + 1, len(signal)),
                    n_iter=100,
                    startprob_prior=PRIOR,
                    transmat_prior=PRIOR,
                    covars_prior=NOISE_VARIANCE,
                    random_state=rng,
                )
                models.append(model.fit(signal))
        best = max(models, key=lambda model: model.score(signal))
        self.labels_ = best.predict_proba(signal).argmax(axis=1)
        return self.labels_


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what hmmlearn logs, and its k-means warns, of few data: the priors are for them."""
    logger = logging.getLogger("hmmlearn")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield
    finally:
        logger.setLevel(level)
