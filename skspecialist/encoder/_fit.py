"""The whole fit of an encoder, told in its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..networks.data import StepData
from ..networks.nets import SpecialistNet
from ._autoencoder import SpecialistAutoencoder
from ._bottlenecks import Bottlenecks
from ._net_rotation import rotate_latents
from ._search import Path, search_penalty, search_width
from ._stability import selection_frequency
from ._training import NOBODY, Settings, fit_complement, refit_heads, train_bottlenecks

GOING_ON = 0.8  # of the epochs, for what the search has trained already
# Of its way to zero, that the penalty can move an entry: less where the tasks need all of them.
ENOUGH_TRAVEL = 0.5
ROTATION_TOLERANCE = 0.01  # share of what a task's linear head explains


@dataclass
class Fit:
    """What comes out of a fit."""

    module: SpecialistAutoencoder
    n_epochs: int  # of the training on the tasks
    path: Path | None
    history: list[dict[str, Any]]
    inseparable: list[tuple[int, ...]]
    reaches_zero: bool  # whether the penalty had the time to take an entry to zero
    frequency: np.ndarray | None


def fit_specialist(
    data: StepData, settings: Settings, start: SpecialistAutoencoder | None = None
) -> Fit:
    """Find the number of latents, train them on the tasks, then what reconstruction adds.

    Parameters
    ----------
    data : StepData
        With the samples that the search holds out marked by their fold.
    settings : Settings
        How.
    start : SpecialistAutoencoder or None, default=None
        An earlier fit to go on from, without a search.
    """
    width, path, first = _search(data, settings, start)
    history = [row for net in (path.nets if path else []) for row in _history("search", net)]
    everything = data.with_folds(torch.full_like(data.folds, NOBODY))
    turns = settings.linear_heads and settings.hidden is not None and settings.sparsity > 0
    turns = turns and width > 1
    share = (
        path.chosen if path and settings.hidden is None and settings.shares else settings.sparsity
    )
    weight = 0.0 if turns else share * (path.explained if path else 1.0)
    net = train_bottlenecks(
        everything,
        settings,
        [width],
        sparsity=[weight],
        start=first,
        epochs_share=1.0 if first is None else GOING_ON,
        stop_early=settings.early_stopping,
        callbacks=settings.callbacks,
    )
    history += _history("sparse", net)
    bottleneck = net.module_
    reaches_zero = weight == 0.0 or width == 0 or net.travel_ > ENOUGH_TRAVEL * width**-0.5
    groups = _block(bottleneck) if settings.hidden is not None else []
    if turns:
        groups = rotate_latents(everything, bottleneck, settings.n_classes, ROTATION_TOLERANCE)
    if turns or (settings.refit and width > 0):
        history += _history("refit", refit_heads(everything, bottleneck, settings, anew=turns))
    module, rest = fit_complement(everything, bottleneck, settings)
    if rest is not None:
        history += _history("reconstruction", rest)
    module.double().eval()
    frequency = None
    if settings.n_halves and width > 0:
        frequency = selection_frequency(everything, settings, module, share, settings.n_halves)
    return Fit(module, len(net.history), path, history, groups, reaches_zero, frequency)


def _search(
    data: StepData, settings: Settings, start: SpecialistAutoencoder | None
) -> tuple[int, Path | None, Bottlenecks | None]:
    """Return the number of latents, how it was found, and trained networks to go on from."""
    if start is not None:
        return start.n_relevant, None, start.bottleneck
    if settings.n_relevant is not None:
        return settings.n_relevant, None, None
    if settings.sparsity == 0:
        return settings.max_width, None, None
    if settings.hidden is None:
        path, first = search_penalty(data, settings)
        empty = settings.sparsity == 1 or (settings.shares and path.chosen == 1)
        return (0, path, None) if empty else (settings.max_width, path, first)
    path, narrow = search_width(data, settings)
    return (0 if narrow is None else narrow.encoders.n_latents), path, narrow


def _block(bottleneck: Bottlenecks) -> list[tuple[int, ...]]:
    """Return the latents in use as a group, if they are several."""
    kept = bottleneck.task_mask()[0].any(dim=0).nonzero()[:, 0].tolist()
    return [tuple(kept)] if len(kept) > 1 else []


def _history(phase: str, net: SpecialistNet) -> list[dict[str, Any]]:
    """Return the losses of each epoch, without those of each batch."""
    return [
        {"phase": phase, "epoch": row["epoch"]}
        | {key: float(row[key]) for key in sorted(row) if key.endswith("_loss")}
        for row in net.history
    ]
