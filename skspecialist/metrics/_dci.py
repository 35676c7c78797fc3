"""Disentanglement, completeness and informativeness by importances."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import entropy
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LassoCV
from sklearn.model_selection import KFold, cross_validate
from sklearn.preprocessing import scale
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import StrOptions, validate_params
from ._inputs import check_pair

__all__ = ["dci"]

FEWEST_SAMPLES = 10  # that five folds within each half take
PREDICTED = 0.01  # held-out R2 below which a factor counts as not predicted


@validate_params(
    {
        "true": ["array-like"],
        "learned": ["array-like"],
        "importances": [StrOptions({"boosting", "lasso"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def dci(
    true: ArrayLike,
    learned: ArrayLike,
    *,
    importances: str = "boosting",
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    r"""Score latents by which of them the prediction of each true factor rests on.

    Each true factor is predicted from all learned latents, and :math:`R_{ij}` is the
    importance of latent j for factor i [1]_.

    - *Disentanglement* is one minus the entropy of a latent's importances over the
      factors, in units of the largest possible; averaged over the latents with their
      total importances as weights.
    - *Completeness* is one minus the entropy of a factor's importances over the latents,
      in units of the largest possible; averaged over the factors.
    - *Informativeness* is how well the factors are predicted.

    Order and signs of the latents do not matter, nor do their scales. With boosting no
    strictly monotone map of a latent changes an importance, though it moves thresholds
    between samples and so, hardly, predictions.

    Parameters
    ----------
    true : array-like of shape (n_samples, n_true)
        The true factors: numbers, or classes that are ordered or two.
    learned : array-like of shape (n_samples, n_learned)
        The latents of the same samples.
    importances : {"boosting", "lasso"}, default="boosting"
        Impurity that each latent removes in gradient boosted trees, or size of its
        coefficient in a lasso of standardized latents and factors, with the penalty by
        cross-validation. The lasso is for latents that are linear in the factors.
    random_state : int, RandomState instance or None, default=0
        Which half of the samples a model learns from, and ties between splits of trees.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        disentanglement : float
            1 if no latent is important for two factors, 0 if all latents are equally
            important for all, or no factor is predicted.
        completeness : float
            1 if one latent suffices for each factor. A factor that is not predicted
            counts as 0.
        informativeness : float
            Mean R2 over the factors, at most 1, each model on the half of the samples
            that it did not learn from. [1]_ reports an error, which is smaller the
            better.
        importances : ndarray of shape (n_true, n_learned), float64
            Means of the two halves; 0 for a factor whose R2 is below 0.01, where they are
            those of noise.

    Raises
    ------
    ValueError
        If an array is not finite, has a constant column, no more samples than columns or
        fewer than ten, or the two differ in length.

    References
    ----------
    .. [1] Eastwood and Williams, A framework for the quantitative evaluation of
       disentangled representations, ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import dci
    >>> true = np.random.RandomState(0).standard_normal((200, 2))
    >>> scores = dci(true, true[:, ::-1], importances="lasso")
    >>> round(scores.disentanglement, 2), round(scores.completeness, 2)
    (1.0, 1.0)
    """
    factors, latents = map(scale, check_pair(true, learned))
    if len(factors) < FEWEST_SAMPLES:
        raise ValueError(
            f"true and learned have {len(factors)} samples: {FEWEST_SAMPLES} or more are needed."
        )
    seed = check_random_state(random_state).randint(2**31 - 1)
    halves = KFold(2, shuffle=True, random_state=seed)
    model, attribute = _build_model(importances, seed)
    weights, r2 = np.empty((factors.shape[1], latents.shape[1])), np.empty(factors.shape[1])
    for index, factor in enumerate(factors.T):
        fits = cross_validate(
            model, latents, factor, cv=halves, scoring="r2", return_estimator=True
        )
        sizes = [np.abs(getattr(fit, attribute)) for fit in fits["estimator"]]
        weights[index], r2[index] = np.mean(sizes, axis=0), fits["test_score"].mean()
    weights[r2 < PREDICTED] = 0
    return Bunch(
        disentanglement=_average(_purity(weights.T), weights.sum(axis=0)),
        completeness=float(_purity(weights).mean()),
        informativeness=float(r2.mean()),
        importances=weights,
    )


def _build_model(importances: str, seed: int) -> tuple[BaseEstimator, str]:
    if importances == "lasso":
        return LassoCV(), "coef_"
    return GradientBoostingRegressor(random_state=seed), "feature_importances_"


def _purity(weights: np.ndarray) -> np.ndarray:
    """Return how far each row is from even, 0, to a single entry, 1; 0 for an empty one."""
    purity = np.zeros(len(weights))
    some = weights.any(axis=1)
    largest = np.log(weights.shape[1])
    purity[some] = 1 - entropy(weights[some], axis=1) / largest if largest > 0 else 1
    return purity


def _average(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(values, weights=weights)) if weights.any() else 0.0
