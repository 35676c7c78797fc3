"""What is known of a sequence: which tasks occur in it, or how much of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .._data.ragged import RaggedSequences
from .._data.tasks import TaskTargets
from ..networks.data import StepData

__all__ = ["Goals", "training_data"]

FARTHEST = 1e4  # standard deviations from zero; beyond, single precision tells amounts apart poorly


@dataclass(frozen=True)
class Goals:
    """Tasks to localize: one for an amount or a yes and no, one a class for more classes.

    Attributes
    ----------
    tasks : TaskTargets
        What ``y`` holds.
    names : list of str
        Name of each task to localize.
    owners : ndarray of shape (n_goals,), int
        The column of ``y`` that it comes from.
    is_amount : ndarray of shape (n_goals,), bool
        Whether its amount is known, or only whether it occurs.
    scales : ndarray of shape (n_goals,)
        Standard deviation of an amount; 1 otherwise.
    """

    tasks: TaskTargets
    names: list[str]
    owners: np.ndarray
    is_amount: np.ndarray
    scales: np.ndarray

    @classmethod
    def from_tasks(cls, tasks: TaskTargets) -> Self:
        """Return what the tasks of ``y`` ask for.

        Raises
        ------
        ValueError
            If amounts differ by far less than they are from zero.
        """
        names: list[str] = []
        owners: list[int] = []
        for place, task in enumerate(tasks.tasks):
            if task.classes is None and abs(task.mean) > FARTHEST * task.scale:
                raise ValueError(
                    f"The amounts of task {task.name!r} of y are near {task.mean:.4g}, but differ "
                    f"by {task.scale:.2g} only: subtract what all sequences share."
                )
            several = task.n_classes > 2
            labels = list(task.classes) if task.classes is not None and several else []
            names += [f"{task.name}={label}" for label in labels] or [task.name]
            owners += [place] * max(1, len(labels))
        chosen = [tasks.tasks[place] for place in owners]
        return cls(
            tasks,
            names,
            np.array(owners),
            np.array([task.classes is None for task in chosen]),
            np.array([task.scale for task in chosen]),
        )

    def __len__(self) -> int:
        return len(self.names)

    def values(self, y: Any) -> np.ndarray:
        """Return amounts, and zero or one, shape (n_sequences, n_goals); missing ones are NaN."""
        columns = []
        for task, codes in zip(self.tasks.tasks, self.tasks.encode(y), strict=True):
            if task.classes is None:
                columns.append(task.decode(codes))
            elif task.n_classes == 2:
                columns.append(codes.astype(float))
            else:
                found = (codes[:, None] == np.arange(task.n_classes)).astype(float)
                columns += list(np.where(np.isnan(codes[:, None].astype(float)), np.nan, found).T)
        return np.column_stack(columns)


def training_data(
    goals: Goals,
    features: RaggedSequences,
    values: np.ndarray,
    folds: np.ndarray,
    window: int | None,
) -> StepData:
    """Return what networks learn from: whole sequences, or pieces of at most ``window`` steps.

    Raises
    ------
    ValueError
        If amounts would have to be divided among pieces.
    """
    if window is not None and goals.is_amount.any():
        raise ValueError(
            "window must be None where y holds amounts (floats): how much of an amount is in a "
            "part of a sequence is not known."
        )
    pieces, owners = features.cut(window or features.X.shape[1])
    there = np.repeat(pieces.there[..., None], len(goals), axis=2)
    targets = list((values / goals.scales)[owners].T)
    return StepData.from_arrays(pieces.X, there, targets, folds=folds[owners])
