"""Does the pipeline specialize where that helps, and only there?

``python benchmarks/specialize.py`` draws data of two kinds, 100 times each. *Homogeneous*: all
tasks are the same linear function of all features of all steps, so that a ridge regression
on the generalist is the model and a specialist can only lose. *Heterogeneous*: each task is
a function of two latents at two steps of its own, curved, behind a random mixing. The pipeline
has its defaults. Losses are squared errors on 1,000 further sequences, in units of the variance.
Each draw is kept in ``results/specialize.csv`` as it comes; a further run adds what is missing.
"""

import argparse
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from report import Report

from skspecialist import SpecialistPipeline

STORE = Path(__file__).parent / "results" / "specialize.csv"
FIELDS = ["data", "seed", "share", "best", "specialist", "generalist"]
N_FIT, N_TEST, N_TIMESTEPS, N_FEATURES, N_TASKS = 300, 1000, 6, 8, 3


def homogeneous(rng):
    """Return X and y: every task reads all of it in the same way."""
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
            pipeline = SpecialistPipeline(strategy=strategy, random_state=seed)
            prediction = pipeline.fit(X[fit], y[fit]).predict(X[test])
            row[strategy] = np.mean((prediction - y[test]) ** 2 / y[test].var(axis=0))
            if strategy == "best":
                row["share"] = pipeline.use_specialist_.mean()
    return row


def load():
    """Return what was measured, one row a draw."""
    return pd.read_csv(STORE) if STORE.exists() else pd.DataFrame(columns=FIELDS)


def fill(options):
    """Measure the missing draws, and keep each as it comes."""
    wanted = product(DRAWS, range(options.first_seed, options.first_seed + options.draws))
    known = set(load()[FIELDS[:2]].itertuples(index=False, name=None))
    missing = (delayed(measure)(*draw) for draw in wanted if draw not in known)
    for row in Parallel(options.workers, return_as="generator_unordered")(missing):
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        # Another run may have stored draws meanwhile.
        rows = pd.DataFrame([*load().to_dict("records"), row], columns=FIELDS)
        rows = rows.drop_duplicates(FIELDS[:2], keep="last")
        rows.sort_values(FIELDS[:2]).to_csv(STORE, index=False)


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


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    fill(parse())
    report = Report("specialize", "Whether to specialize")
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
            "auto/never",
            "auto/always",
        ],
        [summary(data, rows) for data, rows in load().groupby("data", sort=False)],
    )
    report.save()
