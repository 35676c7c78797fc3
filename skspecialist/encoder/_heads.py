"""Task heads that read masked latents, and their losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from ..networks.layers import SLOPE, uniform
from ..networks.portable import Portable, Weights

LINEAR_UNITS = 8


class MaskedHeads(Portable):
    """One small network for each task, all evaluated at once.

    The first layer of a head is a mask entry times a column of fixed norm for each
    latent: an entry of the mask alone says how much a task uses a latent, and zero is
    not at all. A linear head has rows of unit norm after that, so its coefficients are
    at most the mask.

    Parameters
    ----------
    n_latents : int
        Number of latents.
    n_outputs : sequence of int of length n_tasks
        Number of outputs of each task: one, or one for each class.
    hidden : sequence of int
        Widths of the hidden layers (all equal); empty is a linear head.
    n_groups : int, default=1
        Number of independent sets of heads.
    steps : tensor of shape (n_timesteps, n_tasks) or None, default=None
        Weights of the steps, the same in all sequences, where the heads are to learn how much
        each of them counts. A step that the task does not use can then do little harm.
    """

    outputs: torch.Tensor
    step_scale: torch.Tensor
    steps: torch.Tensor
    importance: nn.Parameter | None

    def __init__(
        self,
        n_latents: int,
        n_outputs: Sequence[int],
        hidden: Sequence[int] = (32, 32),
        n_groups: int = 1,
        steps: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.linear = not hidden
        # A linear head has hidden units too, without activation: the sign of a
        # coefficient can then change by turning a column instead of jumping.
        units = hidden[0] if hidden else LINEAR_UNITS
        n_tasks, width = len(n_outputs), max(n_outputs)
        self.n_tasks, self.n_groups, self.units = n_tasks, n_groups, units
        # Every task has room for the outputs of the largest; these are the ones in use.
        places = [task * width + k for task, count in enumerate(n_outputs) for k in range(count)]
        self.register_buffer("outputs", torch.tensor(places))
        self.register_buffer("step_scale", torch.ones(n_tasks))
        self.columns = nn.Parameter(torch.randn(n_groups, n_tasks, units, n_latents))
        bias = torch.zeros if self.linear else torch.randn
        self.bias = nn.Parameter(bias(n_groups, n_tasks, units), requires_grad=not self.linear)
        self.inner = Weights(
            uniform(n_groups, n_tasks, units + 1, units, fan_in=units)
            for _ in range(len(hidden) - 1)
        )
        self.out = uniform(n_groups, n_tasks, units, width, fan_in=units)
        self.step_bias = nn.Parameter(torch.zeros(n_groups, n_tasks, width))
        self.intercept = nn.Parameter(torch.zeros(n_groups, n_tasks, width))
        self.register_buffer("steps", None)
        self.register_parameter("importance", None)
        if steps is not None:
            self.steps = steps.T.clone()
            self.importance = nn.Parameter(torch.ones(n_groups, *self.steps.shape))

    def forward(
        self, latents: torch.Tensor, step_weights: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the outputs, summed over the steps.

        Parameters
        ----------
        latents : tensor of shape (n_groups, n_samples * n_timesteps, n_latents)
            Latents of each step.
        step_weights : tensor of shape (n_samples, n_timesteps, n_tasks)
            Weight of each step in each task.
        mask : tensor of shape (n_groups, n_tasks, n_latents)
            Non-negative weights of the latents.

        Returns
        -------
        outputs : tensor of shape (n_groups, n_samples, n_outputs)
            Standardized values, and logits.
        """
        outputs = self.per_step(latents, mask).unflatten(2, step_weights.shape[:2])
        weights = (step_weights / self.step_scale).permute(2, 0, 1)
        if step_weights.shape[1] == 1:
            outputs = outputs[:, :, :, 0] * weights[:, :, 0, None]
        elif self.importance is None:
            outputs = torch.einsum("gtnsc,tns->gtnc", outputs, weights)
        else:
            outputs = torch.einsum("gtnsc,tns,gts->gtnc", outputs, weights, self.step_importance())
        outputs = outputs + self.intercept[:, :, None]
        return outputs.transpose(1, 2).flatten(2)[..., self.outputs]

    def per_step(self, latents: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n_groups, n_tasks, n_rows, width) of single steps."""
        out = self.out.flatten(0, 1)
        if self.linear:
            out = functional.normalize(out, dim=1)
        outputs = torch.bmm(self._hidden(latents, mask), out)
        return outputs.unflatten(0, (self.n_groups, self.n_tasks)) + self.step_bias[:, :, None]

    def step_importance(self) -> torch.Tensor:
        """Return what the weights of the steps are multiplied by, (n_groups, n_tasks, n_timesteps).

        It leaves the sum of their squares as it is, or it could stand in for the mask.
        """
        assert self.importance is not None
        tiny = torch.finfo(torch.float32).tiny
        given = self.steps.square().sum(dim=1, keepdim=True)
        learned = (self.steps * self.importance).square().sum(dim=2, keepdim=True)
        return self.importance * (given.clamp(min=tiny) / learned.clamp(min=tiny)).sqrt()

    def _hidden(self, latents: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = torch.baddbmm(
            self.bias.flatten(1)[:, None], latents, self.first_layer(mask).flatten(1, 2).mT
        )
        hidden = hidden.view(self.n_groups, -1, self.n_tasks, self.units).transpose(1, 2)
        hidden = hidden.reshape(self.n_groups * self.n_tasks, -1, self.units)
        if self.linear:
            return hidden
        hidden = functional.leaky_relu(hidden, SLOPE)
        for layer in self.inner:
            weight = layer.flatten(0, 1)
            hidden = torch.baddbmm(weight[:, -1:], hidden, weight[:, :-1])
            hidden = functional.leaky_relu(hidden, SLOPE)
        return hidden

    def first_layer(self, mask: torch.Tensor) -> torch.Tensor:
        """Return its weights (n_groups, n_tasks, units, n_latents)."""
        columns = functional.normalize(self.columns, dim=2)
        if not self.linear:
            columns = columns * self.units**0.5
        return columns * mask[:, :, None]

    def take_steps(self, other: MaskedHeads) -> None:
        """Take over what other heads know of the steps."""
        self.step_scale = other.step_scale
        if other.importance is not None:
            self.steps, self.importance = other.steps, other.importance

    @torch.no_grad()
    def silence(self, tasks: torch.Tensor, intercept: torch.Tensor) -> None:
        """Let tasks (n_groups, n_tasks, boolean) predict nothing but ``intercept``."""
        group, task = tasks.nonzero(as_tuple=True)
        self.out[group, task] = 0.0
        self.step_bias[group, task] = 0.0
        constant = self.intercept.new_zeros(self.n_tasks * self.intercept.shape[2])
        constant[self.outputs] = intercept.to(constant)
        self.intercept[group, task] = constant.view(self.n_tasks, -1)[task]


class TaskLoss(Portable):
    """Loss of each task in units of what knowing nothing costs.

    Squared error of standardized values, or cross entropy over the entropy of the
    labels: predicting the mean, or the frequencies, costs one in both.

    Parameters
    ----------
    n_classes : sequence of int of length n_tasks
        Number of classes, 0 for a continuous task.
    targets, weights : tensors of shape (n_samples, n_tasks)
        Standardized values and class indices of the training data, and how much they count.
    """

    chance_outputs: torch.Tensor
    entropies: torch.Tensor

    def __init__(
        self, n_classes: Sequence[int], targets: torch.Tensor, weights: torch.Tensor
    ) -> None:
        super().__init__()
        self.n_classes = list(n_classes)
        self.n_outputs = [max(1, count) for count in n_classes]
        logits, entropies = [], []
        for task, count in enumerate(self.n_classes):
            if count == 0:
                logits.append(torch.zeros(1))
                entropies.append(1.0)
                continue
            counts = torch.bincount(targets[:, task].long(), weights[:, task], minlength=count)
            # Half a sample more of each: a class may be held out whole.
            shares = (counts + 0.5) / (counts.sum() + 0.5 * count)
            logits.append(shares.log())
            entropies.append(float(-(shares * shares.log()).sum()))
        self.register_buffer("chance_outputs", torch.cat(logits))
        self.register_buffer("entropies", torch.tensor(entropies))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the losses, shape (n_groups, n_samples, n_tasks)."""
        if not any(self.n_classes):
            return (outputs - targets) ** 2
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
