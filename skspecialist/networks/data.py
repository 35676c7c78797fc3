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
    step_tasks: torch.Tensor  # (n_samples, n_timesteps, n_tasks)
    targets: torch.Tensor  # (n_samples, n_tasks)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return {"X": self.X[index], "step_tasks": self.step_tasks[index]}, self.targets[index]

    @classmethod
    def from_arrays(
        cls, X: np.ndarray, step_tasks: np.ndarray, targets: list[np.ndarray]
    ) -> StepData:
        """Copy arrays, in single precision; weights that samples share stay shared."""
        shared = step_tasks.strides[0] == 0
        weights = torch.tensor(step_tasks[:1] if shared else step_tasks, dtype=torch.float32)
        return cls(
            torch.tensor(X, dtype=torch.float32),
            weights.expand(step_tasks.shape),
            torch.tensor(np.column_stack(targets), dtype=torch.float32),
        )

    def take(self, index: torch.Tensor) -> StepData:
        """Return some of the samples."""
        return StepData(self.X[index], self.step_tasks[index], self.targets[index])

    def with_features(self, X: torch.Tensor) -> StepData:
        """Return the same samples with other features."""
        return replace(self, X=X)


class WholeBatches:
    """Batches sliced from the tensors: twice as fast as collecting single rows.

    All batches are of nearly equal size, so that none is a single row, of which there
    is no variance.
    """

    def __init__(self, dataset: StepData, batch_size: int, shuffle: bool = False) -> None:
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle

    def __len__(self) -> int:
        return n_batches(len(self.dataset), self.batch_size)

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        n = len(self.dataset)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for index in torch.tensor_split(order, len(self)):
            yield self.dataset[index]


def n_batches(n_samples: int, batch_size: int) -> int:
    """Return the number of batches of an epoch, each of at least two samples if possible."""
    return max(1, min(-(-n_samples // batch_size), n_samples // 2))
