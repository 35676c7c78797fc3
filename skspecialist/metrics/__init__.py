"""Metrics of representations, with and without a known truth."""

from ._infomec import infomec
from ._masks import consistency, mask_overlap, match_columns, structure_scores, support_scores
from ._recovery import block_r2, dci, mean_correlation_coefficient
from ._spaces import (
    diversity_score,
    intrinsic_dimension,
    specialization_score,
    spectral_entropy,
    stitching_score,
)

__all__ = [
    "block_r2",
    "consistency",
    "dci",
    "diversity_score",
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
