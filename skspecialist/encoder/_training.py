"""The fits: bottlenecks on the tasks, their heads again, and what reconstruction adds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import numpy as np
import torch
from skorch.callbacks import EarlyStopping

from .._base.estimator import NO_CALLBACKS, TaskContext
from ..networks.checkpoint import Checkpoints
from ..networks.data import StepData, n_batches
from ..networks.layers import Encoders
from ..networks.nets import SpecialistNet, train_net
from ._autoencoder import SpecialistAutoencoder
from ._bottlenecks import Bottlenecks
from ._heads import MaskedHeads, TaskLoss
from .penalties._base import BasePenalty

UPDATES_PER_ROOT = 25  # gradient steps, times the root of the number of samples
HEAD_UNITS = (32, 32)
MIN_SEQUENCES = 16  # in a batch, however long they are
NOBODY = -1  # leaves a sample out, where this is its fold
NO_FOLD = -2  # is left out by a group
EARLY_STOPPING_FRACTION = 0.1  # of the samples, held out to see when to stop
WARMUP = 0.3  # share of a fit before the penalty sets in


# Torch's generator is one for all threads: fits take turns, so that each has its own numbers.
_TURN = RLock()


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Seed torch, and leave its global generators as they were.

    Raises
    ------
    ValueError
        If there is no such device.
    """
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device={device!r} is not to be had: {error}") from error
    devices = range(torch.cuda.device_count()) if torch.device(device).type == "cuda" else []
    with _TURN, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@dataclass
