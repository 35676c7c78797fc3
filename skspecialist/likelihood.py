"""How much a structure says about the tasks, in nats."""

from __future__ import annotations

from typing import Self

import numpy as np

from .independence import Moments

__all__ = ["GaussianGain"]

# Shares of the mean variance of the predictors that the ridge penalty may have.
PENALTIES = np.logspace(-6, 4, 41)


class GaussianGain:
    """Log-likelihood that a task gains from some columns, per sample.

    The task's columns given the predictors are Gaussian with a linear mean; the ridge
    penalty is chosen by generalised cross-validation [1]_. All of it is computed from
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

    def gain(self, data: np.ndarray) -> np.ndarray:
        """Return the gain of each sample of new data, shape (n_samples,)."""
        centred = data - self.mean_
        response = centred[:, self.responses]
        residual = response - centred[:, self.predictors] @ self.coef_
        return _log_density(residual, self.covariance_) - _log_density(
            response, self.null_covariance_
        )


def _log_density(residual: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    # A floor keeps a task that the training data explain without error finite.
    floor = 1e-12 * max(np.trace(covariance) / len(covariance), 1e-300)
    cholesky = np.linalg.cholesky(covariance + floor * np.eye(len(covariance)))
    whitened = np.linalg.solve(cholesky, residual.T)
    return -0.5 * (whitened**2).sum(axis=0) - np.log(np.diag(cholesky)).sum()
