"""Encoders to few latents that learn from the tasks alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..networks.layers import Encoders, only_group
from ..networks.portable import Portable
from ._heads import MaskedHeads


class Bottlenecks(Portable):
    """Groups of an encoder and the task heads that read its latents through a mask.

    Parameters
    ----------
    encoders : Encoders
        Features to latents.
    heads : MaskedHeads
        Masked latents to tasks, in as many groups.
    task_loss : TaskLoss or PooledLoss
        Losses of the tasks, for what the heads give.
    penalty : part
        Penalty on the mask.
    sparsity : tensor of shape (n_groups,)
        Weight of the penalty.
    beta : float
        Weight of the divergence of the latents from a standard normal distribution.
    allowed : tensor of shape (n_groups, n_tasks, n_latents)
        One where the mask may be positive, else zero.
    held_out : tensor of shape (n_groups,)
        Fold that a group does not learn from.
    """

    allowed: torch.Tensor
    sparsity: torch.Tensor
    held_out: torch.Tensor
    grouped_buffers = ("allowed", "sparsity", "held_out")

    def __init__(
        self,
        encoders: Encoders,
        heads: MaskedHeads,
        task_loss: Any,
        *,
        penalty: Any,
        sparsity: torch.Tensor,
        beta: float,
        allowed: torch.Tensor,
        held_out: torch.Tensor,
    ) -> None:
        super().__init__()
        self.encoders, self.heads, self.task_loss = encoders, heads, task_loss
        self.penalty, self.beta = penalty, beta
        self.register_buffer("allowed", allowed)
        self.register_buffer("sparsity", sparsity)
        self.register_buffer("held_out", held_out)
        widths = allowed.amax(dim=1).sum(dim=1).clamp(min=1)
        self.mask = nn.Parameter(allowed / widths[:, None, None] ** 0.5)
        logits = penalty.initial_logits(allowed.shape) if sparsity.any() else None
        self.gate_logits = None if logits is None else nn.Parameter(logits)
        self.is_penalized = True  # the net does without during the dense warm-up

    def task_mask(self) -> torch.Tensor:
        """Return the mask (n_groups, n_tasks, n_latents), zero where it is not allowed."""
        mask = self.mask * self.allowed
        if self.gate_logits is None or not self.is_penalized:
            return mask
        return mask * self.penalty.gates(self.gate_logits, sample=self.training)

    @torch.no_grad()
    def close_gates(self) -> None:
        """Make the gates, as they are now, part of the mask."""
        self.mask.copy_(self.task_mask())
        self.gate_logits = None

    def select(self, group: int, width: int) -> None:
        """Keep one group, and the first latents."""
        only_group(self, group)
        self.encoders.trim(width)
        self.allowed = self.allowed[..., :width].clone()
        for parameter in (self.mask, self.heads.columns):
            parameter.data = parameter.data[..., :width].clone()

    def forward(self, X: torch.Tensor, step_weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the losses need."""
        means, log_variances = self.encoders(X.flatten(0, 1))
        latents = means
        if log_variances is not None and self.training:
            latents = means + (log_variances / 2).exp() * torch.randn_like(means)
        result = {"outputs": self.heads(latents, step_weights, self.task_mask())}
        if log_variances is not None:
            result["divergence"] = divergence(means, log_variances)
        return result

    def losses(
        self, forward: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the objective, sums over groups."""
        learns = truth["folds"] != self.held_out[:, None]
        weights = truth["weights"] * learns[:, :, None]
        losses = self.task_loss(forward["outputs"], truth["targets"])
        parts = {"task_loss": (losses * weights).mean(dim=(1, 2)).sum()}
        if "divergence" in forward:
            parts["divergence_loss"] = self.beta * forward["divergence"]
        if self.gate_logits is not None and self.is_penalized:
            share = self.penalty.open_probability(self.gate_logits)
            parts["penalty_loss"] = (self.sparsity * share).sum()
        elif not self.training:
            # In training the proximal step takes care of it.
            value = self.penalty.value(self.task_mask())
            parts["penalty_loss"] = (self.sparsity * value).sum()
        return parts


def divergence(means: torch.Tensor, log_variances: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence from the standard normal distribution, summed over groups."""
    each = (means**2 + log_variances.exp() - 1 - log_variances) / 2
    return each.mean(dim=(1, 2)).sum()
