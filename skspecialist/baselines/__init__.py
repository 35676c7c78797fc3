"""Baseline estimators of the task structure, with the interface of the identifier."""

from ._cca import CCABaseline
from ._graphical_lasso import GraphicalLassoBaseline
from ._group_lasso import GroupLassoBaseline
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
