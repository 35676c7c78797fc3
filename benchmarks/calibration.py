"""Tests of conditional independence: how often each rejects, in nulls and alternatives.

``python benchmarks/calibration.py`` measures what ``results/calibration.csv`` does not have
yet, a cell at a time, and prints the table; ``--fresh`` measures everything again.
``--tests "gcm;rcit" --sizes 200,1000 --cells linear,mild`` measures less. Parameters of the
tests were tuned on other seeds. ``x`` and ``y`` have two columns, ``z`` has five; weights
are drawn anew in each replication.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from report import Report
from scipy.stats import binom

from skspecialist.independence import BaseIndependenceTest

SEED = 2026_11
ALPHA = 0.05
TESTS = ("wilks", "stratified", "gcm", "gcm, linear", "rcit", "kci", "cmi")
# What a test refuses, or what would take days.
LARGEST = {"kci": 1000, "cmi": 1000}
STORE = Path(__file__).parent / "results" / "calibration.csv"
FIELDS = ("test", "n", "cell", "runs", "rejections", "seconds")


def draw(rng, n, n_columns, noise=None):
    """Return z, what it says to both sides, and both sides' noises."""
    noise = noise or (lambda *shape: rng.normal(size=shape))
    z = noise(n, n_columns)
    to_x, to_y = rng.normal(size=(2, n_columns, 2)) / np.sqrt(n_columns)
    return z, z @ to_x, z @ to_y, noise(n, 2), noise(n, 2)


def linear_null(rng, n):
    z, u, v, e, f = draw(rng, n, 5)
    return u + e, v + f, z


def mild_null(rng, n):
    """Both sides are different smooth functions of the same combinations of z."""
    z, u, _, e, f = draw(rng, n, 5)
    return u + u**2 / 2 + e, np.tanh(u) + u**2 / 2 + f, z


def strong_null(rng, n):
    """Both sides share sin(2z), of twice the variance of the noise."""
    z, _, _, e, f = draw(rng, n, 5)
    shared = 2 * np.sin(2 * z[:, :2])
    return shared + e, shared + f, z


def interaction_null(rng, n):
    """Both sides share sin(z1 + z2): no sum of functions of single columns."""
    z, _, _, e, f = draw(rng, n, 5)
    shared = 2 * np.sin(z[:, :2] + z[:, 1:3])
    return shared + e, shared + f, z


def heavy_null(rng, n):
    """Linear; everything has Student's t distribution with 3 degrees of freedom."""
    z, u, v, e, f = draw(rng, n, 5, lambda *shape: rng.standard_t(3, size=shape))
    return u + e, v + f, z


def discrete_null(rng, n):
    """The last column of z is a class label that shifts both sides."""
    z, u, v, e, f = draw(rng, n, 4)
    label = rng.integers(4, size=n)
    shift = np.array([0.0, 2.0, -2.0, 1.0])[label][:, None]
    return u + shift + e, v + shift + f, np.column_stack([z, label])


def collider(response):
    """Return a generator of colliders: the last column of z responds to both sides."""

    def make(rng, n):
        z, u, v, e, f = draw(rng, n, 4)
        x, y = u + e, v + f
        return x, y, np.column_stack([z, response(x, y) + rng.normal(size=n)])

    return make


NULLS = {
    "linear": linear_null,
    "mild": mild_null,
    "strong": strong_null,
    "interaction": interaction_null,
    "heavy": heavy_null,
    "discrete": discrete_null,
}
ALTERNATIVES = {
    "linear coll.": collider(lambda x, y: x.sum(axis=1) + y.sum(axis=1)),
    "even coll.": collider(lambda x, y: (x**2).sum(axis=1) + (y**2).sum(axis=1)),
    "square coll.": collider(lambda x, y: (x.sum(axis=1) + y.sum(axis=1)) ** 2),
    "odd coll.": collider(lambda x, y: np.sinh((x.sum(axis=1) + y.sum(axis=1)) / 2)),
}
CELLS = NULLS | ALTERNATIVES


def make_test(name):
    if name == "gcm, linear":
        return BaseIndependenceTest.resolve("gcm", argument="test").set_params(features="linear")
    return BaseIndependenceTest.resolve(name, argument="test")


def replicate(name, n, cell, replications):
    """Return how many of the replications reject, and the seconds that they took."""
    seed = [SEED, list(CELLS).index(cell), n]
    count, seconds = 0, 0.0
    for replication in replications:
        x, y, z = CELLS[cell](np.random.default_rng([*seed, replication]), n)
        start = time.perf_counter()
        count += bool(make_test(name).test(x, y, z).pvalue <= ALPHA)
        seconds += time.perf_counter() - start
    return count, seconds


def load():
    """Return the cells measured so far."""
    if not STORE.exists():
        return {}
    with STORE.open() as file:
        rows = list(csv.DictReader(file))
    return {(r["test"], int(r["n"]), r["cell"]): r for r in rows}


def store(measured):
    STORE.parent.mkdir(exist_ok=True)
    with STORE.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(measured[key] for key in sorted(measured))


def measure(names, sizes, cells, runs, workers):
    """Measure the missing cells, the cheap ones first, and keep each as it comes."""
    measured = load()
    for n in sizes:
        for name in names:
            for cell in cells if n <= LARGEST.get(name, n) else ():
                if (name, n, cell) in measured:
                    continue
                portions = np.array_split(np.arange(runs), max(workers, 1))
                done = Parallel(n_jobs=workers)(
                    delayed(replicate)(name, n, cell, portion) for portion in portions
                )
                count, seconds = (sum(part) for part in zip(*done, strict=True))
                row = dict(zip(FIELDS, (name, n, cell, runs, count, seconds), strict=True))
                print(f"{name}, n={n}, {cell}: {count}/{runs}, {seconds:.0f} s", flush=True)
                # Another run may have stored cells meanwhile.
                measured = load() | {(name, n, cell): row}
                store(measured)
    return measured


def share(row, null):
    """Return the share of rejections, marked where it is no sampling error of ALPHA."""
    runs, count = int(row["runs"]), int(row["rejections"])
    low, high = binom.ppf([0.005, 0.995], runs, ALPHA)
    mark = ("-" if count < low else "+" if count > high else "") if null else ""
    return f"{count / runs:.3f}{mark}"


def tabulate(report, measured):
    """One table for each number of samples."""
    for n in sorted({key[1] for key in measured}):
        rows = []
        for name in TESTS:
            cells = {key[2]: row for key, row in measured.items() if key[:2] == (name, n)}
            if not cells:
                continue
            shares = [share(cells[c], c in NULLS) if c in cells else "" for c in CELLS]
            runs = sum(int(row["runs"]) for row in cells.values())
            seconds = sum(float(row["seconds"]) for row in cells.values()) / runs
            fewest = min(int(row["runs"]) for row in cells.values())
            rows.append([name, fewest, *shares, seconds])
        report.table(
            f"n = {n}: share of rejections at {ALPHA} (six nulls, four colliders); "
            f"+ above, - below the 99 % interval of {ALPHA}",
            ["test", "runs", *CELLS, "s/test"],
            rows,
        )


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", default=";".join(TESTS), help="short names, by semicolon")
    parser.add_argument("--sizes", default="200,1000,5000")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--replications", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    if options.fresh:
        STORE.unlink(missing_ok=True)
    report = Report("calibration", "Tests of conditional independence: size and power")
    sizes = [int(size) for size in options.sizes.split(",")]
    names, cells = options.tests.split(";"), options.cells.split(",")
    tabulate(report, measure(names, sizes, cells, options.replications, options.workers))
    report.save()
