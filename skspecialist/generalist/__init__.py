"""Generalist representations: pretrained modules, groups of columns, shared spaces."""

from importlib import import_module
from typing import Any

from ._ranker import FeatureGroupRanker
from ._reduction import SufficientReduction
from ._spaces import RelativeRepresentation, SpaceAligner
from ._task_groups import TaskGrouper

__all__ = [
    "FeatureGroupRanker",
    "PruneThenFinetune",
    "RelativeRepresentation",
    "SpaceAligner",
    "SufficientReduction",
    "TaskGrouper",
    "TorchGeneralist",
]

_TORCH = {"PruneThenFinetune": "_prune_then_finetune", "TorchGeneralist": "_torch"}


def __getattr__(name: str) -> Any:
    """Import what needs torch, which takes seconds, when it is first used."""
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_TORCH[name]}", __name__), name)
