"""Diagnostics of a fitted encoder, and the stability of its result over half-samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils import Bunch

from .._stats.agreement import cross_fitted_r2
from ..networks.training import StepData, Trainer
from ._path import SparsityPath
from ._search import search_penalty
from ._training import Build, SpecialistAutoencoder, noise_of, train_bottlenecks

__all__ = ["column_stability", "diagnose", "head_slopes", "latent_stability"]

MIN_ROWS = 20  # fewest for the probe, which is tuned in thirds of one half
MAX_ROWS = 2000  # kernel ridge takes their cube in time
UNUSED = 0.01  # part of the mean slope of the most used latent
DUPLICATE = 0.95  # R2 of a kept latent given another one
RANK = 1e-3  # part of the largest singular value: single precision leaves errors of 1e-4
RECOVERED = 0.8  # R2 of a latent, given those of a half-sample, that counts as recovery
N_NEIGHBORS = 10
MAX_PROBE_ROWS = 4000  # half of which the nearest neighbors are searched in


def diagnose(module: Any, latents: np.ndarray, support: np.ndarray) -> Bunch:
    """Return the diagnostics of ``latents``; see ``diagnose`` of the encoders.

    Parameters
    ----------
    module : SpecialistAutoencoder
        Fitted.
    latents : ndarray of shape (n_rows, n_latents), float64
        All latents of some rows.
    support : ndarray of shape (n_latents,), bool
        Latents that some task uses.

    Raises
    ------
    ValueError
        If the rows are too few.
    """
    if len(latents) < MIN_ROWS:
        raise ValueError(f"X has {len(latents)} steps: {MIN_ROWS} or more are needed.")
    latents = latents[:MAX_ROWS]
    kept, others = latents[:, support], latents[:, ~support]
    jacobian = head_slopes(module, latents)[..., support]
    slopes = np.abs(jacobian).mean(axis=0)  # (n_outputs, n_kept)
    use = slopes.max(axis=0, initial=0.0)
    # Slopes of all outputs at all rows, one below the other: their rank is the number of
    # combinations of latents on which the tasks depend.
    singular = np.linalg.svd(jacobian.reshape(-1, kept.shape[1]), compute_uv=False)
    return Bunch(
        use=use,
        unused=np.flatnonzero(support)[use < UNUSED * use.max(initial=0.0)],
        jacobian_rank=int((singular > RANK * singular.max(initial=0.0)).sum()),
        duplicates=_duplicates(kept, np.flatnonzero(support)),
        leakage=_predicted_share(kept, others) if others.shape[1] else np.zeros(0),
    )


def head_slopes(module: SpecialistAutoencoder, latents: np.ndarray) -> np.ndarray:
    """Return the derivatives of the heads, (n_rows, n_outputs, n_latents)."""
    bottleneck = module.bottleneck
    z = torch.from_numpy(latents[:, : module.n_relevant].copy())[None].requires_grad_()
    ones = torch.ones(len(latents), 1, bottleneck.heads.n_tasks, dtype=z.dtype)
    outputs = bottleneck.heads(z, ones, bottleneck.task_mask())[0]
    rows = [torch.autograd.grad(column.sum(), z, retain_graph=True)[0][0] for column in outputs.T]
    result = np.zeros((len(latents), len(rows), latents.shape[1]))
    result[:, :, : module.n_relevant] = torch.stack(rows, dim=1).numpy()
    return result


def _predicted_share(inputs: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Return the R2 of latents by kernel ridge regression on others; always the same halves."""
    rng = np.random.RandomState(0)
    order, seed = rng.permutation(len(inputs)), rng.randint(2**31 - 1)
    return cross_fitted_r2("kernel", inputs, latents, order, seed)


