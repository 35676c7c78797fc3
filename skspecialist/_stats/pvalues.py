"""Combinations of p-values, their normal scores, and weighted sums of chi-squared variables."""

from __future__ import annotations

import warnings
from math import factorial

import numpy as np
from scipy.optimize import brentq
from scipy.stats import combine_pvalues, false_discovery_control, gamma, norm

__all__ = [
    "cauchy_combination",
    "fisher_combination",
    "hall_buckley_eagleson",
    "lindsay_pilla_basak",
    "normal_score",
    "simes_combination",
]

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


# Gammas of the mixture, as in the lpb4 of the R package momentchi2: eight moments fix four points
# and their weights.
N_POINTS = 4


def hall_buckley_eagleson(x: float, traces: tuple[float, float, float]) -> float:
    """Return P(sum_i w_i chi2_1 > x) by a gamma variable with the same three cumulants.

    Parameters
    ----------
    x : float
        Quantile.
    traces : tuple of float
        Sums of the weights, of their squares and of their cubes.

    Returns
    -------
    probability : float
        Upper tail probability.

    References
    ----------
    .. [1] M. J. Buckley and G. K. Eagleson, "An approximation to the distribution of
       quadratic forms in normal random variables", Australian Journal of Statistics 30,
       1988.
    """
    mean, variance, third = traces[0], 2 * traces[1], 8 * traces[2]
    # The cumulants of sum w_i chi2_1 are 2^(k-1) (k-1)! sum w_i^k. A chi-squared variable of nu
    # degrees of freedom has skewness sqrt(8 / nu), which fixes nu; mean and scale are matched.
    nu = 8 * variance**3 / third**2
    standardized = (x - mean) * np.sqrt(2 * nu / variance) + nu
    return float(gamma.sf(standardized, nu / 2, scale=2))


def lindsay_pilla_basak(x: float, weights: np.ndarray) -> float:
    """Return P(sum_i w_i chi2_1 > x) by a mixture of four gammas with its eight moments.

    Parameters
    ----------
    x : float
        Quantile.
    weights : ndarray
        Positive weights. Fewer than four, or moments that rounding has spoilt, leave
        no such mixture; then three cumulants are matched.

    Returns
    -------
    probability : float
        Upper tail probability.

    References
    ----------
    .. [1] B. G. Lindsay, R. S. Pilla and P. Basak, "Moment-based approximations of
       distributions using mixtures: theory and applications", Annals of the Institute
       of Statistical Mathematics 52, 2000.
    """
    weights = np.asarray(weights, dtype=float)
    total = weights.sum()
    weights, x = weights / total, x / total
    if len(weights) >= N_POINTS:
        try:
            return _gamma_mixture(x, _moments(weights))
        except (ValueError, np.linalg.LinAlgError):
            pass
    return hall_buckley_eagleson(x, tuple((weights**k).sum() for k in (1, 2, 3)))


def _moments(weights: np.ndarray) -> np.ndarray:
    """Return moments 0 to 8 of the weighted sum, from its cumulants."""
    order = 2 * N_POINTS
    # k-th cumulant 2^(k-1) (k-1)! sum w_i^k, then the recursion
    # m_k = sum_j binomial(k-1, j) c_(k-j) m_j.
    cumulants = [2 ** (k - 1) * factorial(k - 1) * (weights**k).sum() for k in range(1, order + 1)]
    moments = np.ones(order + 1)
    for k in range(1, order + 1):
        binomials = [factorial(k - 1) / factorial(j) / factorial(k - 1 - j) for j in range(k)]
        moments[k] = sum(binomials[j] * cumulants[k - 1 - j] * moments[j] for j in range(k))
    return moments


def _gamma_mixture(x: float, moments: np.ndarray) -> float:
    # Gammas of one shape 1 / spread; the mixture over their means has moments
    # m_k / prod_{j<k} (1 + j spread), and as many points as its Hankel matrix has rank.
    spread = moments[2] - 1.0
    # Lindsay, Pilla and Basak 2000: the spread of n points is the root of the determinant of the
    # Hankel matrix of size n + 1, and lies below that of n - 1 points.
    for size in range(2, N_POINTS + 1):
        spread = brentq(lambda s, k=size: np.linalg.det(_hankel(moments, s, k)), 0.0, spread)
    mixing = _hankel(moments, spread, N_POINTS)
    # The points are the roots of the polynomial in the null space of the Hankel matrix.
    cofactors = [
        (-1) ** k * np.linalg.det(np.delete(mixing[:-1], k, axis=1)) for k in range(N_POINTS + 1)
    ]
    points = np.roots(cofactors[::-1])
    if np.abs(points.imag).max() > 1e-6 or (points.real <= 0).any():
        raise ValueError("The mixture has no four positive points.")
    points = points.real
    # The weights of the points: a Vandermonde system of the first four moments.
    shares = np.linalg.solve(np.vander(points, increasing=True).T, mixing[0, :N_POINTS])
    tails = gamma.sf(x, 1.0 / spread, scale=points * spread)
    probability = float(shares @ tails)
    if not -1e-8 <= probability <= 1 + 1e-8:
        raise ValueError("The mixture is not a distribution: moment matching failed.")
    return min(max(probability, 0.0), 1.0)


def _hankel(moments: np.ndarray, spread: float, size: int) -> np.ndarray:
    # Moments of a gamma variable of mean 1: prod_(j<k) (1 + j spread).
    growth = np.cumprod(np.r_[1.0, 1.0 + spread * np.arange(len(moments) - 1)])
    mixing = moments / growth
    return mixing[np.add.outer(np.arange(size + 1), np.arange(size + 1))]
