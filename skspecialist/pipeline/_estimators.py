"""Estimators of single tasks, and their losses on held-out sequences."""

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
from .._data.validation import as_array
from ..exceptions import warn

__all__ = ["clone_with_seed", "fit_estimator", "null_estimator", "sample_losses"]

# In standard deviations of the task; 1.345 is 95 % efficient for normal errors [Huber 1964].
HUBER_DELTA = 1.35
# Range of the logarithm of the inverse temperature: factors of 150 either way.
LOG_SHARPNESS = (-5.0, 5.0)


def clone_with_seed(part: Any, seed: int) -> Any:
    """Return a clone, with a seed for every ``random_state`` that is None."""
    if part is None:
        return None
    part = clone(part)
    seeds = {
        name: seed
        for name, value in part.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    }
    if seeds:  # a frozen estimator has no parameters to set
        part.set_params(**seeds)
    return part


def fit_estimator(
    estimator: Any, task: Task, features: np.ndarray, values: np.ndarray, seed: int
) -> Any:
    """Return a fitted estimator of one task; None is the default for the kind of the task."""
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
    return clone_with_seed(estimator, seed).fit(features, values)


def null_estimator(task: Task) -> Any:
    """Return the unfitted null model: the mean, or the frequencies of the classes."""
    return DummyClassifier(strategy="prior") if task.is_classification else DummyRegressor()


def sample_losses(
    loss: str | Callable[..., Any],
    task: Task,
    estimator: Any,
    features: np.ndarray,
    truth: np.ndarray,
) -> np.ndarray:
    """Return the loss of each sample, shape (n_samples,).

    For class labels it is the log loss at the temperature of the least mean loss on these
    samples, or the zero-one loss of an estimator without probabilities. For continuous tasks
    it is the squared error in units of the variance, or ``loss`` of errors in units of the
    standard deviation.

    Raises
    ------
    ValueError
        If a callable does not return one finite loss for each sample.
    """
    if callable(loss):
        losses = as_array(loss(truth, estimator.predict(features)), "loss", dtype=float)
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
    # A class may be missing from the data that the estimator was fitted to.
    probabilities[:, task.encode(estimator.classes_)] = estimator.predict_proba(features)
    return _tempered(np.log(np.maximum(probabilities, np.finfo(float).eps)), task.encode(truth))


def _tempered(logits: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return log losses at the temperature of the least mean loss [1]_.

    A temperature changes no predicted label. It removes the overconfidence of an estimator in
    latents that were learned from the same sequences, which would count against them.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural
       networks", ICML 2017.
    """

    def losses(sharpness: float) -> np.ndarray:
        log_probabilities = log_softmax(np.exp(sharpness) * logits, axis=1)
        return np.asarray(-log_probabilities[np.arange(len(codes)), codes])

    best = minimize_scalar(
        lambda value: losses(value).mean(), bounds=LOG_SHARPNESS, method="bounded"
    )
    return losses(best.x)


def _quantile(estimator: Any) -> float:
    """Return the ``quantile`` of an estimator or a part of it, the median without one."""
    values = [
        value
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "quantile" and value is not None
    ]
    return float(values[0]) if values else 0.5
