"""Turns the latents of linear heads so that each task needs few of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..networks.data import StepData
from ._bottlenecks import Bottlenecks
from ._heads import MaskedHeads
from ._rotation import sparse_rotation
from ._separability import inseparable_groups, select_support

GROUP_TOLERANCE = 0.001  # a support for claims about latents that occur together


def rotate_latents(
    data: StepData, module: Bottlenecks, n_classes: Sequence[int], tolerance: float
) -> list[tuple[int, ...]]:
    """Turn the latents of one group, restrict the mask to the support, and say what is open.

    Parameters
    ----------
    data : StepData
        What the heads are fitted to, by least squares.
    module : Bottlenecks
        Trained, of one group, with linear heads. Afterwards its heads must be trained.
    n_classes : sequence of int
        Number of classes of each task, 0 for a continuous one.
    tolerance : float
        Share of what a task's heads explain that may be lost for sparsity.

    Returns
    -------
    inseparable : list of tuple of int
        Groups of latents that the tasks do not tell apart.
    """
    designs, targets = _regressions(data, module, n_classes)
    fits = [_least_squares(*pair) for pair in zip(designs, targets, strict=True)]
    covariance = np.cov(module.encoders.encode_rows(data.rows)[0].double().numpy().T)
    found = sparse_rotation(
        np.vstack([fit[0] for fit in fits]),
        covariance,
        noise=np.concatenate([fit[1] for fit in fits]),
    )
    supports = {
        share: np.vstack(
            [
                select_support(
                    design @ found.rotation,
                    values,
                    groups=[np.arange(values.shape[1])],
                    tolerance=share,
                )
                for design, values in zip(designs, targets, strict=True)
            ]
        )
        for share in (tolerance, GROUP_TOLERANCE)
    }
    _turn(data, module, found.rotation, supports[tolerance])
    ends = np.cumsum([values.shape[1] for values in targets])
    columns = np.split(np.arange(ends[-1]), ends[:-1])
    return inseparable_groups(supports[GROUP_TOLERANCE], groups=columns)


def _regressions(
    data: StepData, module: Bottlenecks, n_classes: Sequence[int]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return, for each task, its latents summed over its steps, and its columns."""
    designs, targets = [], []
    latents = module.encoders.encode_rows(data.rows)[0].view(*data.X.shape[:2], -1)
    for task, count in enumerate(n_classes):
        present = data.weights[:, task] > 0
        weights = data.step_weights[present][:, :, task, None]
        if module.heads.importance is not None:
            weights = weights * module.heads.step_importance()[0, task, :, None].detach()
        designs.append((latents[present] * weights).sum(dim=1).double().numpy())
        values = data.targets[present, task].double().numpy()[:, None]
        targets.append(values if count == 0 else (values == np.arange(1, count)).astype(float))
    return designs, targets


def _least_squares(design: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (n_columns, n_latents) and their standard errors (n_columns,)."""
    design = design - design.mean(axis=0)
    values = values - values.mean(axis=0)
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    spread = (values - design @ coefficients).std(axis=0)
    scale = np.sqrt((design**2).mean() * len(design))
    return coefficients.T, spread / max(scale, 1e-12)


@torch.no_grad()
def _turn(data: StepData, module: Bottlenecks, rotation: np.ndarray, support: np.ndarray) -> None:
    encoders = module.encoders
    turn = torch.tensor(rotation, dtype=torch.float32) / encoders.variance[0].sqrt().T
    assert encoders.layers is not None
    weight, bias = encoders.layers.weights[-1], encoders.layers.biases[-1]
    weight[..., : encoders.n_latents] = weight[..., : encoders.n_latents] @ turn
    bias[..., : encoders.n_latents] = (bias[..., : encoders.n_latents] - encoders.mean) @ turn
    encoders.freeze(data.rows)
    module.allowed.copy_(module.allowed * torch.tensor(support, dtype=torch.float32))
    module.mask.copy_(module.allowed)
    heads = MaskedHeads(encoders.n_latents, module.task_loss.n_outputs, ())
    heads.take_steps(module.heads)
    module.heads = heads
