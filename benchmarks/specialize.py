"""Decisions of the pipeline between specialist and generalist, where either is better.

``python benchmarks/specialize.py`` draws data of two kinds, 100 times each. *Homogeneous*: all
tasks are the same linear function of all features of all steps, so that a ridge regression
on the generalist is the model and a specialist can only lose. *Heterogeneous*: each task is
a function of two latents at two steps of its own, curved, behind a random mixing. The pipeline
has its defaults. Losses are squared errors on 1,000 further sequences, in units of the variance.
Each draw is kept in ``results/specialize.csv``; a further run adds the missing ones.
"""

import warnings
from itertools import product

import numpy as np
from report import Report, command_line
from store import Store

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline

FIELDS = ["data", "seed", "share", "best", "specialist", "generalist"]
N_FIT, N_TEST, N_TIMESTEPS, N_FEATURES, N_TASKS = 300, 1000, 6, 8, 3
ENCODER = None  # the default one


def homogeneous(rng):
    """Return X and y, each task the same linear function of all features and steps."""
    X = rng.normal(size=(N_FIT + N_TEST, N_TIMESTEPS, N_FEATURES))
    weights = rng.normal(size=(N_TIMESTEPS, N_FEATURES))
    signal = np.einsum("ntd,td->n", X, weights) / np.linalg.norm(weights)
    return X, signal[:, None] + rng.normal(size=(len(X), N_TASKS))


def heterogeneous(rng):
    """Return X and y: each task has two steps and two latents of its own."""
    latents = rng.normal(size=(N_FIT + N_TEST, N_TIMESTEPS, N_FEATURES))
    mixing = np.linalg.qr(rng.normal(size=(N_FEATURES, N_FEATURES)))[0]
    y = np.empty((len(latents), N_TASKS))
    for task in range(N_TASKS):
        steps = latents[:, 2 * task : 2 * task + 2]
        first, second = steps[..., task], steps[..., task + 1]
        y[:, task] = (np.tanh(2 * first) + 0.7 * second**2).sum(axis=1)
    return latents @ mixing, y + 0.3 * y.std(axis=0) * rng.normal(size=y.shape)


DRAWS = {"homogeneous": homogeneous, "heterogeneous": heterogeneous}


def measure(data, seed):
    """Return a row: the share of specialized tasks, and the losses of each strategy."""
    X, y = DRAWS[data](np.random.default_rng(seed))
    fit, test = slice(N_FIT), slice(N_FIT, None)
    row = {"data": data, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for strategy in ("best", "specialist", "generalist"):
            pipeline = SpecialistPipeline(encoder=ENCODER, strategy=strategy, random_state=seed)
            prediction = pipeline.fit(X[fit], y[fit]).predict(X[test])
            row[strategy] = np.mean((prediction - y[test]) ** 2 / y[test].var(axis=0))
            if strategy == "best":
                row["share"] = pipeline.use_specialist_.mean()
    return row


def summary(data, rows):
    """Return a row of the table."""
    means = rows[["best", "specialist", "generalist"]].mean()
    return [
        data,
        len(rows),
        float((rows["share"] > 0).mean()),
        float(rows["share"].mean()),
        *means,
        means["best"] / means["generalist"],
        means["best"] / means["specialist"],
    ]


if __name__ == "__main__":
    parser = command_line(__doc__, stored=True)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    if options.tiny:
        options.draws = options.workers = 1
        DRAWS = {"homogeneous": homogeneous}
        N_FIT, N_TEST = 60, 20
        ENCODER = SparseSpecialistEncoder(2, n_relevant=1, input_noise=0.1, max_epochs=1)
    store = Store(options.output / "specialize.csv", FIELDS, 2)
    if options.fresh:
        store.path.unlink(missing_ok=True)
    draws = product(DRAWS, range(options.first_seed, options.first_seed + options.draws))
    measured = store.fill(measure, draws, options.workers)
    report = Report("specialize", "Whether to specialize", options.output)
    report.table(
        f"{N_FIT} sequences of {N_TIMESTEPS} steps of {N_FEATURES} features, {N_TASKS} tasks: the "
        "share of draws with a specialist,\nof tasks with one, and losses",
        [
            "data",
            "n",
            "draws",
            "tasks",
            "best",
            "specialist",
            "generalist",
            "best/generalist",
            "best/specialist",
        ],
        [summary(data, rows) for data, rows in measured.groupby("data", sort=False)],
    )
    report.save()
