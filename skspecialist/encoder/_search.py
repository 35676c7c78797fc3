"""Search for the sparsity of a fit: samples that are held out, and their losses along a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from scipy import stats
from sklearn.linear_model import RidgeCV

from .._base.sklearn_compat import Interval
from .._stats.model_comparison import standard_error
from ..exceptions import warn
from ..networks.layers import CHUNK, Bottlenecks
from ..networks.net import SpecialistNet
from ..networks.training import NO_FOLD, StepData, Trainer
from ._training import Build, SpecialistAutoencoder, TaskLoss, refit_heads, train_bottlenecks

__all__ = [
    "GivenSparsityMixin",
    "Inputs",
    "SparsityPath",
    "Start",
    "search_penalty",
    "search_width",
]

VALIDATION_FRACTION = 0.2  # default
SEARCH_SHARE = 0.3  # part of the epochs in the search: the best net is trained further
# Part of the epochs that decides on inputs and noise, which differ early: in trials it made the
# same choices, and proposed the same numbers of latents, as SEARCH_SHARE.
SCREEN_SHARE = 0.12
NO_VARIANCE = 1e-7  # share of the largest variance: principal axes below it are rounding errors
MAX_RANK_ROWS = 400  # steps at which slopes are compared
# Share of the largest slope above which a direction counts. It separated the directions that
# tasks use, from .044 on in trials, from others, most below .03; the number is checked.
RANK_SHARE = 0.04
RIDGE_STRENGTHS = np.logspace(-4, 2, 13)  # relative to the number of samples
LOST_SHARE = 0.1  # of what a linear model explains: a task that loses less is not lost


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
    rank : int
        Number of latents that the slopes of a dense network propose; 0 for none.
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
        self.rank = 0

    @torch.no_grad()
    def held_out_losses(self, module: Bottlenecks, X: torch.Tensor | None = None) -> np.ndarray:
        """Return losses (n_groups / n_folds, n_held_out, n_tasks); groups are ordered by fold.

        ``X`` are the features in the form that the module takes, by default those of the data.
        """
        parts, X = [], self.data.X if X is None else X
        for rows in self.rows.split(max(1, CHUNK // X.shape[1])):
            outputs = module(X[rows], self.data.step_weights[rows])
            outputs = outputs.unflatten(0, (self.n_folds, -1))
            # Of each sample the outputs of the groups that did not learn from its fold.
            own = outputs[self.data.folds[rows], :, torch.arange(len(rows))]
            parts.append(self._losses(own.transpose(0, 1), rows))
        return torch.cat(parts, dim=1).numpy()

    @cached_property
    def null_losses(self) -> np.ndarray:
        """Losses (n_held_out, n_tasks) of the null model."""
        outputs = self.task_loss.null_outputs.expand(1, len(self.rows), -1)
        return self._losses(outputs, self.rows)[0].numpy()

    def _losses(self, outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        losses = self.task_loss(outputs, self.data.targets[rows])
        return losses * self.data.weights[rows]

    def by_fold(self, losses: np.ndarray, *, by_task: bool = False) -> np.ndarray:
        """Return means over the samples of each fold, (n_folds,) or (n_folds, n_tasks)."""
        sizes = np.diff([*self.starts, len(losses)])
        means = np.add.reduceat(losses, self.starts, axis=0) / sizes[:, None]
        return means if by_task else means.mean(axis=1)

    @property
    def best(self) -> np.ndarray:
        """Losses of the best point."""
        return min(self.losses.values(), key=lambda losses: losses.mean())

    @property
    def explained(self) -> float:
        """Task loss of the null model minus that of the best point."""
        return max(0.0, float((self.null_losses - self.best).mean()))

    def lost_tasks(self, module: Bottlenecks) -> np.ndarray:
        """Return which tasks one group predicts clearly worse than ridge regression.

        By more than one standard error, and a tenth of the loss that the regression explains. The
        network may have learned from the samples that are held out, the regression has not: even
        so a lost task is worse.
        """
        data, lost = self.data, []
        with torch.no_grad():
            outputs = module(data.X[self.rows], data.step_weights[self.rows])[0]
        folds, weights = data.folds[self.rows].numpy(), data.weights.double().numpy()
        blocks = outputs.double().split(self.task_loss.n_outputs, dim=1)
        for task, (count, block) in enumerate(zip(self.task_loss.n_classes, blocks, strict=True)):
            values, found = data.targets[:, task].double().numpy()[:, None], block.numpy()
            if count:
                # Squared errors of probabilities, which the regression can be measured by too.
                values = (values == np.arange(count)).astype(float)
                found = block.softmax(dim=1).numpy()
            design = (data.X * data.step_weights[:, :, task, None]).sum(dim=1).double().numpy()
            errors = np.zeros((3, len(self.rows)))  # of the network, the regression, the mean
            for fold in range(self.n_folds):
                learn = (data.folds.numpy() != fold) & (weights[:, task] > 0)
                rows = self.rows.numpy()[folds == fold]
                if not learn.any():
                    continue
                mean = values[learn].mean(axis=0)
                ridge = RidgeCV(RIDGE_STRENGTHS * learn.sum()).fit(design[learn], values[learn])
                linear = ridge.predict(design[rows]).reshape(len(rows), -1)
                guesses = found[folds == fold], linear, mean
                for row, guess in zip(errors, guesses, strict=True):
                    row[folds == fold] = ((guess - values[rows]) ** 2).sum(axis=1)
            errors *= weights[self.rows, task]
            worse = errors[0] - errors[1]
            limit = LOST_SHARE * (errors[2] - errors[1]).mean()
            lost.append(worse.mean() > max(np.nan_to_num(standard_error(worse)), limit))
        return np.array(lost)

    def is_good(self, point: float) -> bool:
        """Return whether a point is about as good as the best one.

        It may lose ``tolerance`` of the explained loss, and one standard error (Breiman et al.
        1984, section 3.4.3). That is the error of the difference or, if less, of the best: a
        point that fails in a single fold has a large error of the difference. Numbers of
        latents are also judged task by task, or the latent of one task among many would be
        lost; the mean over tasks finds a small loss of all of them, such as of class labels,
        whose losses vary more. The rank of the slopes is evidence too: below it no standard
        error is granted, from it on two.
        """
        if point < self.rank:
            worse = (self.losses[point] - self.losses[self.rank]).mean(axis=0)
            tolerated = self.tolerance * (self.null_losses - self.best).mean(axis=0).clip(0)
            if worse.mean() > 0 and (worse > tolerated).any():
                return False
        losses = [self.null_losses, self.best, self.losses[point]]
        # The error over samples shrinks with their number, but the randomness of the
        # training, which differs between folds, does not.
        if self.n_folds > 1:
            losses = [self.by_fold(each, by_task=True) for each in losses]
        means = [each.mean(axis=1, keepdims=True) for each in losses]
        n_errors = 2.0 if 0 < self.rank <= point else 1.0
        kinds = [means] if self.supports else [means, losses]
        return all(self._is_near(*each, n_errors=n_errors) for each in kinds)

    def _is_near(
        self, null: np.ndarray, best: np.ndarray, own: np.ndarray, *, n_errors: float
    ) -> bool:
        """Compare losses (n_values, n_tasks) with those of the best point, in each column."""
        n_values, n_tasks = own.shape
        # One standard error is exceeded by chance with probability 0.16. This is that of the
        # largest of n_tasks errors: 0.84 ** (1 / n_tasks) is not exceeded in a single one.
        factor = stats.t.ppf(stats.norm.cdf(n_errors) ** (1 / n_tasks), n_values - 1)
        error = np.minimum(standard_error(best.T), standard_error((own - best).T))
        tolerated = np.nan_to_num(factor * error) + self.tolerance * (null - best).mean(0).clip(0)
        return bool(((own - best).mean(axis=0) <= tolerated).all())

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


@dataclass
class Inputs:
    """Features as networks learn from them: standardized, or rotated to their principal axes.

    A rotation of the features changes no function that a network can learn, but the optimizer
    scales each weight by itself: it learns faster along axes that the data vary along.
    """

    data: StepData
    build: Build  # of untrained bottlenecks for these features
    axes: torch.Tensor | None = None  # by which the standardized features were multiplied
    scale: float = 1.0  # standard deviation of standardized features along a unit of these

    @classmethod
    def rotated(cls, data: StepData, build: Build) -> Inputs:
        """Return principal axes of the features, all scaled by one number.

        They are not whitened: directions of next to no variance are mostly noise.
        """
        rows, weights = data.rows.double().numpy(), data.step_row_weights.double().numpy()
        covariance = np.atleast_2d(np.cov(rows.T, aweights=weights))
        variances, axes = np.linalg.eigh(covariance)
        kept = variances > NO_VARIANCE * variances.max()
        if not kept.any():
            return cls(data, build)
        scale = float(np.sqrt(variances[kept].mean()))
        matrix = torch.tensor(axes[:, kept][:, ::-1] / scale, dtype=torch.float32)
        rotated = replace(data, X=data.X @ matrix)
        return cls(rotated, partial(build.func, rotated, **build.keywords), matrix, scale)

    @torch.no_grad()
    def restore(self, module: Bottlenecks) -> None:
        """Let trained bottlenecks take the standardized features instead of these."""
        encoders = module.encoders
        if self.axes is not None and encoders.layers is not None:
            first = encoders.layers.parameter_list("weight")[0]
            first.data = self.axes @ first.data
            encoders.noise = encoders.noise * self.scale


@dataclass
class Start:
    """Networks that a training on all samples starts from."""

    width: int  # number of latents
    networks: Bottlenecks | None  # trained ones of this width; None starts from scratch
    weight: float  # of the penalty on the mask
    inputs: Inputs
    build: Build  # of untrained bottlenecks for the standardized features
    noise: float  # standard deviation, on standardized features
    path: SparsityPath | None = None  # the search, if there was one


class _Trained(NamedTuple):
    """Networks of one width, one for each fold."""

    inputs: Inputs
    module: Bottlenecks
    groups: list[int]  # of the folds
    noise: float
    losses: np.ndarray  # of the samples held out


def search_width(
    path: SparsityPath,
    trainer: Trainer,
    inputs: Sequence[Inputs],
    max_width: int,
    noises: Sequence[float],
) -> tuple[Bottlenecks | None, Inputs]:
    """Add numbers of latents to a path until the chosen one is settled.

    1. Dense networks, of ``max_width`` latents and trained briefly, choose inputs and noise by
       held-out losses.
    2. The rank of the slopes of the best one proposes the number of latents: a wide network
       is trained more reliably than narrow ones.
    3. Networks of this number, and of one less, are compared with a dense one; further ones, more
       starts and one more first, follow until the chosen number is good and one less is not.

    Returns
    -------
    narrow : Bottlenecks or None
        The best bottleneck of the chosen width; None for the empty model.
    inputs : Inputs
        Its inputs.
    """
    n_folds, trained = path.n_folds, dict[int, _Trained]()
    path.losses[0] = path.null_losses

    def train(
        of: Inputs, widths: list[int], noises: Sequence[float], share: float = SEARCH_SHARE
    ) -> list[_Trained]:
        """Train networks side by side."""
        module = of.build(
            widths * n_folds,
            held_out=np.repeat(np.arange(n_folds), len(widths)).tolist(),
            noise=(np.asarray(noises) / of.scale).tolist() * n_folds,
        )
        net = train_bottlenecks(of.data, trainer, module, share=share)
        path.nets.append(net)
        losses = path.held_out_losses(net.module_, of.data.X)
        groups = np.arange(len(widths) * n_folds).reshape(n_folds, -1).T.tolist()
        each = zip(groups, noises, losses, strict=True)
        return [_Trained(of, net.module_, *rest) for rest in each]

    def best(tried: Sequence[_Trained]) -> _Trained:
        return min(tried, key=lambda one: one.losses.mean())

    tried = [
        one
        for each in inputs
        for one in train(each, [max_width] * len(noises), noises, SCREEN_SHARE)
    ]
    # Noise regularizes: it is preferred within one standard error, over samples, of the best.
    dense, noisy = best(tried), best([one for one in tried if one.noise == max(noises)])
    worse = (noisy.losses - dense.losses).mean(axis=1)
    if worse.mean() <= np.nan_to_num(standard_error(worse)):
        dense = noisy
    path.rank = guess = min(_rank(path, dense), max_width)
    # Two starts at the proposed number, since a narrow network can end in a poor optimum.
    widths = [width for width in (guess - 1, guess, guess) if 0 < width < max_width] + [max_width]
    tried_again = guess == max_width
    while widths:
        new = train(dense.inputs, widths, [dense.noise] * len(widths))
        for width, one in zip(widths, new, strict=True):
            trained[width] = best([one, trained.get(width, one)])
            path.losses[width] = trained[width].losses
        chosen = int(path.chosen)
        below = int(max((width for width in path.losses if width < chosen), default=chosen))
        untried = [below + 1] if chosen == max_width else [chosen - 1]
        widths = untried * 2 if chosen - below > 1 else []
        if chosen > guess > 0 and not tried_again:
            tried_again = True
            widths = [guess] * 2 + widths
    if chosen == 0:
        return None, dense.inputs
    found = trained[chosen]
    # Of the folds, the one whose network predicts best: it goes on.
    relative = path.by_fold(path.losses[chosen]) / path.by_fold(path.losses[0])
    found.module.select(found.groups[int(relative.argmin())], chosen)
    return found.module, found.inputs


def _rank(path: SparsityPath, dense: _Trained) -> int:
    """Return the number of directions of the features that change the tasks.

    At each of some held-out rows, the singular values of the derivatives of all outputs, in
    units of the largest: their geometric mean over the rows, and the median over the folds.
    """
    module, data = dense.module, dense.inputs.data
    rows = data.X[path.rows[:MAX_RANK_ROWS]].flatten(0, 1)[:MAX_RANK_ROWS]
    rows = rows.expand(module.encoders.n_groups, -1, -1).clone().requires_grad_()
    outputs = module.heads.per_step(module.encoders(rows), module.task_mask())
    outputs = outputs.transpose(2, 3).flatten(1, 2)[:, module.heads.outputs].sum(dim=(0, 2))
    slopes = [torch.autograd.grad(each, rows, retain_graph=True)[0] for each in outputs]
    # Per standard deviation along each principal axis: slopes along axes that hardly vary do not
    # matter, and networks do not learn them.
    covariance = torch.cov(data.rows.T, aweights=data.step_row_weights)
    variances, axes = torch.linalg.eigh(covariance.reshape(data.X.shape[2], -1))
    slopes = torch.stack(slopes, dim=2) @ (axes * variances.clamp(min=0).sqrt())
    values = torch.linalg.svdvals(slopes).clamp(min=1e-9)
    relative = (values / values[..., :1]).log().mean(dim=1).exp()
    return int((relative > RANK_SHARE).sum(dim=1)[dense.groups].median())


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
