"""Features whose relation to a task is the same in all environments."""

from __future__ import annotations

import numpy as np

__all__ = ["stable_latents"]


def stable_latents(
    features: np.ndarray, values: np.ndarray, environments: np.ndarray, *, alpha: float = 0.05
) -> np.ndarray:
    """Return which columns are stable (n_features,); values are (n_samples, n_columns)."""
    raise NotImplementedError
