"""Checks of what is compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length

__all__ = ["check_latents", "check_pair"]


def check_latents(latents: ArrayLike, name: str) -> np.ndarray:
    """Return finite latents that vary, as float64, with more samples than latents."""
    checked = check_array(latents, dtype=np.float64, input_name=name)
    n_samples, n_latents = checked.shape
    if n_samples <= n_latents:
        raise ValueError(
            f"{name} has {n_latents} latents and only {n_samples} samples: more samples than "
            "latents are needed (rows are samples)."
        )
    if (constant := np.flatnonzero(np.ptp(checked, axis=0) == 0)).size:
        raise ValueError(
            f"{name} has constant columns, {constant.tolist()}: leave them out, nothing can be "
            "said of them."
        )
    return checked


def check_pair(true: ArrayLike, learned: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return true and learned latents of the same samples."""
    pair = check_latents(true, "true"), check_latents(learned, "learned")
    check_consistent_length(*pair)
    return pair
