"""Modularity, explicitness and compactness by information."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import Interval, validate_params
from ._inputs import check_pair

__all__ = ["infomec"]

N_FOLDS = 5  # of the linear readers
CHANCE = 4  # standard deviations of an estimate of no information; 3 were exceeded too often
FEWEST_NULL = 60  # estimates between permuted samples, for that standard deviation


@validate_params(
    {
        "true": ["array-like"],
        "learned": ["array-like"],
        "discrete": ["boolean", "array-like"],
        "discrete_latents": ["boolean"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def infomec(
    true: ArrayLike,
    learned: ArrayLike,
    *,
    discrete: bool | ArrayLike = False,
    discrete_latents: bool = False,
    n_neighbors: int = 10,
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    r"""Score by information whether latents are about one source, and sources in one latent.

    With the mutual information :math:`I_{ij}` of source i and latent j, each row divided
    by the information of the source about itself, the scores are [1]_

    - *modularity*: the mean over latents of :math:`\max_i I_{ij} / \sum_i I_{ij}`,
    - *compactness*: the mean over sources of :math:`\max_j I_{ij} / \sum_j I_{ij}`,

    both rescaled so that even shares are 0 and a single one is 1, and

    - *explicitness*: the mean over sources of the predictive information that a linear
      reader gets from all latents together, as a share of their entropy.

    For the first two order, signs and monotone maps of the latents do not matter; for the
    third no invertible linear map does.

    Parameters
    ----------
    true : array-like of shape (n_samples, n_true)
        The true sources, numbers or classes.
    learned : array-like of shape (n_samples, n_learned)
        The latents of the same samples.
    discrete : bool or array-like of bool of shape (n_true,), default=False
        Which sources are classes. [1]_ covers classes only. A source of numbers is
        handled alike: its information about itself is that at the resolution of the
        estimator, which is the same for all such sources, and its linear reader is
        linear regression (with Gaussian errors of fixed variance the predictive
        information is then the share of variance explained) in place of logistic
        regression.
    discrete_latents : bool, default=False
        Whether latents take few values, as those of
        :class:`~skspecialist.baselines.QuantizedAutoencoder`: the linear readers then get an
        indicator of each value, as in [1]_.
    n_neighbors : int, default=10
        Neighbors in the estimate of the mutual information: more are less noisy, and
        biased towards 0. The default is that of the authors.
    random_state : int, RandomState instance or None, default=0
        For ties, for a permutation of the samples that estimates the bias by
        chance, and for the folds of the linear readers.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        modularity : float
            Over the active latents, 0 if there are none.
        explicitness : float
            Held out: in five folds, the reader is not fitted to the samples that it predicts.
        compactness : float
            Over the sources; one in no latent counts as 0.
        information : ndarray of shape (n_true, n_learned), float64
            The normalized information; 0 if below four standard deviations of chance.
        active : ndarray of shape (n_learned,), bool
            Latents with information about some source. [1]_ takes those with a
            considerable range instead, which depends on units.

    Raises
    ------
    ValueError
        If an array is not finite, has a constant column or no more samples than columns,
        the two differ in length, ``discrete`` has the wrong length, a class has fewer than
        five samples, or there are no more samples than ``n_neighbors``.

    References
    ----------
    .. [1] Hsu, Dorrell, Whittington, Wu and Finn, Disentanglement via latent
       quantization, NeurIPS 2023, arXiv:2305.18378.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import infomec
    >>> true = np.random.RandomState(0).standard_normal((300, 2))
    >>> mixed = infomec(true, true @ [[1, 1], [-1, 1]])
    >>> round(mixed.explicitness, 6), mixed.modularity < 0.2
    (1.0, True)
    """
    sources, latents = check_pair(true, learned)
    if len(sources) <= n_neighbors:
        raise ValueError(
            f"n_neighbors={n_neighbors} must be less than the number of samples, {len(sources)}."
        )
    is_class = np.asarray(discrete, dtype=bool)
    if is_class.shape not in [(), (sources.shape[1],)]:
        raise ValueError(
            f"discrete must be a bool or have one for each of the {sources.shape[1]} sources, got "
            f"shape {is_class.shape}."
        )
    is_class = np.broadcast_to(is_class, sources.shape[1])
    _check_classes(sources[:, is_class])
    sources = sources.copy()
    for j in np.flatnonzero(is_class):
        sources[:, j] = np.unique(sources[:, j], return_inverse=True)[1]
    rng = check_random_state(random_state)
    information = _normalized_information(sources, latents, is_class, n_neighbors, rng)
    active = information.any(axis=0)
    readable = (
        OneHotEncoder(sparse_output=False).fit_transform(latents) if discrete_latents else latents
    )
    return Bunch(
        modularity=_concentration(information[:, active].T),
        explicitness=_explicitness(readable, sources, is_class, rng.randint(2**31 - 1)),
        compactness=_concentration(information[:, active]),
        information=information,
        active=active,
    )


def _check_classes(sources: np.ndarray) -> None:
    for source in sources.T:
        if (fewest := np.unique(source, return_counts=True)[1].min()) < N_FOLDS:
            raise ValueError(
                f"A discrete source has a class with {fewest} samples; {N_FOLDS} are needed. Is "
                "it continuous?"
            )


def _normalized_information(
    sources: np.ndarray,
    latents: np.ndarray,
    is_class: np.ndarray,
    n_neighbors: int,
    rng: np.random.RandomState,
) -> np.ndarray:
    options = {"n_neighbors": n_neighbors, "random_state": rng}
    # Information ignores monotone maps, its estimate does only if the margins are the same.
    latents = _normal_scores(latents)
    sources = np.where(is_class, sources, _normal_scores(sources))

    def estimate(sources: np.ndarray) -> np.ndarray:
        return np.array(
            [
                (mutual_info_classif if discrete else mutual_info_regression)(
                    latents, source, **options
                )
                for source, discrete in zip(sources.T, is_class, strict=True)
            ]
        )

    information = estimate(sources)
    n_permutations = -(-FEWEST_NULL // information.size)
    chance = [estimate(rng.permutation(sources)) for _ in range(n_permutations)]
    # The estimates of no information are symmetric about 0, those below are reported as 0.
    deviation = np.sqrt(2 * np.mean(np.square(chance)))
    own = [
        mutual_info_score(source, source)
        if discrete
        else mutual_info_regression(source[:, None], source, **options)[0]
        for source, discrete in zip(sources.T, is_class, strict=True)
    ]
    return np.where(information > CHANCE * deviation, information, 0) / np.array(own)[:, None]


def _normal_scores(columns: np.ndarray) -> np.ndarray:
    return ndtri((rankdata(columns, axis=0) - 0.5) / len(columns))


def _concentration(information: np.ndarray) -> float:
    """Return the mean over rows of how far each is from even, 0, to a single entry, 1."""
    if information.size == 0:
        return 0.0
    even = 1 / information.shape[1]
    total = information.sum(axis=1)
    if even == 1:
        return float((total > 0).mean())
    largest = np.divide(
        information.max(axis=1), total, out=np.full(len(total), even), where=total > 0
    )
    return float((largest.mean() - even) / (1 - even))


def _explicitness(
    latents: np.ndarray, sources: np.ndarray, is_class: np.ndarray, seed: int
) -> float:
    shares = [
        (_logistic_information if discrete else _linear_information)(latents, source, seed)
        for source, discrete in zip(sources.T, is_class, strict=True)
    ]
    return float(np.maximum(shares, 0).mean())


def _linear_information(latents: np.ndarray, source: np.ndarray, seed: int) -> float:
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed)
    return r2_score(source, cross_val_predict(LinearRegression(), latents, source, cv=folds))


def _logistic_information(latents: np.ndarray, source: np.ndarray, seed: int) -> float:
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    # A weak penalty: without any, separable classes have no best reader.
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=1e3, max_iter=1000))
    predicted = cross_val_predict(reader, latents, source, cv=folds, method="predict_proba")
    return 1 - log_loss(source, predicted) / mutual_info_score(source, source)
