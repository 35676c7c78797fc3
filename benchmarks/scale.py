"""Task structure of many sequences, of incomplete ones, and of data larger than the memory.

``python benchmarks/scale.py`` prints the tables and saves them; ``--pipeline`` only that of a
pipeline, in a file of its own, and ``--pipeline --sequences 1000000`` that of its fit in blocks to
more sequences; ``--robust`` only those of the default tests, and ``--robust --sequences 1000000``
that of a file of half precision.
"""

import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from report import Report, command_line
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skspecialist import SpecialistPipeline, TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.metrics import structure_scores

SEEDS = range(100, 110)
MANY = (100_000, 200, 10, 4)  # sequences, steps, tasks, features
N_FILE, N_DASK, CHUNK = 10_737_418, 5_368_710, 100_000  # rows of 100 steps: 4 GiB each
# Sequences of the default tests, and batches in which they come.
STREAM, N_BATCHES = (40_000, 60, 10, 4), 4
N_MISSING, N_LENGTHS = 10_000, (10_000, 2000)
# Sequences in the file, their steps and features; those that the parts of the pipeline are fitted
# to, and those at the end of the file that it predicts.
FILE, N_FIT, N_HELD_OUT = (100_000, 12, 128), 3_000, 10_000
CANDIDATES = ["steps", "steps_mean", "steps_kernel"]
# Fits of a pipeline: whether to all sequences in blocks, or to the sample alone; and candidates.
FITS = {
    "fit to a sample alone": (False, CANDIDATES),
    "fit in blocks": (True, CANDIDATES),
    "fit in blocks, all candidates": (True, "auto"),
}
GRID = {
    "alpha": [0.001, 0.01, 0.05],
    "segment_length": [1, 2, 3, 4, 5],
    "criterion": ["direct", "collider"],
}


def peak():
    """Return the most memory that this process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(function, *args):
    """Return the result of a call in a separate process, whose peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def many_sequences(n_sequences, n_timesteps, n_tasks, n_features):
    """Return one row per criterion: MCC and seconds."""
    data = make_collider_sequences(
        n_sequences, n_timesteps, n_tasks, n_features=n_features, random_state=SEEDS[0]
    )
    rows = []
    for name, params in {
        "direct": {},
        "direct, 20 half-samples": {"n_subsamples": 20, "random_state": 0},
        "collider": {"criterion": "collider"},
    }.items():
        start = time.perf_counter()
        test = "fisher_z" if n_features == 1 else "wilks"
        identifier = TaskStructureIdentifier(2, alpha=0.01, independence_test=test, **params)
        found = identifier.fit(data.X, data.y)
        seconds = time.perf_counter() - start
        rows.append([name, structure_scores(data.structure, found.structure_).mcc, seconds])
    return rows


