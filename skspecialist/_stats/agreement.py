"""Agreement of estimates with a reference: matched tasks, and nonlinear probes."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["cross_fitted_r2", "match_tasks"]

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


def match_tasks(reference: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the tasks found in the order of the reference tasks that they agree with most.

    Parameters
    ----------
    reference : ndarray of bool of shape (n_segments, n_tasks)
        Structure whose tasks give the order.
    found : ndarray of bool of shape (n_segments, n_found)
        Structure whose tasks have no order.

    Returns
    -------
    matched : ndarray of bool of shape (n_segments, max(n_tasks, n_found))
        The tasks of ``found``; a task without a partner is last, a reference task without
        a partner is matched with an empty one.
    """
    width = max(reference.shape[1], found.shape[1])
    reference, found = (
        np.pad(structure, ((0, 0), (0, width - structure.shape[1])))
        for structure in (reference, found)
    )
    agreement = (reference[:, :, None] == found[:, None, :]).sum(axis=0)
    return found[:, linear_sum_assignment(agreement, maximize=True)[1]]
