"""Boundaries and identities of the tasks of a stream, decided with a fixed lag."""

from __future__ import annotations

import copy
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from scipy.special import gammaln
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, validate_data

from .._base.estimator import ReferenceMixin, all_or_nothing
from .._base.sklearn_compat import Interval, fit_context
from .._data.ragged import is_ragged_list

__all__ = ["OnlineTaskSegmenter"]

# Steps that the first scale of the features is estimated from.
WARM_UP = 20
# Prior of the mean and the variances of a task: a tenth of a step at the mean of the stream, and
# two degrees of freedom, with which the predictive distribution has a mean but no variance.
MEAN_STEPS, VARIANCE_STEPS = 0.1, 2.0

# Label of a step, its probability, and the delay of a boundary, -1 elsewhere.
Decided = tuple[int, float, int]


class OnlineTaskSegmenter(ReferenceMixin, BaseEstimator):
    """Segmentation of a stream into tasks that recur.

    A stream is a sequence of segments, each of one task. A step is decided ``lag`` steps later:
    it belongs to a known task, or begins a new one. A task that returns gets its former label.
    Memory does not depend on the length of the stream.

    Parameters
    ----------
    lag : int, default=10
        Number of later steps that a decision rests on. A segment that is shorter, or differs
        little from the one before, is often missed with a small lag.
    expected_length : float, default=20
        Expected number of steps of a segment, more than 1. The default is for tasks of some
        seconds in steps of half a second; an error by a factor of three changes little.
    concentration : float, default=1.0
        Weight of a new task at a boundary, where each known task has the number of its segments
        as a weight: the prior of the Chinese restaurant process.
    max_tasks : int, default=50
        Largest number of tasks, which bounds memory and time. Further ones are given the label of
        the task that is most similar.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_decided,)
        Tasks of the steps that the last call decided, numbered in the order of their first
        occurrence. After ``fit`` those of all steps.
    probabilities_ : ndarray of float of shape (n_decided,)
        Posterior probabilities of these labels when they were decided, among the most
        probable paths into each present state.
    boundaries_ : ndarray of int of shape (n_boundaries,)
        First steps of segments that the last call decided, counted from the start of the stream.
        The start of a recording is one.
    delays_ : ndarray of int of shape (n_boundaries,)
        Steps from each boundary to the step at which its task was the most probable one for
        the first time, at most ``lag``, unless it was decided at the end of a recording. The
        first 20 steps (or ``lag``) are read before anything is decided.
    n_tasks_ : int
        Number of tasks.
    means_, variances_ : ndarray of shape (n_tasks, n_features)
        Posterior means of the features in each task, and their variances.
    counts_, n_segments_ : ndarray of int of shape (n_tasks,)
        Number of decided steps, and of segments, of each task.
    n_steps_seen_ : int
        Number of steps decided since ``fit``, or since the first call of ``partial_fit``.
    n_features_in_ : int
        Number of features.

    See Also
    --------
    TaskLocalizer : Steps of tasks that have weak labels.
    TaskStructureIdentifier : Steps of tasks in aligned sequences.

    Notes
    -----
    Features of a task are independent Gaussians with a conjugate prior, so that the predictive
    density of a step is a product of Student densities. The state at a step is the task, and
    for a task without any decided step also its onset: the run length of Bayesian online
    change-point detection [1]_, kept only until the task is known. At a boundary the next task
    is drawn by a Chinese restaurant process [2]_. Each state keeps the most probable path of
    the last ``lag`` steps into it, and statistics that include this path; the path of the most
    probable state decides (the truncated survivor paths of fixed-lag Viterbi decoding [3]_). Task
    identity as a deviation from what known tasks predict is also the principle of TAME [4]_,
    which compares the losses of networks.

    Correlated features repeat their evidence. Log densities are multiplied by the effective
    number of independent features, the participation ratio of the eigenvalues of the
    correlation matrix, divided by their number. Steps that depend on each other, beyond their
    task, are not accounted for: longer steps are less dependent.

    References
    ----------
    .. [1] R. P. Adams and D. J. C. MacKay, "Bayesian online changepoint detection",
       arXiv:0710.3742, 2007.
    .. [2] E. B. Fox, E. B. Sudderth, M. I. Jordan and A. S. Willsky, "A sticky HDP-HMM with
       application to speaker diarization", Annals of Applied Statistics 5, 2011.
    .. [3] G. D. Forney, "The Viterbi algorithm", Proceedings of the IEEE 61, 1973, section III.
    .. [4] H. Zhu, M. Majzoubi, A. Jain and A. Choromanska, "TAME: Task agnostic continual learning
       using multiple experts", CVPR workshops, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import OnlineTaskSegmenter
    >>> rng = np.random.default_rng(0)
    >>> task = np.repeat([0, 1, 0, 2, 1], 30)
    >>> X = 6 * np.eye(3)[task] + rng.normal(size=(150, 3))
    >>> segmenter = OnlineTaskSegmenter()
    >>> for chunk in np.array_split(X, 10):
    ...     _ = segmenter.partial_fit(chunk)
    >>> segmenter.n_tasks_, segmenter.n_steps_seen_
    (3, 140)
    >>> segmenter.fit(X).boundaries_
    array([  0,  30,  60,  90, 120])
    >>> segmenter.labels_[::30]
    array([0, 1, 0, 2, 1])
    """

    _parameter_constraints: dict = {
        "lag": [Interval(Integral, 1, None, closed="left")],
        "expected_length": [Interval(Real, 1, None, closed="neither")],
        "concentration": [Interval(Real, 0, None, closed="neither")],
        "max_tasks": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        lag: int = 10,
        *,
        expected_length: float = 20.0,
        concentration: float = 1.0,
        max_tasks: int = 50,
    ) -> None:
        self.lag = lag
        self.expected_length = expected_length
        self.concentration = concentration
        self.max_tasks = max_tasks

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Segment whole recordings, and forget earlier ones.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features), or list of these
            A recording, or several with common tasks, one after the other.
        y : None
            Ignored.

        Returns
        -------
        self : object
            Segmenter that has decided all steps. Further recordings may follow.
        """
        parts, _ = self._read(X, reset=True)
        self._filter = _Filter(self, parts[0].shape[1])
        return self._learn(parts, ends=True)

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, *, last: bool = False) -> Self:
        """Read further steps of the stream, and decide those that are old enough.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features)
            The next steps. Results do not depend on the division of a stream into calls.
        y : None
            Ignored.
        last : bool, default=False
            Whether a recording ends with these steps: all are decided, and the next step
            begins another recording.

        Returns
        -------
        self : object
            Segmenter.
        """
        is_first = not hasattr(self, "_filter")
        parts, _ = self._read(X, reset=is_first)
        if is_first:
            self._filter = _Filter(self, parts[0].shape[1])
        return self._learn(parts, ends=last)

    def predict(self, X: Any) -> Any:
        """Return the most probable of the known tasks of each step.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features), or list of these
            The rows of an array are judged one by one. The arrays of a list are recordings,
            whose steps are judged together: use ``predict([X])[0]`` for one recording.

        Returns
        -------
        labels : ndarray of int of shape (n_steps,), or list of these
            Labels of the tasks.
        """
        check_is_fitted(self)
        parts, is_list = self._read(X, reset=False)
        if not self.n_tasks_:
            raise NotFittedError(
                f"No step has been decided: {self._filter.n_read} steps were read, and decisions "
                f"need {max(WARM_UP, self.lag)}. End the recording with partial_fit(X, last=True)."
            )
        if not is_list:
            return self._filter.nearest(parts[0])
        found = []
        for part in parts:
            # A copy of the filter, without room for new tasks, that is not kept.
            known = copy.deepcopy(self._filter)
            known.max_tasks = known.n_tasks
            known.begin()
            found.append(np.array([label for label, *_ in known.advance(part) + known.end()]))
        return found

    def _read(self, X: Any, *, reset: bool) -> tuple[list[np.ndarray], bool]:
        is_list = is_ragged_list(X)
        parts: list[np.ndarray] = []
        for part in X if is_list else [X]:
            checked = validate_data(self, part, reset=reset and not parts, dtype=np.float64)
            parts.append(checked)
        return parts, is_list

    def _learn(self, parts: list[np.ndarray], *, ends: bool) -> Self:
        decided = []
        for part in parts:
            decided += self._filter.advance(part)
            if ends:
                decided += self._filter.end()
        labels, probabilities, delays = zip(*decided, strict=True) if decided else ((), (), ())
        self.labels_ = np.array(labels, dtype=int)
        self.probabilities_ = np.array(probabilities, dtype=float)
        delay = np.array(delays, dtype=int)
        first = self._filter.n_decided - len(decided)
        self.boundaries_ = first + np.flatnonzero(delay >= 0)
        self.delays_ = delay[delay >= 0]
        self.n_steps_seen_ = self._filter.n_decided
        known = slice(self._filter.n_tasks)
        self.n_tasks_ = self._filter.n_tasks
        self.counts_ = self._filter.decided.n[known].astype(int)
        self.n_segments_ = self._filter.n_segments[known].astype(int)
        if self.n_tasks_:
            self.means_, shape, rates = self._filter.posterior(self._filter.decided, known)
            self.variances_ = rates / shape[:, None]
        return self


class _Moments:
    """Number, means and sums of squared deviations of the steps of several tasks or states."""

    def __init__(self, n: int, n_features: int) -> None:
        self.n, self.mean = np.zeros(n), np.zeros((n, n_features))
        self.squares = np.zeros((n, n_features))

    def add(self, x: np.ndarray, rows: slice) -> None:
        """Add a step, in place (Welford's update, which does not cancel digits)."""
        n, mean, squares = self.n[rows], self.mean[rows], self.squares[rows]
        n += 1
        difference = x - mean
        mean += difference / n[:, None]
        squares += difference * (x - mean)

    def copy(self, source: _Moments, to: Any, rows: Any) -> None:
        """Copy rows of others, or of the same."""
        self.n[to], self.mean[to] = source.n[rows], source.mean[rows]
        self.squares[to] = source.squares[rows]


class _Filter:
    """Filter of the task of each step, with the most probable path into each state.

    The first ``lag + 1`` states are new tasks, one for each onset among the undecided steps; the
    others are known tasks. Arrays over the undecided steps are rings: step t of a recording is
    in column t modulo ``lag + 1``.
    """

    def __init__(self, segmenter: OnlineTaskSegmenter, n_features: int) -> None:
        self.lag, self.max_tasks = segmenter.lag, segmenter.max_tasks
        self.concentration = segmenter.concentration
        self.log_leave = -np.log(segmenter.expected_length)
        self.log_stay = np.log1p(-1 / segmenter.expected_length)
        self.n_onsets, self.n_features = self.lag + 1, n_features
        self.n_tasks = self.n_decided = 0
        self.decided = _Moments(self.max_tasks, n_features)
        self.n_segments = np.zeros(self.max_tasks)
        # Number, mean and products of all steps, and the weight of a step's log density.
        self.n_read, self.mean = 0, np.zeros(n_features)
        self.products, self.power = np.zeros((n_features, n_features)), 1.0
        self.waiting: list[np.ndarray] | None = []
        self.begin()

    def begin(self) -> None:
        """Begin a recording: no state is occupied."""
        n_states = self.n_onsets + self.max_tasks
        self.t, self.label = 0, -1
        self.scores = np.full(n_states, -np.inf)
        self.own = _Moments(n_states, self.n_features)
        self.paths = np.zeros((n_states, self.n_onsets), dtype=int)
        self.leaders = np.zeros(self.n_onsets, dtype=int)
        self.steps = np.zeros((self.n_onsets, self.n_features))

    def advance(self, X: np.ndarray) -> list[Decided]:
        """Read steps, and return label, probability and delay (or -1) of those decided."""
        found: list[Decided] = []
        for x in X:
            self.n_read += 1
            difference = x - self.mean
            self.mean = self.mean + difference / self.n_read
            self.products += difference[:, None] * (x - self.mean)
            if self.waiting is not None:
                self.waiting.append(x)
                if len(self.waiting) >= max(WARM_UP, self.lag):
                    found += self._release()
            else:
                # Numbers of steps that are powers of two: the same for any chunks.
                if self.n_read & (self.n_read - 1) == 0:
                    self._weigh()
                found += self._step(x)
        return found

    def end(self) -> list[Decided]:
        """Decide all steps of the recording."""
        found = self._release()
        found += [self._decide(u) for u in range(max(0, self.t - self.lag), self.t)]
        self.begin()
        return found

    def _release(self) -> list[Decided]:
        """Process the first steps, which have waited for a scale."""
        waiting, self.waiting = self.waiting or [], None
        if waiting:
            self._weigh()
        return [decided for x in waiting for decided in self._step(x)]

    def _weigh(self) -> None:
        """Compute the share of independent features, by the participation ratio."""
        variances = self.products.diagonal()
        varied = variances > 0
        scales = np.sqrt(np.where(varied, variances, 1.0))
        squares = (self.products / np.outer(scales, scales)) ** 2
        d = np.count_nonzero(varied)
        # A squared correlation of independent features has a mean of 1 / (n - 1).
        shared = squares.sum() - d - d * (d - 1) / max(self.n_read - 1, 1)
        self.power = d / (d + max(shared, 0.0)) if d else 1.0

    def log_density(self, x: np.ndarray, moments: _Moments, rows: Any) -> np.ndarray:
        """Return log predictive densities, products of Student densities.

        Posterior of the normal-inverse-gamma prior: K. Murphy, "Conjugate Bayesian analysis of
        the Gaussian distribution", 2007, equations 86 to 89 and 100.
        """
        mean, a, b = self.posterior(moments, rows)
        n = moments.n[rows] + MEAN_STEPS
        scale = b * ((n + 1) / (n * a))[..., None]
        tails = np.log1p((x - mean) ** 2 / (2 * a[..., None] * scale)).sum(axis=-1)
        constants = gammaln(a + 0.5) - gammaln(a) - 0.5 * np.log(2 * np.pi * a)
        densities = self.n_features * constants - np.log(scale).sum(axis=-1) / 2 - (a + 0.5) * tails
        return self.power * densities

    def posterior(self, moments: _Moments, rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the means, and shape and rates of the inverse variances."""
        prior = self.products.diagonal() / self.n_read
        # A constant feature does not distinguish tasks, whatever its variance.
        prior = np.where(prior > 0, prior, 1.0)
        n = moments.n[rows]
        weight = (n / (n + MEAN_STEPS))[..., None]
        difference = moments.mean[rows] - self.mean
        mean = self.mean + weight * difference
        squares = moments.squares[rows] + MEAN_STEPS * weight * difference**2
        return mean, (VARIANCE_STEPS + n) / 2, (VARIANCE_STEPS * prior + squares) / 2

    def nearest(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable known task of each row."""
        known = range(self.n_tasks)
        densities = [self.log_density(X, self.decided, k) for k in known]
        return np.argmax(densities + np.log(self.decided.n[known, None]), axis=0)

    def _step(self, x: np.ndarray) -> list[Decided]:
        """Update the states by a step, and decide the one that is ``lag`` steps older."""
        scores, now = self.scores, self.t % self.n_onsets
        best = scores.argmax()
        # Score of the best path that ends its segment here, all of them at the start.
        left = scores[best] + self.log_leave if self.t else 0.0
        scores += self.log_stay
        n_segments = self.n_segments[: self.n_tasks]
        total = np.log(n_segments.sum() + self.concentration)
        entry = left + np.log(n_segments) - total
        entered = np.flatnonzero(entry > scores[self.n_onsets : self.n_onsets + self.n_tasks])
        states = self.n_onsets + entered
        scores[states] = entry[entered]
        self.own.copy(self.decided, states, entered)
        # Tasks that may become known must find room.
        if self.n_tasks + np.count_nonzero(scores[: self.n_onsets] > -np.inf) < self.max_tasks:
            scores[now] = left + np.log(self.concentration) - total
            self.own.n[now] = self.own.mean[now] = self.own.squares[now] = 0.0
            states = np.append(states, now)
        self.paths[states] = self.paths[best]
        self.paths[:, now] = np.arange(len(scores))
        active = slice(self.n_onsets + self.n_tasks)
        scores[active] += self.log_density(x, self.own, active)
        scores -= scores.max()
        self.own.add(x, active)
        self.leaders[now], self.steps[now] = scores.argmax(), x
        self.t += 1
        return [self._decide(self.t - 1 - self.lag)] if self.t > self.lag else []

    def _decide(self, u: int) -> Decided:
        """Decide step u by the path into the most probable state, and drop all other paths."""
        column = self.paths[:, u % self.n_onsets]
        state = column[self.scores.argmax()]
        if state < self.n_onsets:
            state = self._found(state)
        shares = np.exp(self.scores)
        probability = shares[column == state].sum() / shares.sum()
        self.scores[column != state] = -np.inf
        label = int(state - self.n_onsets)
        self.decided.add(self.steps[u % self.n_onsets], slice(label, label + 1))
        self.n_decided += 1
        delay = -1
        if label != self.label:
            self.n_segments[label] += 1
            led = self.leaders[np.arange(u, self.t) % self.n_onsets] == state
            delay = int(led.argmax()) if led.any() else len(led) - 1
        self.label = label
        return label, float(probability), delay

    def _found(self, onset: int) -> int:
        """Make a new task a known one, and return its state."""
        state = self.n_onsets + self.n_tasks
        self.scores[state], self.scores[onset] = self.scores[onset], -np.inf
        self.own.copy(self.own, state, onset)
        self.paths[state] = self.paths[onset]
        self.paths[self.paths == onset] = state
        self.leaders[self.leaders == onset] = state
        self.n_tasks += 1
        return state
