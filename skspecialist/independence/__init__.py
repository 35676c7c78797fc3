"""Conditional-independence tests: one file a test, all behind one seam."""

from .._stats.moments import Moments
from .base import BaseIndependenceTest, IndependenceResult, ResultFlag
from .fisher_z import FisherZ
from .gcm import GCM
from .kci import KCI
from .rcit import RCIT
from .stratified import Stratified
from .wilks import Wilks

__all__ = [
    "GCM",
    "KCI",
    "RCIT",
    "BaseIndependenceTest",
    "FisherZ",
    "IndependenceResult",
    "Moments",
    "ResultFlag",
    "Stratified",
    "Wilks",
]
