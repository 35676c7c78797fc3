"""Networks: the only part of the package that imports torch."""

from .checkpoint import Checkpoints
from .data import StepData
from .inference import decode, encode, head_slopes, predict_tasks
from .localization import (
    ScorerSettings,
    keep_first,
    pool_scores,
    score_steps,
    step_latents,
    train_scorers,
)
from .penalties import L1, BasePenalty, HardConcrete
from .search import Path
from .specialist import Fit, fit_specialist
from .training import Settings, seeded

__all__ = [
    "L1",
    "BasePenalty",
    "Checkpoints",
    "Fit",
    "HardConcrete",
    "Path",
    "ScorerSettings",
    "Settings",
    "StepData",
    "decode",
    "encode",
    "fit_specialist",
    "head_slopes",
    "keep_first",
    "pool_scores",
    "predict_tasks",
    "score_steps",
    "seeded",
    "step_latents",
    "train_scorers",
]
