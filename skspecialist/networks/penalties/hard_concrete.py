"""Hard concrete penalty: random gates on the entries of the mask."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar

import torch

from ..._base.sklearn_compat import Interval
from ._base import BasePenalty

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
            noise = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
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
