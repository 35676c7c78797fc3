"""Base class of the penalties on the mask."""

from __future__ import annotations

import torch

from ..._base.estimator import Part


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
