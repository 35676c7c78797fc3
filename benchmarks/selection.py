"""Task structure from selection alone: no task is observed, every sequence succeeded.

``python benchmarks/selection.py`` prints the tables and saves them. Settings and seeds were
fixed beforehand; how many tasks there are is not told. Run it with one thread, as in
``OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1``: the matrices are small.
"""

import time

import numpy as np
from report import Report

from skspecialist._stats.moments import Moments
from skspecialist.datasets import make_collider_sequences
from skspecialist.metrics import structure_scores
from skspecialist.structure.selection import SelectionModel

SEEDS = range(10)
NULL_SEEDS = range(5000, 5050)
# Sequences, steps, tasks, features, noise of the actions, their effect on the next state.
SETTINGS = [
    (10_000, 20, 4, 1, 0.0, 0.0),
    (10_000, 40, 8, 1, 0.0, 0.0),
    (10_000, 100, 12, 1, 0.0, 0.0),
    (10_000, 20, 8, 1, 0.0, 0.0),
    (10_000, 20, 4, 1, 0.5, 0.0),
    (10_000, 40, 8, 1, 0.5, 0.0),
    (10_000, 20, 4, 1, 0.5, 0.4),
    (10_000, 40, 8, 1, 0.5, 0.4),
    (10_000, 20, 4, 3, 0.0, 0.0),
    (10_000, 20, 4, 3, 0.5, 0.4),
    (500, 20, 4, 1, 0.0, 0.0),
    (300, 20, 4, 1, 0.0, 0.0),
    (500, 20, 4, 1, 0.5, 0.4),
]


def fit(data):
    """Return the fitted model and the processor's seconds."""
    flat = data.X.reshape(len(data.X), -1)
    folds = [Moments.from_data(flat[fold::10]) for fold in range(10)]
    start = time.process_time()
    model = SelectionModel(data.segments, data.X.shape[2]).fit(folds)
    return model, time.process_time() - start


def measure(n_sequences, n_timesteps, n_tasks, n_features, noise, effect):
    """Return mean and smallest MCC, how often the number of tasks is right, and seconds."""
    scores, right, seconds = [], 0, []
    for seed in SEEDS:
        data = make_collider_sequences(
            n_sequences,
            n_timesteps,
            n_tasks,
            n_features=n_features,
            action_noise=noise,
            action_effect=effect,
            selection=True,
            random_state=seed,
        )
        model, taken = fit(data)
        scores.append(structure_scores(data.structure, model.structure_, match=True).mcc)
        right += model.n_tasks_ == n_tasks
        seconds.append(taken)
    counts = f"{right} of {len(SEEDS)}"
    return [float(np.mean(scores)), min(scores), counts, float(np.mean(seconds)), max(seconds)]


def selected(report):
    """Sequences recorded because all tasks succeeded."""
    rows = [[*setting, *measure(*setting)] for setting in SETTINGS]
    report.table(
        f"Selected sequences, L=2, {len(SEEDS)} seeds",
        [
            "sequences",
            "T",
            "M",
            "d",
            "action_noise",
            "action_effect",
            "MCC",
            "worst",
            "M right",
            "seconds",
            "longest",
        ],
        rows,
    )


def not_selected(report):
    """Sequences recorded whatever their tasks were: there is nothing to find."""
    rows = []
    for n_sequences in (300, 10_000):
        n_empty = 0
        for seed in NULL_SEEDS:
            data = make_collider_sequences(n_sequences, random_state=seed)
            n_empty += fit(data)[0].n_tasks_ == 0
        rows.append([n_sequences, f"{n_empty} of {len(NULL_SEEDS)}"])
    report.table("Sequences without selection, T=20, M=4", ["sequences", "nothing found"], rows)


if __name__ == "__main__":
    report = Report("selection", "Task structure from selection alone (segments x tasks)")
    selected(report)
    not_selected(report)
    report.save()
