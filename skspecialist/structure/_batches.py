"""Data of which only the statistics are kept: batches, and Dask arrays block by block."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
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
from ._evidence import n_in_memory
from ._gain import KnownTasks, SegmentedData, task_columns
from ._lifted import KEPT_PER_SAMPLED, Lifted, sample_rows, tests_robustly
from ._segments import evidence_blocks, is_dask, resolve_segment_steps, resolve_segments

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
    tasks = task_columns(identifier, y, X)
    folded = FoldedMoments.from_data(X.reshape(len(X), -1), tasks, n_before)
    identifier._folded = folded if first else identifier._folded.merge(folded)
    segments = resolve_segments(identifier.segment_length, X.shape[1])
    identifier.n_samples_seen_ = identifier._folded.total.n
    parts = KnownTasks.complete(identifier._folded, X.shape[1:], identifier._targets, segments)
    if not tests_robustly(identifier) or isinstance(identifier.segment_length, str):
        identifier._kept = None  # later robust tests would lack these sequences
        return parts
    empty = X[:0], tasks[:0]
    kept = empty if first else identifier._kept
    identifier._kept = _keep(identifier, parts[0].data, kept, X, tasks, n_before)
    return [replace(parts[0], data=_with_kept(parts[0].data, identifier._kept))]


def _keep(identifier: Any, data: SegmentedData, kept: Any, X: Any, tasks: Any, first: int) -> Any:
    """Return what robust tests need of a stream, with more sequences of it.

    These are all sequences while they are few. Basis functions are then fitted to the first of
    them, and their moments, and a sample, take their place; None if there are too many functions,
    or if the scores so far are of other segments.
    """
    segments = data.segments
    steps = resolve_segment_steps(identifier.segment_steps, segments)
    blocks = [own[own >= 0] for own in evidence_blocks(segments, data.n_timesteps, steps)[0]]
    if isinstance(kept, Lifted):
        is_same = list(map(list, kept.blocks)) == list(map(list, blocks))
        return kept.add(X, tasks, first, blocks) if is_same else None
    if kept is None:
        return None
    X, tasks = (np.concatenate(pair) for pair in zip(kept, (X, tasks), strict=True))
    n = n_in_memory(*X.shape[1:])
    if len(X) <= n:
        return X, tasks
    rows = sample_rows(np.arange(n), n // KEPT_PER_SAMPLED)
    lifted = Lifted.fit(identifier, data, X[rows], tasks[rows], rows, n)
    return lifted and lifted.add(X, tasks, 0, blocks)


def _with_kept(data: SegmentedData, kept: Any) -> SegmentedData:
    if isinstance(kept, tuple):
        return replace(data, X=kept[0].reshape(len(kept[0]), -1), tasks=kept[1])
    return replace(data, lifted=kept)


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
    X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    if np.isnan(X.chunks[0]).any():
        X = X.compute_chunk_sizes()
    sizes = X.chunks[0]
    pieces = _pieces(y, sizes) if observed else [None] * len(sizes)
    targets = _learn_targets(pieces, identifier.task_types) if observed else None
    starts = np.cumsum(sizes) - sizes
    blocks = list(zip(X.to_delayed().ravel(), pieces, starts.tolist(), strict=True))
    folded = _sum_blocks(_flat_moments, shape, targets, blocks)
    identifier._targets, identifier.n_samples_seen_ = targets, folded.total.n
    parts = KnownTasks.complete(folded, shape, targets, segments)
    if not tests_robustly(identifier):
        return parts
    # A second pass for the moments of basis functions, which a sample determines.
    data, n, n_kept = parts[0].data, int(folded.total.n), n_in_memory(*shape)
    rows = sample_rows(np.arange(n), n_kept if n <= n_kept else n_kept // KEPT_PER_SAMPLED)
    kept: Any = _sample(blocks, np.split(rows, np.searchsorted(rows, starts[1:])), targets, shape)
    if len(rows) < n:
        lifted = Lifted.fit(identifier, data, kept[0], kept[1], rows, n)
        over_all = partial(_sum_blocks, shape=shape, targets=targets, blocks=blocks)
        kept = lifted and lifted.sum_up(over_all)
    return [replace(parts[0], data=_with_kept(data, kept))]


def _sum_blocks(function: Any, shape: Any, targets: Any, blocks: list) -> Any:
    """Compute statistics on the workers, and merge them as a tree."""
    from dask.delayed import delayed

    parts = [delayed(_of_block)(function, shape, targets, *block) for block in blocks]
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [delayed(_merge)(*pair) for pair in pairs]
    return parts[0].compute()


def _sample(blocks: list, rows: list, targets: Any, shape: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return some of the sequences of each block, and the columns of their tasks."""
    from dask.base import compute
    from dask.delayed import delayed

    taken = [
        delayed(_read_block)(block, piece, targets, shape, own - start)
        for (block, piece, start), own in zip(blocks, rows, strict=True)
    ]
    X, tasks = zip(*compute(*taken), strict=True)
    return np.concatenate(X), np.concatenate(tasks)


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


def _read_block(
    X: Any, y: Any, targets: TaskTargets | None, shape: tuple[int, int], rows: Any = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Validate a block, and return sequences and the columns of their tasks."""
    flat = check_numbers(X.reshape(len(X), -1), "X")
    columns = np.empty((len(X), 0)) if targets is None else targets.to_columns(y)[0]
    refuse_huge(flat, "X")
    return flat.reshape(-1, *shape)[rows], columns[rows]


def _of_block(function: Any, shape: Any, targets: Any, X: Any, y: Any, first: int) -> Any:
    return function(*_read_block(X, y, targets, shape), first)


def _flat_moments(X: np.ndarray, tasks: np.ndarray, first: int) -> FoldedMoments:
    return FoldedMoments.from_data(X.reshape(len(X), -1), tasks, first)


def _merge(*parts: Any) -> Any:
    if len(parts) == 1:
        return parts[0]
    return parts[0] + parts[1] if isinstance(parts[0], np.ndarray) else parts[0].merge(parts[1])
