"""Random task structures."""

from __future__ import annotations

import numpy as np

__all__ = ["draw_structure"]


def draw_structure(
    n_segments: int, n_tasks: int, probability: float, rng: np.random.RandomState
) -> np.ndarray:
    """Draw which segments each task has: each with a probability, at least two in all."""
    structure = rng.uniform(size=(n_segments, n_tasks)) < probability
    for task in structure.T:
        missing = min(2, n_segments) - task.sum()
        if missing > 0:
            task[rng.choice(np.flatnonzero(~task), size=missing, replace=False)] = True
    return structure
