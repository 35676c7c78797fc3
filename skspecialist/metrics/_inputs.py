"""Input validation of the metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._data.validation import as_array, check_numbers, check_same_length, refuse_huge

__all__ = ["check_cells", "check_flags", "check_latents", "check_pair"]


def check_latents(latents: ArrayLike, name: str) -> np.ndarray:
    """Return finite latents that vary, as float64, with more samples than latents."""
    checked = check_numbers(latents, name)
    n_samples, n_latents = checked.shape
    if n_samples <= n_latents:
        raise ValueError(
            f"{name} has {n_latents} latents and only {n_samples} samples: more samples than "
            "latents are needed (rows are samples)."
        )
    refuse_huge(checked, name)
    # The variance of tiny numbers underflows.
    constant = (np.ptp(checked, axis=0) == 0) | (checked.var(axis=0) == 0)
    if constant.any():
        raise ValueError(
            f"{name} has constant columns, {np.flatnonzero(constant).tolist()}: drop them."
        )
    return checked


def check_pair(true: ArrayLike, learned: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return true and learned latents of the same samples."""
    pair = check_latents(true, "true"), check_latents(learned, "learned")
    check_same_length(true=pair[0], learned=pair[1])
    return pair


def check_cells(cells: ArrayLike, name: str) -> np.ndarray:
    """Return a table of numbers as bool, True where they are not zero."""
    numbers = check_numbers(
        cells, name, ensure_2d=False, allow_nd=True, ensure_min_samples=0, ensure_min_features=0
    )
    return numbers != 0


def check_flags(flags: ArrayLike, name: str, n: int) -> np.ndarray:
    """Return one bool for each of ``n``, True for at least one."""
    mask = as_array(flags, name)
    if mask.dtype != bool or mask.shape != (n,) or not mask.any():
        raise ValueError(
            f"{name} must be a bool for each of the {n} sources, True for at least one; "
            f"got {mask.tolist()}."
        )
    return mask
