"""Baselines: estimators of the task structure with the interface of the identifier, and others."""

from typing import TYPE_CHECKING, Any

from ._regularized import CCABaseline, GraphicalLassoBaseline, GroupLassoBaseline
from ._segmenters import ChangePointBaseline, HMMBaseline
from ._seltask import SelTaskBaseline

if TYPE_CHECKING:
    from ._sparse_autoencoder import SparseAutoencoder

__all__ = [
    "CCABaseline",
    "ChangePointBaseline",
    "GraphicalLassoBaseline",
    "GroupLassoBaseline",
    "HMMBaseline",
    "SelTaskBaseline",
    "SparseAutoencoder",
]


def __getattr__(name: str) -> Any:
    if name != "SparseAutoencoder":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._sparse_autoencoder import SparseAutoencoder  # torch takes seconds to import

    return SparseAutoencoder
