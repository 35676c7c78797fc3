"""Trained scorers of steps, what they look at, and what their scores mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, log_expit

from .._data.ragged import RaggedSequences
from .._data.step_weights import weighted_means
from ._features import CHUNK, StepFeatures
from ._goals import Goals
from ._networks import pool_scores, score_steps, step_latents

__all__ = ["StepScorer"]


@dataclass(frozen=True)
class StepScorer:
    """Scores of the steps of sequences, a chunk of them at a time.

    Attributes
    ----------
    goals : Goals
        What is localized.
    features : StepFeatures
        What is looked at.
    module : Bottlenecks
        The networks: a scorer of all sequences, and maybe one without each fold.
    """

    goals: Goals
    features: StepFeatures
    module: Any

    def scores(self, sequences: RaggedSequences, scorers: np.ndarray | None = None) -> np.ndarray:
        """Return logits, and amounts in standard deviations, of the steps.

        Parameters
        ----------
        sequences : RaggedSequences
            The sequences.
        scorers : ndarray of shape (n_sequences,), default=None
            Which scorer looks at each sequence. None is that of all sequences.

        Returns
        -------
        scores : ndarray of shape (n_sequences, n_timesteps, n_goals)
            Their scores.
        """
        there = sequences.there
        parts = [
            score_steps(
                self.module,
                self.features.transform(sequences.X[part]),
                there[part],
                None if scorers is None else scorers[part],
            )
            for part in sequences.chunks(CHUNK)
        ]
        return np.concatenate(parts)

    def contributions(self, scores: np.ndarray) -> np.ndarray:
        """Return probabilities, and amounts in the units of ``y``, for scores."""
        return np.where(self.goals.is_amount, scores * self.goals.scales, expit(scores))

    def outputs(self, scores: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Return logits, and amounts in the units of ``y``, (n_sequences, n_goals)."""
        return pool_scores(self.module, scores, there) * self.goals.scales

    def log_likelihood(self, values: np.ndarray, outputs: np.ndarray, noise: np.ndarray) -> float:
        """Return nats per sequence; unknown values do not count.

        Parameters
        ----------
        values : ndarray of shape (n_sequences, n_goals)
            What is known.
        outputs : ndarray of shape (n_sequences, n_goals)
            What is expected.
        noise : ndarray of shape (n_goals,)
            Standard deviation of what is left of amounts.
        """
        chances = np.where(values > 0, log_expit(outputs), log_expit(-outputs))
        spread = np.where(self.goals.is_amount, noise, 1.0)
        normal = -(((values - outputs) / spread) ** 2 + np.log(2 * np.pi)) / 2 - np.log(spread)
        found = np.where(self.goals.is_amount, normal, chances)
        return float(np.where(np.isnan(values), 0.0, found).sum(axis=1).mean())

    def pooled_latents(self, sequences: RaggedSequences, weights: np.ndarray) -> np.ndarray:
        """Return means of the latents (n_sequences, n_goals, n_latents) by weights of steps."""
        weights = weights * sequences.there[..., None]
        parts = [
            weighted_means(
                step_latents(self.module, self.features.transform(sequences.X[part])),
                weights[part],
            )
            for part in sequences.chunks(CHUNK)
        ]
        return np.concatenate(parts)
