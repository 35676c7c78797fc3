"""What a penalty on the mask must provide."""

from __future__ import annotations

import torch

from ..._base.estimator import Part


class BasePenalty(Part):
    """Base of the penalties on the mask between tasks and latents.

    A new penalty is a subclass that implements :meth:`value` and :meth:`prox`, and one line
    in ``skspecialist.encoder.penalties.PENALTIES`` that gives it a short name.
    """

    _registry = "skspecialist.encoder.penalties:PENALTIES"

    def value(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the penalty.

        Parameters
        ----------
        mask : tensor of shape (..., n_tasks, n_latents)
            Non-negative.

        Returns
        -------
        value : tensor of shape (...)
            What the weight of the penalty multiplies.
        """
        raise NotImplementedError

    def prox(self, mask: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Return the ``m >= 0`` least in ``value(m) + sum((m - mask)**2 / (2 * step))``.

        Parameters
        ----------
        mask : tensor of shape (..., n_tasks, n_latents)
            Where the gradient step led.
        step : tensor of shape (..., n_tasks, n_latents)
            Step size of each entry, times the weight of the penalty.

        Returns
        -------
        mask : tensor of shape (..., n_tasks, n_latents)
            With exact zeros.
        """
        raise NotImplementedError

    def initial_logits(self, shape: tuple[int, ...]) -> torch.Tensor | None:
        """Return where random gates on the entries start, if the penalty has any.

        A penalty with gates also has ``gates(logits, sample=...)``, their values, and
        ``open_probability(logits)``, which is penalized while they learn.

        Parameters
        ----------
        shape : tuple of int
            Shape of the mask.

        Returns
        -------
        logits : tensor of this shape, or None
            None, the default, for no gates.
        """
        return None
