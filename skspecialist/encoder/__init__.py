"""Which latents each task uses."""

from ._cv import SparseSpecialistEncoderCV
from ._encoder import SparseSpecialistEncoder

__all__ = ["SparseSpecialistEncoder", "SparseSpecialistEncoderCV"]
