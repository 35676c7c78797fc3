"""Calibration of the detection thresholds on held-out sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from .._data.ragged import RaggedSequences
from ._networks import StepScorer
from ._weak_labels import WeakData

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
    weights : ndarray of shape (n_sequences, n_outputs)
        Weights of the labels.
    is_amount : ndarray of shape (n_outputs,), bool
        Whether the label of a task is an amount, rather than an occurrence.
    noise : ndarray of shape (n_outputs,)
        Standard deviation of the residuals of amounts; NaN for other tasks.
    log_likelihood : float
        Nats per sequence.
    """

    scores: list[np.ndarray]
    absent: np.ndarray
    weights: np.ndarray
    is_amount: np.ndarray
    noise: np.ndarray
    log_likelihood: float

    @classmethod
    def predict(cls, scorer: StepScorer, data: WeakData, folds: np.ndarray) -> Self:
        """Return the predictions for sequences that were held out in ``folds``."""
        values, weights, labels = data.values, data.weights, data.labels
        scores = scorer.scores(data.sequences, 1 + folds)
        outputs = scorer.outputs(scores, data.sequences.observed)
        known = np.where(np.isnan(values), 0.0, weights)
        squares = np.nansum((values - outputs) ** 2 * weights, axis=0)
        errors = np.sqrt(squares / known.sum(axis=0))
        least = np.finfo(float).eps * labels.scales  # residuals of a perfect fit are zero
        noise = np.where(labels.is_amount, errors + least, np.nan)
        return cls(
            data.sequences.parts(scorer.contributions(scores)),
            values == 0,
            weights,
            labels.is_amount,
            noise,
            scorer.log_likelihood(values, outputs, noise, weights),
        )

    def scores_of(
        self, given: RaggedSequences, places: np.ndarray, scorer: StepScorer
    ) -> list[np.ndarray]:
        """Return the scores of all sequences, of weight zero (-1 of ``places``) too."""
        scores, places = list(self.scores), places.copy()
        if len(absent := np.flatnonzero(places < 0)):
            # The scorer of all sequences was trained without them.
            others = given.take(absent)
            places[absent] = len(scores) + np.arange(len(absent))
            scores += others.parts(scorer.contributions(scorer.scores(others)))
        return [scores[place] for place in places]

    def thresholds(self, alpha: float) -> np.ndarray:
        """Return the least score of a step of each task, shape (n_outputs,)."""
        lengths = [len(part) for part in self.scores]
        sizes = np.abs(np.concatenate(self.scores))
        rows = np.repeat(_effective(self.weights.max(axis=1)), lengths)
        calibrated = []
        for size, absent, weights in zip(sizes.T, self.absent.T, self.weights.T, strict=True):
            counts = np.zeros(len(absent))
            if absent.any():
                counts[absent] = _effective(weights[absent])
            counts = np.repeat(counts, lengths)
            null = counts > 0
            calibrated.append(
                false_discovery_threshold(size, size[null], alpha, rows, counts[null])
            )
        return np.maximum(calibrated, np.where(self.is_amount, 0.0, LEAST_PROBABILITY))


def _effective(weights: np.ndarray) -> np.ndarray:
    """Return weights with the sum of Kish's effective sample size, whatever their unit."""
    return np.asarray(weights * (weights.sum() / (weights**2).sum()))


def held_out_folds(data: WeakData, cv: Any, rng: np.random.RandomState) -> np.ndarray:
    """Return the fold (n_sequences,) in which each sequence is held out, with its group.

    Raises
    ------
    ValueError
        If all sequences are of one group, or of one fold.
    """
    n_sequences, groups, folds = len(data.values), data.groups, data.folds
    if folds is not None:
        # Folds of weight zero are left out of the numbering.
        folds = np.unique(folds, return_inverse=True)[1]
        if not folds.any():
            raise ValueError(f"cv={cv!r} must have at least two folds of sequences with weights.")
        return folds
    n_units = n_sequences if groups is None else len(np.unique(groups))
    if n_units < 2:
        raise ValueError(
            "groups needs at least two distinct values: a group is held out as a whole."
        )
    if cv < 2:
        raise ValueError(f"cv={cv} must be at least two folds.")
    kind = KFold if groups is None else GroupKFold
    splitter = kind(min(cv, n_units), shuffle=True, random_state=rng.randint(2**31 - 1))
    folds = np.zeros(n_sequences, dtype=int)
    for fold, (_, held_out) in enumerate(splitter.split(folds, groups=groups)):
        folds[held_out] = fold
    return folds


def false_discovery_threshold(
    scores: np.ndarray,
    null: np.ndarray,
    alpha: float,
    weights: np.ndarray | None = None,
    null_weights: np.ndarray | None = None,
) -> float:
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
    weights : ndarray of shape (n_steps,) or None, default=None
        Weights of the scores. None is equal weights.
    null_weights : ndarray of shape (n_null,) or None, default=None
        Those of ``null``.

    Returns
    -------
    threshold : float
        Infinite if no score keeps the rate.

    References
    ----------
    .. [1] J. D. Storey, "A direct approach to false discovery rates", Journal of the Royal
       Statistical Society B 64, 2002; with pi_0 = 1.
    """
    weights = np.ones(len(scores)) if weights is None else weights
    null_weights = np.ones(len(null)) if null_weights is None else null_weights
    order, null_order = np.argsort(scores)[::-1], np.argsort(null)
    candidates, found = scores[order], np.cumsum(weights[order])
    # As many null scores as reach a candidate, and one more: exact for exchangeable scores.
    below = np.append(0.0, np.cumsum(null_weights[null_order]))
    reach = below[-1] - below[np.searchsorted(null[null_order], candidates, side="left")]
    rate = found[-1] * (1 + reach) / (1 + below[-1]) / found
    passing = np.flatnonzero(rate <= alpha)
    return float(candidates[passing[-1]]) if len(passing) else float("inf")
