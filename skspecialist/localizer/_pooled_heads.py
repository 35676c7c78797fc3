"""Task heads that score single steps, and pool the scores to what is known of a sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from ..encoder._heads import MaskedHeads
from ..networks.portable import Portable

TOP_SHARE = 0.1  # of the steps, whose mean "top_k_mean" takes
TINY = 1e-6  # rate below which a sequence counts as certain not to have the task


class PooledHeads(MaskedHeads):
    """One small network for each task that scores every step by itself.

    The score of a step is the logit of its probability or, for an amount, what it adds.

    Parameters
    ----------
    n_latents : int
        Number of latents.
    is_amount : sequence of bool of length n_tasks
        Tasks of which an amount is known; of the others, whether they occur.
    hidden : sequence of int
        Widths of the hidden layers (all equal); empty is a linear head.
    pooling : {"noisy_or", "log_sum_exp", "top_k_mean"}
        From the logits of the steps to that of the sequence. Amounts are summed.
    smoothing : int
        Number of steps on either side that a step's score is averaged with.
    n_groups : int
        Number of independent sets of heads.
    """

    is_amount: torch.Tensor

    def __init__(
        self,
        n_latents: int,
        is_amount: Sequence[bool],
        hidden: Sequence[int],
        *,
        pooling: str,
        smoothing: int,
        n_groups: int,
    ) -> None:
        super().__init__(n_latents, [1] * len(is_amount), hidden, n_groups)
        self.pooling, self.smoothing = pooling, smoothing
        self.register_buffer("is_amount", torch.tensor(is_amount))
        # One for all steps could not be told from a part of every step.
        self.intercept.requires_grad_(False)

    @torch.no_grad()
    def start_at(self, means: torch.Tensor, n_timesteps: float) -> None:
        """Let every step have its share of the mean (n_tasks,) of the sequences."""
        chances = -torch.expm1(torch.log1p(-means.clamp(0.02, 0.98)) / n_timesteps)
        each = torch.where(self.is_amount, means / n_timesteps, torch.logit(chances))
        self.step_bias.copy_(each[:, None])

    def forward(
        self, latents: torch.Tensor, step_weights: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return logits and amounts (n_groups, n_samples, n_tasks) of sequences.

        Parameters
        ----------
        latents : tensor of shape (n_groups, n_samples * n_timesteps, n_latents)
            Latents of each step.
        step_weights : tensor of shape (n_samples, n_timesteps, n_tasks)
            One for the steps that there are, zero for those that fill up.
        mask : tensor of shape (n_groups, n_tasks, n_latents)
            Non-negative weights of the latents.
        """
        there = step_weights[..., 0]
        scores = self.per_step(latents, mask)[..., 0].unflatten(2, there.shape)
        return self.pool(smooth(scores, there, self.smoothing), there)

    def pool(self, scores: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Return logits and amounts (n_groups, n_samples, n_tasks) for those of the steps.

        Parameters
        ----------
        scores : tensor of shape (n_groups, n_tasks, n_samples, n_timesteps)
            Scores of the steps.
        there : tensor of shape (n_samples, n_timesteps)
            One for the steps that there are.
        """
        amounts = (scores * there).sum(dim=3)
        chances = POOLINGS[self.pooling](scores, there)
        return torch.where(self.is_amount[:, None], amounts, chances).transpose(1, 2)


class PooledLoss(Portable):
    """Loss of each task in units of what knowing nothing costs.

    Squared error of an amount over its variance, or cross entropy over that of the share of
    sequences that have the task.

    Parameters
    ----------
    is_amount : tensor of shape (n_tasks,), bool
        Tasks of which an amount is known.
    targets, weights : tensors of shape (n_samples, n_tasks)
        Amounts, and zero or one, and how much they count.
    """

    is_amount: torch.Tensor
    chance: torch.Tensor

    def __init__(
        self, is_amount: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> None:
        super().__init__()
        total = weights.sum(dim=0)
        mean = (targets * weights).sum(dim=0) / total
        variance = ((targets - mean) ** 2 * weights).sum(dim=0) / total
        entropy = -torch.special.xlogy(mean, mean) - torch.special.xlogy(1 - mean, 1 - mean)
        self.register_buffer("is_amount", is_amount)
        self.register_buffer("chance", torch.where(is_amount, variance, entropy))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the losses, shape (n_groups, n_samples, n_tasks)."""
        targets = targets.expand_as(outputs)
        squares = (outputs - targets) ** 2
        entropies = functional.binary_cross_entropy_with_logits(
            outputs, targets.clamp(0, 1), reduction="none"
        )
        return torch.where(self.is_amount, squares, entropies) / self.chance


def smooth(scores: torch.Tensor, there: torch.Tensor, width: int) -> torch.Tensor:
    """Return means of scores (..., n_samples, n_timesteps) with ``width`` steps on either side."""
    if width == 0:
        return scores
    return _sums(scores * there, width) / _sums(there[None], width).clamp(min=1)


def _sums(values: torch.Tensor, width: int) -> torch.Tensor:
    size = 2 * width + 1
    means = functional.avg_pool1d(values.flatten(0, -2)[:, None], size, stride=1, padding=width)
    return size * means.view_as(values)


def noisy_or(logits: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return the logit that some step has the task, if each has it independently."""
    rate = (functional.softplus(logits) * there).sum(dim=-1).clamp(min=TINY)
    return rate + torch.log(-torch.expm1(-rate))


def log_sum_exp(logits: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return a soft maximum of the logits."""
    hidden = logits.masked_fill(there == 0, -torch.inf)
    return torch.logsumexp(hidden, dim=-1) - there.sum(dim=-1).log()


def top_k_mean(logits: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return the mean of the tenth of the logits that are largest."""
    counts = (there.sum(dim=-1) * TOP_SHARE).ceil()
    most = max(1, math.ceil(there.shape[-1] * TOP_SHARE))
    largest = logits.masked_fill(there == 0, -torch.inf).topk(most, dim=-1).values
    counted = torch.arange(most) < counts[..., None]
    return largest.masked_fill(~counted, 0.0).sum(dim=-1) / counts


POOLINGS = {"noisy_or": noisy_or, "log_sum_exp": log_sum_exp, "top_k_mean": top_k_mean}
