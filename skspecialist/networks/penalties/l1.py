"""Sparse group lasso on the mask."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch

from ..._base.sklearn_compat import Interval
from ._base import BasePenalty


class L1(BasePenalty):
    """Mean absolute mask entry of a task, and a norm of each latent's entries over tasks.

    ``value(m) = sum_tj m_tj / n_tasks + group * sum_j norm(m_:j) / sqrt(n_tasks)``. A
    mask entry is the norm of a first-layer column of a head, so its first term is a
    group lasso [1]_ on the heads; the second drops a latent from all tasks at once [2]_.

    Parameters
    ----------
    group : float, default=0.5
        Weight of the norms of the mask's columns. The default costs a latent that all
        tasks use half as much again; 0 is the plain l1 penalty.

    References
    ----------
    .. [1] Yuan and Lin, Model selection and estimation in regression with grouped
       variables, JRSS B, 2006.
    .. [2] Simon, Friedman, Hastie and Tibshirani, A sparse-group lasso, JCGS, 2013.

    Examples
    --------
    >>> import torch
    >>> from skspecialist.networks.penalties import L1
    >>> mask = torch.tensor([[0.5, 0.1]])
    >>> L1(group=0.0).prox(mask, torch.full_like(mask, 0.2))
    tensor([[0.3000, 0.0000]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "group": [Interval(Real, 0, None, closed="left")]
    }

    def __init__(self, group: float = 0.5) -> None:
        self.group = group

    def value(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the penalty of a mask."""
        n_tasks = mask.shape[-2]
        norms = mask.norm(dim=-2).sum(dim=-1) / n_tasks**0.5
        return mask.abs().sum(dim=(-2, -1)) / n_tasks + self.group * norms

    def prox(self, mask: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Return the proximal point, exact where the steps of a column are equal."""
        # The prox of a sparse group lasso is soft thresholding, then shrinkage of the norms of
        # the groups (Simon et al. 2013, equation 12).
        n_tasks = mask.shape[-2]
        mask = (mask - step / n_tasks).clamp(min=0)
        norms = mask.norm(dim=-2, keepdim=True).clamp(min=torch.finfo(mask.dtype).tiny)
        # The step of a group is the mean of those of its entries, weighted by their size: entries
        # at zero have no curvature, hence huge steps, which must not count.
        shares = mask / mask.sum(dim=-2, keepdim=True).clamp(min=torch.finfo(mask.dtype).tiny)
        shrink = (step * shares).sum(dim=-2, keepdim=True) * self.group / n_tasks**0.5
        return mask * (1 - shrink / norms).clamp(min=0)
