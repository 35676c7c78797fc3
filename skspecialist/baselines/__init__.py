"""Baselines: estimators of the task structure with the interface of the identifier, and others."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._regularized import CCABaseline, GraphicalLassoBaseline, GroupLassoBaseline
from ._segmenters import ChangePointBaseline, HMMBaseline
from ._seltask import SelTaskBaseline

if TYPE_CHECKING:
    from ._quantized_autoencoder import QuantizedAutoencoder
    from ._sparse_autoencoder import SparseAutoencoder

__all__ = [
    "CCABaseline",
    "ChangePointBaseline",
    "GraphicalLassoBaseline",
    "GroupLassoBaseline",
    "HMMBaseline",
    "QuantizedAutoencoder",
    "SelTaskBaseline",
    "SparseAutoencoder",
]


# Torch takes seconds to import: these are imported when they are first used.
_LAZY = {
    "QuantizedAutoencoder": "_quantized_autoencoder",
    "SparseAutoencoder": "_sparse_autoencoder",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
