"""Time of the encoder, and the part of it that its training loop adds.

10,000 rows of 64 features: one fit, the whole path with cross-validation, LassoNet's path on the
same rows, and an epoch of a fit with all choices made (``n_relevant``, no sparsity) against an
epoch of a loop written by hand around a network of the same size.
Run ``python benchmarks/encoder_speed.py``; takes some minutes.
"""

import time
import warnings

import torch
from peer_networks import Bottleneck, standardized_tasks
from report import Report, command_line
from representations import REPRESENTATIONS, LassoNetSelector

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoder, SparseSpecialistEncoderCV
from skspecialist.metrics import block_r2

N_TRAIN, N_TEST, N_FEATURES = 10_000, 2_000, 64
BATCH, LEARNING_RATE = 128, 0.01
# An epoch is the difference of two fits over the difference of their epochs, so that what
# happens once per fit cancels.
EPOCHS = (5, 25)
MAX_EPOCHS = None  # of the whole fits, as by default


def timed(function, *arguments):
    """Return the result of a call, seconds on the clock, and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def fits(report, data):
    """Add a table of whole fits."""
    X, y, held_out = data.X[:N_TRAIN], data.y[:N_TRAIN], slice(N_TRAIN, None)
    options = {"max_epochs": MAX_EPOCHS, "random_state": 0}
    n_relevant = int(data.relevant.sum())
    methods = {
        "SparseSpecialistEncoder": SparseSpecialistEncoder(**options),
        "SparseSpecialistEncoder, n_relevant": SparseSpecialistEncoder(
            n_relevant=n_relevant, **options
        ),
        "SparseSpecialistEncoderCV": SparseSpecialistEncoderCV(**options),
    }
    if "LassoNet" in REPRESENTATIONS and MAX_EPOCHS is None:
        methods["LassoNet's path"] = LassoNetSelector(max_rows=N_TRAIN)
    rows = []
    for name, estimator in methods.items():
        _, wall, cpu = timed(estimator.fit, X, y)
        r2 = block_r2(estimator.transform(data.X[held_out]), data.latents[held_out])
        joint = r2[data.relevant].mean() - r2[~data.relevant].mean()
        rows.append([name, wall, cpu, float(joint)])
    report.table(
        f"{N_TRAIN} rows, {N_FEATURES} features of 6 latents, 4 tasks",
        ["", "seconds", "CPU seconds", "joint score"],
        rows,
    )


def epochs(report, data):
    """Add a table of an epoch of the training, and of a loop by hand."""
    X, y = data.X[:N_TRAIN], data.y[:N_TRAIN]
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
            (timed(function, many)[2] - timed(function, few)[2]) / (many - few)
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
        N_TRAIN, N_TEST, N_FEATURES, EPOCHS, MAX_EPOCHS = 128, 50, 8, (1, 3), 1
        warnings.simplefilter("ignore")
    report = Report("encoder_speed", "Time of the encoder", options.output)
    torch.set_num_threads(1)  # as the encoder trains; the loop by hand would take two
    report.line("one thread")
    data = make_specialist_latents(N_TRAIN + N_TEST, 6, 3, 4, n_features=N_FEATURES, random_state=0)
    fits(report, data)
    epochs(report, data)
    report.save()
