"""Conditional-independence tests."""

from ._base import BaseIndependenceTest, IndependenceResult, ResultFlag
from ._cmi import CMI
from ._frechet import FrechetCovariance
from ._gaussian import FisherZ, Wilks
from ._gcm import GCM
from ._kci import KCI
from ._moments import Moments
from ._pcm import PCM
from ._rcit import RCIT
from ._stratified import Stratified

__all__ = [
    "CMI",
    "GCM",
    "KCI",
    "PCM",
    "RCIT",
    "BaseIndependenceTest",
    "FisherZ",
    "FrechetCovariance",
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
    "frechet": FrechetCovariance,
    "gcm": GCM,
    "kci": KCI,
    "pcm": PCM,
    "rcit": RCIT,
    "stratified": Stratified,
    "wilks": Wilks,
}


def __dir__() -> list[str]:
    return __all__
