"""Features of single steps, and their innovations (residuals of one-step predictions)."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from .._data.ragged import RaggedSequences

__all__ = ["StepFeatures"]

PENALTIES = np.logspace(-2, 5, 8)  # candidates of the ridge penalty, by leave-one-out
CHUNK = 2**16  # steps that are transformed at a time: tens of megabytes
MAX_STEPS = 50_000  # steps of the regression, whose coefficients need no more
LIMIT = 5.0  # standard deviations: one normal value in 1.7 million is compressed


class StepFeatures:
    """Standardized steps and, optionally, their innovations; a missing value is the mean.

    Beyond five standard deviations values grow with their logarithm only: the scorer would
    extrapolate where a feature that is nearly constant has a rare large value.

    On smooth data a step carries its past: a scorer of the step alone finds a task wherever
    traces of it are left. An innovation is the residual of a linear regression on the step
    before, hence new at this step. The step before is not a feature itself: with it, the
    scorer could find every task one step too late just as well.

    Parameters
    ----------
    innovations : bool
        Whether innovations are added to the features.
    """

    def __init__(self, innovations: bool) -> None:
        self.innovations = innovations

    def fit(
        self, sequences: RaggedSequences, weights: np.ndarray, rng: np.random.RandomState
    ) -> Self:
        """Estimate means, scales, and the regression on the step before.

        Sequences have ``weights`` (n_sequences,).
        """
        present, is_weighted = sequences.observed, not (weights == weights[0]).all()
        per_step = np.broadcast_to(weights[:, None], present.shape)
        self._scaler = StandardScaler()
        for part in sequences.chunks(CHUNK):
            rows = sequences.X[part][present[part]].astype(np.float64)
            counts = per_step[part][present[part]] if is_weighted else None
            self._scaler.partial_fit(rows, sample_weight=counts)
        self._regression: RidgeCV | None = None
        complete = present & ~np.isnan(sequences.X).any(axis=2)
        follows = np.argwhere(complete[:, 1:] & complete[:, :-1])
        if not self.innovations or not len(follows):
            return self
        if len(follows) > MAX_STEPS:
            follows = follows[rng.choice(len(follows), MAX_STEPS, replace=False)]
        before, after = (
            self._scaled(sequences.X[follows[:, 0], follows[:, 1] + later]) for later in (0, 1)
        )
        counts = weights[follows[:, 0]] if is_weighted else None
        self._regression = RidgeCV(PENALTIES).fit(before, after, sample_weight=counts)
        residuals = after - self._regression.predict(before).reshape(after.shape)
        self._residual_scale = np.sqrt(np.average(residuals**2, axis=0, weights=counts))
        self._residual_scale[self._residual_scale < np.finfo(float).eps] = 1.0
        return self

    @property
    def width(self) -> int:
        """Number of features of a step before the transformation."""
        return int(self._scaler.n_features_in_)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return features of the steps of sequences (n_sequences, n_timesteps, n_features)."""
        steps = self._scaled(X)
        if not self.innovations:
            return compress_outliers(steps)
        # The first step of a sequence is an innovation as a whole.
        innovations = steps.copy()
        if self._regression is not None and X.shape[1] > 1:
            before = steps[:, :-1].reshape(-1, steps.shape[2])
            predicted = self._regression.predict(before).reshape(innovations[:, 1:].shape)
            innovations[:, 1:] -= predicted
            innovations[:, 1:] /= self._residual_scale
            innovations[:, 1:][np.isnan(X[:, 1:])] = 0.0
        return compress_outliers(np.concatenate([steps, innovations], axis=2))

    def transform_all(self, sequences: RaggedSequences) -> RaggedSequences:
        """Return the features of all steps, in the single precision of the training."""
        parts = [
            self.transform(sequences.X[part]).astype(np.float32) for part in sequences.chunks(CHUNK)
        ]
        return replace(sequences, X=np.concatenate(parts))

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        rows = X.reshape(-1, X.shape[-1]).astype(np.float64)
        return np.nan_to_num(self._scaler.transform(rows)).reshape(X.shape)


def compress_outliers(values: np.ndarray) -> np.ndarray:
    """Return values that grow with their logarithm beyond ``LIMIT``, in unchanged order."""
    far = np.abs(values) > LIMIT
    outer = values[far]
    found = values.copy()
    found[far] = np.copysign(LIMIT + np.log1p(np.abs(outer) - LIMIT), outer)
    return found
