"""Generalist representations: pretrained modules, groups of columns, shared spaces."""

from typing import Any

from ._ranker import FeatureGroupRanker
from ._reduction import SufficientReduction
from ._spaces import RelativeRepresentation, SpaceAligner

__all__ = [
    "FeatureGroupRanker",
    "RelativeRepresentation",
    "SpaceAligner",
    "SufficientReduction",
    "TorchGeneralist",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch, which takes seconds, when it is first used."""
    if name != "TorchGeneralist":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._torch import TorchGeneralist

    return TorchGeneralist
