"""Does the pipeline specialise where that helps, and only there?

``python benchmarks/specialise.py`` draws data of two kinds, 100 times each. *Homogeneous*: all
tasks are the same linear function of all features of all steps, so that a ridge regression
on the generalist is the model and a specialist can only lose. *Heterogeneous*: each task is
a function of two latents at two steps of its own, curved, behind a random mixing. The pipeline
has its defaults. Losses are squared errors on 1,000 further sequences, in units of the variance.
"""

import argparse
import warnings

import numpy as np
from joblib import Parallel, delayed
from report import Report
from sklearn.base import clone

from skspecialist import SpecialistPipeline

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


def measure(draw, seed):
    """Return how many tasks are specialised, and the losses of auto, always and never."""
    X, y = draw(np.random.default_rng(seed))
    fit, test = slice(N_FIT), slice(N_FIT, None)
    auto = SpecialistPipeline(random_state=seed)
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        auto.fit(X[fit], y[fit])
        for choice in (auto, *(clone(auto).set_params(specialise=s) for s in ("always", "never"))):
            if choice is not auto:
                choice.fit(X[fit], y[fit])
            losses.append(np.mean((choice.predict(X[test]) - y[test]) ** 2 / y[test].var(axis=0)))
    return [auto.use_specialist_.mean(), *losses]


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    report = Report("specialise", "Whether to specialise")
    rows = []
    for draw in (homogeneous, heterogeneous):
        seeds = range(options.first_seed, options.first_seed + options.draws)
        measured = np.array(Parallel(options.workers)(delayed(measure)(draw, s) for s in seeds))
        share, auto, always, never = measured.T
        rows.append(
            [
                draw.__name__,
                len(measured),
                float((share > 0).mean()),
                float(share.mean()),
                *(float(column.mean()) for column in (auto, always, never)),
                float(auto.mean() / never.mean()),
                float(auto.mean() / always.mean()),
            ]
        )
    report.table(
        f"{N_FIT} sequences of {N_TIMESTEPS} steps of {N_FEATURES} features, {N_TASKS} tasks",
        [
            "tasks",
            "draws",
            "draws with a specialist",
            "tasks specialised",
            "loss of auto",
            "of always",
            "of never",
            "auto / never",
            "auto / always",
        ],
        rows,
    )
    report.save()
