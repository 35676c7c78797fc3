"""Time of the encoder, and the part of it that its training loop adds.

Whole fits in three worlds, beside a plain loop that is given the number of latents (the bottleneck
of ``representations.py``), CEBRA and LassoNet's path; and an epoch of a fit with all choices made
(no sparsity) against an epoch of a loop written by hand around a network of the same size.
Run ``python benchmarks/encoder_speed.py``; takes some minutes.
"""

import time
import warnings

import torch
from peer_networks import Bottleneck, standardized_tasks
from report import Report, command_line
from representations import REPRESENTATIONS, Sizes

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoder, SparseSpecialistEncoderCV
from skspecialist.metrics import block_r2

# Rows, columns, latents, relevant ones and tasks.
WORLDS = [(1_000, 10, 10, 5, 10), (10_000, 10, 10, 5, 10), (10_000, 64, 6, 3, 4)]
N_TEST, SEED = 2_000, 900
LOOP = "bottleneck, true size"
BATCH, LEARNING_RATE = 128, 0.01
# An epoch is the difference of two fits over the difference of their epochs, so that what
# happens once per fit cancels.
EPOCHS = (5, 25)
MAX_EPOCHS = None  # of the whole fits, as by default


def timed(function, *arguments):
    """Return the result of a call, and CPU seconds."""
    start = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - start


def draw(n_rows, n_features, n_latents, n_relevant, n_tasks):
    """Return rows for learning, followed by those for testing."""
    return make_specialist_latents(
        n_rows + N_TEST, n_latents, n_relevant, n_tasks, n_features=n_features, random_state=SEED
    )


def fits(report, world):
    """Add a table of whole fits."""
    n_rows, n_features, _, n_relevant, n_tasks = world
    data, options = draw(*world), {"max_epochs": MAX_EPOCHS, "random_state": 0}
    methods = {
        LOOP: REPRESENTATIONS[LOOP](Sizes(n_features, n_tasks, n_relevant)),
        "SparseSpecialistEncoder": SparseSpecialistEncoder(**options),
        "SparseSpecialistEncoder, n_relevant": SparseSpecialistEncoder(
            n_relevant=n_relevant, **options
        ),
        "SparseSpecialistEncoderCV": SparseSpecialistEncoderCV(**options),
    }
    for name in ("CEBRA", "LassoNet"):
        if name in REPRESENTATIONS and MAX_EPOCHS is None:
            methods[name] = REPRESENTATIONS[name](Sizes(n_features, n_tasks, None))
    rows, plain = [], None
    for name, estimator in methods.items():
        _, cpu = timed(estimator.fit, data.X[:n_rows], data.y[:n_rows])
        columns = estimator.transform(data.X[n_rows:])
        r2 = block_r2(columns, data.latents[n_rows:])
        plain = plain or cpu
        parts = [float(r2[each].mean()) for each in (data.relevant, ~data.relevant)]
        rows.append([name, columns.shape[1], *parts, cpu, cpu / plain])
    report.table(
        f"{n_rows:,} rows, {n_features} columns, {n_relevant} relevant latents, {n_tasks} tasks",
        ["", "kept", "R2 relevant", "R2 irrelevant", "CPU s", "by the loop's"],
        rows,
    )


def epochs(report, data):
    """Add a table of an epoch of the training, and of a loop by hand."""
    X, y = data.X[:-N_TEST], data.y[:-N_TEST]
    n_relevant = int(data.relevant.sum())

    def fit(max_epochs):
        SparseSpecialistEncoder(
            n_relevant=n_relevant,
            sparsity=0.0,
            input_noise=0.0,
            max_epochs=max_epochs,
            batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            random_state=0,
        ).fit(X, y)

    def loop(max_epochs):
        torch.manual_seed(0)
        x, tasks = torch.as_tensor(X, dtype=torch.float32), standardized_tasks(y)
        module = Bottleneck(
            X.shape[1], y.shape[1], n_latents=n_relevant, reconstruct=False, serve=True
        )
        optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, fused=True)
        for _ in range(max_epochs):
            order = torch.randperm(len(x))
            for rows in order[: len(x) // BATCH * BATCH].split(BATCH):
                optimizer.zero_grad()
                module.loss(x[rows], tasks[rows]).backward()
                optimizer.step()

    few, many = EPOCHS
    ratios = []
    for _ in range(3):
        ours, plain = (
            (timed(function, many)[1] - timed(function, few)[1]) / (many - few)
            for function in (fit, loop)
        )
        ratios.append([ours, plain, ours / plain])
    median = sorted(ratios, key=lambda row: row[2])[1]
    report.table(
        "An epoch, the median of three runs by ratio",
        ["CPU seconds", "by hand", "ratio"],
        [[float(value) for value in median]],
    )


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        WORLDS, N_TEST, EPOCHS, MAX_EPOCHS = [(128, 8, 6, 3, 4)], 50, (1, 3), 1
        warnings.simplefilter("ignore")
    report = Report("encoder_speed", "Time of the encoder", options.output)
    torch.set_num_threads(1)  # as the encoder trains; the loop by hand would take two
    report.line("one thread")
    epochs(report, draw(*WORLDS[-1]))  # first, since the first fit of all imports optimizers
    for world in WORLDS:
        fits(report, world)
    report.save()
