"""Networks: the only part of the package that imports torch."""

from .checkpoint import Checkpoints
from .data import StepData
from .inference import decode, encode, head_slopes, predict_tasks
from .layers import only_group
from .localization import (
    ScorerSettings,
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
    "only_group",
    "pool_scores",
    "predict_tasks",
    "score_steps",
    "seeded",
    "step_latents",
    "train_scorers",
]
