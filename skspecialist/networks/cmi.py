"""A critic that tells samples of x from samples of x given z alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from skorch.callbacks import LRScheduler
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from .nets import SpecialistNet
from .training import seeded

__all__ = ["cross_fitted_scores"]

EMBEDDING = 8
# Rows that the critic scores at once.
CHUNK = 100_000


class Critic(nn.Module):
    """Scores candidates for x beside y and an embedding of z.

    Parameters
    ----------
    widths : tuple of int
        Columns of x, y and z.
    n_hidden : int
        Units of each of the two hidden layers.
    """

    def __init__(self, widths: tuple[int, int, int], n_hidden: int) -> None:
        super().__init__()
        p, q, r = widths
        self.embedding = nn.Sequential(
            nn.Linear(r, n_hidden), nn.SiLU(), nn.Linear(n_hidden, EMBEDDING)
        )
        self.score = nn.Sequential(
            nn.Linear(2 * (p + q) + EMBEDDING, n_hidden),
            nn.SiLU(),
            nn.Linear(n_hidden, n_hidden),
            nn.SiLU(),
            nn.Linear(n_hidden, 1),
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return the scores (n_samples, n_candidates) of ``x`` (…, n_candidates, p)."""
        # Squares are at hand, since products are what small networks learn last.
        context = torch.cat([y, y**2, self.embedding(z)], dim=1)
        context = context[:, None].expand(-1, x.shape[1], -1)
        return self.score(torch.cat([x, x**2, context], dim=2))[..., 0]

    def losses(self, scores: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the InfoNCE loss: to tell a sample's own candidate from the others."""
        return {"nce_loss": F.cross_entropy(scores, targets)}


def cross_fitted_scores(
    candidates: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    folds: np.ndarray,
    *,
    n_negatives: int,
    n_hidden: int,
    max_epochs: int,
    lr: float,
    device: str,
    seed: int,
) -> np.ndarray:
    """Return the scores of all candidates, from critics that did not see the sample.

    Parameters
    ----------
    candidates : ndarray of shape (n_samples, n_candidates, p)
        The sample's own x first, then draws of x given its z.
    y, z : ndarray of shape (n_samples, q) and (n_samples, r)
        The other side, and what is conditioned on.
    folds : ndarray of int of shape (n_samples,)
        Fold of each sample.
    n_negatives, n_hidden : int
        Draws in each training step, and units of the critic's layers.
    max_epochs : int
        How long the critic is trained.
    lr : float
        Learning rate.
    device : str
        Where it is trained.
    seed : int
        Decides the first weights and the batches.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_candidates)
        In double precision.
    """
    tensors = {
        name: torch.tensor(array, dtype=torch.float32)
        for name, array in (("x", candidates), ("y", y), ("z", z))
    }
    scores = np.empty(candidates.shape[:2])
    with seeded(seed, device), _one_thread():
        for fold in np.unique(folds):
            inside, outside = (
                {name: tensor[torch.from_numpy(rows)] for name, tensor in tensors.items()}
                for rows in (folds != fold, folds == fold)
            )
            inside["x"] = inside["x"][:, : n_negatives + 1]
            critic = _train(inside, n_hidden, max_epochs, lr, device)
            scores[folds == fold] = _score(critic, outside)
    return scores


def _train(
    data: dict[str, torch.Tensor], n_hidden: int, max_epochs: int, lr: float, device: str
) -> Critic:
    n = len(data["y"])
    batch_size = min(64, n)
    n_steps = max_epochs * -(-n // batch_size)
    net = SpecialistNet(
        Critic((data["x"].shape[2], data["y"].shape[1], data["z"].shape[1]), n_hidden),
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[
            LRScheduler(OneCycleLR, max_lr=lr, total_steps=max(n_steps, 2), step_every="batch")
        ],
        device=device,
        verbose=0,
    )
    net.partial_fit(data, torch.zeros(n, dtype=torch.long))
    return net.module_.cpu().eval()


@torch.no_grad()
def _score(critic: Critic, data: dict[str, torch.Tensor]) -> np.ndarray:
    rows = max(1, CHUNK // data["x"].shape[1])
    blocks = zip(*(data[name].split(rows) for name in ("x", "y", "z")), strict=True)
    return torch.cat([critic(*block) for block in blocks]).double().numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are taken in another order, and end in other bits, with more threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
