"""Weak labels: the tasks that occur in a sequence, or their amounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .._data.ragged import RaggedSequences
from .._data.tasks import TaskTargets
from ..networks.training import StepData

__all__ = ["WeakLabels", "training_data"]

# Mean of amounts in standard deviations. Single precision has 7 digits, of which 3 are left for
# their differences.
LARGEST_MEAN = 1e4


@dataclass(frozen=True)
class WeakLabels:
    """Outputs to localize: one per amount or pair of classes, one per class of several.

    Tasks without two different values have none.

    Attributes
    ----------
    tasks : TaskTargets
        Tasks of ``y``.
    names : list of str
        Name of each output.
    owners : ndarray of shape (n_outputs,), int
        Column of ``y`` that an output belongs to.
    is_amount : ndarray of shape (n_outputs,), bool
        Whether the label of a sequence is an amount, rather than an occurrence.
    scales : ndarray of shape (n_outputs,)
        Standard deviation of an amount; 1 otherwise.
    """

    tasks: TaskTargets
    names: list[str]
    owners: np.ndarray
    is_amount: np.ndarray
    scales: np.ndarray

    @classmethod
    def from_tasks(cls, tasks: TaskTargets) -> Self:
        """Return the outputs of the tasks of ``y``.

        Raises
        ------
        ValueError
            If the differences of amounts are far smaller than the amounts.
        """
        names: list[str] = []
        owners: list[int] = []
        for place, task in enumerate(tasks.tasks):
            if task.is_constant:
                continue
            if task.classes is None and abs(task.mean) > LARGEST_MEAN * task.scale:
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

    def values(self, y: Any, *, held_out: bool = False) -> np.ndarray:
        """Return amounts, and zero or one, shape (n_sequences, n_outputs); NaN where missing."""
        columns = []
        encoded = self.tasks.encode(y, held_out=held_out)
        for task, codes in zip(self.tasks.tasks, encoded, strict=True):
            if task.is_constant:
                continue
            if task.classes is None:
                columns.append(task.decode(codes))
            elif task.n_classes == 2:
                columns.append(codes.astype(float))
            else:
                found = (codes[:, None] == np.arange(task.n_classes)).astype(float)
                columns += list(np.where(np.isnan(codes[:, None].astype(float)), np.nan, found).T)
        return np.column_stack(columns)


def training_data(
    labels: WeakLabels,
    features: RaggedSequences,
    values: np.ndarray,
    folds: np.ndarray,
    window: int | None,
) -> StepData:
    """Return data for the networks: whole sequences, or pieces of at most ``window`` steps.

    Raises
    ------
    ValueError
        If amounts would have to be divided among pieces.
    """
    if window is not None and labels.is_amount.any():
        raise ValueError(
            "window must be None where y holds amounts (floats): the amount in a piece of a "
            "sequence is not given."
        )
    pieces, owners = features.split(window or features.X.shape[1])
    present = np.repeat(pieces.observed[..., None], len(labels), axis=2)
    targets = list((values / labels.scales)[owners].T)
    return StepData.from_arrays(pieces.X, present, targets, folds=folds[owners])
