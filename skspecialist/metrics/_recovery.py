"""Recovery of known latents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy, rankdata
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LassoCV
from sklearn.model_selection import KFold, cross_validate
from sklearn.preprocessing import scale
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import StrOptions, validate_params
from .._data.validation import check_numbers, check_same_length, refuse_huge
from .._stats.agreement import cross_fitted_r2
from ._inputs import check_flags, check_pair

__all__ = ["block_r2", "dci", "mean_correlation_coefficient"]


@validate_params(
    {
        "latents": ["array-like"],
        "sources": ["array-like"],
        "relevant": ["array-like", None],
        "X": ["array-like", None],
        "probe": [StrOptions({"kernel", "mlp", "strongest"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def block_r2(
    latents: Any,
    sources: Any,
    *,
    relevant: Any | None = None,
    X: Any | None = None,
    probe: str = "kernel",
    random_state: int | np.random.RandomState | None = 0,
) -> np.ndarray | Bunch:
    """Return the share of each source's variance that the latents predict.

    Cross-fitted: every source value is predicted by a probe that did not learn from it.
    The block of relevant latents is identified if the relevant sources have values near
    1 and the others are near 0 [1]_ [2]_, or rather, near that of a perfect representation: if
    the sources depend on each other, the relevant ones predict the others in part
    (the *floor*), and a probe may not read from the features all that they determine (the
    *ceiling*).

    Parameters
    ----------
    latents : array-like of shape (n_samples, n_latents)
        What predicts. No latents predict nothing: all values are 0.
    sources : array-like of shape (n_samples,) or (n_samples, n_sources)
        Sources to predict.
    relevant : array-like of bool of shape (n_sources,), default=None
        Which sources the latents should hold, at least one. With it the floor is returned
        as well.
    X : array-like of shape (n_samples, n_features), default=None
        Features that the latents were computed from. With it the ceiling is returned as well.
    probe : {"kernel", "mlp", "strongest"}, default="kernel"
        Kernel ridge regression with a radial kernel, penalty and width by
        cross-validation; a network of two hidden layers of 128 units; or, for each
        source, the better of the two. A weak probe hides leakage: judge irrelevant
        sources by the strongest.
    random_state : int, RandomState instance or None, default=0
        Which samples a probe learns from. It learns from one half (at most 2,000 of
        them) and predicts the other. Latents, floor and ceiling share the halves.

    Returns
    -------
    r2 : ndarray of shape (n_sources,), float64, or :class:`~sklearn.utils.Bunch`
        At most 1; below 0 if the probe predicts worse than the mean. With ``relevant`` or
        ``X`` a Bunch of

        r2 : ndarray of shape (n_sources,), float64
            The same.
        floor : ndarray of shape (n_sources,), float64, or None
            R2 from the true relevant sources, as of a perfect answer. For a relevant source
            it is near 1, as the source is among what predicts it.
        ceiling : ndarray of shape (n_sources,), float64, or None
            R2 from ``X``.

    Raises
    ------
    ValueError
        If the arrays differ in length, are not finite, or have fewer than 20 rows, a
        source is constant, or ``relevant`` is not one bool per source.

    See Also
    --------
    specialization_score : Both blocks and the floor in one number.

    References
    ----------
    .. [1] von Kügelgen, Sharma, Gresele, Brendel, Schölkopf, Besserve and Locatello,
       Self-supervised learning with data augmentations provably isolates content from
       style, NeurIPS 2021.
    .. [2] Zheng, Feng, Li, Xie, Murphy and Zhang, From generalist to specialist
       representation, ICML 2026, arXiv:2605.12733.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import block_r2
    >>> sources = np.random.RandomState(0).standard_normal((100, 2))
    >>> latents = sources[:, :1] ** 3
    >>> scores = block_r2(latents, sources, relevant=[True, False])
    >>> (scores.r2 > 0.5).tolist(), (scores.floor > 0.5).tolist()
    ([True, False], [True, False])
    """
    latents = _check_input(latents, "latents", ensure_min_features=0)
    sources = _check_input(sources, "sources", ensure_2d=False)
    X = None if X is None else _check_input(X, "X")
    check_same_length(latents=latents, sources=sources, X=X)
    sources = sources.reshape(len(sources), -1)
    if (constant := np.flatnonzero(np.ptp(sources, axis=0) == 0)).size:
        raise ValueError(f"sources {constant.tolist()} are constant: R2 is not defined.")
    best = None
    if relevant is not None:
        best = sources[:, check_flags(relevant, "relevant", sources.shape[1])]
    rng = check_random_state(random_state)
    order, seed = rng.permutation(len(latents)), rng.randint(2**31 - 1)
    kinds = ["kernel", "mlp"] if probe == "strongest" else [probe]

    def read(inputs: np.ndarray) -> np.ndarray:
        r2 = [cross_fitted_r2(kind, inputs, sources, order, seed) for kind in kinds]
        return np.max(r2, axis=0)

    if relevant is None and X is None:
        return read(latents)
    return Bunch(
        r2=read(latents),
        floor=None if best is None else read(best),
        ceiling=None if X is None else read(X),
    )


def _check_input(inputs: Any, name: str, **options: Any) -> np.ndarray:
    checked = check_numbers(inputs, name, ensure_min_samples=20, **options)
    refuse_huge(checked, name)
    return checked


@validate_params(
    {
        "true": ["array-like"],
        "learned": ["array-like"],
        "method": [StrOptions({"pearson", "spearman"})],
    },
    prefer_skip_nested_validation=True,
)
def mean_correlation_coefficient(
    true: ArrayLike, learned: ArrayLike, *, method: str = "pearson"
) -> Bunch:
    """Match true and learned latents one to one and average their correlations.

    The matching makes the sum of the absolute correlations largest [1]_. Order and signs
    of the latents do not matter, nor do their scales, nor, with
    ``method="spearman"``, monotone maps of each of them. This asks for more than the
    encoder of this library promises, which may mix the latents that a set of tasks uses:
    for blocks see :func:`block_r2`.

    Parameters
    ----------
    true : array-like of shape (n_samples, n_true)
        The true latents.
    learned : array-like of shape (n_samples, n_learned)
        The learned ones, of the same samples.
    method : {"pearson", "spearman"}, default="pearson"
        Correlation of the values, or of their ranks.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        score : float
            Mean absolute correlation over the true latents, in [0, 1]. Among few samples
            or many learned latents chance alone finds correlations.
        correlations : ndarray of shape (n_true,), float64
            Absolute correlation of each true latent with its match, 0 without one.
        assignment : ndarray of shape (n_true,), int64
            Column of ``learned`` that matches each true latent, -1 where fewer were
            learned than there are. Learned latents beyond that are not scored.

    Raises
    ------
    ValueError
        If an array is not finite, has a constant column or no more samples than columns,
        or the two differ in length.

    See Also
    --------
    block_r2 : Of blocks, whatever the invertible map within them.

    References
    ----------
    .. [1] Hyvärinen and Morioka, Unsupervised feature extraction by time-contrastive
       learning and nonlinear ICA, NeurIPS 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import mean_correlation_coefficient
    >>> true = np.random.RandomState(0).standard_normal((100, 2))
    >>> scores = mean_correlation_coefficient(true, [1, -3] * true[:, ::-1])
    >>> round(scores.score, 6), scores.assignment.tolist()
    (1.0, [1, 0])
    """
    sources, latents = check_pair(true, learned)
    if method == "spearman":
        sources, latents = rankdata(sources, axis=0), rankdata(latents, axis=0)
    n_true = sources.shape[1]
    strengths = np.abs(np.corrcoef(sources, latents, rowvar=False)[:n_true, n_true:])
    rows, columns = linear_sum_assignment(strengths, maximize=True)
    correlations, assignment = np.zeros(n_true), np.full(n_true, -1)
    correlations[rows], assignment[rows] = strengths[rows, columns], columns
    return Bunch(score=float(correlations.mean()), correlations=correlations, assignment=assignment)


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
