"""Sequences that do not align, with weak labels to learn from and the truth to judge by."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

N_TIMESTEPS = 20
WANTED = (3, 5, 8)  # digits that are hard to tell apart
SETS = ((1, 3, 5), (2, 4), (6, 7, 9))
WINDOW, STRIDE, SEGMENT = 60, 15, 5  # frames of motion capture, ten a second


@dataclass(frozen=True)
class Weak:
    """Sequences with weak labels to learn from, and others with the truth.

    Attributes
    ----------
    X, X_test : ndarray of shape (n_sequences, n_timesteps, n_features)
        Sequences.
    y : ndarray of shape (n_sequences, n_tasks)
        Whether each task occurs in the sequences to learn from, or its amount.
    steps, steps_test : ndarray of shape (n_sequences, n_timesteps, n_tasks)
        The truth.
    groups : ndarray of shape (n_sequences,) or None
        Recordings that the sequences to learn from were cut from.
    """

    X: np.ndarray
    y: np.ndarray
    steps: np.ndarray
    X_test: np.ndarray
    steps_test: np.ndarray
    groups: np.ndarray | None = None


def digits(seed, *, chained=0.0, amounts=False, n_fit=2000, n_test=500):
    """Return sequences of images of digits, other images in those to judge by.

    A task is that one of the wanted digits occurs, in half of the sequences, or the sum of the
    digits of a set. ``chained`` is the correlation of a pixel with that of the step before.
    """
    images, labels = load_digits(return_X_y=True)
    pools = train_test_split(np.arange(len(images)), test_size=0.3, random_state=0, stratify=labels)
    rng = np.random.default_rng(seed)
    parts = [
        _draw(images / 16, labels, pool, n, chained, amounts, rng)
        for pool, n in zip(pools, (n_fit, n_test), strict=True)
    ]
    (X, steps), (X_test, steps_test) = parts
    y = steps.sum(axis=1) if amounts else steps.any(axis=1)
    return Weak(X, y, steps, X_test, steps_test)


def _draw(images, labels, pool, n, chained, amounts, rng):
    share = 1 - 0.5 ** (1 / N_TIMESTEPS)
    chances = np.full(10, (1 - len(WANTED) * share) / (10 - len(WANTED)))
    chances[list(WANTED)] = share
    drawn = rng.choice(10, size=(n, N_TIMESTEPS), p=None if amounts else chances)
    X = np.empty((n, N_TIMESTEPS, images.shape[1]))
    for digit in range(10):
        places = drawn == digit
        X[places] = images[rng.choice(pool[labels[pool] == digit], places.sum())]
    if chained:
        X -= images.mean(axis=0)
        for t in range(1, N_TIMESTEPS):
            X[:, t] = chained * X[:, t - 1] + np.sqrt(1 - chained**2) * X[:, t]
    if amounts:
        return X, np.stack([np.where(np.isin(drawn, s), drawn, 0.0) for s in SETS], axis=2)
    return X, np.stack([drawn == digit for digit in WANTED], axis=2)


def recordings():
    """Return motion capture, a list of (features, exercise) of segments, or None without it.

    From CMU's database, as prepared by Fox, Hughes, Sudderth and Jordan (2014): six recordings
    of 12 joint angles, 10 frames a second. The environment variable SKSPECIALIST_DATA names a
    directory that has ``mocap/mocap6.npz``.
    """
    file = Path(os.environ.get("SKSPECIALIST_DATA", "")) / "mocap" / "mocap6.npz"
    if not file.is_file():
        return None
    data = np.load(file)
    return [_segments(data[f"x{i}"], data[f"z{i}"]) for i in range(6)]


def _segments(frames, exercise):
    n = len(frames) // SEGMENT
    cut = frames[: n * SEGMENT].reshape(n, SEGMENT, -1)
    features = [cut.mean(axis=1), np.log(cut.std(axis=1) + 0.01)]
    features.append(np.abs(np.diff(cut, axis=1)).mean(axis=1))
    labels = exercise[: n * SEGMENT].reshape(n, SEGMENT)
    return np.concatenate(features, axis=1), np.array([np.bincount(s).argmax() for s in labels])


def without_one(held_out):
    """Return windows of all recordings but one, and that one whole."""
    parts = recordings()
    size, stride = WINDOW // SEGMENT, STRIDE // SEGMENT
    X_test, exercise_test = parts.pop(held_out)
    windows = [
        (features[start : start + size], exercise[start : start + size], recording)
        for recording, (features, exercise) in enumerate(parts)
        for start in range(0, len(features) - size + 1, stride)
    ]
    X, exercise, groups = (np.array(column) for column in zip(*windows, strict=True))
    tasks = np.unique(exercise)
    steps = exercise[:, :, None] == tasks
    return Weak(
        X, steps.any(axis=1), steps, X_test[None], (exercise_test[:, None] == tasks)[None], groups
    )
