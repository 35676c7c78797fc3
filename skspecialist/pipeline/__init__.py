"""Pipeline of generalist, structure, encoder and estimators."""

from typing import Any

from ._pipeline import SpecialistClassifier, SpecialistPipeline, SpecialistRegressor

__all__ = [
    "SpecialistClassifier",
    "SpecialistPipeline",
    "SpecialistRegressor",
    "SpecialistRouter",
]


def __getattr__(name: str) -> Any:
    """Import the router, which a pipeline does not need, when it is first used."""
    if name != "SpecialistRouter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._router import SpecialistRouter

    return SpecialistRouter
