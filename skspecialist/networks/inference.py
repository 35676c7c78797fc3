"""A trained autoencoder applied to arrays, in double precision.

In single precision the same row differs by 1e-7 between batches of different size.
"""

from __future__ import annotations

import numpy as np
import torch

from .autoencoder import SpecialistAutoencoder


@torch.no_grad()
def encode(module: SpecialistAutoencoder, X: np.ndarray) -> np.ndarray:
    """Return the latents of ``(..., n_features)`` rows."""
    return module.encoder(_tensor(X))[0].numpy()


@torch.no_grad()
def decode(module: SpecialistAutoencoder, latents: np.ndarray) -> np.ndarray:
    """Return the standardised features of ``(..., n_components)`` latents."""
    return module.decoder(_tensor(latents)).numpy()


@torch.no_grad()
def predict_tasks(
    module: SpecialistAutoencoder, X: np.ndarray, step_tasks: np.ndarray
) -> list[np.ndarray]:
    """Return, task by task, standardised values or class indices.

    Parameters
    ----------
    module : SpecialistAutoencoder
        In double precision.
    X : ndarray of shape (n_samples, n_timesteps, n_features)
        Sequences.
    step_tasks : ndarray of shape (n_samples, n_timesteps, n_tasks)
        Weights of the steps.

    Returns
    -------
    codes : list of ndarray of shape (n_samples,)
        What :meth:`skspecialist.targets.Task.decode` takes.
    """
    latents = module.encoder(_tensor(X))[0]
    outputs = module.heads(latents, _tensor(step_tasks), module.task_mask())[0]
    blocks = outputs.split(module.task_loss.n_outputs, dim=1)
    return [
        (block.argmax(dim=1) if count else block[:, 0]).numpy()
        for block, count in zip(blocks, module.task_loss.n_classes, strict=True)
    ]


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))
