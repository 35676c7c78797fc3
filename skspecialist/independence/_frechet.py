"""The Frechet cumulative covariance, a test for responses in metric spaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import pairwise_distances

from .._stats.smoothing import ball_kernel, check_distances, standardize
from ._base import IndependenceResult, ResultFlag
from ._kci import KernelTest
from ._sampled import not_explained

__all__ = ["FrechetCovariance"]


class FrechetCovariance(KernelTest):
    r"""Test of a mean that depends on a response in a metric space.

    The response y is any object with distances to others, such as several amounts, a curve, a
    distribution or a label. Where the mean of x depends on it, x has a covariance with the
    membership of y in a ball around one response y' through another, y''. The measure is the mean
    of its square over balls, the Frechet cumulative covariance [1]_,

    .. math:: E \| \mathrm{Cov}(x, 1[d(y, y') \le d(y'', y')] \mid y', y'') \|^2,

    which for an amount y resembles the cumulative covariance [2]_. Only the order of distances
    enters, so that outliers of y have no more weight than other values. Means alone are compared:
    of x = y**2 the test finds y only if the squares of y are among the columns of x.

    Parameters
    ----------
    metric : str or callable, default="euclidean"
        Distance of responses, as in :func:`sklearn.metrics.pairwise_distances`, of the standardized
        columns of y. "precomputed" if y is the matrix of distances, then in ``test`` only.
    width_z : float, default=None
        Width (standard deviation) of the Gaussian kernel of the standardized ``z``. None is the
        median distance of two samples.
    regularization : float, default=None
        Strength of the kernel ridge regression of both sides on ``z``, as in :class:`KCI`.
    max_samples : int, default=1000
        More samples are refused: the cost grows with their cube.
    n_jobs : int, default=None
        Workers among which tests are shared, as in joblib.
    random_state : int, RandomState instance or None, default=0
        Not used, present for API consistency: the test is deterministic.

    See Also
    --------
    skspecialist.SufficientReduction : The directions of x on which a response depends.
    KCI : A test of any dependence of numbers.

    Notes
    -----
    Without ``z``, ``statistic`` is n squared times the estimate of the measure, for x of unit
    variance; with it, that of the residuals. As in :class:`KCI` it is referred to a gamma variable,
    and ``effect_size`` is the root of its excess over its mean, relative to the norms of the
    matrices.

    The size at level 0.05 was measured in 400 replications with 150 samples. Without ``z`` it was
    .037 to .052 for amounts of Gaussian and Cauchy distributions, labels, curves, and an x whose
    variance but not its mean depends on y; with two columns in ``z`` and nonlinear effects .040,
    with five columns below .01. With 50 samples it was .018 to .040 (1,000 replications). A test of
    1,000 samples takes two seconds.

    References
    ----------
    .. [1] Yuan, Wang and Yu, "Frechet cumulative covariance net for deep nonlinear sufficient
       dimension reduction with random objects", arXiv 2502.15374, 2025.
    .. [2] Zhou, Zhu, Xu and Li, "Model-free forward screening via cumulative divergence", Journal
       of the American Statistical Association 115, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.independence import FrechetCovariance
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2))
    >>> grid = np.linspace(0, 1, 20)
    >>> curves = x[:, :1] * grid + rng.normal(size=(200, 1))
    >>> bool(FrechetCovariance().test(x, curves).pvalue < 1e-3)
    True
    >>> bool(FrechetCovariance().test(x[:, 1], curves).pvalue > 0.05)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **KernelTest._parameter_constraints,
        "metric": [str, callable],
    }

    def __init__(
        self,
        metric: str | Callable[..., float] = "euclidean",
        *,
        width_z: float | None = None,
        regularization: float | None = None,
        max_samples: int = 1000,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.metric = metric
        self.width_z = width_z
        self.regularization = regularization
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _test_columns(
        self,
        data: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        z: np.ndarray,
        seed: np.random.SeedSequence,
    ) -> IndependenceResult:
        if self.metric != "precomputed":
            return super()._test_columns(data, x, y, z, seed)
        distances = check_distances(data[:, y[y >= 0]], "y", len(data))
        left, given = (standardize(data[:, columns[columns >= 0]]) for columns in (x, z))
        left = not_explained(left, given)
        n, width = len(data), left.shape[1]
        if not width or not distances.any():
            return IndependenceResult.no_evidence((), n, ResultFlag.DEGENERATE)
        if n < self._fewest_samples(width, 1, given.shape[1]):
            return IndependenceResult.no_evidence((), n, ResultFlag.TOO_FEW_SAMPLES)
        return self._compare(left @ left.T, ball_kernel(distances), given)

    def _test(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, rng: np.random.Generator
    ) -> IndependenceResult:
        distances = pairwise_distances(y, metric=self.metric)
        return self._compare(x @ x.T, ball_kernel(distances), z)
