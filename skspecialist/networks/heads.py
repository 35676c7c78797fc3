"""Task heads that read masked latents, and their losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

HIDDEN_UNITS = 64
SLOPE = 0.2


class MaskedHeads(nn.Module):
    """One small network for each task, all evaluated at once.

    The first layer of a head is a mask entry times a column of fixed norm for each
    latent: an entry of the mask alone says how much a task uses a latent, and zero is
    not at all. A linear head has rows of unit norm after that, so its coefficients are
    at most the mask.

    Parameters
    ----------
    n_components : int
        Number of latents.
    n_outputs : sequence of int of length n_tasks
        Number of outputs of each task: one, or one for each class.
    hidden : sequence of int
        Widths of the hidden layers (all equal); empty is a linear head.
    n_groups : int, default=1
        Number of independent sets of heads.
    """

    owner: torch.Tensor
    step_scale: torch.Tensor

    def __init__(
        self,
        n_components: int,
        n_outputs: Sequence[int],
        hidden: Sequence[int] = (HIDDEN_UNITS, HIDDEN_UNITS),
        n_groups: int = 1,
    ) -> None:
        super().__init__()
        self.linear = not hidden
        # A linear head has hidden units too, without activation: the sign of a
        # coefficient can then change by turning a column instead of jumping.
        units = hidden[0] if hidden else 8
        n_tasks, n_heads = len(n_outputs), n_groups * len(n_outputs)
        self.n_tasks, self.n_groups, self.units = n_tasks, n_groups, units
        owner = torch.repeat_interleave(torch.arange(n_tasks), torch.tensor(n_outputs))
        self.register_buffer("owner", owner)
        self.register_buffer("step_scale", torch.ones(n_tasks))
        self.columns = nn.Parameter(torch.randn(n_heads, units, n_components))
        bias = torch.zeros(n_heads, units) if self.linear else torch.randn(n_heads, units)
        self.bias = nn.Parameter(bias, requires_grad=not self.linear)
        self.inner = nn.ParameterList(
            _uniform(n_heads, units + 1, units) for _ in range(len(hidden) - 1)
        )
        self.out = nn.Parameter(_uniform(n_groups, len(owner), units, fan_in=units))
        self.step_bias = nn.Parameter(torch.zeros(n_groups, len(owner)))
        self.intercept = nn.Parameter(torch.zeros(n_groups, len(owner)))

    def forward(
        self, latents: torch.Tensor, step_tasks: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the outputs, summed over the steps.

        Parameters
        ----------
        latents : tensor of shape (n_samples, n_timesteps, n_components)
            Latents of each step.
        step_tasks : tensor of shape (n_samples, n_timesteps, n_tasks)
            Weight of each step in each task.
        mask : tensor of shape (n_groups * n_tasks, n_components)
            Non-negative weights of the latents.

        Returns
        -------
        outputs : tensor of shape (n_groups, n_samples, n_outputs)
            Standardised values, and logits.
        """
        hidden = self._hidden(latents.reshape(-1, latents.shape[2]), mask)
        groups = torch.arange(self.n_groups, device=hidden.device)[:, None] * self.n_tasks
        hidden = hidden[(groups + self.owner).flatten()]
        out = self.out.flatten(0, 1)
        if self.linear:
            out = functional.normalize(out, dim=1)
        outputs = torch.bmm(hidden, out[:, :, None]).squeeze(2)
        outputs = outputs.view(self.n_groups, -1, *latents.shape[:2])
        outputs = outputs + self.step_bias[:, :, None, None]
        weights = (step_tasks / self.step_scale)[:, :, self.owner].permute(2, 0, 1)
        outputs = (outputs * weights).sum(dim=3) + self.intercept[:, :, None]
        return outputs.transpose(1, 2)

    def _hidden(self, latents: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        columns = functional.normalize(self.columns, dim=1)
        if not self.linear:
            columns = columns * self.units**0.5
        weights = (columns * mask[:, None]).flatten(0, 1)
        hidden = functional.linear(latents, weights, self.bias.flatten())
        hidden = hidden.view(len(latents), -1, self.units).transpose(0, 1)
        if self.linear:
            return hidden
        hidden = functional.leaky_relu(hidden, SLOPE)
        for layer in self.inner:
            hidden = torch.baddbmm(layer[:, -1:], hidden, layer[:, :-1])
            hidden = functional.leaky_relu(hidden, SLOPE)
        return hidden

    @torch.no_grad()
    def silence(self, tasks: torch.Tensor, intercept: torch.Tensor) -> None:
        """Let tasks (a boolean tensor) predict nothing but the outputs in ``intercept``."""
        outputs = tasks[self.owner]
        self.out[:, outputs] = 0.0
        self.step_bias[:, outputs] = 0.0
        self.intercept[:, outputs] = intercept[outputs]


class TaskLoss(nn.Module):
    """Loss of each task in units of what knowing nothing costs.

    Squared error of standardised values, or cross entropy over the entropy of the
    labels: predicting the mean, or the frequencies, costs one in both.

    Parameters
    ----------
    n_classes : sequence of int of length n_tasks
        Number of classes, 0 for a continuous task.
    targets : tensor of shape (n_samples, n_tasks)
        Standardised values and class indices of the training data.
    """

    chance_outputs: torch.Tensor
    entropies: torch.Tensor

    def __init__(self, n_classes: Sequence[int], targets: torch.Tensor) -> None:
        super().__init__()
        self.n_classes = list(n_classes)
        self.n_outputs = [max(1, count) for count in n_classes]
        logits, entropies = [], []
        for task, count in enumerate(self.n_classes):
            if count == 0:
                logits.append(torch.zeros(1))
                entropies.append(1.0)
                continue
            counts = torch.bincount(targets[:, task].long(), minlength=count)
            # Half a sample more of each: a class may be held out whole.
            shares = (counts + 0.5) / (len(targets) + 0.5 * count)
            logits.append(shares.log())
            entropies.append(float(-(shares * shares.log()).sum()))
        self.register_buffer("chance_outputs", torch.cat(logits))
        self.register_buffer("entropies", torch.tensor(entropies))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the losses, shape (n_groups, n_samples, n_tasks)."""
        losses, blocks = [], outputs.split(self.n_outputs, dim=2)
        for task, block in enumerate(blocks):
            truth = targets[:, task].expand(block.shape[:2])
            if self.n_classes[task] == 0:
                losses.append((block[:, :, 0] - truth) ** 2)
            else:
                losses.append(
                    functional.cross_entropy(block.transpose(1, 2), truth.long(), reduction="none")
                )
        return torch.stack(losses, dim=2) / self.entropies


def _uniform(*shape: int, fan_in: int | None = None) -> torch.Tensor:
    bound = (shape[-2] if fan_in is None else fan_in) ** -0.5
    return torch.empty(shape).uniform_(-bound, bound)
