"""Sequences, tasks, weights and splits as the pipelines read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.model_selection import GroupKFold, KFold
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight

from .._base.estimator import pinned_settings
from .._base.sklearn_compat import safe_indexing
from .._data.ragged import after_the_end, pad_list
from .._data.tasks import TaskTargets, of_kind, read_tasks, split_columns
from .._data.validation import (
    check_labels,
    check_same_length,
    is_missing,
    n_dimensions,
    split_indices,
    validate_sequences,
)
from .._data.weights import merge_samples, validate_sample_weight
from ..exceptions import warn
from ..structure._segments import is_dask

__all__ = [
    "LabeledSequences",
    "Split",
    "States",
    "is_fractions",
    "merge_sequences",
    "observed_rows",
    "other_environments",
    "read_sequences",
    "split_sequences",
    "stratified_folds",
    "take_sample",
    "varied_tasks",
    "weigh_classes",
]

# Draws of a random split, until no class is missing where it is needed. A class of two
# sequences is missed by a part of one half with probability 1 / 4, hence 25 times with 1e-15.
MAX_DRAWS = 25
# Numbers of a sample of "auto": copies in double precision are 128 MiB, and a fit takes some ten
# times as much.
SAMPLE = 2**24


@dataclass(frozen=True)
class LabeledSequences:
    """Sequences (n_sequences, n_timesteps, n_features) with tasks, groups and environments."""

    X: np.ndarray
    y: Any
    tasks: TaskTargets
    groups: np.ndarray | None = None
    environments: np.ndarray | None = None
    weights: np.ndarray | None = None  # of the values, of shape (n_sequences, n_tasks)
    nuisance: Any = None  # array or table of one row per sequence

    @classmethod
    def validated(
        cls, X: np.ndarray, y: Any, tasks: TaskTargets, weights: Any = None, **labels: Any
    ) -> Self:
        """Validate the labels, and encode ``groups`` and ``environments`` as integers from 0.

        Raises
        ------
        ValueError or TypeError
            If their number is not that of the sequences, some are missing, or they are of
            types that cannot be compared.
        """
        codes = {}
        for name, values in labels.items():
            if values is not None:
                check_same_length(X=X, **{name: values})
                codes[name] = values if name == "nuisance" else check_labels(values, name)
        y = tasks.with_kinds(y, None if weights is None else weights == 0)
        y = y if hasattr(y, "iloc") else np.asarray(y)
        return cls(X, y, tasks, weights=weights, **codes)

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: Any) -> LabeledSequences:
        """Return a subset of the sequences."""
        groups, environments = (
            None if labels is None else labels[rows] for labels in (self.groups, self.environments)
        )
        y = safe_indexing(self.y, rows)
        weights = None if self.weights is None else self.weights[rows]
        nuisance = None if self.nuisance is None else safe_indexing(self.nuisance, rows)
        return LabeledSequences(
            self.X[rows], y, self.tasks, groups, environments, weights, nuisance
        )

    @property
    def counts(self) -> np.ndarray:
        """Weights of the sequences, those of the task in which they are largest."""
        return np.ones(len(self)) if self.weights is None else self.weights.max(axis=1)

    def weights_of(self, task: int, rows: np.ndarray) -> np.ndarray | None:
        """Return the weights of some values of a task, None if all are equal."""
        return None if self.weights is None else self.weights[rows, task]

    @cached_property
    def values(self) -> list[np.ndarray]:
        """Values of each task, arrays of shape (n_sequences,); some may be missing."""
        return self.tasks.split(self.y)

    @cached_property
    def known(self) -> list[np.ndarray]:
        """Sequences of which each task is known, arrays of int."""
        return [np.flatnonzero(~is_missing(values)) for values in self.values]

    @cached_property
    def varied(self) -> np.ndarray:
        """Tasks with more than one value, shape (n_tasks,), bool."""
        pairs = zip(self.values, self.known, strict=True)
        return np.array([len(set(values[rows].tolist())) > 1 for values, rows in pairs])

    def class_codes(self) -> list[np.ndarray]:
        """Return the classes of the tasks of labels; a missing label is a class of its own.

        So each fold has a share of the known ones.
        """
        pairs = zip(self.values, self.tasks.tasks, strict=True)
        return [
            np.nan_to_num(task.encode(values), nan=-1)
            for values, task in pairs
            if task.is_classification and not task.is_constant
        ]


class States:
    """States of sequences, which each generalist computes once.

    A generalist that learns nothing from data is one object in all fits of a pipeline, and a
    foundation model is slow.

    Parameters
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features)
        Sequences; steps after the end of shorter ones are NaN.
    """

    def __init__(self, X: np.ndarray) -> None:
        self._X = X
        # Estimators may be unhashable; with the generalist its id stays in use.
        self._found: dict[int, tuple[Any, np.ndarray]] = {}

    def of(self, generalist: Any) -> np.ndarray:
        """Return states (n_sequences, n_timesteps, n_states) of a fitted generalist, or of None."""
        if generalist is None:
            return self._X
        if id(generalist) not in self._found:
            # Steps of all sequences are the rows of one table: the generalist has no time.
            with pinned_settings():
                rows = generalist.transform(observed_rows(self._X))
            rows = rows.toarray() if issparse(rows) else np.asarray(rows)
            states = rows
            if len(rows) < self._X.shape[0] * self._X.shape[1]:
                ended = after_the_end(self._X).ravel()
                states = np.full((len(ended), rows.shape[1]), np.nan, dtype=rows.dtype)
                states[~ended] = rows
            self._found[id(generalist)] = generalist, states.reshape(*self._X.shape[:2], -1)
        return self._found[id(generalist)][1]


def observed_rows(X: np.ndarray) -> np.ndarray:
    """Return the steps of all sequences, one below the other, without those after their end."""
    rows = X.reshape(-1, X.shape[2])
    ended = after_the_end(X).ravel() if np.isnan(X.sum()) else np.zeros(1, dtype=bool)
    return rows[~ended] if ended.any() else rows


def read_sequences(
    pipeline: Any, X: Any, n_timesteps: int | None, reset: bool = True, *, keeps_nan: bool
) -> np.ndarray:
    """Validate sequences, of which steps after the end of shorter ones are NaN."""
    X = X if isinstance(X, np.ndarray) else pad_list(X, None if reset else n_timesteps)
    is_flat = n_dimensions(X) != 3
    checks: dict[str, Any] = {"ensure_all_finite": "allow-nan"}
    if reset:
        checks["ensure_min_samples"] = 2
    X = validate_sequences(pipeline, X, n_timesteps=n_timesteps, reset=reset, **checks)
    # The sum is NaN if any value is, and needs no array of the size of X.
    if np.isnan(X.sum()) and pipeline.generalist is None and not keeps_nan:
        ended = after_the_end(X)
        if is_flat or ended.all(axis=1).any() or np.isnan(X[~ended]).any():
            raise ValueError(
                "Input X contains NaN, before the end of a sequence or in columns. Fill it in "
                "with an imputer as generalist, such as make_pipeline(SimpleImputer(), "
                "StandardScaler()), or use an estimator that supports it with "
                "strategy='generalist'."
            )
    return X


def take_sample(
    pipeline: Any, X: Any, y: Any, labels: dict[str, Any], sample_weight: Any
) -> tuple[bool, tuple[Any, Any, dict[str, Any], Any, Any]]:
    """Return whether a sample was drawn, and the data that the parts are fitted to.

    Parameters
    ----------
    pipeline : BaseSpecialist
        Its ``max_samples``, ``cv`` and ``random_state`` are read.
    X, y, labels, sample_weight : object
        Sequences, tasks, what else is given for each sequence, and weights.

    Returns
    -------
    is_sample : bool
        False if all sequences are used.
    given : tuple
        ``X``, ``y``, ``labels``, ``sample_weight`` and ``cv`` of the sample, or of all sequences.
    """
    given = X, y, labels, sample_weight, pipeline.cv
    is_stored = isinstance(X, np.memmap) or is_dask(X)
    n_samples = pipeline.max_samples
    if n_samples == "auto":
        n_samples = max(2, SAMPLE // max(1, int(np.prod(X.shape[1:])))) if is_stored else None
    if n_samples is None:
        return False, given
    X = X if is_stored else pad_list(X)
    check_same_length(X=X, y=y, sample_weight=sample_weight, **labels)
    if len(X) <= n_samples:
        return False, given
    if pipeline.max_samples == "auto":
        warn(
            f"X has {len(X):,} sequences that are not in memory: structure, encoder, kernels and "
            f"the models of class labels are fitted to {n_samples:,} random ones, and ridge "
            "regressions to all. max_samples is the number of the former."
        )
    # Indices in the order of the file.
    random = check_random_state(pipeline.random_state)
    rows = np.sort(random.choice(len(X), n_samples, replace=False))

    def take(values: Any) -> Any:
        if is_dask(values):
            return values[rows].compute()
        return None if values is None else safe_indexing(values, rows)

    cv = pipeline.cv
    if not isinstance(cv, Integral) and not is_fractions(cv):
        splits = split_indices(cv, np.empty((len(X), 1)), y, labels["groups"])
        cv = [tuple(np.flatnonzero(np.isin(rows, side)) for side in split) for split in splits]
    own = {name: take(values) for name, values in labels.items()}
    return True, (take(X), take(y), own, take(sample_weight), cv)


def weigh_classes(class_weight: Any, y: Any, sample_weight: Any) -> np.ndarray:
    """Return weights of the values, shape (n_sequences, n_tasks), with those of their classes.

    Parameters
    ----------
    class_weight : "balanced", dict or list of these
        Parameter of :class:`SpecialistClassifier`.
    y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
        Class labels, which may be missing.
    sample_weight : array-like of shape (n_sequences,) or (n_sequences, n_tasks) or None
        Weights of the sequences, which are multiplied.
    """
    columns = split_columns(y, allow_missing=True)[0]
    given = class_weight if isinstance(class_weight, list) else [class_weight] * len(columns)
    if len(given) != len(columns):
        raise ValueError(f"class_weight has {len(given)} entries, but y has {len(columns)} tasks.")
    weights = np.ones((len(columns[0]), len(columns)))
    for weight, own, values in zip(weights.T, given, columns, strict=True):
        known = ~is_missing(values)
        labels = of_kind(values[known], "label", "y")
        if len(labels):
            weight[known] = compute_sample_weight(own, np.asarray(labels.tolist()))
    merged = validate_sample_weight(sample_weight, weights.shape)
    return weights if merged is None else weights * merged


def merge_sequences(
    X: np.ndarray, y: Any, labels: dict[str, Any], sample_weight: Any, cv: Any
) -> tuple[np.ndarray, Any, dict[str, Any], np.ndarray | None, Any]:
    """Return one sequence for all that are equal, with the sum of their weights.

    An integer weight is then equivalent to as many repetitions, and zero to absence.

    Parameters
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features)
        Sequences.
    y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
        Their tasks.
    labels : dict of {str: array-like of shape (n_sequences,) or None}
        Groups, environments and nuisances: sequences of different ones are never merged.
    sample_weight : array-like of shape (n_sequences,) or (n_sequences, n_tasks) or None
        Weights of the sequences, or of their values in each task.
    cv : int, fractions, splitter or iterable
        Splits, which are made before sequences are merged if they are not random.

    Returns
    -------
    X, y, labels : object
        Those of the merged sequences.
    weights : ndarray of shape (n_merged, n_tasks) or None
        Their weights, of maximum 1 in each task; None if all are equal.
    cv : object
        The splits of the merged sequences.
    """
    y = read_tasks(y)
    columns = split_columns(y, allow_missing=True)[0]
    nuisance = labels.get("nuisance")
    labels = labels | {"nuisance": None if nuisance is None else read_tasks(nuisance)}
    check_same_length(X=X, y=columns[0], **labels)
    weights = validate_sample_weight(sample_weight, (len(X), len(columns)))
    kept_apart = [
        column
        for name, v in labels.items()
        if v is not None
        for column in (split_columns(v, True)[0] if name == "nuisance" else [check_labels(v, name)])
    ]
    splits = None
    if not isinstance(cv, Integral) and not is_fractions(cv):
        groups = labels.get("groups")
        splits = list(split_indices(cv, X, y, groups))
        sides = np.zeros((len(X), 2 * len(splits)), dtype=bool)
        for k, (train, test) in enumerate(splits):
            sides[train, 2 * k] = sides[test, 2 * k + 1] = True
        kept_apart.append(np.unique(sides, axis=0, return_inverse=True)[1].ravel())
    index, merged, _ = merge_samples(weights, [X], columns, kept_apart)
    if np.array_equal(index, np.arange(len(X))):
        equal = np.all(merged == merged[:1, :1])
        return X, y, labels, None if equal else merged, cv if splits is None else splits
    labels = {name: None if v is None else safe_indexing(v, index) for name, v in labels.items()}
    if splits is not None:
        cv = [tuple(np.flatnonzero(np.isin(index, side)) for side in split) for split in splits]
    return X[index], safe_indexing(y, index), labels, merged, cv


@dataclass(frozen=True)
class Split:
    """Indices of the sequences for each step of a comparison."""

    representation: np.ndarray
    estimators: np.ndarray
    held_out: np.ndarray


def split_sequences(cv: Any, data: LabeledSequences, seed: int) -> list[Split]:
    """Return the splits of a comparison.

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
        return [_random_split(cv, data, np.random.RandomState(seed))]
    splitter = _splitter(cv, data, seed)
    splits = []
    for fit, held_out in split_indices(splitter, data.X, data.y, data.groups):
        _warn_of_constant_tasks(data.take(fit))
        splits.append(Split(fit, fit, held_out))
    return splits


