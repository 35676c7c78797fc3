"""Generalist features and specialist latents side by side, and which belong to which task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse

from ._invariance import stable_latents
from ._layout import layout_for
from ._sample import Sample

__all__ = ["AddedTasks", "Representation"]


class Representation:
    """Generalist, structure and encoder, fitted on the same sequences.

    Its features are those of the generalist, step by step, followed by what the layout
    makes of the encoder's latents and of the steps of each task. A task has the same latents
    at all of its steps, which takes few data to learn; one that reads other features at each
    step is better off with the generalist at these steps.

    Parameters
    ----------
    generalist, structure, encoder : estimator or None
        Unfitted parts, which are fitted in place. Without a structure all steps serve every
        task. Without an encoder there are only generalist features.
    dense : bool, default=False
        Whether each task reads all latents and steps that some task uses.

    Attributes
    ----------
    n_generalist : int
        Number of generalist features.
    steps : ndarray of shape (n_timesteps, n_tasks), bool
        Steps of each task.
    mask : ndarray of shape (n_tasks, n_latents), float
        How much each task uses each latent.
    columns : list of dict of {"latents", "steps"} to ndarray of int
        Features of each task: its latents at its steps, and the generalist at its steps. Kinds
        of which nothing was found, or all steps, are left out.
    missing : list of (str or None)
        What was not found, for tasks without any of them.
    """

    n_latents = 0  # before fitting

    def __init__(
        self, generalist: Any, structure: Any, encoder: Any, *, dense: bool = False
    ) -> None:
        self.generalist, self.structure, self.encoder = generalist, structure, encoder
        self.dense = dense

    def fit(self, sample: Sample, stage: Callable[..., AbstractContextManager[None]]) -> Self:
        """Fit all parts; ``stage`` opens a stage, told its name and the part that is fitted."""
        with stage("generalist", self._unfitted_generalist):
            if self._unfitted_generalist is not None:
                self._unfitted_generalist.fit(sample.X.reshape(-1, sample.X.shape[2]), None)
        with stage("structure", self.structure):
            states = self._represent(sample.X)
            self.n_generalist = states.shape[1] * states.shape[2]
            self.mask = np.zeros((len(sample.tasks), self.n_latents))
            weights = self._step_weights(states, sample)
        self.layout = layout_for(weights)
        self.steps = self.layout.steps
        learns_mask = self.encoder is not None and self.steps.any()
        with stage("encoder", self._unfitted_encoder if learns_mask else None):
            if learns_mask:
                step_weights = weights[0] if self.layout.is_aligned else weights
                self.mask = self._learn_mask(states, sample.y, step_weights)
        if not self.mask.shape[1]:
            self.encoder = None
        self._assign(sample)
        return self

    def features(self, X: np.ndarray) -> np.ndarray:
        """Return the features of sequences, shape (n_sequences, n_features)."""
        states = self._represent(X)
        latents = states[..., :0] if self.encoder is None else self.encoder.latents(states)
        weights = None if self.layout.is_aligned else self._weights_of(states)
        return self.layout.features(states, latents, weights)

    def feature_names(self) -> np.ndarray:
        """Return the names of the features."""
        n_latents = 0 if self.encoder is None else self.mask.shape[1]
        names = self.layout.names(self.n_generalist // len(self.steps), n_latents)
        return np.array(names, dtype=object)

    @property
    def _unfitted_generalist(self) -> Any:
        return self.generalist

    @property
    def _unfitted_encoder(self) -> Any:
        return self.encoder

    def _learn_mask(self, states: np.ndarray, y: Any, step_weights: np.ndarray) -> np.ndarray:
        return np.asarray(self.encoder.fit(states, y, step_weights=step_weights).mask_)

    def _represent(self, X: np.ndarray) -> np.ndarray:
        if self.generalist is None:
            return X
        rows = self.generalist.transform(X.reshape(-1, X.shape[2]))
        rows = rows.toarray() if issparse(rows) else np.asarray(rows)
        return rows.reshape(len(X), X.shape[1], -1)

    def _step_weights(self, states: np.ndarray, sample: Sample) -> np.ndarray:
        """Return the weights (n_sequences, n_timesteps, n_tasks) of each step in each task."""
        n_tasks = len(sample.tasks)
        if self.structure is None:
            return np.ones((*states.shape[:2], n_tasks))
        self.structure.fit(states, sample.y)
        return self._weights_of(states)

    def _weights_of(self, states: np.ndarray) -> np.ndarray:
        weights, n_tasks = self.structure.step_weights(states), len(self.mask)
        if weights.shape[2] != n_tasks:
            raise ValueError(
                f"The structure found steps of {weights.shape[2]} tasks of its own, but y has "
                f"{n_tasks}: use one that learns from y, such as criterion='direct'."
            )
        if self.dense:
            weights = np.repeat(weights.max(axis=2, keepdims=True), n_tasks, axis=2)
        return np.asarray(weights)

    def _assign(self, sample: Sample) -> None:
        """Say which features belong to which task, or why there are none."""
        used = self.mask > 0
        if self.dense:
            used = np.repeat(used.any(axis=0, keepdims=True), len(used), axis=0)
        self.columns = self.layout.columns(used, self.n_generalist // len(self.steps))
        if sample.environments is not None:
            self._keep_stable(sample, sample.environments)
        # All features of the generalist at all steps are nothing special.
        everything = np.arange(self.n_generalist)
        self.columns = [
            {k: part for k, part in c.items() if len(part) and not np.array_equal(part, everything)}
            for c in self.columns
        ]
        self.missing = [
            None if columns else self._why_nothing(steps, latents)
            for columns, steps, latents in zip(self.columns, self.steps.T, used, strict=True)
        ]

    def _why_nothing(self, steps: np.ndarray, used: np.ndarray) -> str:
        if not steps.any():
            return "no time step of this task was found"
        if not used.any():
            return "no latent of this task was found"
        return "no feature of this task is stable across environments"

    def _keep_stable(self, sample: Sample, environments: np.ndarray) -> None:
        """Drop features whose relation to the task is not the same in all environments."""
        features = self.features(sample.X)
        values, groups = sample.tasks.to_columns(sample.y)
        for columns, group in zip(self.columns, groups, strict=True):
            for kind, part in columns.items():
                if len(part):
                    stable = stable_latents(features[:, part], values[:, group], environments)
                    columns[kind] = part[stable]


class AddedTasks(Representation):
    """Steps and latents of further tasks in a representation that stays as it is.

    Parameters
    ----------
    base : Representation
        Fitted; its generalist and encoder are used.
    structure : estimator or None
        Unfitted: finds the steps of the new tasks.
    rows : estimator
        Unfitted encoder of known latents: finds which of the latents the new tasks use.
    """

    def __init__(self, base: Representation, structure: Any, rows: Any) -> None:
        if not base.layout.is_aligned:
            raise ValueError(
                "add_task needs a structure that is the same in all sequences: fit a pipeline of "
                "all tasks."
            )
        super().__init__(base.generalist, structure, base.encoder, dense=base.dense)
        self.rows, self.n_latents = rows, base.mask.shape[1]

    @property
    def _unfitted_generalist(self) -> None:
        """There is one that stays as it is."""

    @property
    def _unfitted_encoder(self) -> Any:
        return self.rows

    def _learn_mask(self, states: np.ndarray, y: Any, step_weights: np.ndarray) -> np.ndarray:
        latents = self.encoder.latents(states)
        return np.asarray(self.rows.fit(latents, y, step_weights=step_weights).mask_)
