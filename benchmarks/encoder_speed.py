"""How long does the encoder take, and what of that is the price of its convenience?

10,000 rows of 64 features: one fit, the whole path with cross-validation, LassoNet's path on the
same rows, and an epoch of the training against a loop written by hand around the same
network. Run ``python benchmarks/encoder_speed.py``; takes some minutes.
"""

import time

import numpy as np
import torch
from report import Report
from representations import REPRESENTATIONS, LassoNetSelector

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoder, SparseSpecialistEncoderCV
from skspecialist.encoder._training import Settings, new_bottlenecks, seeded, train_bottlenecks
from skspecialist.encoder.penalties import L1
from skspecialist.metrics import block_r2
from skspecialist.networks.data import StepData, WholeBatches

N_TRAIN, N_TEST, N_FEATURES, EPOCHS = 10_000, 2_000, 64, 10


def timed(function):
    """Return its result, seconds on the clock, and seconds of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def fits(report, data):
    """Whole fits, with what they found."""
    X, y, held_out = data.X[:N_TRAIN], data.y[:N_TRAIN], slice(N_TRAIN, None)
    methods = {
        "SparseSpecialistEncoder": SparseSpecialistEncoder(random_state=0),
        "SparseSpecialistEncoder, told the number": SparseSpecialistEncoder(
            n_relevant=int(data.relevant.sum()), random_state=0
        ),
        "SparseSpecialistEncoderCV": SparseSpecialistEncoderCV(random_state=0),
    }
    if "LassoNet" in REPRESENTATIONS:
        methods["LassoNet's path"] = LassoNetSelector(max_rows=N_TRAIN)
    rows = []
    for name, estimator in methods.items():
        _, wall, cpu = timed(lambda estimator=estimator: estimator.fit(X, y))
        r2 = block_r2(estimator.transform(data.X[held_out]), data.latents[held_out])
        joint = r2[data.relevant].mean() - r2[~data.relevant].mean()
        rows.append([name, wall, cpu, float(joint)])
    report.table(
        f"{N_TRAIN} rows, {N_FEATURES} features of 6 latents, 4 tasks",
        ["", "seconds", "CPU seconds", "joint score"],
        rows,
    )


def epochs(report, data):
    """An epoch of the training, and of a plain loop around the same network."""
    y = (data.y - data.y.mean(axis=0)) / data.y.std(axis=0)
    X = (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)
    steps = np.broadcast_to(np.ones((1, y.shape[1])), (len(X), 1, y.shape[1]))
    rows = StepData.from_arrays(X[:, None], steps, list(y.T))
    settings = Settings(
        n_components=6,
        n_relevant=None,
        sparsity=0.0,
        shares=(),
        n_halves=0,
        penalty=L1(),
        beta=0.0,
        independence_weight=0.0,
        linear_heads=False,
        hidden=(128, 128),
        max_epochs=EPOCHS,
        batch_size=128,
        learning_rate=0.01,
        refit=False,
        early_stopping=False,
        callbacks=[],
        device="cpu",
        verbose=0,
        n_classes=[0] * y.shape[1],
    )

    def loop():
        module = new_bottlenecks(rows, settings, [3])
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, fused=True)
        for _ in range(EPOCHS):
            for batch, truth in WholeBatches(rows, 128, shuffle=True):
                optimizer.zero_grad()
                loss = sum(module.losses(module(**batch), truth).values())
                loss.backward()
                optimizer.step()

    ratios = []
    for _ in range(3):
        with seeded(0, "cpu"):
            _, _, ours = timed(lambda: train_bottlenecks(rows, settings, [3]))
            _, _, plain = timed(loop)
        ratios.append([ours / EPOCHS, plain / EPOCHS, ours / plain])
    median = ratios[int(np.argsort([ratio[2] for ratio in ratios])[1])]
    report.table(
        "An epoch, the median of three runs by ratio",
        ["CPU seconds", "by hand", "ratio"],
        [[float(value) for value in median]],
    )


if __name__ == "__main__":
    report = Report("encoder_speed", "Time of the encoder")
    report.line(f"{torch.get_num_threads()} threads")
    data = make_specialist_latents(N_TRAIN + N_TEST, 6, 3, 4, n_features=N_FEATURES, random_state=0)
    fits(report, data)
    epochs(report, data)
    report.save()
