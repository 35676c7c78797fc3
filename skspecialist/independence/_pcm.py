"""The projected covariance measure: a learned direction, tested in other samples."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.base import RegressorMixin, clone
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer

from .._base.sklearn_compat import HasMethods
from .._stats.pvalues import SMALLEST, cauchy_combination
from .._stats.smoothing import RESIDUAL_TOLERANCE, RidgeSmoother
from ._base import IndependenceResult
from ._gcm import CrossFit
from ._sampled import SampledTest, answer

__all__ = ["PCM"]

# Points of the kernel approximation of the default regressor, at most a third of the samples.
N_POINTS = 100
PENALTIES = np.logspace(-3, 3, 13)


class PCM(SampledTest):
    r"""Projected covariance measure: tests whether ``x`` improves the prediction of ``y``.

    In one half of the samples a regressor learns :math:`\hat f(x, z)`, what ``x`` adds to the
    prediction of ``y`` from ``z``. In the other half the residuals of ``y`` and of
    :math:`\hat f(x, z)` given ``z`` are tested for positive covariance [1]_. One direction takes
    the place of all functions of ``x``: the test has power wherever the regressor predicts
    better with ``x``, and is valid as long as regressions on ``z`` are good.

    Each half is used for both, and the two p-values, one pair per column of ``y``, are combined
    by Cauchy's rule [2]_. The direction is divided by the variance of the residuals of ``y`` that
    the regressor predicts.

    Parameters
    ----------
    regressor : regressor, default=None
        A scikit-learn regressor, which learns the direction; its residuals given ``z`` are
        cross-fitted in five folds. None is ridge regression on the columns and on a kernel of
        100 random samples, and for residuals given ``z`` that of :class:`GCM`.
    n_jobs : int, default=None
        Workers among which tests are shared, as in joblib.
    random_state : int, RandomState instance or None, default=0
        Seed of the halves, of kernels and of folds. An integer by default, so that the same data
        get the same answer.

    See Also
    --------
    GCM : Covariance of the residuals of both sides, symmetric and without a split.

    Notes
    -----
    The test is not symmetric: it asks whether ``y`` depends on ``x``. ``statistic`` is the normal
    score of the p-value, and ``effect_size`` the mean correlation of the residuals of ``y``
    and of its direction, at least 0. Fewer than 40 samples, or than four times the number of
    columns, give p-value 1 and the flag ``TOO_FEW_SAMPLES``.

    References
    ----------
    .. [1] A. R. Lundborg, I. Kim, R. D. Shah and R. J. Samworth, "The projected
       covariance measure for assumption-lean variable significance testing", Annals of
       Statistics 52, 2024: algorithm 1.
    .. [2] Y. Liu and J. Xie, "Cauchy combination test", Journal of the American
       Statistical Association 115, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.independence import PCM
    >>> rng = np.random.default_rng(0)
    >>> z, x = rng.normal(size=(2, 500))
    >>> y = np.sin(2 * z) + np.abs(x) + rng.normal(size=500) / 2
    >>> bool(PCM().test(x, y, z).pvalue < 1e-6), bool(PCM().test(x, y - np.abs(x), z).pvalue > 0.05)
    (True, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SampledTest._parameter_constraints,
        "regressor": [HasMethods(["fit", "predict"]), None],
    }

    def __init__(
        self,
        regressor: RegressorMixin | None = None,
        *,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.regressor = regressor
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _test(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, rng: np.random.Generator
    ) -> IndependenceResult:
        halves = np.array_split(rng.permutation(len(x)), 2)
        pvalues, correlations = [], []
        for train, test in (halves, halves[::-1]):
            smoother: Any = RidgeSmoother(z[test], rng)
            if self.regressor is not None and z.shape[1]:
                smoother = CrossFit(self.regressor, z[test], rng)
            for response in y.T:
                direction = self._direction(x, response, z, train, test, rng)
                pvalue, correlation = _positive_covariance(response[test], direction, smoother)
                pvalues.append(pvalue)
                correlations.append(correlation)
        pvalue = float(cauchy_combination(np.array(pvalues)))
        effect = max(float(np.reshape(correlations, (2, -1)).mean(axis=0).max()), 0.0)
        return answer(len(x), norm.isf(np.clip(pvalue, SMALLEST, 1 - 1e-16)), pvalue, effect)

    def _direction(
        self,
        x: np.ndarray,
        y: np.ndarray,
        z: np.ndarray,
        train: np.ndarray,
        test: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return the direction learned in one half, in the samples of the other."""
        both = np.hstack([x, z])
        full = self._fit(both[train], y[train], rng)
        fitted = np.asarray(full.predict(both))
        # h(x, z) = g(x, z) - m(z) with g the regression of y, and m that of g on z.
        explained = np.full(len(y), fitted[train].mean())
        if z.shape[1]:
            explained = np.asarray(self._fit(z[train], fitted[train], rng).predict(z))
        direction = fitted - explained
        # Its sign is that of its covariance with y, of which the fit on z is taken out.
        if (direction[train] * (y - explained)[train]).sum() < 0:
            direction = -direction
        squares = (y - fitted)[train] ** 2
        variance = self._fit(both[train], squares, rng).predict(both)
        variance = np.maximum(variance, 0.0)
        # Squared residuals over the variance, to which a constant is added, have mean one.
        largest = squares.mean()

        def excess(constant: float) -> float:
            return float(np.mean(squares / (variance[train] + constant))) - 1.0

        low = 1e-6 * largest + 1e-300
        constant = brentq(excess, low, largest) if largest > 0 and excess(low) > 0 else low
        return np.asarray(direction / (variance + constant))[test]

    def _fit(self, features: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> Any:
        seed = int(rng.integers(2**31))
        if self.regressor is not None:
            regressor = clone(self.regressor)
            if "random_state" in regressor.get_params() and regressor.random_state is None:
                regressor.set_params(random_state=seed)
        else:
            n_points = min(N_POINTS, len(features) // 3)
            kernel = Nystroem(n_components=n_points, random_state=seed)
            regressor = make_pipeline(make_union(FunctionTransformer(), kernel), RidgeCV(PENALTIES))
        try:
            return regressor.fit(features, target)
        except (TypeError, ValueError) as error:
            raise ValueError(f"regressor={self.regressor!r} failed: {error}") from error

    def _fewest_samples(self, p: int, q: int, r: int) -> int:
        return max(40, 4 * (p + q + r))


def _positive_covariance(
    y: np.ndarray, direction: np.ndarray, smoother: Any
) -> tuple[float, float]:
    """Return the one-sided p-value, and the correlation, of residuals given z."""
    spread = direction.std()
    if not spread > 0:
        return 1.0, 0.0
    sides = np.column_stack([y, (direction - direction.mean()) / spread])
    residuals, kept = smoother.residuals(sides)
    if residuals.var(axis=0).min() <= RESIDUAL_TOLERANCE:
        return 1.0, 0.0
    products = residuals.prod(axis=1)
    deflation = np.sqrt(smoother.deflation(kept[:, :1], kept[:, 1:]))
    statistic = np.sqrt(len(y) - 1) * deflation * products.mean() / products.std()
    scale = np.sqrt((residuals**2).mean(axis=0).prod())
    return float(norm.sf(statistic)), float(products.mean() / scale)
