"""Gaussian model of sequences that were recorded because their tasks succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Self

import numpy as np
from sklearn.utils import check_random_state

from ..._stats.moments import Moments, complementary_halves
from ...metrics._structure import match_columns
from .moves import Tests
from .search import Search
from .support import Layout, Problem

__all__ = ["SelectionModel"]


class SelectionModel:
    r"""Gaussian model of sequences that were recorded because their tasks succeeded.

    A task's value depends on the actions of its segments. Recorded are only sequences in
    which all tasks took a certain value, and the values are not known. The states of a
    task's segments then depend on each other given all other states, however far apart
    they are. With one row of ``W`` for each number of each state, the precision matrix of
    states of unit variance is

    .. math::

        P = L L^\top + V R^{-1} V^\top, \quad V = (I + C) W, \quad R = I + \nu W^\top W.

    The first part is a Markov chain: only steps that follow each other are coupled. The
    second couples the segments of each task, whose rows of a column of ``W`` are not zero.
    Actions have noise of their own, in the same proportion :math:`\nu` to the variance of
    the states at all steps; two tasks with a common segment share it, which makes R no
    diagonal matrix. Where actions drive the next state, this tells of the action, and the
    blocks C carry a task's loadings to the step after its segment.

    Parameters
    ----------
    segments : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    n_features : int
        Numbers in a state.
    segment_steps : {"interior", "all", "last"}, default="interior"
        Which steps speak for a segment. Unless it is "all", the step after a task's
        segment may tell of its last action, and does not count as evidence for the segment
        that it begins. A segment of one step has no other evidence.
    n_tasks : int, default=None
        Number of tasks, at most; None finds it.
    n_starts : int, default=24
        Starts of the search, random ones and ones near the best so far in turn. Most
        problems need a few; the search ends when ten in a row bring nothing.
    random_state : int, RandomState instance or None, default=0
        Source of the starts.
    verbose : int, default=0
        Whether to show the progress.

    Attributes
    ----------
    structure_ : ndarray of bool of shape (n_segments, n_tasks)
        Which segments each task has. The order of the tasks means nothing.
    n_tasks_ : int
        Number of tasks found; none where the chain alone is the better model.
    loadings_ : ndarray of shape (n_columns, n_tasks)
        What each task needs of the states, in the data's units; a task's sign means
        nothing.
    effect_sizes_ : ndarray of shape (n_segments, n_tasks)
        Strength of each segment in each task as a correlation, in [0, 1): the root of
        x / (x + n), with x the Wald statistic of the segment's loadings if it has any and
        their score statistic else.
    precision_ : ndarray of shape (n_columns, n_columns)
        Precision matrix, in the data's units.
    chain_precision_ : ndarray of shape (n_columns, n_columns)
        That of the best model without tasks.
    action_noise_ : float
        Noise of the actions, relative to the standard deviation of the states.
    criterion_ : float
        Bayesian information criterion of the structure.

    Notes
    -----
    The support of W is the one with the best extended Bayesian information criterion [1]_
    that is found. Solutions with a group penalty on each segment in each task, from random
    starts and with more tasks than there are, are pruned by Wald tests, refitted without
    penalty, and changed by one segment or task's end at a time as long as that is for the
    better.

    What the chain can do as well is not identified: a task with one segment of two
    steps, and the order, the signs and the scales of the tasks. Sequences that were not
    selected have nothing to find, for colliders leave no trace in what they collide.

    References
    ----------
    .. [1] J. Chen & Z. Chen, "Extended Bayesian information criteria for model selection
       with large model spaces", Biometrika 95, 2008.

    Examples
    --------
    >>> from skspecialist.datasets import make_collider_sequences
    >>> from skspecialist.independence import Moments
    >>> from skspecialist.metrics import structure_scores
    >>> from skspecialist.structure.selection import SelectionModel
    >>> data = make_collider_sequences(2000, n_tasks=2, selection=True, random_state=1)
    >>> X = data.X.reshape(2000, -1)
    >>> model = SelectionModel(data.segments, n_features=1)
    >>> model = model.fit([Moments.from_data(X[k::10]) for k in range(10)])
    >>> model.n_tasks_, structure_scores(data.structure, model.structure_, match=True).mcc
    (2, 1.0)
    """

    def __init__(
        self,
        segments: np.ndarray,
        n_features: int,
        *,
        segment_steps: str = "interior",
        n_tasks: int | None = None,
        n_starts: int = 24,
        random_state: int | np.random.RandomState | None = 0,
        verbose: int = 0,
    ) -> None:
        self.segments, self.n_features = segments, n_features
        self.segment_steps, self.n_tasks = segment_steps, n_tasks
        self.n_starts, self.random_state, self.verbose = n_starts, random_state, verbose

    def fit(self, folds: Sequence[Moments]) -> Self:
        """Find tasks and segments.

        Parameters
        ----------
        folds : sequence of Moments
            Statistics of disjoint parts of the sequences, flat, with the columns of a
            step side by side.

        Returns
        -------
        self : SelectionModel
            Fitted.
        """
        moments = reduce(Moments.merge, folds)
        n_timesteps = len(moments.mean) // self.n_features
        self._layout = Layout(self.segments, n_timesteps, self.n_features, self.segment_steps)
        problem = self._problem(moments)
        search = Search(problem, check_random_state(self.random_state))
        solution = search.run(self.n_starts, self.verbose)
        if self.n_tasks is not None:
            solution = search.limit(solution, self.n_tasks)

        is_segment, parameters = self._layout.is_segment, solution.parameters
        scale = _scale(moments)
        self._solution, self._mean = solution, moments.mean
        self.structure_ = solution.cells[is_segment]
        self.n_tasks_ = self.structure_.shape[1]
        self.loadings_ = parameters.W * scale[:, None]
        self.effect_sizes_ = Tests(problem, solution).effect_sizes()[is_segment]
        self.precision_ = parameters.precision() * np.outer(scale, scale)
        self.chain_precision_ = problem.chain @ problem.chain.T * np.outer(scale, scale)
        self.action_noise_ = float(np.sqrt(parameters.noise))
        self.criterion_ = solution.criterion
        return self

    def gain(self, moments: Moments) -> float:
        """Return what the tasks say about new sequences.

        Parameters
        ----------
        moments : Moments
            Statistics of sequences that ``fit`` did not see.

        Returns
        -------
        gain : float
            Log-likelihood gained over the chain without tasks, in nats per sequence; zero
            if no task was found.
        """
        difference = moments.mean - self._mean
        S = moments.scatter / moments.n + np.outer(difference, difference)
        return _log_likelihood(self.precision_, S) - _log_likelihood(self.chain_precision_, S)

    def selection_frequency(self, folds: Sequence[Moments], n_subsamples: int) -> np.ndarray:
        """Return how often each segment of each task is found in half of the sequences.

        Halves come in pairs that complement each other. The search in each begins at
        and near the solution of all, and its tasks are assigned to those of all.

        Parameters
        ----------
        folds : sequence of Moments
            Those that ``fit`` got.
        n_subsamples : int
            Number of halves; one more if it is odd.

        Returns
        -------
        frequency : ndarray of shape (n_segments, n_tasks)
            Shares of the halves; NaN without halves.
        """
        rng = check_random_state(self.random_state)
        total, n_halves = np.zeros(self.structure_.shape), 0
        for half in complementary_halves(len(folds), n_subsamples, rng):
            moments = reduce(Moments.merge, (folds[fold] for fold in half))
            found = Search(self._problem(moments), rng).resume(self._solution)
            cells = found.cells[self._layout.is_segment]
            total += match_columns(self.structure_, cells)[:, : self.n_tasks_]
            n_halves += 1
        return total / n_halves if n_halves else np.full(total.shape, np.nan)

    def _problem(self, moments: Moments) -> Problem:
        """Return the problem of the correlation matrix.

        It counts one more sequence, of independent columns, so that it is positive
        definite also of few sequences and of constant columns.
        """
        scale = _scale(moments)
        scatter = moments.scatter * np.outer(scale, scale) + np.eye(len(scale))
        return Problem(scatter / (moments.n + 1), moments.n, self._layout)


def _scale(moments: Moments) -> np.ndarray:
    """Return the factors that bring columns to unit variance; one for a constant column."""
    varies = np.diag(moments.correlation()) > 0
    return 1 / np.sqrt(np.where(varies, np.diag(moments.scatter) / moments.n, 1.0))


def _log_likelihood(precision: np.ndarray, S: np.ndarray) -> float:
    return 0.5 * float(np.linalg.slogdet(precision)[1] - (precision * S).sum())
