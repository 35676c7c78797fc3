"""Penalties on the mask between tasks and latents, one a file."""

from ._base import BasePenalty
from .hard_concrete import HardConcrete
from .l1 import L1

__all__ = ["L1", "BasePenalty", "HardConcrete"]
