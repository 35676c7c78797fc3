"""Task structure of aligned sequences."""

from ._criteria import BaseCriterion, Collider, Direct, Selection
from ._identifier import TaskStructureIdentifier
from ._power import sequences_needed

__all__ = [
    "BaseCriterion",
    "Collider",
    "Direct",
    "Selection",
    "TaskStructureIdentifier",
    "sequences_needed",
]
