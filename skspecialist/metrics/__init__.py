"""Metrics of representations, with and without a known truth."""

from ._block_r2 import block_r2
from ._consistency import consistency
from ._dci import dci
from ._dimension import intrinsic_dimension, spectral_entropy
from ._infomec import infomec
from ._mask_overlap import mask_overlap
from ._mean_correlation import mean_correlation_coefficient
from ._specialization import specialization_score
from ._stitching import stitching_score
from ._structure import match_columns, structure_scores
from ._support import support_scores

__all__ = [
    "block_r2",
    "consistency",
    "dci",
    "infomec",
    "intrinsic_dimension",
    "mask_overlap",
    "match_columns",
    "mean_correlation_coefficient",
    "specialization_score",
    "spectral_entropy",
    "stitching_score",
    "structure_scores",
    "support_scores",
]
