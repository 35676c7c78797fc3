"""The randomized conditional independence test: kernels by random features."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from .._base.sklearn_compat import Interval, StrOptions
from .._stats.pvalues import lindsay_pilla_basak
from .._stats.smoothing import fourier_features
from ._base import IndependenceResult
from ._sampled import SampledTest, answer

__all__ = ["RCIT"]

# Features of z per sample; fewer leave its influence in, more leave no residuals.
FEATURES_PER_SAMPLE = 0.3
FEWEST_FEATURES = 100
MOST_FEATURES = 600
N_PERMUTATIONS = 999  # smallest p-value 0.001


class RCIT(SampledTest):
    r"""Randomized conditional independence test.

    Random Fourier features of ``x``, of ``(y, z)`` and of ``z`` stand for the kernels
    of :class:`KCI`; those of the sides are regressed on those of ``z``, and the sum of
    squared covariances of the residuals is the statistic. It detects any smooth dependence,
    more of it with more features of the sides, and needs no square matrix.

    Parameters
    ----------
    n_features : int, default=5
        Random features of each side, as in [1]_.
    n_features_z : int, default=None
        Random features of ``z``. None is three tenths of the number of samples, at
        least 100 (or half of the samples) and at most 600. With the 25 of the original
        software, half of the true null hypotheses are rejected at 1,000 samples.
    ridge : float, default=1e-6
        Ridge penalty of the regression on the features of ``z``, whose variance is one.
    null : {"moments", "permutation"}, default="moments"
        Distribution under independence: "moments" is the weighted sum of chi-squared
        variables with the method of Lindsay, Pilla and Basak, "permutation" permutes
        the residuals of one side 999 times: slower, and valid only for residuals with
        the same distribution for every ``z``.
    n_jobs : int, default=None
        Workers among which tests are shared, as in joblib.
    random_state : int, RandomState instance or None, default=0
        Seed of the features. An integer by default, so that the same data get the same
        answer.

    Notes
    -----
    ``statistic`` is the sum of squared covariances times the number of samples and
    times a factor below one for the degrees of freedom that the regression takes,
    which [1]_ lacks. ``effect_size`` is the root of the mean squared correlation of the
    residual features, less its mean under independence. Fewer than 10 samples, or than
    twice the number of columns, give p-value 1 and the flag ``TOO_FEW_SAMPLES``.

    The cost is n times the square of the number of features of ``z``: 40 ms at 1,000
    samples, on one core.

    The size at level 0.05 was measured in 500 replications, with two columns a side and
    five in ``z``. At 1,000 and 5,000 samples it is within sampling error of 0.05 for
    linear relations with Gaussian and with t-distributed variables (3 degrees of
    freedom), smooth functions of a combination of ``z``, and a class label in ``z``. It
    fails where the features of ``z`` fail: a shared sin(2z) of twice the variance of the
    noise is rejected in 93 % of cases at 1,000 samples, a sine of the sum of two columns
    in 39 % at 5,000; use :class:`GCM`. At 200 samples it has neither size nor power.

    References
    ----------
    .. [1] E. V. Strobl, K. Zhang and S. Visweswaran, "Approximate kernel-based
       conditional independence tests for fast non-parametric causal discovery",
       Journal of Causal Inference 7, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.independence import RCIT
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=500)
    >>> x, y = z**2 + rng.normal(size=(2, 500))
    >>> bool(RCIT().test(x, y).pvalue < 1e-3), bool(RCIT().test(x, y, z).pvalue > 0.05)
    (True, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SampledTest._parameter_constraints,
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "n_features_z": [Interval(Integral, 1, None, closed="left"), None],
        "ridge": [Interval(Real, 0, None, closed="neither")],
        "null": [StrOptions({"moments", "permutation"})],
    }

    def __init__(
        self,
        *,
        n_features: int = 5,
        n_features_z: int | None = None,
        ridge: float = 1e-6,
        null: str = "moments",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_features = n_features
        self.n_features_z = n_features_z
        self.ridge = ridge
        self.null = null
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _test(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, rng: np.random.Generator
    ) -> IndependenceResult:
        n = len(x)
        sides = [_unit_features(side, self.n_features, rng) for side in (x, np.hstack([y, z]))]
        deflation = 1.0
        if z.shape[1]:
            fewest = min(FEWEST_FEATURES, n // 2)
            count = int(np.clip(FEATURES_PER_SAMPLE * n, fewest, MOST_FEATURES))
            of_z = _unit_features(z, self.n_features_z or count, rng)
            sides, deflation = ridge_residuals(sides, of_z, self.ridge)
        statistic = deflation * _statistic(sides[0], sides[1])
        # Strobl, Zhang and Visweswaran 2019: under independence the statistic is a sum
        # of chi-squared variables weighted by the eigenvalues of the covariance of the products.
        products = (sides[0][:, :, None] * sides[1][:, None, :]).reshape(n, -1)
        weights = np.linalg.eigvalsh(products.T @ products / n)
        if self.null == "permutation":
            pvalue = _permutation_pvalue(statistic, sides[0], sides[1], rng)
        else:
            pvalue = lindsay_pilla_basak(statistic, weights[weights > 0])
        scale = n * sides[0].var(axis=0).sum() * sides[1].var(axis=0).sum()
        excess = max(statistic - weights.sum(), 0.0)
        return answer(n, statistic, pvalue, np.sqrt(excess / scale))


def _unit_features(columns: np.ndarray, n_features: int, rng: np.random.Generator) -> np.ndarray:
    """Return random Fourier features of zero mean and unit variance."""
    features = fourier_features(columns, n_features, rng)
    features -= features.mean(axis=0)
    return features / features.std(axis=0, ddof=1)


def ridge_residuals(
    sides: list[np.ndarray], of_z: np.ndarray, ridge: float
) -> tuple[list[np.ndarray], float]:
    """Return residuals given features of z, and the factor for lost degrees of freedom.

    Under independence the sum of products of the residuals varies as the trace of the
    fourth power of the residual-maker, the products themselves as its square.
    """
    n = len(of_z)
    eigenvalues, vectors = np.linalg.eigh(of_z.T @ of_z / (n - 1))
    eigenvalues = np.maximum(eigenvalues, 0.0)
    # The residual-maker I - H has eigenvalues ridge / (l + ridge) in the span of the features,
    # and one outside.
    kept = np.where(eigenvalues > 1e-12, ridge / (eigenvalues + ridge), 1.0)
    scaled = of_z @ (vectors * np.sqrt((1 - kept) / np.maximum(eigenvalues, 1e-12)))
    residuals = [side - scaled @ (scaled.T @ side) / (n - 1) for side in sides]
    outside = n - 1 - len(kept)
    # tr((I - H)^2) and tr((I - H)^4).
    own, of_sum = (max(outside, 1) + (kept**power).sum() for power in (2, 4))
    return residuals, min(1.0, own**2 / (n * of_sum))


def _statistic(x: np.ndarray, y: np.ndarray) -> float:
    covariance = x.T @ y / (len(x) - 1)
    return float(len(x) * np.sum(covariance**2))


def _permutation_pvalue(
    statistic: float, x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> float:
    # Permuted residuals of the two sides share no degrees of freedom, hence no factor.
    exceeding = sum(
        _statistic(x[rng.permutation(len(x))], y) >= statistic for _ in range(N_PERMUTATIONS)
    )
    return (1 + exceeding) / (1 + N_PERMUTATIONS)
