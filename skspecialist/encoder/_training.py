"""Training on the tasks: bottlenecks, their losses and their heads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from ..networks.layers import (
    HEAD_UNITS,
    LEARNS_FROM_ALL,
    ArrayModule,
    Bottlenecks,
    Encoders,
    MaskedHeads,
)
from ..networks.net import SpecialistNet
from ..networks.penalties._base import BasePenalty
from ..networks.training import WARMUP, StepData, Trainer

# Builds untrained bottlenecks of given widths; see ``build_bottlenecks``.
Build = partial[Bottlenecks]


class TaskLoss(ArrayModule):
    """Loss of each task in units of the loss of the null model.

    Squared error of standardized values, or cross entropy over the entropy of the labels:
    the null model, which predicts the mean or the class frequencies, has loss one in both.

    Parameters
    ----------
    n_classes : sequence of int of length n_tasks
        Number of classes, 0 for a continuous task.
    targets, weights : tensors of shape (n_samples, n_tasks)
        Standardized values and class indices of the training data, and their weights.
    """

    null_outputs: torch.Tensor
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
            # Half a sample more of each class (Krichevsky and Trofimov 1981): a class may be
            # absent from the training samples, and would have an infinite loss.
            shares = (counts + 0.5) / (counts.sum() + 0.5 * count)
            logits.append(shares.log())
            entropies.append(float(-(shares * shares.log()).sum()))
        self.register_buffer("null_outputs", torch.cat(logits))
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

    def gradient(
        self, outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum of the weighted losses, and its gradient.

        Parameters
        ----------
        outputs : tensor of shape (n_groups, n_tasks, n_samples, width)
            Outputs, padded to the largest task.
        targets : tensor of shape (n_samples, n_tasks)
            Standardized values and class indices.
        weights : tensor of shape (n_groups, n_tasks, n_samples)
            Weights of the losses.

        Returns
        -------
        loss : tensor of shape ()
            The sum.
        gradient : tensor, like ``outputs``
            Zero in the padding.
        """
        if not any(self.n_classes):
            errors = outputs[..., 0] - targets.T
            weighted = errors * weights
            loss = torch.dot(errors.flatten(), weighted.flatten())
            return loss, weighted.mul_(2.0)[..., None]
        loss, gradient = outputs.new_zeros(()), torch.zeros_like(outputs)
        for task, count in enumerate(self.n_classes):
            weight, block = weights[:, task] / self.entropies[task], outputs[:, task]
            if count == 0:
                errors = block[..., 0] - targets[:, task]
                loss = loss + (errors * errors * weight).sum()
                gradient[:, task, :, 0] = 2.0 * errors * weight
                continue
            # The gradient of the cross entropy: probabilities minus indicators of the class.
            logs = block[..., :count].log_softmax(dim=2)
            truth = functional.one_hot(targets[:, task].long(), count)
            loss = loss - ((logs * truth).sum(dim=2) * weight).sum()
            gradient[:, task, :, :count] = (logs.exp() - truth) * weight[..., None]
        return loss, gradient


def build_bottlenecks(
    data: StepData,
    widths: Sequence[int],
    *,
    n_classes: Sequence[int],
    hidden: Sequence[int] | None,
    linear_heads: bool,
    penalty: BasePenalty,
    learn_steps: bool = False,
    held_out: Sequence[int] = (LEARNS_FROM_ALL,),
    sparsity: Sequence[float] = (0.0,),
    noise: float | Sequence[float] = 0.0,
) -> Bottlenecks:
    """Return untrained bottlenecks, one group per width.

    Parameters
    ----------
    data : StepData
        Training data, for its sizes and the entropies of the labels.
    widths : sequence of int
        Number of latents of each group.
    n_classes : sequence of int
        Number of classes of each task, 0 for a continuous one.
    hidden : sequence of int or None
        Hidden layers of the encoders. None takes the features as the latents.
    linear_heads : bool
        Whether heads are linear.
    penalty : BasePenalty
        Penalty on the mask.
    learn_steps : bool, default=False
        Whether heads learn the importance of each step.
    held_out : sequence of int, default=(LEARNS_FROM_ALL,)
        Fold that each group, or all, does not learn from.
    sparsity : sequence of float, default=(0.0,)
        Weight of the penalty of each group, or of all.
    noise : float or sequence of float, default=0.0
        Noise on the features of all groups, or of each.
    """
    n_groups, width = len(widths), max(widths)
    task_loss = TaskLoss(n_classes, data.targets, data.weights)
    heads = MaskedHeads(
        width,
        task_loss.n_outputs,
        () if linear_heads else HEAD_UNITS,
        n_groups,
        data.step_weights[0] if learn_steps else None,
    )
    heads.step_scale.copy_(_step_scale(data.step_weights))
    # A task without steps, or without values, uses no latent.
    active = data.step_weights.any(dim=1).any(dim=0) & (data.weights > 0).any(dim=0)
    readable = (torch.arange(width) < torch.tensor(widths)[:, None]).float()
    return Bottlenecks(
        Encoders(data.X.shape[2], hidden, width, n_groups, noise),
        heads,
        task_loss,
        penalty=penalty,
        sparsity=torch.tensor(sparsity, dtype=torch.float32).expand(n_groups).clone(),
        allowed=active.float()[None, :, None] * readable[:, None],
        held_out=torch.tensor(held_out).expand(n_groups).clone(),
    )


