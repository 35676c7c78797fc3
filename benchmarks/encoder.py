"""Separation of relevant from irrelevant latents, by the encoder and by its peers.

Rows of ``make_specialist_latents`` to learn from, 2,000 held out, or images of
``make_digit_factors`` from other source images. A representation is good if the relevant
latents can be read from it and the others cannot: the joint score is the mean R2 of the former
minus that of the latter, by kernel ridge on the held-out rows. Ours has its default parameters;
those of all others are in ``representations.py``, fixed beforehand. Measurements are kept in
``results/encoder.csv``, and a further run adds the missing ones:
``python benchmarks/encoder.py --seeds 0-9 --methods ours``. Everything takes hours.
"""

import time
import warnings
from itertools import product

import numpy as np
import torch
from report import Report, command_line
from representations import ORACLES, REPRESENTATIONS, Sizes
from store import Store

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
MAX_EPOCHS = None  # as by default
OURS, FLOOR = "ours", "true relevant latents"
METHODS = [OURS, FLOOR, *REPRESENTATIONS]
DATA = ["setting", "correlation", "rows"]
FIELDS = (*DATA, "seed", "method", "relevant", "irrelevant", "complement", "columns", "seconds")


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
    complement, seconds = np.nan, 0.0
    if method == FLOOR:
        columns = latents[:, relevant]
    else:
        n_relevant = int(relevant.sum()) if method in ORACLES else None
        sizes = Sizes(X.shape[1], y.shape[1], n_relevant, seed=seed)
        estimator = (
            SparseSpecialistEncoderCV(max_epochs=MAX_EPOCHS, random_state=seed)
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
            complement = block_r2(others, latents)[~relevant].mean()
    r2 = block_r2(columns, latents)
    values = (r2[relevant].mean(), r2[~relevant].mean(), complement, columns.shape[1], seconds)
    return dict(zip(FIELDS, (setting, correlation, rows, seed, method, *values), strict=True))


def tabulate(report, measured):
    """Add one table for each kind of data: means over seeds."""
    for (setting, correlation, n), cells in measured.groupby(DATA):
        table = []
        for method in METHODS:
            rows = cells[cells["method"] == method]
            if rows.empty:
                continue
            joint = rows["relevant"] - rows["irrelevant"]
            complement = float(rows["complement"].mean())
            table.append(
                [
                    method,
                    len(rows),
                    *(float(rows[name].mean()) for name in ("relevant", "irrelevant")),
                    float(joint.mean()),
                    float(joint.sem()) if len(joint) > 1 else "",
                    f"{rows['columns'].min()}-{rows['columns'].max()}",
                    "" if np.isnan(complement) else complement,
                    f"{rows['seconds'].mean():.0f}",
                ]
            )
        table.sort(key=lambda row: -row[4])
        report.table(
            f"{setting}, correlation {correlation}, {n} rows",
            ["", "seeds", "R2 rel", "R2 irr", "joint", "SE", "kept", "R2 irr of rest", "CPU s"],
            table,
        )


def draw_figure(measured, path):
    """Save the joint scores as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = measured.assign(joint=measured["relevant"] - measured["irrelevant"]).groupby(DATA)
    n_rows = -(-len(groups) // 4)
    figure, axes = plt.subplots(n_rows, 4, figsize=(14, 3.4 * n_rows), sharex=True, squeeze=False)
    for ax, (group, rows) in zip(axes.flat, groups, strict=False):
        means = rows.groupby("method")["joint"].mean().sort_values()
        names = list(means.index)
        colors = [
            "C1" if n == OURS else "0.75" if n in ORACLES or n == FLOOR else "C0" for n in names
        ]
        ax.barh(names, means, color=colors)
        ax.set_title(f"{group[0]}, correlation {group[1]},\n{group[2]} rows", fontsize=9)
        ax.tick_params(axis="y", labelsize=7)
        ax.set_xlim(-0.1, 1.02)
    for ax in axes.flat[len(groups) :]:
        ax.axis("off")
    figure.supxlabel("joint score: R2 of relevant minus R2 of irrelevant latents (gray: oracles)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    parser = command_line(__doc__, stored=True)
    parser.add_argument("--methods", default=";".join(METHODS), help="names, by semicolon")
    parser.add_argument("--settings", default=",".join([*SETTINGS, DIGITS]))
    parser.add_argument("--correlations", default="0,0.5")
    parser.add_argument("--rows", default="10000,1000")
    parser.add_argument("--seeds", default="0-9", help="such as 0-9")
    options = parser.parse_args()
    if options.tiny:
        options.methods, options.settings = f"{OURS};{FLOOR};PCA", "4-2-4-2"
        options.correlations, options.rows, options.seeds, options.workers = "0", "100", "0-0", 1
        N_TEST, MAX_EPOCHS = 50, 1
    store = Store(options.output / "encoder.csv", FIELDS, 5)
    if options.fresh:
        store.path.unlink(missing_ok=True)
    first, last = (int(part) for part in options.seeds.split("-"))
    cells = [
        (setting, correlation, rows, seed, method)
        for method, setting, correlation, rows, seed in product(
            options.methods.split(";"),
            options.settings.split(","),
            map(float, options.correlations.split(",")),
            map(int, options.rows.split(",")),
            range(first, last + 1),
        )
        if not (setting == DIGITS and correlation > 0)
    ]
    measured = store.fill(measure, cells, options.workers)
    report = Report(
        "encoder", "Relevant and irrelevant latents in a representation", options.output
    )
    tabulate(report, measured)
    report.save()
    draw_figure(measured, store.path.with_suffix(".png"))
