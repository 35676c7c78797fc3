"""Data of which only the statistics are kept: batches, and Dask arrays block by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._data import task_tables
from .._data.tasks import (
    TaskTargets,
    class_labels,
    of_kind,
    require_tasks,
    split_columns,
)
from .._data.validation import check_numbers, check_same_length, refuse_huge
from ..independence._moments import FoldedMoments
from ._gain import KnownTasks, task_columns
from ._segments import is_dask, resolve_segments

__all__ = ["read_batch", "read_dask"]


def read_batch(identifier: Any, X: Any, y: Any, classes: Any) -> list[KnownTasks]:
    """Validate a batch, and merge its statistics with those of the previous ones."""
    first = not hasattr(identifier, "_folded")
    X = identifier._validate(X, n_timesteps=identifier.n_timesteps, reset=first)
    if np.isnan(X).any():
        raise ValueError(
            "Input X contains NaN: the statistics that partial_fit keeps need complete "
            "sequences. Use fit, which supports missing steps, or drop these sequences."
        )
    if first:
        identifier.criterion_ = identifier._resolve_criterion(y)
        observed = identifier.criterion_.needs_tasks
        identifier._targets = _first_targets(y, classes, identifier) if observed else None
    if y is not None:
        check_same_length(X=X, y=y)
    n_before = 0 if first else identifier.n_samples_seen_
    folded = FoldedMoments.from_data(
        X.reshape(len(X), -1), task_columns(identifier, y, X), n_before
    )
    identifier._folded = folded if first else identifier._folded.merge(folded)
    segments = resolve_segments(identifier.segment_length, X.shape[1])
    identifier.n_samples_seen_ = identifier._folded.total.n
    return KnownTasks.complete(identifier._folded, X.shape[1:], identifier._targets, segments)


def read_dask(identifier: Any, X: Any, y: Any) -> list[KnownTasks]:
    """Validate Dask arrays, and compute their statistics block by block."""
    observed = identifier.criterion_.needs_tasks
    if observed:
        require_tasks(y, identifier)
    # The workers validate the values; zeros have the same shape and feature names.
    zeros = np.zeros((1, *X.shape[1:]))
    n_timesteps = identifier.n_timesteps
    shape = identifier._validate(zeros, n_timesteps=n_timesteps, reset=True).shape[1:]
    segments = resolve_segments(identifier.segment_length, shape[0])
    folded, targets = fold_dask(X, y if observed else None, identifier.task_types)
    identifier._targets, identifier.n_samples_seen_ = targets, folded.total.n
    return KnownTasks.complete(folded, shape, targets, segments)


def fold_dask(X: Any, y: Any, task_types: Any = None) -> tuple[FoldedMoments, TaskTargets | None]:
    """Compute the statistics on the workers, and merge them as a tree.

    Parameters
    ----------
    X : dask.array.Array of shape (n_sequences, n_timesteps, n_features) or \
            (n_sequences, n_columns)
        Sequences, in blocks of sequences.
    y : dask.array.Array or array-like of shape (n_sequences,) or (n_sequences, n_tasks), or None
        Tasks. Arrays other than Dask's are sent to the workers in pieces.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kinds of the tasks, as :class:`TaskTargets` reads them.

    Returns
    -------
    folded : FoldedMoments
        Equal to those of the collected data, but for rounding.
    targets : TaskTargets or None
        The tasks.

    Raises
    ------
    ValueError
        If the sequences have NaN or infinite values, or lengths differ.
    """
    from dask.delayed import delayed

    X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    if np.isnan(X.chunks[0]).any():
        X = X.compute_chunk_sizes()
    sizes = X.chunks[0]
    pieces = [None] * len(sizes) if y is None else _pieces(y, sizes)
    targets = None if y is None else _learn_targets(pieces, task_types)
    starts = np.cumsum(sizes) - sizes
    parts = [
        delayed(_fold_block)(block, piece, targets, int(start))
        for block, piece, start in zip(X.to_delayed().ravel(), pieces, starts, strict=True)
    ]
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [delayed(_merge)(*pair) for pair in pairs]
    return parts[0].compute(), targets


def _pieces(y: Any, sizes: tuple[int, ...]) -> list:
    """Return y in the blocks of the sequences."""
    if is_dask(y) and hasattr(y, "to_dask_array"):
        y = y.to_dask_array(lengths=True)
    if len(y) != sum(sizes):
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: [{sum(sizes)}, {len(y)}]"
        )
    if is_dask(y):
        y = y.rechunk({0: sizes, **dict.fromkeys(range(1, y.ndim), -1)})
        return list(y.to_delayed().ravel())
    stops = np.cumsum(sizes)
    starts = stops - sizes
    select = y.iloc if hasattr(y, "iloc") else np.asarray(y)
    return [select[start:stop] for start, stop in zip(starts, stops, strict=True)]


def _learn_targets(pieces: list, task_types: Any) -> TaskTargets:
    from dask.base import compute
    from dask.delayed import delayed

    labels = compute(*[delayed(_labels)(piece, task_types) for piece in pieces])
    classes = [
        None if any(part is None for part in parts) else np.unique(np.concatenate(parts))
        for parts in zip(*labels, strict=True)
    ]
    (sample,) = compute(pieces[0])
    return TaskTargets(sample, classes=classes)


def _first_targets(y: Any, classes: Any, identifier: Any) -> TaskTargets:
    """Return the tasks of a first batch, and the class labels to expect."""
    require_tasks(y, identifier)
    if classes is None:
        classes = _labels(y, identifier.task_types)
    elif np.ndim(y) == 1:
        classes = [classes]
    return TaskTargets(y, classes=classes)


def _labels(y: Any, task_types: Any) -> list[np.ndarray | None]:
    """Return the class labels of each task, None where it is an amount."""
    columns, names, _ = split_columns(y)
    given = zip(columns, task_tables.resolve_kinds(task_types, names), names, strict=True)
    columns = [of_kind(*column) for column in given]
    return [
        None if values.dtype.kind == "f" else class_labels(values, name)
        for values, name in zip(columns, names, strict=True)
    ]


def _fold_block(X: np.ndarray, y: Any, targets: TaskTargets | None, first: int) -> FoldedMoments:
    flat = check_numbers(X.reshape(len(X), -1), "X")
    columns = np.empty((len(X), 0)) if targets is None else targets.to_columns(y)[0]
    refuse_huge(flat, "X")
    return FoldedMoments.from_data(flat, columns, first)


def _merge(*parts: FoldedMoments) -> FoldedMoments:
    return parts[0] if len(parts) == 1 else parts[0].merge(parts[1])
