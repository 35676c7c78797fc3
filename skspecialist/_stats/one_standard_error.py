"""Standard errors of means, and the one-standard-error rule."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["standard_error", "tolerated_loss"]


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
