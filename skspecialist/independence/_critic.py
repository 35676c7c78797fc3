"""Neural critic that discriminates the x of a sample from the x of samples with a similar z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skorch.callbacks import LRScheduler
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Dataset

from ..networks.net import SpecialistNet
from ..networks.training import WholeBatches, n_batches, seeded

__all__ = ["Candidates", "sequential_scores"]

EMBEDDING = 8  # learned features of each side, beside its columns
BATCH_SIZE = 128
# Products of values in heavy tails would dominate the sum of scores.
CLIP = 4.0


class Critic(nn.Module):
    """Scores x beside y by a weighted sum of products of their features.

    The features are the columns, squares of those of x, and embeddings; z gates them.
    Those of y are centered: the critic cannot learn a dependence of x on z alone, so that
    the bias of a regression on z does not look like dependence on y.

    Parameters
    ----------
    widths : tuple of int
        Columns of x, y and z.
    n_hidden : int
        Units of each hidden layer.
    """

    def __init__(self, widths: tuple[int, int, int], n_hidden: int) -> None:
        super().__init__()
        p, q, r = widths
        self.embed_x = _two_layers(2 * p, n_hidden, EMBEDDING)
        self.embed_y = _two_layers(q, n_hidden, EMBEDDING)
        self.gates = _two_layers(r, n_hidden, 2 * p + EMBEDDING)
        # All scores are zero before training, the best for independent variables.
        self.weights = nn.Parameter(torch.zeros(q + EMBEDDING, 2 * p + EMBEDDING))

    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return the scores (n_samples, n_candidates) of ``x`` (…, n_candidates, p)."""
        # Squares less their mean, as the columns have unit variance.
        x = torch.cat([x, x**2 - 1], dim=2).clamp(-CLIP, CLIP)
        x = torch.cat([x, self.embed_x(x)], dim=2)
        y = y.clamp(-CLIP, CLIP)
        y = torch.cat([y, self.embed_y(y)], dim=1)
        # A bilinear score x' W y whose features of x are scaled by functions of z.
        sought = (y - y.mean(dim=0)) @ self.weights * (1 + self.gates(z))
        return (x @ sought[:, :, None])[..., 0]

    def losses(self, scores: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the InfoNCE loss: cross-entropy of the sample's own candidate among all."""
        return {"nce_loss": F.cross_entropy(scores, targets)}


def _two_layers(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_out))


@dataclass
class Candidates(Dataset):
    """Samples and their candidates for x, of which the first is their own."""

    x: torch.Tensor  # (n_samples, n_candidates, p)
    y: torch.Tensor  # (n_samples, q)
    z: torch.Tensor  # (n_samples, r)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        own = torch.zeros(len(index), dtype=torch.long)
        return {"x": self.x[index], "y": self.y[index], "z": self.z[index]}, own

    @classmethod
    def from_arrays(cls, *arrays: np.ndarray) -> Candidates:
        """Copy x, y and z, in single precision."""
        return cls(*(torch.tensor(array, dtype=torch.float32) for array in arrays))

    @classmethod
    def concatenate(cls, parts: Sequence[Candidates]) -> Candidates:
        """Return the samples of all parts."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in "xyz"))


def sequential_scores(
    blocks: Sequence[Candidates],
    *,
    n_hidden: int,
    max_epochs: int,
    learning_rate: float,
    device: str,
    seed: int,
) -> list[np.ndarray]:
    """Return the scores of each block but the first by a critic trained on those before.

    Unlike with cross-fitting, no two blocks train critics for each other: given the blocks
    before, the scores of a block are independent of the training of its critic.

    Parameters
    ----------
    blocks : sequence of Candidates
        Disjoint parts of the samples.
    n_hidden : int
        Units of the critic's hidden layers.
    max_epochs : int
        Passes over the blocks before each one; training goes on where it ended.
    learning_rate : float
        Largest learning rate.
    device : str
        Where the critic is trained.
    seed : int
        Decides the first weights and the batches.

    Returns
    -------
    scores : list of ndarray of shape (n_samples, n_candidates)
        One array for each block but the first, in double precision.
    """
    scores = []
    # On one thread: more sum in another order, with other last bits.
    with seeded(seed, device) as device:
        widths = tuple(getattr(blocks[0], name).shape[-1] for name in "xyz")
        critic = Critic(widths, n_hidden)
        for k in range(1, len(blocks)):
            _train(critic, Candidates.concatenate(blocks[:k]), max_epochs, learning_rate, device)
            with torch.no_grad():
                block = blocks[k]
                scores.append(critic(block.x, block.y, block.z).double().numpy())
    return scores


def _train(
    critic: Critic, data: Candidates, max_epochs: int, learning_rate: float, device: str
) -> None:
    n_steps = max_epochs * n_batches(len(data), BATCH_SIZE)
    net = SpecialistNet(
        critic,
        lr=learning_rate,
        max_epochs=max_epochs,
        batch_size=BATCH_SIZE,
        iterator_train=WholeBatches,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[
            LRScheduler(
                OneCycleLR, max_lr=learning_rate, total_steps=max(n_steps, 2), step_every="batch"
            )
        ],
        device=device,
        verbose=0,
    )
    net.partial_fit(data)
    critic.cpu()
