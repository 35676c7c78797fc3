"""Networks that score single steps, trained on labels of whole sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from scipy.special import expit, log_expit
from torch.nn import functional

from .._base.estimator import TaskContext
from .._data.ragged import RaggedSequences
from .._data.validation import check_callbacks, check_layer_sizes
from .._data.weights import weighted_means
from ..networks.layers import (
    CHUNK,
    HEAD_UNITS,
    LEARNS_FROM_ALL,
    ArrayModule,
    Bottlenecks,
    Encoders,
    MaskedHeads,
    to_double,
)
from ..networks.penalties import L1
from ..networks.training import WARMUP, StepData, n_batches, one_thread, train_net
from ._features import CHUNK as SEQUENCE_CHUNK
from ._features import StepFeatures
from ._weak_labels import WeakLabels

__all__ = ["PooledHeads", "PooledLoss", "StepScorer", "train_scorers"]

# Gradient steps per square root of the number of sequences: standard errors of what is learned
# fall with this root, and the accuracy of the training should keep pace.
UPDATES_PER_ROOT = 100
EPOCHS = (5, 200)  # least and largest number: a few passes always, and minutes at most
TOP_SHARE = 0.1  # share of the steps that "top_k_mean" averages, as documented
# Rate of a sequence, in log(1 - p), below which its logit would lose precision.
SMALLEST_RATE = 1e-6
# Initial occurrences are clipped, so that a rare task does not start with vanishing gradients.
INITIAL_RANGE = (0.02, 0.98)


class PooledHeads(MaskedHeads):
    """One small network per task that scores each step separately, and a pooling of the scores.

    The score of a step is the logit of its probability or, for an amount, its contribution.

    Parameters
    ----------
    n_latents : int
        Number of latents.
    is_amount : sequence of bool of length n_tasks
        Whether the label of a task is an amount, rather than an occurrence.
    hidden : sequence of int
        Widths of the hidden layers (all equal); empty is a linear head.
    pooling : {"noisy_or", "log_sum_exp", "top_k_mean"}
        Pooling of the logits of the steps. Amounts are summed.
    smoothing : int
        Number of steps on either side that a step's score is averaged with.
    n_groups : int
        Number of independent sets of heads.
    """

    is_amount: torch.Tensor

    def __init__(
        self,
        n_latents: int,
        is_amount: Sequence[bool],
        hidden: Sequence[int],
        *,
        pooling: str,
        smoothing: int,
        n_groups: int,
    ) -> None:
        super().__init__(n_latents, [1] * len(is_amount), hidden, n_groups)
        self.pooling, self.smoothing = pooling, smoothing
        self.register_buffer("is_amount", torch.tensor(is_amount))
        # An intercept of a sequence is not identified beside the bias of its steps.
        self.intercept.requires_grad_(False)

    @torch.no_grad()
    def start_at(self, means: torch.Tensor, n_timesteps: float) -> None:
        """Initialize the biases of the steps to equal shares of the means (n_tasks,).

        With T equal and independent steps, 1 - p = (1 - q)^T for the probabilities p of a
        sequence and q of a step.
        """
        chances = -torch.expm1(torch.log1p(-means.clamp(*INITIAL_RANGE)) / n_timesteps)
        biases = torch.where(self.is_amount, means / n_timesteps, torch.logit(chances))
        self.step_bias.copy_(biases[:, None])

    def forward(
        self, latents: torch.Tensor, step_weights: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return logits and amounts (n_groups, n_samples, n_tasks) of sequences.

        Parameters
        ----------
        latents : tensor of shape (n_groups, n_samples * n_timesteps, n_latents)
            Latents of each step.
        step_weights : tensor of shape (n_samples, n_timesteps, n_tasks)
            One for present steps, zero for padding.
        mask : tensor of shape (n_groups, n_tasks, n_latents)
            Non-negative weights of the latents.
        """
        present = step_weights[..., 0]
        scores = self.per_step(latents, mask)[..., 0].unflatten(2, present.shape)
        return self.pool(smooth(scores, present, self.smoothing), present)

    def pool(self, scores: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Return logits and amounts (n_groups, n_samples, n_tasks) for those of the steps.

        Parameters
        ----------
        scores : tensor of shape (n_groups, n_tasks, n_samples, n_timesteps)
            Scores of the steps.
        present : tensor of shape (n_samples, n_timesteps)
            One for present steps, zero for padding.
        """
        amounts = (scores * present).sum(dim=3)
        logits = POOLINGS[self.pooling](scores, present)
        return torch.where(self.is_amount[:, None], amounts, logits).transpose(1, 2)


class PooledLoss(ArrayModule):
    """Loss of each task relative to the null model.

    Squared error of an amount over its variance, or cross entropy over that of the share of
    sequences that have the task.

    Parameters
    ----------
    is_amount : tensor of shape (n_tasks,), bool
        Whether the label of a task is an amount, rather than an occurrence.
    targets, weights : tensors of shape (n_samples, n_tasks)
        Amounts, and zero or one, and their weights.
    """

    is_amount: torch.Tensor
    null_loss: torch.Tensor

    def __init__(
        self, is_amount: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> None:
        super().__init__()
        total = weights.sum(dim=0)
        # The null model predicts the mean of amounts, and the share of sequences with the task.
        mean = (targets * weights).sum(dim=0) / total
        variance = ((targets - mean) ** 2 * weights).sum(dim=0) / total
        entropy = -torch.special.xlogy(mean, mean) - torch.special.xlogy(1 - mean, 1 - mean)
        self.register_buffer("is_amount", is_amount)
        self.register_buffer("null_loss", torch.where(is_amount, variance, entropy))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the losses, shape (n_groups, n_samples, n_tasks)."""
        targets = targets.expand_as(outputs)
        squares = (outputs - targets) ** 2
        entropies = functional.binary_cross_entropy_with_logits(
            outputs, targets.clamp(0, 1), reduction="none"
        )
        return torch.where(self.is_amount, squares, entropies) / self.null_loss


def smooth(scores: torch.Tensor, present: torch.Tensor, width: int) -> torch.Tensor:
    """Return means of scores (..., n_samples, n_timesteps) with ``width`` steps on either side."""
    if width == 0:
        return scores
    return _sums(scores * present, width) / _sums(present[None], width).clamp(min=1)


def _sums(values: torch.Tensor, width: int) -> torch.Tensor:
    # avg_pool1d divides by the full width at the ends too, so that its product is the sum.
    size = 2 * width + 1
    means = functional.avg_pool1d(values.flatten(0, -2)[:, None], size, stride=1, padding=width)
    return size * means.view_as(values)


def noisy_or(logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return the logit of the occurrence in any step, if steps are independent.

    With rate r = -sum_t log(1 - q_t), where -log(1 - q) is the softplus of the logit of q, the
    probability is p = 1 - exp(-r), of logit r + log(1 - exp(-r)).
    """
    rate = (functional.softplus(logits) * present).sum(dim=-1).clamp(min=SMALLEST_RATE)
    return rate + torch.log(-torch.expm1(-rate))


def log_sum_exp(logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the mean of the exponentials, a soft maximum."""
    hidden = logits.masked_fill(present == 0, -torch.inf)
    return torch.logsumexp(hidden, dim=-1) - present.sum(dim=-1).log()


def top_k_mean(logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return the mean of the largest tenth of the logits."""
    # A tenth of the steps of each sequence, at least one; the largest are sorted first.
    counts = (present.sum(dim=-1) * TOP_SHARE).ceil()
    most = max(1, math.ceil(present.shape[-1] * TOP_SHARE))
    largest = logits.masked_fill(present == 0, -torch.inf).topk(most, dim=-1).values
    counted = torch.arange(most, device=logits.device) < counts[..., None]
    return largest.masked_fill(~counted, 0.0).sum(dim=-1) / counts


POOLINGS = {"noisy_or": noisy_or, "log_sum_exp": log_sum_exp, "top_k_mean": top_k_mean}


def train_scorers(
    localizer: Any, data: StepData, is_amount: Sequence[bool], task: TaskContext
) -> tuple[Bottlenecks, list[dict[str, Any]]]:
    """Return a scorer of all sequences, then one without each fold, and their history.

    Parameters
    ----------
    localizer : TaskLocalizer
        Parameters of the networks and of their training.
    data : StepData
        Sequences, with one in ``step_weights`` for present steps; amounts, and zero or one;
        the fold that each sequence is held out in.
    is_amount : sequence of bool of length n_tasks
        Whether the label of a task is an amount, rather than an occurrence.
    task : callable
        Reports the training to callbacks of scikit-learn.
    """
    batch_size = max(2, localizer.batch_size // data.X.shape[1])
    max_epochs = localizer.max_epochs
    if max_epochs is None:
        n_updates = UPDATES_PER_ROOT * len(data) ** 0.5
        max_epochs = int(np.clip(round(n_updates / n_batches(len(data), batch_size)), *EPOCHS))
    net = train_net(
        _new_scorers(localizer, data, is_amount),
        data,
        task=task,
        lr=localizer.learning_rate,
        max_epochs=max_epochs,
        batch_size=batch_size,
        callbacks=check_callbacks(localizer.callbacks),
        device=str(localizer.device),
        verbose=localizer.verbose,
        warmup=WARMUP,
    )
    module = net.module_
    module.encoders.freeze(data.rows, data.step_row_weights)
    keys = ("epoch", "train_loss", "train_task_loss")
    return module.double(), [{key: row[key] for key in keys} for row in net.history]


def _new_scorers(localizer: Any, data: StepData, is_amount: Sequence[bool]) -> Bottlenecks:
    n_latents, n_groups = localizer.n_components, 2 + int(data.folds.max())
    heads = PooledHeads(
        n_latents,
        is_amount,
        HEAD_UNITS,
        pooling="noisy_or" if localizer.pooling == "auto" else localizer.pooling,
        smoothing=localizer.smoothing,
        n_groups=n_groups,
    )
    # Amounts and occurrences of an average sequence start at their means.
    mean_length = (data.step_weights[..., 0].sum(dim=1) * data.row_weights).mean()
    means = (data.targets * data.weights).sum(dim=0) / data.weights.sum(dim=0)
    heads.start_at(means, float(mean_length))
    hidden = check_layer_sizes(localizer.hidden_layer_sizes)
    return Bottlenecks(
        Encoders(data.X.shape[2], hidden, n_latents, n_groups, noise=localizer.input_noise),
        heads,
        PooledLoss(heads.is_amount, data.targets, data.weights),
        penalty=L1(),
        sparsity=torch.full((n_groups,), localizer.sparsity),
        allowed=torch.ones(n_groups, len(is_amount), n_latents),
        held_out=torch.tensor([LEARNS_FROM_ALL, *range(n_groups - 1)]),
    )


@dataclass(frozen=True)
class StepScorer:
    """Trained scorers of steps, with their features and labels.

    Attributes
    ----------
    labels : WeakLabels
        Outputs to localize.
    features : StepFeatures
        Features of the steps.
    module : Bottlenecks
        Networks: the scorer of all sequences, and maybe one without each fold.
    """

    labels: WeakLabels
    features: StepFeatures
    module: Any

    @one_thread()
    @torch.no_grad()
    def scores(self, sequences: RaggedSequences, scorers: np.ndarray | None = None) -> np.ndarray:
        """Return logits, and amounts in standard deviations, of the steps.

        Parameters
        ----------
        sequences : RaggedSequences
            Sequences.
        scorers : ndarray of shape (n_sequences,), default=None
            Index of the scorer of each sequence. None is that of all sequences.

        Returns
        -------
        scores : ndarray of shape (n_sequences, n_timesteps, n_outputs)
            Scores of the steps.
        """
        scorers = np.zeros(len(sequences), dtype=int) if scorers is None else scorers
        heads, mask = cast(PooledHeads, self.module.heads), self.module.task_mask()
        parts = []
        for part in sequences.chunks(SEQUENCE_CHUNK):
            rows = to_double(self.features.transform(sequences.X[part])).flatten(0, 1)
            present = to_double(sequences.observed[part])
            steps = [
                heads.per_step(self.module.encoders(chunk), mask)[..., 0]
                for chunk in rows.split(CHUNK)
            ]
            scores = torch.cat(steps, dim=2).unflatten(2, present.shape)
            # Of all scorers, (n_groups, n_outputs, ...), that of each sequence.
            scores = scores[scorers[part], :, np.arange(len(present))]
            smoothed = smooth(scores.transpose(0, 1), present, heads.smoothing)
            parts.append(smoothed.permute(1, 2, 0).numpy())
        return np.concatenate(parts)

    def contributions(self, scores: np.ndarray) -> np.ndarray:
        """Return probabilities, and amounts in the units of ``y``, for scores."""
        return np.where(self.labels.is_amount, scores * self.labels.scales, expit(scores))

    @torch.no_grad()
    def outputs(self, scores: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return logits, and amounts in the units of ``y``, (n_sequences, n_outputs)."""
        grouped = to_double(scores).permute(2, 0, 1)[None]
        pooled = cast(PooledHeads, self.module.heads).pool(grouped, to_double(present))[0]
        return np.asarray(pooled.numpy()) * self.labels.scales

    def log_likelihood(
        self, values: np.ndarray, outputs: np.ndarray, noise: np.ndarray, weights: np.ndarray
    ) -> float:
        """Return nats per sequence: Bernoulli of occurrences, normal of amounts.

        Parameters
        ----------
        values : ndarray of shape (n_sequences, n_outputs)
            Labels; NaN where missing.
        outputs : ndarray of shape (n_sequences, n_outputs)
            Logits and amounts.
        noise : ndarray of shape (n_outputs,)
            Standard deviation of the residuals of amounts.
        weights : ndarray of shape (n_sequences, n_outputs)
            Weights of the labels.
        """
        chances = np.where(values > 0, log_expit(outputs), log_expit(-outputs))
        spread = np.where(self.labels.is_amount, noise, 1.0)
        normal = -(((values - outputs) / spread) ** 2 + np.log(2 * np.pi)) / 2 - np.log(spread)
        found = np.where(self.labels.is_amount, normal, chances)
        nats = (np.where(np.isnan(values), 0.0, found) * weights).sum(axis=1)
        return float(nats.sum() / weights.max(axis=1).sum())

    @one_thread()
    @torch.no_grad()
    def pooled_latents(self, sequences: RaggedSequences, weights: np.ndarray) -> np.ndarray:
        """Return means of the latents (n_sequences, n_outputs, n_latents) by weights of steps."""
        weights = weights * sequences.observed[..., None]
        parts = []
        for part in sequences.chunks(SEQUENCE_CHUNK):
            steps = to_double(self.features.transform(sequences.X[part]))
            latents = self.module.encoders.encode_rows(steps.flatten(0, 1))[0].numpy()
            parts.append(weighted_means(latents.reshape(*steps.shape[:2], -1), weights[part]))
        return np.concatenate(parts)