def default_tests(shape, sources, folder):
    """Return rows of default fits: CPU seconds, also relative to products of basis functions."""
    import dask
    import dask.array as da

    n_sequences, n_timesteps, n_tasks, n_features = shape
    data = make_collider_sequences(
        n_sequences, n_timesteps, n_tasks, n_features=n_features, random_state=SEEDS[0]
    )
    path = Path(folder) / "X.npy"
    np.save(path, data.X)
    X, batch = np.load(path, mmap_mode="r"), -(-n_sequences // N_BATCHES)
    y, truth = data.y, data.structure
    del data

    def in_batches():
        found = TaskStructureIdentifier(alpha=0.01)
        for start in range(0, n_sequences, batch):
            found.partial_fit(X[start : start + batch], y[start : start + batch])
        return found

    fits = {
        "memory map": lambda: TaskStructureIdentifier(alpha=0.01).fit(X, y),
        "Dask": lambda: TaskStructureIdentifier(alpha=0.01).fit(
            da.from_array(X, chunks=(batch, -1, -1)), y
        ),
        "batches": in_batches,
    }
    # Each feature has four functions, and each pair of features of a step a product.
    width = n_timesteps * (4 * n_features + n_features * (n_features - 1) // 2)
    rng = np.random.default_rng(0)
    D, Q = rng.normal(size=(max(2**23 // width, 1), width)), rng.normal(size=(width, width))
    products = []
    for multiply in (lambda: D.T @ D, lambda: D @ Q):
        start = time.process_time()
        multiply()
        products.append((time.process_time() - start) * n_sequences / len(D))
    rows = []
    for name in sources:
        with dask.config.set(scheduler="synchronous"):
            found, seconds, gib = clocked(fits[name])
        steps = np.repeat(truth, 2, axis=0)[:n_timesteps]
        mcc = structure_scores(steps, found.step_mask_).mcc
        rows.append([name, "x".join(map(str, shape)), seconds, *products])
        rows[-1] += [seconds / products[0], seconds / sum(products), mcc, gib]
    return rows


def memory_map(path):
    """Fit to a float32 file; return its size, the growth of memory, and seconds."""
    X = np.load(path, mmap_mode="r")
    y = np.asarray(X[:, 4] + X[:, 5], dtype=float) + np.random.default_rng(0).normal(size=len(X))
    before, start = peak(), time.perf_counter()
    TaskStructureIdentifier(2, independence_test="fisher_z").fit(X, y)
    return [f"{X.nbytes / 2**30:.1f}", f"{peak() - before:.0f}", time.perf_counter() - start]


def write(path, n_sequences, n_timesteps=100):
    """Write a float32 file of noise, in blocks."""
    X = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(n_sequences, n_timesteps)
    )
    rng = np.random.default_rng(1)
    for start in range(0, n_sequences, 100_000):
        block = X[start : start + 100_000]
        block[:] = rng.normal(size=block.shape)


def dask_array(n_sequences, chunk, n_workers=2, n_timesteps=100):
    """Fit to blocks that the workers draw, use and free."""
    import dask.array as da
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=n_workers > 1,
            dashboard_address=None,
        ) as cluster,
        Client(cluster),
    ):
        X = da.random.default_rng(0).normal(
            size=(n_sequences, n_timesteps), chunks=(chunk, n_timesteps)
        )
        y = X[:, 4] + X[:, 5] + X[:, 6] ** 2
        start = time.perf_counter()
        TaskStructureIdentifier(2, independence_test="fisher_z").fit(X, y)
        return [f"{X.nbytes / 2**30:.1f}", f"{peak():.0f}", time.perf_counter() - start]


def write_tasks(path, n_sequences, n_timesteps, n_features):
    """Write a float16 file of mixed chains, and return tasks: linear, curved, and a product."""
    shape = n_sequences, n_timesteps, n_features
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, n_features)).astype(np.float32) / 8**0.5
    y = np.empty((n_sequences, 3))
    for start in range(0, n_sequences, 10_000):
        rows = slice(start, min(start + 10_000, n_sequences))
        Z = rng.standard_normal((rows.stop - start, n_timesteps, 8), dtype=np.float32)
        for t in range(1, n_timesteps):
            Z[:, t] = 0.5 * Z[:, t - 1] + 0.75**0.5 * Z[:, t]
        noise = rng.standard_normal((len(Z), *shape[1:]), dtype=np.float32)
        X[rows] = Z @ mixing + 0.3 * noise
        y[rows, 0] = Z[:, 1, 0] + Z[:, 2, 1]
        y[rows, 1] = np.abs(Z[:, 3, 2]) + Z[:, 3, 0]
        y[rows, 2] = Z[:, -1, 0] * Z[:, -1, 1]
    return y + 0.5 * rng.standard_normal(y.shape)


def clocked(function, *arguments):
    """Return the result of a call, CPU seconds, and the peak of memory so far in GiB."""
    start = time.process_time()
    found = function(*arguments), time.process_time() - start, peak() / 1024
    print(*found[1:], flush=True)
    return found


def structure_of_file(path, y):
    """Return rows of the structure of all sequences, block by block, by linear tests."""
    import dask
    import dask.array as da

    X = da.from_array(np.load(path, mmap_mode="r"), chunks=(10_000, -1, -1))
    with dask.config.set(scheduler="synchronous"):
        identifier = TaskStructureIdentifier(alpha=0.01, independence_test="wilks")
        found, seconds, gib = clocked(identifier.fit, X, y)
    steps = [np.flatnonzero(column).tolist() for column in found.step_mask_.T]
    return [["structure of all, by moments", f"{len(X):,}", seconds, gib, f"steps {steps}"]]


