"""Warnings of the library."""

import sys
import warnings

__all__ = ["SpecialistWarning"]


class SpecialistWarning(UserWarning):
    """A valid result that deserves a look before it is relied on."""


# Packages whose frames may stand between a warning and the line of the caller.
_INTERNAL = ("skspecialist.", "sklearn.", "skorch.", "joblib.", "contextlib.")


def warn(message: str) -> None:
    """Issue a :class:`SpecialistWarning` at the caller's line.

    The line is that of the innermost frame outside this library, and the packages it is
    called through: decorators and meta-estimators add frames, so that no fixed
    ``stacklevel`` is right.

    Parameters
    ----------
    message : str
        Text of the warning.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_internal(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, SpecialistWarning, stacklevel=level)


def _is_internal(module: str) -> bool:
    return f"{module}.".startswith(_INTERNAL)
