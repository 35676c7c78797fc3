"""Baseline estimators of the task structure, with the interface of the identifier."""

from ._regularized import CCABaseline, GraphicalLassoBaseline, GroupLassoBaseline
from ._segmenters import ChangePointBaseline, HMMBaseline
from ._seltask import SelTaskBaseline

__all__ = [
    "CCABaseline",
    "ChangePointBaseline",
    "GraphicalLassoBaseline",
    "GroupLassoBaseline",
    "HMMBaseline",
    "SelTaskBaseline",
]
