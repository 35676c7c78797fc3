"""The skorch net that trains every network here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.utils import to_tensor
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from .._base.estimator import TaskContext
from .data import StepData, WholeBatches, n_batches

# Keeps dead mask entries from taking steps so large that they could never come back.
MASK_EPSILON = 1e-3
WEIGHT_DECAY = 1e-2


class SpecialistNet(NeuralNet):
    """Trains a module that knows its own losses, with a proximal step on its mask.

    A module returns from ``losses(forward, targets)`` a dictionary whose sum is the
    objective. Ctrl-C is passed on: skorch would return a half-trained net.

    Parameters
    ----------
    n_warmup_steps : int, default=0
        Number of steps before the first proximal step.
    **kwargs : dict
        Those of :class:`skorch.NeuralNet`.

    Attributes
    ----------
    n_epochs_left_ : int
        Number of epochs to come at the begin of training.
    n_steps_ : int
        Number of gradient steps so far.
    travel_ : float
        How far the penalty alone could have moved the mask entry that least stands against it.
    """

    def __init__(self, module: Any, *, n_warmup_steps: int = 0, **kwargs: Any) -> None:
        self.n_warmup_steps = n_warmup_steps
        super().__init__(module, criterion=nn.Identity, **kwargs)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> Self:
        """Train; an interrupt is raised, unless it is skorch's way of stopping early."""
        if not self.initialized_:
            self.initialize()
        self.n_steps_, self.travel_, self.n_epochs_left_ = 0, 0.0, self.max_epochs
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, epochs=self.n_epochs_left_, **fit_params)
        except KeyboardInterrupt:
            if not self._stopped_early():
                raise
        self.notify("on_train_end", X=X, y=y)
        return self

    def _stopped_early(self) -> bool:
        return any(
            isinstance(callback, EarlyStopping) and callback.misses_ == callback.patience
            for _, callback in self.callbacks_
        )

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Self:
        """Give the mask a group of its own, without weight decay."""
        named = {name: p for name, p in self.module_.named_parameters() if p.requires_grad}
        mask, gates = named.pop("mask", None), named.pop("gate_logits", None)
        groups: list[dict[str, Any]] = [{"params": list(named.values())}]
        if gates is not None:
            groups.append({"params": [gates], "weight_decay": 0.0})
        if mask is not None:
            groups.append({"params": [mask], "weight_decay": 0.0, "eps": MASK_EPSILON})
        self.optimizer_ = torch.optim.AdamW(
            groups, lr=self.lr, weight_decay=WEIGHT_DECAY, fused=True
        )
        return self

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """Return the objective, and record its parts."""
        parts = self.module_.losses(y_pred, to_tensor(y_true, device=self.device))
        kind = "train" if training else "valid"
        for name, value in parts.items():
            self.history.record_batch(f"{kind}_{name}", value.item())
        return sum(parts.values())

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Take a gradient step, then a proximal one on the mask."""
        has_mask = hasattr(self.module_, "mask")
        if has_mask:
            self.module_.is_penalized = self.n_steps_ >= self.n_warmup_steps
        result = super().train_step(batch, **fit_params)
        self.n_steps_ += 1
        if has_mask:
            self._proximal_step()
        return result

    @torch.no_grad()
    def _proximal_step(self) -> None:
        module, group = self.module_, self.optimizer_.param_groups[-1]
        mask = module.mask
        if not module.is_penalized or not module.sparsity.any() or not mask.numel():
            # Positive while nothing pushes an entry to zero: at zero its column is idle.
            mask.clamp_(min=MASK_EPSILON).mul_(module.allowed)
            return
        # In the metric of Adam (Yun, Lozano and Yang, NeurIPS 2021): a step of lr alone
        # would be orders of magnitude below those that Adam takes.
        state = self.optimizer_.state[mask]
        bias = 1 - group["betas"][1] ** float(state["step"])
        step = group["lr"] / ((state["exp_avg_sq"] / bias).sqrt() + group["eps"])
        step = step * module.sparsity[:, None, None]
        mask.copy_(module.penalty.prox(mask * module.allowed, step))
        self.travel_ += float((step * (mask > 0)).max()) / mask.shape[1]


class EpochParts(Callback):
    """Turns the recorded parts of the loss into means over an epoch."""

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Add the means to the history."""
        batches = net.history[-1, "batches"]
        names = {name for batch in batches for name in batch if name.endswith("_loss")}
        for name in sorted(names - {"train_loss", "valid_loss"}):
            size = f"{name.split('_')[0]}_batch_size"
            rows = [(batch[name], batch[size]) for batch in batches if name in batch]
            values, weights = zip(*rows, strict=True)
            net.history.record(name, float(np.average(values, weights=weights)))


class Epochs(Callback):
    """Makes each epoch a subtask of the training.

    Parameters
    ----------
    task : TaskContext
        Context of the training.
    """

    def __init__(self, task: TaskContext) -> None:
        self.task = task

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open it."""
        self.epoch_ = self.task.subtask("epoch")
        self.epoch_.__enter__()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Close it; where an epoch fails, it stays open."""
        self.epoch_.__exit__(None, None, None)


def train_net(
    module: nn.Module,
    data: StepData,
    *,
    task: TaskContext,
    max_epochs: int,
    callbacks: Sequence[Any],
    **options: Any,
) -> SpecialistNet:
    """Return a net whose module was trained, epochs as subtasks, and is on the CPU again."""
    with task.subtask("training", max_epochs) as training:
        callbacks = [("epochs", Epochs(training)), *callbacks]
        net = build_net(module, data, max_epochs=max_epochs, callbacks=callbacks, **options)
        net.partial_fit(data)
    net.module_.cpu().eval()
    return net


def build_net(
    module: nn.Module,
    data: StepData,
    *,
    lr: float,
    max_epochs: int,
    batch_size: int,
    callbacks: list[Any],
    device: str,
    verbose: int,
    warmup: float = 0.0,
    valid: StepData | None = None,
) -> SpecialistNet:
    """Return a net for a module and its training data, with a one-cycle learning rate."""
    n_steps = max_epochs * n_batches(len(data), batch_size)
    schedule = LRScheduler(
        OneCycleLR, max_lr=lr, total_steps=max(n_steps, 6), pct_start=0.2, step_every="batch"
    )
    return SpecialistNet(
        module,
        n_warmup_steps=int(warmup * n_steps),
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        iterator_train=WholeBatches,
        iterator_train__shuffle=True,
        iterator_valid=WholeBatches,
        train_split=None if valid is None else _Fixed(valid),
        callbacks=[("parts", EpochParts()), ("schedule", schedule), *callbacks],
        device=device,
        verbose=verbose,
    )


class _Fixed:
    """A split whose validation part is given (picklable, unlike skorch's)."""

    def __init__(self, valid: StepData) -> None:
        self.valid = valid

    def __call__(self, dataset: StepData, y: Any = None, **kwargs: Any) -> tuple[Any, Any]:
        return dataset, self.valid
