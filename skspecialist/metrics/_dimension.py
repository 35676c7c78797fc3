"""Intrinsic dimension and spectral entropy of a representation."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from .._base.sklearn_compat import Interval, StrOptions, validate_params
from .._data.validation import check_numbers, refuse_huge

__all__ = ["intrinsic_dimension", "spectral_entropy"]

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


def _check(X: ArrayLike) -> np.ndarray:
    samples = check_numbers(X, "X")
    refuse_huge(samples, "X")
    return samples
