"""Many tests of conditional independence at once, against loops and a single product.

``python benchmarks/independence.py`` prints the tables and saves them.
"""

import time
import tracemalloc
import warnings

import numpy as np
from report import Report

from skspecialist.independence import BaseIndependenceTest, Moments, Wilks

SEED = 2026_11


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


if __name__ == "__main__":
    report = Report("independence", "Many tests of conditional independence at once")
    many_scalars(report)
    many_vectors(report)
    report.save()
