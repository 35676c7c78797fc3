"""The pipeline beside classical and neural peers, on the same folds of several data sets.

Held-out score (mean over tasks of R2, or of accuracy for class labels), features and steps that
a task's estimator reads, seconds and memory. Methods and data are in ``board_methods.py`` and
``board_data.py``, all settings fixed beforehand; ``python benchmarks/board.py --list`` prints
them, with the CPU minutes of the measurements. Each cell (data set, fold, method) has a process
of its own and is kept in ``results/board.csv``; a further run adds the missing ones:
``python benchmarks/board.py --data wine --methods "ours;PCA" --folds 1``. ``--tables`` compares
the defaults with boosting, a support vector machine and a random forest on 20 public tables.
"""

import inspect
import multiprocessing
import resource
import sys
import time
import warnings
from importlib import import_module
from importlib.util import find_spec
from itertools import product

import numpy as np
import pandas as pd
import torch
from board_data import DATASETS, TABLES, public_table
from board_methods import ALWAYS, CHANCE, GENERALIST, METHODS, OURS, RANDOM, TRUTH, describe
from report import Report, command_line
from scipy.stats import friedmanchisquare, sem
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from store import Store

from skspecialist import SpecialistPipeline

KEY = ["data", "fold", "method"]
# Scores, features and steps of each task, separated by blanks; the gain is that over the
# generalist on the same rows, with its standard error over these rows.
FIELDS = [
    *KEY, "score", "features", "steps", "gain", "gain_se", "fit_s", "predict_s", "peak_mb",
    "cpu_s", "error",
]  # fmt: skip
NOT_RIVALS = [OURS, ALWAYS, CHANCE, TRUTH]


# Measuring


def losses(y, prediction):
    """Return the loss of each row and task: 1 minus its mean is R2, or the accuracy."""
    columns = []
    for name, predicted in zip(y, np.asarray(prediction, dtype=object).T, strict=True):
        truth = y[name].to_numpy()
        columns.append(
            truth != predicted
            if truth.dtype.kind != "f"
            else (truth - predicted.astype(float)) ** 2 / truth.var()
        )
    return np.column_stack(columns).astype(float)


def fit(method, fold, seed, *counts):
    """Return a fitted method."""
    estimator = METHODS[method](fold, seed, *counts)
    options = {}
    if method in (OURS, ALWAYS) and fold.groups is not None:
        options["groups"] = fold.groups
    X = fold.truth[0] if method == TRUTH else fold.X
    return estimator.fit(X, fold.y, **options)


def measure(cell):
    """Fit and judge one method on one fold; return a row of the store."""
    data, number, method, *counts = cell
    row = dict(zip(KEY, (data, number, method), strict=True))
    fold = DATASETS[data].draw(number)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        estimator = fit(method, fold, number, *counts)
        fitted = time.process_time()
        prediction = estimator.predict(fold.truth[1] if method == TRUTH else fold.X_test)
    except Exception as error:  # it is part of the result
        return row | {"error": f"{type(error).__name__}: {error}"}
    end = time.process_time()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loss = losses(fold.y_test, prediction)
    row |= {
        "score": numbers(1 - loss.mean(axis=0)),
        "features": numbers(estimator.n_features_used_),
        "steps": "" if estimator.n_steps_used_ is None else numbers(estimator.n_steps_used_),
        "fit_s": fitted - start,
        "predict_s": end - fitted,
        "peak_mb": (after - before) / unit,
    }
    if method == OURS:
        dense = losses(fold.y_test, fit(GENERALIST, fold, number).predict(fold.X_test))
        gain = (dense - loss).mean(axis=1)
        row |= {"gain": gain.mean(), "gain_se": sem(gain)}
    return row | {"cpu_s": time.process_time()}


def numbers(values):
    """Return numbers as one cell of the store."""
    return " ".join(f"{value:.5g}" for value in values)


def cells_of(options):
    """Return all cells of the chosen data sets and methods."""
    return [
        (data, fold, method)
        for data, method in product(options.data, options.methods)
        if method != TRUTH or DATASETS[data].known
        for fold in range(min(DATASETS[data].n_folds, options.folds))
    ]


def fill(store, options):
    """Measure the missing cells; those of random features last, with the counts of ours."""
    missing = store.missing(cells_of(options))
    run(store, [cell for cell in missing if cell[2] != RANDOM], options.workers)
    counts = store.load().query("method == @OURS").set_index(KEY[:2])["features"].dropna()
    jobs = [
        (*cell, [int(count) for count in counts[cell[:2]].split()])
        for cell in missing
        if cell[2] == RANDOM and cell[:2] in counts
    ]
    run(store, jobs, options.workers)


