"""Does the encoder separate the relevant latents from the others, and who else does?

Rows of ``make_specialist_latents`` to learn from, 2,000 held out, or images of
``make_digit_factors`` from other source images. A representation is good if the relevant
latents can be read from it and the others cannot: the joint score is the mean R2 of the former
minus that of the latter, by kernel ridge on the held-out rows. Ours has its default parameters;
those of all others are in ``representations.py``, fixed beforehand. What was measured is kept in
``results/encoder.csv`` cell by cell, and a further run adds what is missing:
``python benchmarks/encoder.py --seeds 0-9 --methods ours``. Everything takes hours.
"""

import argparse
import csv
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from report import Report
from representations import REPRESENTATIONS, TOLD, Sizes

from skspecialist.datasets import make_digit_factors, make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoderCV
from skspecialist.metrics import block_r2

# Latents, relevant ones, tasks, latents of a task.
SETTINGS = {
    "4-2-4-2": (4, 2, 4, 2),
    "6-3-4-2": (6, 3, 4, 2),
    "10-5-10-2": (10, 5, 10, 2),
    "20-8-16-3": (20, 8, 16, 3),
}
DIGITS = "digits"
N_TEST = 2000
OURS, FLOOR = "ours", "true relevant latents"
METHODS = [OURS, FLOOR, *REPRESENTATIONS]
STORE = Path(__file__).parent / "results" / "encoder.csv"
KEY = ("setting", "correlation", "rows", "seed", "method")
FIELDS = (*KEY, "relevant", "irrelevant", "complement", "columns", "seconds")


def draw(setting, correlation, rows, seed):
    """Return training and held-out data, each of X, y and latents, and which are relevant."""
    if setting == DIGITS:
        parts = [
            make_digit_factors(n, subset=subset, random_state=seed)
            for n, subset in ((rows, "train"), (N_TEST, "test"))
        ]
        return *[(part.X, part.y, part.latents) for part in parts], parts[0].relevant
    n_latents, n_relevant, n_tasks, each = SETTINGS[setting]
    data = make_specialist_latents(
        rows + N_TEST,
        n_latents,
        n_relevant,
        n_tasks,
        n_latents_per_task=each,
        correlation=correlation,
        random_state=seed,
    )
    arrays = data.X, data.y, data.latents
    return tuple(a[:rows] for a in arrays), tuple(a[rows:] for a in arrays), data.relevant


def measure(setting, correlation, rows, seed, method):
    """Fit one representation and return a row of the store."""
    torch.set_num_threads(1)
    (X, y, _), (X_test, _, latents), relevant = draw(setting, correlation, rows, seed)
    complement, seconds = "", 0.0
    if method == FLOOR:
        columns = latents[:, relevant]
    else:
        n_relevant = int(relevant.sum()) if method in TOLD else None
        sizes = Sizes(X.shape[1], y.shape[1], n_relevant, seed=seed)
        estimator = (
            SparseSpecialistEncoderCV(random_state=seed)
            if method == OURS
            else REPRESENTATIONS[method](sizes)
        )
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(X, y)
        seconds = time.process_time() - start
        columns = np.asarray(estimator.transform(X_test), dtype=float)
        if not np.isfinite(columns).all():
            columns = columns[:, :0]  # its training diverged
        if method == OURS and not estimator.support_.all():
            others = estimator.latents(X_test)[:, ~estimator.support_]
            complement = f"{block_r2(others, latents)[~relevant].mean():.4f}"
    r2 = block_r2(columns, latents)
    values = (f"{r2[relevant].mean():.4f}", f"{r2[~relevant].mean():.4f}", complement)
    key = (setting, correlation, rows, seed, method)
    return dict(zip(FIELDS, (*key, *values, columns.shape[1], f"{seconds:.1f}"), strict=True))


def load():
    """Return what was measured, by key."""
    if not STORE.exists():
        return {}
    with STORE.open(newline="") as file:
        return {tuple(row[name] for name in KEY): row for row in csv.DictReader(file)}


def store(measured):
    """Write everything, in order."""
    STORE.parent.mkdir(exist_ok=True)
    with STORE.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(measured[key] for key in sorted(measured))


