"""What a user would otherwise pick, behind the same seam as the structure identifier."""

from .cca import CCABaseline
from .change_point import ChangePointBaseline
from .graphical_lasso import GraphicalLassoBaseline
from .group_lasso import GroupLassoBaseline
from .hmm import HMMBaseline
from .seltask import SelTaskBaseline

__all__ = [
    "CCABaseline",
    "ChangePointBaseline",
    "GraphicalLassoBaseline",
    "GroupLassoBaseline",
    "HMMBaseline",
    "SelTaskBaseline",
]