def default_tests_of_file(path, y):
    """Return a row of the structure of a memory map of half precision by the default tests."""
    X = np.load(path, mmap_mode="r")
    found, seconds, gib = clocked(TaskStructureIdentifier(alpha=0.01).fit, X, y)
    steps = [np.flatnonzero(column).tolist() for column in found.step_mask_.T]
    return [["x".join(map(str, X.shape)), path.stat().st_size / 2**30, seconds, gib, f"{steps}"]]


def robust_tables(output, run, is_large):
    """Save the tables of the default tests of sequences beyond memory."""
    name = "scale_robust_large" if is_large else "scale_robust"
    report = Report(name, "Default tests of more sequences than are kept", output)
    with tempfile.TemporaryDirectory() as folder:
        if is_large:
            path = Path(folder) / "X.npy"
            report.table(
                "A file of float16; tasks of the steps [1, 2], [3] and the last one",
                ["sequences, steps, features", "GiB", "CPU seconds", "peak, GiB", "steps"],
                run(default_tests_of_file, path, run(write_tasks, path, *FILE)),
            )
        else:
            rows = run(default_tests, STREAM, ("memory map", "Dask", "batches"), folder)
            rows += run(default_tests, MANY, ("memory map",), folder)
            report.table(
                "CPU seconds of a fit, of the product D'D of basis functions of all steps, and of "
                "D Q, with\nQ of the shape of D'D, both extrapolated from a block; alpha 0.01",
                [
                    "source",
                    "N x T x M x d",
                    "fit",
                    "D'D",
                    "D Q",
                    "fit / D'D",
                    "fit / both",
                    "MCC",
                    "GiB",
                ],
                rows,
            )
    report.save()


def pipeline_of_file(path, y, n_samples, name, in_blocks, candidates):
    """Return rows of a pipeline of all sequences but the last, or of a sample, and predictions."""
    X = np.load(path, mmap_mode="r")
    fit, held_out = slice(-N_HELD_OUT), slice(-N_HELD_OUT, None)
    given = X[fit], y[fit]
    if not in_blocks:
        rows = np.sort(np.random.default_rng(0).choice(len(X) - N_HELD_OUT, n_samples, False))
        given = X[rows], y[rows]
    pipeline = SpecialistPipeline(candidates=candidates, max_samples=n_samples, random_state=0)
    _, seconds, gib = clocked(pipeline.fit, *given)
    steps = [np.flatnonzero(column).tolist() for column in pipeline.step_mask_.T]
    rows = [[name, f"{len(given[0]):,}", seconds, gib, f"steps {steps}"]]
    found, seconds, gib = clocked(pipeline.predict, X[held_out])
    errors = ((found - y[held_out]) ** 2).mean(axis=0) / y[held_out].var(axis=0)
    r2 = " ".join(f"{1 - error:.3f}" for error in errors)
    return [*rows, ["its predictions", f"{N_HELD_OUT:,}", seconds, gib, f"R2 {r2}"]]


def pipeline_tables(output, run, is_large):
    """Save the table of a file of half precision."""
    title = "A file of float16: structure and pipeline"
    report = Report("scale_large" if is_large else "scale_pipeline", title, output)
    report.line("Tasks of the steps [1, 2], [3] and the last one: noise leaves R2 of at most .889,")
    report.line(".845 and .800; linear models explain .889, .620 and nothing. In blocks, parts are")
    report.line(f"fitted to a sample of {N_FIT:,} sequences, and ridge regressions to all")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        y = run(write_tasks, path, *FILE)
        rows = [] if is_large else run(structure_of_file, path, y)
        for name, settings in FITS.items():
            if not is_large or settings == (True, CANDIDATES):
                rows += run(pipeline_of_file, path, y, N_FIT, name, *settings)
        size = path.stat().st_size / 2**30
    report.table(
        "{:,} sequences of {} steps of {} features".format(*FILE) + f", {size:.2f} GiB",
        ["", "sequences", "CPU seconds", "peak, GiB", "found"],
        rows,
    )
    report.save()


