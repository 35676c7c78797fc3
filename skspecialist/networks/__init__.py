"""Networks: the only part of the package that imports torch."""

from .data import StepData
from .inference import decode, encode, predict_tasks
from .penalties import L1, BasePenalty
from .training import Settings, find_width, fit_autoencoder, refit_heads, seeded

__all__ = [
    "L1",
    "BasePenalty",
    "Settings",
    "StepData",
    "decode",
    "encode",
    "find_width",
    "fit_autoencoder",
    "predict_tasks",
    "refit_heads",
    "seeded",
]
