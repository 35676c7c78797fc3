"""Specialization score of a representation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from .._data.validation import as_array
from ._block_r2 import block_r2

__all__ = ["specialization_score"]


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
