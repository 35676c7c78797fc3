"""Generalist representations from pretrained modules, and the groups of columns that matter."""

from typing import Any

from ._ranker import FeatureGroupRanker

__all__ = ["FeatureGroupRanker", "TorchGeneralist"]


def __getattr__(name: str) -> Any:
    """Import what needs torch, which takes seconds, when it is first used."""
    if name != "TorchGeneralist":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._torch import TorchGeneralist

    return TorchGeneralist
