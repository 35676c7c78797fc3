"""Sequences and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .._base.sklearn_compat import safe_indexing
from .._data.tasks import TaskTargets
from .._data.validation import check_labels, check_same_length

__all__ = ["Sample"]


@dataclass(frozen=True)
class Sample:
    """Sequences of shape (n_sequences, n_timesteps, n_features), tasks, and labels of each."""

    X: np.ndarray
    y: Any
    tasks: TaskTargets
    groups: np.ndarray | None = None
    environments: np.ndarray | None = None

    @classmethod
    def build(cls, X: np.ndarray, y: Any, tasks: TaskTargets, **labels: Any) -> Sample:
        """Validate labels of sequences, such as groups, and number them from 0.

        Raises
        ------
        ValueError or TypeError
            If they are not as many as there are sequences, some are missing, or they are of
            types that cannot be compared.
        """
        codes = {}
        for name, given in labels.items():
            if given is not None:
                check_same_length(X=X, **{name: given})
                codes[name] = check_labels(given, name)
        return cls(X, y if hasattr(y, "iloc") else np.asarray(y), tasks, **codes)

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: np.ndarray) -> Sample:
        """Return some of the sequences."""
        groups, environments = (
            None if labels is None else labels[rows] for labels in (self.groups, self.environments)
        )
        y = safe_indexing(self.y, rows)
        return Sample(self.X[rows], y, self.tasks, groups, environments)

    @cached_property
    def values(self) -> list[np.ndarray]:
        """Values of each task, (n_sequences,) each."""
        return self.tasks.split(self.y)
