"""What a penalty on the mask must provide."""

from __future__ import annotations

import torch

from ...parts import Part


class BasePenalty(Part, room="skspecialist.networks.penalties"):
    """Base of the penalties on the mask between tasks and latents.

    A new one is a file of this folder, named like its ``short_name``.
    """

    def value(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the penalty of a ``(n_tasks, n_components)`` mask, a scalar."""
        raise NotImplementedError

    def prox(self, mask: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Return the ``m >= 0`` least in ``value(m) + sum((m - mask)**2 / (2 * step))``.

        Parameters
        ----------
        mask : tensor of shape (n_tasks, n_components)
            Where the gradient step led.
        step : tensor of shape (n_tasks, n_components)
            Step size of each entry, times the weight of the penalty.

        Returns
        -------
        mask : tensor of shape (n_tasks, n_components)
            With exact zeros.
        """
        raise NotImplementedError
