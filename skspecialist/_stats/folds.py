"""Statistics of disjoint parts of the sequences, for halves, splits and growing data."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from .moments import Moments

__all__ = ["FoldedMoments", "complementary_halves", "fold_of"]

MAX_FOLDS = 10
# What the statistics of all folds may take, in bytes; there are always two.
FOLDS_BYTES = 2**30
# Rows are read in blocks of about this many bytes, so that a memory map can be larger.
BLOCK_BYTES = 64 * 2**20
GOLDEN_RATIO = (np.sqrt(5) - 1) / 2


def fold_of(rows: np.ndarray, n_folds: int) -> np.ndarray:
    """Return the fold of each sequence from its number alone.

    However the sequences come in batches, each gets the same fold. The fractional parts
    of multiples of the golden ratio spread evenly and have no period that a periodic
    order of the sequences could share.
    """
    return (np.mod(rows * GOLDEN_RATIO, 1.0) * n_folds).astype(int)


def complementary_halves(
    folds: ArrayLike, n_halves: int, rng: np.random.RandomState | np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield random halves of the folds in pairs that complement each other [1]_.

    One more if ``n_halves`` is odd.

    References
    ----------
    .. [1] R. D. Shah and R. J. Samworth, "Variable selection with error control: another
       look at stability selection", Journal of the Royal Statistical Society B 75, 2013.
    """
    for _ in range((n_halves + 1) // 2):
        yield from np.array_split(rng.permutation(folds), 2)


@dataclass(frozen=True)
class FoldedMoments:
    """Moments of disjoint folds of the sequences, which add up to those of all.

    Attributes
    ----------
    folds : dict of {int: Moments}
        Moments of each fold that has sequences.
    n_folds : int
        Number of folds, with and without sequences.
    """

    folds: dict[int, Moments]
    n_folds: int

    @classmethod
    def from_data(cls, X: np.ndarray, tasks: np.ndarray, first: int = 0) -> Self:
        """Compute from flat sequences and their tasks, in blocks of rows.

        Parameters
        ----------
        X : ndarray of shape (n_sequences, n_columns)
            Sequences; may be a memory map.
        tasks : ndarray of shape (n_sequences, n_task_columns)
            Columns of the tasks.
        first : int, default=0
            Number of the first sequence, if there were others before.
        """
        width = X.shape[1] + tasks.shape[1]
        n_folds = int(np.clip(FOLDS_BYTES // (8 * width**2), 2, MAX_FOLDS))
        folded = cls({}, n_folds)
        for rows in _blocks(len(X), width):
            block = np.hstack([X[rows], tasks[rows]], dtype=np.float64)
            fold = fold_of(np.arange(first + rows.start, first + rows.stop), n_folds)
            parts = {int(k): Moments.from_data(block[fold == k]) for k in np.unique(fold)}
            folded = folded.merge(cls(parts, n_folds))
        return folded

    def merge(self, other: Self) -> Self:
        """Return the statistics of both sets of sequences together."""
        folds = dict(self.folds)
        for k, moments in other.folds.items():
            folds[k] = folds[k].merge(moments) if k in folds else moments
        return type(self)(folds, self.n_folds)

    def subset(self, chosen: Collection[int]) -> Self:
        """Return the statistics of some folds only."""
        return type(self)({k: m for k, m in self.folds.items() if k in chosen}, self.n_folds)

    @cached_property
    def total(self) -> Moments:
        """Moments of all sequences."""
        return reduce(Moments.merge, (self.folds[k] for k in sorted(self.folds)))

    def part(self, n_samples: int) -> Moments:
        """Return the moments of as few folds as have ``n_samples`` sequences."""
        parts = [self.folds[k] for k in sorted(self.folds)]
        reached = np.cumsum([moments.n for moments in parts]) >= n_samples
        count = int(reached.argmax()) + 1 if reached.any() else len(parts)
        return reduce(Moments.merge, parts[:count])

    def splits(self, n_splits: int) -> Iterator[tuple[list[int], Moments]]:
        """Yield the training folds and the moments of the others, for cross-validation."""
        for held_out in np.array_split(np.array(sorted(self.folds)), n_splits):
            if 0 < len(held_out) < len(self.folds):
                rest = [k for k in self.folds if k not in held_out]
                yield rest, self.subset(held_out.tolist()).total


def _blocks(n_rows: int, width: int) -> Iterator[slice]:
    # With fewer rows than columns, merging would cost more than reading.
    size = max(BLOCK_BYTES // (8 * width), width)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
