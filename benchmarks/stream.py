"""Benchmark of the segmentation of streams of motion capture, and of its memory.

``python benchmarks/stream.py`` prints the tables and saves them. ``SKSPECIALIST_DATA`` names the
folder of the recordings (see ``examples/real_motion_capture.py``). Packages of the rivals are those
of the extra ``bench``.
"""

import resource
import time
import warnings
from importlib.metadata import version
from itertools import permutations, product

import numpy as np
import torch
from localizer_data import recordings
from report import Report, command_line
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix
from sklearn.preprocessing import StandardScaler

from skspecialist import OnlineTaskSegmenter

DEVELOPED_ON, REPORTED_ON = (0, 2, 4), (1, 3, 5)
TOLERANCE = 2  # steps of half a second


def segmenter(parts):
    """OnlineTaskSegmenter with its defaults, which read each step once."""
    return np.split(OnlineTaskSegmenter().fit(parts).labels_, lengths(parts))


def pelt(parts, penalty, threshold):
    """PELT of ruptures with a Gaussian kernel, offline; segments are clustered by their means."""
    import ruptures

    X = StandardScaler().fit_transform(np.concatenate(parts))
    ends = [
        ruptures.KernelCPD("rbf", min_size=2).fit(part).predict(pen=penalty)
        for part in np.split(X, lengths(parts))
    ]
    return clustered(parts, [found[:-1] for found in ends], threshold)


def hidden_markov(parts, n_states, stickiness):
    """Gaussian HMM of hmmlearn with a sticky prior, offline, the best of five starts."""
    from hmmlearn.hmm import GaussianHMM

    X = PCA(8).fit_transform(StandardScaler().fit_transform(np.concatenate(parts)))
    sizes = [len(part) for part in parts]
    prior = 1 + stickiness * np.eye(n_states)
    fits = [
        GaussianHMM(n_states, "diag", transmat_prior=prior, n_iter=50, random_state=seed)
        for seed in range(5)
    ]
    best = max((fit.fit(X, sizes) for fit in fits), key=lambda fit: fit.score(X, sizes))
    return np.split(best.predict(X, sizes), lengths(parts))


def run_lengths(parts, n_components, expected_length, threshold):
    """Bayesian online change points of multivariate-bocd; segments are clustered by their means."""
    from multivariate_bocd import BOCD, MultivariateGaussianWishartModel

    X = PCA(n_components).fit_transform(StandardScaler().fit_transform(np.concatenate(parts)))
    found = []
    for part in np.split(X, lengths(parts)):
        prior = MultivariateGaussianWishartModel.init_from_data(X, reset_prior_on_changepoint=True)
        detector = BOCD(prior, 1 / expected_length)
        detector.fit(part)
        # The first step of a segment is counted from 1, and the first segment is no change.
        found.append([k - 1 for k in detector.changepoints if 1 < k])
    return clustered(parts, found, threshold)


RIVALS = {
    "ruptures": (pelt, product((1, 2, 4, 8), (0.5, 1.0, 2.0, 3.0, 4.0))),
    "hmmlearn": (hidden_markov, product((6, 8, 10, 12), (0, 10, 100))),
    "multivariate-bocd": (run_lengths, product((2, 4, 8), (10, 20, 60), (1.0, 2.0, 3.0, 4.0))),
}


def lengths(parts):
    """Return where recordings end in their concatenation."""
    return np.cumsum([len(part) for part in parts])[:-1]


def clustered(parts, boundaries, threshold):
    """Return labels of segments by average linkage of their means, per root of the features."""
    X = StandardScaler().fit_transform(np.concatenate(parts))
    pieces = [
        piece
        for part, found in zip(np.split(X, lengths(parts)), boundaries, strict=True)
        for piece in np.split(part, found)
    ]
    means = np.array([piece.mean(axis=0) for piece in pieces]) / X.shape[1] ** 0.5
    labels = np.zeros(len(pieces), dtype=int)
    if len(pieces) > 1:
        cluster = AgglomerativeClustering(None, distance_threshold=threshold / 4, linkage="average")
        labels = cluster.fit_predict(means)
    return np.split(np.repeat(labels, [len(piece) for piece in pieces]), lengths(parts))


