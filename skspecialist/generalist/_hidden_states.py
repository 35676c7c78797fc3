"""Hidden states of a module that somebody else trained, and that is left as it was."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..encoder._training import seeded

__all__ = ["HiddenStates"]

# Modes and devices of modules and torch's generator belong to all threads.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class HiddenStates:
    """Reads hidden states of a module; the parameters are those of ``TorchGeneralist``."""

    module: Callable[..., Any]
    layer: str | None
    pooling: str | Callable[[Any], Any] | None
    input_shape: tuple[int, ...] | None
    preprocess: Callable[[torch.Tensor], Any] | None
    batch_size: int
    device: str | None
    verbose: int

    def n_features(self, rows: np.ndarray) -> int:
        """Return how many hidden states each of a few rows has."""
        with self._module_at_work():
            return self._batch(rows).shape[1]

    def read(self, rows: np.ndarray, n_features: int) -> np.ndarray:
        """Return the hidden states (n_rows, n_features), in the dtype of the rows.

        Raises
        ------
        ValueError
            If a batch has another number of hidden states, or cannot be read.
        """
        states = np.empty((len(rows), n_features), rows.dtype)
        starts = tqdm(
            range(0, len(rows), self.batch_size), desc="hidden states", disable=not self.verbose
        )
        with self._module_at_work():
            for start in starts:
                batch = self._batch(rows[start : start + self.batch_size])
                if batch.shape[1] != n_features:
                    raise ValueError(
                        f"{self._source} gave {batch.shape[1]} features for each row, but "
                        f"{n_features} in fit. If tokens are padded to the longest row of a "
                        "batch, set pooling, or pad to a fixed length."
                    )
                states[start : start + len(batch)] = batch
        return states

    @property
    def _source(self) -> str:
        return "module" if self.layer is None else f"layer={self.layer!r}"

    @cached_property
    def _owner(self) -> nn.Module | None:
        """The module whose mode and device count, also behind a method or a partial."""
        owner = self.module
        while isinstance(owner, partial):
            owner = owner.func
        owner = getattr(owner, "__self__", owner)
        return owner if isinstance(owner, nn.Module) else None

    @cached_property
    def _home(self) -> torch.device | None:
        """Where the module is, or its first part; None for one without weights."""
        owner = self._owner
        return None if owner is None else next((t.device for t in _tensors(owner)), None)

    @cached_property
    def _place(self) -> str:
        """Where inputs go."""
        return self.device or str(self._home or "cpu")

    @contextmanager
    def _module_at_work(self) -> Iterator[None]:
        with _ONE_AT_A_TIME, torch.no_grad(), seeded(0, self._place):
            if self._owner is None:
                yield
                return
            with _evaluating(self._owner), self._moved(self._owner):
                yield

    @contextmanager
    def _moved(self, owner: nn.Module) -> Iterator[None]:
        if self.device is None or self._home is None:
            yield
            return
        if len({tensor.device for tensor in _tensors(owner)}) > 1:
            raise ValueError(
                f"device={self.device!r}, but module is spread over several devices: leave "
                "device=None to use it where it is."
            )
        try:
            owner.to(self._place)
            yield
        finally:
            owner.to(self._home)

    def _batch(self, rows: np.ndarray) -> np.ndarray:
        """Return the hidden states of one batch."""
        inputs = self._inputs(rows)
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        found: list[np.ndarray] = []

        def keep(output: Any) -> None:
            # A layer that runs more than once counts as it ran last.
            found[:] = [self._flat(output, mask, len(rows)).astype(rows.dtype)]

        with nullcontext() if self.layer is None else _watched(self._find_layer(), keep):
            output = _call(self.module, inputs)
        if self.layer is None:
            keep(output)
        if not found:
            raise ValueError(f"module did not run its {self._source} on these rows.")
        n_bad = np.sum(~np.isfinite(found[0]).all(axis=1))
        if n_bad:
            raise ValueError(
                f"{self._source} gave NaN or infinite values in {n_bad} of {len(rows)} rows. "
                "Numbers overflow easily in half precision, or if rows are not scaled as the "
                "module expects."
            )
        return found[0]

    def _inputs(self, rows: np.ndarray) -> Any:
        """Return what the module takes."""
        batch = torch.from_numpy(rows.copy())  # the module may work in place
        if self.input_shape is not None:
            if math.prod(self.input_shape) != rows.shape[1]:
                raise ValueError(
                    f"input_shape={self.input_shape} has {math.prod(self.input_shape)} numbers, "
                    f"but a row has {rows.shape[1]} features."
                )
            batch = batch.reshape(len(rows), *self.input_shape)
        dtype = None
        if self._owner is not None:
            weights = (p.dtype for p in self._owner.parameters() if p.is_floating_point())
            dtype = next(weights, None)
        prepared = batch if self.preprocess is None else self.preprocess(batch)
        return _placed(prepared, self._place, dtype)

    def _find_layer(self) -> nn.Module:
        if self._owner is None:
            raise ValueError(
                f"{self._source} needs a torch.nn.Module, or a method of one, but module is a "
                f"{type(self.module).__name__}."
            )
        layers = dict(self._owner.named_modules(remove_duplicate=False))
        if self.layer not in layers:
            near = get_close_matches(str(self.layer), layers, n=5, cutoff=0.4)
            names = near or [name for name, _ in self._owner.named_children()]
            raise ValueError(
                f"module has no {self._source}; {'near' if near else 'some'} names are: "
                f"{', '.join(map(repr, names)) or 'none'}."
            )
        return layers[self.layer]

    def _flat(self, output: Any, mask: torch.Tensor | None, n_rows: int) -> np.ndarray:
        """Return what came out, as one vector for each row."""
        tensor = self._tensor(self.pooling(output) if callable(self.pooling) else output)
        if not tensor.ndim or len(tensor) != n_rows:
            raise ValueError(
                f"{self._source} gave shape {tuple(tensor.shape)} for a batch of {n_rows} rows"
                f"{' (after pooling)' if callable(self.pooling) else ''}; "
                "the first axis must be the rows (batch_first=True in torch's own layers)."
            )
        tensor = tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))
        if isinstance(self.pooling, str):
            tensor = _pooled(tensor, self.pooling, mask)
        # A copy, because later layers may work in place.
        return tensor.reshape(n_rows, -1).to("cpu", copy=True).numpy()

    def _tensor(self, output: Any) -> torch.Tensor:
        """Return the one tensor that is meant."""
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
            f"{self._source} gave a {type(output).__name__}{keys}, and which tensor of it is "
            "meant is not clear: pick it with a callable as pooling, such as "
            "operator.itemgetter('name')."
        )


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    return chain(module.parameters(), module.buffers())


@contextmanager
def _evaluating(owner: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into its own."""
    modes = [(part, part.training) for part in owner.modules()]
    try:
        owner.eval()
        yield
    finally:
        for part, training in modes:
            if part.training != training:
                part.train(training)


