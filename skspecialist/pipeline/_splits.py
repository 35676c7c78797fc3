"""Splits of the sequences for a comparison of candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from .._data.validation import split_indices
from ..exceptions import warn
from ._representation import LabeledSequences

__all__ = ["Split", "n_splits", "other_environments", "split_sequences"]

# Draws of a random split, until no class is missing where it is needed. A class of two
# sequences is missed by a part of one half with probability 1 / 4, hence 25 times with 1e-15.
MAX_DRAWS = 25


@dataclass(frozen=True)
class Split:
    """Indices of the sequences for each step of a comparison."""

    representation: np.ndarray
    estimators: np.ndarray
    held_out: np.ndarray


def is_fractions(cv: Any) -> bool:
    """Return whether ``cv`` is a sequence of fractions."""
    return isinstance(cv, (tuple, list, np.ndarray)) and all(isinstance(s, Real) for s in cv)


def n_splits(cv: Any, data: LabeledSequences) -> int:
    """Return the number of fits to parts of the data."""
    if is_fractions(cv):
        return 1
    return len(list(split_indices(_splitter(cv, data, 0), data.X, data.y, data.groups)))


def split_sequences(cv: Any, data: LabeledSequences, seed: int) -> Iterator[Split]:
    """Yield the splits of a comparison.

    Raises
    ------
    ValueError
        If fractions are not two or three positive numbers that sum to 1.

    Warns
    -----
    SpecialistWarning
        If a task is constant in the sequences that are fitted to.
    """
    if is_fractions(cv):
        yield _random_split(cv, data, np.random.RandomState(seed))
        return
    splitter = _splitter(cv, data, seed)
    for fit, held_out in split_indices(splitter, data.X, data.y, data.groups):
        _warn_of_constant_tasks(data.take(fit))
        yield Split(fit, fit, held_out)


def other_environments(
    fit: LabeledSequences, held_out: LabeledSequences
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices of the sequences to fit to, and of those of another environment to predict."""
    if fit.environments is None or held_out.environments is None:
        yield np.arange(len(fit)), np.arange(len(held_out))
        return
    for environment in np.unique(held_out.environments):
        others = np.flatnonzero(fit.environments != environment)
        yield others, np.flatnonzero(held_out.environments == environment)


def _splitter(cv: Any, data: LabeledSequences, seed: int) -> Any:
    if not isinstance(cv, Integral):
        return cv
    labels = [v for v, t in zip(data.values, data.tasks.tasks, strict=True) if t.is_classification]
    if not labels:
        folds = KFold if data.groups is None else GroupKFold
        return folds(cv, shuffle=True, random_state=seed)
    return _stratified_folds(int(cv), labels, data.groups, np.random.RandomState(seed))


def _stratified_folds(
    cv: int, labels: list[np.ndarray], groups: np.ndarray | None, rng: np.random.RandomState
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return folds with about the same frequencies of the classes of several tasks.

    Groups, in the order of their classes, are dealt out to the folds in turn (systematic
    sampling of a sorted list): class counts of the first task differ by one at most, and those
    of the further ones nearly so. A group of several sequences counts by its mean codes.
    """
    n_sequences = len(labels[0])
    groups = np.arange(n_sequences) if groups is None else groups
    n_groups = groups.max() + 1
    if not 2 <= cv <= n_groups:
        raise ValueError(f"cv={cv} folds need 2 to {n_groups} sequences, or groups of them.")
    order = rng.permutation(n_groups)
    sizes = np.bincount(groups)
    codes = [np.unique(values, return_inverse=True)[1] for values in labels]
    means = [np.bincount(groups, code, n_groups) / sizes for code in codes]
    # The last key is the first to sort by; ties stay in random order.
    order = order[np.lexsort([mean[order] for mean in reversed(means)])]
    fold = np.empty(n_groups, dtype=int)
    fold[order] = np.arange(n_groups) % cv
    of_sequence = fold[groups]
    return [(np.flatnonzero(of_sequence != k), np.flatnonzero(of_sequence == k)) for k in range(cv)]


def _random_split(fractions: Any, data: LabeledSequences, rng: np.random.RandomState) -> Split:
    sizes = np.asarray(fractions, dtype=float)
    if len(sizes) not in (2, 3) or not (sizes > 0).all() or abs(sizes.sum() - 1) > 1e-6:
        raise ValueError(
            "cv must be two fractions (training, validation) or three (representation, "
            f"estimators, validation), positive and of sum 1, or a splitter; got {fractions!r}."
        )
    groups = np.arange(len(data)) if data.groups is None else data.groups
    for _ in range(MAX_DRAWS):
        part = _draw_parts(sizes, groups, rng)
        parts = [np.flatnonzero(part == i) for i in range(len(sizes))]
        if min(map(len, parts)) and _has_all_classes(data, parts[0]):
            break
    if not min(map(len, parts)):
        raise ValueError(
            f"cv={fractions!r} leaves a part empty: there are too few sequences, or groups. "
            "Use strategy='specialist' or 'generalist', or another cv."
        )
    _warn_of_constant_tasks(data.take(parts[0]))
    return Split(parts[0], np.concatenate(parts[:-1]), parts[-1])


def _draw_parts(
    fractions: np.ndarray, groups: np.ndarray, rng: np.random.RandomState
) -> np.ndarray:
    """Return the part of each sequence, the same for all sequences of a group."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    # A group belongs to the part in which its middle lies, in random order of the groups.
    middles = (np.cumsum(sizes[order]) - sizes[order] / 2) / len(groups)
    part = np.empty(len(sizes), dtype=int)
    part[order] = np.searchsorted(np.cumsum(fractions)[:-1], middles)
    return np.asarray(part[groups])


def _has_all_classes(data: LabeledSequences, rows: np.ndarray) -> bool:
    return all(
        task.classes is None or len(np.unique(values[rows])) == task.n_classes
        for task, values in zip(data.tasks.tasks, data.values, strict=True)
    )


def _warn_of_constant_tasks(fit: LabeledSequences) -> None:
    """Warn of tasks that are constant in a split, or in all but one of its environments."""
    varied = fit.varied
    if fit.environments is not None:
        for environment in np.unique(fit.environments):
            others = np.flatnonzero(fit.environments != environment)
            varied = varied & (fit.take(others).varied if len(others) else True)
    for task, is_varied in zip(fit.tasks.tasks, varied, strict=True):
        if not is_varied:
            what = "one class only" if task.is_classification else "one value only"
            warn(
                f"Task {task.name!r} of y has {what} in this training fold: the task is predicted "
                "by the null model. Use strategy='specialist' or 'generalist', or another cv."
            )
