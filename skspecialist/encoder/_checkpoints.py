"""Where a fit is saved while it runs."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from ..networks.checkpoint import Checkpoints
from ..networks.data import StepData
from ._training import Settings

__all__ = ["open_checkpoints"]


def open_checkpoints(
    encoder: Any, data: StepData, settings: Settings, seed: int, previous: Any
) -> Checkpoints | None:
    """Return the files of a fit, if its encoder is told to save it.

    Raises
    ------
    ValueError
        If the fit could not go on from them, or the directory cannot be used.
    """
    if encoder.checkpoint_dir is None:
        return None
    if not isinstance(encoder.random_state, Integral):
        raise ValueError(
            "With checkpoint_dir a fit goes on with the same random numbers: random_state "
            f"must be an integer, got {encoder.random_state!r}."
        )
    if encoder.callbacks:
        raise ValueError(
            "checkpoint_dir and callbacks exclude each other, because the state of a callback "
            "is not saved: set one of them to None."
        )
    return Checkpoints(encoder.checkpoint_dir, data, settings, seed, previous)
