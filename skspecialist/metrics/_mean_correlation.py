"""Mean correlation coefficient of single latents, up to order and sign."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.utils import Bunch

from .._base.sklearn_compat import StrOptions, validate_params
from ._inputs import check_pair

__all__ = ["mean_correlation_coefficient"]


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
