"""Comparison and convex combination (stacking) of models by held-out losses.

References
----------
.. [1] D. Wolpert, "Stacked generalization", Neural Networks 5, 1992.
.. [2] L. Breiman, "Stacked regressions", Machine Learning 24, 1996: non-negative weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar, nnls
from scipy.special import huber, log_softmax

__all__ = [
    "best_sharpness",
    "log_loss_weights",
    "loss_weights",
    "predict_values",
    "prune_weights",
    "sample_losses",
    "squared_error_weights",
    "standard_error",
    "tolerated_loss",
]

# Weight of the row that makes non-negative least squares sum to one. Columns are in units of
# the target's standard deviation, so that the sum is off by at most about 1e-6.
SUM_PENALTY = 1e3
# Iterations of expectation maximization: the log loss then changes in the sixth digit.
N_ITERATIONS = 200
# Logarithms of the inverse temperatures searched: from nearly uniform to nearly hard.
SHARPNESS = (-5.0, 5.0)
# A probability of zero would make every combination's loss infinite.
SMALLEST = 1e-3
# In standard deviations of the task; 1.345 is 95 % efficient for normal errors [Huber 1964].
HUBER_DELTA = 1.35


def standard_error(values: np.ndarray, groups: np.ndarray | None = None) -> Any:
    """Return the standard error of the mean over the last axis.

    Parameters
    ----------
    values : ndarray of shape (..., n_values)
        Values, such as scores over folds or samples. With ``groups``, one-dimensional.
    groups : ndarray of shape (n_values,), default=None
        Groups of values that may depend on each other. None takes all as independent.

    Returns
    -------
    error : float or ndarray of shape (...)
        Standard error, NaN for fewer than two independent values.

    References
    ----------
    .. [1] K.-Y. Liang and S. L. Zeger, "Longitudinal data analysis using generalized
       linear models", Biometrika 73, 1986: the cluster-robust variance.
    """
    if groups is None:
        n_values = values.shape[-1]
        if n_values < 2:
            return np.full(values.shape[:-1], np.nan)[()]
        return values.std(axis=-1, ddof=1) / np.sqrt(n_values)
    labels, codes = np.unique(groups, return_inverse=True)
    n_groups = len(labels)
    if n_groups < 2:
        return np.nan
    # Dependence within a group is left in its sum; sums of different groups are independent.
    sums = np.bincount(codes, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum() * n_groups / (n_groups - 1)) / len(values))


def tolerated_loss(best: np.ndarray, lost: np.ndarray | None = None) -> Any:
    """Return the mean loss against the best model that is within its standard error [1]_.

    Of the models that lose no more, the one-standard-error rule takes the simplest.

    Parameters
    ----------
    best : ndarray of shape (n_values,)
        Losses or scores of the best model, over folds or samples.
    lost : ndarray of shape (..., n_values), default=None
        Losses of other models less those of the best, value by value.

    Returns
    -------
    tolerated : float or ndarray of shape (...)
        Standard error of the best or, where that is less, of the difference: folds are
        easy or difficult for all models alike, while a model that fails in one fold alone
        has a difference of large standard error. Zero for a single value.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, Classification and Regression
       Trees, Wadsworth 1984.
    """
    error = np.nan_to_num(standard_error(best))
    return error if lost is None else np.minimum(error, np.nan_to_num(standard_error(lost)))


def squared_error_weights(
    predictions: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the convex weights of least squared error.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_candidates)
        Out-of-fold predictions.
    target : ndarray of shape (n_samples,)
        Values that they predict.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weight of each sample; None is one.

    Returns
    -------
    weights : ndarray of shape (n_candidates,)
        Non-negative, of sum one.
    """
    scale = target.std() or 1.0
    root = np.ones(len(target)) if sample_weight is None else np.sqrt(sample_weight)
    # Deviations from the first candidate: with weights of sum one the fit is the same, and
    # the numbers are those of the errors instead of those of the level.
    base = predictions[:, :1]
    rows = (predictions - base) / scale * root[:, None]
    penalty = SUM_PENALTY * np.sqrt(len(target))
    A = np.vstack([rows, np.full(predictions.shape[1], penalty)])
    weights, _ = nnls(A, np.append((target - base[:, 0]) / scale * root, penalty))
    return np.asarray(weights / weights.sum())