def scores(truth, found):
    """Return precision, recall and F1 of the boundaries, accuracy of labels, number of tasks."""
    hits = n_true = n_found = 0
    for true, labels in zip(truth, found, strict=True):
        places, estimates = (np.flatnonzero(np.diff(part)) + 1 for part in (true, labels))
        near = np.abs(places[:, None] - estimates) <= TOLERANCE
        if near.size:
            hits += near[linear_sum_assignment(~near)].sum()
        n_true, n_found = n_true + len(places), n_found + len(estimates)
    true, labels = np.concatenate(truth), np.concatenate(found)
    table = confusion_matrix(np.unique(true, return_inverse=True)[1], labels)
    accuracy = table[linear_sum_assignment(-table)].sum() / len(true)
    precision, recall = hits / max(n_found, 1), hits / max(n_true, 1)
    f1 = 2 * hits / max(n_found + n_true, 1)
    return [precision, recall, f1, accuracy, float(len(np.unique(labels)))]


def compare(report, chosen, tiny):
    """Add the table of methods on the recordings that were not developed on."""
    rows = []
    orders = list(permutations(REPORTED_ON))[: 1 if tiny else None]
    results, start = [], time.process_time()
    for order in orders:
        parts, truth = zip(*[chosen[i] for i in order], strict=True)
        results.append(scores(truth, segmenter(parts)))
    seconds = (time.process_time() - start) / len(orders)
    settings = f"defaults; mean of {len(orders)} orders"
    rows.append(["OnlineTaskSegmenter", *np.mean(results, axis=0).tolist(), seconds, settings])
    rows.append(["  worst order", *np.min(results, axis=0).tolist(), "", ""])
    for name, (method, grid) in RIVALS.items() if not tiny else ():
        known, truth = zip(*[chosen[i] for i in DEVELOPED_ON], strict=True)
        best = max(grid, key=lambda settings: sum(scores(truth, method(known, *settings))[2:4]))
        parts, truth = zip(*[chosen[i] for i in REPORTED_ON], strict=True)
        start = time.process_time()
        found = scores(truth, method(parts, *best))
        rows.append([name, *found, time.process_time() - start, f"{best}"])
    n_steps = sum(len(chosen[i][1]) for i in REPORTED_ON)
    n_tasks = len(np.unique(np.concatenate([chosen[i][1] for i in REPORTED_ON])))
    report.table(
        f"Motion capture, recordings {REPORTED_ON}, {n_steps} half seconds, {n_tasks} exercises; "
        f"settings of rivals chosen on recordings {DEVELOPED_ON}; boundaries within {TOLERANCE} "
        "steps, labels matched one to one",
        ["", "precision", "recall", "F1", "accuracy", "tasks", "CPU seconds", "settings"],
        rows,
    )


def memory(report, n_steps):
    """Add the table of the memory of a long stream."""
    rng = np.random.default_rng(0)
    means = 4 * rng.normal(size=(8, 4))
    stream = OnlineTaskSegmenter(lag=8, max_tasks=20)
    rows, right, start = [], 0, time.process_time()
    chunk, waiting = n_steps // 100, []
    for k in range(100):
        tasks = np.repeat(rng.integers(8, size=chunk // 40 + 1), 40)[:chunk]
        waiting.append(tasks)
        stream.partial_fit(means[tasks] + rng.normal(size=(chunk, 4)), last=k == 99)
        tasks = np.concatenate(waiting)
        table = confusion_matrix(tasks[: len(stream.labels_)], stream.labels_)
        right += table[linear_sum_assignment(-table)].sum()
        waiting = [tasks[len(stream.labels_) :]]
        if k + 1 in (1, 10, 50, 100):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            seconds = time.process_time() - start
            done = stream.n_steps_seen_
            rows.append([done, f"{peak:.1f}", seconds, stream.n_tasks_, right / done])
    report.table(
        "A stream of 8 tasks, 4 features",
        ["steps", "peak MiB of the process", "CPU seconds", "tasks", "accuracy"],
        rows,
    )


def main():
    """Run everything."""
    arguments = command_line(__doc__).parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    report = Report("stream", "Segmentation of streams", arguments.output)
    if not arguments.tiny:
        names = ("ruptures", "hmmlearn", "multivariate-bocd")
        report.line(", ".join(f"{name} {version(name)}" for name in names))
    memory(report, 2000 if arguments.tiny else 1_000_000)
    data = recordings()
    if data is None:
        report.line("Without SKSPECIALIST_DATA the recordings are left out.")
    else:
        compare(report, data, arguments.tiny)
    report.save()


if __name__ == "__main__":
    main()