@contextmanager
def _watched(layer: nn.Module, keep: Callable[[Any], None]) -> Iterator[None]:
    """Keep what a layer gives to this thread; others may use the module as well."""
    thread = threading.get_ident()

    def hook(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            keep(output)

    handle = layer.register_forward_hook(hook)
    # Before torch 2.5 a fused block passes its parts by, and their hooks.
    is_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fused)
        handle.remove()


def _placed(value: Any, place: str, dtype: torch.dtype | None) -> Any:
    """Return inputs on a device, floats in a dtype."""
    if isinstance(value, torch.Tensor):
        return value.to(device=place, dtype=dtype if value.is_floating_point() else None)
    if isinstance(value, np.ndarray):
        return _placed(torch.from_numpy(value), place, dtype)
    if isinstance(value, Mapping):
        return {name: _placed(part, place, dtype) for name, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_placed(part, place, dtype) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def _call(module: Callable[..., Any], inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return module(**inputs)
    if isinstance(inputs, tuple):
        return module(*inputs)
    return module(inputs)


def _pooled(tensor: torch.Tensor, pooling: str, mask: torch.Tensor | None) -> torch.Tensor:
    """Return one vector (n_rows, n_features) from those of the tokens that are no padding."""
    if tensor.ndim > 3:  # of a convolution: (n_rows, channels, positions ...)
        tensor = tensor.flatten(2).transpose(1, 2)
    if tensor.ndim < 3:
        raise ValueError(
            f"pooling={pooling!r} needs an axis of tokens, (n_rows, n_tokens, n_features), but "
            f"the shape is {tuple(tensor.shape)}: set pooling=None."
        )
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
    first = kept.int().argmax(dim=1)
    last = kept.shape[1] - 1 - kept.flip(1).int().argmax(dim=1)
    rows = torch.arange(len(tensor), device=tensor.device)
    return tensor[rows, first if pooling == "first" else last]
