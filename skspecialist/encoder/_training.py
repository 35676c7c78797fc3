"""Training on the tasks: bottlenecks, their heads, and the search along a path of sparsity."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .._stats.model_comparison import tolerated_loss
from ..networks.layers import (
    CHUNK,
    HEAD_UNITS,
    ArrayModule,
    Bottlenecks,
    Encoders,
    MaskedHeads,
)
from ..networks.penalties._base import BasePenalty
from ..networks.training import LEARNS_FROM_ALL, WARMUP, SpecialistNet, StepData, Trainer

SEARCH_SHARE = 0.6  # part of the epochs in the search: the best net is trained further
MAX_GROUPS = 12  # widths times folds in one training, per noise: more would not be faster

# Builds untrained bottlenecks of given widths; see ``build_bottlenecks``.
Build = Callable[..., Bottlenecks]


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


class SparsityPath:
    """Held-out task losses along a path from the empty model to the dense one.

    A point is a number of latents, or a share of the strongest penalty; the losses of a point
    are those of groups that leave out one fold each, sample by sample.

    Parameters
    ----------
    data : StepData
        With the fold in which each sample is held out.
    n_classes : sequence of int
        Number of classes of each task, 0 for a continuous one.
    tolerance : float
        Share of the explained loss that may be lost for sparsity.

    Attributes
    ----------
    losses : dict of {float: ndarray of shape (n_held_out,)}
        Losses of each point.
    supports : dict of {float: ndarray of shape (n_folds, n_tasks, n_latents)}
        For shares of a penalty: the latents that each task uses.
    nets : list of SpecialistNet
        Nets that were trained for the path.
    """

    def __init__(self, data: StepData, n_classes: Sequence[int], tolerance: float) -> None:
        self.data, self.tolerance = data, tolerance
        held_out = (data.folds >= 0).nonzero()[:, 0]
        self.rows = held_out[torch.argsort(data.folds[held_out], stable=True)]
        self.n_folds = int(data.folds.max()) + 1
        folds = data.folds[self.rows].numpy()
        self.starts = np.searchsorted(folds, np.arange(self.n_folds))
        self.task_loss = TaskLoss(n_classes, data.targets, data.weights)
        self.losses: dict[float, np.ndarray] = {}
        self.supports: dict[float, np.ndarray] = {}
        self.nets: list[SpecialistNet] = []

    @torch.no_grad()
    def held_out_losses(self, module: Bottlenecks) -> np.ndarray:
        """Return losses (n_groups / n_folds, n_held_out); groups are ordered by fold."""
        parts = []
        for rows in self.rows.split(max(1, CHUNK // self.data.X.shape[1])):
            outputs = module(self.data.X[rows], self.data.step_weights[rows])
            outputs = outputs.unflatten(0, (self.n_folds, -1))
            # Of each sample the outputs of the groups that did not learn from its fold.
            own = outputs[self.data.folds[rows], :, torch.arange(len(rows))]
            parts.append(self._losses(own.transpose(0, 1), rows))
        return torch.cat(parts, dim=1).numpy()

    @cached_property
    def null_losses(self) -> np.ndarray:
        """Losses (n_held_out,) of the null model."""
        outputs = self.task_loss.null_outputs.expand(1, len(self.rows), -1)
        return self._losses(outputs, self.rows)[0].numpy()

    def _losses(self, outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        losses = self.task_loss(outputs, self.data.targets[rows])
        return (losses * self.data.weights[rows]).mean(dim=2)

    def by_fold(self, losses: np.ndarray) -> np.ndarray:
        """Return means over the samples (last axis) of each fold."""
        sizes = np.diff([*self.starts, losses.shape[-1]])
        return np.add.reduceat(losses, self.starts, axis=-1) / sizes

    @property
    def best(self) -> np.ndarray:
        """Losses of the best point."""
        return min(self.losses.values(), key=lambda losses: losses.mean())

    @property
    def explained(self) -> float:
        """Task loss of the null model minus that of the best point."""
        return max(0.0, float((self.null_losses - self.best).mean()))

    def is_good(self, point: float) -> bool:
        """Return whether a point is about as good as the best one.

        It may lose ``tolerance`` of the explained loss, and one standard error (Breiman et al.
        1984, section 3.4.3). That is the error of the difference or, if less, of the best: a
        point that fails in a single fold has a large error of the difference.
        """
        best, lost = self.best, self.losses[point] - self.best
        if self.n_folds > 1:
            # The error over samples shrinks with their number, but the randomness of the
            # training, which differs between folds, does not.
            error = tolerated_loss(self.by_fold(best), self.by_fold(lost))
        else:
            error = tolerated_loss(best, lost)
        return bool(lost.mean() <= self.tolerance * self.explained + error)

    @property
    def chosen(self) -> float:
        """The sparsest good point: fewest latents, or strongest penalty."""
        points = [point for point in self.losses if self.is_good(point)]
        return max(points) if self.supports else min(points)

    @property
    def points(self) -> list[float]:
        """The points, from dense to empty."""
        return sorted(self.losses, reverse=not self.supports)

    @property
    def mean_losses(self) -> np.ndarray:
        """Mean loss of each point, from dense to empty."""
        return np.array([self.losses[point].mean(dtype=float) for point in self.points])


def search_width(
    path: SparsityPath, trainer: Trainer, build: Build, max_width: int, noises: Sequence[float]
) -> Bottlenecks | None:
    """Add numbers of latents to a path until the chosen one is settled.

    Bottlenecks of several widths learn side by side, each from all folds but one, with each
    noise, of which the better counts. The next widths lie between the largest that is not good
    and the smallest that is, until nothing is left between them: a bisection with as many
    points as learn at once.

    Returns
    -------
    narrow : Bottlenecks or None
        The best bottleneck of the chosen width; None for the empty model.
    """
    data, n_folds, trained = path.data, path.n_folds, {}
    path.losses[0] = path.null_losses
    at_once = max(2, MAX_GROUPS // n_folds)
    low, high = 0, max_width
    while high - low > 1 or high not in path.losses:
        widths = _spread(low, high, at_once)
        if high in path.losses:
            widths = [width for width in widths if width < high]
        noise = np.repeat(noises, len(widths)).tolist()
        widths *= len(noises)
        module = build(
            widths * n_folds,
            held_out=np.repeat(np.arange(n_folds), len(widths)).tolist(),
            noise=noise * n_folds,
        )
        net = train_bottlenecks(data, trainer, module, share=SEARCH_SHARE)
        for place, losses in enumerate(path.held_out_losses(net.module_)):
            width = widths[place]
            if width not in path.losses or losses.mean() < path.losses[width].mean():
                path.losses[width] = losses
                trained[width] = net.module_, place, len(widths)
        path.nets.append(net)
        high = int(path.chosen)
        low = int(max([width for width in path.losses if width < high], default=high))
    if high == 0:
        return None
    # Of the groups of the chosen width, the one whose fold it predicts best: it goes on.
    module, place, n_widths = trained[high]
    relative = path.by_fold(path.losses[high]) / path.by_fold(path.losses[0])
    module.select(int(relative.argmin()) * n_widths + place, high)
    return module


def _spread(low: int, high: int, count: int) -> list[int]:
    """Return at most ``count`` widths above ``low`` up to ``high``, evenly spread."""
    return sorted({int(w) for w in np.linspace(low, high, min(count, high - low) + 1).round()[1:]})


def search_penalty(
    path: SparsityPath, trainer: Trainer, build: Build, shares: Sequence[float] = ()
) -> Bottlenecks:
    """Add the dense and the empty model, and shares of the strongest penalty, to a path.

    For features that are the latents. Every point starts from the same dense heads, and is
    refitted without penalty on the latents that it kept.

    Returns
    -------
    dense : Bottlenecks
        The best dense heads.
    """
    data, n_folds, n_latents = path.data, path.n_folds, path.data.X.shape[2]
    module = build([n_latents] * n_folds, held_out=list(range(n_folds)))
    net = train_bottlenecks(data, trainer, module)
    dense = net.module_
    path.nets.append(net)
    path.losses |= {0.0: path.held_out_losses(dense)[0], 1.0: path.null_losses}
    shape = (n_folds, *dense.allowed.shape[1:])
    path.supports |= {0.0: np.ones(shape, bool), 1.0: np.zeros(shape, bool)}
    if shares:
        _add_shares(path, trainer, build, dense, shares)
    relative = path.by_fold(path.losses[0.0]) / path.by_fold(path.losses[1.0])
    dense.select(int(relative.argmin()), n_latents)
    return dense


def _add_shares(
    path: SparsityPath,
    trainer: Trainer,
    build: Build,
    dense: Bottlenecks,
    shares: Sequence[float],
) -> None:
    """Add shares of the strongest penalty to a path; all learn side by side."""
    folds = np.repeat(np.arange(path.n_folds), len(shares)).tolist()
    widths = [path.data.X.shape[2]] * len(folds)
    start = build(widths, held_out=folds)
    with torch.no_grad():
        for new, old in zip(start.parameters(), dense.parameters(), strict=True):
            new.copy_(old.repeat_interleave(len(shares), dim=0))
    # At a weight of the explained loss the dense mask is worth no more than the empty one.
    weights = [share * path.explained for _ in range(path.n_folds) for share in shares]
    module = build(widths, held_out=folds, sparsity=weights)
    net = train_bottlenecks(path.data, trainer, module, start=start)
    module = net.module_
    path.nets += [net, refit_heads(path.data, trainer, module)]
    losses = path.held_out_losses(module)
    supports = (module.task_mask() > 0).unflatten(0, (path.n_folds, len(shares))).numpy()
    for place, share in enumerate(shares):
        path.losses[share], path.supports[share] = losses[place], supports[:, place]
