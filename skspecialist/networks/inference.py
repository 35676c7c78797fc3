"""A trained autoencoder applied to arrays, in double precision.

In single precision the same row differs by 1e-7 between batches of different size.
"""

from __future__ import annotations

import numpy as np
import torch

from ..encoder._autoencoder import SpecialistAutoencoder
from .layers import CHUNK


@torch.no_grad()
def encode(module: SpecialistAutoencoder, X: np.ndarray) -> np.ndarray:
    """Return the latents of ``(..., n_features)`` rows."""
    rows = to_double(X).reshape(-1, X.shape[-1])
    latents = torch.cat([module.encode(chunk) for chunk in rows.split(CHUNK)])
    return latents.reshape(*X.shape[:-1], -1).numpy()


@torch.no_grad()
def decode(module: SpecialistAutoencoder, latents: np.ndarray) -> np.ndarray:
    """Return the standardized features of ``(n_rows, n_latents)`` latents."""
    return torch.cat([module.decode(chunk) for chunk in to_double(latents).split(CHUNK)]).numpy()


@torch.no_grad()
def predict_tasks(
    module: SpecialistAutoencoder, X: np.ndarray, step_weights: np.ndarray
) -> list[np.ndarray]:
    """Return, task by task, standardized values or class probabilities.

    Parameters
    ----------
    module : SpecialistAutoencoder
        In double precision.
    X : ndarray of shape (n_samples, n_timesteps, n_features)
        Sequences.
    step_weights : ndarray of shape (n_samples, n_timesteps, n_tasks)
        Weights of the steps.

    Returns
    -------
    outputs : list of ndarray of shape (n_samples,) or (n_samples, n_classes)
        Values of continuous tasks, probabilities of the classes of the others.
    """
    bottleneck, size = module.bottleneck, max(1, CHUNK // X.shape[1])
    outputs = []
    for start in range(0, len(X), size):
        weights = to_double(step_weights[start : start + size])
        outputs.append(bottleneck(to_double(X[start : start + size]), weights)["outputs"][0])
    blocks = torch.cat(outputs).split(bottleneck.task_loss.n_outputs, dim=1)
    return [
        (block.softmax(dim=1) if count else block[:, 0]).numpy()
        for block, count in zip(blocks, bottleneck.task_loss.n_classes, strict=True)
    ]


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


def to_double(array: np.ndarray) -> torch.Tensor:
    """Return a copy as a tensor in double precision."""
    return torch.from_numpy(np.array(array, dtype=np.float64))