def log_loss_weights(
    probabilities: np.ndarray, codes: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the convex weights of least log loss, by expectation maximization.

    The log loss of a mixture is concave in its weights; each step multiplies the weights by
    the mean share of a candidate in the mixture's probability of the true class.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_candidates, n_classes)
        Out-of-fold probabilities.
    codes : ndarray of int of shape (n_samples,)
        True class of each sample.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weight of each sample; None is one.

    Returns
    -------
    weights : ndarray of shape (n_candidates,)
        Non-negative, of sum one.
    """
    likelihood = np.maximum(probabilities[np.arange(len(codes)), :, codes], SMALLEST)
    weights = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(N_ITERATIONS):
        shares = weights * likelihood
        shares /= shares.sum(axis=1, keepdims=True)
        weights = np.average(shares, axis=0, weights=sample_weight)
    return np.asarray(weights)


def loss_weights(loss: Callable[[np.ndarray], float], predictions: np.ndarray) -> np.ndarray:
    """Return the convex weights of least loss, for a loss that is given as a function.

    Parameters
    ----------
    loss : callable
        Mean loss of a combination of shape (n_samples, n_columns).
    predictions : ndarray of shape (n_samples, n_candidates, n_columns)
        Out-of-fold predictions.

    Returns
    -------
    weights : ndarray of shape (n_candidates,)
        Non-negative, of sum one.
    """
    n_candidates = predictions.shape[1]
    # Start from the best candidate alone: the result is never worse than that.
    losses = [loss(predictions[:, k]) for k in range(n_candidates)]
    start = np.eye(n_candidates)[int(np.argmin(losses))]
    result = minimize(
        lambda weights: loss(np.einsum("k,nkc->nc", weights, predictions)),
        0.5 * start + 0.5 / n_candidates,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * n_candidates,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1.0},
    )
    if not result.fun <= min(losses):
        return start
    weights = np.clip(result.x, 0.0, 1.0)
    return np.asarray(weights / weights.sum())


def prune_weights(weights: np.ndarray, threshold: float) -> np.ndarray:
    """Return weights of sum one without those below a threshold."""
    kept = np.where(weights >= min(threshold, weights.max()), weights, 0.0)
    return np.asarray(kept / kept.sum())


def best_sharpness(
    logits: np.ndarray, codes: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """Return the logarithm of the inverse temperature of least log loss [1]_.

    A temperature changes no predicted label. It removes the overconfidence of an estimator in
    latents that were learned from the same sequences, which would count against them.

    Parameters
    ----------
    logits : ndarray of shape (n_samples, n_classes)
        Logarithms of probabilities that the samples themselves did not train.
    codes : ndarray of int of shape (n_samples,)
        True class of each sample.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weight of each sample; None is one.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural
       networks", ICML 2017.
    """

    def loss(sharpness: float) -> float:
        scaled = log_softmax(np.exp(sharpness) * logits, axis=1)
        likelihoods = scaled[np.arange(len(codes)), codes]
        return -float(np.average(likelihoods, weights=sample_weight))

    return float(minimize_scalar(loss, bounds=SHARPNESS, method="bounded").x)


def sample_losses(
    loss: str | Callable[..., Any],
    task: Any,
    scores: np.ndarray,
    truth: np.ndarray,
    quantile: float = 0.5,
) -> np.ndarray:
    """Return the loss of each sample, shape (n_samples,).

    For class labels it is the log loss. For continuous tasks it is the squared error in units
    of the variance, or ``loss`` of errors in units of the standard deviation.

    Parameters
    ----------
    loss : str or callable
        Parameter of :class:`SpecialistPipeline`.
    task : Task
        The task.
    scores : ndarray of shape (n_samples, 1) or (n_samples, n_classes)
        Amounts, or probabilities of the classes.
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
        likelihood = scores[np.arange(len(truth)), task.encode(truth).astype(int)]
        return np.asarray(-np.log(np.maximum(likelihood, np.finfo(float).eps)))
    errors = (truth.astype(float) - scores[:, 0]) / task.scale
    if loss == "huber":
        return np.asarray(huber(HUBER_DELTA, errors))
    if loss == "pinball":
        return np.asarray(np.maximum(quantile * errors, (quantile - 1) * errors))
    return np.asarray(errors**2)


def predict_values(task: Any, scores: np.ndarray) -> np.ndarray:
    """Return amounts, or the most probable classes."""
    if task.classes is None or scores.shape[1] == 1:
        return scores[:, 0]
    return np.asarray(task.classes[scores.argmax(axis=1)])


def _callable_losses(
    loss: Callable[..., Any], truth: np.ndarray, prediction: np.ndarray
) -> np.ndarray:
    losses = np.asarray(loss(truth, prediction))
    if losses.dtype.kind not in "fiub":
        raise ValueError(f"loss must return numbers, got {losses.dtype}.")
    if losses.shape != truth.shape or not np.isfinite(losses).all():
        raise ValueError(
            f"loss must return one finite value for each sample, shape {truth.shape}, "
            f"got {losses.shape}, {np.isfinite(losses).sum()} of them finite."
        )
    return losses.astype(float)
