"""Task structure from selection alone: no task is observed, every sequence succeeded.

``python benchmarks/selection.py`` prints the tables and saves them. Settings and seeds were
fixed beforehand; the number of tasks is not given. Run it with one thread, as in
``OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1``: the matrices are small.
"""

import time

import numpy as np
from report import Report, command_line

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.metrics import structure_scores

SEEDS = range(3)
NULL_SEEDS, NULL_SIZES = range(5000, 5010), (300, 10_000)
# Sequences, steps, tasks, features, noise of the actions, their effect on the next state.
SETTINGS = [
    (10_000, 20, 4, 1, 0.0, 0.0),
    (10_000, 40, 8, 1, 0.0, 0.0),
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
    """Return the fitted identifier and the CPU seconds."""
    start = time.process_time()
    identifier = TaskStructureIdentifier(2, criterion="selection", n_subsamples=0).fit(data.X)
    return identifier, time.process_time() - start


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
        identifier, taken = fit(data)
        scores.append(structure_scores(data.structure, identifier.structure_, match=True).mcc)
        right += identifier.n_tasks_ == n_tasks
        seconds.append(taken)
    counts = f"{right} of {len(SEEDS)}"
    return [float(np.mean(scores)), min(scores), counts, float(np.mean(seconds)), max(seconds)]


def selected(report):
    """Add a table of sequences that were recorded because all tasks succeeded."""
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
    """Add a table of sequences that were not selected, where no task can be found."""
    rows = []
    for n_sequences in NULL_SIZES:
        n_empty = 0
        for seed in NULL_SEEDS:
            data = make_collider_sequences(n_sequences, random_state=seed)
            n_empty += fit(data)[0].n_tasks_ == 0
        rows.append([n_sequences, f"{n_empty} of {len(NULL_SEEDS)}"])
    report.table("Sequences without selection, T=20, M=4", ["sequences", "nothing found"], rows)


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        SEEDS, SETTINGS = SEEDS[:1], [(1000, 8, 2, 1, 0.0, 0.0)]
        NULL_SEEDS, NULL_SIZES = NULL_SEEDS[:1], NULL_SIZES[:1]
    title = "Task structure from selection alone (segments x tasks)"
    report = Report("selection", title, options.output)
    selected(report)
    not_selected(report)
    report.save()
