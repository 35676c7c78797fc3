"""Tests of conditional independence: size, power, seconds a test, and many tests at once.

``python benchmarks/independence.py`` prints the tables and saves them;
``--tests "gcm;rcit" --sizes 200,1000 --replications 100 --name quick`` measures less.
Parameters of the tests were tuned on other seeds. ``x`` and ``y`` have two columns,
``z`` has five; weights are drawn anew in each replication.
"""

import argparse
import time
import tracemalloc
import warnings

import numpy as np
from report import Report
from scipy.stats import binom

from skspecialist.independence import BaseIndependenceTest, Moments, Wilks

SEED = 2026_11
ALPHA = 0.05
# Tests this slow get this share of the replications, at least 20.
SHARES = {"kci": 0.25, "cmi": 0.1}
TESTS = ("wilks", "stratified", "gcm", "gcm, linear", "rcit", "kci", "cmi")


def draw(rng, n, n_columns, noise=None):
    """Return z, weights from z to both sides, and both sides' noises."""
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
    "linear": collider(lambda x, y: x.sum(axis=1) + y.sum(axis=1)),
    "even": collider(lambda x, y: (x**2).sum(axis=1) + (y**2).sum(axis=1)),
    "square": collider(lambda x, y: (x.sum(axis=1) + y.sum(axis=1)) ** 2),
    "odd": collider(lambda x, y: np.sinh((x.sum(axis=1) + y.sum(axis=1)) / 2)),
}


def make_test(name):
    if name == "gcm, linear":
        return BaseIndependenceTest.resolve("gcm", argument="test").set_params(features="linear")
    return BaseIndependenceTest.resolve(name, argument="test")


def rejections(test, make, n, replications, cell):
    """Return the share of rejections and seconds a test."""
    count, seconds = 0, 0.0
    for replication in range(replications):
        x, y, z = make(np.random.default_rng([SEED, cell, n, replication]), n)
        start = time.perf_counter()
        count += test.test(x, y, z).pvalue <= ALPHA
        seconds += time.perf_counter() - start
    return count / replications, seconds / replications


def calibration(report, names, sizes, replications):
    """Size and power of every test; sizes outside the 99 % interval of 0.05 are marked."""
    for n in sizes:
        rows = []
        for name in names:
            if name in ("kci", "cmi") and n > 1000:
                continue
            count = max(20, round(replications * SHARES.get(name, 1.0)))
            low, high = binom.ppf([0.005, 0.995], count, ALPHA) / count
            cells, seconds = [], []
            for cell, make in enumerate([*NULLS.values(), *ALTERNATIVES.values()]):
                share, cost = rejections(make_test(name), make, n, count, cell)
                mark = ""
                if cell < len(NULLS):
                    mark = "-" if share < low else "+" if share > high else ""
                cells.append(f"{share:.3f}{mark}")
                seconds.append(cost)
            rows.append([name, count, *cells, float(np.mean(seconds))])
            print(rows[-1], flush=True)
        report.table(
            f"n = {n}: rejections at {ALPHA} (six nulls, four colliders); "
            "+ above, - below the 99 % interval of 0.05",
            ["test", "runs", *NULLS, *(f"{name} coll." for name in ALTERNATIVES), "s/test"],
            rows,
        )


def band_triples(n_segments, length, width=1):
    """Return the columns of all pairs of representatives, and of their bands."""
    first, second = np.triu_indices(n_segments, 1)
    steps = (np.stack([first, second], axis=1) + 1) * length - 1
    last = n_segments * length - 1
    band = np.concatenate([steps - 1, np.minimum(steps + 1, last)], axis=1)
    # Neighbours share a step; the last step has none after it. A step counts once and a
    # representative is never part of its band.
    band.sort(axis=1)
    repeated = np.c_[np.zeros(len(band), bool), band[:, 1:] == band[:, :-1]]
    own = (band[:, :, None] == steps[:, None, :]).any(axis=2)
    band[repeated | own] = -1

    def columns(step):
        wide = step[..., None] * width + np.arange(width)
        return np.where(step[..., None] < 0, -1, wide).reshape(len(step), -1)

    return columns(steps[:, :1]), columns(steps[:, 1:]), columns(band)


def timed(function, *args, **kwargs):
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return result, time.perf_counter() - start


