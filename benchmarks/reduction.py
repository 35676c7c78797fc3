"""Recovery of central subspaces, and the size of the test of the same dependence measure.

``python benchmarks/reduction.py`` prints the tables and saves them. Sliced inverse regression and
directional regression are written here from their definitions; they take one amount.
"""

import time

import numpy as np
from report import Report, command_line
from scipy.spatial.distance import cdist

from skspecialist import SufficientReduction
from skspecialist.independence import KCI, FrechetCovariance

FIRST_SEED = 1000
N_FEATURES = 10


def sliced(X, y, n_components, directional, n_slices=10):
    """Return the directions of sliced inverse regression, or of directional regression."""
    Z = X - X.mean(axis=0)
    values, vectors = np.linalg.eigh(Z.T @ Z / len(Z))
    root = vectors / np.sqrt(values) @ vectors.T
    Z = Z @ root
    first, second = np.zeros((2, X.shape[1], X.shape[1]))
    for rows in np.array_split(np.argsort(y), n_slices):
        mean, moment = Z[rows].mean(axis=0), Z[rows].T @ Z[rows] / len(rows)
        first += np.outer(mean, mean) * len(rows) / len(Z)
        second += moment @ moment * len(rows) / len(Z)
    candidate = first
    if directional:
        candidate = second + first @ first + np.trace(first) * first - np.eye(len(first))
    return root @ np.linalg.eigh(candidate)[1][:, ::-1][:, :n_components]


def responses(kind, n, rng):
    """Return features, the amount that slices are of, responses, their metric, and truth."""
    X, noise = rng.normal(size=(n, N_FEATURES)), rng.normal(size=(n, 2))
    true = np.eye(N_FEATURES)[:, :2]
    metric = "auto"
    if kind == "ratio":
        y = X[:, 0] / (0.5 + (X[:, 1] + 1.5) ** 2) + 0.2 * noise[:, 0]
    elif kind == "square and sine":
        y = X[:, 0] ** 2 + 2 * np.sin(X[:, 1]) + 0.2 * noise[:, 0]
    elif kind == "square":
        y, true = X[:, 0] ** 2 + 0.3 * noise[:, 0], true[:, :1]
    elif kind == "Cauchy noise":
        true = true[:, :1] + true[:, 1:] / 2
        y = (X @ true)[:, 0] + 0.5 * rng.standard_t(1, size=n)
    elif kind == "two amounts":
        y = X[:, :2] + noise
    elif kind == "labels":
        y = 3 * (X[:, 0] > 0) + np.digitize(X[:, 1], [-0.5, 0.5])
    else:  # quantile functions, whose distance is that of Wasserstein
        spread = np.abs(1 + 0.5 * X[:, 1:2])
        y = X[:, :1] + 0.2 * noise[:, :1] + spread * np.linspace(-2, 2, 30)
        metric = "euclidean"
        if kind == "distances":
            y, metric = cdist(y, y), "precomputed"
    amount = y if y.ndim == 1 else y[:, 0]
    return X, amount, y, metric, true


def distance(found, true):
    """Return the Frobenius norm of the difference of the projections: 0 to 2 for two directions."""
    return float(np.linalg.norm(found @ np.linalg.pinv(found) - true @ np.linalg.pinv(true)))


def recover(kind, n, n_draws):
    """Return the mean distances of all methods, how often a number was right, and seconds."""
    distances, counts, seconds = [], [], np.zeros(3)
    for seed in range(FIRST_SEED, FIRST_SEED + n_draws):
        X, amount, y, metric, true = responses(kind, n, np.random.default_rng(seed))
        row = [distance(sliced(X, amount, true.shape[1], d), true) for d in (False, True)]
        counts.append([])
        for j, method in enumerate(("wire", "cumulative", "directional")):
            start = time.process_time()
            reduction = SufficientReduction(method=method, metric=metric, random_state=seed)
            reduction.fit(X, y)
            seconds[j] += (time.process_time() - start) / n_draws
            counts[-1].append(reduction.n_components_ == true.shape[1])
            reduction.set_params(n_components=true.shape[1]).fit(X, y)
            row.append(distance(reduction.components_.T, true))
        distances.append(row)
    return [*np.mean(distances, axis=0).tolist(), *np.mean(counts, axis=0).tolist()], seconds


def rejections(kind, strength, n, n_draws):
    """Return how often two tests reject at .05 where the mean of x is strength * f(y)."""
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + n_draws):
        rng = np.random.default_rng(seed)
        z = None
        if kind == "Cauchy":
            y = rng.standard_cauchy(size=(n, 2))
            effect = np.sign(y[:, :1])
        elif kind == "labels":
            y = rng.integers(4, size=n)
            effect = (y == 1)[:, None] - 0.25
            y = (y[:, None] == np.arange(4)).astype(float)
        elif kind == "curves":
            effect = rng.normal(size=(n, 1))
            y = np.sin(np.linspace(0, 6, 20) + effect) + 0.3 * rng.normal(size=(n, 20))
        else:
            z = rng.normal(size=(n, 2))
            effect = rng.normal(size=(n, 1))
            y = np.tanh(z.sum(axis=1, keepdims=True)) + effect
        x = strength * effect + rng.normal(size=(n, 2))
        x = x if z is None else x + z.sum(axis=1, keepdims=True) ** 2
        found.append([test.test(x, y, z).pvalue < 0.05 for test in (FrechetCovariance(), KCI())])
    return np.mean(found, axis=0).tolist()


def main():
    """Run everything."""
    arguments = command_line(__doc__).parse_args()
    sizes, n_draws, n_tests = ((60,), 1, 2) if arguments.tiny else ((200, 600), 8, 200)
    kinds = ["ratio", "square and sine", "square", "Cauchy noise"]
    kinds += ["two amounts", "labels", "curves", "distances"]
    report = Report("reduction", "Sufficient dimension reduction", arguments.output)
    rows, seconds = [], {}
    for n in sizes:
        for kind in kinds:
            row, seconds[n] = recover(kind, n, n_draws if n < 500 else -(-n_draws // 2))
            rows.append([n, kind, *row])
    ours = ["wire", "cumulative", "directional"]
    report.table(
        f"Distance to the central subspace, {N_FEATURES} features, and share of draws in which the "
        "number of components was right",
        ["samples", "response", "SIR", "DR", *ours, *[f"right, {name}" for name in ours]],
        rows,
    )
    report.table(
        "CPU seconds of a fit with the number of components",
        ["samples", *ours],
        [[n, *seconds[n].tolist()] for n in sizes],
    )
    report.table(
        f"Share of p-values below .05, {n_tests} draws of 150 samples",
        ["response", "null, frechet", "null, kci", "effect, frechet", "effect, kci"],
        [
            [kind, *rejections(kind, 0, 150, n_tests), *rejections(kind, 0.3, 150, n_tests // 2)]
            for kind in ("Cauchy", "labels", "curves", "amounts given two")
        ],
    )
    report.save()


if __name__ == "__main__":
    main()