def fill(options):
    """Measure the missing cells, and keep each as it comes."""
    cells = [
        (setting, correlation, rows, seed, method)
        for method in options.methods.split(";")
        for setting in options.settings.split(",")
        for correlation in (map(float, options.correlations.split(",")))
        for rows in map(int, options.rows.split(","))
        for seed in options.seeds
        if not (setting == DIGITS and correlation > 0)
    ]
    measured = load()
    missing = [cell for cell in cells if tuple(map(str, cell)) not in measured]
    jobs = (delayed(measure)(*cell) for cell in missing)
    for row in Parallel(options.workers, return_as="generator_unordered")(jobs):
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        # Another run may have stored cells meanwhile.
        measured = load() | {tuple(str(row[name]) for name in KEY): row}
        store(measured)
    return load()


def column(rows, name):
    """Return the values of a field."""
    return np.array([float(row[name]) for row in rows if row[name] != ""])


def tabulate(report, measured):
    """Print one table for each kind of data: means over seeds."""
    for setting, correlation, n in sorted({key[:3] for key in measured}, key=str):
        table = []
        for method in METHODS:
            rows = [row for key, row in measured.items() if key[:3] == (setting, correlation, n)]
            rows = [row for row in rows if row["method"] == method]
            if not rows:
                continue
            joint = column(rows, "relevant") - column(rows, "irrelevant")
            counts = column(rows, "columns").astype(int)
            complement = column(rows, "complement")
            table.append(
                [
                    method,
                    len(rows),
                    *(float(column(rows, name).mean()) for name in ("relevant", "irrelevant")),
                    float(joint.mean()),
                    float(joint.std(ddof=1) / np.sqrt(len(joint))) if len(joint) > 1 else "",
                    f"{counts.min()}-{counts.max()}",
                    float(complement.mean()) if len(complement) else "",
                    f"{np.mean(column(rows, 'seconds')):.0f}",
                ]
            )
        table.sort(key=lambda row: -row[4])
        report.table(
            f"{setting}, correlation {correlation}, {n} rows",
            ["", "seeds", "R2 rel", "R2 irr", "joint", "SE", "kept", "R2 irr of rest", "CPU s"],
            table,
        )


def draw_figure(measured):
    """Save the joint scores as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = sorted({key[:3] for key in measured}, key=str)
    n_rows = -(-len(groups) // 4)
    figure, axes = plt.subplots(n_rows, 4, figsize=(14, 3.4 * n_rows), sharex=True, squeeze=False)
    for ax, group in zip(axes.flat, groups, strict=False):
        means = {}
        for method in METHODS:
            rows = [r for key, r in measured.items() if key[:3] == group and key[4] == method]
            if rows:
                means[method] = (column(rows, "relevant") - column(rows, "irrelevant")).mean()
        names = sorted(means, key=means.get)
        colors = ["C1" if n == OURS else "0.75" if n in TOLD or n == FLOOR else "C0" for n in names]
        ax.barh(names, [means[name] for name in names], color=colors)
        ax.set_title(f"{group[0]}, correlation {group[1]},\n{group[2]} rows", fontsize=9)
        ax.tick_params(axis="y", labelsize=7)
        ax.set_xlim(-0.1, 1.02)
    for ax in axes.flat[len(groups) :]:
        ax.axis("off")
    figure.supxlabel("joint score: R2 of relevant minus R2 of irrelevant latents (gray: was told)")
    figure.tight_layout()
    figure.savefig(STORE.with_suffix(".png"), dpi=110)


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=";".join(METHODS), help="names, by semicolon")
    parser.add_argument("--settings", default=",".join([*SETTINGS, DIGITS]))
    parser.add_argument("--correlations", default="0,0.5")
    parser.add_argument("--rows", default="10000,1000")
    parser.add_argument("--seeds", default="0-9", help="such as 0-9")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured")
    options = parser.parse_args()
    first, last = (int(part) for part in options.seeds.split("-"))
    options.seeds = range(first, last + 1)
    return options


if __name__ == "__main__":
    options = parse()
    if options.fresh:
        STORE.unlink(missing_ok=True)
    results = fill(options)
    report = Report("encoder", "Relevant and irrelevant latents read from a representation")
    tabulate(report, results)
    report.save()
    draw_figure(results)
