"""How often latents, or entries of the mask, come back from half of the samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor

from ..networks.data import StepData
from ._autoencoder import SpecialistAutoencoder
from ._search import search_penalty
from ._training import Settings, noise_of, train_bottlenecks

RETURNS = 0.8  # R2 of a latent, read from those of a half, that counts as its return
N_NEIGHBOURS = 10
MAX_ROWS = 4000


def selection_frequency(
    data: StepData, settings: Settings, module: SpecialistAutoencoder, share: float, n_halves: int
) -> np.ndarray:
    """Return how often the result of a fit comes back from random half-samples.

    Parameters
    ----------
    data : StepData
        All samples.
    settings : Settings
        As in the fit.
    module : SpecialistAutoencoder
        The fit.
    share : float
        The chosen share of the strongest penalty, for known latents.
    n_halves : int
        Number of half-samples, in complementary pairs.

    Returns
    -------
    frequency : ndarray of shape (n_tasks, n_latents) or (n_latents,)
        Of known latents, how often each entry was in the support. Else how often a latent
        that the tasks use could be read from those of the half: 0 for all others.
    """
    counts = []
    for _ in range(-(-n_halves // 2)):
        halves = data.with_folds((torch.randperm(len(data)) < len(data) // 2).long())
        if settings.hidden is None:
            path, _ = search_penalty(halves, replace(settings, shares=(share,)))
            counts += list(path.supports[share].astype(float))
        else:
            counts += _returns(halves, settings, module)
    return np.mean(counts[:n_halves], axis=0)


def _returns(
    halves: StepData, settings: Settings, module: SpecialistAutoencoder
) -> list[np.ndarray]:
    """Return, for both halves, which latents of the fit can be read from theirs."""
    width = module.n_relevant
    net = train_bottlenecks(
        halves, settings, [width] * 2, held_out=[0, 1], noise=noise_of(module.bottleneck) * 2
    )
    rows = halves.rows[torch.randperm(len(halves.rows))[:MAX_ROWS]]
    found = net.module_.encoders.encode_rows(rows)
    with torch.no_grad():
        wanted = module.encode(rows.to(next(module.parameters()).dtype))[:, :width].numpy()
    kept = module.task_mask().any(dim=0).numpy()
    result, half = [], len(rows) // 2
    for latents in found.numpy():
        probe = KNeighborsRegressor(N_NEIGHBOURS, weights="distance")
        read = probe.fit(latents[:half], wanted[:half]).predict(latents[half:])
        r2 = r2_score(wanted[half:], read, multioutput="raw_values")
        result.append(kept * np.pad(r2 > RETURNS, (0, len(kept) - width)).astype(float))
    return result
