"""Rules that pool pair evidence: pairs of segments x tasks -> segments x tasks."""

from .any import AnyPair
from .base import BaseAggregation
from .cauchy import Cauchy
from .rank_one import RankOne
from .simes import Simes

__all__ = ["AnyPair", "BaseAggregation", "Cauchy", "RankOne", "Simes"]
