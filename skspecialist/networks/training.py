"""Training data, the skorch net and the training loop of every network here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock, RLock, local
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, LRScheduler, PassthroughScoring
from skorch.helper import predefined_split
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Dataset

from .._base.estimator import NO_CALLBACKS, TaskContext
from .net import SpecialistNet

NO_FOLD = -1  # fold of a sample that is never held out
WARMUP = 0.3  # part of a training before the penalty on the mask sets in
UPDATES_PER_ROOT = 25  # gradient steps, times the root of the number of samples
EPOCH_RANGE = (1, 500)  # fewest and most epochs of a training of automatic length
MIN_SEQUENCES = 16  # fewest sequences in a batch, however long they are
EARLY_STOPPING_FRACTION = 0.1  # part of the samples that decides when to stop
ONE_CYCLE_RISE = 0.2  # part of the one-cycle schedule in which the learning rate rises

# Torch has one generator for all threads: fits take turns, so that each has its own numbers.
_GENERATOR_LOCK = RLock()
_LIMIT_LOCK, _THREAD = Lock(), local()
_LIMITS: list[int] = []  # usual numbers of threads of the callers that are limited to one


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: small products take no less time on two, and twice the CPU."""
    if getattr(_THREAD, "is_limited", False):
        yield
        return
    with _LIMIT_LOCK:
        # A thread that used torch first while another one was limited has begun with its limit.
        usual = max([torch.get_num_threads(), *_LIMITS])
        _LIMITS.append(usual)
        torch.set_num_threads(1)
    _THREAD.is_limited = True
    try:
        yield
    finally:
        _THREAD.is_limited = False
        with _LIMIT_LOCK:
            _LIMITS.remove(usual)
            torch.set_num_threads(usual)


def resolve_device(device: str | torch.device) -> str:
    """Return the name of a device that exists; "auto" is CUDA if available, else the CPU.

    Raises
    ------
    ValueError
        If the device does not exist.
    """
    name = str(device)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device={name!r} is not available: {error}") from error
    return name


@contextmanager
def seeded(seed: int, device: str | torch.device, *, limit_threads: bool = True) -> Iterator[str]:
    """Seed torch, and restore its global generators afterwards; by default on one thread.

    Yields
    ------
    device : str
        Name of the device, see :func:`resolve_device`.
    """
    name = resolve_device(device)
    has_own_generator = torch.device(name).type == "cuda"
    devices = range(torch.cuda.device_count()) if has_own_generator else []
    limit = one_thread() if limit_threads else nullcontext()
    with _GENERATOR_LOCK, limit, torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed, which would change the generators of all devices.
        torch.default_generator.manual_seed(seed)
        if has_own_generator:
            torch.cuda.manual_seed_all(seed)
        yield name


@dataclass
class StepData(Dataset):
    """Sequences, the weights of their steps in the tasks, and the values of the tasks."""

    X: torch.Tensor  # (n_samples, n_timesteps, n_features)
    step_weights: torch.Tensor  # (n_samples, n_timesteps, n_tasks)
    targets: torch.Tensor  # (n_samples, n_tasks)
    weights: torch.Tensor  # (n_samples, n_tasks), 0 where a value is missing
    folds: torch.Tensor  # (n_samples,), int64: the fold in which a sample is held out
    row_weights: torch.Tensor  # (n_samples,), of mean 1: weights of the features

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        index = index.to(self.X.device)
        truth = {
            "targets": self.targets[index],
            "weights": self.weights[index],
            "folds": self.folds[index],
            "row_weights": self.row_weights[index],
        }
        shared = self.step_weights.stride(0) == 0
        weights = (
            self.step_weights[:1].expand(len(index), -1, -1) if shared else self.step_weights[index]
        )
        return {"X": self.X[index], "step_weights": weights}, truth

    @classmethod
    def from_arrays(
        cls,
        X: np.ndarray,
        step_weights: np.ndarray,
        targets: list[np.ndarray],
        weights: np.ndarray | None = None,
        task_weight: np.ndarray | None = None,
        folds: np.ndarray | None = None,
        row_weights: np.ndarray | None = None,
    ) -> StepData:
        """Copy arrays, in single precision; weights that samples share stay shared.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_timesteps, n_features)
            Standardized features.
        step_weights : ndarray of shape (n_samples, n_timesteps, n_tasks)
            Weights of the steps.
        targets : list of ndarray of shape (n_samples,)
            Standardized values and class indices, NaN where they are missing.
        weights : ndarray of shape (n_samples, n_tasks) or None, default=None
            Weights of the values within each task. None is equal weights.
        task_weight : ndarray of shape (n_tasks,) or None, default=None
            Weight of each task, whatever the number of its values. None is equal weights.
        folds : ndarray of shape (n_samples,) or None, default=None
            Fold in which each sample is held out, -1 for none. None is -1 for all.
        row_weights : ndarray of shape (n_samples,) or None, default=None
            Weights of the features, of mean 1. None is equal weights.
        """
        shared = step_weights.strides[0] == 0
        per_step = torch.tensor(step_weights[:1] if shared else step_weights, dtype=torch.float32)
        values = np.column_stack(targets).astype(np.float64)
        counts = np.where(np.isnan(values), 0.0, 1.0 if weights is None else weights)
        # Weights of mean 1 within a task: neither their scale nor missing values change how
        # much the task counts beside others.
        mean = counts.mean(axis=0)
        counts = counts / np.where(mean > 0, mean, 1.0)
        if task_weight is not None:
            counts = counts * task_weight
        rows = np.ones(len(X)) if row_weights is None else row_weights
        return cls(
            torch.tensor(X, dtype=torch.float32),
            per_step.expand(step_weights.shape),
            torch.tensor(np.nan_to_num(values), dtype=torch.float32),
            torch.tensor(counts, dtype=torch.float32),
            torch.full((len(X),), NO_FOLD) if folds is None else torch.tensor(folds),
            torch.tensor(rows, dtype=torch.float32),
        )

    def take(self, index: torch.Tensor) -> StepData:
        """Return some of the samples."""
        return StepData(**{name: tensor[index] for name, tensor in vars(self).items()})

    def to(self, device: str) -> StepData:
        """Return the samples on a device; weights that samples share stay shared."""
        if device == str(self.X.device):
            return self
        n, moved = len(self), {}
        for name, tensor in vars(self).items():
            once = tensor[:1] if tensor.stride(0) == 0 else tensor
            moved[name] = once.to(device).expand(n, *tensor.shape[1:])
        return StepData(**moved)

    @property
    def rows(self) -> torch.Tensor:
        """The steps of all sequences, one below the other."""
        return self.X.flatten(0, 1)

    @property
    def step_row_weights(self) -> torch.Tensor:
        """Weights of :attr:`rows`."""
        return self.row_weights.repeat_interleave(self.X.shape[1])


