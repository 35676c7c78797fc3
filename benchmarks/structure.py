"""Recovery of the task structure: accuracy and false discoveries of segments x tasks.

``python benchmarks/structure.py`` prints the tables and saves them. Settings and seeds
were fixed beforehand; the generators' densities, weights and noises are their defaults
unless a row specifies others.
"""

import time

import numpy as np
from report import Report, command_line
from sklearn.decomposition import PCA

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences, make_digit_sequences
from skspecialist.metrics import structure_scores
from skspecialist.structure import Collider

SEEDS = range(100, 150)
NULL_SEEDS = range(5000, 5100)
# Numbers of sequences: of the paper's setting, with longer segments, by size, null tasks, digits.
N_PAPER, N_LONGER, SIZES, N_NULL, N_DIGITS = (
    10_000,
    (2000, 200),
    (10_000, 1000, 300, 150),
    (1000, 10_000),
    1000,
)


def measure(identifier, make):
    """Return mean and smallest MCC, the mean false discovery proportion, and seconds a fit."""
    scores, seconds = [], 0.0
    for seed in SEEDS:
        data = make(seed)
        start = time.perf_counter()
        identifier.fit(data.X, data.y)
        seconds += time.perf_counter() - start
        scores.append(structure_scores(data.structure, identifier.structure_))
    mcc = [score.mcc for score in scores]
    false = np.mean([score.false_discovery_proportion for score in scores])
    return [float(np.mean(mcc)), float(np.min(mcc)), float(false), seconds / len(scores)]


def paper_setting(report):
    """10,000 sequences, T=20, M=4, L=2."""
    methods = {
        "direct, alpha 0.01": {"alpha": 0.01},
        "direct, alpha 0.05": {"alpha": 0.05},
        "collider, rank_one, alpha 0.01": {"criterion": "collider", "alpha": 0.01},
        "collider, rank_one, alpha 0.05": {"criterion": "collider", "alpha": 0.05},
        "collider, any, alpha 0.01": {
            "criterion": Collider(aggregation="any"),
            "alpha": 0.01,
        },
        "collider, any, alpha 0.05, no correction (the paper's)": {
            "criterion": Collider(aggregation="any"),
            "correction": "none",
        },
    }
    rows = []
    for effect, noise in [(0.0, 0.5), (0.4, 0.5), (0.0, 1.0), (0.4, 1.0)]:

        def make(seed, effect=effect, noise=noise):
            return make_collider_sequences(
                N_PAPER, action_effect=effect, action_noise=noise, random_state=seed
            )

        for name, params in methods.items():
            measured = measure(
                TaskStructureIdentifier(2, independence_test="fisher_z", **params), make
            )
            rows.append([effect, noise, name, *measured])
    report.table(
        f"{N_PAPER:,} sequences, T=20, M=4, L=2, {len(SEEDS)} seeds",
        ["action_effect", "action_noise", "method", "MCC", "worst", "false", "seconds"],
        rows,
    )


def longer_segments(report):
    """L=4, T=24, direct criterion at alpha 0.05: power of each choice of segment_steps."""
    rows = []
    for effect in (0.0, 0.4):
        for n_sequences in N_LONGER:

            def make(seed, effect=effect, n_sequences=n_sequences):
                return make_collider_sequences(
                    n_sequences, 24, 4, 4, action_effect=effect, random_state=seed
                )

            for segment_steps in ("interior", "last", "all"):
                identifier = TaskStructureIdentifier(
                    4, segment_steps=segment_steps, independence_test="wilks"
                )
                rows.append([effect, n_sequences, segment_steps, *measure(identifier, make)])
    report.table(
        f"T=24, M=4, L=4, direct, alpha 0.05, {len(SEEDS)} seeds",
        ["action_effect", "sequences", "segment_steps", "MCC", "worst", "false", "seconds"],
        rows,
    )


def sample_sizes(report):
    """The default identifier from 150 to 10,000 sequences."""
    rows = []
    for n_sequences in SIZES:

        def make(seed, n_sequences=n_sequences):
            return make_collider_sequences(n_sequences, random_state=seed)

        for criterion in ("direct", "collider"):
            identifier = TaskStructureIdentifier(
                2, criterion=criterion, independence_test="fisher_z"
            )
            rows.append([n_sequences, criterion, *measure(identifier, make)])
    report.table(
        f"T=20, M=4, L=2, action_effect 0.4, alpha 0.05, {len(SEEDS)} seeds",
        ["sequences", "criterion", "MCC", "worst", "false", "seconds"],
        rows,
    )


def null_tasks(report):
    """One null task, beside four that are not."""
    rows = []
    for criterion in ("direct", "collider"):
        for n_sequences in N_NULL:
            identifier = TaskStructureIdentifier(
                2, criterion=criterion, independence_test="fisher_z"
            )
            n_empty = 0
            for seed in NULL_SEEDS:
                data = make_collider_sequences(n_sequences, n_null_tasks=1, random_state=seed)
                n_empty += not identifier.fit(data.X, data.y).structure_[:, -1].any()
            rows.append([criterion, n_sequences, f"{n_empty} of {len(NULL_SEEDS)}"])
    report.table(
        "Null tasks without a discovery, alpha 0.05",
        ["criterion", "sequences", "empty"],
        rows,
    )


def digits(report):
    """Real images, 10 principal components a step."""

    def make(seed):
        data = make_digit_sequences(N_DIGITS, random_state=seed)
        rows = PCA(10, random_state=0).fit_transform(data.X.reshape(-1, 64))
        data.X = rows.reshape(N_DIGITS, 16, 10)
        return data

    linear = TaskStructureIdentifier(2, independence_test="wilks")
    rows = [[alpha, *measure(linear.set_params(alpha=alpha), make)] for alpha in (0.01, 0.05)]
    report.table(
        f"Digit sequences, {N_DIGITS:,} of 16 steps, 4 tasks, PCA(10), direct, {len(SEEDS)} seeds",
        ["alpha", "MCC", "worst", "false", "seconds"],
        rows,
    )


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        SEEDS, NULL_SEEDS = SEEDS[:1], NULL_SEEDS[:1]
        N_PAPER, N_LONGER, SIZES, N_NULL, N_DIGITS = 200, (200,), (200,), (200,), 200
    report = Report("structure", "Task structure (segments x tasks)", options.output)
    for part in (paper_setting, longer_segments, sample_sizes, null_tasks, digits):
        part(report)
    report.save()
