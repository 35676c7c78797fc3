"""Localization of tasks in sequences that are not aligned, from weak labels."""

from ._localizer import TaskLocalizer

__all__ = ["TaskLocalizer"]