class WholeBatches:
    """Batches sliced from the tensors: twice as fast as collecting single rows.

    All batches are of nearly equal size, so that none is a single row, which has no variance.
    """

    def __init__(self, dataset: StepData, batch_size: int, shuffle: bool = False) -> None:
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle

    def __len__(self) -> int:
        return n_batches(len(self.dataset), self.batch_size)

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], Any]]:
        n = len(self.dataset)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for index in torch.tensor_split(order, len(self)):
            yield self.dataset[index]


def n_batches(n_samples: int, batch_size: int) -> int:
    """Return the number of batches of an epoch, each of at least two samples if possible."""
    return max(1, min(-(-n_samples // batch_size), n_samples // 2))


class EpochSubtasks(Callback):
    """Makes each epoch a subtask of the training.

    Parameters
    ----------
    task : TaskContext
        Context of the training.
    """

    def __init__(self, task: TaskContext) -> None:
        self.task = task

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open the subtask."""
        self.epoch_ = self.task.subtask("epoch")
        self.epoch_.__enter__()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Close the subtask; where an epoch fails, it stays open."""
        self.epoch_.__exit__(None, None, None)


def train_net(
    module: Any,
    data: StepData,
    *,
    lr: float,
    max_epochs: int,
    batch_size: int,
    callbacks: Sequence[Any] = (),
    device: str = "cpu",
    verbose: int = 0,
    warmup: float = 0.0,
    valid: StepData | None = None,
    task: TaskContext = NO_CALLBACKS,
) -> SpecialistNet:
    """Train a module with a one-cycle learning rate.

    Parameters
    ----------
    module : Module
        With ``losses``, and their names in ``loss_names``.
    data : StepData
        Training data.
    lr : float
        Largest learning rate.
    max_epochs, batch_size : int
        Number of epochs, and of samples in a batch.
    callbacks : sequence of (str, callback), default=()
        Further callbacks, called last.
    device : str, default="cpu"
        Device of the training; random numbers are those of the CPU.
    verbose : int, default=0
        Whether skorch prints a line per epoch.
    warmup : float, default=0.0
        Part of the steps before the first proximal step.
    valid : StepData or None, default=None
        Data whose losses are recorded.
    task : TaskContext
        Context of the fit, of which the training becomes a subtask.

    Returns
    -------
    net : SpecialistNet
        Its ``module_`` is trained, on the CPU and in evaluation mode.

    Raises
    ------
    ValueError
        If a callback monitors a value that is not recorded.
    """
    n_steps = max_epochs * n_batches(len(data), batch_size)
    device = resolve_device(device)
    # Once, instead of batch by batch.
    data, valid = data.to(device), None if valid is None else valid.to(device)
    # Torch's schedule is not defined for less than 6 steps with the rise below.
    schedule = LRScheduler(
        OneCycleLR,
        max_lr=lr,
        total_steps=max(n_steps, 6),
        pct_start=ONE_CYCLE_RISE,
        step_every="batch",
    )
    names = [f"{kind}_{name}" for kind in ("train", "valid") for name in module.loss_names]
    means = [(name, PassthroughScoring(name, on_train=name.startswith("train"))) for name in names]
    with task.subtask("training", max_epochs) as training:
        net = SpecialistNet(
            module,
            n_warmup_steps=int(warmup * n_steps),
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            iterator_train=WholeBatches,
            iterator_train__shuffle=True,
            iterator_valid=WholeBatches,
            train_split=None if valid is None else predefined_split(valid),
            callbacks=[
                *means,
                ("schedule", schedule),
                ("epochs", EpochSubtasks(training)),
                *callbacks,
            ],
            # Without verbosity nothing is printed, but the callback would draw its table.
            **({} if verbose else {"callbacks__print_log": None}),
            device=device,
            verbose=verbose,
        )
        try:
            net.partial_fit(data)
        except KeyError as error:
            monitors = {getattr(callback, "monitor", None) for _, callback in net.callbacks_}
            monitored = {name for name in monitors if isinstance(name, str)}
            if not (missing := sorted(monitored - set(net.history[-1]))):
                raise
            raise ValueError(
                f"callbacks monitor values that are not recorded, {missing}: validation losses "
                "need early_stopping=True; 'train_loss' is always recorded."
            ) from error
    for parameter in net.module_.parameters():
        parameter.grad = None
    net.module_.cpu().eval()
    return net


@dataclass
class Trainer:
    """Training of the modules of one fit, one after the other, with the same parameters.

    Attributes
    ----------
    learning_rate : float
        Largest learning rate.
    max_epochs : int or None
        Epochs of a training from scratch. None depends on the number of samples.
    batch_size : int
        Number of steps in a batch.
    early_stopping : bool
        Whether trainings that may stop early do so.
    device : str
        Device of the training.
    verbose : int
        Whether skorch prints a line per epoch.
    task : TaskContext
        Context of the fit.
    checkpoints : iterator of callbacks or None
        Callback that saves each training, in their order.
    """

    learning_rate: float
    max_epochs: int | None
    batch_size: int
    early_stopping: bool = False
    device: str = "cpu"
    verbose: int = 0
    task: TaskContext = NO_CALLBACKS
    checkpoints: Iterator[Callback] | None = None

    def train(
        self,
        module: nn.Module,
        data: StepData,
        *,
        share: float = 1.0,
        lr_divisor: float = 1.0,
        may_stop_early: bool = False,
        callbacks: Sequence[Any] = (),
        warmup: float = 0.0,
    ) -> SpecialistNet:
        """Train a module; to the epoch of the least held-out loss where it may stop early.

        Parameters
        ----------
        module : Module
            With ``losses``, and their names in ``loss_names``.
        data : StepData
            Training data.
        share : float, default=1.0
            Part of the usual number of epochs.
        lr_divisor : float, default=1.0
            Divisor of the learning rate.
        may_stop_early : bool, default=False
            Whether to hold out samples that decide when to stop, if the fit stops early.
        callbacks : sequence of (str, callback), default=()
            Further callbacks.
        warmup : float, default=0.0
            Part of the steps before the first proximal step.
        """
        n_epochs, valid, callbacks = self.n_epochs(data, share), None, list(callbacks)
        if may_stop_early and self.early_stopping:
            # Patience of a third of the training, since the one-cycle rate rises first.
            stop = EarlyStopping(patience=max(5, n_epochs // 3), load_best=True, sink=_no_output)
            callbacks = [("early_stopping", stop), *callbacks]
            data, valid = _hold_out(data)
        if self.checkpoints is not None:
            callbacks = [*callbacks, ("checkpoint", next(self.checkpoints))]
        return train_net(
            module,
            data,
            lr=self.learning_rate / lr_divisor,
            max_epochs=n_epochs,
            batch_size=self.samples_per_batch(data),
            callbacks=callbacks,
            device=self.device,
            verbose=self.verbose,
            warmup=warmup,
            valid=valid,
            task=self.task,
        )

    def samples_per_batch(self, data: StepData) -> int:
        """Return the number of samples that make ``batch_size`` steps, at least 16 sequences."""
        return max(self.batch_size // data.X.shape[1], min(self.batch_size, MIN_SEQUENCES))

    def n_epochs(self, data: StepData, share: float = 1.0) -> int:
        """Return the number of epochs of a training, or of a share of one."""
        if self.max_epochs is not None:
            return max(1, round(share * self.max_epochs))
        n_updates = UPDATES_PER_ROOT * len(data) ** 0.5
        per_epoch = n_batches(len(data), self.samples_per_batch(data))
        return int(np.clip(round(share * n_updates / per_epoch), *EPOCH_RANGE))


def _hold_out(data: StepData) -> tuple[StepData, StepData]:
    """Return a random split into training and held-out samples."""
    if len(data) < 4:
        return data, data  # too few for a split: one sample has no variance
    n_valid = min(max(1, round(EARLY_STOPPING_FRACTION * len(data))), len(data) - 2)
    order = torch.randperm(len(data))
    return data.take(order[n_valid:]), data.take(order[:n_valid])


def _no_output(*args: Any) -> None:
    """Replace the printing of skorch's callbacks."""
