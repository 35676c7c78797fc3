"""Task structure of aligned sequences."""

from ._identifier import TaskStructureIdentifier

__all__ = ["TaskStructureIdentifier"]
