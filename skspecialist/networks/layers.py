"""Layers of several equal networks side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from .portable import Portable, Weights

SLOPE = 0.2
CHUNK = 8192  # rows that are passed at once where no gradient is needed


def uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Return weights drawn between plus and minus one over the root of ``fan_in``."""
    return nn.Parameter((torch.rand(shape) * 2 - 1) * fan_in**-0.5)


class GroupedMLP(Portable):
    """The same multilayer perceptron ``n_groups`` times, each with weights of its own.

    One product of batches of matrices serves all of them: small networks cost more in
    calls than in arithmetic.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden units of each layer, outputs.
    n_groups : int
        Number of networks.
    """

    def __init__(self, sizes: Sequence[int], n_groups: int) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.weights = Weights(uniform(n_groups, a, b, fan_in=a) for a, b in pairs)
        self.biases = Weights(uniform(n_groups, 1, b, fan_in=a) for a, b in pairs)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return outputs (n_groups, n_rows, n_outputs) of rows, of every group or shared."""
        hidden = rows.expand(len(self.weights[0]), *rows.shape[-2:])
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if index > 0:
                hidden = functional.leaky_relu(hidden, SLOPE)
            hidden = torch.baddbmm(bias, hidden, weight)
        return hidden


class Encoders(Portable):
    """Features to latents of unit variance, in groups.

    Without a fixed variance the latents would grow as the mask shrinks, and no penalty
    on the mask would bite.

    Parameters
    ----------
    n_features : int
        Columns in.
    hidden : sequence of int or None
        Hidden layers. None takes the features themselves, as they are, for the latents.
    n_latents : int
        Columns out.
    n_groups : int, default=1
        Number of encoders.
    variational : bool, default=False
        Whether they give variances of the latents too.
    noise : float or sequence of float of length n_groups, default=0.0
        Standard deviation of what is added to the features while training.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    noise: torch.Tensor
    grouped_buffers = ("mean", "variance", "noise")

    def __init__(
        self,
        n_features: int,
        hidden: Sequence[int] | None,
        n_latents: int,
        n_groups: int = 1,
        variational: bool = False,
        noise: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        self.n_latents, self.n_groups, self.variational = n_latents, n_groups, variational
        self.layers = None
        if hidden is not None:
            sizes = [n_features, *hidden, n_latents * (1 + variational)]
            self.layers = GroupedMLP(sizes, n_groups)
        self.register_buffer("mean", torch.zeros(n_groups, 1, n_latents))
        self.register_buffer("variance", torch.ones(n_groups, 1, n_latents))
        self.register_buffer("noise", torch.tensor(noise).expand(n_groups).clone()[:, None, None])

    def forward(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return means (n_groups, n_rows, n_latents) and log variances (None without)."""
        if self.layers is None:
            return X[:, : self.n_latents].expand(self.n_groups, -1, -1), None
        if self.training and self.noise.any():
            X = X + self.noise * torch.randn_like(X)
        raw = self.layers(X)
        means = raw[..., : self.n_latents]
        if self.training and self.n_latents:
            variance, mean = torch.var_mean(means, dim=1, correction=0, keepdim=True)
        else:
            mean, variance = self.mean, self.variance
        means = (means - mean) * torch.rsqrt(variance + torch.finfo(torch.float32).eps)
        return means, raw[..., self.n_latents :].clamp(-10, 4) if self.variational else None

    @torch.no_grad()
    def encode_rows(self, X: torch.Tensor) -> torch.Tensor:
        """Return the latents (n_groups, n_rows, n_latents) of many rows, a chunk at a time."""
        return torch.cat([self(chunk)[0] for chunk in chunks(X)], dim=1)

    @torch.no_grad()
    def trim(self, n_latents: int) -> None:
        """Drop all latents but the first."""
        if self.layers is not None:
            for parameter in (self.layers.weights[-1], self.layers.biases[-1]):
                parts = parameter.data.split(self.n_latents, dim=2)
                parameter.data = torch.cat([part[..., :n_latents] for part in parts], dim=2)
        self.mean, self.variance = self.mean[..., :n_latents], self.variance[..., :n_latents]
        self.n_latents = n_latents

    @torch.no_grad()
    def freeze(self, X: torch.Tensor) -> None:
        """Take mean and variance of the latents from all rows of ``X``, for good."""
        self.eval()
        if self.layers is None:
            return
        sums = torch.zeros(2, *self.mean.shape, dtype=torch.float64)
        center = self.layers(X[:CHUNK])[..., : self.n_latents].mean(dim=1, keepdim=True).double()
        for chunk in chunks(X):
            raw = self.layers(chunk)[..., : self.n_latents].double() - center
            sums += torch.stack([raw.sum(dim=1, keepdim=True), (raw**2).sum(dim=1, keepdim=True)])
        mean, square = sums / len(X)
        self.mean = (center + mean).to(X.dtype)
        self.variance = (square - mean**2).to(X.dtype)


def chunks(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield slices of at most ``CHUNK`` rows."""
    yield from rows.split(CHUNK)


@torch.no_grad()
def only_group(module: nn.Module, group: int) -> None:
    """Keep one group of a grouped module: the first axis of its parameters and buffers."""
    for child in module.modules():
        if hasattr(child, "n_groups"):
            setattr(child, "n_groups", 1)  # noqa: B010 - a module's attributes are typed as tensors
    for parameter in module.parameters():
        parameter.data = parameter.data[group : group + 1].clone()
    for child in module.modules():
        for name in getattr(child, "grouped_buffers", ()):
            setattr(child, name, getattr(child, name)[group : group + 1].clone())
