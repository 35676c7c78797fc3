"""Trainings on a GPU give the results of the CPU, up to rounding errors."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skspecialist import (
    SparseMultiTaskSelector,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
    TaskLocalizer,
)
from skspecialist.independence import CMI
from skspecialist.networks import checkpoint
from skspecialist.networks.training import resolve_device, seeded

pytestmark = [
    pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

N, T, D = 200, 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, T, D))
STEPS = np.eye(T, 3) > 0
AMOUNTS = np.column_stack([X[:, 0, 0], X[:, 1, 1] ** 2, X[:, 2, 0] * X[:, 2, 1]])
MIXED = {"amount": AMOUNTS[:, 0], "label": (AMOUNTS[:, 1] > 0.5).astype(int), "sum": AMOUNTS[:, 2]}
EACH = (RNG.random((N, T, 3)) < 0.7).astype(float)
SHORT = {"max_epochs": 6, "random_state": 0}
ENCODERS = {
    "given size": (SparseSpecialistEncoder(n_relevant=2, decoder="fit", **SHORT), MIXED, EACH),
    "searched": (SparseSpecialistEncoder(**SHORT), MIXED, STEPS),
    "linear": (SparseSpecialistEncoder(n_relevant=2, heads="linear", **SHORT), AMOUNTS, STEPS),
    "gates": (
        SparseSpecialistEncoder(n_relevant=3, penalty="hard_concrete", **SHORT),
        AMOUNTS,
        STEPS,
    ),
    "early stopping": (
        SparseSpecialistEncoder(n_relevant=2, early_stopping=True, **SHORT),
        AMOUNTS,
        None,
    ),
    "cross-validated": (SparseSpecialistEncoderCV(cv=2, **SHORT), MIXED, STEPS),
    "selector": (SparseMultiTaskSelector(**SHORT), AMOUNTS, STEPS),
}


def numbers(encoder):
    """Return predicted amounts, latents and losses of a fit."""
    found = np.asarray(encoder.predict(X, EACH[:, :, : encoder.mask_.shape[0]]), dtype=float)
    losses = [value for row in encoder.history_ for value in row.values() if type(value) is float]
    return found, encoder.latents(X), np.array(losses)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_that_of_the_cpu(name):
    encoder, y, steps = ENCODERS[name]
    fits = [
        type(encoder)(**{**encoder.get_params(), "device": device}).fit(X, y, steps)
        for device in ("cpu", "auto")
    ]
    assert {p.device.type for p in fits[1].module_.parameters()} == {"cpu"}
    for cpu, gpu in zip(*map(numbers, fits), strict=True):
        # Labels close to the boundary may change.
        assert np.mean(np.abs(cpu - gpu) > 1e-3 * (1 + np.abs(cpu))) < 0.01
    copied = pickle.loads(pickle.dumps(fits[1]))
    assert_allclose(copied.latents(X), fits[1].latents(X))


@pytest.mark.parametrize("pooling", ["noisy_or", "log_sum_exp", "top_k_mean"])
def test_a_localizer_is_that_of_the_cpu(pooling):
    y = np.column_stack([(X[:, :, 0] > 1).any(axis=1), (X[:, :, 1] > 1).any(axis=1)])
    cpu, gpu = (
        TaskLocalizer(4, pooling=pooling, smoothing=1, device=device, **SHORT).fit(X, y)
        for device in ("cpu", "cuda")
    )
    assert_allclose(cpu.contributions(X), gpu.contributions(X), atol=1e-3)


def test_amounts_of_a_localizer_are_those_of_the_cpu():
    y = np.maximum(X[:, :, 0], 0).sum(axis=1)
    cpu, gpu = (TaskLocalizer(4, device=device, **SHORT).fit(X, y) for device in ("cpu", "cuda"))
    assert_allclose(cpu.contributions(X), gpu.contributions(X), atol=1e-3)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_killed_fit_continues_on_another_device(first, then, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    parameters = {"n_relevant": 2, "penalty": "hard_concrete", "early_stopping": True, **SHORT}
    expected = SparseSpecialistEncoder(**parameters).fit(X, AMOUNTS)
    original, left = checkpoint.Checkpoint._write, iter(range(3))

    def write(self, state):
        if next(left, None) is None:
            raise Killed
        original(self, state)

    encoder = SparseSpecialistEncoder(checkpoint_dir=tmp_path, device=first, **parameters)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "_write", write)
        with pytest.raises(Killed):
            encoder.fit(X, AMOUNTS)
    (folder,) = tmp_path.iterdir()
    found = encoder.set_params(device=then).fit(X, AMOUNTS)
    assert list(tmp_path.iterdir()) == [folder]
    assert_allclose(found.predict(X), expected.predict(X), atol=1e-3)


def test_a_pipeline_takes_an_encoder_on_a_gpu():
    fits = [
        SpecialistPipeline(
            encoder=SparseSpecialistEncoder(n_relevant=2, device=device, max_epochs=3),
            cv=2,
            random_state=0,
        ).fit(X, AMOUNTS)
        for device in ("cpu", "auto")
    ]
    cpu, gpu = (fit.predict(X) for fit in fits)
    assert_allclose(cpu, gpu, atol=1e-2)


def test_the_critic_of_cmi_is_that_of_the_cpu():
    x, y = X[:, 0, :1], X[:, 0, :1] + X[:, 1, :1]
    cpu, gpu = (CMI(device=device).test(x, y, X[:, 2, :1]) for device in ("cpu", "cuda"))
    assert abs(cpu.statistic - gpu.statistic) < 1e-3


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_generators_are_left_alone(device):
    states = torch.get_rng_state(), torch.cuda.get_rng_state()
    with seeded(0, device):
        torch.rand(3, device=device)
    assert torch.equal(states[0], torch.get_rng_state())
    assert torch.equal(states[1], torch.cuda.get_rng_state())


def test_auto_is_the_gpu():
    assert resolve_device("auto") == "cuda"
