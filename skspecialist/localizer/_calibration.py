"""How certain a step must be to count as one of a task."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from ..validation import check_labels, check_same_length

__all__ = ["false_discovery_threshold", "held_out_folds"]


def held_out_folds(
    sequences: Any, groups: Any, n_folds: int, rng: np.random.RandomState
) -> np.ndarray:
    """Return the fold (n_sequences,) in which each sequence is held out, with its group.

    Raises
    ------
    ValueError
        If all sequences are of one group.
    """
    check_same_length(X=sequences, groups=groups)
    groups = None if groups is None else check_labels(groups, "groups")
    n_units = len(sequences) if groups is None else len(np.unique(groups))
    if n_units < 2:
        raise ValueError("groups has one label only: nothing would be left to learn from.")
    kind = KFold if groups is None else GroupKFold
    splitter = kind(min(n_folds, n_units), shuffle=True, random_state=rng.randint(2**31 - 1))
    folds = np.zeros(len(sequences), dtype=int)
    for fold, (_, held_out) in enumerate(splitter.split(folds, groups=groups)):
        folds[held_out] = fold
    return folds


def false_discovery_threshold(scores: np.ndarray, null: np.ndarray, alpha: float) -> float:
    """Return the least score at which the estimated false discovery rate is at most ``alpha``.

    Scores of steps without the task say how many of all steps would reach a score by chance,
    if none had the task: at most that many of those that do are false [1]_.

    Parameters
    ----------
    scores : ndarray of shape (n_steps,)
        Of steps that the scorer did not see.
    null : ndarray of shape (n_null,)
        Of those of them that cannot have the task.
    alpha : float
        False discovery rate.

    Returns
    -------
    threshold : float
        Infinite where no score is certain enough.

    References
    ----------
    .. [1] J. D. Storey, "A direct approach to false discovery rates", Journal of the Royal
       Statistical Society B 64, 2002; with all steps taken for null.
    """
    candidates = np.sort(scores)[::-1]
    found = np.arange(1, len(candidates) + 1)
    # As many null scores as reach a candidate, and one more: exact for exchangeable scores.
    reach = len(null) - np.searchsorted(np.sort(null), candidates, side="left")
    rate = len(scores) * (1 + reach) / (1 + len(null)) / found
    passing = np.flatnonzero(rate <= alpha)
    return float(candidates[passing[-1]]) if len(passing) else float("inf")
