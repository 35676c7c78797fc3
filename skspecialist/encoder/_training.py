"""Training on the tasks, and of the autoencoder around the latents that they use.

Fitted networks take arrays in double precision: in single precision the same row differs by
1e-7 between batches of different sizes, more than scikit-learn's tolerance.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..networks.layers import (
    CHUNK,
    HEAD_UNITS,
    LEARNS_FROM_ALL,
    ArrayModule,
    Bottlenecks,
    Encoders,
    GroupedMLP,
    MaskedHeads,
    to_double,
)
from ..networks.net import SpecialistNet
from ..networks.penalties import BasePenalty
from ..networks.training import WARMUP, StepData, Trainer, one_thread

# Rows of a batch that the independence of the latents is measured on: a kernel matrix of all
# pairs of rows grows with the square of their number, and its error is that of so many rows.
KERNEL_ROWS = 2048

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
        numbers = np.array(self.n_classes)
        self.tasks_by_count = {int(c): np.flatnonzero(numbers == c).tolist() for c in numbers}
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
        weights = weights / self.entropies[:, None]
        for count, tasks in self.tasks_by_count.items():
            weight, block, values = weights[:, tasks], outputs[:, tasks], targets[:, tasks].T
            if count == 0:
                errors = block[..., 0] - values
                loss = loss + (errors * errors * weight).sum()
                gradient[:, tasks, :, 0] = 2.0 * errors * weight
                continue
            # The gradient of the cross entropy: probabilities minus indicators of the class.
            logs = block[..., :count].log_softmax(dim=3)
            truth = functional.one_hot(values.long(), count)
            loss = loss - ((logs * truth).sum(dim=3) * weight).sum()
            gradient[:, tasks, :, :count] = (logs.exp() - truth) * weight[..., None]
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
                    drawn = torch.randperm(len(rows))[:KERNEL_ROWS]
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


@one_thread()
@torch.no_grad()
def encode(module: ArrayModule, X: np.ndarray) -> np.ndarray:
    """Return the latents of ``(..., n_features)`` rows, of an autoencoder or of its encoders."""
    rows = to_double(X).reshape(-1, X.shape[-1])
    encoder: Any = module.encode if isinstance(module, SpecialistAutoencoder) else None
    of_rows = encoder or (lambda chunk: module(chunk)[0])
    latents = torch.cat([of_rows(chunk) for chunk in rows.split(CHUNK)])
    return latents.reshape(*X.shape[:-1], -1).numpy()


@one_thread()
@torch.no_grad()
def decode(module: SpecialistAutoencoder, latents: np.ndarray) -> np.ndarray:
    """Return the standardized features of ``(n_rows, n_latents)`` latents."""
    return torch.cat([module.decode(chunk) for chunk in to_double(latents).split(CHUNK)]).numpy()


@one_thread()
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
