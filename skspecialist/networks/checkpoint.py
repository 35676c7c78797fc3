"""Checkpoints of trainings on disk, from which an interrupted fit continues."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from .net import SpecialistNet
from .training import StepData

INTERVAL = 10.0  # least number of seconds between two writes of a running training
DIGEST_SIZE = hashlib.sha256().digest_size
# Errors of reading a file that is damaged or has another format.
LOADING_ERRORS = (
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)


class Checkpoints:
    """Iterator of the callbacks that save the trainings of one fit, in their order.

    They are in a folder named after everything that the fit depends on: another fit has
    another folder, and one that ran before finds its own. The trainings of a fit have the same
    order in every run, so that their numbers identify them.

    Parameters
    ----------
    estimator : BaseEstimator
        Its ``checkpoint_dir`` is the directory of the folders.
    data : StepData
        Training data.
    seed : int
        Seed of the fit.
    start : Module or None
        Trained networks from which the fit starts.
    ignored : set of str
        Parameters of the estimator that do not change the result of a training.
    **options : object
        Further dependences of the fit.

    Raises
    ------
    ValueError
        If the folder cannot be created, or ``random_state`` is not an integer.
    """

    def __init__(
        self,
        estimator: Any,
        data: StepData,
        seed: int,
        start: nn.Module | None,
        ignored: set[str],
        **options: Any,
    ) -> None:
        if not isinstance(estimator.random_state, Integral):
            raise ValueError(
                "With checkpoint_dir a fit continues with the same random numbers: random_state "
                f"must be an integer, got {estimator.random_state!r}."
            )
        directory = estimator.checkpoint_dir
        ignored = ignored | {"checkpoint_dir", "device", "random_state", "verbose"}
        params = estimator.get_params(deep=False).items()
        named = {n: getattr(v, "__qualname__", v) for n, v in params if n not in ignored}
        named |= {**options, "class": type(estimator).__name__}
        self.fit = fingerprint(data, named, seed, start)
        self.folder = Path(directory) / self.fit[:32]
        self.n_trainings = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"checkpoint_dir={os.fspath(directory)!r} cannot be used: {error}. Pass a "
                "directory that can be written to."
            ) from error

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Checkpoint:
        """Return the callback of the next training."""
        self.n_trainings += 1
        name = f"training{self.n_trainings:04d}"
        return Checkpoint(self.folder / f"{name}.pt", f"{self.fit} {name}")


class Checkpoint(Callback):
    """Save a training at the ends of epochs, and restore the state that was saved before.

    It must come after all other callbacks, whose state it saves.

    Parameters
    ----------
    path : Path
        The file.
    title : str
        Name of the training, which is compared with the one in the file.
    """

    def __init__(self, path: Path, title: str) -> None:
        self.path = path
        self.title = title

    def on_train_begin(self, net: SpecialistNet, **kwargs: Any) -> None:
        """Restore the saved state."""
        self.saved_at_ = time.monotonic()
        self.is_finished_ = False
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        try:
            self.is_finished_ = restore(net, self._unpack(content))
        except LOADING_ERRORS as error:
            raise ValueError(
                f"{self.path} is damaged, or was not written by this fit: remove the directory "
                f"{self.path.parent} to start the fit again, or pass another checkpoint_dir. "
                f"{type(error).__name__}: {error}"
            ) from error

    def on_epoch_end(self, net: SpecialistNet, **kwargs: Any) -> None:
        """Save, at most once per interval."""
        if time.monotonic() - self.saved_at_ >= INTERVAL:
            self._write(snapshot(net, finished=False))
            self.saved_at_ = time.monotonic()

    def on_train_end(self, net: SpecialistNet, **kwargs: Any) -> None:
        """Save the result."""
        if not self.is_finished_:
            self._write(snapshot(net, finished=True))

    def _write(self, state: dict[str, Any]) -> None:
        """Replace the file atomically: a kill at any moment leaves the old one or the new one."""
        buffer = io.BytesIO()
        torch.save({"title": self.title, "state": state}, buffer)
        payload = buffer.getvalue()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=self.path.parent, prefix=self.path.stem, suffix=".tmp", delete=False
        ) as file:
            file.write(hashlib.sha256(payload).digest() + payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self.path)

    def _unpack(self, content: bytes) -> dict[str, Any]:
        """Return the saved state."""
        digest, payload = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
        if hashlib.sha256(payload).digest() != digest:
            raise ValueError("its digest does not match")
        # With weights_only nothing but tensors, containers and numbers is unpickled: a file
        # cannot run code.
        saved = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        if saved["title"] != self.title:
            raise ValueError("it belongs to another training")
        state: dict[str, Any] = saved["state"]
        return state


def snapshot(net: SpecialistNet, *, finished: bool) -> dict[str, Any]:
    """Return the state from which a training continues, or the result of a finished one."""
    state = {
        "finished": finished,
        "module": net.module_.state_dict(),
        "is_penalized": getattr(net.module_, "is_penalized", None),
        # Without the single batches, which no later step needs.
        "history": [{k: v for k, v in row.items() if k != "batches"} for row in net.history],
        "n_steps": net.n_steps_,
        "travel": net.travel_,
        "random": torch.get_rng_state(),
    }
    if not finished:
        callbacks = dict(net.callbacks_)
        state["optimizer"] = net.optimizer_.state_dict()
        state["schedule"] = callbacks["schedule"].lr_scheduler_.state_dict()
        if "early_stopping" in callbacks:
            fitted = vars(callbacks["early_stopping"]).items()
            state["early_stopping"] = {k: v for k, v in fitted if k.endswith("_")}
    plain: dict[str, Any] = _plain(state)
    return plain


def restore(net: SpecialistNet, state: dict[str, Any]) -> bool:
    """Bring a new net, and torch's random numbers, to the state of a snapshot.

    Returns
    -------
    finished : bool
        Whether the training is finished.
    """
    net.module_.load_state_dict(state["module"])
    if state["is_penalized"] is not None:
        net.module_.is_penalized = state["is_penalized"]
    net.history.extend(state["history"])
    net.n_epochs_left_ = 0 if state["finished"] else net.max_epochs - len(net.history)
    net.n_steps_, net.travel_ = state["n_steps"], state["travel"]
    if not state["finished"]:
        callbacks = dict(net.callbacks_)
        net.optimizer_.load_state_dict(state["optimizer"])
        callbacks["schedule"].lr_scheduler_.load_state_dict(state["schedule"])
        if "early_stopping" in state:
            vars(callbacks["early_stopping"]).update(state["early_stopping"])
    torch.set_rng_state(state["random"])
    return bool(state["finished"])


def fingerprint(
    data: StepData, options: Mapping[str, Any], seed: int, start: nn.Module | None
) -> str:
    """Return a hash of everything that the result of a fit depends on."""
    # The package imports this module, not the other way round.
    package = sys.modules[__name__.partition(".")[0]]
    versions = package.__version__, torch.__version__, np.__version__
    # The representation of a part leaves out its default parameters, or all of them.
    named = {
        name: (type(value).__name__, value.get_params()) if hasattr(value, "get_params") else value
        for name, value in sorted(options.items())
    }
    digest = hashlib.sha256(repr((versions, seed, named)).encode())
    tensors = dict(vars(data)) if start is None else vars(data) | start.state_dict()
    for name, tensor in tensors.items():
        # Weights of steps that all samples share are stored once.
        once = tensor[:1] if tensor.dim() and tensor.stride(0) == 0 else tensor
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(once.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Return the same values in types that torch loads with ``weights_only``."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value
