"""Fits that were killed go on where they were, and end as if nothing had happened."""

import hashlib
import io
import multiprocessing
import os
import shutil
import signal
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skspecialist import (
    SparseMultiTaskSelector,
    SparseMultiTaskSelectorCV,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
)
from skspecialist.datasets import make_digit_sequences, make_specialist_latents
from skspecialist.networks import checkpoint
from skspecialist.networks.penalties import L1

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

SHORT = {"max_epochs": 4, "random_state": 0}
SMALL = SHORT | {"hidden_layer_sizes": (8,)}
DATA = make_specialist_latents(100, 4, 2, n_layers=1, random_state=0)
ENCODERS = {
    "mlp": SparseSpecialistEncoder(decoder="fit", **SMALL),
    "linear": SparseSpecialistEncoder(heads="linear", **SMALL),
    "gates": SparseMultiTaskSelector(**SHORT),
    "given size": SparseSpecialistEncoder(
        n_relevant=2, penalty="hard_concrete", decoder="fit", **SMALL
    ),
    "early stopping": SparseSpecialistEncoder(
        n_relevant=2, early_stopping=True, learning_rate=0.3, **SMALL | {"max_epochs": 40}
    ),
    "cross-validated": SparseSpecialistEncoderCV(cv=2, **SMALL),
    "halves": SparseMultiTaskSelectorCV(cv=2, sparsities=[0.2], n_subsamples=2, **SHORT),
}
QUICK = ("gates",)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    """Save at the end of each epoch."""
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)


@pytest.fixture
def counted(monkeypatch):
    """Return the list of the trainings of which an epoch was run, once for each."""
    epochs = []
    original = checkpoint.Checkpoint.on_epoch_end

    def count(self, net, **kwargs):
        epochs.append(self.title)
        original(self, net, **kwargs)

    monkeypatch.setattr(checkpoint.Checkpoint, "on_epoch_end", count)
    return epochs


def kill_after(monkeypatch, n_writes):
    """Let the process end after so many files were written."""
    original = checkpoint.Checkpoint._write
    left = iter(range(n_writes))

    def write(self, state):
        if next(left, None) is None:
            raise Killed
        original(self, state)

    monkeypatch.setattr(checkpoint.Checkpoint, "_write", write)


def interrupt(estimator, monkeypatch, n_writes, X=DATA.X, y=DATA.y):
    """Return whether a fit of a copy was interrupted."""
    with monkeypatch.context() as patch:
        kill_after(patch, n_writes)
        try:
            again(estimator).fit(X, y)
        except Killed:
            return True
    return False


def again(estimator, **params):
    """Return the estimator with which a new run of the program would start."""
    return type(estimator)(**(estimator.get_params(deep=False) | params))


