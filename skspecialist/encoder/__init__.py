"""Sparse encoders and selectors: the part of a representation that each task uses."""

from ._encoder import SparseSpecialistEncoder
from ._encoder_cv import SparseSpecialistEncoderCV
from ._nuisance import NuisanceRemover
from ._rotation import SparseRotation, sparse_rotation
from ._selector import SparseMultiTaskSelector, SparseMultiTaskSelectorCV
from ._separability import inseparable_groups, select_support

__all__ = [
    "NuisanceRemover",
    "SparseMultiTaskSelector",
    "SparseMultiTaskSelectorCV",
    "SparseRotation",
    "SparseSpecialistEncoder",
    "SparseSpecialistEncoderCV",
    "inseparable_groups",
    "select_support",
    "sparse_rotation",
]
