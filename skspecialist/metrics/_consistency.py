"""Consistency of the latents of several fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.utils import Bunch

from .._base.sklearn_compat import validate_params
from .._data.validation import check_same_length
from ._inputs import check_latents

__all__ = ["consistency"]


@validate_params(
    {"latents": ["array-like"], "random_state": ["random_state"]},
    prefer_skip_nested_validation=True,
)
def consistency(
    latents: Sequence[ArrayLike], *, random_state: int | np.random.RandomState | None = 0
) -> Bunch:
    """Return how well the latents of each fit predict those of each other, linearly.

    The R2 of linear regression both ways over all pairs, as the consistency of [1]_, but
    on samples that the regression did not see, so that many latents are not consistent
    by overfitting. No truth is needed. Fits that agree may agree on something wrong.

    Parameters
    ----------
    latents : sequence of array-like of shape (n_samples, n_latents)
        Latents of the same samples by two fits or more, as with several values of
        ``random_state``; preferably of samples that no fit saw. The number of latents
        may differ.
    random_state : int, RandomState instance or None, default=0
        Which samples form the five folds.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        score : float
            Mean over all pairs of different fits, both ways.
        pairwise : ndarray of shape (n_fits, n_fits), float64
            Entry (i, j) is the mean R2 over the latents of fit j, predicted from those of
            fit i: 1 if each is a linear function of them, about 0 if they carry no
            information on it. Where (i, j) is high and (j, i) is low, fit j left something out.

    Raises
    ------
    ValueError
        If there are fewer than two fits, an array is not finite, has a constant column,
        or no more samples than columns, or the arrays differ in length.

    References
    ----------
    .. [1] Schneider, Lee and Mathis, Learnable latent embeddings for joint behavioral
       and neural analysis, Nature 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import consistency
    >>> first = np.random.RandomState(0).standard_normal((100, 2))
    >>> consistency([first, first @ [[1, 2], [0, 1]], first[:, :1]]).pairwise.round(1)
    array([[1. , 1. , 1. ],
           [1. , 1. , 1. ],
           [0.5, 0.9, 1. ]])
    """
    if len(latents) < 2:
        raise ValueError(f"latents has {len(latents)} fits; two or more can be compared.")
    named = {f"latents[{index}]": fit for index, fit in enumerate(latents)}
    fits = [check_latents(fit, name) for name, fit in named.items()]
    check_same_length(**named)
    folds = KFold(5, shuffle=True, random_state=random_state)
    splits = list(folds.split(fits[0]))
    targets = np.hstack(fits)
    starts = np.cumsum([0] + [fit.shape[1] for fit in fits[:-1]])
    pairwise = np.empty((len(fits), len(fits)))
    for index, fit in enumerate(fits):
        predicted = cross_val_predict(LinearRegression(), fit, targets, cv=splits)
        r2 = r2_score(targets, predicted, multioutput="raw_values")
        pairwise[index] = [part.mean() for part in np.split(r2, starts[1:])]
    between = ~np.eye(len(fits), dtype=bool)
    return Bunch(score=float(pairwise[between].mean()), pairwise=pairwise)
