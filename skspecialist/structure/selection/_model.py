"""Gaussian model of selected sequences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Self

import numpy as np
from scipy.linalg import block_diag
from sklearn.utils import check_random_state

from ..._stats.agreement import match_tasks
from ...exceptions import warn
from ...independence._moments import Moments, complementary_halves
from ._gaussian import Layout, Problem
from ._search import Search, Tests

__all__ = ["SelectionModel", "resolve_components"]

# Parameters of a chain of principal components: each step of Fisher scoring factors a matrix of
# this size, which takes some milliseconds.
MAX_PARAMETERS = 600


def resolve_components(
    n_components: int | str | None, n_timesteps: int, n_features: int
) -> int | None:
    """Return the number of principal components of a step; None is all features."""
    if not isinstance(n_components, str):
        return n_components
    k = np.arange(1, n_features + 1)
    n_parameters = n_timesteps * k * (k + 1) // 2 + (n_timesteps - 1) * k**2
    most = max(int((n_parameters <= MAX_PARAMETERS).sum()), 1)
    if most < n_features:
        warn(
            f"Without y the {n_features} features of a step are reduced to {most} principal "
            "components, which bounds the time of the fit. n_components sets another number, and "
            "n_components=None keeps all features."
        )
    return most


class SelectionModel:
    r"""Gaussian model of sequences that were recorded because their tasks succeeded.

    A task's value depends on the actions of its segments. Only sequences in which all tasks
    took a certain, unknown value are recorded. The states of a task's segments are then
    dependent given all other states, however far apart they are. With one row of ``W`` per
    feature of each state, the precision matrix of states of unit variance is

    .. math::

        P = L L^\top + V R^{-1} V^\top, \quad V = (I + C) W, \quad R = I + \nu W^\top W.

    The first part is a Markov chain: only steps that follow each other are coupled. The
    second couples the segments of each task, whose rows of a column of ``W`` are not zero.
    Actions have their own noise, whose variance is :math:`\nu` times that of the states at
    all steps; two tasks with a common segment share it, so that R is not diagonal. If
    actions drive the next state, that state carries information on the action, and the
    blocks C propagate a task's loadings to the step after its segment.

    Parameters
    ----------
    segments : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    n_features : int
        Features of a state.
    segment_steps : {"interior", "all", "last"}, default="interior"
        Steps that are evidence for a segment. Unless it is "all", the step after a task's
        segment may be driven by its last action, and is then not evidence for the segment
        that it begins. A segment of one step has no other evidence.
    n_tasks : int, default=None
        Maximum number of tasks; None chooses it by the criterion.
    n_components : int, default=None
        Number of leading principal components that each step is reduced to; None keeps all
        features.
    n_starts : int, default=None
        Number of random starts of the search. None is 24 for up to 40 columns, and fewer for
        more of them, down to six: a start's time grows with their cube, and several features
        of a step leave fewer local optima.
    random_state : int, RandomState instance or None, default=0
        Seed of the starts.
    verbose : int, default=0
        Verbosity level.

    Attributes
    ----------
    structure_ : ndarray of bool of shape (n_segments, n_tasks)
        Relevant segments of each task. The order of the tasks is arbitrary.
    n_tasks_ : int
        Number of tasks found; 0 if the chain alone is the better model.
    loadings_ : ndarray of shape (n_columns, n_tasks)
        Loadings W in the data's units; the sign of a task is arbitrary.
    effect_sizes_ : ndarray of shape (n_segments, n_tasks)
        Strength of each segment in each task as a correlation, in [0, 1): the root of
        x / (x + n), with x the Wald statistic of the segment's loadings if it is in the
        structure and their score statistic otherwise.
    precision_ : ndarray of shape (n_columns, n_columns)
        Precision matrix, in the data's units; of the principal components if there are
        ``n_components``.
    chain_precision_ : ndarray of shape (n_columns, n_columns)
        Precision matrix of the best model without tasks.
    action_noise_ : float
        Standard deviation of the actions' noise, relative to that of the states.
    criterion_ : float
        Extended Bayesian information criterion of the structure.

    Notes
    -----
    The support of W is the one with the best extended Bayesian information criterion [1]_
    that is found, with a standard normal prior of the loadings. Sparse factors of the partial
    correlations of steps that are not adjacent, from random starts and with a surplus of tasks,
    are pruned by Wald tests, refitted by Fisher scoring, and changed by single segments of tasks
    and new tasks of two segments as long as the criterion improves.

    Tasks that a chain can represent are not identified: a task with one segment of two
    steps. Neither are the order, the signs and the scales of the tasks. In sequences that
    were not selected there is nothing to find: colliders do not change the marginal
    distribution of their causes.

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
    >>> data = make_collider_sequences(2000, 8, 2, selection=True, random_state=1)
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
        n_components: int | None = None,
        n_starts: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        verbose: int = 0,
    ) -> None:
        self.segments, self.n_features = segments, n_features
        self.segment_steps, self.n_tasks = segment_steps, n_tasks
        self.n_components, self.n_starts = n_components, n_starts
        self.random_state, self.verbose = random_state, verbose

    def fit(self, folds: Sequence[Moments]) -> Self:
        """Find tasks and segments.

        Parameters
        ----------
        folds : sequence of Moments
            Statistics of disjoint folds of the flat sequences, in which the columns of a
            step are adjacent.

        Returns
        -------
        self : SelectionModel
            Fitted.
        """
        moments = reduce(Moments.merge, folds)
        n_timesteps = len(moments.mean) // self.n_features
        self._axes = _principal_axes(moments.scatter, n_timesteps, self.n_components)
        moments = self._reduced(moments)
        n_columns = len(moments.mean)
        n_features = n_columns // n_timesteps
        self._layout = Layout(self.segments, n_timesteps, n_features, self.segment_steps)
        problem = self._problem(moments)
        search = Search(problem, check_random_state(self.random_state))
        n_starts = int(np.clip(24 * (40 / n_columns) ** 2, 6, 24))
        solution = search.run(self.n_starts or n_starts, self.verbose)
        if self.n_tasks is not None:
            solution = search.limit(solution, self.n_tasks)

        is_segment, parameters = self._layout.is_segment, solution.parameters
        scale = _scale(moments)
        self._solution, self._mean = solution, moments.mean
        self.structure_ = solution.cells[is_segment]
        self.n_tasks_ = self.structure_.shape[1]
        self.loadings_ = self._axes @ (parameters.W * scale[:, None])
        self.effect_sizes_ = Tests(problem, solution).effect_sizes()[is_segment]
        self.precision_ = parameters.precision() * np.outer(scale, scale)
        self.chain_precision_ = problem.chain @ problem.chain.T * np.outer(scale, scale)
        self.action_noise_ = float(np.sqrt(parameters.noise))
        self.criterion_ = solution.criterion
        return self

    def gain(self, moments: Moments) -> float:
        """Return the held-out log-likelihood gain over the chain without tasks.

        Parameters
        ----------
        moments : Moments
            Statistics of sequences that were not used in ``fit``.

        Returns
        -------
        gain : float
            Mean gain, in nats per sequence; zero if no task was found.
        """
        moments = self._reduced(moments)
        # Second moments about the mean of fit, which is part of the fitted density.
        difference = moments.mean - self._mean
        S = moments.scatter / moments.n + np.outer(difference, difference)
        return _log_likelihood(self.precision_, S) - _log_likelihood(self.chain_precision_, S)

    def selection_frequency(self, folds: Sequence[Moments], n_subsamples: int) -> np.ndarray:
        """Return how often each segment of each task is found in half of the sequences.

        Halves are drawn in complementary pairs. The search in each half starts at and near
        the solution for all sequences, and its tasks are matched with those.

        Parameters
        ----------
        folds : sequence of Moments
            The folds of ``fit``.
        n_subsamples : int
            Number of halves; rounded up to an even number.

        Returns
        -------
        frequency : ndarray of shape (n_segments, n_tasks)
            Fraction of the halves; NaN without halves.
        """
        rng = check_random_state(self.random_state)
        total, n_halves = np.zeros(self.structure_.shape), 0
        for half in complementary_halves(len(folds), n_subsamples, rng):
            moments = self._reduced(reduce(Moments.merge, (folds[fold] for fold in half)))
            found = Search(self._problem(moments), rng).resume(self._solution)
            cells = found.cells[self._layout.is_segment]
            total += match_tasks(self.structure_, cells)[:, : self.n_tasks_]
            n_halves += 1
        return total / n_halves if n_halves else np.full(total.shape, np.nan)

    def _reduced(self, moments: Moments) -> Moments:
        """Return the statistics of the principal components."""
        axes = self._axes
        return Moments(moments.n, moments.mean @ axes, axes.T @ moments.scatter @ axes)

    def _problem(self, moments: Moments) -> Problem:
        """Return the problem of the correlation matrix.

        One pseudo-sequence of independent columns is added, so that the matrix is positive
        definite also for few sequences and for constant columns.
        """
        scale = _scale(moments)
        scatter = moments.scatter * np.outer(scale, scale) + np.eye(len(scale))
        return Problem(scatter / (moments.n + 1), moments.n, self._layout)


def _principal_axes(scatter: np.ndarray, n_timesteps: int, n_components: int | None) -> np.ndarray:
    """Return the principal axes of each step, as columns of a matrix of blocks."""
    n_features = len(scatter) // n_timesteps
    if n_components is None or n_components >= n_features:
        return np.eye(len(scatter))
    steps = np.arange(len(scatter)).reshape(n_timesteps, -1)
    blocks = scatter[steps[:, :, None], steps[:, None]]
    return block_diag(*np.linalg.eigh(blocks)[1][:, :, ::-1][:, :, :n_components])


def _scale(moments: Moments) -> np.ndarray:
    """Return the factors that scale columns to unit variance; 1 for a constant column."""
    varies = np.diag(moments.correlation()) > 0
    return 1 / np.sqrt(np.where(varies, np.diag(moments.scatter) / moments.n, 1.0))


def _log_likelihood(precision: np.ndarray, S: np.ndarray) -> float:
    # Of a Gaussian with mean zero, up to a constant: (log det P - trace(P S)) / 2.
    return 0.5 * float(np.linalg.slogdet(precision)[1] - (precision * S).sum())
