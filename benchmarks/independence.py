"""Many tests of conditional independence at once, against loops and a single product.

``python benchmarks/independence.py`` prints the tables and saves them.
"""

import time
import tracemalloc
import warnings
from functools import partial

import numpy as np
from causallearn.utils.cit import CIT
from report import Report, command_line
from scipy.special import fdtrc
from threadpoolctl import threadpool_limits

from skspecialist.independence import FisherZ, Moments, Wilks

SEED = 2026_11
N_SEQUENCES = 10_000
# Time steps and tasks.
SIZES = [(1000, 10), (2000, 20)]
# Columns per step, time steps, tasks and sequences of vector-valued steps.
VECTORS = (8, 200, 10, 2000)
# Tests that the loops over the scalars, over the data and over the covariance are timed on.
N_SAMPLED = (20_000, 300, 3000)


def band_triples(n_segments, length, width=1):
    """Return the columns of all pairs of representatives, and of their bands."""
    first, second = np.triu_indices(n_segments, 1)
    steps = (np.stack([first, second], axis=1) + 1) * length - 1
    last = n_segments * length - 1
    band = np.concatenate([steps - 1, np.minimum(steps + 1, last)], axis=1)
    # Neighbors share a step; the last step has none after it. A step counts once and a
    # representative is never part of its band.
    band.sort(axis=1)
    repeated = np.c_[np.zeros(len(band), bool), band[:, 1:] == band[:, :-1]]
    own = (band[:, :, None] == steps[:, None, :]).any(axis=2)
    band[repeated | own] = -1

    def columns(step):
        wide = step[..., None] * width + np.arange(width)
        return np.where(step[..., None] < 0, -1, wide).reshape(len(step), -1)

    return columns(steps[:, :1]), columns(steps[:, 1:]), columns(band)


def best(*functions, repeats=3):
    """Return the least seconds of each function; they take turns on the same machine."""
    seconds = np.empty((repeats, len(functions)))
    for row in seconds:
        for j, function in enumerate(functions):
            start = time.perf_counter()
            function()
            row[j] = time.perf_counter() - start
    return [float(least) for least in seconds.min(axis=0)]


def best_of_loop(test, chosen):
    """Return the p-values of tests called one by one, and the least seconds a test.

    The rows of ``chosen`` are the repetitions, of different tests: a loop may remember.
    Matrices of one test are small: one thread is faster than several.
    """
    pvalues, seconds = np.empty(chosen.shape), np.empty(len(chosen))
    with threadpool_limits(1):
        for i, indices in enumerate(chosen):
            start = time.perf_counter()
            pvalues[i] = [test(index) for index in indices]
            seconds[i] = time.perf_counter() - start
    return pvalues, seconds.min() / chosen.shape[1]


