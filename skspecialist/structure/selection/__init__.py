"""Structure of tasks that are not observed, in sequences selected for their success."""

from ._model import SelectionModel, resolve_components

__all__ = ["SelectionModel", "resolve_components"]