def missing_steps():
    """Return MCC with 30 % of the steps missing, and with a third of the sequences, complete."""
    rows = []
    for criterion in ("direct", "collider"):
        identifier = TaskStructureIdentifier(
            2, criterion=criterion, alpha=0.01, independence_test="fisher_z"
        )
        scores = []
        for seed in SEEDS:
            data = make_collider_sequences(N_MISSING, random_state=seed)
            missing = np.random.default_rng(seed).uniform(size=data.X.shape[:2]) < 0.3
            with_gaps = np.where(missing[:, :, None], np.nan, data.X)
            with_gaps[0] = np.nan
            third = len(data.X) // 3
            scores.append(
                [
                    structure_scores(data.structure, identifier.fit(X, y).structure_).mcc
                    for X, y in [
                        (data.X, data.y),
                        (with_gaps, data.y),
                        (data.X[:third], data.y[:third]),
                    ]
                ]
            )
        rows.append([criterion, *(float(mean) for mean in np.mean(scores, axis=0))])
    return rows


def segment_lengths():
    """Return how often a grid search and "auto" choose the true length of 2."""
    rows = []
    linear = TaskStructureIdentifier(2, independence_test="wilks")
    for n_sequences in N_LENGTHS:
        for effect in (0.0, 0.4):
            by_search, by_itself = [], []
            for seed in SEEDS:
                data = make_collider_sequences(n_sequences, action_effect=effect, random_state=seed)
                search = GridSearchCV(linear, GRID, cv=5).fit(data.X, data.y)
                by_search.append(search.best_params_["segment_length"])
                found = clone(linear).set_params(segment_length="auto").fit(data.X, data.y)
                by_itself.append(int(found.segments_[0, 1]))
            rows.append(
                [n_sequences, effect]
                + [f"{np.sum(np.array(c) == 2)} of {len(SEEDS)}" for c in (by_search, by_itself)]
            )
    return rows


if __name__ == "__main__":
    parser = command_line(__doc__)
    parser.add_argument("--pipeline", action="store_true", help="only the file of a pipeline")
    parser.add_argument("--robust", action="store_true", help="only the default tests")
    parser.add_argument("--sequences", type=int, default=FILE[0], help="sequences in this file")
    options = parser.parse_args()
    is_large = options.sequences > FILE[0]
    FILE = (options.sequences, *FILE[1:])
    n_workers, run = 2, alone
    if options.tiny:
        SEEDS, MANY, N_FILE, N_DASK, CHUNK = SEEDS[:1], (200, 8, 2, 2), 200, 200, 100
        STREAM, N_BATCHES = (200, 6, 2, 2), 2
        N_MISSING, N_LENGTHS, GRID = 200, (200,), {"segment_length": [1, 2]}
        FILE, N_FIT, N_HELD_OUT = (300, 5, 9), 150, 50
        FITS["fit in blocks, all candidates"] = True, ["kernel"]

        def run(function, *args):
            """Call in this process: another one would import everything again."""
            return function(*args)

        n_workers = 1
    if not options.robust:
        pipeline_tables(options.output, run, is_large)
    if options.robust or not options.pipeline:
        robust_tables(options.output, run, is_large)
    if options.robust or options.pipeline:
        raise SystemExit
    title = "Task structure: many sequences, missing steps, segment lengths"
    report = Report("scale", title, options.output)
    report.table(
        "{:,} sequences, T={}, M={}, d={}, alpha 0.01".format(*MANY),
        ["criterion", "MCC", "seconds"],
        run(many_sequences, *MANY),
    )
    with tempfile.TemporaryDirectory() as folder:
        run(write, Path(folder) / "X.npy", N_FILE)
        row = run(memory_map, Path(folder) / "X.npy")
    report.table("A memory map of float32, T=100", ["GiB", "growth, MiB", "seconds"], [row])
    report.table(
        "A Dask array of float64, T=100, two workers",
        ["GiB", "client's peak, MiB", "seconds"],
        [run(dask_array, N_DASK, CHUNK, n_workers)],
    )
    report.table(
        f"MCC with 30 % of the steps missing; {N_MISSING:,} sequences, T=20, M=4, "
        f"{len(SEEDS)} seeds, alpha 0.01",
        ["criterion", "complete", "missing", "a third, complete"],
        missing_steps(),
    )
    report.table(
        f"Segment length chosen right; T=20, M=4, L=2, {len(SEEDS)} seeds, candidates 1 to 5 "
        "and 1 to 10",
        ["sequences", "action_effect", "GridSearchCV", '"auto"'],
        segment_lengths(),
    )
    report.save()
