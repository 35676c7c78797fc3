"""Structure of tasks that are not observed, in sequences selected for their success."""

from ._model import SelectionModel

__all__ = ["SelectionModel"]
