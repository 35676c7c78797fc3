"""What can be said of a fitted encoder without knowing the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch

from ..metrics._block_r2 import block_r2
from ..networks.inference import head_slopes

__all__ = ["diagnose"]

FEWEST_ROWS = 20  # that block_r2 takes
MAX_ROWS = 2000
UNUSED = 0.01  # of the mean slope of the most used latent
DUPLICATE = 0.95  # R2 of a kept latent given another one
RANK = 1e-3  # of the largest singular value


def diagnose(module: Any, latents: np.ndarray, support: np.ndarray) -> Bunch:
    """Return the diagnostics of ``latents``; see ``diagnose`` of the encoders.

    Parameters
    ----------
    module : SpecialistAutoencoder
        Fitted.
    latents : ndarray of shape (n_rows, n_latents), float64
        All latents of some rows.
    support : ndarray of shape (n_latents,), bool
        Those that some task uses.

    Raises
    ------
    ValueError
        If the rows are too few.
    """
    if len(latents) < FEWEST_ROWS:
        raise ValueError(f"X has {len(latents)} steps: {FEWEST_ROWS} or more are needed.")
    latents = latents[:MAX_ROWS]
    kept, others = latents[:, support], latents[:, ~support]
    jacobian = head_slopes(module, latents)[..., support]
    slopes = np.abs(jacobian).mean(axis=0)  # (n_outputs, n_kept)
    use = slopes.max(axis=0, initial=0.0)
    singular = np.linalg.svd(jacobian.reshape(-1, kept.shape[1]), compute_uv=False)
    return Bunch(
        use=use,
        unused=np.flatnonzero(support)[use < UNUSED * use.max(initial=0.0)],
        jacobian_rank=int((singular > RANK * singular.max(initial=0.0)).sum()),
        duplicates=_duplicates(kept, np.flatnonzero(support)),
        leakage=block_r2(kept, others) if others.shape[1] else np.zeros(0),
    )


def _duplicates(kept: np.ndarray, names: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of latents of which each can be read from the other."""
    n_kept = kept.shape[1]
    r2 = np.array([block_r2(kept[:, [j]], kept) for j in range(n_kept)]).reshape(n_kept, n_kept)
    both = np.minimum(r2, r2.T)
    return [
        (int(names[i]), int(names[j]))
        for i in range(n_kept)
        for j in range(i + 1, n_kept)
        if both[i, j] > DUPLICATE
    ]
