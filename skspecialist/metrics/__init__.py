"""Metrics of recovery against known truth."""

from ._block_r2 import block_r2
from ._consistency import consistency
from ._dci import dci
from ._infomec import infomec
from ._mean_correlation import mean_correlation_coefficient
from ._specialization import specialization_score
from ._structure import match_columns, structure_scores
from ._support import support_scores

__all__ = [
    "block_r2",
    "consistency",
    "dci",
    "infomec",
    "match_columns",
    "mean_correlation_coefficient",
    "specialization_score",
    "structure_scores",
    "support_scores",
]
