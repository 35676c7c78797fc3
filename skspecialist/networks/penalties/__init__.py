"""Penalties on the mask between tasks and latents."""

from ._base import BasePenalty
from .hard_concrete import HardConcrete
from .l1 import L1

__all__ = ["L1", "BasePenalty", "HardConcrete"]

# The short names of the parameter ``penalty``.
PENALTIES: dict[str, type[BasePenalty]] = {"hard_concrete": HardConcrete, "l1": L1}
