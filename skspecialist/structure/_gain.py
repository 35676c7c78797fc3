"""How much a structure says about the tasks, in nats."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy.special import betaln

from .._stats.moments import Moments
from ._segmented import SegmentedData
from ._segments import to_columns

__all__ = ["GaussianGain", "StructureGain"]

# Coefficients come from a tenth of the sequences, but from ten for each column.
SHARE_TO_FIT, SEQUENCES_PER_COLUMN = 0.1, 10

# Shares of the mean variance of the predictors that the ridge penalty may have.
PENALTIES = np.logspace(-6, 4, 41)


class StructureGain:
    """Log-likelihood that the tasks gain from their steps, per sequence.

    A task is predicted from its steps and from the step after each run of them, which
    its last action may have driven. So a structure with superfluous steps gains nothing
    by them, and pays for their coefficients; as these come from a tenth of the
    sequences, it pays enough to be told from the true one. That such a split is
    consistent for selection, where leaving one out is not, is shown in [1]_. The nats that
    it takes to say which of its segments a task has are taken off, spread over the
    sequences: of two structures with the same steps the one of fewer segments is better.

    Parameters
    ----------
    problem : SegmentedData
        The sequences.
    structure : ndarray of bool of shape (n_segments, n_tasks)
        The segments of each task.

    References
    ----------
    .. [1] J. Shao, "Linear model selection by cross-validation", Journal of the American
       Statistical Association 88, 1993.
    """

    def __init__(self, problem: SegmentedData, structure: np.ndarray) -> None:
        n_columns = len(problem.moments.mean)
        moments = problem.folded.part(
            max(int(SHARE_TO_FIT * problem.moments.n), SEQUENCES_PER_COLUMN * n_columns)
        )
        n_segments, n_relevant = len(structure), structure.sum(axis=0)
        names = -np.log(n_segments + 1) - betaln(n_segments - n_relevant + 1, n_relevant + 1)
        self.cost = float(names.sum()) / problem.moments.n
        self.gains = []
        for relevant, columns in zip(structure.T, problem.task_columns, strict=True):
            steps = np.zeros(problem.n_timesteps + 1, dtype=bool)
            for first, stop in problem.segments[relevant]:
                steps[first : stop + 1] = True
            predictors = to_columns(np.flatnonzero(steps[:-1])[None], problem.n_features)[0]
            self.gains.append(GaussianGain(predictors, columns[columns >= 0]).fit(moments))

    def gain(self, moments: Moments) -> float:
        """Return the mean gain of new sequences, summed over tasks."""
        return float(sum(gain.gain(moments) for gain in self.gains)) - self.cost


class GaussianGain:
    """Log-likelihood that a task gains from some columns, per sample.

    The task's columns given the predictors are Gaussian with a linear mean; the ridge
    penalty is chosen by generalized cross-validation [1]_. All of it is computed from
    sufficient statistics, so that the data are not needed twice.

    Parameters
    ----------
    predictors : ndarray of int of shape (n_predictors,)
        Columns that speak for the task; may be empty, the gain is then zero.
    responses : ndarray of int of shape (n_responses,)
        The task's columns.

    References
    ----------
    .. [1] G. H. Golub, M. Heath & G. Wahba, "Generalized cross-validation as a method
       for choosing a good ridge parameter", Technometrics 21, 1979.
    """

    def __init__(self, predictors: np.ndarray, responses: np.ndarray) -> None:
        self.predictors, self.responses = predictors, responses

    def fit(self, moments: Moments) -> Self:
        """Fit from the statistics of the training data."""
        x, y = self.predictors, self.responses
        self.mean_ = moments.mean
        total = moments.scatter[np.ix_(y, y)]
        # On unit variances, so that the penalty does not depend on the features' units.
        spread = np.sqrt(np.diag(moments.scatter)[x] / moments.n)
        unit = np.where(spread > 0, 1.0 / np.where(spread > 0, spread, 1.0), 0.0)
        values, vectors = np.linalg.eigh(moments.scatter[np.ix_(x, x)] * unit[:, None] * unit)
        values = np.maximum(values, 0.0)
        projected = vectors.T @ (moments.scatter[np.ix_(x, y)] * unit[:, None])

        best = np.inf
        self.coef_ = np.zeros((len(x), len(y)))
        self.covariance_, freedom = total / max(moments.n - 1, 1), 0.0
        for penalty in PENALTIES * values.mean() if len(x) else ():
            shrunk = 1.0 / (values + max(penalty, 1e-300))
            coef = shrunk[:, None] * projected
            cross = projected.T @ coef
            residual = total - 2 * cross + coef.T @ (values[:, None] * coef)
            freedom = moments.n - 1 - (values * shrunk).sum()
            if freedom <= 1.0:
                continue
            criterion = np.trace(residual) / freedom**2
            if criterion < best:
                best = criterion
                self.coef_ = unit[:, None] * (vectors @ coef)
                self.covariance_ = residual / freedom
        self.null_covariance_ = total / max(moments.n - 1, 1)
        return self

    def gain(self, moments: Moments) -> float:
        """Return the mean gain of the samples of new data, from their statistics."""
        x, y = self.predictors, self.responses
        offset = moments.mean - self.mean_
        second = moments.scatter + moments.n * np.outer(offset, offset)
        total, cross = second[np.ix_(y, y)], second[np.ix_(x, y)].T @ self.coef_
        explained = self.coef_.T @ second[np.ix_(x, x)] @ self.coef_
        return _log_density(
            (total - cross - cross.T + explained) / moments.n, self.covariance_
        ) - _log_density(total / moments.n, self.null_covariance_)


def _log_density(second: np.ndarray, covariance: np.ndarray) -> float:
    """Return the mean log-density, up to a constant, of residuals with these second moments."""
    # A floor keeps a task that the training data explain without error finite.
    floor = 1e-12 * max(np.trace(covariance) / len(covariance), 1e-300)
    cholesky = np.linalg.cholesky(covariance + floor * np.eye(len(covariance)))
    whitened = np.linalg.solve(cholesky, np.linalg.solve(cholesky, second).T)
    return float(-0.5 * np.trace(whitened) - np.log(np.diag(cholesky)).sum())
