"""Scores against known truth."""

from ._block_r2 import block_r2
from ._structure import structure_scores
from ._support import support_scores

__all__ = ["block_r2", "structure_scores", "support_scores"]
