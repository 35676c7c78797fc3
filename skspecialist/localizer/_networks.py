"""Scorers of single steps that learn from what is known of whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from ..encoder._bottlenecks import Bottlenecks
from ..encoder._training import HEAD_UNITS, NOBODY, WARMUP
from ..encoder.penalties.l1 import L1
from ..networks.data import StepData, n_batches
from ..networks.inference import to_double
from ..networks.layers import CHUNK, Encoders
from ..networks.nets import OpenTask, train_net, untold
from ._pooled_heads import PooledHeads, PooledLoss, smooth

UPDATES_PER_ROOT = 100  # gradient steps, times the root of the number of sequences
EPOCHS = (5, 200)  # at least and at most


@dataclass(frozen=True)
class ScorerSettings:
    """What the training of scorers is told."""

    n_components: int
    hidden: Sequence[int]
    noise: float
    sparsity: float
    pooling: str
    smoothing: int
    max_epochs: int | None
    batch_size: int
    learning_rate: float
    callbacks: Sequence[Any]
    device: str
    verbose: int
    task: OpenTask = untold

    def samples_per_batch(self, n_timesteps: int) -> int:
        """Return how many sequences have ``batch_size`` steps."""
        return max(2, self.batch_size // n_timesteps)

    def epochs(self, data: StepData) -> int:
        """Return the number of epochs."""
        if self.max_epochs is not None:
            return self.max_epochs
        per_epoch = n_batches(len(data), self.samples_per_batch(data.X.shape[1]))
        return int(np.clip(round(UPDATES_PER_ROOT * len(data) ** 0.5 / per_epoch), *EPOCHS))


def train_scorers(
    data: StepData, is_amount: Sequence[bool], settings: ScorerSettings
) -> tuple[Bottlenecks, list[dict[str, Any]]]:
    """Return a scorer of all sequences, then one without each fold, and their history.

    Parameters
    ----------
    data : StepData
        Sequences, with one in ``step_weights`` for the steps that there are; amounts, and zero
        or one; the fold that each sequence is held out in.
    is_amount : sequence of bool of length n_tasks
        Tasks of which an amount is known.
    settings : ScorerSettings
        How.
    """
    module = _new_scorers(data, is_amount, settings)
    net = train_net(
        module,
        data,
        task=settings.task,
        lr=settings.learning_rate,
        max_epochs=settings.epochs(data),
        batch_size=settings.samples_per_batch(data.X.shape[1]),
        callbacks=settings.callbacks,
        device=settings.device,
        verbose=settings.verbose,
        warmup=WARMUP,
    )
    module = net.module_
    module.encoders.freeze(data.rows)
    keys = ("epoch", "train_loss", "train_task_loss")
    return module.double(), [{key: row[key] for key in keys} for row in net.history]


def _new_scorers(
    data: StepData, is_amount: Sequence[bool], settings: ScorerSettings
) -> Bottlenecks:
    n_groups = 2 + int(data.folds.max())
    heads = PooledHeads(
        settings.n_components,
        is_amount,
        HEAD_UNITS,
        pooling=settings.pooling,
        smoothing=settings.smoothing,
        n_groups=n_groups,
    )
    there = data.step_weights[..., 0].sum(dim=1).mean()
    totals = (data.targets * data.weights).sum(dim=0) / data.weights.sum(dim=0)
    heads.start_at(totals, float(there))
    loss = PooledLoss(heads.is_amount, data.targets, data.weights)
    return Bottlenecks(
        Encoders(
            data.X.shape[2], settings.hidden, settings.n_components, n_groups, noise=settings.noise
        ),
        heads,
        loss,
        penalty=L1(),
        sparsity=torch.full((n_groups,), settings.sparsity),
        beta=0.0,
        allowed=torch.ones(n_groups, len(is_amount), settings.n_components),
        held_out=torch.tensor([NOBODY - 1, *range(n_groups - 1)]),
    )


@torch.no_grad()
def score_steps(
    module: Bottlenecks, X: np.ndarray, there: np.ndarray, groups: np.ndarray | None = None
) -> np.ndarray:
    """Return the scores (n_samples, n_timesteps, n_tasks) of steps.

    Parameters
    ----------
    module : Bottlenecks
        Trained, with pooled heads.
    X : ndarray of shape (n_samples, n_timesteps, n_features)
        Features of the steps.
    there : ndarray of shape (n_samples, n_timesteps), bool
        The steps that there are.
    groups : ndarray of shape (n_samples,), default=None
        Which of the scorers each sequence has. None is the first.
    """
    groups = np.zeros(len(X), dtype=int) if groups is None else groups
    heads, mask = cast(PooledHeads, module.heads), module.task_mask()
    steps = [
        heads.per_step(module.encoders(rows)[0], mask)[..., 0]
        for rows in to_double(X).flatten(0, 1).split(CHUNK)
    ]
    present = to_double(there)
    found = torch.cat(steps, dim=2).unflatten(2, present.shape)
    own = found[groups, :, np.arange(len(present))]  # (n_samples, n_tasks, n_timesteps)
    smoothed = smooth(own.transpose(0, 1), present, heads.smoothing)
    return np.asarray(smoothed.permute(1, 2, 0).numpy())


@torch.no_grad()
def pool_scores(module: Bottlenecks, scores: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return logits and amounts (n_samples, n_tasks) of sequences for the scores of steps."""
    grouped = to_double(scores).permute(2, 0, 1)[None]
    return np.asarray(cast(PooledHeads, module.heads).pool(grouped, to_double(there))[0].numpy())


@torch.no_grad()
def step_latents(module: Bottlenecks, X: np.ndarray) -> np.ndarray:
    """Return the latents (n_samples, n_timesteps, n_latents) of steps."""
    rows = to_double(X).flatten(0, 1)
    return np.asarray(module.encoders.encode_rows(rows)[0].numpy()).reshape(*X.shape[:2], -1)
