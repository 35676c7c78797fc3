"""Rules that pool pair evidence: pairs of segments x tasks -> segments x tasks."""

from .any import AnyPair
from .base import BaseAggregation
from .cauchy import Cauchy
from .rank_one import RankOne
from .simes import Simes

__all__ = ["AnyPair", "BaseAggregation", "Cauchy", "RankOne", "Simes"]

# The short names of the parameter ``aggregation``.
AGGREGATIONS: dict[str, type[BaseAggregation]] = {
    "any": AnyPair,
    "cauchy": Cauchy,
    "rank_one": RankOne,
    "simes": Simes,
}