def many_scalars(report):
    """All pairs of representatives given band and task, one column a step."""
    rng = np.random.default_rng(SEED)
    rows = []
    for n_steps, n_tasks, n in [(1000, 10, 10_000), (2000, 20, 10_000)]:
        data = rng.normal(size=(n, n_steps + n_tasks))
        x, y, z = band_triples(n_steps // 2, 2)
        given = n_steps + np.arange(n_tasks)
        _, product = timed(lambda d: d.T @ d, data)
        moments, covariance = timed(Moments.from_data, data)
        fisher = BaseIndependenceTest.resolve("fisher_z", argument="test")
        result, seconds = timed(fisher.test_many, moments, x, y, z, given=given)
        del data
        tracemalloc.start()
        fisher.test_many(moments, x, y, z, given=given)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        rows.append(
            [n_steps, n_tasks, result.pvalue.size, product, covariance + seconds, f"{peak:.0f}"]
        )
    report.table(
        "fisher_z, L=2, 10,000 sequences",
        ["T", "M", "tests", "X.T @ X, s", "fisher_z, s", "peak MiB of the tests"],
        rows,
    )
    causal_learn_loop(report, rng)


def causal_learn_loop(report, rng, n_sampled=20_000):
    """The same tests one by one, extrapolated."""
    try:
        from causallearn.utils.cit import CIT
    except ImportError:
        report.line("causal-learn is not installed")
        return
    data = rng.normal(size=(10_000, 1010))
    x, y, z = band_triples(500, 2)
    chosen = rng.choice(len(x), size=n_sampled // 10, replace=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = CIT(data, "fisherz")
    theirs = np.empty((len(chosen), 10))
    start = time.perf_counter()
    for i, row in enumerate(chosen):
        band = [int(c) for c in z[row] if c >= 0]
        for task in range(10):
            theirs[i, task] = oracle(int(x[row, 0]), int(y[row, 0]), [*band, 1000 + task])
    seconds = (time.perf_counter() - start) * len(x) * 10 / theirs.size
    fisher = BaseIndependenceTest.resolve("fisher_z", argument="test")
    ours = fisher.test_many(data, x[chosen], y[chosen], z[chosen], given=1000 + np.arange(10))
    difference = np.abs(ours.pvalue - theirs).max()
    report.line(
        f"causal-learn's loop over the tests of T=1000, M=10, from {theirs.size} of them: "
        f"{seconds:.1f} s; largest difference of p-values {difference:.1e}"
    )


def many_vectors(report, width=8, n_steps=200, n_tasks=10, n=2000, n_sampled=300):
    """Vector-valued steps, against a loop of regressions in numpy."""
    rng = np.random.default_rng(SEED)
    data = rng.normal(size=(n, n_steps * width + n_tasks))
    x, y, z = band_triples(n_steps // 2, 2, width)
    given = n_steps * width + np.arange(n_tasks)
    result, seconds = timed(Wilks().test_many, data, x, y, z, given=given)
    start = time.perf_counter()
    for row in rng.choice(len(x), size=n_sampled, replace=False):
        of_z = np.column_stack([np.ones(n), data[:, z[row][z[row] >= 0]], data[:, given[0]]])
        sides = data[:, np.r_[x[row], y[row]]]
        residuals = sides - of_z @ np.linalg.lstsq(of_z, sides, rcond=None)[0]
        scatter = residuals.T @ residuals
        np.linalg.slogdet(scatter)
        np.linalg.slogdet(scatter[:width, :width])
        np.linalg.slogdet(scatter[width:, width:])
    loop = (time.perf_counter() - start) / n_sampled * result.pvalue.size
    report.table(
        f"wilks, {width} columns a step, T={n_steps}, M={n_tasks}, L=2, {n} sequences",
        ["tests", "wilks, s", f"numpy loop from {n_sampled} tests, s"],
        [[result.pvalue.size, seconds, loop]],
    )


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", default=";".join(TESTS), help="short names, by semicolon")
    parser.add_argument("--sizes", default="200,1000,5000")
    parser.add_argument("--replications", type=int, default=500)
    parser.add_argument("--name", default="independence", help="of the file of results")
    parser.add_argument("--parts", default="calibration,speed")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    report = Report(options.name, "Tests of conditional independence")
    if "calibration" in options.parts:
        sizes = [int(size) for size in options.sizes.split(",")]
        calibration(report, options.tests.split(";"), sizes, options.replications)
    if "speed" in options.parts:
        many_scalars(report)
        many_vectors(report)
    report.save()
