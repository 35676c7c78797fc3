"""Generalist features and specialist latents side by side, and which belong to which task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse

__all__ = ["Representation"]


class Representation:
    """Generalist, structure and encoder, fitted on the same sequences.

    Its features are those of the generalist, step by step, followed by the encoder's
    latents, step by step.

    Parameters
    ----------
    generalist, structure, encoder : estimator or None
        Unfitted parts, which are fitted in place. Without a structure and an encoder
        there are only generalist features.

    Attributes
    ----------
    n_generalist : int
        Number of generalist features.
    specialist_columns : list of ndarray of int
        Features of each task: its latents at its steps. Empty where the structure found
        no step or the encoder no latent.
    missing : list of (str or None)
        What was not found, for tasks without specialist features.
    """

    def __init__(self, generalist: Any, structure: Any, encoder: Any) -> None:
        self.generalist, self.structure, self.encoder = generalist, structure, encoder

    def fit(self, X: np.ndarray, y: ArrayLike, n_tasks: int, done: Callable[[str], None]) -> Self:
        """Fit on sequences of shape (n_sequences, n_timesteps, n_features).

        Parameters
        ----------
        X : ndarray of shape (n_sequences, n_timesteps, n_features)
            Sequences.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Tasks.
        n_tasks : int
            Number of tasks.
        done : callable
            Is told the name of each stage that is over.

        Returns
        -------
        self : Representation
            Fitted.
        """
        if self.generalist is not None:
            self.generalist.fit(X.reshape(-1, X.shape[2]), None)
        done("generalist")
        states = self._represent(X)
        self.n_generalist = states.shape[1] * states.shape[2]
        steps = np.zeros((X.shape[1], n_tasks), dtype=bool)
        if self.structure is not None:
            weights = self.structure.fit(states, y).task_steps(states)
            if weights.shape[2] != n_tasks:
                raise ValueError(
                    f"The structure found steps of {weights.shape[2]} tasks of its own, but y has "
                    f"{n_tasks}: use one that learns from y, such as criterion='direct'."
                )
            steps = (weights > 0).any(axis=0)
        done("structure")
        mask = np.zeros((n_tasks, 0), dtype=bool)
        if self.encoder is not None and steps.any():
            mask = self.encoder.fit(states, y, step_tasks=weights).mask_ > 0
        else:
            self.encoder = None
        done("encoder")
        self.specialist_columns = [
            self.n_generalist + np.flatnonzero(np.outer(steps[:, i], mask[i]))
            for i in range(n_tasks)
        ]
        self.missing = [
            "no time step of this task was found"
            if not steps[:, i].any()
            else None
            if mask[i].any()
            else "no latent of this task was found"
            for i in range(n_tasks)
        ]
        return self

    def features(self, X: np.ndarray) -> np.ndarray:
        """Return the features of sequences, shape (n_sequences, n_features)."""
        states = self._represent(X)
        blocks = [states] if self.encoder is None else [states, self.encoder.latents(states)]
        return np.hstack([block.reshape(len(X), -1) for block in blocks])

    def feature_names(self, n_timesteps: int) -> np.ndarray:
        """Return names such as step3_generalist5 and step3_latent0."""
        blocks = [("generalist", self.n_generalist // n_timesteps)]
        if self.encoder is not None:
            blocks.append(("latent", self.encoder.mask_.shape[1]))
        names = [
            f"step{t}_{kind}{j}"
            for kind, size in blocks
            for t in range(n_timesteps)
            for j in range(size)
        ]
        return np.array(names, dtype=object)

    def _represent(self, X: np.ndarray) -> np.ndarray:
        if self.generalist is None:
            return X
        rows = self.generalist.transform(X.reshape(-1, X.shape[2]))
        rows = rows.toarray() if issparse(rows) else np.asarray(rows)
        return rows.reshape(len(X), X.shape[1], -1)
