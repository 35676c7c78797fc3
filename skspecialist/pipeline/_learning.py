"""From sequences to a representation and to the models of the tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..targets import TaskTargets
from ._decision import Decision, split_sequences, transfers
from ._estimators import fit_estimator, sample_losses
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

    Parameters
    ----------
    specialise : {"auto", "always", "never"}
        Whether there is a decision to make.
    split : object
        Which sequences see what.
    loss : str or callable
        What decides.
    estimator : estimator or None
        Unfitted estimator of a task.
    seeds : ndarray of shape (2,)
        Of the comparison, and of the final fit.
    done : callable
        Is told each stage that is over.
    """

    specialise: str
    split: Any
    loss: str | Callable[..., Any]
    estimator: Any
    seeds: np.ndarray
    done: Callable[[str], None]

    def learn(
        self, sample: Sample, new_representation: NewRepresentation
    ) -> tuple[Representation, TaskModels]:
        """Return the fitted representation and the models of the tasks."""
        decision = self._decide(sample, new_representation)
        encode = any(reason is None for reason in decision.reasons)
        seed = self.seeds[1]
        representation = new_representation(seed, encode).fit(sample, self.done)
        decision = decision.unless(representation.missing)
        generalist = np.arange(representation.n_generalist)
        columns = [
            special if reason is None else generalist
            for special, reason in zip(
                representation.specialist_columns, decision.reasons, strict=True
            )
        ]
        features = representation.features(sample.X)
        estimators = [
            fit_estimator(self.estimator, task, features[:, subset], values, seed)
            for task, subset, values in zip(sample.tasks.tasks, columns, sample.values, strict=True)
        ]
        self.done("estimators")
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
        if self.specialise != "auto":
            reason = "specialise='never'" if self.specialise == "never" else None
            return Decision.without_comparison(reason, n_tasks)
        gains = np.full((len(sample), n_tasks), np.nan)
        missing: list[str | None] = []
        for parts in split_sequences(self.split, sample, self.seeds[0]):
            representation = new_representation(self.seeds[0], True)
            representation.fit(sample.take(parts.representation), self.done)
            gains[parts.decision] = self._gains(
                representation, sample.take(parts.estimators), sample.take(parts.decision)
            )
            missing = representation.missing
            self.done("estimators")
        missing = [
            reason if np.isnan(column).all() else None
            for reason, column in zip(missing, gains.T, strict=True)
        ]
        return Decision.from_gains(gains, missing, sample.groups)

    def _gains(self, representation: Representation, fit: Sample, decision: Sample) -> np.ndarray:
        """Return what each task and sequence gains, NaN for tasks without specialist features."""
        features, held_out = representation.features(fit.X), representation.features(decision.X)
        gains = np.full((len(decision), len(fit.tasks)), np.nan)
        generalist = np.arange(representation.n_generalist)
        for i, task in enumerate(fit.tasks.tasks):
            if representation.missing[i] is not None:
                continue
            for rows, others in transfers(fit, decision):
                losses = []
                for subset in (generalist, representation.specialist_columns[i]):
                    estimator = fit_estimator(
                        self.estimator,
                        task,
                        features[np.ix_(rows, subset)],
                        fit.values[i][rows],
                        self.seeds[0],
                    )
                    losses.append(
                        sample_losses(
                            self.loss,
                            task,
                            estimator,
                            held_out[np.ix_(others, subset)],
                            decision.values[i][others],
                        )
                    )
                gains[others, i] = losses[0] - losses[1]
        return gains
