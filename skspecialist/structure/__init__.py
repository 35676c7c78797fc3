"""Task structure of aligned sequences."""

from ._assumptions import check_assumptions
from ._criteria import BaseCriterion, Collider, Direct, Selection
from ._identifier import TaskStructureIdentifier
from ._power import sequences_needed

__all__ = [
    "BaseCriterion",
    "Collider",
    "Direct",
    "Selection",
    "TaskStructureIdentifier",
    "check_assumptions",
    "sequences_needed",
]
