"""Trainings on a GPU beside those on the CPU: seconds, and how far the results agree.

``python benchmarks/device.py`` fits encoders, a localizer and a torch module as generalist on both
devices, and times one update of the encoder, also compiled by torch and as a CUDA graph. Without
a GPU both devices are the CPU. Takes five minutes.
"""

import os
import time
import warnings

import numpy as np
import torch
from report import Report, command_line
from torch import nn

from skspecialist import SparseSpecialistEncoder, TaskLocalizer, TorchGeneralist
from skspecialist.datasets import make_specialist_latents
from skspecialist.networks.layers import LEARNS_FROM_ALL, Bottlenecks, Encoders, MaskedHeads
from skspecialist.networks.net import ClosedForm, FlatAdamW, flatten_parameters
from skspecialist.networks.penalties import L1
from skspecialist.networks.training import StepData, resolve_device, seeded

GPU = resolve_device("auto")
DEVICES = ("cpu", GPU)
SIZES = [(1_000, 10), (100_000, 64)]
N_TEST = 2_000
WIDE = {"hidden_layer_sizes": (1024, 1024), "batch_size": 4096, "max_epochs": 10}
LOCALIZER = (500, 20, 32)  # sequences, steps, features
TRANSFORMER = (20_000, 16, 128)  # rows, tokens, width
MAX_EPOCHS = None  # None is the default
N_UPDATES, COMPILES = 300, True


def timed(function, *arguments):
    """Return the result of a call, and its seconds."""
    start = time.perf_counter()
    result = function(*arguments)
    if GPU == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def warm_up():
    """Load the libraries of the GPU, which takes seconds once in a process."""
    rows = np.random.default_rng(0).normal(size=(100, 4))
    for n_relevant in (1, None):
        encoder = SparseSpecialistEncoder(n_relevant=n_relevant, max_epochs=1, device=GPU)
        timed(encoder.fit, rows, rows[:, :2])


def row_of(name, fit, predict, losses):
    """Return a row of the table of fits: seconds on both devices, and their differences."""
    fits, seconds = zip(*(timed(fit, device) for device in DEVICES), strict=True)
    cpu, gpu = (np.asarray(predict(result), dtype=float) for result in fits)
    spread = np.sqrt(np.mean((cpu - gpu) ** 2)) / cpu.std()
    first, second = map(losses, fits)
    return [
        name,
        *seconds,
        f"{spread:.1e}",
        f"{np.abs(cpu - gpu).max() / cpu.std():.1e}",
        f"{first:.5f}",
        f"{second:.5f}",
        f"{abs(first - second):.1e}",
    ]


def encoder_row(n_samples, n_features, note="", **parameters):
    """Return a row of an encoder, with held-out losses."""
    data = make_specialist_latents(
        n_samples + N_TEST, 10, 5, 8, n_features=n_features, random_state=0
    )
    X, y, held_out = data.X[:n_samples], data.y[:n_samples], data.X[n_samples:]
    truth, scale = data.y[n_samples:], y.var(axis=0)

    def fit(device):
        options = {"max_epochs": MAX_EPOCHS, "random_state": 0, "device": device}
        return SparseSpecialistEncoder(**options | parameters).fit(X, y)

    def loss(encoder):
        return float(((encoder.predict(held_out) - truth) ** 2 / scale).mean())

    name = f"encoder, {n_samples} x {n_features}{note}"
    return row_of(name, fit, lambda encoder: encoder.predict(held_out), loss)


def localizer_row():
    """Return a row of a localizer, with the held-out loss."""
    n_sequences, n_timesteps, n_features = LOCALIZER
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * n_sequences, n_timesteps, n_features))
    y = (X[:, :, :2] > 2).any(axis=1)

    def fit(device):
        localizer = TaskLocalizer(max_epochs=MAX_EPOCHS, device=device, random_state=0)
        return localizer.fit(X[:n_sequences], y[:n_sequences])

    def loss(localizer):
        return -localizer.score(X[n_sequences:], y[n_sequences:])

    def predict(localizer):
        return localizer.predict_proba(X[n_sequences:])

    return row_of(f"localizer, {n_sequences} x {n_timesteps} x {n_features}", fit, predict, loss)


def transformer_row():
    """Return a row of a transformer as generalist; its loss is the mean square of its states."""
    n_rows, n_tokens, width = TRANSFORMER
    with seeded(0, "cpu"):
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True)
        module = nn.TransformerEncoder(layer, 4)
    X = np.random.default_rng(0).normal(size=(n_rows, n_tokens * width)).astype(np.float32)

    def states(device):
        generalist = TorchGeneralist(
            module, pooling="mean", input_shape=(n_tokens, width), device=device
        )
        return generalist.fit(X).transform(X)

    name = f"transformer of 4 layers, {n_rows} x {n_tokens} tokens"
    return row_of(name, states, lambda found: found, lambda found: float((found**2).mean()))


