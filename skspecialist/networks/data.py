"""Training data in memory, and batches cut from it whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


@dataclass
class StepData(Dataset):
    """Sequences, the weights of their steps in the tasks, and the tasks' values."""

    X: torch.Tensor  # (n_samples, n_timesteps, n_features)
    step_weights: torch.Tensor  # (n_samples, n_timesteps, n_tasks)
    targets: torch.Tensor  # (n_samples, n_tasks)
    weights: torch.Tensor  # (n_samples, n_tasks), 0 where a value is missing
    folds: torch.Tensor  # (n_samples,), int64: the fold a sample is held out in

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        truth = {
            "targets": self.targets[index],
            "weights": self.weights[index],
            "folds": self.folds[index],
        }
        return {"X": self.X[index], "step_weights": self.step_weights[index]}, truth

    @classmethod
    def from_arrays(
        cls,
        X: np.ndarray,
        step_weights: np.ndarray,
        targets: list[np.ndarray],
        weights: np.ndarray | None = None,
        task_weight: np.ndarray | None = None,
        folds: np.ndarray | None = None,
    ) -> StepData:
        """Copy arrays, in single precision; weights that samples share stay shared.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_timesteps, n_features)
            Standardized features.
        step_weights : ndarray of shape (n_samples, n_timesteps, n_tasks)
            Weights of the steps.
        targets : list of ndarray of shape (n_samples,)
            Standardized values and class indices, NaN where they are missing.
        weights : ndarray of shape (n_samples, n_tasks) or None, default=None
            How much a value counts among those of its task. None is equally.
        task_weight : ndarray of shape (n_tasks,) or None, default=None
            How much a task counts, however many values it has. None is equally.
        folds : ndarray of shape (n_samples,) or None, default=None
            Fold that a sample is held out in, -1 for none. None is none for all.
        """
        shared = step_weights.strides[0] == 0
        per_step = torch.tensor(step_weights[:1] if shared else step_weights, dtype=torch.float32)
        values = np.column_stack(targets).astype(np.float64)
        counts = np.where(np.isnan(values), 0.0, 1.0 if weights is None else weights)
        mean = counts.mean(axis=0)
        counts = counts / np.where(mean > 0, mean, 1.0)
        if task_weight is not None:
            counts = counts * task_weight
        return cls(
            torch.tensor(X, dtype=torch.float32),
            per_step.expand(step_weights.shape),
            torch.tensor(np.nan_to_num(values), dtype=torch.float32),
            torch.tensor(counts, dtype=torch.float32),
            torch.full((len(X),), -1) if folds is None else torch.tensor(folds),
        )

    def take(self, index: torch.Tensor) -> StepData:
        """Return some of the samples."""
        return StepData(
            self.X[index],
            self.step_weights[index],
            self.targets[index],
            self.weights[index],
            self.folds[index],
        )

    def with_features(self, X: torch.Tensor) -> StepData:
        """Return the same samples with other features."""
        return replace(self, X=X)

    def with_folds(self, folds: torch.Tensor) -> StepData:
        """Return the same samples, held out in other folds (-1 is never)."""
        return replace(self, folds=folds)

    @property
    def rows(self) -> torch.Tensor:
        """The steps of all sequences, one below the other."""
        return self.X.flatten(0, 1)


class WholeBatches:
    """Batches sliced from the tensors: twice as fast as collecting single rows.

    All batches are of nearly equal size, so that none is a single row, of which there
    is no variance.
    """

    def __init__(self, dataset: StepData, batch_size: int, shuffle: bool = False) -> None:
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle

    def __len__(self) -> int:
        return n_batches(len(self.dataset), self.batch_size)

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], Any]]:
        n = len(self.dataset)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for index in torch.tensor_split(order, len(self)):
            yield self.dataset[index]


def n_batches(n_samples: int, batch_size: int) -> int:
    """Return the number of batches of an epoch, each of at least two samples if possible."""
    return max(1, min(-(-n_samples // batch_size), n_samples // 2))
