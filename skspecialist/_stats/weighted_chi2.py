"""Tail probabilities of weighted sums of chi-squared variables."""

from __future__ import annotations

from math import factorial

import numpy as np
from scipy.optimize import brentq
from scipy.stats import gamma

__all__ = ["hall_buckley_eagleson", "lindsay_pilla_basak"]

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
