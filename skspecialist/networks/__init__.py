"""Networks: the only part of the package that imports torch."""

from .data import StepData
from .inference import decode, encode, predict_tasks
from .penalties import L1, BasePenalty
from .training import Settings, fit_specialist, seeded

__all__ = [
    "L1",
    "BasePenalty",
    "Settings",
    "StepData",
    "decode",
    "encode",
    "fit_specialist",
    "predict_tasks",
    "seeded",
]
