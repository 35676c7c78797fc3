"""Features of the generalist and latents of the encoder, and the columns of each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import has_fit_parameter

from .._base.sklearn_compat import safe_indexing
from .._data.ragged import repeat_steps
from .._data.weights import weighted_means
from ..encoder._nuisance import NuisanceRemover
from ..exceptions import warn
from ..structure._evidence import TooFewSequencesError
from ..structure._segments import at_mean
from ._sequences import LabeledSequences, States, observed_rows

__all__ = ["Representation", "Stage", "features_of"]

# Opens a stage of the fit, given its name and the part that is fitted in it.
Stage = Callable[..., AbstractContextManager[None]]


class Representation:
    """Generalist, structure and encoder, fitted on the same sequences.

    The features are those of the generalist, step by step, followed by the encoder's latents:
    step by step where all sequences share the steps of the tasks (*aligned*), as means over
    the steps of each task where each sequence has its own. All steps of a task share its
    latents, so that few parameters are estimated; a task whose steps differ in the features
    that matter is better predicted from the generalist at its steps.

    Parameters
    ----------
    generalist, structure, encoder : estimator or None
        Unfitted parts, which are fitted in place. Without a structure all steps belong to
        every task. Without an encoder there are only generalist features.
    share_features : bool, default=False
        Whether each task reads the latents and steps of all tasks.
    selector : estimator or None, default=None
        Unfitted estimator of a mask on known latents, for tasks that are added later: then
        ``generalist`` and ``encoder`` are fitted ones, which do not change.
    repeats_steps : bool, default=True
        Whether steps after the end of a sequence, which are NaN, are repetitions of its own
        for estimators and encoder.
    remover : NuisanceRemover or None, default=None
        Transformer of the states. None fits one where nuisances are given.

    Attributes
    ----------
    aligned : bool
        Whether the steps of the tasks are the same in all sequences.
    n_generalist : int
        Number of generalist features.
    varied : ndarray of shape (n_tasks,), bool
        Tasks that the structure was fitted to: those of several values.
    steps : ndarray of shape (n_timesteps, n_tasks), bool
        Steps of each task, in any of the sequences.
    mask : ndarray of shape (n_tasks, n_latents), float
        Weights of the latents in the tasks.
    mean_states : ndarray of shape (n_timesteps, n_states)
        Mean of the states over the sequences.
    encoder_ : estimator or None
        Fitted encoder, None where no latents are used.
    columns : list of dict of {"latents", "steps"} to ndarray of int
        Features of each task: its latents at its steps, and the generalist at its steps. An
        entry is left out if it is empty or the whole generalist.
    has_too_few : bool
        Whether there are too few sequences for any test of the structure.
    selects_stable : bool
        Whether the columns are only those that are stable across environments.
    """

    def __init__(
        self,
        generalist: Any,
        structure: Any,
        encoder: Any,
        *,
        share_features: bool = False,
        selector: Any = None,
        repeats_steps: bool = True,
        remover: NuisanceRemover | None = None,
    ) -> None:
        self.generalist, self.structure, self.encoder = generalist, structure, encoder
        self.share_features, self.selector = share_features, selector
        self.repeats_steps = repeats_steps
        self.remover = remover
        self.has_too_few = False

    def fit(
        self, data: LabeledSequences, states: States, stage: Stage, rows: Any = slice(None)
    ) -> LabeledSequences:
        """Fit generalist and structure, one stage each, to some of the sequences.

        Returns
        -------
        data : LabeledSequences
            All sequences, as states of the generalist.
        """
        is_new = self.selector is None
        with stage("generalist", self.generalist if is_new else None):
            if is_new and self.generalist is not None:
                self.generalist.fit(observed_rows(data.X[rows]), None)
            if is_new and data.nuisance is not None:
                given, found = data.take(rows), states.of(self.generalist)[rows]
                self.remover = NuisanceRemover()._learn(found, given.nuisance, given.counts)
            data = replace(data, X=self.read(states))
        part = data.take(rows)
        means = at_mean(part.X.reshape(len(part), -1)).mean(axis=0)
        self.mean_states = means.reshape(part.X.shape[1:])
        with stage("structure", self.structure):
            weights = self._fit_structure(part)
        self.n_generalist = part.X.shape[1] * part.X.shape[2]
        # Weights that are broadcast along the sequences need not be compared.
        self.aligned = weights.strides[0] == 0 or bool((weights == weights[:1]).all())
        self.steps = np.any(weights > 0, axis=0)
        self.selects_stable = data.environments is not None
        # Tasks that are added later have entries for the latents of the fitted encoder.
        is_extended = self.selector is not None and self.encoder is not None
        self.mask = np.zeros((self.n_tasks, self.encoder.mask_.shape[1] if is_extended else 0))
        # Until it is needed there is no encoder.
        self.encoder_: Any = None
        self.columns: list[dict[str, np.ndarray]] = [{} for _ in range(self.n_tasks)]
        self._assign_columns("steps", part)
        return data

    def fit_encoder(
        self, data: LabeledSequences, stage: Stage, train: bool = True, folds: Sequence[Any] = ()
    ) -> Self:
        """Fit the encoder, or the mask of tasks that are added, as a stage of its own.

        ``data`` are states. If ``train`` is False, the encoder is not fitted and there are no
        latents. With ``folds`` it reuses the settings that the encoder of the first one selected.
        """
        learner = self.encoder if self.selector is None else self.selector
        # Without any step of any task there is nothing that the mask could be learned from.
        can_learn = train and self.encoder is not None and self.steps.any()
        with stage("encoder", learner if can_learn else None):
            if can_learn:
                if folds and hasattr(learner, "_follow"):
                    learner._follow(folds[0].representation.encoder)
                self._fit_mask(data, learner)
        if train and self.mask.shape[1]:
            self.encoder_ = self.encoder
        self._assign_columns("latents", data)
        return self

    def drop_encoder(self) -> None:
        """Forget the encoder and its latents."""
        self.encoder_, self.mask = None, self.mask[:, :0]
        for columns in self.columns:
            columns.pop("latents", None)

    def read(self, states: States) -> np.ndarray:
        """Return states of the generalist, without the nuisances."""
        found = states.of(self.generalist)
        return found if self.remover is None else self.remover._erase(found)

    def features(self, states: np.ndarray) -> np.ndarray:
        """Return the features of states of sequences, shape (n_sequences, n_features)."""
        weights = None if self.aligned else self._weights(states)
        states = self._repeated(states)
        latents = states[..., :0] if self.encoder_ is None else self._latents(states)
        rest = latents if weights is None else _pooled(states, latents, weights)
        return np.hstack([part.reshape(len(states), -1) for part in (states, rest)])

    def nuisance_scores(self, data: LabeledSequences) -> list[dict[str, Any]]:
        """Return scores of held-out predictions of nuisances and tasks; the data are not states.

        The specialists read the latents of the tasks at their steps or, without latents, the
        states at their steps.
        """
        if self.remover is None or data.nuisance is None:
            return []
        states = States(data.X)
        own = [part for parts in self.columns for part in list(parts.values())[-1:]]
        read = np.unique(np.concatenate([[], *own])).astype(int)
        specialist = self.features(self.read(states))[:, read]
        given = states.of(self.generalist)
        return self.remover._compare(given, data.nuisance, data.y, specialist)

    def _repeated(self, states: np.ndarray) -> np.ndarray:
        """Return states for estimators and encoder: shorter sequences repeat their steps."""
        return repeat_steps(states) if self.repeats_steps and np.isnan(states.sum()) else states

    def _latents(self, states: np.ndarray) -> np.ndarray:
        """Return the latents; those that no task uses are zeros, unless added tasks use them.

        An encoder would train its decoder for them.
        """
        encoder = self.encoder_
        unused = not (self.mask > 0)[:, ~(encoder.mask_ > 0).any(axis=0)].any()
        of_tasks = getattr(encoder, "_task_latents", None) if unused else None
        return (of_tasks or encoder.latents)(states)

    def feature_names(self) -> np.ndarray:
        """Return the names of the features, such as step3_generalist5 or task0_latent2."""
        n_timesteps, n_tasks = self.steps.shape
        n_latents = 0 if self.encoder_ is None else self.mask.shape[1]
        states = [f"generalist{j}" for j in range(self.n_generalist // n_timesteps)]
        latents = [f"latent{j}" for j in range(n_latents)]
        names = [f"step{t}_{name}" for t in range(n_timesteps) for name in states]
        if self.aligned:
            names += [f"step{t}_{name}" for t in range(n_timesteps) for name in latents]
        else:
            pooled = ["weight", *states]
            names += [f"task{k}_{name}" for k in range(n_tasks) for name in pooled]
            names += [f"task{k}_{name}" for k in range(n_tasks) for name in latents]
        return np.array(names, dtype=object)

    def _fit_structure(self, data: LabeledSequences) -> np.ndarray:
        """Return the weights (n_sequences, n_timesteps, n_tasks) of the steps in the tasks."""
        self.n_tasks = len(data.tasks)
        self.varied = data.varied
        if self.structure is None:
            return np.ones((*data.X.shape[:2], self.n_tasks))
        if self.varied.any():
            try:
                _fit_part(self.structure, data.X, data)
            except TooFewSequencesError as error:
                warn(f"The structure is left out: {error}")
                self.varied = np.zeros_like(self.varied)
                self.has_too_few = True
        return self._weights(data.X)

    def _weights(self, states: np.ndarray) -> np.ndarray:
        if not self.varied.any():
            return np.zeros((*states.shape[:2], self.n_tasks))
        weights = self.structure.step_weights(states)
        if not self.varied.all():
            # Tasks that are constant in these sequences have no steps.
            found, weights = weights, np.zeros((*weights.shape[:2], self.n_tasks))
            weights[:, :, self.varied] = found
        if weights.shape[2] != self.n_tasks:
            raise ValueError(
                f"The structure found steps of {weights.shape[2]} tasks of its own, but y has "
                f"{self.n_tasks}: use one that learns from y, such as criterion='direct'."
            )
        if self.share_features:
            # The union of the steps of all tasks, as fuzzy sets.
            weights = np.repeat(weights.max(axis=2, keepdims=True), self.n_tasks, axis=2)
        return np.asarray(weights)

    def _fit_mask(self, data: LabeledSequences, learner: Any) -> None:
        weights = np.ones((*data.X.shape[:2], self.n_tasks))
        if self.structure is not None:
            weights = self._weights(data.X)
        states = self._repeated(data.X)
        inputs = states if self.selector is None else self.encoder.latents(states)
        step_weights = weights[0] if self.aligned else weights
        step_weights = step_weights[..., data.varied]
        found = np.asarray(_fit_part(learner, inputs, data, step_weights=step_weights).mask_)
        self.mask = np.zeros((self.n_tasks, found.shape[1]), dtype=found.dtype)
        self.mask[data.varied] = found

    def _assign_columns(self, kind: str, data: LabeledSequences) -> None:
        """Assign the columns of its latents, or of its steps, to each task."""
        steps = kind == "steps"
        found = self._step_columns() if steps else self._latent_columns(self.used_latents)
        if data.environments is not None:
            from ._invariance import stable_columns  # a module that few fits need

            found = stable_columns(found, self.features(data.X), data)
        # The whole generalist is compared with as it is, and is not a specialist.
        everything = np.arange(self.n_generalist)
        for columns, own in zip(self.columns, found, strict=True):
            if len(own) and not np.array_equal(own, everything):
                columns[kind] = own

    @property
    def used_latents(self) -> np.ndarray:
        """Latents that each task reads, shape (n_tasks, n_latents), bool."""
        used = self.mask > 0
        return used | used.any(axis=0) if self.share_features else used

    @property
    def n_states(self) -> int:
        return self.n_generalist // len(self.steps)

    def _step_columns(self) -> list[np.ndarray]:
        """Return the columns of the steps of each task.

        Steps that differ between sequences have the sum of their weights and their mean state:
        one block of columns per task.
        """
        if self.aligned:
            return [np.flatnonzero(np.repeat(steps, self.n_states)) for steps in self.steps.T]
        return [first + np.arange(1 + self.n_states) for first in self._first_columns()]

    def _latent_columns(self, used: np.ndarray) -> list[np.ndarray]:
        """Return the columns of the latents of each task, which are used or not.

        Mean latents follow the blocks of the mean states. The sum of the weights is read too:
        with it an estimator can undo the division by it.
        """
        if self.aligned:
            pairs = zip(self.steps.T, used, strict=True)
            return [self.n_generalist + np.flatnonzero(np.outer(*pair)) for pair in pairs]
        start = self.n_generalist + len(used) * (1 + self.n_states)
        found = []
        for task, (first, latents) in enumerate(zip(self._first_columns(), used, strict=True)):
            places = start + task * len(latents) + np.flatnonzero(latents)
            found.append(np.append(first, places) if len(places) else places)
        return found

    def _first_columns(self) -> range:
        """Return the first column of each task whose steps differ between sequences."""
        width = 1 + self.n_states
        return range(self.n_generalist, self.n_generalist + self.n_tasks * width, width)


def _fit_part(part: Any, X: np.ndarray, data: LabeledSequences, **arguments: Any) -> Any:
    """Fit a part to the tasks, with groups that its own splits must not divide."""
    if data.groups is not None and has_fit_parameter(part, "groups"):
        arguments["groups"] = data.groups
    if data.weights is not None and has_fit_parameter(part, "sample_weight"):
        arguments["sample_weight"] = data.weights[:, data.varied]
    y = data.y
    if not data.varied.all():
        y = safe_indexing(y, np.flatnonzero(data.varied), axis=1)
    return part.fit(X, y, **arguments)


def _pooled(states: np.ndarray, latents: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sums of weights with mean states, then mean latents, (n_sequences, n_columns)."""
    means = weighted_means(np.concatenate([states, latents], axis=2), weights)
    n_states = states.shape[2]
    blocks = np.concatenate([weights.sum(axis=1)[:, :, None], means[:, :, :n_states]], axis=2)
    return np.hstack(
        [blocks.reshape(len(states), -1), means[:, :, n_states:].reshape(len(states), -1)]
    )


def features_of(X: np.ndarray) -> Callable[[Representation], np.ndarray]:
    """Return the features of sequences as a function of the representation, each found once."""
    states = States(X)

    @lru_cache
    def features(representation: Representation) -> np.ndarray:
        return representation.features(representation.read(states))

    return features
