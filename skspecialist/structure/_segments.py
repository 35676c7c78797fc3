"""Segments and bands: which steps, which pairs, which conditioning sets.

Steps and sets of steps are integer arrays; -1 stands for no step, so that sets of
different sizes fit one array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._data.validation import naming

__all__ = [
    "collider_sets",
    "direct_sets",
    "evidence_blocks",
    "make_segments",
    "to_columns",
    "validate_segments",
]


def make_segments(n_timesteps: int, segment_length: int) -> np.ndarray:
    """Cut time into runs of steps.

    Parameters
    ----------
    n_timesteps : int
        Number of steps.
    segment_length : int
        Steps in a segment; the last one has what remains.

    Returns
    -------
    segments : ndarray of int of shape (n_segments, 2)
        First step of each segment, and the step after its last.

    Raises
    ------
    ValueError
        If there are fewer steps than one segment has.

    Examples
    --------
    >>> from skspecialist.structure._segments import make_segments
    >>> make_segments(5, 2).tolist()
    [[0, 2], [2, 4], [4, 5]]
    """
    if n_timesteps < segment_length:
        raise ValueError(
            f"The sequences have n_timesteps={n_timesteps} steps (a 2-D X with n_features = "
            f"{n_timesteps} columns has as many unless n_timesteps is given), fewer than "
            f"segment_length={segment_length}."
        )
    starts = np.arange(0, n_timesteps, segment_length)
    return np.stack([starts, np.minimum(starts + segment_length, n_timesteps)], axis=1)


def validate_segments(segments: ArrayLike, n_timesteps: int) -> np.ndarray:
    """Return the user's own segments as an array.

    Parameters
    ----------
    segments : array-like of int of shape (n_segments, 2)
        First step of each segment and the step after its last, in time order. Steps
        may be left out between them.
    n_timesteps : int
        Number of steps.

    Returns
    -------
    segments : ndarray of int of shape (n_segments, 2)
        The same.

    Raises
    ------
    ValueError
        If they are no such pairs, overlap, or reach beyond the steps.
    """
    with naming("segments"):
        pairs = np.asarray(segments)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
        raise ValueError(
            "segments must be pairs of integers, the first step of a segment and the step after "
            f"its last, as in [(0, 3), (3, 8)]; got {segments!r}."
        )
    ends = pairs.ravel()
    if (np.diff(ends)[::2] < 1).any() or (np.diff(ends)[1::2] < 0).any():
        raise ValueError(
            "segments must be in time order, without overlap, and have a step each; "
            f"got {pairs.tolist()}."
        )
    if ends[0] < 0 or ends[-1] > n_timesteps:
        raise ValueError(
            f"segments must lie within the {n_timesteps} steps of the sequences, "
            f"got {pairs.tolist()}."
        )
    return pairs.astype(int)


def evidence_blocks(
    segments: np.ndarray, n_timesteps: int, segment_steps: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps that speak for each segment, and their band.

    Parameters
    ----------
    segments : ndarray of shape (n_segments, 2)
        As from :func:`make_segments`.
    n_timesteps : int
        Number of steps.
    segment_steps : {"interior", "all", "last"}
        All steps but the first, all steps, or the last one. A segment of one step has
        only this step.

    Returns
    -------
    blocks : ndarray of shape (n_segments, width)
        Steps of each segment's evidence.
    bands : ndarray of shape (n_segments, 2)
        The steps that separate it from the rest of the chain: the one before its
        first and the one after its last.
    """
    first, stop = segments[:, 0], segments[:, 1]
    if segment_steps == "interior":
        first = np.minimum(first + 1, stop - 1)
    elif segment_steps == "last":
        first = stop - 1
    steps = first[:, None] + np.arange((stop - first).max())
    blocks = np.where(steps < stop[:, None], steps, -1)
    after = np.where(stop < n_timesteps, stop, -1)
    return blocks, np.stack([first - 1, after], axis=1)


def direct_sets(
    segments: np.ndarray, n_timesteps: int, segment_steps: str, n_tasks: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the tests of the direct criterion: segment against task given the band.

    Returns
    -------
    x : ndarray of shape (n_segments * n_tasks, width)
        Steps of the segment, segments first.
    task : ndarray of shape (n_segments * n_tasks,)
        The task.
    z : ndarray of shape (n_segments * n_tasks, 2)
        Steps of the band.
    """
    blocks, bands = evidence_blocks(segments, n_timesteps, segment_steps)
    task = np.tile(np.arange(n_tasks), len(segments))
    return np.repeat(blocks, n_tasks, axis=0), task, np.repeat(bands, n_tasks, axis=0)


def collider_sets(
    segments: np.ndarray, n_timesteps: int, segment_steps: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the tests of the collider criterion: segment against later segment.

    Where two segments touch, the first step of the later one is part of the earlier
    one's band: it is conditioned on and left out of the later one's evidence. Pairs
    with nothing left to test are dropped.

    Returns
    -------
    pairs : ndarray of shape (n_pairs, 2)
        The two segments, the earlier one first.
    x, y : ndarray of shape (n_pairs, width)
        Steps of the earlier and of the later segment.
    z : ndarray of shape (n_pairs, 4)
        Steps of the band of the pair, without duplicates.
    """
    blocks, bands = evidence_blocks(segments, n_timesteps, segment_steps)
    pairs = np.stack(np.triu_indices(len(segments), 1), axis=1)
    x, y = blocks[pairs[:, 0]], blocks[pairs[:, 1]]
    z = bands[pairs].reshape(len(pairs), 4)
    z = _without(z, x)
    for j in range(1, 4):
        z[:, j : j + 1] = _without(z[:, j : j + 1], z[:, :j])
    y = _without(y, z)
    testable = (y >= 0).any(axis=1)
    return pairs[testable], x[testable], y[testable], z[testable]


def _without(steps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Replace by -1 each step that is among the others of the same row."""
    return np.where((steps[:, :, None] == others[:, None, :]).any(axis=2), -1, steps)


def to_columns(steps: np.ndarray, n_features: int) -> np.ndarray:
    """Return the columns of flat sequences that hold all features of the given steps."""
    columns = steps[:, :, None] * n_features + np.arange(n_features)
    kept = np.where(steps[:, :, None] >= 0, columns, -1)
    return kept.reshape(len(steps), steps.shape[1] * n_features)
