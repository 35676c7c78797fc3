"""Calibration of the detection thresholds on held-out sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from .._data.ragged import RaggedSequences
from .._data.validation import check_labels, check_same_length
from ._networks import StepScorer

__all__ = ["HeldOut", "false_discovery_threshold", "held_out_folds"]

# Least probability of a step of a task: held-out sequences may resemble the others so much that
# the estimated false discovery rate is too low.
LEAST_PROBABILITY = 0.5


@dataclass(frozen=True)
class HeldOut:
    """Predictions for each sequence by the scorer that was fitted without its fold.

    Attributes
    ----------
    scores : list of ndarray of shape (n_timesteps, n_outputs)
        Probabilities, or contributions to amounts, of the steps of each sequence.
    absent : ndarray of shape (n_sequences, n_outputs), bool
        Sequences without the task, by their labels.
    is_amount : ndarray of shape (n_outputs,), bool
        Whether the label of a task is an amount, rather than an occurrence.
    noise : ndarray of shape (n_outputs,)
        Standard deviation of the residuals of amounts; NaN for other tasks.
    log_likelihood : float
        Nats per sequence.
    """

    scores: list[np.ndarray]
    absent: np.ndarray
    is_amount: np.ndarray
    noise: np.ndarray
    log_likelihood: float

    @classmethod
    def predict(
        cls, scorer: StepScorer, sequences: RaggedSequences, values: np.ndarray, folds: np.ndarray
    ) -> Self:
        """Return the predictions for sequences with labels ``values`` in ``folds``."""
        scores, labels = scorer.scores(sequences, 1 + folds), scorer.labels
        outputs = scorer.outputs(scores, sequences.observed)
        errors = np.sqrt(np.nanmean((values - outputs) ** 2, axis=0))
        least = np.finfo(float).eps * labels.scales  # residuals of a perfect fit are zero
        noise = np.where(labels.is_amount, errors + least, np.nan)
        found = scorer.contributions(scores)
        return cls(
            [part[:n] for part, n in zip(found, sequences.lengths, strict=True)],
            values == 0,
            labels.is_amount,
            noise,
            scorer.log_likelihood(values, outputs, noise),
        )

    def thresholds(self, alpha: float) -> np.ndarray:
        """Return the least score of a step of each task, shape (n_outputs,)."""
        sizes = np.abs(np.concatenate(self.scores))
        absent = np.repeat(self.absent, [len(part) for part in self.scores], axis=0)
        calibrated = [
            false_discovery_threshold(size, size[without], alpha)
            for size, without in zip(sizes.T, absent.T, strict=True)
        ]
        return np.maximum(calibrated, np.where(self.is_amount, 0.0, LEAST_PROBABILITY))


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
        raise ValueError(
            "groups needs at least two distinct values: a group is held out as a whole."
        )
    kind = KFold if groups is None else GroupKFold
    splitter = kind(min(n_folds, n_units), shuffle=True, random_state=rng.randint(2**31 - 1))
    folds = np.zeros(len(sequences), dtype=int)
    for fold, (_, held_out) in enumerate(splitter.split(folds, groups=groups)):
        folds[held_out] = fold
    return folds


def false_discovery_threshold(scores: np.ndarray, null: np.ndarray, alpha: float) -> float:
    """Return the least score at which the estimated false discovery rate is at most ``alpha``.

    Scores of steps without the task estimate the number of steps that would reach a score by
    chance if none had the task, an upper bound for the number of false discoveries [1]_.

    Parameters
    ----------
    scores : ndarray of shape (n_steps,)
        Scores of held-out steps.
    null : ndarray of shape (n_null,)
        Scores of the steps that cannot have the task.
    alpha : float
        False discovery rate.

    Returns
    -------
    threshold : float
        Infinite if no score keeps the rate.

    References
    ----------
    .. [1] J. D. Storey, "A direct approach to false discovery rates", Journal of the Royal
       Statistical Society B 64, 2002; with pi_0 = 1.
    """
    candidates = np.sort(scores)[::-1]
    found = np.arange(1, len(candidates) + 1)
    # As many null scores as reach a candidate, and one more: exact for exchangeable scores.
    reach = len(null) - np.searchsorted(np.sort(null), candidates, side="left")
    rate = len(scores) * (1 + reach) / (1 + len(null)) / found
    passing = np.flatnonzero(rate <= alpha)
    return float(candidates[passing[-1]]) if len(passing) else float("inf")
