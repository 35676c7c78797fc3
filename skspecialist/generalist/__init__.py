"""Generalist representations from pretrained modules."""

from ._torch import TorchGeneralist

__all__ = ["TorchGeneralist"]