def run(store, jobs, workers):
    """Measure and store cells, each in a process of its own unless ``workers`` is 0."""
    if not workers:
        store.add([measure(job) for job in jobs])
        return
    # Forked, so that packages are imported once and their memory does not count.
    context = multiprocessing.get_context("fork")
    with context.Pool(workers, maxtasksperchild=1) as pool:
        for row in pool.imap_unordered(measure, jobs):
            store.add([row])


# Reporting


def tidy(rows):
    """Return the rows with means over tasks in place of their values."""

    def mean(cell):
        return np.nan if pd.isna(cell) else np.mean([float(part) for part in cell.split()])

    columns = ["score", "features", "steps"]
    return rows.assign(**{name: rows[name].map(mean) for name in columns})


def in_order(rows):
    """Return the data sets of the rows, known ones first and in their order."""
    names = rows["data"].unique()
    return sorted(names, key=lambda name: [*DATASETS, *names].index(name))


def tabulate(report, rows):
    """Print one table for each data set: means over folds, best first."""
    for data in in_order(rows):
        table = []
        for method, cells in rows[rows["data"] == data].groupby("method"):
            done = cells.dropna(subset="score")
            figures = done[["features", "steps", "fit_s", "predict_s", "peak_mb"]].mean()
            decimals = (1, 1, 2, 3, 0)
            texts = [
                "" if np.isnan(value) else f"{value:.{digits}f}"
                for value, digits in zip(figures, decimals, strict=True)
            ]
            score, error = float(done["score"].mean()), float(done["score"].sem())
            table.append([method, len(done), score, error, *texts])
        table.sort(key=lambda line: -np.nan_to_num(line[2], nan=-np.inf))
        report.table(
            f"{data}: held-out score, means over folds; memory above that of the start",
            ["", "folds", "score", "SE", "features", "steps", "fit s", "predict s", "peak MB"],
            table,
        )
    failed = rows.dropna(subset="error")
    if len(failed):
        report.table("Failures", [*KEY, "error"], failed[[*KEY, "error"]].to_numpy().tolist())


def rival(cells, at_most=np.inf):
    """Return the best rival with at most ``at_most`` features, and ours minus it, by folds."""
    scores = cells.pivot(index="fold", columns="method", values="score")
    features = cells.groupby("method")["features"].mean()
    complete = scores.dropna(axis=1).columns.difference(NOT_RIVALS)
    candidates = [name for name in complete if features[name] <= at_most]
    if not candidates:
        return "no other", np.zeros(1)
    best = scores[candidates].mean().idxmax()
    return best, (scores[OURS] - scores[best]).to_numpy()


def summarize(report, rows):
    """Add the rank of ours, the folds where it lost to the generalist, and its features."""
    table, ratios = [], []
    for data in in_order(rows):
        cells = rows[rows["data"] == data]
        features = cells.groupby("method")["features"].mean()
        if np.isnan(features.get(OURS, np.nan)):
            continue
        line = [data]
        for at_most in (features[OURS], np.inf):
            best, gain = rival(cells, at_most)
            error = float(sem(gain)) if len(gain) > 1 else 0.0
            line += [best, float(gain.mean()), error, "yes" if gain.mean() >= -error else "no"]
        table.append(line)
        ratios.append(features[OURS] / features.get(GENERALIST, np.nan))
    header = ["", "best of as few features", "ours minus it", "SE", "first*"]
    report.table(
        "Ours beside the best rival with at most as many features, and beside the best of all",
        [*header, "best of all", "ours minus it", "SE", "first*"],
        table,
    )
    report.line("* or within one standard error (of the difference, over folds) of first")
    for column, who in ((4, "those with at most as many features"), (8, "all")):
        n_first = sum(line[column] == "yes" for line in table)
        report.line(f"First or within one standard error among {who}: {n_first} of {len(table)}")
    ours = rows[(rows["method"] == OURS) & rows["score"].notna()]
    lost = ours[ours["gain"] < -ours["gain_se"]]
    report.line(
        f"Below the generalist by more than one standard error (over rows): {len(lost)} of "
        f"{len(ours)} folds"
    )
    for cell in lost.itertuples():
        report.line(f"  {cell.data}, fold {cell.fold}: {cell.gain:.4f} (SE {cell.gain_se:.4f})")
    report.line(f"Features over those of the generalist, median: {np.nanmedian(ratios):.3f}")


