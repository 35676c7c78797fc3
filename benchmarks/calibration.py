"""Level and power of the conditional independence tests, in six nulls and four alternatives.

``python benchmarks/calibration.py`` measures the cells that ``results/calibration.csv`` lacks and
prints the table; ``--fresh`` measures all of them again.
``--tests "gcm;rcit" --sizes 200,1000 --cells linear,mild`` measures less. Parameters of the
tests were tuned on other seeds. ``x`` and ``y`` have two columns, ``z`` has five; each
replication draws its own weights.
"""

import time
from functools import partial
from itertools import product

import numpy as np
from report import Report, command_line
from scipy.stats import binom
from store import Store

from skspecialist.independence import BaseIndependenceTest

SEED = 2026_11
ALPHA = 0.05
TESTS = ("wilks", "stratified", "gcm", "gcm, linear", "rcit", "kci", "cmi")
# Largest samples: larger ones are refused, or would take days.
LARGEST = {"kci": 1000, "cmi": 1000}
FIELDS = ("test", "n", "cell", "runs", "rejections", "seconds")


def draw(rng, n, n_columns, noise=None):
    """Return z, its effects on both sides, and the noises of both sides."""
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


def measure(name, n, cell, runs):
    """Return a row of the store: the rejections of all replications, and their seconds."""
    seed = [SEED, list(CELLS).index(cell), n]
    count, seconds = 0, 0.0
    for replication in range(runs):
        x, y, z = CELLS[cell](np.random.default_rng([*seed, replication]), n)
        start = time.perf_counter()
        count += bool(make_test(name).test(x, y, z).pvalue <= ALPHA)
        seconds += time.perf_counter() - start
    return dict(zip(FIELDS, (name, n, cell, runs, count, seconds), strict=True))


def share(row, null):
    """Return the share of rejections, marked where it differs significantly from ALPHA."""
    runs, count = row["runs"], row["rejections"]
    low, high = binom.ppf([0.005, 0.995], runs, ALPHA)
    mark = ("-" if count < low else "+" if count > high else "") if null else ""
    return f"{count / runs:.3f}{mark}"


def tabulate(report, measured):
    """Add one table for each number of samples."""
    for n, rows in measured.groupby("n"):
        table = []
        for name in TESTS:
            cells = rows[rows["test"] == name].set_index("cell")
            if cells.empty:
                continue
            shares = [share(cells.loc[c], c in NULLS) if c in cells.index else "" for c in CELLS]
            seconds = float(cells["seconds"].sum() / cells["runs"].sum())
            table.append([name, cells["runs"].min(), *shares, seconds])
        report.table(
            f"n = {n}: share of rejections at {ALPHA} (six nulls, four colliders); "
            f"+ above, - below the 99 % interval of {ALPHA}",
            ["test", "runs", *CELLS, "s/test"],
            table,
        )


if __name__ == "__main__":
    parser = command_line(__doc__, stored=True)
    parser.add_argument("--tests", default=";".join(TESTS), help="short names, by semicolon")
    parser.add_argument("--sizes", default="200,1000,5000")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--replications", type=int, default=500)
    options = parser.parse_args()
    if options.tiny:
        options.tests, options.sizes, options.cells = "wilks;gcm", "50", "linear,even coll."
        options.replications, options.workers = 2, 1
    store = Store(options.output / "calibration.csv", FIELDS, 3)
    if options.fresh:
        store.path.unlink(missing_ok=True)
    report = Report(
        "calibration", "Tests of conditional independence: level and power", options.output
    )
    sizes = [int(size) for size in options.sizes.split(",")]
    cells = [
        (name, n, cell)
        for n, name, cell in product(sizes, options.tests.split(";"), options.cells.split(","))
        if n <= LARGEST.get(name, n)
    ]
    measured = store.fill(partial(measure, runs=options.replications), cells, options.workers)
    tabulate(report, measured)
    report.save()
