"""Conditional-independence tests."""

from .._stats.moments import Moments
from .base import BaseIndependenceTest, IndependenceResult, ResultFlag
from .cmi import CMI
from .fisher_z import FisherZ
from .gcm import GCM
from .kci import KCI
from .rcit import RCIT
from .stratified import Stratified
from .wilks import Wilks

__all__ = [
    "CMI",
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

# The short names of the parameter ``independence_test``. None of the modules imports torch:
# CMI does in its first test.
TESTS: dict[str, type[BaseIndependenceTest]] = {
    "cmi": CMI,
    "fisher_z": FisherZ,
    "gcm": GCM,
    "kci": KCI,
    "rcit": RCIT,
    "stratified": Stratified,
    "wilks": Wilks,
}


def __dir__() -> list[str]:
    return __all__