def draw_figure(rows, path):
    """Save the scores as a picture, one panel a data set."""
    import matplotlib.pyplot as plt

    names = in_order(rows)
    n_rows = -(-len(names) // 3)
    figure, axes = plt.subplots(n_rows, 3, figsize=(13, 4.6 * n_rows), squeeze=False)
    for ax, data in zip(axes.flat, names, strict=False):
        draw_panel(ax, data, rows[(rows["data"] == data) & rows["score"].notna()])
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    figure.supxlabel(
        "held-out score with standard errors over folds (line: the generalist; in brackets: "
        "features per task; arrows: off the left)",
        fontsize=10,
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_panel(ax, data, cells):
    """Draw a dot with an error bar for each method."""
    groups = cells.groupby("method")
    scores, errors = groups["score"].mean().sort_values(), groups["score"].sem()
    features = groups["features"].mean()
    floor, top = scores.get(CHANCE, scores.min()), scores.max()
    left = max(scores.min(), floor) - 0.15 * (top - floor)
    colors = {OURS: "C1", ALWAYS: "C1", CHANCE: "0.6", TRUTH: "0.6"}
    for place, (name, score) in enumerate(scores.items()):
        color = colors.get(name, "C0")
        if score < left:
            ax.plot(left, place, marker="<", color=color, clip_on=False)
            continue
        ax.errorbar(score, place, xerr=errors[name], fmt="o", color=color, markersize=4)
    if GENERALIST in scores:
        ax.axvline(scores[GENERALIST], color="0.8", zorder=0)
    labels = [f"{name} ({features[name]:.3g})" for name in scores.index]
    ax.set_yticks(range(len(scores)), labels, fontsize=7)
    ax.set_xlim(left=left)
    ax.set_title(data, fontsize=10)


def compare_ranks(report, scores, path):
    """Report Friedman's test of equal ranks, and save mean ranks with critical differences.

    Data sets are the rows of ``scores``, methods the columns. Methods joined by a bar do not
    differ by Nemenyi's test at the level of .05 (Demsar, JMLR 2006).
    """
    import matplotlib.pyplot as plt
    import scikit_posthocs

    pvalue = friedmanchisquare(*scores.to_numpy().T).pvalue
    report.line(f"Friedman's test of equal ranks over {len(scores)} data sets: p = {pvalue:.2g}")
    ranks = scores.rank(axis=1, ascending=False).mean()
    differ = scikit_posthocs.posthoc_nemenyi_friedman(scores.reset_index(drop=True))
    for name in ranks.sort_values().index:
        alike = [other for other in ranks.index if other != name and differ.loc[name, other] > 0.05]
        report.line(f"  {name}: mean rank {ranks[name]:.2f}; as {', '.join(alike) or 'no other'}")
    figure, ax = plt.subplots(figsize=(8, 0.8 + 0.2 * len(ranks)))
    scikit_posthocs.critical_difference_diagram(ranks, differ, ax=ax, text_h_margin=0.1)
    ax.set_title(f"mean rank over {len(scores)} data sets (1 is best)", fontsize=10)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


# Public tables


class TaskByTask:
    """One regressor or classifier per task."""

    def __init__(self, regressor, classifier):
        self.pair = regressor, classifier

    def fit(self, X, y):
        """Fit a clone to each task."""
        kinds = [y[name].dtype.kind != "f" for name in y]
        pairs = zip(kinds, y, strict=True)
        self.models = [clone(self.pair[is_label]).fit(X, y[name]) for is_label, name in pairs]
        return self

    def predict(self, X):
        """Return the predictions, one column per task."""
        return np.column_stack([model.predict(X) for model in self.models])


def table_models(seed):
    """Return the methods that are compared on the tables, with their defaults."""
    pairs = {
        "boosting": (HistGradientBoostingRegressor(), HistGradientBoostingClassifier()),
        "SVM": (
            TransformedTargetRegressor(
                make_pipeline(StandardScaler(), SVR()), transformer=StandardScaler()
            ),
            make_pipeline(StandardScaler(), SVC()),
        ),
        "random forest": (RandomForestRegressor(), RandomForestClassifier()),
    }
    others = {name: TaskByTask(*pair) for name, pair in pairs.items()}
    generalist = SpecialistPipeline(strategy="generalist", random_state=seed)
    return {GENERALIST: generalist, OURS: SpecialistPipeline(random_state=seed), **others}


def measure_table(name, number, n_folds=3):
    """Yield one row per method for a fold of a table."""
    X, y = public_table(name)
    fit_to, held_out = list(KFold(n_folds, shuffle=True, random_state=0).split(X))[number]
    for method, model in table_models(number).items():
        start = time.process_time()
        loss = losses(
            y.iloc[held_out], model.fit(X[fit_to], y.iloc[fit_to]).predict(X[held_out])
        ).mean(axis=1)
        if method == GENERALIST:
            dense = loss
        gain, cpu_s = dense - loss, time.process_time() - start
        yield {
            "data": name, "fold": number, "method": method, "score": 1 - loss.mean(),
            "gain": gain.mean(), "gain_se": sem(gain), "cpu_s": cpu_s,
        }  # fmt: skip


def compare_on_tables(options):
    """Measure the tables that are not stored, and report gains over the generalist and ranks."""
    fields = ["data", "fold", "method", "score", "gain", "gain_se", "cpu_s"]
    store = Store(options.output / "board_tables.csv", fields, 3)
    for name, fold in product(TABLES, range(min(3, options.folds))):
        if store.missing([(name, fold, OURS)]):
            store.add(list(measure_table(name, fold)))
    rows = store.load()
    rows["rank"] = rows.groupby(["data", "fold"])["score"].rank(ascending=False)
    report = Report("board_tables", "Public tables that nothing was tuned on", options.output)
    table = []
    for method, cells in rows.groupby("method"):
        below = int((cells["gain"] < -cells["gain_se"]).sum())
        means = cells[["gain", "rank", "cpu_s"]].mean()
        table.append([method, len(cells), means["gain"], below, cells["gain"].min(), *means[1:]])
    report.table(
        f"{rows['data'].nunique()} tables; R2 or accuracy less that of the generalist, by folds",
        ["", "cells", "mean gain", "below by 1 SE", "worst", "mean rank", "CPU s"],
        sorted(table, key=lambda line: line[5]),
    )
    ours = rows[rows["method"] == OURS]
    for cell in ours[ours["gain"] < -ours["gain_se"]].itertuples():
        report.line(f"  {cell.data}, fold {cell.fold}: {cell.gain:.4f} (SE {cell.gain_se:.4f})")
    scores = rows.pivot_table(index="data", columns="method", values="score")
    compare_ranks(report, scores, options.output / "board_tables.png")
    report.save()


# Running


def import_now():
    """Import modules that would otherwise be imported during measurements."""
    # torch._dynamo comes with the first optimizer, and takes seconds.
    for package in ("torch._dynamo", "skspecialist.networks", "cebra", "lassonet"):
        if find_spec(package):
            import_module(package)


def list_all(store):
    """Print methods with their settings, data sets, and the cost of a full run."""
    for title, described in (
        ("Methods", {name: describe(name) for name in METHODS}),
        ("Data sets", {name: inspect.getdoc(data.draw) for name, data in DATASETS.items()}),
    ):
        print(title)
        for name, text in described.items():
            print(f"  {name}: {' '.join(text.split())}")
    print("CPU minutes of all folds, from the cells that were measured")
    rows = store.load().query("data in @DATASETS.keys()")
    seconds = rows.groupby(["data", "method"])["cpu_s"].mean().unstack("method")
    minutes = seconds.mul([DATASETS[data].n_folds for data in seconds.index], axis=0) / 60
    for title, sums in (("data set", minutes.sum(axis=1)), ("method", minutes.sum())):
        costs = [f"{name} {value:.1f}" for name, value in sums.items()]
        print(f"  by {title}: {', '.join(costs)}")
    n_measured = int(minutes.notna().to_numpy().sum())
    print(f"  together: {np.nansum(minutes):.1f} ({n_measured} data sets x methods)")


def main():
    """Measure and report."""
    parser = command_line(__doc__, stored=True)
    parser.add_argument("--data", default=";".join(DATASETS), help="names, by semicolon")
    parser.add_argument("--methods", default=";".join(METHODS), help="names, by semicolon")
    parser.add_argument("--folds", type=int, default=5, help="largest number of folds, from 0 on")
    parser.add_argument("--list", action="store_true", help="print methods, data sets and costs")
    parser.add_argument("--tables", action="store_true", help="20 public tables instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.tables:
        compare_on_tables(options)
        return
    store = Store(
        options.output / "board.csv", FIELDS, 3, text=["score", "features", "steps", "error"]
    )
    if options.list:
        list_all(store)
        return
    if options.tiny:
        options.data, options.folds, options.workers = "linnerud", 1, 0
        options.methods = f"{GENERALIST};PCA;LassoCV or L1 logistic;{CHANCE}"
    options.data, options.methods = options.data.split(";"), options.methods.split(";")
    if options.fresh:
        store.path.unlink(missing_ok=True)
    if not options.tiny:
        import_now()
    fill(store, options)
    rows = tidy(store.load())
    report = Report("board", "The pipeline beside its peers, on the same folds", options.output)
    tabulate(report, rows)
    if not options.tiny:
        summarize(report, rows)
        draw_figure(rows, store.path.with_suffix(".png"))
        scores = rows.pivot_table(index="data", columns="method", values="score").dropna(axis=1)
        scores = scores.drop(columns=[ALWAYS, CHANCE, RANDOM, TRUTH], errors="ignore")
        compare_ranks(report, scores, options.output / "board_ranks.png")
    report.save()


if __name__ == "__main__":
    main()
