"""Networks: the only part of the package that imports torch."""

from .data import StepData
from .inference import decode, encode, head_slopes, predict_tasks
from .penalties import L1, BasePenalty, HardConcrete
from .search import Path
from .specialist import Fit, fit_specialist
from .training import Settings, seeded

__all__ = [
    "L1",
    "BasePenalty",
    "Fit",
    "HardConcrete",
    "Path",
    "Settings",
    "StepData",
    "decode",
    "encode",
    "fit_specialist",
    "head_slopes",
    "predict_tasks",
    "seeded",
]
