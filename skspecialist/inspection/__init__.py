"""Displays of what was found, drawn with matplotlib."""

from ._mask import MaskDisplay
from ._sequence import SequenceDisplay
from ._task_structure import TaskStructureDisplay

__all__ = ["MaskDisplay", "SequenceDisplay", "TaskStructureDisplay"]
