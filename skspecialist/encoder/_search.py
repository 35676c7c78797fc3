"""Search for the number of latents, or the weight of the penalty, along a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import NamedTuple

import numpy as np
import torch

from .._stats.model_comparison import standard_error
from ..networks.layers import Bottlenecks
from ..networks.training import StepData, Trainer
from ._path import SparsityPath
from ._training import Build, refit_heads, train_bottlenecks

__all__ = [
    "Inputs",
    "Start",
    "search_penalty",
    "search_width",
]

SEARCH_SHARE = 0.2  # part of the epochs in the search: the best net is trained further
CONTINUED_SHARE = 0.8  # part of the epochs for networks that the search has already trained
# The same where the longest training of a dense network in the search took less than the second
# number off its held-out loss: it only learns noise by then. In trials real sentences took .03
# off, and generated tasks of little noise .15 to .7.
SHORT_SHARE, LEAST_PROGRESS = 0.3, 0.1
# Part of the epochs that decides on inputs and noise, which differ early: in trials it made the
# same choices, and proposed the same numbers of latents, as SEARCH_SHARE.
SCREEN_SHARE = 0.12
LEAST_AXES = 16  # principal axes below which the search does not go
NO_VARIANCE = 1e-7  # share of the largest variance: principal axes below it are rounding errors
START_SHARE = 0.05  # part of the epochs after which the best of several starts is taken
# Starts of a narrow network, half as many in each of several folds: in trials with four of them one
# did not fold, with two sometimes all did.
N_STARTS = 4
LEAST_VARIANCE = 1e-4  # of latents, as a share of the largest: less is rounding error
MAX_RANK_ROWS = 400  # steps at which slopes are compared
# Share of the largest slope above which a direction counts. It separated the directions that
# tasks use, from .044 on in trials, from others, most below .03; the number is checked.
RANK_SHARE = 0.04


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
    units: np.ndarray | None = None  # of the features; None where axes are of standardized ones
    n_axes: int | None = None  # the first ones that are kept; None keeps all

    @classmethod
    def rotated(
        cls,
        data: StepData,
        build: Build,
        units: np.ndarray | None = None,
        n_axes: int | None = None,
    ) -> Inputs:
        """Return the principal axes of the features, or the first of them, scaled by one number.

        They are not whitened: directions of next to no variance are mostly noise. With ``units``,
        the standard deviations of the features before, they are not standardized either, which
        would whiten principal components.
        """
        rows, weights = data.rows.double().numpy(), data.step_row_weights.double().numpy()
        factors = np.ones(rows.shape[1]) if units is None else units
        covariance = np.atleast_2d(np.cov((rows * factors).T, aweights=weights))
        variances, axes = np.linalg.eigh(covariance)
        kept = variances > NO_VARIANCE * variances.max()
        kept[: 0 if n_axes is None else -n_axes] = False  # in ascending order
        if not kept.any():
            return cls(data, build)
        scale = float(np.sqrt(variances[kept].mean()))
        matrix = factors[:, None] * axes[:, kept][:, ::-1] / scale
        turn = torch.tensor(matrix, dtype=torch.float32)
        rotated, noise_scale = replace(data, X=data.X @ turn), scale if units is None else 1.0
        build = partial(build.func, rotated, **build.keywords)
        return cls(rotated, build, turn, noise_scale, units, n_axes)

    @classmethod
    def tried(
        cls, data: StepData, build: Build, units: np.ndarray, given: Found | None
    ) -> list[Inputs]:
        """Return the forms that a search compares, or the one that the given search chose."""
        if given is not None and given.is_rotated:
            own = units / units.max() if given.has_units else None
            return [cls.rotated(data, build, own, given.n_axes)]
        forms = [cls(data, build)]
        if given is None and data.X.shape[2] > 1:
            forms.append(cls.rotated(data, build))
            # Columns of similar units have similar axes, standardized or not.
            if units.max() > 2 * units.min():
                forms.append(cls.rotated(data, build, units / units.max()))
        return forms

    @torch.no_grad()
    def restore(self, module: Bottlenecks) -> None:
        """Let trained bottlenecks take the standardized features instead of these."""
        encoders = module.encoders
        if self.axes is not None and encoders.layers is not None:
            first = encoders.layers.parameter_list("weight")[0]
            first.data = self.axes @ first.data
            encoders.noise = encoders.noise * self.scale


@dataclass(frozen=True)
class Found:
    """Results of a search, from which a fit to other samples of the same tasks may start.

    They are few numbers: networks would carry the samples that they were trained on.
    """

    width: int
    noise: float  # on standardized features
    is_rotated: bool  # whether the networks learn from principal axes,
    has_units: bool  # of features that are not standardized,
    n_axes: int | None  # and from how many; None is all
    progress: float  # of the path,
    explained: float  # and its explained loss
    losses: dict[int, float]  # by number of latents
    sizes: tuple[int, int]  # numbers of features and outputs

    @classmethod
    def of(cls, start: Start, path: SparsityPath) -> Found:
        """Return the results of a search."""
        inputs = start.inputs
        form = inputs.axes is not None, inputs.units is not None, inputs.n_axes
        losses = {int(w): float(path.losses[w].mean()) for w in sorted(path.losses)}
        of_path = path.progress, path.explained, losses
        return cls(start.width, start.noise, *form, *of_path, path.sizes)

    def fits(self, path: SparsityPath, n_latents: int) -> bool:
        """Return whether the features and tasks of a path are as many, and so many latents do."""
        return self.sizes == path.sizes and 0 < self.width <= n_latents


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

    @property
    def share(self) -> float:
        """Part of the epochs of the training on all samples."""
        if self.networks is None:
            return 1.0
        path = self.path
        # A search that has explained next to nothing may have been too short.
        is_short = path is not None and path.progress <= LEAST_PROGRESS <= path.explained
        return SHORT_SHARE if is_short else CONTINUED_SHARE


class _Trained(NamedTuple):
    """Networks of one width, one for each fold."""

    inputs: Inputs
    module: Bottlenecks
    groups: list[int]  # of the folds
    noise: float
    losses: np.ndarray  # of the samples held out

    def some_rows(self, path: SparsityPath) -> torch.Tensor:
        """Return rows (n_groups, n_rows, n_features) that are held out, with gradients."""
        rows = self.inputs.data.X[path.rows[:MAX_RANK_ROWS]].flatten(0, 1)[:MAX_RANK_ROWS]
        return rows.expand(self.module.encoders.n_groups, -1, -1).clone().requires_grad_()


def search_width(
    path: SparsityPath,
    trainer: Trainer,
    inputs: Sequence[Inputs],
    max_width: int,
    noises: Sequence[float],
    n_latents: int | None = None,
    is_brief: bool = False,
) -> tuple[Bottlenecks | None, Inputs]:
    """Add numbers of latents to a path until the chosen one is settled.

    With ``n_latents`` only that number is tried, beside the dense one; if the search
    ``is_brief``, one input and noise are given too, and only starts are trained.

    1. Dense networks, of ``max_width`` latents and trained briefly, choose inputs and noise by
       held-out losses.
    2. The rank of the slopes of the best one proposes the number of latents: a wide network
       is trained more reliably than narrow ones.
    3. Networks of this number, and of one less, begin as parts of the dense one, the best of
       several, and are compared with it; others follow until the chosen number is good and one
       less is not.

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
        of: Inputs,
        widths: list[int],
        noises: Sequence[float],  # repeated
        share: float,
        starts: Sequence[_Trained] = (),
    ) -> list[_Trained]:
        """Train networks side by side, from scratch or as continuations of others."""
        module = of.build(
            widths * n_folds,
            held_out=np.repeat(np.arange(n_folds), len(widths)).tolist(),
            noise=(np.resize(noises, len(widths)) / of.scale).tolist() * n_folds,
        )
        groups = np.arange(len(widths) * n_folds).reshape(n_folds, -1).T.tolist()
        for own, width, start in zip(groups, widths, starts, strict=False):
            _begin_as(module, own, width, start, path)
        net = train_bottlenecks(of.data, trainer, module, share=share)
        path.nets.append(net)
        losses = path.held_out_losses(net.module_, of.data.X)
        each = zip(groups, cycle(noises), losses, strict=False)
        return [_Trained(of, net.module_, *rest) for rest in each]

    def begin(widths: list[int]) -> dict[int, _Trained]:
        """Train narrow networks briefly from several starts; return the best of each fold."""
        found = {}
        for width in widths:
            repeated, starts = [width] * n_starts, [dense] * n_starts
            tried = train(dense.inputs, repeated, [dense.noise], START_SHARE, starts)
            picked = np.argmin([path.by_fold(one.losses) for one in tried], axis=0)
            groups = [tried[start].groups[fold] for fold, start in enumerate(picked)]
            found[width] = tried[0]._replace(groups=groups)
        return found

    def keep(found: _Trained, width: int) -> tuple[Bottlenecks, Inputs]:
        """Return the network that predicts best, of those of the folds: it goes on."""
        relative = path.by_fold(path.losses[width]) / path.by_fold(path.losses[0])
        found.module.select(found.groups[int(relative.argmin())], width)
        return found.module, found.inputs

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
    n_starts = max(N_STARTS // n_folds, N_STARTS // 2)
    if n_latents is not None and is_brief:
        found = begin([n_latents])[n_latents] if n_latents < max_width else dense
        if path.progress > LEAST_PROGRESS:
            found = train(dense.inputs, [n_latents], [dense.noise], SEARCH_SHARE, [found])[0]
        path.losses[n_latents] = found.losses
        return keep(found, n_latents)
    # Many axes let networks learn their noise: half as many are tried as long as losses fall.
    while (n_axes := dense.inputs.data.X.shape[2] // 2) >= max(LEAST_AXES, max_width):
        given = inputs[0].data, inputs[0].build, dense.inputs.units
        fewer = Inputs.rotated(*given, n_axes)
        one = train(fewer, [max_width], [dense.noise], SCREEN_SHARE)[0]
        if one.losses.mean() >= dense.losses.mean():
            break
        dense = one
    path.rank = guess = min(_rank(path, dense), max_width)
    widths = [guess - 1, guess] if n_latents is None else [n_latents]
    widths = [width for width in widths if 0 < width < max_width] + [max_width]
    tried_again = guess == max_width
    while widths:
        begun = begin([width for width in widths if width < max_width])
        starts = [begun.get(width, dense) for width in widths]
        new = train(dense.inputs, widths, [dense.noise], SEARCH_SHARE, starts)
        for width, one in zip(widths, new, strict=True):
            trained[width] = best([one, trained.get(width, one)])
            path.losses[width] = trained[width].losses
        if max_width in widths:
            path.progress = 1.0 - float(new[-1].losses.mean() / dense.losses.mean())
        dense = trained[max_width]
        if n_latents is not None:
            chosen = n_latents
            break
        chosen = int(path.chosen)
        below = int(max((width for width in path.losses if width < chosen), default=chosen))
        widths = [below + 1 if chosen == max_width else chosen - 1] if chosen - below > 1 else []
        if chosen > guess > 0 and not tried_again:
            tried_again = True
            widths = [guess, *widths]
    if chosen == 0:
        return None, dense.inputs
    return keep(trained[chosen], chosen)


def _rank(path: SparsityPath, dense: _Trained) -> int:
    """Return the number of directions of the features that change the tasks.

    At each of some held-out rows, the singular values of the derivatives of all outputs, in
    units of the largest: their geometric mean over the rows, and the median over the folds.
    """
    data, rows = dense.inputs.data, dense.some_rows(path)
    slopes = _slopes(dense.module, rows, dense.module.encoders(rows))
    # Per standard deviation along each principal axis: slopes along axes that hardly vary do not
    # matter, and networks do not learn them.
    covariance = torch.cov(data.rows.T, aweights=data.step_row_weights)
    variances, axes = torch.linalg.eigh(covariance.reshape(data.X.shape[2], -1))
    values = torch.linalg.svdvals(slopes @ (axes * variances.clamp(min=0).sqrt())).clamp(min=1e-9)
    relative = (values / values[..., :1]).log().mean(dim=1).exp()
    return int((relative > RANK_SHARE).sum(dim=1)[dense.groups].median())


def _slopes(module: Bottlenecks, inputs: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Return the derivatives (n_groups, n_rows, n_outputs, ...) of the outputs."""
    outputs = module.heads.per_step(latents, module.task_mask())
    outputs = outputs.transpose(2, 3).flatten(1, 2)[:, module.heads.outputs].sum(dim=(0, 2))
    slopes = [torch.autograd.grad(each, inputs, retain_graph=True)[0] for each in outputs]
    return torch.stack(slopes, dim=2)


def _begin_as(
    module: Bottlenecks, groups: Sequence[int], width: int, start: _Trained, path: SparsityPath
) -> None:
    """Let untrained bottlenecks, one group per fold, begin as trained ones of as many latents.

    Where those have more, the latents are the directions of theirs along which the tasks vary
    most: eigenvectors of the mean outer product of the slopes (the active subspace of Constantine,
    Dow and Wang 2014). From random weights narrow networks often fold: different values of the
    true latents get the same code, which no gradient undoes. So do these, in about half of the
    cases: the tasks have random weights, so that each start has directions of its own.
    """
    old, units = start.module, 1 if module.heads.linear else module.heads.units
    layers, old_layers = module.encoders.layers, old.encoders.layers
    assert layers is not None
    assert old_layers is not None
    for group, origin in zip(groups, start.groups, strict=True):
        with torch.no_grad():
            for own, given in zip(module.parameters(), old.parameters(), strict=True):
                sizes = zip(own.shape[1:], given.shape[1:], strict=True)
                part = tuple(slice(min(pair)) for pair in sizes)
                own[group][part] = given[origin][part]
        if width >= int(old.allowed[origin].amax(dim=0).sum()):
            continue
        latents = old.encoders(start.some_rows(path)).detach().requires_grad_()
        # Neither a single row nor constant features have directions.
        if not bool((latents[origin] != latents[origin, :1]).any()):
            continue
        slopes = _slopes(old, latents, latents)[origin]
        slopes *= torch.distributions.Exponential(1.0).sample(slopes.shape[1:2])[:, None]
        with torch.no_grad():
            # In units of uncorrelated latents u of unit variance: z = root u.
            variances, axes = torch.linalg.eigh(torch.cov(latents[origin].T))
            scales = variances.clamp(min=LEAST_VARIANCE * float(variances.max())).sqrt()
            root, inverse = (axes * each @ axes.T for each in (scales, 1 / scales))
            found = torch.linalg.svd(slopes.flatten(0, 1) @ root, full_matrices=False)[2][:width]
            turn = (inverse @ found.T) / old.encoders.variance[origin].sqrt().T
            for own, given in zip(layers.last, old_layers.last, strict=True):
                own[group, :, :width] = given[origin] @ turn
            columns = old.heads.first_layer(old.task_mask())[origin] @ (root @ found.T)
            module.heads.columns[group, :, :, :width] = columns
            module.mask[group, :, :width] = columns.norm(dim=1) / units**0.5


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
