"""Task structure of data that are many, missing in part, or larger than the memory.

``python benchmarks/scale.py`` prints the tables and saves them.
"""

import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from report import Report
from sklearn.model_selection import GridSearchCV

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.metrics import structure_scores

SEEDS = range(100, 110)


def peak():
    """Return the most memory that this process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(function, *args):
    """Run in a process of its own, for its peak of memory is what is asked."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def many_sequences(n_sequences=100_000, n_timesteps=200, n_tasks=10, n_features=4):
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
        found = TaskStructureIdentifier(alpha=0.01, **params).fit(data.X, data.y)
        seconds = time.perf_counter() - start
        rows.append([name, structure_scores(data.structure, found.structure_).mcc, seconds])
    return rows


def memory_map(path):
    """Fit to a float32 file of 4 GiB in which a step is a product of noises."""
    X = np.load(path, mmap_mode="r")
    y = np.asarray(X[:, 4] + X[:, 5], dtype=float) + np.random.default_rng(0).normal(size=len(X))
    before, start = peak(), time.perf_counter()
    TaskStructureIdentifier().fit(X, y)
    return [f"{X.nbytes / 2**30:.1f}", f"{peak() - before:.0f}", time.perf_counter() - start]


def write(path, n_sequences=10_737_418, n_timesteps=100):
    X = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(n_sequences, n_timesteps)
    )
    rng = np.random.default_rng(1)
    for start in range(0, n_sequences, 100_000):
        X[start : start + 100_000] = rng.normal(size=X[start : start + 100_000].shape)


def dask_array(n_sequences=5_368_710, n_timesteps=100):
    """Fit to 4 GiB in blocks that two workers make, use and forget."""
    import dask.array as da
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        X = da.random.default_rng(0).normal(
            size=(n_sequences, n_timesteps), chunks=(100_000, n_timesteps)
        )
        y = X[:, 4] + X[:, 5] + X[:, 6] ** 2
        start = time.perf_counter()
        TaskStructureIdentifier().fit(X, y)
        return [f"{X.nbytes / 2**30:.1f}", f"{peak():.0f}", time.perf_counter() - start]


def missing_steps():
    """30 % of the steps missing, against a third of the sequences complete."""
    rows = []
    for criterion in ("direct", "collider"):
        identifier = TaskStructureIdentifier(criterion=criterion, alpha=0.01)
        scores = []
        for seed in SEEDS:
            data = make_collider_sequences(10_000, random_state=seed)
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
    """What a grid search and "auto" take for the length, of 2 in truth."""
    grid = {
        "alpha": [0.001, 0.01, 0.05],
        "segment_length": [1, 2, 3, 4, 5],
        "criterion": ["direct", "collider"],
    }
    rows = []
    for n_sequences in (10_000, 2000):
        for effect in (0.0, 0.4):
            by_search, by_itself = [], []
            for seed in SEEDS:
                data = make_collider_sequences(n_sequences, action_effect=effect, random_state=seed)
                search = GridSearchCV(TaskStructureIdentifier(), grid, cv=5).fit(data.X, data.y)
                by_search.append(search.best_params_["segment_length"])
                found = TaskStructureIdentifier("auto").fit(data.X, data.y)
                by_itself.append(int(found.segments_[0, 1]))
            rows.append(
                [n_sequences, effect]
                + [f"{np.sum(np.array(c) == 2)} of {len(SEEDS)}" for c in (by_search, by_itself)]
            )
    return rows


if __name__ == "__main__":
    report = Report("scale", "Task structure: many sequences, missing steps, segment lengths")
    report.table(
        "100,000 sequences, T=200, M=10, d=4, alpha 0.01",
        ["criterion", "MCC", "seconds"],
        alone(many_sequences),
    )
    with tempfile.TemporaryDirectory() as folder:
        alone(write, Path(folder) / "X.npy")
        row = alone(memory_map, Path(folder) / "X.npy")
    report.table("A memory map of float32, T=100", ["GiB", "growth, MiB", "seconds"], [row])
    report.table(
        "A Dask array of float64, T=100, two workers",
        ["GiB", "client's peak, MiB", "seconds"],
        [alone(dask_array)],
    )
    report.table(
        "MCC with 30 % of the steps missing; 10,000 sequences, T=20, M=4, 10 seeds, alpha 0.01",
        ["criterion", "complete", "missing", "a third, complete"],
        missing_steps(),
    )
    report.table(
        "Segment length chosen right; T=20, M=4, L=2, 10 seeds, candidates 1 to 5 and 1 to 10",
        ["sequences", "action_effect", "GridSearchCV", '"auto"'],
        segment_lengths(),
    )
    report.save()
