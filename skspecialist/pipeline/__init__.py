"""Pipeline of generalist, structure, encoder and estimators."""

from ._classifier_regressor import SpecialistClassifier, SpecialistRegressor
from ._pipeline import SpecialistPipeline

__all__ = ["SpecialistClassifier", "SpecialistPipeline", "SpecialistRegressor"]