def peak_mib(function):
    """Return the most memory that a call holds, in MiB."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


def many_scalars(report):
    """All pairs of representatives given band and task, one column a step."""
    rng = np.random.default_rng(SEED)
    speed, against = [], []
    for n_steps, n_tasks in SIZES:
        data = rng.normal(size=(N_SEQUENCES, n_steps + n_tasks))
        sets = band_triples(n_steps // 2, 2)
        given = n_steps + np.arange(n_tasks)
        n_tests = len(sets[0]) * n_tasks
        product, covariance, ours = best(
            partial(multiply, data),
            partial(Moments.from_data, data),
            partial(FisherZ().test_many, data, *sets, given=given),
        )
        peak = peak_mib(partial(FisherZ().test_many, Moments.from_data(data), *sets, given=given))
        size = [n_steps, n_tasks, n_tests]
        speed.append([*size, product, covariance, ours, f"{ours / product:.2f}", f"{peak:.0f}"])
        loop, difference = causal_learn_loop(rng, data, *sets, given)
        loop *= n_tests
        against.append([*size, ours, loop, f"{loop / ours:.0f}", f"{difference:.1e}"])
    title = f"fisher_z from the data, L=2, {N_SEQUENCES} sequences"
    header = ["T", "M", "tests"]
    timings = ["X.T @ X, s", "Moments, s", "fisher_z, s", "fisher_z / product"]
    report.table(title, [*header, *timings, "peak MiB of the tests"], speed)
    timings = ["fisher_z, s", "causal-learn, s", "causal-learn / fisher_z"]
    report.table(
        "The same against causal-learn's loop, without its covariance",
        [*header, *timings, "p-values differ by"],
        against,
    )


def multiply(data):
    return data.T @ data


def causal_learn_loop(rng, data, x, y, z, given):
    """Return the seconds per test, and the largest difference of p-values from ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = CIT(data, "fisherz")
    chosen = rng.choice(len(x) * len(given), size=(3, N_SAMPLED[0] // 3), replace=False)
    sets = [[int(c) for c in row if c >= 0] for row in z]

    def test(index):
        row, task = divmod(index, len(given))
        return oracle(int(x[row, 0]), int(y[row, 0]), [*sets[row], int(given[task])])

    theirs, seconds = best_of_loop(test, chosen)
    ours = FisherZ().test_many(data, x, y, z, given=given).pvalue.ravel()[chosen]
    return seconds, np.abs(ours - theirs).max()


def many_vectors(report):
    """Vector-valued steps, against loops in numpy: over the data and over the covariance."""
    width, n_steps, n_tasks, n = VECTORS
    rng = np.random.default_rng(SEED)
    data = rng.normal(size=(n, n_steps * width + n_tasks))
    moments = Moments.from_data(data)
    x, y, z = band_triples(n_steps // 2, 2, width)
    given = n_steps * width + np.arange(n_tasks)
    n_tests = len(x) * n_tasks
    from_data, ours = best(
        partial(Wilks().test_many, data, x, y, z, given=given),
        partial(Wilks().test_many, moments, x, y, z, given=given),
    )
    pvalues = Wilks().test_many(moments, x, y, z, given=given).pvalue.ravel()

    def columns(index):
        row, task = divmod(index, n_tasks)
        return np.r_[x[row], y[row]], np.r_[z[row][z[row] >= 0], given[task]]

    def regress(index):
        sides, band = columns(index)
        regressors = np.column_stack([np.ones(n), data[:, band]])
        coefficients = np.linalg.lstsq(regressors, data[:, sides], rcond=None)[0]
        residuals = data[:, sides] - regressors @ coefficients
        return rao(residuals.T @ residuals, width, n - 1 - len(band))

    def condition(index):
        sides, band = columns(index)
        across = moments.scatter[np.ix_(band, sides)]
        explained = across.T @ np.linalg.solve(moments.scatter[np.ix_(band, band)], across)
        return rao(moments.scatter[np.ix_(sides, sides)] - explained, width, n - 1 - len(band))

    rows = []
    for name, test, n_sampled, seconds in (
        ("data", regress, N_SAMPLED[1], from_data),
        ("covariance", condition, N_SAMPLED[2], ours),
    ):
        chosen = rng.choice(n_tests, size=(3, n_sampled // 3), replace=False)
        theirs, loop = best_of_loop(test, chosen)
        difference = np.abs(pvalues[chosen] - theirs).max()
        ratio = f"{n_tests * loop / seconds:.0f}"
        rows.append([name, n_tests, seconds, n_tests * loop, ratio, f"{difference:.1e}"])
    report.table(
        f"wilks, {width} columns a step, T={n_steps}, M={n_tasks}, L=2, {n} sequences",
        ["from the", "tests", "wilks, s", "numpy loop, s", "loop / wilks", "p-values differ by"],
        rows,
    )


def rao(scatter, p, n_left):
    """Return the p-value of Wilks' lambda of two sides of p > 1 columns, as one test does."""
    log_det = [np.linalg.slogdet(s)[1] for s in (scatter, scatter[:p, :p], scatter[p:, p:])]
    s = np.sqrt((p**4 - 4) / (2 * p**2 - 5))
    df1 = p**2
    df2 = (n_left - p - 0.5) * s - df1 / 2 + 1
    log_lambda = log_det[0] - log_det[1] - log_det[2]
    return fdtrc(df1, df2, np.expm1(-log_lambda / s) * df2 / df1)


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        N_SEQUENCES, SIZES, VECTORS, N_SAMPLED = 200, [(20, 2)], (2, 12, 2, 200), (12, 6, 6)
    title = "Many tests of conditional independence at once"
    report = Report("independence", title, options.output)
    many_scalars(report)
    many_vectors(report)
    report.line()
    report.line(
        "Each time is the least of 3 runs. Loops are extrapolated from a sample of tests and "
        "run on one thread, which is their fastest."
    )
    report.save()
