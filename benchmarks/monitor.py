"""Benchmark of monitors and updates of a pipeline on embeddings of text.

``python benchmarks/monitor.py`` prints the tables and saves them.
"""

import copy
import time
import warnings

import numpy as np
import pandas as pd
import torch
from report import Report, command_line
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression, RidgeCV

from skspecialist import SpecialistPipeline
from skspecialist.datasets import load_text_cases

ALPHA, STEP = 0.05, 2
CASES, TEST_CASES = load_text_cases(), load_text_cases(subset="test")
NEWS = CASES.data[:, STEP][CASES.source[:, STEP] == "newspaper"]
STRENGTHS = np.logspace(-3, 3, 13)


def permuted(X, y, rng):
    """Exchange the snippets of one step between cases: its inputs stay, its relations do not."""
    X = X.copy()
    X[:, STEP] = X[rng.permutation(len(X)), STEP]
    return X, y


def replaced(X, y, rng):
    """Replace the snippets of one step by sentences of newspapers."""
    X = X.copy()
    X[:, STEP] = NEWS[rng.permutation(len(NEWS))[: len(X)]]
    return X, y


def noisy(X, y, rng):
    """Add noise of half the standard deviation to every column of one step."""
    X = X.copy()
    X[:, STEP] += 0.5 * X[:, STEP].std(axis=0) * rng.normal(size=X[:, STEP].shape)
    return X, y


CHANGES = {
    "quiet": lambda X, y, rng: (X, y),
    "permuted": permuted,
    "newspaper": replaced,
    "noisy": noisy,
}


def found(report, kind):
    """Return whether the step was found to have changed in this kind of tests."""
    return any(r["moved"] and r["kind"] == kind and r["part"] == f"step{STEP}" for r in report.rows)


def alarms(pipeline, X, y, size, n_references, n_batches, seed):
    """Return rows of the rates of alarms, one per change."""
    rng = np.random.default_rng(seed)
    rates = {name: [] for name in ["quiet, without tasks", *CHANGES]}
    for _ in range(n_references):
        order = rng.permutation(len(X))
        reference, rest = order[: len(X) // 2], order[len(X) // 2 :]
        monitor = pipeline.monitor(X[reference], y.iloc[reference], alpha=ALPHA)
        for batch in range(n_batches):
            rows = rng.choice(rest, size, replace=False)
            alarm = monitor.test(X[rows]).alarm
            rates["quiet, without tasks"].append([alarm, np.nan, np.nan])
            for name, change in CHANGES.items():
                if name == "quiet" or batch % 4 == 0:
                    report = monitor.test(*change(X[rows], y.iloc[rows], rng))
                    places = [report.alarm, found(report, "inputs"), found(report, "relation")]
                    rates[name].append(places)
    return [
        [size, name, len(values), *np.mean(values, axis=0).tolist()]
        for name, values in rates.items()
    ]


def updates(pipeline, X, y, sizes, seed):
    """Return rows of mean scores before and after an update to cases of another relation."""
    rows = []
    half = len(X) // 2
    for changed in (False, True):
        rng = np.random.default_rng(seed)
        # The cases run backwards: every task moves to the mirrored steps.
        new = X[:, ::-1] if changed else X
        new = np.ascontiguousarray(new[rng.permutation(half)])
        order = np.random.default_rng(seed).permutation(half)
        for size in sizes:
            updated = copy.deepcopy(pipeline)
            test = np.ascontiguousarray(X[half:, ::-1]) if changed else X[half:]
            before = updated.score(test, y.iloc[half:])
            start = time.process_time()
            updated.update(new[:size], y.iloc[order[:size]])
            seconds = time.process_time() - start
            weights = " ".join(f"{weight:.2f}" for weight in updated.update_weights_)
            after = updated.score(test, y.iloc[half:])
            rows.append(["yes" if changed else "no", size, before, after, weights, seconds])
    return rows


def main():
    """Run everything."""
    arguments = command_line(__doc__).parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    report = Report("monitor", "Monitors and updates on text", arguments.output)
    n_fit = 150 if arguments.tiny else 987
    (X, y), (X_test, y_test) = (
        (part.data, pd.DataFrame(part.target, columns=part.target_names).infer_objects())
        for part in (CASES, TEST_CASES)
    )

    pipeline = SpecialistPipeline(
        estimator=(RidgeCV(STRENGTHS), LogisticRegression(max_iter=1000)),
        candidates=["generalist", "steps"],
        random_state=0,
    ).fit(X[:n_fit], y.iloc[:n_fit])
    rows = []
    for size in (50,) if arguments.tiny else (100,):
        counts = (1, 2) if arguments.tiny else (20, 10)
        rows += alarms(pipeline, X_test, y_test, size, *counts, seed=1)
    bound = binom.ppf(0.975, 200, ALPHA) / 200
    report.table(
        f"Rates of alarms at alpha = {ALPHA} (at most {bound:.3f} in 97.5 % of 200 quiet batches); "
        f"changes of step {STEP} of 12; references of {len(X_test) // 2} cases",
        ["batch", "change", "batches", "alarm", "inputs, step", "relation, step"],
        rows,
    )
    report.table(
        "Updates: mean score of the tasks, with the order of the steps reversed or not",
        ["reversed", "new cases", "before", "after", "weights of the new", "CPU seconds"],
        updates(pipeline, X_test, y_test, (50,) if arguments.tiny else (50, 200, 490), seed=2),
    )
    report.save()


if __name__ == "__main__":
    main()
