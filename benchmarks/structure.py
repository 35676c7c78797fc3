"""Task structure: how well segments x tasks are found, and how many are false.

``python benchmarks/structure.py`` prints the tables and saves them. Settings and seeds
were fixed beforehand; the generators' densities, weights and noises are their defaults
unless a row says otherwise.
"""

import time

import numpy as np
from report import Report
from sklearn.decomposition import PCA

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences, make_digit_sequences
from skspecialist.metrics import structure_scores

SEEDS = range(100, 150)
NULL_SEEDS = range(5000, 5100)


def measure(identifier, make, seeds=SEEDS):
    """Return mean and smallest MCC, the mean false discovery proportion, and seconds a fit."""
    scores, seconds = [], 0.0
    for seed in seeds:
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
            "criterion": "collider",
            "aggregation": "any",
            "alpha": 0.01,
        },
        "collider, any, alpha 0.05, no correction (the paper's)": {
            "criterion": "collider",
            "aggregation": "any",
            "correction": "none",
        },
    }
    rows = []
    for effect, noise in [(0.0, 0.5), (0.4, 0.5), (0.0, 1.0), (0.4, 1.0)]:

        def make(seed, effect=effect, noise=noise):
            return make_collider_sequences(
                10_000, action_effect=effect, action_noise=noise, random_state=seed
            )

        for name, params in methods.items():
            measured = measure(TaskStructureIdentifier(**params), make)
            rows.append([effect, noise, name, *measured])
    report.table(
        "10,000 sequences, T=20, M=4, L=2, 50 seeds",
        ["action_effect", "action_noise", "method", "MCC", "worst", "false", "seconds"],
        rows,
    )


def longer_segments(report):
    """L=4, T=24, direct criterion at alpha 0.05: what each kind of evidence is worth."""
    rows = []
    for effect in (0.0, 0.4):
        for n_sequences in (2000, 200):

            def make(seed, effect=effect, n_sequences=n_sequences):
                return make_collider_sequences(
                    n_sequences, 24, 4, 4, action_effect=effect, random_state=seed
                )

            for segment_steps in ("interior", "last", "all"):
                identifier = TaskStructureIdentifier(4, segment_steps=segment_steps)
                rows.append([effect, n_sequences, segment_steps, *measure(identifier, make)])
    report.table(
        "T=24, M=4, L=4, direct, alpha 0.05, 50 seeds",
        ["action_effect", "sequences", "segment_steps", "MCC", "worst", "false", "seconds"],
        rows,
    )


def sample_sizes(report):
    """The default identifier from 150 to 10,000 sequences."""
    rows = []
    for n_sequences in (10_000, 1000, 300, 150):

        def make(seed, n_sequences=n_sequences):
            return make_collider_sequences(n_sequences, random_state=seed)

        for criterion in ("direct", "collider"):
            identifier = TaskStructureIdentifier(criterion=criterion)
            rows.append([n_sequences, criterion, *measure(identifier, make)])
    report.table(
        "T=20, M=4, L=2, action_effect 0.4, alpha 0.05, 50 seeds",
        ["sequences", "criterion", "MCC", "worst", "false", "seconds"],
        rows,
    )


def null_tasks(report):
    """A task that touches nothing, beside four that do."""
    rows = []
    for criterion in ("direct", "collider"):
        for n_sequences in (1000, 10_000):
            identifier = TaskStructureIdentifier(criterion=criterion)
            n_empty = 0
            for seed in NULL_SEEDS:
                data = make_collider_sequences(n_sequences, n_null_tasks=1, random_state=seed)
                n_empty += not identifier.fit(data.X, data.y).structure_[:, -1].any()
            rows.append([criterion, n_sequences, f"{n_empty} of {len(NULL_SEEDS)}"])
    report.table(
        "A task that touches nothing stays empty, alpha 0.05",
        ["criterion", "sequences", "empty"],
        rows,
    )


def digits(report):
    """Real images, 10 principal components a step."""

    def make(seed):
        data = make_digit_sequences(1000, random_state=seed)
        rows = PCA(10, random_state=0).fit_transform(data.X.reshape(-1, 64))
        data.X = rows.reshape(1000, 16, 10)
        return data

    rows = [[alpha, *measure(TaskStructureIdentifier(alpha=alpha), make)] for alpha in (0.01, 0.05)]
    report.table(
        "Digit sequences, 1,000 of 16 steps, 4 tasks, PCA(10), direct, 50 seeds",
        ["alpha", "MCC", "worst", "false", "seconds"],
        rows,
    )


if __name__ == "__main__":
    report = Report("structure", "Task structure (segments x tasks)")
    for part in (paper_setting, longer_segments, sample_sizes, null_tasks, digits):
        part(report)
    report.save()
