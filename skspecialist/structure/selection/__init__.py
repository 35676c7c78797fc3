"""Structure when tasks are not observed: sequences recorded because their tasks succeeded."""

from .model import SelectionModel

__all__ = ["SelectionModel"]
