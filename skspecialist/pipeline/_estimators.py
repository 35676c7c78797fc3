"""Estimators of single tasks, and their losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import huber, log_softmax
from sklearn.base import clone, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .._data.tasks import Task
from .._data.validation import naming
from ..exceptions import warn

__all__ = ["chance_estimator", "fit_estimator", "prepare", "sample_losses"]

# Of the task's scale: 95 % efficient for normal errors (Huber 1964).
HUBER_DELTA = 1.35
SHARPNESS = (-5.0, 5.0)  # logarithms of the inverse temperatures that are tried


def prepare(part: Any, seed: int) -> Any:
    """Return a clone whose open random states are set."""
    if part is None:
        return None
    part = clone(part)
    seeds = {
        name: seed
        for name, value in part.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    }
    if seeds:  # a frozen estimator has none, and cannot set them
        part.set_params(**seeds)
    return part


def fit_estimator(
    estimator: Any, task: Task, features: np.ndarray, values: np.ndarray, seed: int
) -> Any:
    """Return a fitted estimator of one task; None is the default for its kind."""
    if estimator is None:
        estimator = make_pipeline(
            StandardScaler(),
            LogisticRegression(max_iter=1000)
            if task.is_classification
            else RidgeCV(alphas=np.logspace(-2, 5, 15)),
        )
    elif task.is_classification and is_regressor(estimator):
        warn(
            f"Task {task.name!r} has class labels, but the estimator is a regressor: write "
            "y.astype(float) if they are amounts."
        )
    return prepare(estimator, seed).fit(features, values)


def chance_estimator(task: Task) -> Any:
    """Return an unfitted estimator that reads no feature."""
    return DummyClassifier(strategy="prior") if task.is_classification else DummyRegressor()


def sample_losses(
    loss: str | Callable[..., Any],
    task: Task,
    estimator: Any,
    features: np.ndarray,
    truth: np.ndarray,
) -> np.ndarray:
    """Return the loss of each sample, shape (n_samples,).

    Log loss for class labels, at the temperature that suits these samples best, or the share
    of errors without probabilities. Of continuous tasks the squared error in units of the
    variance, or what ``loss`` says, in units of the scale.

    Raises
    ------
    ValueError
        If a callable does not return one finite loss for each sample.
    """
    if callable(loss):
        with naming("loss"):
            losses = np.asarray(loss(truth, estimator.predict(features)), dtype=float)
        if losses.shape != truth.shape or not np.isfinite(losses).all():
            raise ValueError(
                f"loss must return one finite value for each sample, shape {truth.shape}, "
                f"got {losses.shape}, {np.isfinite(losses).sum()} of them finite."
            )
        return losses
    if task.is_classification:
        return _log_loss(task, estimator, features, truth)
    errors = (truth - estimator.predict(features)) / task.scale
    if loss == "huber":
        return np.asarray(huber(HUBER_DELTA, errors))
    if loss == "pinball":
        quantile = _quantile(estimator)
        return np.asarray(np.maximum(quantile * errors, (quantile - 1) * errors))
    return np.asarray(errors**2)


def _log_loss(task: Task, estimator: Any, features: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if not hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict(features) != truth, dtype=float)
    probabilities = np.zeros((len(truth), task.n_classes))
    # A class may be missing from the part of the data that the estimator saw.
    probabilities[:, task.encode(estimator.classes_)] = estimator.predict_proba(features)
    return _tempered(np.log(np.maximum(probabilities, np.finfo(float).eps)), task.encode(truth))


def _tempered(logits: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return log losses at the temperature of the least mean loss.

    It changes no predicted label. An estimator is too sure of latents that were learned from
    the same sequences as itself, which would count against them.
    """

    def losses(sharpness: float) -> np.ndarray:
        each = log_softmax(np.exp(sharpness) * logits, axis=1)
        return np.asarray(-each[np.arange(len(codes)), codes])

    best = minimize_scalar(lambda value: losses(value).mean(), bounds=SHARPNESS, method="bounded")
    return losses(best.x)


def _quantile(estimator: Any) -> float:
    """Return the quantile that an estimator, or the last step of one, predicts."""
    values = [
        value
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "quantile" and value is not None
    ]
    return float(values[0]) if values else 0.5
