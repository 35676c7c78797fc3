"""The autoencoder: relevant latents, their complement, and the decoder of both."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..networks.layers import Encoders, GroupedMLP
from ..networks.portable import Portable
from ._bottlenecks import Bottlenecks, divergence


class SpecialistAutoencoder(Portable):
    """Latents that the tasks read, latents that only the decoder reads, and the decoder.

    The first latents are learned from the tasks and stay as they are while the others
    learn what else reconstruction needs: it can pull nothing into the first.

    Parameters
    ----------
    bottleneck : Bottlenecks
        Trained, of one group.
    n_features : int
        Number of features.
    hidden : sequence of int or None
        Hidden layers of the complement's encoder and, reversed, of the decoder. None:
        the latents are the features, and there is nothing else.
    n_latents : int
        Number of all latents.
    beta : float
        Weight of the divergence of the latents from a standard normal distribution.
    independence_weight : float
        Weight of the dependence between the two groups of latents.
    """

    def __init__(
        self,
        bottleneck: Bottlenecks,
        n_features: int,
        hidden: Sequence[int] | None,
        n_latents: int,
        *,
        beta: float = 0.0,
        independence_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.bottleneck = bottleneck.requires_grad_(False)
        self.n_latents, self.beta, self.independence_weight = n_latents, beta, independence_weight
        self.n_relevant = bottleneck.encoders.n_latents
        n_others = n_latents - self.n_relevant
        self.complement = self.decoder = None
        if n_others > 0:
            self.complement = Encoders(n_features, hidden, n_others, variational=beta > 0)
        if hidden is not None:
            self.decoder = GroupedMLP([n_latents, *hidden[::-1], n_features], 1)

    def task_mask(self) -> torch.Tensor:
        """Return the mask (n_tasks, n_latents), zero for the complement."""
        mask = self.bottleneck.task_mask()[0]
        return torch.nn.functional.pad(mask, (0, self.n_latents - self.n_relevant))

    def encode(self, rows: torch.Tensor) -> torch.Tensor:
        """Return all latents of ``rows``, (n_rows, n_latents)."""
        parts = [self.bottleneck.encoders(rows)[0][0]]
        if self.complement is not None:
            parts.append(self.complement(rows)[0][0])
        return torch.cat(parts, dim=1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the standardized features of ``(n_rows, n_latents)`` latents."""
        return latents if self.decoder is None else self.decoder(latents)[0]

    def train(self, mode: bool = True) -> SpecialistAutoencoder:
        """Switch all parts but the relevant latents, which are never trained here."""
        super().train(mode)
        self.bottleneck.eval()
        return self

    def forward(self, X: torch.Tensor, step_weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the losses need."""
        rows = X.flatten(0, 1)
        with torch.no_grad():
            relevant = self.bottleneck.encoders(rows)[0][0]
        result, parts = {}, [relevant]
        if self.complement is not None:
            means, log_variances = self.complement(rows)
            parts.append(means[0])
            if log_variances is not None:
                result["divergence"] = divergence(means, log_variances)
                if self.training:
                    noise = (log_variances[0] / 2).exp() * torch.randn_like(means[0])
                    parts[1] = parts[1] + noise
            if self.independence_weight > 0 and relevant.shape[1] > 0:
                result["dependence"] = kernel_alignment(relevant, means[0])
        result["errors"] = self.decode(torch.cat(parts, dim=1)) - rows
        return result

    def losses(
        self, forward: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the objective, each a mean over what it runs over."""
        parts = {"reconstruction_loss": (forward["errors"] ** 2).mean()}
        if "divergence" in forward:
            parts["divergence_loss"] = self.beta * forward["divergence"]
        if "dependence" in forward:
            parts["dependence_loss"] = self.independence_weight * forward["dependence"]
        return parts


def kernel_alignment(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the cosine between the centered Gaussian kernel matrices of two sets of columns.

    It is the Hilbert-Schmidt independence criterion scaled to [0, 1]: near 0 for
    independent columns, whatever their relation. Columns should have unit variance.
    """
    kernels = []
    for columns in (x, y):
        squares = columns.square().sum(dim=1)
        distances = squares[:, None] + squares - 2 * columns @ columns.T
        kernel = (-distances / (2 * columns.shape[1])).exp()
        kernel = kernel - kernel.mean(dim=0) - kernel.mean(dim=1)[:, None] + kernel.mean()
        kernels.append(kernel)
    first, second = kernels
    return (first * second).sum() / (first.norm() * second.norm()).clamp(min=1e-12)
