"""From sequences to a representation and to the models of the tasks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._data.tasks import TaskTargets
from ..exceptions import SpecialistWarning
from ._decision import KINDS, Decision, split_sequences, transfers
from ._estimators import chance_estimator, fit_estimator, sample_losses
from ._representation import Representation
from ._sample import Sample

__all__ = ["STAGES", "Learner", "TaskModels"]

# What each fit passes through.
STAGES = ("generalist", "structure", "encoder", "estimators")

# Seed, and whether there must be an encoder, to unfitted parts.
NewRepresentation = Callable[[int, bool], Representation]


@dataclass(frozen=True)
class TaskModels:
    """Estimators of the tasks, the features that they read, and why."""

    tasks: TaskTargets
    decision: Decision
    estimators: list[Any]
    columns: list[np.ndarray]
    steps: np.ndarray  # (n_timesteps, n_tasks)
    mask: np.ndarray  # (n_tasks, n_latents)

    def __add__(self, other: TaskModels) -> TaskModels:
        return TaskModels(
            self.tasks + other.tasks,
            self.decision + other.decision,
            self.estimators + other.estimators,
            self.columns + other.columns,
            np.hstack([self.steps, other.steps]),
            np.vstack([self.mask, other.mask]),
        )

    def predict(self, features: np.ndarray) -> list[np.ndarray]:
        """Return the predictions of each task, (n_sequences,) each."""
        return [
            estimator.predict(features[:, columns])
            for estimator, columns in zip(self.estimators, self.columns, strict=True)
        ]


@dataclass(frozen=True)
class Learner:
    """Decides for each task, then fits everything to all sequences.

    Attributes
    ----------
    strategy : {"best", "specialist", "generalist"}
        Whether there is a decision to make.
    cv : object
        Which sequences see what.
    loss : str or callable
        What decides.
    estimator : estimator or None
        Unfitted estimator of a task.
    seeds : ndarray of shape (2,)
        Of the comparison, and of the final fit.
    stage : callable
        From the name of a stage, and the part that it fits, to its context.
    """

    strategy: str
    cv: Any
    loss: str | Callable[..., Any]
    estimator: Any
    seeds: np.ndarray
    stage: Callable[..., AbstractContextManager[None]]

    def learn(
        self, sample: Sample, new_representation: NewRepresentation
    ) -> tuple[Representation, TaskModels]:
        """Return the fitted representation and the models of the tasks."""
        decision = self._decide(sample, new_representation)
        encode = any(kind in ("latents", None) for kind in decision.kinds)
        seed = self.seeds[1]
        representation = new_representation(seed, encode).fit(sample, self.stage)
        decision = decision.given(representation.columns, representation.missing)
        generalist = np.arange(representation.n_generalist)
        columns = [
            found.get(str(kind), generalist)
            for kind, found in zip(decision.kinds, representation.columns, strict=True)
        ]
        features = representation.features(sample.X)
        with self.stage("estimators"):
            estimators = [
                fit_estimator(self.estimator, task, features[:, subset], values, seed)
                for task, subset, values in zip(
                    sample.tasks.tasks, columns, sample.values, strict=True
                )
            ]
        models = TaskModels(
            sample.tasks,
            decision,
            estimators,
            columns,
            representation.steps,
            representation.mask,
        )
        return representation, models

    def _decide(self, sample: Sample, new_representation: NewRepresentation) -> Decision:
        n_tasks = len(sample.tasks)
        if self.strategy != "best":
            reason = "strategy='generalist'" if self.strategy == "generalist" else None
            return Decision.without_comparison(reason, n_tasks)
        losses = np.full((len(sample), n_tasks, 2 + len(KINDS)), np.nan)
        missing: list[str | None] = []
        for parts in split_sequences(self.cv, sample, self.seeds[0]):
            representation = new_representation(self.seeds[0], True)
            with warnings.catch_warnings():
                # The fit to all sequences says it again, once.
                warnings.simplefilter("ignore", SpecialistWarning)
                representation.fit(sample.take(parts.representation), self.stage)
                with self.stage("estimators"):
                    losses[parts.decision] = self._losses(
                        representation, sample.take(parts.estimators), sample.take(parts.decision)
                    )
            missing = representation.missing
        gains = losses[:, :, 1:2] - losses[:, :, 2:]
        missing = [
            reason if np.isnan(table).all() else None
            for reason, table in zip(missing, gains.swapaxes(0, 1), strict=True)
        ]
        chance, generalist = np.nanmean(losses[:, :, :2], axis=0).T
        return Decision.from_gains(gains, generalist, chance, missing, sample.groups)

    def _losses(self, representation: Representation, fit: Sample, decision: Sample) -> np.ndarray:
        """Return those of chance, the generalist and each kind; NaN for what was not found."""
        features = representation.features(fit.X), representation.features(decision.X)
        losses = np.full((len(decision), len(fit.tasks), 2 + len(KINDS)), np.nan)
        candidates = ["chance", "generalist", *KINDS]
        nothing, everything = np.arange(0), np.arange(representation.n_generalist)
        for i, columns in enumerate(representation.columns):
            for kind, part in {"chance": nothing, "generalist": everything, **columns}.items():
                place = candidates.index(kind)
                losses[:, i, place] = self._task_losses(i, part, features, fit, decision)
        return losses

    def _task_losses(
        self,
        i: int,
        columns: np.ndarray,
        features: tuple[np.ndarray, np.ndarray],
        fit: Sample,
        decision: Sample,
    ) -> np.ndarray:
        """Return the held-out loss (n_sequences,) of a task that reads some of the features."""
        task, losses = fit.tasks.tasks[i], np.empty(len(decision))
        for rows, others in transfers(fit, decision):
            estimator = fit_estimator(
                self.estimator if len(columns) else chance_estimator(task),
                task,
                features[0][np.ix_(rows, columns)],
                fit.values[i][rows],
                self.seeds[0],
            )
            losses[others] = sample_losses(
                self.loss,
                task,
                estimator,
                features[1][np.ix_(others, columns)],
                decision.values[i][others],
            )
        return losses
