"""Use of a trained torch module that leaves it unchanged."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

from ..networks.training import seeded

__all__ = [
    "CONVOLUTIONS",
    "as_vectors",
    "call",
    "clone_sharing",
    "find_layer",
    "module_at_work",
    "n_parameters",
    "owner_of",
    "placed",
    "shaped",
    "watched",
    "weights_of",
]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

# Modes and devices of modules and torch's generator are shared by all threads.
_ONE_AT_A_TIME = threading.RLock()


def clone_sharing(estimator: Any, *names: str) -> Any:
    """Return a clone that shares some parameters, such as a module with billions of weights."""
    shared = {name: getattr(estimator, name) for name in names}
    empty = copy.copy(estimator).set_params(**dict.fromkeys(shared))
    return BaseEstimator.__sklearn_clone__(empty).set_params(**shared)


def owner_of(module: Callable[..., Any]) -> nn.Module | None:
    """Return the module behind a callable, its method or a partial, None for other callables."""
    owner = module
    while isinstance(owner, partial):
        owner = owner.func
    owner = getattr(owner, "__self__", owner)
    return owner if isinstance(owner, nn.Module) else None


@contextmanager
def module_at_work(owner: nn.Module | None, device: str | None) -> Iterator[str]:
    """Put a module into evaluation mode on a device, and back afterwards.

    Within the context there are no gradients, and torch's generator has a seed of its own.

    Parameters
    ----------
    owner : module or None
        Module, None for callables without one.
    device : str or None
        Device, or "auto"; None is that of the module.

    Yields
    ------
    place : str
        Device of the inputs.
    """
    home = None if owner is None else next((t.device for t in _tensors(owner)), None)
    place = device or str(home or "cpu")
    with _ONE_AT_A_TIME, torch.no_grad(), seeded(0, place, limit_threads=False) as place:
        if owner is None:
            yield place
            return
        with _evaluation_mode(owner), _moved(owner, None if device is None else place, home):
            yield place


@contextmanager
def _moved(owner: nn.Module, device: str | None, home: torch.device | None) -> Iterator[None]:
    if device is None or home is None:
        yield
        return
    if len({tensor.device for tensor in _tensors(owner)}) > 1:
        raise ValueError(
            f"device={device!r}, but module is spread over several devices: leave "
            "device=None to use it where it is."
        )
    try:
        owner.to(device)
        yield
    finally:
        owner.to(home)


def find_layer(module: Callable[..., Any], name: str) -> nn.Module:
    """Return a part of a module by its name.

    Raises
    ------
    ValueError
        If there is no module, or no part of that name.
    """
    owner = owner_of(module)
    if owner is None:
        raise ValueError(
            f"layers={name!r} needs a torch.nn.Module, or a method of one, but module is a "
            f"{type(module).__name__}."
        )
    layers = dict(owner.named_modules(remove_duplicate=False))
    if name not in layers:
        near = get_close_matches(name, layers, n=5, cutoff=0.4)
        names = near or [child for child, _ in owner.named_children()]
        raise ValueError(
            f"layers: module has no layer {name!r}; {'near' if near else 'some'} names are: "
            f"{', '.join(map(repr, names)) or 'none'}."
        )
    return layers[name]


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    return chain(module.parameters(), module.buffers())


@contextmanager
def _evaluation_mode(owner: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into its own."""
    # eval() reaches all parts, some of which the user may have frozen in this mode before.
    modes = [(part, part.training) for part in owner.modules()]
    try:
        owner.eval()
        yield
    finally:
        for part, training in modes:
            if part.training != training:
                part.train(training)


@contextmanager
def watched(layer: nn.Module, keep: Callable[[Any], None]) -> Iterator[None]:
    """Pass the outputs of a layer in this thread to ``keep``; others may use the module too."""
    thread = threading.get_ident()

    def hook(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            keep(output)

    handle = layer.register_forward_hook(hook)
    # Before torch 2.5 a fused block bypasses its parts, and their hooks.
    is_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fused)
        handle.remove()


