"""Conditional-independence tests: one file a test, all behind one seam."""

from .base import BaseIndependenceTest, IndependenceResult, ResultFlag
from .fisher_z import FisherZ
from .moments import Moments
from .wilks import Wilks

__all__ = [
    "BaseIndependenceTest",
    "FisherZ",
    "IndependenceResult",
    "Moments",
    "ResultFlag",
    "Wilks",
]
