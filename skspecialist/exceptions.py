"""Warnings of the library."""

__all__ = ["SpecialistWarning"]


class SpecialistWarning(UserWarning):
    """A result that is valid but that the user should look at before relying on it."""