def is_fractions(cv: Any) -> bool:
    """Return whether ``cv`` is a sequence of fractions."""
    return isinstance(cv, (tuple, list, np.ndarray)) and all(isinstance(s, Real) for s in cv)


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
    labels = data.class_codes()
    if not labels:
        folds = KFold if data.groups is None else GroupKFold
        return folds(cv, shuffle=True, random_state=seed)
    return stratified_folds(int(cv), labels, data.groups, np.random.RandomState(seed))


def stratified_folds(
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
    split = Split(parts[0], np.concatenate(parts[:-1]), parts[-1])
    _warn_of_constant_tasks(data.take(split.estimators))
    return split


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
        task.classes is None or len(set(values[np.intersect1d(rows, known)])) == task.n_classes
        for task, values, known in zip(data.tasks.tasks, data.values, data.known, strict=True)
    )


def varied_tasks(fit: LabeledSequences) -> np.ndarray:
    """Return which tasks vary in the sequences, and without any of their environments."""
    varied = fit.varied
    if fit.environments is not None:
        for environment in np.unique(fit.environments):
            others = np.flatnonzero(fit.environments != environment)
            varied = varied & (fit.take(others).varied if len(others) else True)
    return varied


def _warn_of_constant_tasks(fit: LabeledSequences) -> None:
    for task, is_varied in zip(fit.tasks.tasks, varied_tasks(fit), strict=True):
        if not is_varied and not task.is_constant:
            what = "one class only" if task.is_classification else "one value only"
            warn(
                f"Task {task.name!r} of y has {what} in this training fold: the task is predicted "
                "by the null model. Use strategy='specialist' or 'generalist', or another cv."
            )
