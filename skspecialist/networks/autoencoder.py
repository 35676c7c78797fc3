"""The networks: encoder, decoder and masked heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .heads import SLOPE, MaskedHeads, TaskLoss


def mlp(n_inputs: int, hidden: Sequence[int], n_outputs: int) -> nn.Sequential:
    """Return a network with leaky rectifiers between its layers."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(n_inputs, width), nn.LeakyReLU(SLOPE)]
        n_inputs = width
    return nn.Sequential(*layers, nn.Linear(n_inputs, n_outputs))


class Encoder(nn.Module):
    """Features to latents of unit variance.

    Without a fixed variance the latents would grow as the mask shrinks, and no penalty
    on the mask would bite.
    """

    def __init__(
        self, n_features: int, hidden: Sequence[int], n_components: int, variational: bool = False
    ) -> None:
        super().__init__()
        self.n_components, self.variational = n_components, variational
        self.layers = mlp(n_features, hidden, n_components * (1 + variational))
        self.unit = nn.BatchNorm1d(n_components, affine=False)

    def forward(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return means and log variances (None without), like X in all but the last axis."""
        raw = self.raw(X)
        means = self.unit(raw[:, : self.n_components]).view(*X.shape[:-1], -1)
        if not self.variational:
            return means, None
        log_variances = raw[:, self.n_components :].clamp(-10, 4)
        return means, log_variances.view(means.shape)

    def raw(self, X: torch.Tensor) -> torch.Tensor:
        """Return what comes before the variances are fixed."""
        return self.layers(X.reshape(-1, X.shape[-1]))

    @torch.no_grad()
    def freeze(self, X: torch.Tensor) -> None:
        """Take mean and variance of the latents from all of ``X``, for good."""
        raw = self.raw(X)[:, : self.n_components]
        self.unit.running_mean = raw.mean(dim=0)
        self.unit.running_var = raw.var(dim=0, correction=0)
        self.eval()


class WidthNetwork(nn.Module):
    """Encoders to 1, 2, ... latents, each with its own heads, that share hidden layers.

    One fit gives the task loss for every number of latents that the tasks may read. The
    latents themselves are not shared: nested ones (the first k of the same) stay apart
    from the best k, because what serves few latents best stands in the way of more.

    Parameters
    ----------
    encoder : Encoder
        To ``sum(widths)`` latents.
    heads : MaskedHeads
        A group for each width.
    task_loss : TaskLoss
        Losses of the tasks.
    widths : sequence of int
        Number of latents of each group.
    resolution : float
        Differences in task loss that are of no interest.
    """

    mask: torch.Tensor

    def __init__(
        self,
        encoder: Encoder,
        heads: MaskedHeads,
        task_loss: TaskLoss,
        widths: Sequence[int],
        resolution: float,
    ) -> None:
        super().__init__()
        self.encoder, self.heads, self.task_loss = encoder, heads, task_loss
        self.resolution = resolution
        blocks = [torch.full((heads.n_tasks, k), k**-0.5) for k in widths]
        self.register_buffer("mask", torch.block_diag(*blocks))

    def forward(self, X: torch.Tensor, step_tasks: torch.Tensor) -> torch.Tensor:
        """Return the outputs of the heads of every width."""
        return self.heads(self.encoder(X)[0], step_tasks, self.mask)

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean over widths of the logarithm of the task loss.

        Without the logarithm the large losses of the first widths would shape the
        encoder, and what the others lose by that would look like the gain of a latent.
        """
        losses = self.task_loss(outputs, targets).mean(dim=(1, 2))
        return {"log_task_loss": (losses + self.resolution).log().mean()}


class SpecialistAutoencoder(nn.Module):
    """Autoencoder whose task heads read masked latents only.

    Parameters
    ----------
    encoder : Encoder
        Features to latents.
    decoder : module
        All latents to standardised features.
    heads : MaskedHeads
        The first ``width`` latents, masked, to the tasks.
    task_loss : TaskLoss
        Losses of the tasks.
    penalty : part
        Penalty on the mask.
    width : int
        Number of latents, the first ones, that the mask may let through.
    sparsity, beta : float
        Weights of the penalty and of the divergence from the prior.
    """

    allowed: torch.Tensor

    def __init__(
        self,
        encoder: Encoder,
        decoder: nn.Module,
        heads: MaskedHeads,
        task_loss: TaskLoss,
        *,
        penalty: Any,
        width: int,
        sparsity: float,
        beta: float,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.heads = encoder, decoder, heads
        self.task_loss, self.penalty = task_loss, penalty
        self.width, self.sparsity, self.beta = width, sparsity, beta
        shape = (heads.n_tasks, encoder.n_components)
        self.register_buffer(
            "allowed", (torch.arange(shape[1]) < width).float().repeat(shape[0], 1)
        )
        self.mask = nn.Parameter(self.allowed / max(1, width) ** 0.5)

    def task_mask(self) -> torch.Tensor:
        """Return the mask, zero where the heads may not read."""
        return self.mask * self.allowed

    def forward(self, X: torch.Tensor, step_tasks: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the losses need."""
        means, log_variances = self.encoder(X)
        latents = means
        if log_variances is not None and self.training:
            latents = means + (log_variances / 2).exp() * torch.randn_like(means)
        result = {
            "outputs": self.heads(latents, step_tasks, self.task_mask()),
            "errors": self.decoder(latents) - X,
        }
        if log_variances is not None:
            result["divergence"] = (means**2 + log_variances.exp() - 1 - log_variances) / 2
        return result

    def losses(
        self, forward: dict[str, torch.Tensor], targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the objective, each a mean over what it runs over."""
        parts = {
            "task_loss": self.task_loss(forward["outputs"], targets).mean(),
            "reconstruction_loss": (forward["errors"] ** 2).mean(),
        }
        if "divergence" in forward:
            parts["divergence_loss"] = self.beta * forward["divergence"].mean()
        if not self.training:
            # In training the proximal step takes care of it.
            parts["penalty_loss"] = self.sparsity * self.penalty.value(self.task_mask())
        return parts


class FrozenLatentHeads(nn.Module):
    """The heads alone, on latents that stay as they are."""

    allowed: torch.Tensor

    def __init__(self, heads: MaskedHeads, mask: torch.Tensor, task_loss: TaskLoss) -> None:
        super().__init__()
        self.heads, self.task_loss = heads, task_loss
        self.register_buffer("allowed", (mask > 0).float())
        self.mask = nn.Parameter(mask.clone())

    def task_mask(self) -> torch.Tensor:
        """Return the mask, zero where it was."""
        return self.mask * self.allowed

    def forward(self, X: torch.Tensor, step_tasks: torch.Tensor) -> torch.Tensor:
        """Return the outputs for latents ``X``."""
        return self.heads(X, step_tasks, self.task_mask())

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the task loss."""
        return {"task_loss": self.task_loss(outputs, targets).mean()}
