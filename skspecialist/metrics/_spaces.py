"""Scores of representations without a known truth."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from .._base.sklearn_compat import HasMethods, Interval, StrOptions, validate_params
from .._data.tasks import split_columns
from .._data.validation import (
    as_array,
    check_numbers,
    check_same_length,
    refuse_huge,
    split_indices,
)
from ..generalist._spaces import RelativeRepresentation, SpaceAligner
from ._recovery import block_r2

__all__ = [
    "diversity_score",
    "intrinsic_dimension",
    "specialization_score",
    "spectral_entropy",
    "stitching_score",
]

# Share of the largest ratios that the fit leaves out, as the paper does.
DISCARDED = 0.1


@validate_params(
    {
        "X": ["array-like"],
        "method": [StrOptions({"two_nn", "mle"})],
        "n_neighbors": [Interval(Integral, 2, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def intrinsic_dimension(
    X: ArrayLike, *, method: str = "two_nn", n_neighbors: int | None = None
) -> float:
    r"""Estimate the number of dimensions along which samples vary, from distances to neighbors.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples of a representation. Columns should have comparable scales.
    method : {"two_nn", "mle"}, default="two_nn"
        - "two_nn" [1]_: the ratio of the distances to the second and the first neighbor has the
          distribution function :math:`1 - \mu^{-d}` where the density is locally constant. The
          dimension d is the slope of :math:`-\log(1 - F(\mu))` over :math:`\log \mu`.
        - "mle" [2]_: maximum likelihood with the distances to the first k neighbors; the inverse
          is averaged over the samples [3]_. It varies less, and is biased downward where the
          dimension is high for the number of samples.
    n_neighbors : int, default=None
        Number of neighbors k of "mle"; None is 20. Not for "two_nn".

    Returns
    -------
    dimension : float
        At least 0; not an integer in general.

    Raises
    ------
    ValueError
        If there are not more different samples than neighbors, ``X`` is not finite, or
        ``n_neighbors`` is given with "two_nn".

    See Also
    --------
    spectral_entropy : Effective number of dimensions by diffusion.

    References
    ----------
    .. [1] Facco, d'Errico, Rodriguez and Laio, Estimating the intrinsic dimension of datasets by
       a minimal neighborhood information, Scientific Reports 7, 2017.
    .. [2] Levina and Bickel, Maximum likelihood estimation of intrinsic dimension, NeurIPS 2004.
    .. [3] MacKay and Ghahramani, Comments on "Maximum likelihood estimation of intrinsic
       dimension" by E. Levina and P. Bickel, 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import intrinsic_dimension
    >>> rng = np.random.default_rng(0)
    >>> plane = rng.uniform(size=(1000, 2)) @ rng.normal(size=(2, 10))
    >>> round(intrinsic_dimension(plane), 1), round(intrinsic_dimension(plane, method="mle"), 1)
    (1.9, 1.9)
    """
    if method == "two_nn" and n_neighbors is not None:
        raise ValueError(f"n_neighbors={n_neighbors} is of method='mle'; 'two_nn' has two.")
    samples = _check(X)
    # In units of their size, squared distances of tiny numbers are not zero.
    samples = np.unique(samples / (np.abs(samples).max() or 1.0), axis=0)
    k = 2 if method == "two_nn" else n_neighbors or 20
    if len(samples) <= k + 1:
        raise ValueError(
            f"X has {len(samples)} different samples, but with {k} neighbors more than {k + 1} are "
            "needed."
        )
    distances, _ = NearestNeighbors(n_neighbors=k).fit(samples).kneighbors()
    distances = distances[distances[:, 0] > 0]
    if method == "mle":
        # Equation (8) of [2]: the inverse of a sample's dimension is the mean logarithm of the
        # ratios of the distance to neighbor k and to each nearer one.
        logs = np.log(distances[:, -1:] / distances[:, :-1])
        return float(1 / logs.mean())
    ratios = np.log(np.sort(distances[:, 1] / distances[:, 0]))
    kept = int(len(ratios) * (1 - DISCARDED))
    levels = -np.log1p(-np.arange(1, kept + 1) / len(ratios))
    return float(ratios[:kept] @ levels / (ratios[:kept] @ ratios[:kept]))


@validate_params(
    {
        "X": ["array-like"],
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "t": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def spectral_entropy(X: ArrayLike, *, sigma: float = 10.0, t: int = 1) -> float:
    r"""Return the diffusion spectral entropy of a representation, in bits.

    A random walk steps from a sample to another one with a probability that decreases with their
    distance. With the eigenvalues :math:`\lambda_i` of its transition matrix,

    .. math:: S = -\sum_i p_i \log_2 p_i, \qquad
       p_i = \frac{|\lambda_i|^t}{\sum_j |\lambda_j|^t},

    is the entropy [1]_: 0 for samples that are near each other in comparison with ``sigma``, k bits
    for :math:`2^k` separate clusters of them, and :math:`\log_2 n` where all are far apart.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples; at most some thousands, since all eigenvalues of a matrix of that size are
        computed.
    sigma : float, default=10.0
        Standard deviation of the Gaussian kernel, in the units of ``X``; the default is that of
        [1]_.
    t : int, default=1
        Number of steps of the walk. More steps reduce the influence of noise.

    Returns
    -------
    entropy : float
        From 0 to :math:`\log_2 n`.

    Raises
    ------
    ValueError
        If ``X`` is not finite.

    See Also
    --------
    intrinsic_dimension : Number of dimensions by distances to neighbors.

    References
    ----------
    .. [1] Liao, Liu, Christensen, Tong, Huguet, Wolf, Nickel, Adelstein and Krishnaswamy,
       Assessing neural network representations during training using noise-resilient diffusion
       spectral entropy, CISS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import spectral_entropy
    >>> clusters = np.repeat([[0.0], [100.0], [200.0], [300.0]], 5, axis=0)
    >>> round(spectral_entropy(clusters), 6)
    2.0
    """
    kernel = rbf_kernel(_check(X), gamma=1 / (2 * sigma**2))
    # Similar to the transition matrix D^-1 K, with the same eigenvalues, and symmetric.
    root = np.sqrt(kernel.sum(axis=1))
    powers = np.abs(np.linalg.eigvalsh(kernel / np.outer(root, root))) ** t
    return float(entr(powers / powers.sum()).sum() / np.log(2))


def diversity_score(weights: ArrayLike) -> Bunch:
    r"""Return how diverse a population of specialists is, and how specialized its members are.

    Each member m, such as a task, has a distribution p(x | m) over characteristics x, such as
    latents or solutions. Diversity is the entropy of the mean distribution, and specialization the
    negative mean entropy of the members [1]_:

    .. math:: D = H(X), \qquad S = -H(X \mid M), \qquad D + S = I(X; M).

    Copies of a specialist are specialized and not diverse, generalists are diverse and not
    specialized, and different specialists are both.

    Parameters
    ----------
    weights : array-like of shape (n_members, n_characteristics)
        Probabilities, counts or weights, at least 0, such as the absolute values of a fitted
        encoder's ``mask_``. Each row is divided by its sum.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        diversity : float
            From 0 to the logarithm of the number of characteristics, in nats.
        specialization : float
            From minus that logarithm to 0.
        mutual_information : float
            Their sum, at least 0: information of a characteristic on its member.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or the weights of a member are all 0.

    See Also
    --------
    specialization_score : Specialization of latents in known relevant sources.
    mask_overlap : Number of latents that several tasks share.

    References
    ----------
    .. [1] Charakorn, Manoonpong and Dilokthanakul, Diversity is not all you need: training a
       robust cooperative agent needs specialist partners, NeurIPS 2024, equations (8) and (9).

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import diversity_score
    >>> specialists, generalists = diversity_score(np.eye(4)), diversity_score(np.ones((3, 4)))
    >>> round(specialists.diversity, 2), round(specialists.specialization, 2)
    (1.39, 0.0)
    >>> round(generalists.diversity, 2), round(generalists.specialization, 2)
    (1.39, -1.39)
    """
    distributions = check_numbers(weights, "weights", ensure_non_negative=True)
    largest = distributions.max(axis=1, keepdims=True)
    if not largest.all():
        raise ValueError(f"weights of row {int(largest.argmin())} are all 0.")
    distributions = distributions / largest  # sums of huge numbers would overflow
    distributions /= distributions.sum(axis=1, keepdims=True)
    diversity = float(entr(distributions.mean(axis=0)).sum())
    specialization = 0.0 - float(entr(distributions).sum(axis=1).mean())
    return Bunch(
        diversity=diversity,
        specialization=specialization,
        mutual_information=max(diversity + specialization, 0.0),
    )


def _check(X: ArrayLike) -> np.ndarray:
    samples = check_numbers(X, "X")
    refuse_huge(samples, "X")
    return samples


def specialization_score(
    true: ArrayLike,
    learned: ArrayLike,
    relevant: ArrayLike,
    *,
    X: ArrayLike | None = None,
    probe: str = "strongest",
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    r"""Return how well latents hold the relevant sources and nothing but these.

    The R2 of the relevant sources less that of the irrelevant ones, above a *floor*, the R2 of
    the irrelevant sources given the relevant ones:

    .. math::

       \frac{1}{|R|} \sum_{j \in R} r_j
       - \frac{1}{|I|} \sum_{j \in I} \max(r_j - f_j, 0)

    where :math:`r_j` is the R2 of source j from the learned latents and :math:`f_j` that
    from the true relevant sources, by the same probe as in :func:`block_r2`; both count
    as 0 where they are negative.

    The relevant sources themselves, or any invertible map of them, have the highest
    score, which is 1 up to the probe. Nothing, and noise, score 0. Everything scores the
    mean floor, and so 0 if the relevant sources are independent of the others. Of the
    irrelevant sources alone the score is negative.

    Parameters
    ----------
    true : array-like of shape (n_samples, n_true)
        The true sources.
    learned : array-like of shape (n_samples, n_learned)
        The latents of the same samples, such as what ``transform`` returns.
    relevant : array-like of bool of shape (n_true,)
        Which sources the latents should hold: at least one, and not all.
    X : array-like of shape (n_samples, n_features), default=None
        Features that the latents were computed from, for the ceiling.
    probe : {"strongest", "kernel", "mlp"}, default="strongest"
        As in :func:`block_r2`: the better of the two for each source, since a weak probe
        overlooks leakage.
    random_state : int, RandomState instance or None, default=0
        As in :func:`block_r2`.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        score : float
            As above, from -1 to 1.
        relevant : float
            Mean R2 of the relevant sources.
        irrelevant : float
            Mean R2 of the irrelevant ones.
        leakage : float
            Mean R2 of the irrelevant sources above the floor, subtracted in the score.
        floor : float
            Mean over the irrelevant sources.
        ceiling : float or None
            Mean R2 of the relevant sources from ``X``: the ceiling of the probe. It
            is not taken into account. Latents can exceed it where they are easier to read
            than the features. None without ``X``.

        All means are of R2 that count as 0 where they are negative.

    Raises
    ------
    ValueError
        If no source is relevant, or all are, and as :func:`block_r2`.

    See Also
    --------
    block_r2 : The R2 of each source, with floor and ceiling.

    References
    ----------
    .. [1] von Kügelgen, Sharma, Gresele, Brendel, Schölkopf, Besserve and Locatello,
       Self-supervised learning with data augmentations provably isolates content from
       style, NeurIPS 2021, for the R2 of the two blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import specialization_score
    >>> true = np.random.RandomState(0).standard_normal((200, 2))
    >>> scores = specialization_score(true, true[:, :1], [True, False], probe="kernel")
    >>> round(scores.score, 1), scores.leakage
    (1.0, 0.0)
    """
    mask = as_array(relevant, "relevant")
    if mask.dtype == bool and mask.all():
        raise ValueError("relevant must not mark all sources: the score compares two blocks.")
    # The annotation narrows what block_r2 returns with ``relevant``.
    read: Bunch = block_r2(
        learned, true, relevant=mask, X=X, probe=probe, random_state=random_state
    )
    r2, floor = np.maximum(read.r2, 0), np.maximum(read.floor, 0)
    leakage = np.maximum(r2 - floor, 0)[~mask].mean()
    return Bunch(
        score=float(r2[mask].mean() - leakage),
        relevant=float(r2[mask].mean()),
        irrelevant=float(r2[~mask].mean()),
        leakage=float(leakage),
        floor=float(floor[~mask].mean()),
        ceiling=None if X is None else float(np.maximum(read.ceiling, 0)[mask].mean()),
    )


@validate_params(
    {
        "X": ["array-like"],
        "Z": ["array-like"],
        "y": ["array-like"],
        "aligner": [SpaceAligner, RelativeRepresentation, None],
        "estimator": [HasMethods(["fit", "score"]), None],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def stitching_score(
    X: ArrayLike,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    aligner: SpaceAligner | RelativeRepresentation | None = None,
    estimator: Any = None,
    cv: Any = 5,
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    """Score an estimator that is fitted to one representation and applied to another.

    The estimator never learns from ``X``: in each fold it is fitted to ``Z`` of the training
    samples, the alignment to both representations of them, without ``y``, and the score is that
    of ``X`` of the test samples (zero-shot stitching [1]_ [2]_).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The new representation.
    Z : array-like of shape (n_samples, n_other_features)
        The representation that the estimator is fitted to, of the same samples.
    y : array-like of shape (n_samples,)
        The task: floats are amounts, other values class labels.
    aligner : SpaceAligner or RelativeRepresentation, default=None
        Maps ``X`` onto ``Z``, or both to a space relative to the same samples. None is
        ``SpaceAligner()``, a rotation.
    estimator : estimator, default=None
        With ``fit`` and ``score``. None is a ridge or a logistic regression of standardized
        features.
    cv : int, splitter or iterable, default=5
        Folds; of an integer random ones, stratified for labels.
    random_state : int, RandomState instance or None, default=0
        Folds.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        score : float
            Mean over the folds of the stitched estimator's score: R2 or accuracy.
        own : float
            Of the same estimator in ``Z``, or in its relative representation.
        loss : float
            ``own`` minus ``score``.
        scores : ndarray of shape (n_splits, 2), float64
            Of each fold, stitched and own.

    Raises
    ------
    ValueError
        If the arrays differ in length or are not finite, or ``cv`` cannot split them.

    References
    ----------
    .. [1] Lenc and Vedaldi, Understanding image representations by measuring their equivariance
       and equivalence, CVPR 2015.
    .. [2] Moschella, Maiorca, Fumero, Norelli, Locatello and Rodolà, Relative representations
       enable zero-shot latent space communication, ICLR 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import stitching_score
    >>> rng = np.random.default_rng(0)
    >>> old = rng.normal(size=(100, 4))
    >>> new = old[:, ::-1] + 0.1 * rng.normal(size=(100, 4))
    >>> scores = stitching_score(new, old, old[:, 0] > 0)
    >>> scores.score > 0.9, scores.own > 0.9
    (True, True)
    """
    new, old = check_numbers(X, "X"), check_numbers(Z, "Z")
    values = split_columns(y)[0][0]
    check_same_length(X=new, Z=old, y=values)
    is_label = values.dtype.kind != "f"
    if estimator is None:
        head = LogisticRegression(max_iter=1000) if is_label else RidgeCV(np.logspace(-3, 3, 13))
        estimator = make_pipeline(StandardScaler(), head)
    if cv is None or isinstance(cv, int):
        kind = StratifiedKFold if is_label else KFold
        cv = kind(5 if cv is None else cv, shuffle=True, random_state=random_state)
    scores = []
    for train, test in split_indices(cv, old, values, None):
        (new_test, old_train, old_test) = _share(aligner, new, old, train, test)
        fitted = clone(estimator).fit(old_train, values[train])
        scores.append([fitted.score(Z, values[test]) for Z in (new_test, old_test)])
    stitched, own = np.mean(scores, axis=0).tolist()
    return Bunch(score=stitched, own=own, loss=own - stitched, scores=np.array(scores))


def _share(
    aligner: Any, new: np.ndarray, old: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the new test samples, the old training and test samples, in a shared space."""
    if not isinstance(aligner, RelativeRepresentation):
        mapped = clone(aligner or SpaceAligner()).fit(new[train], old[train]).transform(new[test])
        return mapped, old[train], old[test]
    of_old = clone(aligner).fit(old[train])
    shared = {"anchors": of_old.anchor_indices_, "selection": "random", "random_state": None}
    of_new = clone(aligner).set_params(**shared).fit(new[train])
    return of_new.transform(new[test]), of_old.transform(old[train]), of_old.transform(old[test])