def train_bottlenecks(
    data: StepData,
    trainer: Trainer,
    module: Bottlenecks,
    *,
    start: Bottlenecks | None = None,
    **options: Any,
) -> SpecialistNet:
    """Train bottlenecks on the tasks.

    Parameters
    ----------
    data : StepData
        Training data.
    trainer : Trainer
        Parameters of the training.
    module : Bottlenecks
        Untrained.
    start : Bottlenecks or None, default=None
        Trained ones whose weights the training starts from, at a third of the learning rate:
        they need refinement, not exploration.
    **options : dict
        Passed to :meth:`Trainer.train`.
    """
    if start is not None:
        copy_weights(module, start)
    lr_divisor = 1.0 if start is None else 3.0
    net = trainer.train(module, data, warmup=WARMUP, lr_divisor=lr_divisor, **options)
    finish_bottlenecks(net.module_, data)
    return net


def noise_of(module: Bottlenecks) -> list[float]:
    """Return the noise that each group was trained with."""
    return module.encoders.noise.flatten().tolist()


def finish_bottlenecks(module: Bottlenecks, data: StepData) -> None:
    """Fix mask and variance of the latents; tasks without a latent predict a constant."""
    module.merge_gates()
    module.encoders.freeze(data.rows, data.step_row_weights)
    without = ~module.task_mask().any(dim=2)
    module.heads.set_constant(without, module.task_loss.null_outputs)


def copy_weights(module: Bottlenecks, start: Bottlenecks) -> None:
    """Copy the weights of an earlier fit, but nothing that belongs to its data."""
    weights = dict(start.named_parameters())
    own = {name: p for name, p in module.named_parameters() if name != "gate_logits"}
    shapes = {name: parameter.shape for name, parameter in own.items()}
    if shapes != {name: parameter.shape for name, parameter in weights.items()}:
        raise ValueError(
            "warm_start=True needs the features, tasks and layers of the previous fit: set "
            "warm_start=False to train from scratch."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def refit_heads(
    data: StepData, trainer: Trainer, module: Bottlenecks, *, from_scratch: bool = False
) -> SpecialistNet:
    """Train the heads again, without penalty, on the latents that the mask kept.

    The penalty shrinks the entries that it keeps; the refit undoes the shrinkage and keeps the
    zeros, as the relaxed lasso does (Meinshausen 2007). The latents of all groups must be the
    same.
    """
    latents = module.encoders.encode_rows(data.rows)[0]
    mask = module.task_mask().detach()
    heads = Bottlenecks(
        Encoders(latents.shape[1], None, latents.shape[1], len(mask)),
        copy.deepcopy(module.heads).requires_grad_(True),
        module.task_loss,
        penalty=module.penalty,
        sparsity=torch.zeros_like(module.sparsity),
        allowed=(mask > 0).float(),
        held_out=module.held_out,
    )
    if heads.heads.linear:
        heads.heads.bias.requires_grad_(False)
    with torch.no_grad():
        heads.mask.copy_(mask)
    train = replace(data, X=latents.view(*data.X.shape[:2], -1))
    # Trained heads start near their optimum: a third of the learning rate and of the epochs.
    lr_divisor = 1.0 if from_scratch else 3.0
    net = trainer.train(heads, train, share=1 / 3, lr_divisor=lr_divisor, may_stop_early=True)
    finish_bottlenecks(net.module_, train)
    with torch.no_grad():
        module.mask.copy_(net.module_.task_mask())
    module.heads = net.module_.heads
    return net


def _step_scale(step_weights: torch.Tensor) -> torch.Tensor:
    """Return the root mean square over samples of the norm of the weights of the steps.

    Divided by it, a sum of uncorrelated contributions of unit variance has unit variance,
    whatever the number of steps.
    """
    scale = (step_weights**2).sum(dim=1).mean(dim=0).sqrt()
    return torch.where(scale > 0, scale, torch.ones_like(scale))
