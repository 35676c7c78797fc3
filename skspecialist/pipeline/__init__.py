"""Pipeline of generalist, structure, encoder and estimators."""

from ._pipeline import SpecialistPipeline

__all__ = ["SpecialistPipeline"]
