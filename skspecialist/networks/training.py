"""The three fits: how many latents, which of them, and heads without penalty."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from skorch.callbacks import EarlyStopping

from .autoencoder import (
    Encoder,
    FrozenLatentHeads,
    SpecialistAutoencoder,
    WidthNetwork,
    mlp,
)
from .data import StepData, n_batches
from .heads import HIDDEN_UNITS, MaskedHeads, TaskLoss
from .nets import SpecialistNet, build_net
from .penalties import BasePenalty

N_UPDATES = 2500  # gradient steps of the main fit where max_epochs is None
MIN_SEQUENCES = 16  # in a batch, however long they are
WARMUP = 0.3  # share of the main fit before the penalty sets in


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
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@dataclass
class Settings:
    """What the three fits are told."""

    n_components: int
    sparsity: float
    penalty: BasePenalty
    beta: float
    linear_heads: bool
    hidden: Sequence[int]
    max_epochs: int | None
    batch_size: int
    lr: float
    refit: bool
    early_stopping: bool
    validation_fraction: float
    callbacks: list[Any]
    device: str
    verbose: int
    n_classes: Sequence[int] = field(default_factory=list)

    def samples_per_batch(self, data: StepData) -> int:
        """Return how many samples make ``batch_size`` steps; not too few sequences."""
        return max(self.batch_size // data.X.shape[1], min(self.batch_size, MIN_SEQUENCES))

    def epochs(self, data: StepData) -> int:
        """Return the number of epochs of the main fit."""
        if self.max_epochs is not None:
            return self.max_epochs
        n_updates = n_batches(len(data), self.samples_per_batch(data))
        return int(np.clip(N_UPDATES // n_updates, 10, 500))

    def train(
        self, module: Any, data: StepData, valid: StepData | None, *, epochs: int, **options: Any
    ) -> SpecialistNet:
        """Train a module, to the best epoch where there are held-out data."""
        callbacks = options.pop("callbacks", [])
        if valid is not None:
            stop = EarlyStopping(patience=max(5, epochs // 3), load_best=True, sink=_silent)
            callbacks = [("early_stopping", stop), *callbacks]
        net = build_net(
            module,
            data,
            lr=options.pop("lr", self.lr),
            max_epochs=epochs,
            batch_size=self.samples_per_batch(data),
            device=self.device,
            verbose=self.verbose,
            callbacks=callbacks,
            valid=valid,
            **options,
        )
        net.partial_fit(data)
        net.module_.eval()
        return net


def fit_specialist(
    data: StepData, settings: Settings, start: SpecialistAutoencoder | None = None
) -> tuple[SpecialistNet, list[dict[str, Any]], np.ndarray | None]:
    """Take the three steps.

    Returns
    -------
    net : SpecialistNet
        The trained autoencoder, in float64, ready to be used.
    history : list of dict
        Losses of every epoch.
    width_losses : ndarray of shape (n_components + 1,) or None
        Held-out task loss for each number of latents; None where it was not looked for.
    """
    width, width_losses, history = settings.n_components, None, []
    if start is not None:
        width = start.width
    elif settings.sparsity > 0:
        width, width_losses, nets = find_width(data, settings)
        history += [epoch for net in nets for epoch in _history("width", net)]
    net = fit_autoencoder(data, settings, width, start)
    history += _history("sparse", net)
    if settings.refit:
        history += _history("refit", refit_heads(data, net.module_, settings))
    net.module_.double().eval()
    return net, history, width_losses


def _history(phase: str, net: SpecialistNet) -> list[dict[str, Any]]:
    """Return the losses of each epoch, without those of each batch."""
    return [
        {"phase": phase, "epoch": row["epoch"]}
        | {key: row[key] for key in sorted(row) if key.endswith("_loss")}
        for row in net.history
    ]


def hold_out(data: StepData, fraction: float) -> tuple[StepData, StepData]:
    """Return a random split into training and held-out samples."""
    if len(data) < 4:
        return data, data  # too few for a split: one sample has no variance
    n_valid = min(max(1, round(fraction * len(data))), len(data) - 2)
    order = torch.randperm(len(data))
    return data.take(order[n_valid:]), data.take(order[:n_valid])


def find_width(data: StepData, settings: Settings) -> tuple[int, np.ndarray, list[SpecialistNet]]:
    """Return how many latents the tasks need, the held-out loss of every number, and the nets.

    First all numbers at once, then the chosen one is confirmed: a bottleneck that is
    trained on the tasks alone may be stuck where the whole autoencoder is not, so that a
    latent too many seems to be needed.
    """
    train, valid = hold_out(data, settings.validation_fraction)
    task_loss = TaskLoss(settings.n_classes, train.targets)
    widths = range(1, settings.n_components + 1)
    hidden = () if settings.linear_heads else (HIDDEN_UNITS // 2, HIDDEN_UNITS // 2)
    heads = MaskedHeads(sum(widths), task_loss.n_outputs, hidden, n_groups=len(widths))
    heads.step_scale.copy_(step_scale(train.step_tasks))
    encoder = _encoder(train, settings, sum(widths))
    module = WidthNetwork(encoder, heads, task_loss, widths, resolution=settings.sparsity)
    nets = [settings.train(module, train, valid, epochs=settings.epochs(data))]
    losses = _width_losses(nets[0], train, valid)
    width = _smallest_width(losses, settings.sparsity)
    dense = replace(settings, sparsity=0.0, callbacks=[])
    while width > 1:
        nets.append(fit_autoencoder(train, dense, width - 1))
        narrower = _task_losses(nets[-1], valid)
        if narrower.mean() < losses[width - 1].mean():
            losses[width - 1] = narrower
        if _is_worth_it(losses[width - 1] - losses[width], settings.sparsity):
            break
        width -= 1
    return width, losses.mean(axis=1), nets


@torch.no_grad()
def _task_losses(net: SpecialistNet, data: StepData) -> np.ndarray:
    """Return the mean task loss of each sample."""
    module = net.module_
    outputs = module(data.X, data.step_tasks)["outputs"]
    return module.task_loss(outputs, data.targets)[0].mean(dim=1).numpy()


@torch.no_grad()
def _width_losses(net: SpecialistNet, train: StepData, valid: StepData) -> np.ndarray:
    """Return the mean task loss for each width from 0, each held-out sample."""
    module = net.module_.cpu()
    module.encoder.freeze(train.X)
    chance = module.task_loss.chance_outputs.expand(1, len(valid), -1)
    outputs = torch.cat([chance, module(valid.X, valid.step_tasks)])
    return module.task_loss(outputs, valid.targets).mean(dim=2).numpy()


def _smallest_width(losses: np.ndarray, sparsity: float) -> int:
    """Return the smallest width that no larger one undercuts by what its latents cost."""
    for width in range(len(losses)):
        gains = losses[width] - losses[width + 1 :]
        prices = sparsity * np.arange(1, len(gains) + 1)
        if not any(_is_worth_it(*pair) for pair in zip(gains, prices, strict=True)):
            return width
    raise AssertionError("the largest width has no larger one")


def _is_worth_it(gains: np.ndarray, price: float) -> bool:
    """Return whether the mean gain is above its price by more than one standard error."""
    return bool(gains.mean() > price + gains.std() / np.sqrt(len(gains)))


def fit_autoencoder(
    data: StepData, settings: Settings, width: int, start: SpecialistAutoencoder | None = None
) -> SpecialistNet:
    """Return the trained autoencoder with a sparse mask on the first ``width`` latents."""
    train, valid = data, None
    if settings.early_stopping:
        train, valid = hold_out(data, settings.validation_fraction)
    task_loss = TaskLoss(settings.n_classes, data.targets)
    encoder = _encoder(data, settings, settings.n_components, variational=settings.beta > 0)
    heads = MaskedHeads(
        settings.n_components,
        task_loss.n_outputs,
        () if settings.linear_heads else (HIDDEN_UNITS, HIDDEN_UNITS),
    )
    heads.step_scale.copy_(step_scale(data.step_tasks))
    module = SpecialistAutoencoder(
        encoder,
        mlp(settings.n_components, settings.hidden[::-1], data.X.shape[2]),
        heads,
        task_loss,
        penalty=settings.penalty,
        width=width,
        sparsity=settings.sparsity,
        beta=settings.beta,
    )
    idle = ~data.step_tasks.any(dim=1).any(dim=0)
    module.allowed[idle] = 0.0
    with torch.no_grad():
        module.mask.mul_(module.allowed)
    if start is not None:
        _continue_from(module, start)
    net = settings.train(
        module,
        train,
        valid,
        epochs=settings.epochs(data),
        warmup=WARMUP,
        callbacks=settings.callbacks,
    )
    module = net.module_.cpu()
    module.encoder.freeze(data.X)
    module.heads.silence((module.mask == 0).all(dim=1), task_loss.chance_outputs)
    return net


def _continue_from(module: SpecialistAutoencoder, start: SpecialistAutoencoder) -> None:
    """Take over the weights of an earlier fit, but not what belongs to its data."""
    weights = dict(start.named_parameters())
    shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
    if shapes != {name: parameter.shape for name, parameter in weights.items()}:
        raise ValueError(
            "warm_start=True needs the features, tasks and layers of the previous fit: set "
            "warm_start=False to start anew."
        )
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(weights[name])


def refit_heads(data: StepData, module: SpecialistAutoencoder, settings: Settings) -> SpecialistNet:
    """Train the heads of an autoencoder again, without penalty, on the latents they kept.

    The penalty shrinks what it keeps; this undoes the shrinkage and keeps the zeros.
    """
    with torch.no_grad():
        latents = module.encoder(data.X)[0]
    heads = FrozenLatentHeads(
        copy.deepcopy(module.heads), module.task_mask().detach(), module.task_loss
    )
    train, valid = data.with_features(latents), None
    if settings.early_stopping:
        train, valid = hold_out(train, settings.validation_fraction)
    epochs = max(1, settings.epochs(data) // 3)
    # The heads start near where they end: a third of the learning rate.
    net = settings.train(heads, train, valid, epochs=epochs, lr=settings.lr / 3)
    refitted = net.module_.cpu()
    silent = (refitted.mask == 0).all(dim=1)
    refitted.heads.silence(silent, module.task_loss.chance_outputs)
    with torch.no_grad():
        module.mask.copy_(refitted.task_mask())
    module.heads = refitted.heads
    return net


def step_scale(step_tasks: torch.Tensor) -> torch.Tensor:
    """Return what keeps a head's sum over steps of unit size, whatever their number."""
    scale = (step_tasks**2).sum(dim=1).mean(dim=0).sqrt()
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _encoder(
    data: StepData, settings: Settings, n_latents: int, *, variational: bool = False
) -> Encoder:
    return Encoder(data.X.shape[2], settings.hidden, n_latents, variational)


def _silent(*args: Any) -> None:
    """Stand in for the printing of skorch's callbacks."""
