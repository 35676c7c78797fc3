"""Nonlinear probes: the variance of columns that others predict."""

from __future__ import annotations

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["cross_fitted_r2"]

MAX_TRAIN = 2000  # rows that a probe learns from: kernel ridge takes their cube in time


def cross_fitted_r2(
    kind: str, inputs: np.ndarray, sources: np.ndarray, order: np.ndarray, seed: int
) -> np.ndarray:
    """Return the R2 of each source, every value predicted from the half that lacks it.

    Parameters
    ----------
    kind : {"kernel", "mlp"}
        The probe.
    inputs : ndarray of shape (n_samples, n_inputs)
        Predictors; without any, all R2 are 0.
    sources : ndarray of shape (n_samples, n_sources)
        Columns to predict.
    order : ndarray of int of shape (n_samples,)
        Random order, whose halves are the two folds.
    seed : int
        Seed of the probe.
    """
    if inputs.shape[1] == 0:
        return np.zeros(sources.shape[1])
    halves = np.array_split(order, 2)
    targets = sources[:, 0] if sources.shape[1] == 1 else sources
    predictions = np.empty_like(targets)
    for train, test in (halves, halves[::-1]):
        train = train[:MAX_TRAIN]
        model = _build_probe(kind, inputs.shape[1], seed).fit(inputs[train], targets[train])
        predictions[test] = model.predict(inputs[test])
    return r2_score(targets, predictions, multioutput="raw_values")


def _build_probe(kind: str, n_latents: int, seed: int) -> TransformedTargetRegressor:
    if kind == "mlp":
        # A gain of less than 0.001 in R2 within 20 epochs is none.
        regressor = MLPRegressor(
            hidden_layer_sizes=(128, 128),
            max_iter=2000,
            tol=1e-3,
            early_stopping=True,
            n_iter_no_change=20,
            validation_fraction=0.2,
            random_state=seed,
        )
    else:
        # Standardized latents are about sqrt(2 n_latents) apart.
        widths = np.array([0.1, 0.3, 1.0]) / n_latents
        grid = {"alpha": [1e-3, 1e-2, 1e-1, 1.0], "gamma": widths}
        folds = KFold(3, shuffle=True, random_state=seed)
        regressor = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=folds)
    return TransformedTargetRegressor(
        make_pipeline(StandardScaler(), regressor), transformer=StandardScaler()
    )
