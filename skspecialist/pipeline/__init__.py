"""Pipeline of generalist, structure, encoder and estimators."""

from ._pipeline import SpecialistClassifier, SpecialistPipeline, SpecialistRegressor
from ._router import SpecialistRouter

__all__ = [
    "SpecialistClassifier",
    "SpecialistPipeline",
    "SpecialistRegressor",
    "SpecialistRouter",
]
