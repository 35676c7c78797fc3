"""Callbacks of the user."""

from __future__ import annotations

import copy
from typing import Any

__all__ = ["check_callbacks"]


def check_callbacks(callbacks: list[Any] | None) -> list[Any]:
    """Return copies of callbacks, so that a fit does not change those of another.

    Parameters
    ----------
    callbacks : list or None
        Callbacks of skorch, their classes, or pairs of a name and one of these.

    Returns
    -------
    callbacks : list
        The same.

    Raises
    ------
    TypeError
        If one of them is no callback.
    """
    for callback in callbacks or []:
        if not hasattr(callback[-1] if isinstance(callback, tuple) else callback, "on_epoch_end"):
            raise TypeError(
                "callbacks must be callbacks of skorch, their classes, or pairs (name, callback); "
                f"got {callback!r}."
            )
    return copy.deepcopy(callbacks or [])
