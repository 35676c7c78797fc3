"""Features of the generalist and latents of the encoder, and the columns of each task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import has_fit_parameter

from .._base.estimator import pinned_settings
from .._base.sklearn_compat import safe_indexing
from .._data.ragged import after_the_end, repeat_steps
from .._data.tasks import TaskTargets
from .._data.validation import check_labels, check_same_length, is_missing
from .._data.weights import weighted_means
from ..exceptions import warn
from ..structure._evidence import TooFewSequencesError
from ._invariance import stable_features

__all__ = ["LabeledSequences", "Representation", "Stage", "States", "features_of"]

# Opens a stage of the fit, given its name and the part that is fitted in it.
Stage = Callable[..., AbstractContextManager[None]]


@dataclass(frozen=True)
class LabeledSequences:
    """Sequences (n_sequences, n_timesteps, n_features) with tasks, groups and environments."""

    X: np.ndarray
    y: Any
    tasks: TaskTargets
    groups: np.ndarray | None = None
    environments: np.ndarray | None = None
    weights: np.ndarray | None = None  # of the values, of shape (n_sequences, n_tasks)

    @classmethod
    def validated(
        cls, X: np.ndarray, y: Any, tasks: TaskTargets, weights: Any = None, **labels: Any
    ) -> Self:
        """Validate ``groups`` and ``environments``, and encode them as integers from 0.

        Raises
        ------
        ValueError or TypeError
            If their number is not that of the sequences, some are missing, or they are of
            types that cannot be compared.
        """
        codes = {}
        for name, values in labels.items():
            if values is not None:
                check_same_length(X=X, **{name: values})
                codes[name] = check_labels(values, name)
        y = tasks.with_kinds(y, None if weights is None else weights == 0)
        y = y if hasattr(y, "iloc") else np.asarray(y)
        return cls(X, y, tasks, weights=weights, **codes)

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: Any) -> LabeledSequences:
        """Return a subset of the sequences."""
        groups, environments = (
            None if labels is None else labels[rows] for labels in (self.groups, self.environments)
        )
        y = safe_indexing(self.y, rows)
        weights = None if self.weights is None else self.weights[rows]
        return LabeledSequences(self.X[rows], y, self.tasks, groups, environments, weights)

    def weights_of(self, task: int, rows: np.ndarray) -> np.ndarray | None:
        """Return the weights of some values of a task, None if all are equal."""
        return None if self.weights is None else self.weights[rows, task]

    @cached_property
    def values(self) -> list[np.ndarray]:
        """Values of each task, arrays of shape (n_sequences,); some may be missing."""
        return self.tasks.split(self.y)

    @cached_property
    def known(self) -> list[np.ndarray]:
        """Sequences of which each task is known, arrays of int."""
        return [np.flatnonzero(~is_missing(values)) for values in self.values]

    @cached_property
    def varied(self) -> np.ndarray:
        """Tasks with more than one value, shape (n_tasks,), bool."""
        pairs = zip(self.values, self.known, strict=True)
        return np.array([len(set(values[rows].tolist())) > 1 for values, rows in pairs])


class States:
    """States of sequences, which each generalist computes once.

    A generalist that learns nothing from data is one object in all fits of a pipeline, and a
    foundation model is slow.

    Parameters
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features)
        Sequences; steps after the end of shorter ones are NaN.
    """

    def __init__(self, X: np.ndarray) -> None:
        self._X = X
        # Estimators may be unhashable; with the generalist its id stays in use.
        self._found: dict[int, tuple[Any, np.ndarray]] = {}

    def of(self, generalist: Any) -> np.ndarray:
        """Return states (n_sequences, n_timesteps, n_states) of a fitted generalist, or of None."""
        if generalist is None:
            return self._X
        if id(generalist) not in self._found:
            # Steps of all sequences are the rows of one table: the generalist has no time.
            with pinned_settings():
                rows = generalist.transform(observed_rows(self._X))
            rows = rows.toarray() if issparse(rows) else np.asarray(rows)
            states = rows
            if len(rows) < self._X.shape[0] * self._X.shape[1]:
                ended = after_the_end(self._X).ravel()
                states = np.full((len(ended), rows.shape[1]), np.nan, dtype=rows.dtype)
                states[~ended] = rows
            self._found[id(generalist)] = generalist, states.reshape(*self._X.shape[:2], -1)
        return self._found[id(generalist)][1]


def observed_rows(X: np.ndarray) -> np.ndarray:
    """Return the steps of all sequences, one below the other, without those after their end."""
    rows = X.reshape(-1, X.shape[2])
    ended = after_the_end(X).ravel() if np.isnan(X.sum()) else np.zeros(1, dtype=bool)
    return rows[~ended] if ended.any() else rows


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

    Attributes
    ----------
    aligned : bool
        Whether the steps of the tasks are the same in all sequences.
    n_generalist : int
        Number of generalist features.
    steps : ndarray of shape (n_timesteps, n_tasks), bool
        Steps of each task, in any of the sequences.
    mask : ndarray of shape (n_tasks, n_latents), float
        Weights of the latents in the tasks.
    columns : list of dict of {"latents", "steps"} to ndarray of int
        Features of each task: its latents at its steps, and the generalist at its steps. An
        entry is left out if it is empty or the whole generalist.
    missing : list of (str or None)
        Reason why the entry of a task is empty.
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
    ) -> None:
        self.generalist, self.structure, self.encoder = generalist, structure, encoder
        self.share_features, self.selector = share_features, selector
        self.repeats_steps = repeats_steps
        self._too_few: str | None = None  # sequences, for any test of the structure

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
            data = replace(data, X=states.of(self.generalist))
        part = data.take(rows)
        with stage("structure", self.structure):
            weights = self._fit_structure(part)
        self.n_generalist = part.X.shape[1] * part.X.shape[2]
        # Weights that are broadcast along the sequences need not be compared.
        self.aligned = weights.strides[0] == 0 or bool((weights == weights[:1]).all())
        self.steps = np.any(weights > 0, axis=0)
        self.selects_stable = data.environments is not None
        # Tasks that are added later have entries for the latents of the fitted encoder.
        is_extended = self.selector is not None and self.encoder is not None
        self.mask = np.zeros((self._n_tasks, self.encoder.mask_.shape[1] if is_extended else 0))
        # Until it is needed there is no encoder.
        self._given_encoder, self.encoder = self.encoder, None
        self._assign_columns(part)
        return data

    def fit_encoder(self, data: LabeledSequences, stage: Stage, train: bool = True) -> Self:
        """Fit the encoder, or the mask of tasks that are added, as a stage of its own.

        ``data`` are states. Without ``train`` the stage is empty, and there are no latents.
        """
        if train:
            self.encoder = self._given_encoder
        learner = self.encoder if self.selector is None else self.selector
        # Without any step of any task there is nothing that the mask could be learned from.
        can_learn = self.encoder is not None and self.steps.any()
        with stage("encoder", learner if can_learn else None):
            if can_learn:
                self._fit_mask(data, learner)
        if not self.mask.shape[1]:
            self.encoder = None
        self._assign_columns(data)
        return self

    def features(self, states: np.ndarray) -> np.ndarray:
        """Return the features of states of sequences, shape (n_sequences, n_features)."""
        weights = None if self.aligned else self._weights(states)
        states = self._repeated(states)
        latents = states[..., :0] if self.encoder is None else self._latents(states)
        rest = latents if weights is None else _pooled(states, latents, weights)
        return np.hstack([part.reshape(len(states), -1) for part in (states, rest)])

    def _repeated(self, states: np.ndarray) -> np.ndarray:
        """Return states for estimators and encoder: shorter sequences repeat their steps."""
        return repeat_steps(states) if self.repeats_steps else states

    def _latents(self, states: np.ndarray) -> np.ndarray:
        """Return the latents; those that no task uses are zeros, unless added tasks use them.

        An encoder would train its decoder for them.
        """
        unused = not (self.mask > 0)[:, ~(self.encoder.mask_ > 0).any(axis=0)].any()
        of_tasks = getattr(self.encoder, "_task_latents", None) if unused else None
        return (of_tasks or self.encoder.latents)(states)

    def feature_names(self) -> np.ndarray:
        """Return the names of the features, such as step3_generalist5 or task0_latent2."""
        n_timesteps, n_tasks = self.steps.shape
        n_latents = 0 if self.encoder is None else self.mask.shape[1]
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
        self._n_tasks = len(data.tasks)
        if self.structure is None:
            return np.ones((*data.X.shape[:2], self._n_tasks))
        self._varied = data.varied
        if self._varied.any():
            try:
                _fit_part(self.structure, data.X, data)
            except TooFewSequencesError as error:
                warn(f"The structure is left out: {error}")
                self._varied, self._too_few = np.zeros_like(self._varied), str(error)
        return self._weights(data.X)

    def _weights(self, states: np.ndarray) -> np.ndarray:
        if not self._varied.any():
            return np.zeros((*states.shape[:2], self._n_tasks))
        weights = self.structure.step_weights(states)
        if not self._varied.all():
            # Tasks that are constant in these sequences have no steps.
            found, weights = weights, np.zeros((*weights.shape[:2], self._n_tasks))
            weights[:, :, self._varied] = found
        if weights.shape[2] != self._n_tasks:
            raise ValueError(
                f"The structure found steps of {weights.shape[2]} tasks of its own, but y has "
                f"{self._n_tasks}: use one that learns from y, such as criterion='direct'."
            )
        if self.share_features:
            # The union of the steps of all tasks, as fuzzy sets.
            weights = np.repeat(weights.max(axis=2, keepdims=True), self._n_tasks, axis=2)
        return np.asarray(weights)

    def _fit_mask(self, data: LabeledSequences, learner: Any) -> None:
        weights = np.ones((*data.X.shape[:2], self._n_tasks))
        if self.structure is not None:
            weights = self._weights(data.X)
        states = self._repeated(data.X)
        inputs = states if self.selector is None else self.encoder.latents(states)
        step_weights = weights[0] if self.aligned else weights
        step_weights = step_weights[..., data.varied]
        found = np.asarray(_fit_part(learner, inputs, data, step_weights=step_weights).mask_)
        self.mask = np.zeros((self._n_tasks, found.shape[1]), dtype=found.dtype)
        self.mask[data.varied] = found

    def _assign_columns(self, data: LabeledSequences) -> None:
        """Assign its features to each task, or the reason why it has none."""
        used = self.mask > 0
        if self.share_features:
            used = np.repeat(used.any(axis=0, keepdims=True), len(used), axis=0)
        found = self._aligned_columns(used) if self.aligned else self._pooled_columns(used)
        if data.environments is not None:
            found = self._stable_columns(found, data, data.environments)
        # The whole generalist is compared with as it is, and is not a specialist.
        everything = np.arange(self.n_generalist)
        self.columns = [
            {
                name: part
                for name, part in columns.items()
                if len(part) and not np.array_equal(part, everything)
            }
            for columns in found
        ]
        self.missing = [
            None if columns else self._too_few or _missing_reason(steps, latents)
            for columns, steps, latents in zip(self.columns, self.steps.T, used, strict=True)
        ]

    def _aligned_columns(self, used: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Return the columns of tasks with the same steps in all sequences."""
        n_states = self.n_generalist // len(self.steps)
        return [
            {
                "latents": self.n_generalist + np.flatnonzero(np.outer(steps, latents)),
                "steps": np.flatnonzero(np.repeat(steps, n_states)),
            }
            for steps, latents in zip(self.steps.T, used, strict=True)
        ]

    def _pooled_columns(self, used: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Return the columns of tasks with steps of their own in each sequence.

        The blocks of the tasks have the sum of their weights and their mean states; blocks of
        their mean latents follow.
        """
        n_states = self.n_generalist // len(self.steps)
        width, n_latents = 1 + n_states, used.shape[1]
        found = []
        for task, latents in enumerate(used):
            first = self.n_generalist + task * width
            places = self.n_generalist + len(used) * width + task * n_latents
            places = places + np.flatnonzero(latents)
            found.append(
                {
                    # With the sum of the weights an estimator can undo the division by it.
                    "latents": np.append(first, places) if len(places) else places,
                    "steps": first + np.arange(width),
                }
            )
        return found

    def _stable_columns(
        self, found: list[dict[str, np.ndarray]], data: LabeledSequences, environments: np.ndarray
    ) -> list[dict[str, np.ndarray]]:
        """Drop features whose relation to the task differs between environments."""
        features = self.features(data.X)
        values, groups = data.tasks.to_columns(data.y)
        return [
            {
                name: part[
                    stable_features(
                        features[np.ix_(rows, part)], values[np.ix_(rows, own)], environments[rows]
                    )
                ]
                if len(part)
                else part
                for name, part in columns.items()
            }
            for columns, own, rows in zip(found, groups, data.known, strict=True)
        ]


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


def _missing_reason(steps: np.ndarray, latents: np.ndarray) -> str:
    if not steps.any():
        return "no time step of this task was found"
    if not latents.any():
        return "no latent of this task was found"
    return "no feature of this task is stable across environments"


def features_of(X: np.ndarray) -> Callable[[Representation], np.ndarray]:
    """Return the features of sequences as a function of the representation, each found once."""
    states = States(X)

    @lru_cache
    def features(representation: Representation) -> np.ndarray:
        return representation.features(states.of(representation.generalist))

    return features
