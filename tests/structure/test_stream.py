"""Segmentation of a stream: chunks, planted segments, exact segmentations, bounded memory."""

import pickle

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn.exceptions import NotFittedError

from skspecialist import OnlineTaskSegmenter

RESULTS = ("labels", "probabilities", "boundaries", "delays")


def planted(seed, n_segments=12, length=25, n_tasks=4, n_features=3):
    """Return a stream of recurring tasks that differ in mean and scale, and the task of a step."""
    rng = np.random.default_rng(seed)
    tasks = np.concatenate([np.arange(n_tasks), rng.integers(n_tasks, size=n_segments - n_tasks)])
    steps = np.repeat(tasks, length)
    means = 6 * rng.normal(size=(n_tasks, n_features))
    X = means[steps] + (0.5 + steps[:, None] % 2) * rng.normal(size=(len(steps), n_features))
    return X, steps


@pytest.fixture(scope="module")
def fitted():
    X, tasks = planted(1)
    return OnlineTaskSegmenter().fit(X), X, tasks


def test_planted_segmentation_comes_back(fitted):
    segmenter, X, tasks = fitted
    # Tasks are planted in the order of their first occurrence.
    np.testing.assert_array_equal(segmenter.labels_, tasks)
    np.testing.assert_array_equal(
        segmenter.boundaries_, np.append(0, np.flatnonzero(np.diff(tasks)) + 1)
    )
    np.testing.assert_array_equal(segmenter.counts_, np.bincount(tasks))
    assert segmenter.delays_.max() <= 3
    assert segmenter.probabilities_.min() > 0.5
    assert np.mean(segmenter.predict(X) == tasks) > 0.95
    np.testing.assert_array_equal(segmenter.predict([X[60:140]])[0], tasks[60:140])


def test_chunks_change_nothing(fitted):
    segmenter, X, _ = fitted
    rng = np.random.default_rng(0)
    chunked = OnlineTaskSegmenter()
    parts = np.split(X, np.sort(rng.choice(np.arange(1, len(X)), 20, replace=False)))
    found = [[], [], [], []]
    for k, part in enumerate(parts):
        chunked.partial_fit(part, last=k == len(parts) - 1)
        for name, values in zip(RESULTS, found, strict=True):
            values.append(getattr(chunked, f"{name}_"))
    for name, values in zip(RESULTS, found, strict=True):
        np.testing.assert_array_equal(np.concatenate(values), getattr(segmenter, f"{name}_"))
    np.testing.assert_array_equal(chunked.means_, segmenter.means_)


def test_units_change_nothing(fitted):
    segmenter, X, _ = fitted
    other = OnlineTaskSegmenter().fit(X * [1e3, 1.0, 1e-4] + [1e5, 0.0, 3.0])
    np.testing.assert_array_equal(other.labels_, segmenter.labels_)


def log_evidence(x, m, b):
    """Return the cumulative log probability of a segment by predictive Student densities."""
    kappa, a, densities = 0.1, 1.0, []
    for value in x:
        densities.append(student.logpdf(value, 2 * a, m, np.sqrt(b * (kappa + 1) / (a * kappa))))
        b += kappa * (value - m) ** 2 / (2 * (kappa + 1))
        m, kappa, a = (kappa * m + value) / (kappa + 1), kappa + 1, a + 0.5
    return np.cumsum(densities)


def test_recording_within_the_lag_has_the_exact_segmentation():
    """The most probable change points, by dynamic programming over all of them."""
    rng = np.random.default_rng(3)
    x = np.repeat([0.0, 2.0, -1.0], [6, 8, 6]) + 0.5 * rng.normal(size=20)
    evidence = [log_evidence(x[s:], x.mean(), x.var()) for s in range(20)]
    best = [(0.0, [])]
    for stop in range(1, 21):
        paths = []
        for s, (score, onsets) in enumerate(best):
            score += evidence[s][stop - s - 1] + (stop - s - 1) * np.log(6 / 7)
            paths.append((score + (np.log(1 / 7) if s else 0.0), [*onsets, s]))
        best.append(max(paths))
    exact = best[-1][1]
    assert len(exact) > 1
    segmenter = OnlineTaskSegmenter(lag=30, expected_length=7).fit(x[:, None])
    assert segmenter.boundaries_.tolist() == exact


def test_memory_and_number_of_tasks_are_bounded():
    X, _ = planted(2, n_tasks=6, n_segments=10)
    segmenter = OnlineTaskSegmenter(lag=4, max_tasks=3).partial_fit(X[:100])
    size = len(pickle.dumps(segmenter._filter))
    for part in np.array_split(X[100:], 3):
        segmenter.partial_fit(part)
    assert abs(len(pickle.dumps(segmenter._filter)) - size) < 100
    assert segmenter.n_tasks_ == 3


def test_predict_needs_decisions():
    segmenter = OnlineTaskSegmenter().partial_fit(np.zeros((5, 2)))
    with pytest.raises(NotFittedError, match="5 steps were read"):
        segmenter.predict(np.zeros((5, 2)))
    assert segmenter.partial_fit(np.zeros((1, 2)), last=True).labels_.tolist() == [0] * 6
