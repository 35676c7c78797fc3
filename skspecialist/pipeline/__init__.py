"""Structure, encoder and estimators in one object that is never worse than the generalist."""

from ._pipeline import SpecialistPipeline

__all__ = ["SpecialistPipeline"]
