"""Estimators of single tasks, and their losses on held-out sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import huber, log_softmax
from sklearn.base import clone, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor

from .._data.tasks import Task
from .._data.validation import as_array
from .._stats.model_comparison import best_sharpness
from ..exceptions import warn

__all__ = [
    "clone_with_seed",
    "fit_estimator",
    "null_estimator",
    "pinball_quantile",
    "predict_scores",
    "predict_values",
    "sample_losses",
]

# In standard deviations of the task; 1.345 is 95 % efficient for normal errors [Huber 1964].
HUBER_DELTA = 1.35


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
    """Return a fitted clone of the estimator of one task, of the null model for one value."""
    if (values == values[0]).all():
        return null_estimator(task).fit(features, values)
    if task.is_classification and is_regressor(estimator):
        warn(
            f"Task {task.name!r} has class labels, but the estimator is a regressor: write "
            "y.astype(float) if they are amounts."
        )
    return clone_with_seed(estimator, seed).fit(features, values)


def null_estimator(task: Task) -> Any:
    """Return the unfitted null model: the mean, or the frequencies of the classes."""
    return DummyClassifier(strategy="prior") if task.is_classification else DummyRegressor()


def predict_scores(estimator: Any, task: Task, features: np.ndarray) -> np.ndarray:
    """Return amounts (n_samples, 1), or probabilities of the classes (n_samples, n_classes).

    A classifier without ``predict_proba`` gives its class the probability 1. A class that is
    missing from the data that the estimator was fitted to has the probability 0.
    """
    if not task.is_classification or is_regressor(estimator):
        return np.asarray(estimator.predict(features), dtype=float).reshape(-1, 1)
    if not hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict(features)[:, None] == task.classes, dtype=float)
    probabilities = np.zeros((len(features), task.n_classes))
    probabilities[:, task.encode(estimator.classes_)] = estimator.predict_proba(features)
    return probabilities


def sample_losses(
    loss: str | Callable[..., Any],
    task: Task,
    scores: np.ndarray,
    truth: np.ndarray,
    quantile: float = 0.5,
) -> np.ndarray:
    """Return the loss of each sample, shape (n_samples,).

    For class labels it is the log loss at the temperature of the least mean loss on these
    samples. For continuous tasks it is the squared error in units of the variance, or
    ``loss`` of errors in units of the standard deviation.

    Parameters
    ----------
    loss : str or callable
        Parameter of :class:`SpecialistPipeline`.
    task : Task
        The task.
    scores : ndarray of shape (n_samples, 1) or (n_samples, n_classes)
        As :func:`predict_scores` returns them.
    truth : ndarray of shape (n_samples,)
        Values of the task.
    quantile : float, default=0.5
        Quantile of the pinball loss.

    Raises
    ------
    ValueError
        If a callable does not return one finite loss for each sample.
    """
    if callable(loss):
        return _callable_losses(loss, truth, predict_values(task, scores))
    if task.is_classification and scores.shape[1] > 1:
        logits = np.log(np.maximum(scores, np.finfo(float).eps))
        return _tempered(logits, task.encode(truth))
    errors = (truth.astype(float) - scores[:, 0]) / task.scale
    if loss == "huber":
        return np.asarray(huber(HUBER_DELTA, errors))
    if loss == "pinball":
        return np.asarray(np.maximum(quantile * errors, (quantile - 1) * errors))
    return np.asarray(errors**2)


def predict_values(task: Task, scores: np.ndarray) -> np.ndarray:
    """Return amounts, or the most probable classes."""
    if task.classes is None or scores.shape[1] == 1:
        return scores[:, 0]
    return np.asarray(task.classes[scores.argmax(axis=1)])


def _callable_losses(
    loss: Callable[..., Any], truth: np.ndarray, prediction: np.ndarray
) -> np.ndarray:
    losses = as_array(loss(truth, prediction), "loss", dtype=float)
    if losses.shape != truth.shape or not np.isfinite(losses).all():
        raise ValueError(
            f"loss must return one finite value for each sample, shape {truth.shape}, "
            f"got {losses.shape}, {np.isfinite(losses).sum()} of them finite."
        )
    return losses


def _tempered(logits: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return log losses at the temperature of the least mean loss [1]_.

    A temperature changes no predicted label. It removes the overconfidence of an estimator in
    latents that were learned from the same sequences, which would count against them.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural
       networks", ICML 2017.
    """
    log_probabilities = log_softmax(np.exp(best_sharpness(logits, codes)) * logits, axis=1)
    return np.asarray(-log_probabilities[np.arange(len(codes)), codes])


def pinball_quantile(estimator: Any) -> float:
    """Return the ``quantile`` of an estimator or a part of it, the median without one."""
    values = [
        value
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "quantile" and value is not None
    ]
    return float(values[0]) if values else 0.5
