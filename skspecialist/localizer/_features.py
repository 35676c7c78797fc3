"""What the scorer sees of a step, alone or beside what the step before does not explain."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from .._data.ragged import RaggedSequences

__all__ = ["StepFeatures"]

PENALTIES = np.logspace(-2, 5, 8)
CHUNK = 2**16  # steps that are looked at at once
MAX_STEPS = 50_000  # that the regression learns from
LIMIT = 5.0  # standard deviations


class StepFeatures:
    """Standardized steps and, if asked for, their innovations.

    Beyond five standard deviations values grow with their logarithm only: where a feature hardly
    ever moves, one that does would take the scorer to where it learned nothing.

    On smooth data a step carries its past: a scorer of the step alone finds a task wherever
    traces of it are left. An innovation is what is left after a linear regression on the step
    before, hence new at this step. The step before is not shown itself: with it, the scorer
    could as well find every task one step too late.

    Parameters
    ----------
    innovations : bool
        Whether to add them.
    """

    def __init__(self, innovations: bool) -> None:
        self.innovations = innovations

    def fit(self, sequences: RaggedSequences, rng: np.random.RandomState) -> Self:
        """Learn means, scales, and the regression on the step before."""
        there = sequences.there
        self._scaler = StandardScaler()
        for part in sequences.chunks(CHUNK):
            self._scaler.partial_fit(sequences.X[part][there[part]].astype(np.float64))
        self._regression: RidgeCV | None = None
        follows = np.argwhere(there[:, 1:])
        if not self.innovations or not len(follows):
            return self
        if len(follows) > MAX_STEPS:
            follows = follows[rng.choice(len(follows), MAX_STEPS, replace=False)]
        before, after = (
            self._scaled(sequences.X[follows[:, 0], follows[:, 1] + later]) for later in (0, 1)
        )
        self._regression = RidgeCV(PENALTIES).fit(before, after)
        left = after - self._regression.predict(before).reshape(after.shape)
        self._left_scale = np.sqrt((left**2).mean(axis=0))
        self._left_scale[self._left_scale < np.finfo(float).eps] = 1.0
        return self

    @property
    def width(self) -> int:
        """Number of features of a step, as given."""
        return int(self._scaler.n_features_in_)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return features of the steps of sequences (n_sequences, n_timesteps, n_features)."""
        steps = self._scaled(X)
        if not self.innovations:
            return limited(steps)
        left = steps.copy()
        if self._regression is not None and X.shape[1] > 1:
            before = steps[:, :-1].reshape(-1, steps.shape[2])
            left[:, 1:] -= self._regression.predict(before).reshape(left[:, 1:].shape)
            left[:, 1:] /= self._left_scale
        return limited(np.concatenate([steps, left], axis=2))

    def of_all(self, sequences: RaggedSequences) -> RaggedSequences:
        """Return features of all steps in single precision, which is what networks learn from."""
        parts = [
            self.transform(sequences.X[part]).astype(np.float32) for part in sequences.chunks(CHUNK)
        ]
        return replace(sequences, X=np.concatenate(parts))

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        rows = X.reshape(-1, X.shape[-1]).astype(np.float64)
        return np.asarray(self._scaler.transform(rows)).reshape(X.shape)


def limited(values: np.ndarray) -> np.ndarray:
    """Return values of which those beyond ``LIMIT`` are drawn in, in their order."""
    far = np.abs(values) > LIMIT
    outer = values[far]
    found = values.copy()
    found[far] = np.copysign(LIMIT + np.log1p(np.abs(outer) - LIMIT), outer)
    return found
