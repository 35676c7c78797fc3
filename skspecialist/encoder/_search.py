"""How many latents the tasks need, and which of known ones: held-out losses decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from .._stats.one_standard_error import tolerated_loss
from ..networks.data import StepData
from ..networks.layers import CHUNK
from ..networks.nets import SpecialistNet
from ._bottlenecks import Bottlenecks
from ._heads import TaskLoss
from ._training import Settings, new_bottlenecks, refit_heads, train_bottlenecks

SEARCH_SHARE = 0.6  # of the epochs: the best goes on afterwards
MAX_GROUPS = 12  # with each noise, side by side: more would hardly be faster in one than in two


class HeldOut:
    """Held-out task losses, sample by sample, of groups that leave out one fold each.

    Parameters
    ----------
    data : StepData
        With the fold that each sample is held out in.
    settings : Settings
        Kinds of the tasks, and the share of the explained loss that may be lost.
    """

    def __init__(self, data: StepData, settings: Settings) -> None:
        self.data, self.tolerance = data, settings.sparsity
        held_out = (data.folds >= 0).nonzero()[:, 0]
        self.rows = held_out[torch.argsort(data.folds[held_out], stable=True)]
        self.n_folds = int(data.folds.max()) + 1
        folds = data.folds[self.rows].numpy()
        self.starts = np.searchsorted(folds, np.arange(self.n_folds))
        self.task_loss = TaskLoss(settings.n_classes, data.targets, data.weights)

    @torch.no_grad()
    def losses(self, module: Bottlenecks) -> np.ndarray:
        """Return losses (n_groups / n_folds, n_held_out); groups go fold by fold."""
        parts = []
        for rows in self.rows.split(max(1, CHUNK // self.data.X.shape[1])):
            outputs = module(self.data.X[rows], self.data.step_weights[rows])["outputs"]
            outputs = outputs.unflatten(0, (self.n_folds, -1))
            own = outputs[self.data.folds[rows], :, torch.arange(len(rows))]
            parts.append(self._losses(own.transpose(0, 1), rows))
        return torch.cat(parts, dim=1).numpy()

    @cached_property
    def chance(self) -> np.ndarray:
        """Losses (n_held_out,) of knowing nothing."""
        outputs = self.task_loss.chance_outputs.expand(1, len(self.rows), -1)
        return self._losses(outputs, self.rows)[0].numpy()

    def _losses(self, outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        losses = self.task_loss(outputs, self.data.targets[rows])
        return (losses * self.data.weights[rows]).mean(dim=2)

    def by_fold(self, losses: np.ndarray) -> np.ndarray:
        """Return means over the samples (last axis) of each fold."""
        sizes = np.diff([*self.starts, losses.shape[-1]])
        return np.add.reduceat(losses, self.starts, axis=-1) / sizes

    def tolerated_loss(self, best: np.ndarray, lost: np.ndarray) -> float:
        """Return the standard error over folds, or over samples where there is one fold only.

        Over samples it shrinks with their number, while the difference between two fits
        that is due to their random initialization does not.
        """
        parts = (self.by_fold(v) if self.n_folds > 1 else v for v in (best, lost))
        return float(tolerated_loss(*parts))


@dataclass
class Path:
    """Held-out losses from the empty model to the dense one.

    Points are numbers of latents, or shares of the strongest penalty.
    """

    held_out: HeldOut
    losses: dict[float, np.ndarray] = field(default_factory=dict)  # (n_held_out,) each
    # (n_folds, n_tasks, n_latents) each, for shares of a penalty: which task used which latent.
    supports: dict[float, np.ndarray] = field(default_factory=dict)
    nets: list[SpecialistNet] = field(default_factory=list)  # what was trained

    @property
    def best(self) -> np.ndarray:
        """Losses of the best point."""
        return min(self.losses.values(), key=lambda losses: losses.mean())

    @property
    def explained(self) -> float:
        """Task loss that the best point saves, of the loss of knowing nothing."""
        return max(0.0, float((self.held_out.chance - self.best).mean()))

    def serves(self, point: float) -> bool:
        """Return whether a point loses next to nothing against the best one.

        Next to nothing is a share of what the best explains, and one standard error: of
        the difference, or of the best if that is less, for a point that fails in one fold
        alone has a large one.
        """
        best, lost = self.best, self.losses[point] - self.best
        error = self.held_out.tolerated_loss(best, lost)
        return bool(lost.mean() <= self.held_out.tolerance * self.explained + error)

    @property
    def chosen(self) -> float:
        """The sparsest point that serves: fewest latents, or strongest penalty."""
        points = [point for point in self.losses if self.serves(point)]
        return max(points) if self.supports else min(points)

    def from_dense_to_empty(self) -> list[float]:
        """Return the points in order."""
        return sorted(self.losses, reverse=not self.supports)


def search_width(data: StepData, settings: Settings) -> tuple[Path, Bottlenecks | None]:
    """Return held-out losses by width, and the best bottleneck of the smallest that serves.

    Bottlenecks of several widths learn side by side, each from all folds but one; with each
    noise, of which the better counts. What lies between the largest that does not serve and
    the smallest that does comes next, until nothing is left between them.
    """
    held_out = HeldOut(data, settings)
    path, trained = Path(held_out), {}
    path.losses[0] = held_out.chance
    at_once = max(2, MAX_GROUPS // held_out.n_folds)
    low, high = 0, settings.max_width
    while high - low > 1 or high not in path.losses:
        widths = _spread(low, high, at_once)
        if high in path.losses:
            widths = [width for width in widths if width < high]
        noise = np.repeat(settings.noises, len(widths)).tolist()
        widths *= len(settings.noises)
        net = train_bottlenecks(
            data,
            settings,
            widths * held_out.n_folds,
            held_out=np.repeat(np.arange(held_out.n_folds), len(widths)).tolist(),
            noise=noise * held_out.n_folds,
            epochs_share=SEARCH_SHARE,
        )
        for place, losses in enumerate(held_out.losses(net.module_)):
            width = widths[place]
            if width not in path.losses or losses.mean() < path.losses[width].mean():
                path.losses[width] = losses
                trained[width] = net.module_, place, len(widths)
        path.nets.append(net)
        high = int(path.chosen)
        low = int(max([width for width in path.losses if width < high], default=high))
    if high == 0:
        return path, None
    module, place, n_widths = trained[high]
    relative = held_out.by_fold(path.losses[high]) / held_out.by_fold(path.losses[0])
    module.select(int(relative.argmin()) * n_widths + place, high)
    return path, module


def _spread(low: int, high: int, count: int) -> list[int]:
    """Return at most ``count`` widths above ``low`` up to ``high``, evenly spread."""
    return sorted({int(w) for w in np.linspace(low, high, min(count, high - low) + 1).round()[1:]})


def search_penalty(data: StepData, settings: Settings) -> tuple[Path, Bottlenecks]:
    """Return held-out losses by strength of the penalty on the mask, and dense heads.

    For features that are the latents. Every point of the path starts from the same dense
    heads, and is refitted without penalty on the latents that it kept. Without shares in
    ``settings`` only the dense and the empty model are looked at.
    """
    held_out = HeldOut(data, settings)
    n_latents, n_folds = settings.n_components, held_out.n_folds
    net = train_bottlenecks(data, settings, [n_latents] * n_folds, held_out=list(range(n_folds)))
    dense, path = net.module_, Path(held_out, nets=[net])
    path.losses = {0.0: held_out.losses(dense)[0], 1.0: held_out.chance}
    shape = (n_folds, *dense.allowed.shape[1:])
    path.supports = {0.0: np.ones(shape, bool), 1.0: np.zeros(shape, bool)}
    if settings.shares:
        _sparsify(data, settings, path, dense)
    relative = held_out.by_fold(path.losses[0.0]) / held_out.by_fold(path.losses[1.0])
    dense.select(int(relative.argmin()), n_latents)
    return path, dense


def _sparsify(data: StepData, settings: Settings, path: Path, dense: Bottlenecks) -> None:
    """Add the shares of the strongest penalty to a path; all learn side by side."""
    shares, n_folds = settings.shares, path.held_out.n_folds
    folds = np.repeat(np.arange(n_folds), len(shares)).tolist()
    widths = [settings.n_components] * len(folds)
    start = new_bottlenecks(data, settings, widths, held_out=folds)
    with torch.no_grad():
        for new, old in zip(start.parameters(), dense.parameters(), strict=True):
            new.copy_(old.repeat_interleave(len(shares), dim=0))
    net = train_bottlenecks(
        data,
        settings,
        widths,
        held_out=folds,
        sparsity=[share * path.explained for _ in range(n_folds) for share in shares],
        start=start,
    )
    module = net.module_
    path.nets += [net, refit_heads(data, module, settings)]
    losses = path.held_out.losses(module)
    supports = (module.task_mask() > 0).unflatten(0, (n_folds, len(shares))).numpy()
    for place, share in enumerate(shares):
        path.losses[share], path.supports[share] = losses[place], supports[:, place]