def placed(value: Any, place: str, dtype: torch.dtype | None) -> Any:
    """Return inputs on the device ``place``, those in floating point as ``dtype``."""
    if isinstance(value, torch.Tensor):
        return value.to(device=place, dtype=dtype if value.is_floating_point() else None)
    if isinstance(value, np.ndarray):
        return placed(torch.from_numpy(value), place, dtype)
    if isinstance(value, Mapping):
        return {name: placed(part, place, dtype) for name, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [placed(part, place, dtype) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def shaped(
    batch: torch.Tensor,
    input_shape: tuple[int, ...] | None,
    preprocess: Callable[[Any], Any] | None,
) -> Any:
    """Return a batch of rows in the shape that a module takes."""
    if input_shape is not None:
        if math.prod(input_shape) != batch[0].numel():
            raise ValueError(
                f"input_shape={input_shape} has {math.prod(input_shape)} numbers, "
                f"but a row has {batch[0].numel()} features."
            )
        batch = batch.reshape(len(batch), *input_shape)
    return batch if preprocess is None else preprocess(batch)


def call(module: Callable[..., Any], inputs: Any) -> Any:
    """Call a module with keyword, positional or single arguments."""
    if isinstance(inputs, Mapping):
        return module(**inputs)
    if isinstance(inputs, tuple):
        return module(*inputs)
    return module(inputs)


def as_vectors(
    output: Any,
    pooling: str | Callable[[Any], Any] | None,
    mask: torch.Tensor | None,
    n_rows: int,
    source: str,
) -> torch.Tensor:
    """Return an output of a module as one vector per row, at least in single precision."""
    tensor = _only_tensor(pooling(output) if callable(pooling) else output, source)
    if not tensor.ndim or len(tensor) != n_rows:
        raise ValueError(
            f"{source} returned shape {tuple(tensor.shape)} for a batch of {n_rows} rows"
            f"{' (after pooling)' if callable(pooling) else ''}; "
            "the first axis must be the rows (batch_first=True in torch's own layers)."
        )
    # Half precision has too few digits for means over many tokens.
    tensor = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    if isinstance(pooling, str):
        tensor = pool_tokens(tensor, pooling, mask)
    return tensor.reshape(n_rows, -1)


def _only_tensor(output: Any, source: str) -> torch.Tensor:
    """Return the tensor of an output."""
    tensor = output
    if isinstance(output, Mapping):
        only = next(iter(output.values())) if len(output) == 1 else None
        tensor = output.get("last_hidden_state", only)
    elif isinstance(output, tuple | list):
        tensor = next((part for part in output if isinstance(part, torch.Tensor)), None)
    if isinstance(tensor, torch.Tensor | np.ndarray):
        return torch.as_tensor(tensor)
    keys = f" with the keys {list(output)}" if isinstance(output, Mapping) else ""
    raise ValueError(
        f"{source} returned a {type(output).__name__}{keys}, which has no unique "
        "tensor: select it with a callable as pooling, such as operator.itemgetter('name')."
    )


def pool_tokens(tensor: torch.Tensor, pooling: str, mask: torch.Tensor | None) -> torch.Tensor:
    """Return one vector per row, (n_rows, n_features), of the tokens that are not padding."""
    if tensor.ndim > 3:  # of a convolution: (n_rows, channels, positions ...)
        tensor = tensor.flatten(2).transpose(1, 2)
    if tensor.ndim < 3:
        raise ValueError(
            f"pooling={pooling!r} needs an axis of tokens, (n_rows, n_tokens, n_features), but "
            f"the shape is {tuple(tensor.shape)}: set pooling=None."
        )
    # Without a mask no token is padding.
    kept = torch.ones(tensor.shape[:2]) if mask is None else mask
    kept = kept.to(tensor.device) != 0
    if kept.shape != tensor.shape[:2]:
        raise ValueError(
            f"pooling={pooling!r}: attention_mask has shape {tuple(kept.shape)}, but there are "
            f"{tensor.shape[1]} tokens: pool with a callable."
        )
    if pooling == "mean":
        total = tensor.masked_fill(~kept[..., None], 0).sum(dim=1)
        return total / kept.sum(dim=1, keepdim=True)
    # argmax returns the first of equal values, hence the first token that is kept.
    first = kept.int().argmax(dim=1)
    last = kept.shape[1] - 1 - kept.flip(1).int().argmax(dim=1)
    rows = torch.arange(len(tensor), device=tensor.device)
    return tensor[rows, first if pooling == "first" else last]


def n_parameters(net: nn.Module) -> int:
    """Return the number of parameters, without weights that a mask sets to zero."""
    layers = (nn.Linear, *CONVOLUTIONS)
    weights = [layer.weight for layer in net.modules() if isinstance(layer, layers)]
    n_zero = sum(weight.numel() - int(weight.count_nonzero()) for weight in weights)
    return sum(p.numel() for p in net.parameters()) - n_zero


def weights_of(net: nn.Module) -> list[str]:
    """Return the names of the weights of linear layers and convolutions."""
    layers = (nn.Linear, *CONVOLUTIONS)
    return [
        f"{n}.weight" if n else "weight" for n, m in net.named_modules() if isinstance(m, layers)
    ]
