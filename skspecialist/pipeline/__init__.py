"""Pipeline of generalist, structure, encoder and estimators."""

from ._pipeline import SpecialistClassifier, SpecialistPipeline, SpecialistRegressor

__all__ = ["SpecialistClassifier", "SpecialistPipeline", "SpecialistRegressor"]
