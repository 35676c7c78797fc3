"""Sparse encoders and selectors: the part of a representation that each task uses."""

from ._encoder import SparseSpecialistEncoder, SparseSpecialistEncoderCV
from ._selector import SparseMultiTaskSelector, SparseMultiTaskSelectorCV

__all__ = [
    "SparseMultiTaskSelector",
    "SparseMultiTaskSelectorCV",
    "SparseSpecialistEncoder",
    "SparseSpecialistEncoderCV",
]
