"""Which steps of each sequence belong to which task, for sequences that do not align."""

from ._localizer import TaskLocalizer

__all__ = ["TaskLocalizer"]
