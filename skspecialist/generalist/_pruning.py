"""Structured pruning of torch modules: units, attention heads and layers, by their importance.

References
----------
.. [1] L. Theis, I. Korshunova, A. Tejani and F. Huszár, "Faster gaze prediction with dense
   networks and Fisher pruning", arXiv:1801.05787, 2018.
.. [2] L. Zhao, Y. Shen, Z. Liu, X. Wang and J. Deng, "Less is more: unlocking specialization of
   time series foundation models via structured pruning", NeurIPS 2025.
.. [3] M. Sun, Z. Liu, A. Bair and J. Z. Kolter, "A simple and effective pruning approach for
   large language models", ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune

from ..exceptions import warn
from ._attention import HeadAttention, Skip, set_module
from ._modules import CONVOLUTIONS, n_parameters

__all__ = [
    "Site",
    "find_sites",
    "prune_to",
    "scores_of",
]

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Numbers of rows of two runs: an axis whose size is the same multiple of both is the batch.
N_TRACED = (3, 5)
# Cut and gated modules differ by rounding in single precision only.
TOLERANCE = 1e-4
# Rounds of scoring and pruning: the importance of a unit depends on those that are left.
N_ROUNDS = 5


@dataclass(frozen=True)
class Cut:
    """Axis of a tensor along which the units of a site lie, in blocks of equal width."""

    layer: str
    tensor: str
    dim: int
    width: int = 1
    offsets: tuple[int, ...] = (0,)

    def indices(self, kept: torch.Tensor) -> torch.Tensor:
        """Return the indices along the axis of the units that are kept."""
        block = (kept[:, None] * self.width + torch.arange(self.width)).flatten()
        return torch.cat([offset + block for offset in self.offsets])


@dataclass
class Site:
    """Units of one kind that may be removed: inputs or heads of a layer, or a whole layer.

    Attributes
    ----------
    layer : str
        Name of the layer that reads the units.
    kind : {"units", "heads", "layers"}
        Their kind.
    n_units : int
        Their number.
    width : int
        Number of inputs of the layer that make a unit.
    cuts : list of Cut
        Tensors that shrink with the units.
    is_removable : bool
        Whether units can be cut out; otherwise they can only be masked.
    """

    layer: str
    kind: str
    n_units: int
    width: int
    cuts: list[Cut] = field(default_factory=list)
    is_removable: bool = True


@contextmanager
def hooked(net: nn.Module, hooks: dict[str, Callable[..., Any]], *, pre: bool) -> Iterator[None]:
    """Watch, or change, inputs (``pre``) or outputs of layers."""
    with ExitStack() as stack:
        for name, hook in hooks.items():
            layer = net.get_submodule(name)
            register = layer.register_forward_pre_hook if pre else layer.register_forward_hook
            stack.callback(register(hook).remove)
        yield


@torch.no_grad()
def find_sites(net: nn.Module, X: torch.Tensor, granularity: str) -> list[Site]:
    """Return the units, heads or layers that can be removed from a module in evaluation mode.

    Which layer feeds which is not read from code: a layer reads the units of the layer with
    weights that ran before it if the output of the module, with one of these cut out, is that
    with this unit multiplied by zero. Residual connections, normalizations over units and the
    like do not pass. If no site can be cut, all inputs of layers are returned, to be masked.

    Parameters
    ----------
    net : Module
        The module, whose first axis is the batch.
    X : tensor of shape (n_rows, ...)
        Rows, at least five.
    granularity : {"auto", "units", "heads", "layers"}
        Kind of the units; "auto" is units and heads.
    """
    runs = [_trace(net, X[:n_rows]) for n_rows in N_TRACED]
    if granularity == "layers":
        return _layer_sites(net, runs[0])
    order, ratios = (
        [name for name, _, _ in runs[0]],
        [
            {name: (rows[0] / n, rows[1:]) for name, rows, _ in run}
            for n, run in zip(N_TRACED, runs, strict=True)
        ],
    )
    sites, before = [], None
    norms: list[str] = []
    for name in order:
        layer = net.get_submodule(name)
        if isinstance(layer, NORMS):
            norms.append(name)
        elif _has_units(layer):
            once = order.count(name) == 1 and ratios[0][name] == ratios[1].get(name)
            if before is not None and once:
                sites.append(_site(net, name, before, norms))
            before, norms = name, []
    wanted = {"auto": ("units", "heads")}.get(granularity, (granularity,))
    sites = [site for site in sites if site.kind in wanted]
    cut = [site for site in sites if site.is_removable and _can_be_cut(net, site, X)]
    if cut:
        return cut
    return [
        Site(site.layer, site.kind, n, 1, [Cut(site.layer, "weight", 1)], False)
        for site in sites
        if (n := net.get_parameter(f"{site.layer}.weight").shape[1]) > 1
    ]


def _has_units(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, CONVOLUTIONS) and layer.groups == 1)


def _trace(net: nn.Module, X: torch.Tensor) -> list[tuple[str, torch.Size, bool]]:
    """Return the layers in the order in which they run, with the shapes of their inputs."""
    found: list[tuple[str, torch.Size, bool]] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, inputs: Any, output: Any) -> None:
            if inputs and isinstance(inputs[0], torch.Tensor):
                shape = inputs[0].shape
                found.append((name, shape, getattr(output, "shape", None) == shape))

        return hook

    names = [name for name, _ in net.named_modules() if name]
    with hooked(net, {name: watch(name) for name in names}, pre=False):
        net(X)
    return found


def _layer_sites(net: nn.Module, run: list[tuple[str, torch.Size, bool]]) -> list[Site]:
    """Return the blocks of lists and sequences whose output has the shape of their input."""
    sites = []
    for name, _, keeps_shape in run:
        layer = net.get_submodule(name)
        parent = net.get_submodule(name.rpartition(".")[0])
        is_block = isinstance(parent, nn.ModuleList | nn.Sequential) and len(list(layer.children()))
        names = [part for part, _ in layer.named_parameters()]
        if is_block and keeps_shape and names:
            cuts = [Cut(name, part, 0) for part in names]
            sites.append(Site(name, "layers", 1, 1, cuts))
    return sites


def _site(net: nn.Module, name: str, before: str, norms: Sequence[str]) -> Site:
    layer: Any = net.get_submodule(name)
    source: Any = net.get_submodule(before)
    parent = net.get_submodule(name.rpartition(".")[0])
    n_inputs, n_units = layer.weight.shape[1], source.weight.shape[0]
    if isinstance(parent, HeadAttention) and layer is parent.out_proj:
        width, prefix = parent.head_dim, name.removesuffix("out_proj")
        offsets = tuple(range(0, 3 * n_inputs, n_inputs))
        cuts = _rows(parent.in_proj, f"{prefix}in_proj", width, offsets)
        cuts.append(Cut(name, "weight", 1, width))
        return Site(name, "heads", parent.num_heads, width, cuts)
    if n_inputs % n_units:
        return Site(name, "units", n_inputs, 1, is_removable=False)
    cuts = _rows(source, before)
    for norm in norms:
        cuts += _rows(net.get_submodule(norm), norm)
    cuts.append(Cut(name, "weight", 1, n_inputs // n_units))
    return Site(name, "units", n_units, n_inputs // n_units, cuts)


def _rows(
    layer: nn.Module, name: str, width: int = 1, offsets: tuple[int, ...] = (0,)
) -> list[Cut]:
    """Return the tensors of a layer whose first axis is that of its outputs."""
    names = ("weight", "bias", "running_mean", "running_var")
    found = [n for n in names if getattr(layer, n, None) is not None]
    return [Cut(name, n, 0, width, offsets) for n in found]


def _can_be_cut(net: nn.Module, site: Site, X: torch.Tensor) -> bool:
    """Return whether the module without a unit is the one with the unit times zero."""
    if site.n_units < 2:
        return False
    kept = torch.arange(site.n_units) != site.n_units - 1
    rows = X[: N_TRACED[0]]
    with gated(net, [site], [kept.to(rows.dtype).expand(len(rows), -1)]):
        masked = net(rows)
    before = _cut(net, site, kept)
    try:
        cut = net(rows)
    except RuntimeError:
        return False  # another layer needs the unit
    finally:
        for layer, name, tensor in before:
            _set_tensor(layer, name, tensor)
        _update_sizes(net, site)
    scale = float(masked.abs().max())
    return bool(torch.allclose(masked, cut, rtol=TOLERANCE, atol=TOLERANCE * scale))


@contextmanager
def gated(net: nn.Module, sites: Sequence[Site], gates: Sequence[torch.Tensor]) -> Iterator[None]:
    """Multiply the units of sites by gates (n_rows, n_units)."""

    def inputs(site: Site, gate: torch.Tensor) -> Callable[..., Any]:
        def hook(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            x = args[0]
            factors = gate.repeat_interleave(site.width, dim=1)
            factors = factors.repeat_interleave(len(x) // len(gate), dim=0)
            is_linear = isinstance(layer, nn.Linear)
            axes = [1] * (x.ndim - 2)
            shape = [len(x), *axes, x.shape[-1]] if is_linear else [len(x), x.shape[1], *axes]
            return (x * factors.view(shape), *args[1:])

        return hook

    def outputs(gate: torch.Tensor) -> Callable[..., Any]:
        def hook(_layer: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            x = args[0]
            factors = gate.repeat_interleave(len(x) // len(gate), dim=0)
            return x + factors.view(-1, *[1] * (x.ndim - 1)) * (output - x)

        return hook

    pairs = list(zip(sites, gates, strict=True))
    before = {s.layer: inputs(s, gate) for s, gate in pairs if s.kind != "layers"}
    after = {s.layer: outputs(gate) for s, gate in pairs if s.kind == "layers"}
    with hooked(net, before, pre=True), hooked(net, after, pre=False):
        yield


def scores_of(
    net: nn.Module,
    sites: Sequence[Site],
    X: torch.Tensor,
    losses: Callable[[torch.Tensor], torch.Tensor],
    importance: str,
) -> list[np.ndarray]:
    """Return the importance of each unit of each site.

    Parameters
    ----------
    net : Module
        The module, in evaluation mode.
    sites : list of Site
        The units.
    X : tensor of shape (n_rows, ...)
        Rows.
    losses : callable
        Loss of each row, (n_rows,), of the outputs of the module.
    importance : {"fisher", "magnitude", "activation"}
        See :class:`PruneThenFinetune`.

    Returns
    -------
    scores : list of ndarray of shape (n_units,)
        Non-negative. Those of "fisher" are losses; the others are relative to the mean of their
        site, since weights and activations of different layers have no common unit.
    """
    if importance == "fisher":
        gates = [torch.ones(len(X), site.n_units, requires_grad=True) for site in sites]
        with torch.enable_grad(), gated(net, sites, gates):
            total = losses(net(X)).sum()
            gradients = torch.autograd.grad(total, gates, allow_unused=True)
        # Equation 6 of [1]_: the loss without unit k rises by about half of the mean of the
        # squared derivatives of the loss by a factor on it.
        return [
            np.zeros(site.n_units) if g is None else 0.5 * g.square().mean(dim=0).double().numpy()
            for site, g in zip(sites, gradients, strict=True)
        ]
    norms = _input_norms(net, sites, X) if importance == "activation" else None
    scores = []
    for index, site in enumerate(sites):
        layer: Any = net.get_submodule(site.layer)
        if site.kind == "layers":
            weights = [p.detach().square().sum() for p in layer.parameters()]
            squares = torch.stack(weights).sum()[None] if norms is None else norms[index]
        else:
            # Sum over the outputs, and the positions of a kernel, of the squared weights.
            squares = layer.weight.detach().square().transpose(0, 1).flatten(1).sum(dim=1)
            if norms is not None:
                squares = squares * norms[index]  # equation 1 of [3]_, squared
            squares = squares.view(site.n_units, -1).sum(dim=1)
        score = squares.sqrt().double().numpy()
        mean = 1.0 if site.kind == "layers" else max(score.mean(), np.finfo(float).tiny)
        scores.append(score / mean)
    return scores


@torch.no_grad()
def _input_norms(net: nn.Module, sites: Sequence[Site], X: torch.Tensor) -> list[torch.Tensor]:
    """Return the mean squares of the inputs of each layer, or of the changes by a block."""
    found: dict[str, torch.Tensor] = {}

    def watch(site: Site) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            x = args[0]
            if site.kind == "layers":
                found[site.layer] = (output - x).square().mean()[None]
            elif isinstance(layer, nn.Linear):
                found[site.layer] = x.square().flatten(0, -2).mean(dim=0)
            else:
                found[site.layer] = x.square().transpose(0, 1).flatten(1).mean(dim=1)

        return hook

    with hooked(net, {site.layer: watch(site) for site in sites}, pre=False):
        net(X)
    return [found[site.layer] for site in sites]


def prune_to(
    net: Any, target: int, data: Any, *, importance: str, granularity: str
) -> dict[str, np.ndarray]:
    """Prune a module to a number of parameters, the least important units first.

    As in [2]_ the units are removed little by little, and scored again in between.

    Parameters
    ----------
    net : Adapted
        The module, in evaluation mode.
    target : int
        Number of parameters.
    data : StepData
        Rows that decide about the importance.
    importance, granularity : str
        See :class:`PruneThenFinetune`.

    Returns
    -------
    kept : dict of {str: ndarray of bool}
        Units that are left, by the name of the layer that reads them.
    """
    start = n_parameters(net)
    kept: dict[str, np.ndarray] = {}
    truth = {"targets": data.targets, "weights": data.weights}
    for k in range(N_ROUNDS):
        sites = find_sites(net, data.X, granularity)
        if not sites:
            break
        can_be_cut = all(site.is_removable for site in sites)
        # Equal factors per round; masks, which are not scored again, take one round.
        step = start * (target / start) ** ((k + 1) / N_ROUNDS) if can_be_cut else target
        losses = lambda outputs: net.row_losses(outputs, truth)  # noqa: E731
        scores = scores_of(net, sites, data.X, losses, importance)
        for site, stay in zip(sites, select(net, sites, scores, step), strict=True):
            whole = kept.setdefault(site.layer, np.ones(site.n_units, dtype=bool))
            whole[np.flatnonzero(whole)[~stay.numpy()]] = False
            remove(net, site, stay)
        if not can_be_cut:
            warn(
                "No units of module can be cut out without changing what other layers take: they "
                "are masked, so that size and predictions are those of the pruned module, but "
                "not its time."
            )
            break
    if (n_left := n_parameters(net)) > 1.02 * target:
        warn(
            f"{n_left} parameters are left, more than the {target} of keep: the others are in "
            f"no {'units or heads' if granularity == 'auto' else granularity} that can be removed."
        )
    return kept


def select(
    net: nn.Module, sites: Sequence[Site], scores: Sequence[np.ndarray], target: float
) -> list[torch.Tensor]:
    """Return which units to keep, bool, so that at most ``target`` parameters are left.

    Units are removed in the order of their importance per parameter; each site, unless it is a
    whole layer, keeps one.
    """
    tensors = {name: p.shape for name, p in net.named_parameters()}
    order = []
    for index, (site, score) in enumerate(zip(sites, scores, strict=True)):
        # Parameters that a unit costs at the present size of the others.
        cost = sum(
            tensors[name].numel() / site.n_units
            for cut in site.cuts
            if (name := f"{cut.layer}.{cut.tensor}") in tensors
        )
        ranked = np.argsort(score, kind="stable")
        spared = 0 if site.kind == "layers" else 1
        order += [(score[unit] / cost, index, unit) for unit in ranked[: len(ranked) - spared]]
    order.sort(key=lambda entry: entry[:2])

    def left(n_removed: int) -> int:
        counts = np.bincount([index for _, index, _ in order[:n_removed]], minlength=len(sites))
        shapes = {name: list(shape) for name, shape in tensors.items()}
        for site, removed in zip(sites, counts, strict=True):
            for cut in site.cuts:
                name = f"{cut.layer}.{cut.tensor}"
                if site.kind == "layers":
                    shapes[name][0] *= 1 - removed
                elif name in shapes:
                    shapes[name][cut.dim] -= removed * cut.width * len(cut.offsets)
        return int(sum(np.prod(shape) for shape in shapes.values()))

    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if left(middle) <= target else (middle + 1, high)
    kept = [torch.ones(site.n_units, dtype=torch.bool) for site in sites]
    for _, index, unit in order[:low]:
        kept[index][unit] = False
    return kept


@torch.no_grad()
def remove(net: nn.Module, site: Site, kept: torch.Tensor) -> None:
    """Remove the units of a site that are not kept, or mask them."""
    if kept.all():
        return
    if site.kind == "layers":
        set_module(net, site.layer, Skip())
        return
    if site.is_removable:
        _cut(net, site, kept)
        return
    layer: Any = net.get_submodule(site.layer)
    mask = torch.ones_like(layer.weight)
    mask[:, ~kept] = 0
    prune.custom_from_mask(layer, "weight", mask)


@torch.no_grad()
def _cut(net: nn.Module, site: Site, kept: torch.Tensor) -> list[tuple[nn.Module, str, Any]]:
    """Cut units out of all tensors; return these as they were."""
    before = []
    for cut in site.cuts:
        layer = net.get_submodule(cut.layer)
        tensor = getattr(layer, cut.tensor)
        before.append((layer, cut.tensor, tensor.data))
        index = cut.indices(kept.nonzero()[:, 0]).to(tensor.device)
        _set_tensor(layer, cut.tensor, tensor.data.index_select(cut.dim, index))
    _update_sizes(net, site)
    return before


def _set_tensor(layer: nn.Module, name: str, values: torch.Tensor) -> None:
    getattr(layer, name).data = values


def _update_sizes(net: nn.Module, site: Site) -> None:
    """Set the sizes that layers store to those of their tensors."""
    for name in {cut.layer for cut in site.cuts}:
        layer: Any = net.get_submodule(name)
        if isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = layer.weight.shape
        elif isinstance(layer, CONVOLUTIONS):
            layer.out_channels, layer.in_channels = layer.weight.shape[:2]
        elif isinstance(layer, NORMS):
            layer.num_features = len(next(iter(layer.buffers()), layer.weight))
    parent = net.get_submodule(site.layer.rpartition(".")[0])
    if isinstance(parent, HeadAttention):
        parent.num_heads = parent.out_proj.in_features // parent.head_dim
