"""How certain a step must be to count as one of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from .._data.ragged import RaggedSequences
from .._data.validation import check_labels, check_same_length
from ._scorer import StepScorer

__all__ = ["HeldOut", "false_discovery_threshold", "held_out_folds"]

# Held-out sequences may show again what the others showed, and be too easy to tell apart.
LEAST_CHANCE = 0.5


@dataclass(frozen=True)
class HeldOut:
    """What scorers say of sequences that they did not learn from.

    Attributes
    ----------
    scores : list of ndarray of shape (n_timesteps, n_goals)
        Probabilities, or contributions to amounts, of the steps of each sequence.
    absent : ndarray of shape (n_sequences, n_goals), bool
        The sequences that are known to be without a task.
    is_amount : ndarray of shape (n_goals,), bool
        Tasks of which an amount is known.
    noise : ndarray of shape (n_goals,)
        Standard deviation of what is left of amounts; NaN for other tasks.
    log_likelihood : float
        Nats per sequence.
    """

    scores: list[np.ndarray]
    absent: np.ndarray
    is_amount: np.ndarray
    noise: np.ndarray
    log_likelihood: float

    @classmethod
    def of(
        cls, scorer: StepScorer, sequences: RaggedSequences, values: np.ndarray, folds: np.ndarray
    ) -> Self:
        """Look at each sequence with the scorer that learned without its fold."""
        scores, goals = scorer.scores(sequences, 1 + folds), scorer.goals
        outputs = scorer.outputs(scores, sequences.there)
        errors = np.sqrt(np.nanmean((values - outputs) ** 2, axis=0))
        least = np.finfo(float).eps * goals.scales  # a perfect fit has none
        noise = np.where(goals.is_amount, errors + least, np.nan)
        found = scorer.contributions(scores)
        return cls(
            [part[:n] for part, n in zip(found, sequences.lengths, strict=True)],
            values == 0,
            goals.is_amount,
            noise,
            scorer.log_likelihood(values, outputs, noise),
        )

    def thresholds(self, alpha: float) -> np.ndarray:
        """Return the score of each task (n_goals,) from which on a step counts."""
        sizes = np.abs(np.concatenate(self.scores))
        absent = np.repeat(self.absent, [len(part) for part in self.scores], axis=0)
        calibrated = [
            false_discovery_threshold(size, size[without], alpha)
            for size, without in zip(sizes.T, absent.T, strict=True)
        ]
        return np.maximum(calibrated, np.where(self.is_amount, 0.0, LEAST_CHANCE))


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