class SquaredError(nn.Module):
    """Sum of the weighted squared errors, with its gradient."""

    def gradient(self, outputs, targets, weights):
        """Return loss and gradient, see the loss of the encoder."""
        errors = outputs[..., 0] - targets.T
        weighted = errors * weights
        return (errors * weighted).sum(), 2 * weighted[..., None]


class Update:
    """One update of an encoder on a batch that is on a device."""

    def __init__(self, device, n_features, batch_size):
        rng = np.random.default_rng(0)
        data = StepData.from_arrays(
            rng.normal(size=(batch_size, 1, n_features)),
            np.ones((batch_size, 1, 8)),
            list(rng.normal(size=(8, batch_size))),
        )
        with seeded(0, "cpu"):
            module = Bottlenecks(
                Encoders(n_features, (128, 128), 8),
                MaskedHeads(8, [1] * 8),
                SquaredError(),
                penalty=L1(),
                sparsity=torch.zeros(1),
                allowed=torch.ones(1, 8, 8),
                held_out=torch.tensor([LEARNS_FROM_ALL]),
            ).to(device)
        named = {name: p for name, p in module.named_parameters() if name != "mask"}
        groups = [flatten_parameters(list(named.values())), flatten_parameters([module.mask])]
        self.gradients = ClosedForm(module)
        self.optimizer = FlatAdamW([{"params": [flat]} for flat in groups], 1e-3)
        inputs, self.truth = data.to(device)[torch.arange(batch_size)]
        self.inputs = inputs["X"], inputs["step_weights"]

    def __call__(self):
        """Take the step."""
        loss, _ = self.gradients(*self.inputs, self.truth)
        self.optimizer.step()
        return loss


def microseconds(update):
    """Return the time of an update."""
    for _ in range(10):
        update()
    _, seconds = timed(lambda: [update() for _ in range(N_UPDATES)] and None)
    return 1e6 * seconds / N_UPDATES


def compiled(update):
    """Return an update whose gradients torch has compiled."""
    update.gradients = torch.compile(update.gradients)
    return update


def graph(update):
    """Return the replay of an update, recorded as a CUDA graph."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            update()
    torch.cuda.synchronize()
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded, stream=stream):
        update()
    return recorded.replay


def update_rows():
    """Return rows of the time of an update."""
    kinds = [("cpu", "closed form", lambda update: update)]
    if GPU == "cuda":
        kinds += [(GPU, "closed form", lambda update: update), (GPU, "closed form, graph", graph)]
    if COMPILES:
        kinds += [(device, "torch.compile", compiled) for device in dict.fromkeys(DEVICES)]
    rows = []
    for n_features, batch_size in ((10, 128), (64, 128), (64, 8192)):
        for device, name, change in kinds:
            try:
                update = change(Update(device, n_features, batch_size))
                _, first = timed(update)
                found = f"{microseconds(update):.0f}"
            except Exception as error:  # compilers fail in many ways
                lines = str(error).strip().splitlines() or [""]
                first, found = float("nan"), f"{type(error).__name__}: {lines[0][:60]}"
            rows.append([f"{batch_size} x {n_features}", device, name, first, found])
    return rows


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        SIZES, N_TEST, WIDE = [(50, 10)], 50, {"max_epochs": 1}
        LOCALIZER, TRANSFORMER, MAX_EPOCHS = (20, 4, 3), (20, 2, 8), 1
        N_UPDATES, COMPILES = 2, False
    warnings.simplefilter("ignore")
    report = Report("device", "Trainings on a GPU and on the CPU", options.output)
    name = torch.cuda.get_device_name() if GPU == "cuda" else "none, the CPU in its place"
    report.line(f"GPU: {name}; the CPU has {os.cpu_count()} cores, of which a training takes one")
    warm_up()
    rows = [encoder_row(*size) for size in SIZES]
    rows.append(encoder_row(*SIZES[0], ", no input noise", input_noise=0.0, n_relevant=5))
    rows.append(encoder_row(*SIZES[-1], ", 1024 units, batches of 4096", n_relevant=5, **WIDE))
    rows += [localizer_row(), transformer_row()]
    header = [
        "",
        "CPU s",
        "GPU s",
        "rms difference",
        "largest",
        "loss CPU",
        "loss GPU",
        "differ by",
    ]
    report.table("Fits, and held-out predictions in their standard deviations", header, rows)
    header = ["batch", "device", "update", "first s", "microseconds"]
    report.table("One update of an encoder into 8 latents, 8 tasks", header, update_rows())
    report.save()