class Settings:
    """What the fits are told."""

    n_components: int
    n_relevant: int | None
    sparsity: float
    shares: Sequence[float]
    n_halves: int
    penalty: BasePenalty
    beta: float
    independence_weight: float
    linear_heads: bool
    noises: Sequence[float]  # that the search tries; without a search the first
    hidden: Sequence[int] | None
    max_epochs: int | None
    batch_size: int
    learning_rate: float
    refit: bool
    early_stopping: bool
    callbacks: list[Any]
    device: str
    verbose: int
    n_classes: Sequence[int] = field(default_factory=list)
    weighs_steps: bool = False  # all sequences share the weights, and the heads learn more
    checkpoints: Checkpoints | None = None
    task: TaskContext = NO_CALLBACKS

    @property
    def n_outputs(self) -> int:
        """Number of values that the tasks consist of."""
        return sum(max(1, count - 1) for count in self.n_classes)

    @property
    def max_width(self) -> int:
        """Largest number of latents that the tasks can need: that of their outputs."""
        if self.hidden is None:
            return self.n_components
        return min(self.n_components, self.n_outputs)

    def samples_per_batch(self, data: StepData) -> int:
        """Return how many samples make ``batch_size`` steps; not too few sequences."""
        return max(self.batch_size // data.X.shape[1], min(self.batch_size, MIN_SEQUENCES))

    def epochs(self, data: StepData, share: float = 1.0) -> int:
        """Return the number of epochs of a fit, or of a share of one."""
        if self.max_epochs is not None:
            return max(1, round(share * self.max_epochs))
        n_updates = UPDATES_PER_ROOT * len(data) ** 0.5
        per_epoch = n_batches(len(data), self.samples_per_batch(data))
        return int(np.clip(round(share * n_updates / per_epoch), 3, 500))

    def train(
        self, module: Any, data: StepData, *, epochs: int, stop_early: bool = False, **options: Any
    ) -> SpecialistNet:
        """Train a module; to the epoch of the least held-out loss where it may stop early."""
        callbacks, valid = options.pop("callbacks", []), None
        if stop_early:
            stop = EarlyStopping(patience=max(5, epochs // 3), load_best=True, sink=_silent)
            callbacks = [("early_stopping", stop), *callbacks]
            data, valid = _hold_out(data)
        if self.checkpoints is not None:
            callbacks = [*callbacks, ("checkpoint", self.checkpoints.next())]
        return train_net(
            module,
            data,
            task=self.task,
            lr=options.pop("lr", self.learning_rate),
            max_epochs=epochs,
            batch_size=self.samples_per_batch(data),
            device=self.device,
            verbose=self.verbose,
            callbacks=callbacks,
            valid=valid,
            **options,
        )


def train_bottlenecks(
    data: StepData,
    settings: Settings,
    widths: Sequence[int],
    *,
    held_out: Sequence[int] = (NO_FOLD,),
    sparsity: Sequence[float] = (0.0,),
    noise: Sequence[float] | None = None,
    start: Bottlenecks | None = None,
    epochs_share: float = 1.0,
    **options: Any,
) -> SpecialistNet:
    """Return trained bottlenecks, a group for each width.

    Parameters
    ----------
    data : StepData
        What to learn from.
    settings : Settings
        How.
    widths : sequence of int
        Number of latents of each group.
    held_out : sequence of int, default=(NO_FOLD,)
        One for each group, or for all: the fold that it does not learn from.
    sparsity : sequence of float, default=(0.0,)
        One for each group, or for all: the weight of the penalty on the mask.
    noise : sequence of float or None, default=None
        One for each group: the noise on the features. None is that of ``start`` or, without
        one, the first of the settings.
    start : Bottlenecks or None, default=None
        Trained ones to go on from, at a third of the learning rate.
    epochs_share : float, default=1.0
        Part of the usual number of epochs.
    **options : dict
        Passed on to the net.
    """
    if noise is None and start is not None:
        noise = noise_of(start)
    module = new_bottlenecks(
        data, settings, widths, held_out=held_out, sparsity=sparsity, noise=noise
    )
    if start is not None:
        continue_from(module, start)
    net = settings.train(
        module,
        data,
        epochs=settings.epochs(data, epochs_share),
        warmup=WARMUP,
        lr=settings.learning_rate if start is None else settings.learning_rate / 3,
        **options,
    )
    finish_bottlenecks(net.module_, data)
    return net


def new_bottlenecks(
    data: StepData,
    settings: Settings,
    widths: Sequence[int],
    *,
    held_out: Sequence[int] = (NO_FOLD,),
    sparsity: Sequence[float] = (0.0,),
    noise: Sequence[float] | None = None,
) -> Bottlenecks:
    """Return untrained bottlenecks, a group for each width."""
    n_groups, width = len(widths), max(widths)
    task_loss = TaskLoss(settings.n_classes, data.targets, data.weights)
    heads = MaskedHeads(
        width,
        task_loss.n_outputs,
        () if settings.linear_heads else HEAD_UNITS,
        n_groups,
        data.step_weights[0] if settings.weighs_steps else None,
    )
    heads.step_scale.copy_(_step_scale(data.step_weights))
    active = data.step_weights.any(dim=1).any(dim=0) & (data.weights > 0).any(dim=0)
    readable = (torch.arange(width) < torch.tensor(widths)[:, None]).float()
    return Bottlenecks(
        Encoders(
            data.X.shape[2],
            settings.hidden,
            width,
            n_groups,
            settings.beta > 0,
            settings.noises[0] if noise is None else noise,
        ),
        heads,
        task_loss,
        penalty=settings.penalty,
        sparsity=torch.tensor(sparsity, dtype=torch.float32).expand(n_groups).clone(),
        beta=settings.beta,
        allowed=active.float()[None, :, None] * readable[:, None],
        held_out=torch.tensor(held_out).expand(n_groups).clone(),
    )


def noise_of(module: Bottlenecks) -> list[float]:
    """Return the noise that each group learned with."""
    return module.encoders.noise.flatten().tolist()


def finish_bottlenecks(module: Bottlenecks, data: StepData) -> None:
    """Fix the variance of the latents; tasks without a latent predict their mean."""
    module.close_gates()
    module.encoders.freeze(data.rows)
    module.heads.silence(~module.task_mask().any(dim=2), module.task_loss.chance_outputs)


def continue_from(module: Bottlenecks, start: Bottlenecks) -> None:
    """Take over the weights of an earlier fit, but not what belongs to its data."""
    weights = dict(start.named_parameters())
    own = {name: p for name, p in module.named_parameters() if name != "gate_logits"}
    shapes = {name: parameter.shape for name, parameter in own.items()}
    if shapes != {name: parameter.shape for name, parameter in weights.items()}:
        raise ValueError(
            "warm_start=True needs the features, tasks and layers of the previous fit: set "
            "warm_start=False to start anew."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def refit_heads(
    data: StepData, module: Bottlenecks, settings: Settings, *, anew: bool = False
) -> SpecialistNet:
    """Train the heads again, without penalty, on the latents that they kept; or anew.

    The penalty shrinks what it keeps; this undoes the shrinkage and keeps the zeros. The
    latents of all groups must be the same.
    """
    latents = module.encoders.encode_rows(data.rows)[0]
    mask = module.task_mask().detach()
    heads = Bottlenecks(
        Encoders(latents.shape[1], None, latents.shape[1], len(mask)),
        copy.deepcopy(module.heads).requires_grad_(True),
        module.task_loss,
        penalty=module.penalty,
        sparsity=torch.zeros_like(module.sparsity),
        beta=0.0,
        allowed=(mask > 0).float(),
        held_out=module.held_out,
    )
    if heads.heads.linear:
        heads.heads.bias.requires_grad_(False)
    with torch.no_grad():
        heads.mask.copy_(mask)
    train = data.with_features(latents.view(*data.X.shape[:2], -1))
    # Unless anew, they start near where they end: a third of the learning rate and the time.
    net = settings.train(
        heads,
        train,
        epochs=settings.epochs(data, 1 / 3),
        stop_early=settings.early_stopping,
        lr=settings.learning_rate if anew else settings.learning_rate / 3,
    )
    finish_bottlenecks(net.module_, train)
    with torch.no_grad():
        module.mask.copy_(net.module_.task_mask())
    module.heads = net.module_.heads
    return net


def fit_complement(
    data: StepData, bottleneck: Bottlenecks, settings: Settings
) -> tuple[SpecialistAutoencoder, SpecialistNet | None]:
    """Return the autoencoder around a trained bottleneck, and its net; known latents need none."""
    module = SpecialistAutoencoder(
        bottleneck,
        data.X.shape[2],
        settings.hidden,
        settings.n_components,
        beta=settings.beta,
        independence_weight=settings.independence_weight,
    )
    if module.decoder is None:
        return module.eval(), None
    epochs = settings.epochs(data)
    net = settings.train(module, data, epochs=epochs, stop_early=settings.early_stopping)
    if module.complement is not None:
        module.complement.freeze(data.rows)
    return module, net


def _hold_out(data: StepData) -> tuple[StepData, StepData]:
    """Return a random split into training and held-out samples."""
    if len(data) < 4:
        return data, data  # too few for a split: one sample has no variance
    n_valid = min(max(1, round(EARLY_STOPPING_FRACTION * len(data))), len(data) - 2)
    order = torch.randperm(len(data))
    return data.take(order[n_valid:]), data.take(order[:n_valid])


def _step_scale(step_weights: torch.Tensor) -> torch.Tensor:
    """Return what keeps a head's sum over steps of unit size, whatever their number."""
    scale = (step_weights**2).sum(dim=1).mean(dim=0).sqrt()
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _silent(*args: Any) -> None:
    """Stand in for the printing of skorch's callbacks."""
