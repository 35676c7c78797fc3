"""Conditional-independence tests: one file a test, all behind one seam."""

from .base import BaseIndependenceTest, IndependenceResult, ResultFlag
from .fisher_z import FisherZ
from .gcm import GCM
from .kci import KCI
from .moments import Moments
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