def assert_same_fit(first, second):
    weights = [encoder.module_.state_dict() for encoder in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    assert first.history_ == second.history_
    for name in ("n_iter_", "inseparable_groups_", "width_losses_", "sparsity_max_"):
        assert getattr(first, name, None) == getattr(second, name, None)
    for name in ("mask_", "scores_path_", "selection_frequency_"):
        np.testing.assert_array_equal(getattr(first, name, None), getattr(second, name, None))


@pytest.mark.parametrize(
    "name",
    [
        *QUICK,
        *(pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS if name not in QUICK),
    ],
)
def test_an_interrupted_fit_ends_as_any_other(name, tmp_path, monkeypatch, counted):
    undisturbed = again(ENCODERS[name]).fit(DATA.X, DATA.y)
    assert not counted
    n_epochs = len(undisturbed.history_)
    encoder = again(ENCODERS[name], checkpoint_dir=tmp_path)
    rng, kills = np.random.RandomState(0), 0
    while interrupt(encoder, monkeypatch, rng.randint(1, n_epochs // 3)):
        kills += 1
    assert kills > 2
    # Of each write that was prevented the epoch before, at most, was lost.
    if name != "halves":  # whose epochs are not in the history
        assert n_epochs <= len(counted) <= n_epochs + kills
    counted.clear()
    encoder.fit(DATA.X, DATA.y)
    assert not counted  # it was finished, and returns at once
    assert_same_fit(encoder, undisturbed)


def test_early_stopping_stops_in_its_test():
    encoder = again(ENCODERS["early stopping"]).fit(DATA.X, DATA.y)
    assert encoder.n_iter_ < encoder.max_epochs


def assert_equal_contents(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_equal_contents(value, second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for pair in zip(first, second, strict=True):
            assert_equal_contents(*pair)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


@pytest.mark.slow
def test_what_is_taken_up_is_what_was_saved(tmp_path, monkeypatch):
    # Of networks of eight units the training ends before the penalty begins.
    wide = {"hidden_layer_sizes": (128, 128), "learning_rate": 0.03}
    encoder = again(ENCODERS["early stopping"], checkpoint_dir=tmp_path, **wide)
    assert interrupt(encoder, monkeypatch, 36)  # after 24 writes of the search
    taken_up, restore = [], checkpoint.restore

    def restore_and_look(net, state):
        finished = restore(net, state)
        assert_equal_contents(checkpoint.snapshot(net, finished=finished), state)
        if not finished:
            assert state["travel"] > 0
            assert state["early_stopping"]["best_epoch_"] > 0
            taken_up.append(state["n_steps"])
        return finished

    monkeypatch.setattr(checkpoint, "restore", restore_and_look)
    encoder.fit(DATA.X, DATA.y)
    assert taken_up == [12]


def test_an_interrupted_writing_keeps_what_was_there(tmp_path, monkeypatch, counted):
    undisturbed = again(ENCODERS["mlp"]).fit(DATA.X, DATA.y)
    encoder = again(ENCODERS["mlp"], checkpoint_dir=str(tmp_path))
    n_left, replace = [3], os.replace

    def rarely(*args):
        n_left[0] -= 1
        if n_left[0] == 0:
            raise Killed
        replace(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", rarely)
        with pytest.raises(Killed):
            encoder.fit(DATA.X, DATA.y)
    counted.clear()
    encoder.fit(DATA.X, DATA.y)
    assert len(counted) == len(undisturbed.history_) - 1
    assert_same_fit(encoder, undisturbed)


def test_files_are_not_written_every_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 3600.0)
    writes, original = [], checkpoint.Checkpoint._write

    def write(self, state):
        writes.append(self.title)
        original(self, state)

    monkeypatch.setattr(checkpoint.Checkpoint, "_write", write)
    again(ENCODERS["mlp"], checkpoint_dir=tmp_path).fit(DATA.X, DATA.y)
    assert len(set(writes)) == len(writes) > 3  # one for each training


@pytest.mark.slow
def test_warm_starts_go_on_too(tmp_path, monkeypatch):
    def two_fits(**params):
        encoder = again(ENCODERS["mlp"], warm_start=True, **params).fit(DATA.X, DATA.y)
        return encoder.fit(DATA.X[::2], DATA.y[::2])

    undisturbed = two_fits()
    with monkeypatch.context() as patch:
        n_writes = sum(row["phase"] != "" for row in undisturbed.history_)
        first = again(ENCODERS["mlp"]).fit(DATA.X, DATA.y)
        kill_after(patch, len(first.history_) + n_writes // 2)
        with pytest.raises(Killed):
            two_fits(checkpoint_dir=tmp_path)
    assert_same_fit(two_fits(checkpoint_dir=tmp_path), undisturbed)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("params", "X", "y"),
    [
        ({"learning_rate": 0.02}, DATA.X, DATA.y),
        ({}, DATA.X, -DATA.y),
        *(
            pytest.param(*other, marks=pytest.mark.slow)
            for other in (
                ({"penalty": L1(group=0.1)}, DATA.X, DATA.y),
                ({"random_state": 1}, DATA.X, DATA.y),
                ({"task_weight": [1.0, 1.0, 1.0, 2.0]}, DATA.X, DATA.y),
                ({}, DATA.X[:, ::-1], DATA.y),
            )
        ),
    ],
)
def test_another_fit_starts_anew_in_the_same_directory(tmp_path, counted, params, X, y):
    again(ENCODERS["gates"], checkpoint_dir=tmp_path).fit(DATA.X, DATA.y)
    other = again(ENCODERS["gates"], **params).fit(X, y)
    counted.clear()
    saved = again(ENCODERS["gates"], checkpoint_dir=tmp_path, **params).fit(X, y)
    assert len(counted) == len(other.history_)
    assert_same_fit(saved, other)
    assert len(list(tmp_path.iterdir())) == 2


def test_verbose_is_the_same_fit(tmp_path, counted, capsys):
    again(ENCODERS["gates"], checkpoint_dir=tmp_path).fit(DATA.X, DATA.y)
    counted.clear()
    again(ENCODERS["gates"], checkpoint_dir=tmp_path, verbose=1).fit(DATA.X, DATA.y)
    assert not counted


class Harmful:
    """Unpickled, it makes a directory."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def signed(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        "changed",
        "code",
        *(pytest.param(d, marks=pytest.mark.slow) for d in ("empty", "cut", "other", "foreign")),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(tmp_path, damage):
    encoder = again(ENCODERS["gates"], checkpoint_dir=tmp_path / "files").fit(DATA.X, DATA.y)
    before = dict(vars(encoder))
    first, second, *_ = sorted((tmp_path / "files").rglob("*.pt"))
    content = bytearray(first.read_bytes())
    if damage == "changed":
        content[len(content) // 2] ^= 1
    first.write_bytes(
        {
            "empty": b"",
            "cut": content[:-10],
            "changed": content,
            "other": second.read_bytes(),
            "foreign": signed([1, 2]),
            "code": signed(Harmful(str(tmp_path / "harm"))),
        }[damage]
    )
    with pytest.raises(ValueError, match=r"training0001\.pt is damaged.*another checkpoint_dir"):
        encoder.fit(DATA.X, DATA.y)
    assert not (tmp_path / "harm").exists()
    assert vars(encoder) == before
    shutil.rmtree(first.parent)  # as the message says
    encoder.fit(DATA.X, DATA.y)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_a_seed_is_needed(tmp_path, random_state):
    encoder = SparseSpecialistEncoder(checkpoint_dir=tmp_path, random_state=random_state)
    with pytest.raises(ValueError, match="random_state must be an integer"):
        encoder.fit(DATA.X, DATA.y)


def test_callbacks_are_refused(tmp_path):
    callback = ("mine", checkpoint.Checkpoint(tmp_path / "mine", "mine"))
    encoder = again(ENCODERS["mlp"], checkpoint_dir=tmp_path, callbacks=[callback])
    with pytest.raises(ValueError, match="checkpoint_dir and callbacks"):
        encoder.fit(DATA.X, DATA.y)


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").touch()
    encoder = again(ENCODERS["mlp"], checkpoint_dir=tmp_path / "file")
    with pytest.raises(ValueError, match=r"checkpoint_dir=.*file' cannot be used"):
        encoder.fit(DATA.X, DATA.y)


@pytest.mark.slow
def test_the_fits_of_a_search_share_a_directory(tmp_path, counted):
    encoder = again(ENCODERS["gates"], checkpoint_dir=tmp_path)
    search = GridSearchCV(encoder, {"learning_rate": [0.02, 0.03]}, cv=2, n_jobs=1).fit(
        DATA.X, DATA.y
    )
    assert len(list(tmp_path.iterdir())) == 5
    counted.clear()
    second = GridSearchCV(encoder, {"learning_rate": [0.02, 0.03]}, cv=2, n_jobs=1).fit(
        DATA.X, DATA.y
    )
    assert not counted
    assert_same_fit(search.best_estimator_, second.best_estimator_)


@pytest.mark.slow
def test_an_interrupted_pipeline_goes_on(tmp_path, monkeypatch, counted):
    data = make_digit_sequences(100, n_timesteps=4, n_tasks=2, random_state=0)

    def pipeline(**params):
        encoder = SparseSpecialistEncoder(
            heads="linear", n_relevant=2, sparsity=0, max_epochs=3, **params
        )
        return SpecialistPipeline(PCA(8), encoder=encoder, cv=2, random_state=0)

    undisturbed = pipeline().fit(data.X, data.y)
    counted.clear()
    rng, kills = np.random.RandomState(0), 0
    saved = pipeline(checkpoint_dir=tmp_path)
    while interrupt(saved, monkeypatch, rng.randint(2, 12), data.X, data.y):
        kills += 1
    n_fits = len(list(tmp_path.iterdir()))
    assert kills >= n_fits > 1
    counted.clear()
    saved.fit(data.X, data.y)
    assert not counted
    np.testing.assert_array_equal(saved.predict(data.X), undisturbed.predict(data.X))
    np.testing.assert_array_equal(saved.validation_gain_, undisturbed.validation_gain_)


# What a process that will be killed runs; it gets its data by a seed.
PROGRAM = """
import warnings
warnings.simplefilter("ignore")
from skspecialist import SparseSpecialistEncoder
from skspecialist.datasets import make_specialist_latents
from skspecialist.networks import checkpoint
checkpoint.INTERVAL = 0.0
data = make_specialist_latents(100, 4, 2, n_layers=1, random_state=0)
SparseSpecialistEncoder(checkpoint_dir={!r}, **{!r}).fit(data.X, data.y)
"""


def state_of(directory):
    """Return what changes whenever a file is written."""
    found = {}
    for path in directory.rglob("*.pt"):
        with suppress(FileNotFoundError):
            found[path] = path.stat().st_mtime_ns
    return found


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
@pytest.mark.parametrize(
    ("params", "n_kills"),
    [
        ({"heads": "mlp"}, 3),
        pytest.param({"heads": "linear"}, 5, marks=pytest.mark.slow),
        pytest.param({"heads": "mlp", "early_stopping": True}, 5, marks=pytest.mark.slow),
        pytest.param({"penalty": "hard_concrete"}, 5, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_killed_process_loses_nothing(tmp_path, counted, params, n_kills):
    params = params | {"max_epochs": 30, "random_state": 0}
    undisturbed = SparseSpecialistEncoder(**params).fit(DATA.X, DATA.y)
    context = multiprocessing.get_context("forkserver")
    # Imported once for all; torch imports the last when it first optimizes.
    context.set_forkserver_preload(["skspecialist.encoder", "torch._dynamo"])
    rng = np.random.RandomState(0)
    for _ in range(n_kills):
        before = state_of(tmp_path)
        process = context.Process(target=exec, args=(PROGRAM.format(str(tmp_path), params), {}))
        process.start()
        while process.is_alive() and state_of(tmp_path) == before:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL  # the fit was not over
    encoder = SparseSpecialistEncoder(checkpoint_dir=tmp_path, **params).fit(DATA.X, DATA.y)
    assert_same_fit(encoder, undisturbed)
    # Each process saved an epoch, or the end of a training whose last epoch was saved before.
    assert 0 < len(counted) <= len(undisturbed.history_) - n_kills // 2
