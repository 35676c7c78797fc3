"""Localization of the steps of each task from weak, sequence-level labels.

``python benchmarks/localizer.py`` prints mean average precision over tasks (those that are in
the sequences to judge by), and how many of the steps that ``predict`` finds are false. Data and
methods are in ``localizer_data.py`` and ``localizer_methods.py``, all settings fixed but for
the smoothing of motion capture, which held-out recordings choose.
"""

import warnings

import localizer_methods as methods
import numpy as np
import torch
from localizer_data import digits, recordings, without_one
from report import Report, command_line
from sklearn.metrics import average_precision_score, r2_score

ALPHA = 0.1
N_RIVAL_SEEDS = 2
N_FIT, N_TEST = 2000, 500


def precision(scores, steps):
    """Return the average precision of each task that occurs."""
    return [
        average_precision_score(truth.ravel(), found.ravel())
        for truth, found in zip(np.moveaxis(steps, 2, 0), np.moveaxis(scores, 2, 0), strict=True)
        if truth.any()
    ]


def false_share(localizer, weak):
    """Return the share of the found steps that are false."""
    found = localizer.predict(weak.X_test)
    return float((found & ~weak.steps_test).sum() / max(1, found.sum()))


def ours(conditional):
    """Return a method, and the list that it appends its fitted estimators to."""
    fitted = []

    def method(weak, seed):
        fitted.append(methods.localizer(weak, seed, conditional=conditional, alpha=ALPHA))
        return fitted[-1].predict_proba(weak.X_test)

    return method, fitted


def digit_table(report, title, seeds, chained):
    """Add a table of all methods on sequences of digits."""
    draws = [digits(seed, chained=chained, n_fit=N_FIT, n_test=N_TEST) for seed in seeds]
    rows = []
    candidates = {f"TaskLocalizer, {e}": ours(e) for e in (False, True)}
    for name, (method, fitted) in candidates.items():
        row = digit_row(name, method, draws, seeds)
        shares = [false_share(m, weak) for m, weak in zip(fitted, draws, strict=True)]
        rows.append([*row, " ".join(f"{share:.3f}" for share in shares)])
    few = slice(N_RIVAL_SEEDS)
    rows += [
        [*digit_row(name, method, draws[few], seeds[few]), ""]
        for name, method in methods.RIVALS.items()
    ]
    header = ["", "draws", "mean", "worst draw", "each task", f"false at {ALPHA}, each draw"]
    report.table(title, header, rows)


def digit_row(name, method, draws, seeds):
    """Return the cells of one method."""
    found = [
        precision(method(weak, s), weak.steps_test) for weak, s in zip(draws, seeds, strict=True)
    ]
    means = np.mean(found, axis=1)
    tasks = " ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
    print(name, means, flush=True)
    return [name, len(draws), float(means.mean()), float(means.min()), tasks]


def amount_table(report, seeds):
    """Add a table of the contributions of steps to amounts."""
    rows = []
    for seed in seeds:
        weak = digits(seed, amounts=True, n_fit=N_FIT, n_test=N_TEST)
        found = methods.localizer(weak, seed).contributions(weak.X_test)
        rows.append(
            [
                seed,
                *(
                    r2_score(weak.steps_test[..., k].ravel(), found[..., k].ravel())
                    for k in range(3)
                ),
            ]
        )
    report.table(
        "Sums of the digits of three sets: R2 of the contributions of steps",
        ["seed", "", "", ""],
        rows,
    )


def mocap_table(report, seeds):
    """Add a table of motion capture, each recording held out once."""
    folds = [without_one(held_out) for held_out in range(len(recordings()))]

    def chosen(weak, seed):
        fit = methods.best_smoothing(weak, seed)
        print("  smoothing", fit.smoothing, flush=True)
        return fit.predict_proba(weak.X_test)

    candidates = {"TaskLocalizer": chosen, **methods.RIVALS}
    rows = []
    for name, method in candidates.items():
        found = [
            [np.mean(precision(method(weak, seed), weak.steps_test)) for weak in folds]
            for seed in seeds
        ]
        print(name, np.round(found, 3), flush=True)
        recording = " ".join(f"{value:.2f}" for value in np.mean(found, axis=0))
        each = " ".join(f"{value:.3f}" for value in np.mean(found, axis=1))
        rows.append([name, float(np.mean(found)), each, recording])
    report.table(
        "Motion capture, one recording held out, windows of 6 seconds: mean average precision",
        ["", "mean", "each seed", "each recording"],
        rows,
    )


if __name__ == "__main__":
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--mocap-seeds", type=int, default=3)
    options = parser.parse_args()
    if options.tiny:
        options.seeds, N_RIVAL_SEEDS, N_FIT, N_TEST = 1, 1, 40, 10
        methods.MAX_EPOCHS = 1
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    title = "Steps of tasks in sequences that do not align: average precision"
    report = Report("localizer", title, options.output)
    seeds = range(options.seeds)
    if recordings() is not None and not options.tiny:
        mocap_table(report, range(options.mocap_seeds))
    sizes = f"{N_FIT:,} sequences of 20, three tasks"
    digit_table(report, f"Digits, independent steps; {sizes}", seeds, 0.0)
    if not options.tiny:
        digit_table(report, "Digits, pixels chained with correlation 0.9", seeds, 0.9)
    amount_table(report, seeds)
    report.save()
