"""Segmenters: change points and a hidden Markov model of the association with the tasks."""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from .._base.sklearn_compat import Interval
from ._base import BaseBaseline, StructureProblem, import_extra

__all__ = ["ChangePointBaseline", "HMMBaseline"]

# Dirichlet parameters above 1: a state that is never left keeps proper probabilities.
PRIOR = 1.1
# The signal's noise, without which a state with one segment would have no variance.
NOISE_VARIANCE = 1.0


class BaseSegmenter(BaseBaseline):
    """Base of the segmenters, which implement :meth:`_label`.

    A segmenter needs a signal over time in which tasks differ. The steps of aligned
    sequences mean the same in each, and so do the labels: the signal is how strongly a
    segment is associated with each task, over sequences. Segments with one label get
    the task with which they are associated most on average, and none unless one of them
    is associated with it at level ``alpha`` (Bonferroni over segments and tasks).
    """

    alpha: float

    def _find_structure(self, problem: StructureProblem) -> np.ndarray:
        labels = self._label(problem)
        signal, pvalues = association_signal(problem)
        structure = np.zeros(signal.shape, dtype=bool)
        for label in np.unique(labels):
            same = labels == label
            task = signal[same].mean(axis=0).argmax()
            structure[same, task] = pvalues[same, task].min() * pvalues.size <= self.alpha
        return structure

    @abstractmethod
    def _label(self, problem: StructureProblem) -> np.ndarray:
        """Return the label of each segment, int of shape (n_segments,)."""


def association_signal(problem: StructureProblem) -> tuple[np.ndarray, np.ndarray]:
    """Return how each segment is associated with each task, and the p-values.

    The strength is a multiple correlation times the root of the number of sequences,
    about the size of a standard normal where there is none.
    """
    tests = problem.associations()
    return tests.effect_size * np.sqrt(len(problem.X)), tests.pvalue


class ChangePointBaseline(BaseSegmenter):
    """Segment time where the association with the tasks changes, one task per piece.

    Change points need a signal over time in which tasks differ. In aligned sequences
    that is how strongly each segment is associated with each task over sequences: a
    multiple correlation, nothing conditioned on, times the root of the number of
    sequences. The changes of its mean are those of the penalized piecewise least-squares fit
    (exact, by dynamic programming with pruning [1]_). Each piece gets the task with
    which it is associated most, or none if none of its segments is significantly.

    A segment has one task at most. Where tasks overlap, all but one of them are missed
    for any data.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment may be shorter.
    penalty : float, default=None
        Cost of a change point, not negative. None takes the number of tasks times the
        logarithm of the number of segments: the Bayesian information criterion, the
        signal's noise having about variance 1.
    alpha : float, default=0.05
        Significance level, in (0, 1), of the association of a piece with a task.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None means that every column is a step.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_segments,)
        Number of the piece of each segment.
    {structure_attributes}

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


class HMMBaseline(BaseSegmenter):
    """Label segments by the states of a hidden Markov model, one task per state.

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
    for any data.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment may be shorter.
    n_init : int, default=5
        Starts, of which the most likely model is kept: the likelihood has many maxima.
    alpha : float, default=0.05
        Significance level, in (0, 1), of the association of a state with a task.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None means that every column is a step.
    random_state : int, RandomState instance or None, default=None
        Seed of the starts.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_segments,)
        Hidden state of each segment.
    {structure_attributes}

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
    """Silence messages of hmmlearn and its k-means about few data: the priors handle them."""
    logger = logging.getLogger("hmmlearn")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield
    finally:
        logger.setLevel(level)
