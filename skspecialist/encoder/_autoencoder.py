"""Autoencoder around the latents of the tasks, its training, and its application to arrays.

Arrays are passed in double precision: in single precision the same row differs by 1e-7
between batches of different sizes, more than scikit-learn's tolerance.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from ..networks.layers import CHUNK, ArrayModule, Bottlenecks, Encoders, GroupedMLP, to_double
from ..networks.net import SpecialistNet
from ..networks.training import StepData, Trainer

# Rows of a batch that the independence of the latents is measured on: a kernel matrix of all
# pairs of rows grows with the square of their number, and its error is that of so many rows.
KERNEL_ROWS = 2048


class SpecialistAutoencoder(ArrayModule):
    """Latents that the tasks use, latents for reconstruction only, and a decoder of both.

    The first latents are learned from the tasks and stay fixed while the others learn what
    else the reconstruction needs: it cannot change the first. Until ``add_decoder`` there are
    only the first.

    Parameters
    ----------
    bottleneck : Bottlenecks
        Trained, of one group.
    n_latents : int
        Number of all latents.
    """

    loss_names = ("reconstruction_loss", "dependence_loss")

    def __init__(
        self,
        bottleneck: Bottlenecks,
        n_latents: int,
    ) -> None:
        super().__init__()
        self.bottleneck = bottleneck.requires_grad_(False)
        self.n_latents, self.independence_weight = n_latents, 0.0
        self.n_relevant = bottleneck.encoders.n_latents
        self.complement: Encoders | None = None
        self.decoder: GroupedMLP | None = None
        if bottleneck.encoders.layers is None and n_latents > self.n_relevant:
            # The latents are the features: those that no task uses are given too.
            self.complement = Encoders(n_latents, None, n_latents - self.n_relevant)

    def add_decoder(
        self, n_features: int, hidden: Sequence[int], independence_weight: float
    ) -> None:
        """Add an untrained decoder, and the other latents, if there are any.

        Parameters
        ----------
        n_features : int
            Number of features.
        hidden : sequence of int
            Hidden layers of the encoder of the other latents and, reversed, of the decoder.
        independence_weight : float
            Weight of the dependence between the two groups of latents.
        """
        self.independence_weight = independence_weight
        if self.n_latents > self.n_relevant:
            self.complement = Encoders(n_features, hidden, self.n_latents - self.n_relevant)
        self.decoder = GroupedMLP([self.n_latents, *hidden[::-1], n_features], 1)

    def task_mask(self) -> torch.Tensor:
        """Return the mask (n_tasks, n_latents), zero for the complement."""
        mask = self.bottleneck.task_mask()[0]
        return torch.nn.functional.pad(mask, (0, self.n_latents - self.n_relevant))

    def encode(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the latents of ``rows``, those of the tasks first."""
        parts = [self.bottleneck.encoders(rows)[0]]
        if self.complement is not None:
            parts.append(self.complement(rows)[0])
        return torch.cat(parts, dim=1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the standardized features of ``(n_rows, n_latents)`` latents."""
        return latents if self.decoder is None else self.decoder(latents)[0]

    def train(self, mode: bool = True) -> SpecialistAutoencoder:
        """Set the mode of all parts but the bottleneck, which is never trained here."""
        super().train(mode)
        self.bottleneck.eval()
        return self

    def forward(self, X: torch.Tensor, step_weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the errors of the reconstruction, and the dependence of the latents."""
        rows = X.flatten(0, 1)
        with torch.no_grad():
            relevant = self.bottleneck.encoders(rows)[0]
        result, parts = {}, [relevant]
        if self.complement is not None:
            others = self.complement(rows)
            parts.append(others[0])
            if self.independence_weight > 0 and relevant.shape[1] > 0:
                pair = relevant, others[0]
                if len(rows) > KERNEL_ROWS:
                    drawn = torch.randperm(len(rows), device=rows.device)[:KERNEL_ROWS]
                    pair = relevant[drawn], others[0][drawn]
                result["dependence"] = kernel_alignment(*pair)
        result["errors"] = self.decode(torch.cat(parts, dim=1)) - rows
        return result

    def losses(
        self, forward: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the objective."""
        weights = truth["row_weights"]
        n_timesteps = len(forward["errors"]) // len(weights)
        weights = weights.repeat_interleave(n_timesteps)[:, None]
        parts = {"reconstruction_loss": (forward["errors"] ** 2 * weights).mean()}
        if "dependence" in forward:
            parts["dependence_loss"] = self.independence_weight * forward["dependence"]
        return parts


def kernel_alignment(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the cosine between the centered Gaussian kernel matrices of two sets of columns.

    It is the Hilbert-Schmidt independence criterion scaled to [0, 1], the centered kernel
    alignment of Cortes, Mohri and Rostamizadeh (2012): near 0 for independent columns, and
    positive for any relation. Columns should have unit variance.
    """
    kernels = []
    for columns in (x, y):
        squares = columns.square().sum(dim=1)
        distances = squares[:, None] + squares - 2 * columns @ columns.T
        # The mean squared distance of two rows is 2 d for d columns of unit variance: the
        # bandwidth grows with it, or the kernel of many columns would be the identity.
        kernel = (-distances / (2 * columns.shape[1])).exp()
        kernel = kernel - kernel.mean(dim=0) - kernel.mean(dim=1)[:, None] + kernel.mean()
        kernels.append(kernel)
    first, second = kernels
    return (first * second).sum() / (first.norm() * second.norm()).clamp(min=1e-12)


def with_decoder(
    module: SpecialistAutoencoder,
    data: StepData,
    trainer: Trainer,
    *,
    hidden: Sequence[int],
    independence_weight: float,
) -> tuple[SpecialistAutoencoder, SpecialistNet]:
    """Return a copy of an autoencoder with a trained decoder and other latents, and its net.

    The copy is trained in single precision, in which the latents of the tasks were trained.
    """
    full = copy.deepcopy(module).float()
    full.add_decoder(data.X.shape[2], hidden, independence_weight)
    net = trainer.train(full, data, may_stop_early=True)
    if full.complement is not None:
        full.complement.freeze(data.rows, data.step_row_weights)
    return full.double().eval(), net


@torch.no_grad()
def encode(module: ArrayModule, X: np.ndarray) -> np.ndarray:
    """Return the latents of ``(..., n_features)`` rows, of an autoencoder or of its encoders."""
    rows = to_double(X).reshape(-1, X.shape[-1])
    latents = torch.cat(
        [
            module.encode(chunk) if isinstance(module, SpecialistAutoencoder) else module(chunk)[0]
            for chunk in rows.split(CHUNK)
        ]
    )
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
        outputs.append(bottleneck(to_double(X[start : start + size]), weights)[0])
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
