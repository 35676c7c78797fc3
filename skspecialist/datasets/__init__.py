"""Data with known ground truth: generators, and cases of real text."""

from ._digit_factors import make_digit_factors
from ._sequences import make_collider_sequences, make_digit_sequences
from ._shape_factors import make_shape_factors
from ._specialist_latents import make_specialist_latents
from ._text_cases import load_text_cases

__all__ = [
    "load_text_cases",
    "make_collider_sequences",
    "make_digit_factors",
    "make_digit_sequences",
    "make_shape_factors",
    "make_specialist_latents",
]
