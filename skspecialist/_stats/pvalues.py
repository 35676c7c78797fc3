"""Combinations of p-values, and their normal scores."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import combine_pvalues, false_discovery_control, norm

__all__ = ["cauchy_combination", "fisher_combination", "normal_score", "simes_combination"]

# Smaller p-values are the result of underflow; their logarithms and normal scores are finite.
SMALLEST = 1e-300


def cauchy_combination(
    pvalues: np.ndarray, *, largest: float = 1 - 1e-15, valid: np.ndarray | None = None
) -> np.ndarray:
    r"""Combine p-values of any dependence down the first axis [1]_.

    Parameters
    ----------
    pvalues : ndarray of shape (n_pvalues, ...)
        The p-values.
    largest : float, default=1 - 1e-15
        Larger p-values are taken for this one: the term of a p-value of 1 is
        :math:`-\infty`, which would outweigh all others.
    valid : ndarray of bool, of the shape of ``pvalues``, default=None
        Which p-values take part. None is all of them.

    Returns
    -------
    pvalue : ndarray of shape (...)
        Combined p-values, 1 where none takes part.

    References
    ----------
    .. [1] Y. Liu and J. Xie, "Cauchy combination test: a powerful test with analytic
       p-value calculation under arbitrary dependency structures", Journal of the American
       Statistical Association 115, 2020.
    """
    valid = np.ones(pvalues.shape, dtype=bool) if valid is None else valid
    # Each term tan((1/2 - p) pi) is standard Cauchy under the null hypothesis, and so,
    # nearly whatever their dependence, is the upper tail of their mean (theorem 1 of [1]).
    terms = 1.0 / np.tan(np.pi * np.clip(pvalues, SMALLEST, largest))
    counts = valid.sum(axis=0)
    means = np.where(valid, terms, 0.0).sum(axis=0) / np.maximum(counts, 1)
    # The survival function of the Cauchy distribution, accurate in its upper tail.
    return np.where(counts > 0, np.arctan2(1.0, means) / np.pi, 1.0)


def fisher_combination(pvalues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Combine independent p-values down the first axis [1]_.

    Parameters
    ----------
    pvalues : ndarray of shape (n_pvalues, n_tests)
        The p-values, NaN for those that do not take part.

    Returns
    -------
    statistic, pvalue : ndarray of shape (n_tests,)
        :math:`-2 \sum_k \log p_k`, which is :math:`\chi^2_{2K}` under the null hypothesis,
        and its p-value; 0 and 1 where none takes part.

    References
    ----------
    .. [1] R. A. Fisher, "Statistical Methods for Research Workers", 4th edition, 1932.
    """
    with warnings.catch_warnings():
        # scipy warns where all of a test's p-values are NaN.
        warnings.simplefilter("ignore")
        result = combine_pvalues(np.maximum(pvalues, SMALLEST), axis=0, nan_policy="omit")
    none = np.isnan(pvalues).all(axis=0)
    return np.where(none, 0.0, result.statistic), np.where(none, 1.0, result.pvalue)


def simes_combination(pvalues: np.ndarray) -> np.ndarray:
    r"""Combine independent or positively dependent p-values down the first axis [1]_.

    Parameters
    ----------
    pvalues : ndarray of shape (n_pvalues, ...)
        The p-values.

    Returns
    -------
    pvalue : ndarray of shape (...)
        :math:`\min_j m\, p_{(j)} / j` of the m sorted p-values: the least of those that
        Benjamini and Hochberg adjust. 1 if there are none.

    References
    ----------
    .. [1] R. J. Simes, "An improved Bonferroni procedure for multiple tests of
       significance", Biometrika 73, 1986.
    """
    if not len(pvalues):
        return np.ones(pvalues.shape[1:])
    return np.asarray(false_discovery_control(pvalues, axis=0).min(axis=0))


def normal_score(pvalues: np.ndarray) -> np.ndarray:
    """Return a statistic that is large for small p-values, standard normal for uniform ones."""
    return norm.isf(np.clip(pvalues, SMALLEST, 1 - 1e-16))
