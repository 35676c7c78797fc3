"""Search for the sparsity of a fit: samples that are held out, and their losses along a path."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.model_selection import GroupKFold, KFold

from .._base.sklearn_compat import Interval
from .._data.validation import split_indices
from .._stats.model_comparison import tolerated_loss
from ..exceptions import warn
from ..networks.layers import CHUNK, Bottlenecks
from ..networks.net import SpecialistNet
from ..networks.training import NO_FOLD, StepData, Trainer
from ._autoencoder import SpecialistAutoencoder
from ._training import Build, TaskLoss, refit_heads, train_bottlenecks

__all__ = [
    "GivenSparsityMixin",
    "SearchedSparsityMixin",
    "SparsityPath",
    "search_penalty",
    "search_width",
]

VALIDATION_FRACTION = 0.2  # default
SEARCH_SHARE = 0.6  # part of the epochs in the search: the best net is trained further
MAX_GROUPS = 12  # widths times folds in one training, per noise: more would not be faster


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


class GivenSparsityMixin:
    """Fits of a given sparsity, whose search holds out one part of the samples."""

    penalty: Any
    sparsity: float
    validation_fraction: float
    warm_start: bool

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sparsity": [Interval(Real, 0, 1, closed="both")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
    }

    def _given_folds(self, X: np.ndarray, y: Any, groups: np.ndarray | None) -> None:
        """Return None: the held-out samples are drawn."""

    def _draw_folds(
        self, n_samples: int, groups: np.ndarray | None, rng: np.random.RandomState
    ) -> np.ndarray:
        """Return 0 for a random part of the samples, or groups, and -1 for the others."""
        units = np.arange(n_samples)
        if groups is not None:
            units = np.unique(groups, return_inverse=True)[1]
        n_units = int(units.max()) + 1
        if n_samples < 4:
            return np.zeros(n_samples, dtype=int)  # too few for a split
        if n_units < 2:
            raise ValueError("groups has a single group, but one must be held out: pass None.")
        # Two samples at least must be left, of which there is a variance.
        most = n_units - (2 if groups is None else 1)
        n_held_out = min(max(1, round(self.validation_fraction * n_units)), most)
        return np.where(np.isin(units, rng.permutation(n_units)[:n_held_out]), 0, NO_FOLD)

    def _previous(self) -> SpecialistAutoencoder | None:
        return getattr(self, "module_", None) if self.warm_start else None

    def _warn_without_search(self) -> None:
        """Warn of parameters that act in the search only."""
        if self.validation_fraction != VALIDATION_FRACTION:
            warn(
                f"validation_fraction={self.validation_fraction} has no effect: the fit has no "
                "search that holds out samples."
            )
        if self.sparsity == 0 and self.penalty != "auto":
            warn(f"penalty={self.penalty!r} has no effect with sparsity=0.")


class SearchedSparsityMixin:
    """Fits whose sparsity is chosen by cross-validation."""

    cv: Any
    tolerance: float
    sparsity_path_: np.ndarray

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "cv": ["cv_object"],
        "tolerance": [Interval(Real, 0, 1, closed="left")],
        "n_subsamples": [Interval(Integral, 2, None, closed="left"), None],
    }

    @property
    def _positive_tolerance(self) -> float:
        # At exactly zero there would be no penalty, and dense masks.
        return max(self.tolerance, np.finfo(float).tiny)

    def _given_folds(self, X: np.ndarray, y: Any, groups: np.ndarray | None) -> np.ndarray | None:
        """Return the fold in which a splitter holds out each sample; None for random folds."""
        if self.cv is None or isinstance(self.cv, Integral):
            return None
        return self._folds(split_indices(self.cv, X, y, groups), len(X))

    def _draw_folds(
        self, n_samples: int, groups: np.ndarray | None, rng: np.random.RandomState
    ) -> np.ndarray:
        """Return random folds of samples, or groups."""
        n_units = n_samples if groups is None else len(np.unique(groups))
        splitter = KFold if groups is None else GroupKFold
        n_splits = max(2, min(5 if self.cv is None else self.cv, n_units))
        cv = splitter(n_splits, shuffle=True, random_state=rng.randint(2**31 - 1))
        placeholder = np.zeros((n_samples, 1))
        return self._folds(split_indices(cv, placeholder, None, groups), n_samples)

    def _folds(self, splits: Any, n_samples: int) -> np.ndarray:
        folds = np.full(n_samples, NO_FOLD)
        for fold, (_, test) in enumerate(splits):
            folds[test] = fold
        if not (folds >= 0).any():
            raise ValueError(f"cv={self.cv!r} holds out no sample.")
        return folds

    def _describe(self, path: SparsityPath, supports: list[np.ndarray]) -> None:
        """Set the attributes of the path, from dense to empty.

        Parameters
        ----------
        path : SparsityPath
            The path.
        supports : list of ndarray of shape (n_folds, n_tasks, n_latents)
            Which latents each task may use, for each point.
        """
        self.sparsity_max_ = path.explained
        losses = [path.losses[point] for point in path.points]
        self.scores_path_ = 1.0 - np.array([path.by_fold(each) for each in losses])
        self.support_path_ = np.array([support.mean(axis=0) for support in supports])
        self.n_active_path_ = np.array([s.any(axis=1).sum(axis=1).mean() for s in supports])
        self.best_index_ = path.points.index(path.chosen)
        self.sparsity_ = float(self.sparsity_path_[self.best_index_])