def _duplicates(kept: np.ndarray, indices: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of latents of which each predicts the other."""
    n_kept = kept.shape[1]
    r2 = np.array([_predicted_share(kept[:, [j]], kept) for j in range(n_kept)])
    r2 = r2.reshape(n_kept, n_kept)
    both = np.minimum(r2, r2.T)
    return [
        (int(indices[i]), int(indices[j]))
        for i in range(n_kept)
        for j in range(i + 1, n_kept)
        if both[i, j] > DUPLICATE
    ]


def column_stability(
    data: StepData,
    trainer: Trainer,
    build: Build,
    n_classes: list[int],
    share: float,
    n_halves: int,
) -> np.ndarray:
    """Return how often entries of the mask of a selector are selected in half-samples.

    Parameters
    ----------
    data : StepData
        All samples.
    trainer : Trainer
        Parameters of the trainings, as in the fit.
    build : callable
        Builds untrained bottlenecks, as in the fit.
    n_classes : list of int
        Number of classes of each task, 0 for a continuous one.
    share : float
        The chosen share of the strongest penalty.
    n_halves : int
        Number of half-samples, in complementary pairs (Shah and Samworth 2013).

    Returns
    -------
    frequency : ndarray of shape (n_tasks, n_latents)
        Share of the half-samples in whose support an entry is.
    """
    counts: list[np.ndarray] = []
    for halves in _halves(data, n_halves):
        path = SparsityPath(halves, n_classes, 0.0)
        search_penalty(path, trainer, build, [share])
        counts += list(path.supports[share].astype(float))
    return np.mean(counts[:n_halves], axis=0)


def latent_stability(
    data: StepData, trainer: Trainer, build: Build, module: SpecialistAutoencoder, n_halves: int
) -> np.ndarray:
    """Return how often the latents of a fit are recovered from half-samples.

    Parameters
    ----------
    data : StepData
        All samples.
    trainer : Trainer
        Parameters of the trainings, as in the fit.
    build : callable
        Builds untrained bottlenecks, as in the fit.
    module : SpecialistAutoencoder
        The fit.
    n_halves : int
        Number of half-samples, in complementary pairs.

    Returns
    -------
    frequency : ndarray of shape (n_latents,)
        Share of the half-samples whose latents predict a latent that the tasks use, with an
        R2 above 0.8; 0 for all other latents.
    """
    counts: list[np.ndarray] = []
    for halves in _halves(data, n_halves):
        counts += _recovered(halves, trainer, build, module)
    return np.mean(counts[:n_halves], axis=0)


def _halves(data: StepData, n_halves: int) -> Iterator[StepData]:
    """Yield the samples with the halves of a random split as folds."""
    # Complementary halves, so that each sample is in one of every pair (Shah and Samworth 2013).
    for _ in range(-(-n_halves // 2)):
        yield replace(data, folds=(torch.randperm(len(data)) < len(data) // 2).long())


def _recovered(
    halves: StepData, trainer: Trainer, build: Build, module: SpecialistAutoencoder
) -> list[np.ndarray]:
    """Return, for both halves, which latents of the fit are predicted by theirs."""
    width = module.n_relevant
    untrained = build([width] * 2, held_out=[0, 1], noise=noise_of(module.bottleneck) * 2)
    net = train_bottlenecks(halves, trainer, untrained)
    rows = halves.rows[torch.randperm(len(halves.rows))[:MAX_PROBE_ROWS]]
    found = net.module_.encoders.encode_rows(rows)
    with torch.no_grad():
        wanted = module.encode(rows.to(next(module.parameters()).dtype))[:, :width].numpy()
    kept = module.task_mask().any(dim=0).numpy()
    result, half = [], len(rows) // 2
    for latents in found.numpy():
        # Nearest neighbors predict through any invertible map between the two blocks.
        probe = KNeighborsRegressor(N_NEIGHBORS, weights="distance")
        predicted = probe.fit(latents[:half], wanted[:half]).predict(latents[half:])
        r2 = r2_score(wanted[half:], predicted, multioutput="raw_values")
        result.append(kept * np.pad(r2 > RECOVERED, (0, len(kept) - width)).astype(float))
    return result
