"""Sequences with the tasks that are known of them, and the held-out gain of their structure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from scipy.special import betaln
from tqdm import tqdm

from .._data.tasks import TaskTargets, pad_columns, require_tasks
from .._data.weights import as_counts
from .._stats.model_comparison import tolerated_loss
from ..independence._moments import (
    FoldedMoments,
    Moments,
    WideMoments,
    fold_moments,
    fold_of,
    ridge_in_eigenbasis,
    ridge_path,
)
from ._segments import at_mean, make_segments, to_columns

__all__ = [
    "Gain",
    "GaussianGain",
    "KnownTasks",
    "SegmentedData",
    "StructureGain",
    "TaskGain",
    "choose_segments",
    "task_columns",
]

# Range of segment_length="auto", and folds that choose it.
LONGEST_SEGMENT, N_SPLITS = 10, 5

# Coefficients are estimated from a tenth of the sequences, so that a superfluous column costs
# ten times as much likelihood as with all of them, but from at least ten per column.
FRACTION_TO_FIT, SEQUENCES_PER_COLUMN = 0.1, 10

# Ridge penalties relative to the mean eigenvalue of the predictors' scatter: from practically
# least squares to practically no predictors.
PENALTIES = np.logspace(-6, 4, 41)


class Gain(Protocol):
    """Model whose gain is the held-out log-likelihood gain, in nats per sequence."""

    def gain(self, moments: Any) -> float: ...


def task_columns(identifier: Any, y: Any, X: np.ndarray, *, held_out: bool = False) -> np.ndarray:
    """Return the columns of the tasks of an identifier, shape (n_sequences, n_columns)."""
    targets: TaskTargets | None = identifier._targets
    if targets is None:
        return np.empty((len(X), 0))
    require_tasks(y, identifier)
    if held_out:
        targets.split(y, like=X)
    return targets.to_columns(y, held_out=held_out)[0]


@dataclass(frozen=True)
class SegmentedData:
    """Statistics of flat sequences beside the columns of their tasks, with segments.

    Attributes
    ----------
    folded : FoldedMoments or WideMoments
        Statistics of the columns, missing steps imputed by their mean.
    segments : ndarray of shape (n_segments, 2)
        First step of each segment and the step after its last.
    n_timesteps, n_features : int
        Number of steps, and of features of a step.
    task_columns : ndarray of shape (n_tasks, width)
        Columns of each task, padded with -1.
    X : ndarray of shape (n_sequences, n_timesteps * n_features) or None
        The sequences of all folds, with NaN for missing steps; None if only their
        statistics were kept.
    tasks : ndarray of shape (n_sequences, n_task_columns) or None
        The columns of the tasks.
    has_missing : bool
        Whether ``X`` has NaN.
    groups : ndarray of int of shape (n_sequences,) or None
        Group of each sequence; none is in two folds.
    weights : ndarray of shape (n_sequences,) or None
        Number of sequences that each one stands for; None is one.
    lifted : Lifted or None
        Moments of basis functions, of more sequences than memory has room for.
    """

    folded: FoldedMoments | WideMoments
    segments: np.ndarray
    n_timesteps: int
    n_features: int
    task_columns: np.ndarray
    X: np.ndarray | None = None
    tasks: np.ndarray | None = None
    has_missing: bool = False
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None
    lifted: Any = None

    @classmethod
    def from_arrays(
        cls,
        X: np.ndarray,
        tasks: np.ndarray,
        owned: Sequence[np.ndarray],
        segments: np.ndarray,
        groups: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> Self:
        """Build from sequences (n_sequences, n_timesteps, n_features), with NaN for missing.

        ``owned`` has the columns of ``tasks`` that belong to each task.
        """
        flat = X.reshape(len(X), -1)
        filled = at_mean(flat, weights=weights)
        folded = fold_moments(filled, tasks, groups, weights)
        shape = X.shape[1], X.shape[2]
        statistics = cls.from_statistics(folded, shape, owned, segments)
        missing = filled is not flat
        return replace(
            statistics, X=flat, tasks=tasks, has_missing=missing, groups=groups, weights=weights
        )

    @classmethod
    def from_statistics(
        cls,
        folded: FoldedMoments | WideMoments,
        shape: tuple[int, int],
        owned: Sequence[np.ndarray],
        segments: np.ndarray,
    ) -> Self:
        """Build from the statistics of sequences of ``shape`` (n_timesteps, n_features)."""
        return cls(folded, segments, *shape, pad_columns(owned, shape[0] * shape[1]))

    @property
    def moments(self) -> Moments | WideMoments:
        """Statistics of all columns over all sequences."""
        return self.folded.total

    @cached_property
    def data(self) -> np.ndarray | None:
        """All columns of the sequences of these folds, for tests that need the samples."""
        if self.X is None or self.tasks is None:
            return None
        rows = self.rows
        return np.hstack([self.X[rows], self.tasks[rows]], dtype=np.float64)

    @property
    def rows(self) -> np.ndarray:
        """Mask of the sequences of these folds, of shape (n_sequences,)."""
        assert self.X is not None
        units = np.arange(len(self.X)) if self.groups is None else self.groups
        return np.isin(fold_of(units, self.folded.n_folds), list(self.folded.folds))

    def with_segments(self, segments: np.ndarray) -> Self:
        """Return the same sequences with other segments."""
        return replace(self, segments=segments)

    def subset(self, folds: Collection[int]) -> Self:
        """Return the sequences of some folds only."""
        own = {} if self.lifted is None else self.lifted.sample()
        return replace(self, folded=self.folded.subset(folds), **own)


@dataclass(frozen=True)
class KnownTasks:
    """Tasks that are known of the same sequences, and these sequences.

    Attributes
    ----------
    tasks : ndarray of int
        Indices of the tasks.
    columns : ndarray of int
        Their columns among those of all tasks.
    data : SegmentedData
        The sequences, with the columns of these tasks only.
    """

    tasks: np.ndarray
    columns: np.ndarray
    data: SegmentedData

    @classmethod
    def split(
        cls,
        X: np.ndarray,
        tasks: np.ndarray,
        targets: TaskTargets | None,
        segments: np.ndarray,
        groups: np.ndarray | None,
        weights: np.ndarray | None = None,
    ) -> list[Self]:
        """Return one part per pattern of missing values, from the most to the fewest sequences.

        A missing value costs its own task one sequence, and the others nothing. Tasks without
        columns, of which nothing can be learned, are in none of the parts. Weights, of shape
        (n_sequences, n_tasks), are parts of the pattern, and zero is a missing value.
        """
        if targets is None:
            every = np.arange(0)
            own_weights = None if weights is None else as_counts(weights[:, 0])[0]
            data = SegmentedData.from_arrays(X, tasks, [], segments, groups, own_weights)
            return [cls(every, every, data)]
        owned, learned = targets.groups, np.flatnonzero(targets.learned)
        known = ~np.isnan(tasks[:, [owned[j][0] for j in learned]])
        if weights is not None:
            known = known * weights[:, learned]
        parts = []
        for pattern in np.unique(known, axis=1).T[::-1]:
            chosen = learned[(known == pattern[:, None]).all(axis=0)]
            columns = np.concatenate([owned[j] for j in chosen])
            stops = np.cumsum([len(owned[j]) for j in chosen])
            own = [
                np.arange(stop - len(owned[j]), stop) for j, stop in zip(chosen, stops, strict=True)
            ]
            rows = slice(None) if pattern.all() else pattern > 0
            counts = None if weights is None else as_counts(pattern[rows])[0]
            if counts is not None and (counts == 1).all():
                counts = None
            labels = None if groups is None else np.unique(groups[rows], return_inverse=True)[1]
            values = tasks[rows][:, columns]
            data = SegmentedData.from_arrays(X[rows], values, own, segments, labels, counts)
            parts.append(cls(chosen, columns, data))
        return sorted(parts, key=lambda part: -part.data.moments.n)

    @classmethod
    def complete(
        cls,
        folded: FoldedMoments,
        shape: tuple[int, int],
        targets: TaskTargets | None,
        segments: np.ndarray,
    ) -> list[Self]:
        """Return the only part, if there are statistics of sequences whose tasks are all known."""
        owned = [] if targets is None else targets.groups
        data = SegmentedData.from_statistics(folded, shape, owned, segments)
        return [cls(np.arange(len(owned)), np.arange(sum(map(len, owned))), data)]

    def find(self, identifier: Any) -> Any:
        """Find the structure of these tasks, and its frequency in half-samples."""
        criterion, n_subsamples = identifier.criterion_, identifier.n_subsamples
        result = criterion.find(self.data, identifier)
        if n_subsamples is None:
            n_subsamples = criterion.default_n_subsamples
        frequency = np.full(result.structure.shape, np.nan)
        if n_subsamples > 0:
            frequency = criterion.selection_frequency(self.data, result, identifier, n_subsamples)
        return replace(result, selection_frequency=frequency)


@dataclass(frozen=True)
class TaskGain:
    """Held-out gain of tasks that are known of the same sequences.

    Attributes
    ----------
    columns : ndarray of int
        Columns of the tasks among those of all tasks.
    means : ndarray of shape (n_timesteps * n_features,)
        Means of these sequences, at which missing steps of others are imputed, so that the
        score of a sequence is its own.
    model : Gain
        Fitted model; a :class:`StructureGain` if tasks are observed.
    """

    columns: np.ndarray
    means: np.ndarray
    model: Any

    @classmethod
    def fit(cls, known: KnownTasks, result: Any, identifier: Any) -> Self:
        """Fit the model of the gain of a structure."""
        model: Gain = identifier.criterion_.gain(known.data, result)
        width = known.data.n_timesteps * known.data.n_features
        return cls(known.columns, known.data.moments.mean[:width], model)

    def score(self, X: np.ndarray, tasks: np.ndarray, weights: np.ndarray | None) -> float:
        """Return the mean gain of new flat sequences, of which some tasks may be missing."""
        X, tasks = at_mean(X, self.means), tasks[:, self.columns]
        if not np.isnan(tasks).any():
            return float(self.model.gain(fold_moments(X, tasks, weights=weights).total))
        total = -self.model.cost
        for gain in self.model.gains:
            known = ~np.isnan(tasks[:, gain.responses - X.shape[1]]).any(axis=1)
            if known.any():
                filled = np.nan_to_num(tasks[known])
                own = None if weights is None else weights[known]
                total += gain.gain(fold_moments(X[known], filled, weights=own).total)
        return float(total)


class StructureGain:
    """Log-likelihood gain of the tasks from their steps, per sequence.

    A task is predicted from its steps and from the step after each run of them, which may
    be driven by its last action. Superfluous steps therefore gain no likelihood, but cost
    that of their estimated coefficients. As the coefficients are estimated from a tenth of
    the sequences, the cost separates such a structure from the true one: this split is
    consistent for model selection, whereas leave-one-out is not [1]_. The code length of
    the segments of each task is subtracted, divided by the number of sequences: of two
    structures with the same steps, the one with fewer segments is better.

    Parameters
    ----------
    data : SegmentedData
        Sequences and tasks.
    structure : ndarray of bool of shape (n_segments, n_tasks)
        Relevant segments of each task.

    References
    ----------
    .. [1] J. Shao, "Linear model selection by cross-validation", Journal of the American
       Statistical Association 88, 1993.
    """

    def __init__(self, data: SegmentedData, structure: np.ndarray) -> None:
        n_columns = len(data.moments.mean)
        moments = data.folded.part(
            max(int(FRACTION_TO_FIT * data.moments.n), SEQUENCES_PER_COLUMN * n_columns)
        )
        n_segments, n_relevant = len(structure), structure.sum(axis=0)
        # log binom(K, k), the nats that encode which k of K segments are relevant.
        code_lengths = -np.log(n_segments + 1) - betaln(n_segments - n_relevant + 1, n_relevant + 1)
        self.cost = float(code_lengths.sum()) / data.moments.n
        self.gains = []
        for relevant, columns in zip(structure.T, data.task_columns, strict=True):
            steps = np.zeros(data.n_timesteps + 1, dtype=bool)
            for first, stop in data.segments[relevant]:
                steps[first : stop + 1] = True  # and the step after the segment
            predictors = to_columns(np.flatnonzero(steps[:-1])[None], data.n_features)[0]
            self.gains.append(GaussianGain(predictors, columns[columns >= 0]).fit(moments))

    def gain(self, moments: Any) -> float:
        """Return the mean gain of new sequences, summed over tasks."""
        return float(sum(gain.gain(moments) for gain in self.gains)) - self.cost


class GaussianGain:
    """Log-likelihood gain of a task from predictors, per sample.

    The task's columns given the predictors are Gaussian with a linear mean; the ridge
    penalty is chosen by generalized cross-validation [1]_. Everything is computed from
    sufficient statistics.

    Parameters
    ----------
    predictors : ndarray of int of shape (n_predictors,)
        Columns that predict the task; the gain is zero without any.
    responses : ndarray of int of shape (n_responses,)
        Columns of the task.

    References
    ----------
    .. [1] G. H. Golub, M. Heath & G. Wahba, "Generalized cross-validation as a method
       for choosing a good ridge parameter", Technometrics 21, 1979.
    """

    def __init__(self, predictors: np.ndarray, responses: np.ndarray) -> None:
        self.predictors, self.responses = predictors, responses

    def _own(self, moments: Any) -> tuple[Moments, np.ndarray, np.ndarray]:
        """Return the statistics of predictors and responses, and their places in them."""
        columns = np.concatenate([self.predictors, self.responses])
        places = np.arange(len(columns))
        x, y = places[: len(self.predictors)], places[len(self.predictors) :]
        return moments.columns(columns), x, y

    def fit(self, moments: Any) -> Self:
        """Fit from the statistics of the training data."""
        n = moments.n
        total, unit, values, projected, solve, back = self._spectrum(moments)

        best = np.inf
        self.coef_ = np.zeros((len(self.predictors), len(self.responses)))
        self.covariance_, freedom = total / max(n - 1, 1), 0.0
        mean = values.sum() / max(len(self.predictors), 1)
        for penalty in PENALTIES * mean if len(values) else ():
            penalty = max(penalty, 1e-300)
            # Residuals of ridge coefficients c: Y'Y - (X'Y)'c - penalty c'c.
            coef = solve(penalty)
            residual = total - projected.T @ coef - penalty * (coef.T @ coef)
            # n minus the trace of the hat matrix, one of which is the mean's.
            freedom = n - 1 - (values / (values + penalty)).sum()
            if freedom <= 1.0:
                continue
            # Generalized cross-validation [1], up to a constant.
            criterion = np.trace(residual) / freedom**2
            if criterion < best:
                best, chosen = criterion, coef
                self.covariance_ = residual / freedom
        if best < np.inf:
            self.coef_ = unit[:, None] * back(chosen)
        self.null_covariance_ = total / max(n - 1, 1)
        return self

    def _spectrum(self, moments: Any) -> tuple[Any, ...]:
        """Set the means, and return the scatter of the task's columns, the scales of the
        predictors, the eigenvalues of their scatter, and their products with the task in a basis
        in which ridge regression is quick, with functions that solve it and that map back.
        """
        if isinstance(moments, WideMoments) and moments.n < len(self.predictors):
            # With fewer sequences than predictors, their Gram matrix has the same spectrum.
            rows = moments.rows_of(np.concatenate([self.predictors, self.responses]))
            w = moments.own_weights
            self.mean_ = np.average(rows, axis=0, weights=w)
            rows = (rows - self.mean_) * (1.0 if w is None else np.sqrt(w)[:, None])
            A, Y = np.split(rows, [len(self.predictors)], axis=1)
            unit = _inverse(np.sqrt((A * A).sum(axis=0) / moments.n))
            A = A * unit
            values, U = np.linalg.eigh(A @ A.T)
            kept = values > 1e-12 * max(values[-1], 1e-300)
            values, U = values[kept], U[:, kept]
            roots = np.sqrt(values)
            path = ridge_in_eigenbasis(values, (A.T @ U) / roots, roots[:, None] * (U.T @ Y))
            return Y.T @ Y, unit, *path
        moments, x, y = self._own(moments)
        self.mean_ = moments.mean
        # Predictors have unit variance, so that the penalty does not depend on their units.
        unit = _inverse(np.sqrt(np.diag(moments.scatter)[x] / moments.n))
        scatter = moments.scatter[np.ix_(x, x)] * unit[:, None] * unit
        products = moments.scatter[np.ix_(x, y)] * unit[:, None]
        return moments.scatter[np.ix_(y, y)], unit, *ridge_path(scatter, products)

    def gain(self, moments: Any) -> float:
        """Return the mean gain of held-out samples, from their statistics."""
        moments, x, y = self._own(moments)
        # Second moments about the means of the training data, which the model predicts from.
        offset = moments.mean - self.mean_
        second = moments.scatter + moments.n * np.outer(offset, offset)
        total, cross = second[np.ix_(y, y)], second[np.ix_(x, y)].T @ self.coef_
        explained = self.coef_.T @ second[np.ix_(x, x)] @ self.coef_
        residual, null = total - cross - cross.T + explained, self.null_covariance_
        # One floor keeps both densities finite: they agree on a class that the training data lack.
        floor = 1e-12 * (np.trace(null) / len(null) or 1.0)
        gained = _log_density(residual / moments.n, self.covariance_, floor)
        return gained - _log_density(total / moments.n, null, floor)


def _inverse(spread: np.ndarray) -> np.ndarray:
    """Return inverse scales, 0 for a constant column."""
    return np.where(spread > 0, 1.0 / np.where(spread > 0, spread, 1.0), 0.0)


def _log_density(second: np.ndarray, covariance: np.ndarray, floor: float) -> float:
    """Return the mean log-density, up to a constant, of residuals with these second moments."""
    cholesky = np.linalg.cholesky(covariance + floor * np.eye(len(covariance)))
    whitened = np.linalg.solve(cholesky, np.linalg.solve(cholesky, second).T)
    return float(-0.5 * np.trace(whitened) - np.log(np.diag(cholesky)).sum())


def choose_segments(identifier: Any, parts: Sequence[SegmentedData]) -> np.ndarray:
    """Return the segments of the shortest length within one standard error of the best.

    Parameters
    ----------
    identifier : TaskStructureIdentifier
        Estimator whose criterion is fitted to each training fold.
    parts : sequence of SegmentedData
        Tasks, and the sequences of which they are known.

    Returns
    -------
    segments : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    """
    n_timesteps = parts[0].n_timesteps
    longest = max(min(LONGEST_SEGMENT, n_timesteps // 2), 1)
    candidates = [make_segments(n_timesteps, length) for length in range(1, longest + 1)]
    gains = np.array(
        [
            np.sum([_held_out_gains(identifier, d.with_segments(segments)) for d in parts], axis=0)
            for segments in tqdm(
                candidates, desc="segment lengths", disable=not identifier.verbose, leave=False
            )
        ]
    )
    means = gains.mean(axis=1)
    best = gains[np.argmax(means)]
    tolerated = tolerated_loss(best, gains - best)
    return candidates[int(np.argmax(means >= means.max() - tolerated))]


def _held_out_gains(identifier: Any, data: SegmentedData) -> list[float]:
    """Return the gain on each held-out fold of the structure of the others."""
    gains = []
    for training_folds, held_out in data.folded.splits(N_SPLITS):
        training = data.subset(training_folds)
        result = identifier.criterion_.find(training, identifier)
        gains.append(identifier.criterion_.gain(training, result).gain(held_out))
    return gains
