"""Penalties on the mask between tasks and latents."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar

import torch

from .._base.estimator import Part
from .._base.sklearn_compat import Interval

__all__ = ["L1", "BasePenalty", "HardConcrete"]


class BasePenalty(Part):
    """Base of the penalties on the mask between tasks and latents.

    A new penalty is a subclass that implements :meth:`value` and :meth:`prox`, and one line
    in ``skspecialist.networks.penalties.PENALTIES`` that gives it a short name.
    """

    _registry = "skspecialist.networks.penalties:PENALTIES"
    has_gates = False  # whether random gates on the entries are penalized, not the mask

    def value(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the penalty.

        Parameters
        ----------
        mask : tensor of shape (..., n_tasks, n_latents)
            Non-negative.

        Returns
        -------
        value : tensor of shape (...)
            Values before multiplication by the weight of the penalty.
        """
        raise NotImplementedError

    def prox(self, mask: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Return the ``m >= 0`` that minimizes ``value(m) + sum((m - mask)**2 / (2 * step))``.

        Parameters
        ----------
        mask : tensor of shape (..., n_tasks, n_latents)
            Result of the gradient step.
        step : tensor of shape (..., n_tasks, n_latents)
            Step size of each entry, times the weight of the penalty.

        Returns
        -------
        mask : tensor of shape (..., n_tasks, n_latents)
            With exact zeros.
        """
        raise NotImplementedError

    def initial_logits(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the initial parameters of random gates on the entries, for ``has_gates``.

        Such a penalty also implements ``gates(logits, sample=...)``, the values of the gates,
        and ``open_probability(logits)``, which is penalized by the gradient.

        Parameters
        ----------
        shape : tuple of int
            Shape of the mask.

        Returns
        -------
        logits : tensor of this shape
            Parameters that are learned.
        """
        raise NotImplementedError


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


# Interval to which the relaxed gates are stretched before they are clipped to [0, 1], gamma and
# zeta of the reference, equation 10: zero and one then have positive probability.
STRETCH = (-0.1, 1.1)
# Logits move from 3 to about -2.4, where a gate is closed, ten times as far as mask entries: the
# parameters are logits over ten, so that one learning rate suits both.
SPEED = 10.0


class HardConcrete(BasePenalty):
    """Mean probability that a gate on a mask entry is open.

    Each entry of the mask is multiplied by a gate, which in training is a sigmoid of
    logistic noise around a logit, stretched beyond 0 and 1 and clipped to them [1]_: it is
    exactly 0 or 1 most of the time, and has a gradient. Unlike an l1 penalty it does not
    shrink the entries that it keeps.

    Parameters
    ----------
    temperature : float, default=2/3
        Temperature of the sigmoid, below 1: the lower, the closer the gates are to 0 or 1 and
        the more the gradient varies. The default is that of the reference.
    init : float, default=3.0
        Initial logit of each gate; with the default 98 of 100 gates are open.

    References
    ----------
    .. [1] Louizos, Welling and Kingma, Learning sparse neural networks through L0
       regularization, ICLR 2018.

    Examples
    --------
    >>> import torch
    >>> from skspecialist.networks.penalties import HardConcrete
    >>> HardConcrete().gates(torch.tensor([-0.4, 0.0, 0.4]), sample=False)
    tensor([0.0000, 0.5000, 1.0000])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "temperature": [Interval(Real, 0, 1, closed="neither")],
        "init": [Interval(Real, None, None, closed="neither")],
    }

    has_gates = True

    def __init__(self, temperature: float = 2 / 3, init: float = 3.0) -> None:
        self.temperature = temperature
        self.init = init

    def initial_logits(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the parameters of gates that are open: logits over ``SPEED``."""
        return torch.full(shape, float(self.init) / SPEED)

    def gates(self, logits: torch.Tensor, *, sample: bool) -> torch.Tensor:
        """Return the gates.

        Parameters
        ----------
        logits : tensor
            Parameters of the gates.
        sample : bool
            Whether to draw the noise, or to use its median, zero.

        Returns
        -------
        gates : tensor, like ``logits``
            Within [0, 1], the ends included.
        """
        low, high = STRETCH
        logits = SPEED * logits
        if sample:
            # Equation 10 of the reference: s = sigmoid((logit(u) + log alpha) / temperature).
            noise = torch.rand(logits.shape).to(logits).clamp(1e-6, 1 - 1e-6)
            logits = (noise.logit() + logits) / self.temperature
        return (logits.sigmoid() * (high - low) + low).clamp(0, 1)

    def value(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the share of the entries of a mask that are not zero."""
        return (mask != 0).float().mean(dim=(-2, -1))

    def open_probability(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the expected share of open gates, which is differentiable.

        Parameters
        ----------
        logits : tensor of shape (..., n_tasks, n_latents)
            Parameters of the gates.

        Returns
        -------
        probability : tensor of shape (...)
            Mean probability that a gate is not zero.
        """
        # Equation 12 of the reference: P(s > 0) = sigmoid(log alpha - temperature log(-low/high)).
        low, high = STRETCH
        threshold = self.temperature * math.log(-low / high)
        return (SPEED * logits - threshold).sigmoid().mean(dim=(-2, -1))

    def prox(self, mask: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Return the mask: the gates alone are penalized."""
        return mask.clamp(min=0)


# The short names of the parameter ``penalty``.
PENALTIES: dict[str, type[BasePenalty]] = {"hard_concrete": HardConcrete, "l1": L1}
