"""How sequences and tasks are read: at once, batch by batch, or block by block."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._data.tasks import TaskTargets
from .._stats.moments import FoldedMoments, fold_dask
from ._aligned import AlignedStructureMixin
from ._segmented import SegmentedData
from ._segments import make_segments, validate_segments

__all__ = ["SequenceReaderMixin"]


class SequenceReaderMixin(AlignedStructureMixin):
    """Reads what ``fit``, ``partial_fit`` and ``score`` are given.

    Sets ``criterion_`` and what the tasks are; in batches also the statistics so far.
    """

    criterion: str
    segment_length: int | str
    segments: ArrayLike | None
    n_timesteps: int | None

    criterion_: str
    n_samples_seen_: int
    _targets: TaskTargets | None
    _folded: FoldedMoments

    def _criterion_for(self, y: Any) -> str:
        if self.criterion != "auto":
            return self.criterion
        return "selection" if y is None else "direct"

    def _read(self, X: Any, y: Any) -> SegmentedData:
        X = self._validate(X, n_timesteps=self.n_timesteps, reset=True, ensure_min_samples=2)
        observed = self.criterion_ != "selection"
        self._targets = TaskTargets.for_samples(y, X, estimator=self) if observed else None
        segments = self._make_segments(X.shape[1])
        return SegmentedData.from_arrays(X, self._task_data(y, X), self._targets, segments)

    def _read_dask(self, X: Any, y: Any) -> SegmentedData:
        observed = self.criterion_ != "selection"
        if observed and y is None:
            raise TaskTargets.missing(self)
        # The workers check the values, and zeros stand for them here.
        zeros = np.zeros((1, *X.shape[1:]))
        shape = self._validate(zeros, n_timesteps=self.n_timesteps, reset=True).shape[1:]
        segments = self._make_segments(shape[0])
        folded, self._targets = fold_dask(X, y if observed else None)
        return SegmentedData.from_statistics(folded, shape, self._targets, segments)

    def _read_more(self, X: Any, y: Any, classes: Any) -> SegmentedData:
        first = not hasattr(self, "_folded")
        X = self._validate(X, n_timesteps=self.n_timesteps, reset=first)
        if np.isnan(X).any():
            raise ValueError(
                "Input X contains NaN: the statistics that partial_fit keeps need whole "
                "sequences. Use fit, which takes missing steps, or leave these out."
            )
        if first:
            self.criterion_ = self._criterion_for(y)
            observed = self.criterion_ != "selection"
            self._targets = TaskTargets.first_of_many(y, classes, self) if observed else None
        n_before = 0 if first else self.n_samples_seen_
        folded = FoldedMoments.from_data(X.reshape(len(X), -1), self._task_data(y, X), n_before)
        self._folded = folded if first else self._folded.merge(folded)
        segments = self._make_segments(X.shape[1])
        return SegmentedData.from_statistics(self._folded, X.shape[1:], self._targets, segments)

    def _make_segments(self, n_timesteps: int) -> np.ndarray:
        if self.segments is not None:
            return validate_segments(self.segments, n_timesteps)
        length = self.segment_length
        return make_segments(n_timesteps, length if isinstance(length, Integral) else 1)

    def _task_data(self, y: Any, X: np.ndarray) -> np.ndarray:
        if self._targets is None:
            return np.empty((len(X), 0))
        if y is None:
            raise TaskTargets.missing(self)
        self._targets.split(y, like=X)
        return self._targets.to_columns(y)[0]
