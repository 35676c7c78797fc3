"""Tasks that miss values: each is tested on the sequences of which it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from .._data.tasks import TaskTargets
from .._stats.moments import FoldedMoments, fold_moments
from ..independence._base import IndependenceResult, ResultFlag
from ._criteria import CriterionResult
from ._gain import Gain
from ._segments import SegmentedData, at_mean

__all__ = ["KnownTasks", "TaskGain", "join_results", "task_columns"]


def task_columns(identifier: Any, y: Any, X: np.ndarray, *, held_out: bool = False) -> np.ndarray:
    """Return the columns of the tasks of an identifier, shape (n_sequences, n_columns)."""
    targets: TaskTargets | None = identifier._targets
    if targets is None:
        return np.empty((len(X), 0))
    if y is None:
        raise TaskTargets.missing(identifier)
    targets.split(y, like=X)
    return targets.to_columns(y, held_out=held_out)[0]


@dataclass(frozen=True)
class KnownTasks:
    """Tasks that are known of the same sequences, and these sequences.

    Attributes
    ----------
    tasks : ndarray of int
        Indices of the tasks.
    columns : ndarray of int
        Their columns among those of all tasks.
    data : SegmentedData
        The sequences, with the columns of these tasks only.
    """

    tasks: np.ndarray
    columns: np.ndarray
    data: SegmentedData

    @classmethod
    def split(
        cls,
        X: np.ndarray,
        tasks: np.ndarray,
        targets: TaskTargets | None,
        segments: np.ndarray,
        groups: np.ndarray | None,
    ) -> list[Self]:
        """Return one part per pattern of missing values, from the most to the fewest sequences.

        A missing value costs its own task one sequence, and the others nothing. Tasks without
        columns, of which nothing can be learned, are in none of the parts.
        """
        if targets is None:
            every = np.arange(0)
            data = SegmentedData.from_arrays(X, tasks, [], segments, groups)
            return [cls(every, every, data)]
        owned, learned = targets.groups, np.flatnonzero(targets.learned)
        known = ~np.isnan(tasks[:, [owned[j][0] for j in learned]])
        parts = []
        for pattern in np.unique(known, axis=1).T[::-1]:
            chosen = learned[(known == pattern[:, None]).all(axis=0)]
            columns = np.concatenate([owned[j] for j in chosen])
            stops = np.cumsum([len(owned[j]) for j in chosen])
            own = [
                np.arange(stop - len(owned[j]), stop) for j, stop in zip(chosen, stops, strict=True)
            ]
            rows = slice(None) if pattern.all() else pattern
            labels = None if groups is None else np.unique(groups[rows], return_inverse=True)[1]
            values = tasks[rows][:, columns]
            data = SegmentedData.from_arrays(X[rows], values, own, segments, labels)
            parts.append(cls(chosen, columns, data))
        return sorted(parts, key=lambda part: -part.data.moments.n)

    @classmethod
    def complete(
        cls,
        folded: FoldedMoments,
        shape: tuple[int, int],
        targets: TaskTargets | None,
        segments: np.ndarray,
    ) -> list[Self]:
        """Return the only part, if there are statistics of sequences whose tasks are all known."""
        owned = [] if targets is None else targets.groups
        data = SegmentedData.from_statistics(folded, shape, owned, segments)
        return [cls(np.arange(len(owned)), np.arange(sum(map(len, owned))), data)]

    def find(self, identifier: Any) -> CriterionResult:
        """Find the structure of these tasks, and its frequency in half-samples."""
        criterion, n_subsamples = identifier.criterion_, identifier.n_subsamples
        result = criterion.find(self.data, identifier)
        if n_subsamples is None:
            n_subsamples = criterion.default_n_subsamples
        frequency = np.full(result.structure.shape, np.nan)
        if n_subsamples > 0:
            frequency = criterion.selection_frequency(self.data, result, identifier, n_subsamples)
        return replace(result, selection_frequency=frequency)


@dataclass(frozen=True)
class TaskGain:
    """Held-out gain of tasks that are known of the same sequences.

    Attributes
    ----------
    columns : ndarray of int
        Columns of the tasks among those of all tasks.
    means : ndarray of shape (n_timesteps * n_features,)
        Means of these sequences, at which missing steps of others are imputed, so that the
        score of a sequence is its own.
    model : Gain
        Fitted model; a :class:`StructureGain` if tasks are observed.
    """

    columns: np.ndarray
    means: np.ndarray
    model: Any

    @classmethod
    def fit(cls, known: KnownTasks, result: CriterionResult, identifier: Any) -> Self:
        """Fit the model of the gain of a structure."""
        model: Gain = identifier.criterion_.gain(known.data, result)
        width = known.data.n_timesteps * known.data.n_features
        return cls(known.columns, known.data.moments.mean[:width], model)

    def score(self, X: np.ndarray, tasks: np.ndarray) -> float:
        """Return the mean gain of new flat sequences, of which some tasks may be missing."""
        X, tasks = at_mean(X, self.means), tasks[:, self.columns]
        if not np.isnan(tasks).any():
            return float(self.model.gain(fold_moments(X, tasks).total))
        total = -self.model.cost
        for gain in self.model.gains:
            known = ~np.isnan(tasks[:, gain.responses - X.shape[1]]).any(axis=1)
            if known.any():
                filled = np.nan_to_num(tasks[known])
                total += gain.gain(fold_moments(X[known], filled).total)
        return float(total)


def join_results(
    results: Sequence[CriterionResult], tasks: Sequence[np.ndarray], targets: TaskTargets | None
) -> CriterionResult:
    """Return the result of all tasks from those of some tasks each.

    Parameters
    ----------
    results : sequence of CriterionResult
        Results for the same segments.
    tasks : sequence of ndarray of int
        Tasks of each result.
    targets : TaskTargets or None
        All tasks; of those in no result there is no evidence. None if they are not observed.
    """
    if targets is None or len(tasks[0]) == len(targets):
        return results[0]
    n_tasks = len(targets)

    def place(arrays: list[np.ndarray], fill: float) -> np.ndarray:
        shape = (len(arrays[0]), n_tasks, *arrays[0].shape[2:])
        joined = np.full(shape, fill, dtype=arrays[0].dtype)
        for own, array in zip(tasks, arrays, strict=True):
            joined[:, own] = array
        return joined

    def field(name: str, fill: float) -> np.ndarray:
        return place([np.asarray(getattr(result, name)) for result in results], fill)

    tests = [result.tests for result in results if result.tests is not None]
    between = [r.between_groups[None] for r in results if r.between_groups is not None]
    windowed = {result.conditioning for result in results}
    return CriterionResult(
        structure=field("structure", False),
        statistics=field("statistics", 0.0),
        pvalues=field("pvalues", 1.0),
        adjusted_pvalues=field("adjusted_pvalues", 1.0),
        effect_sizes=field("effect_sizes", 0.0),
        n_sequences=field("n_sequences", 0),
        tested=field("tested", False),
        # The fewest steps that any task was tested given.
        conditioning=next(name for name in ("band", "window", "all") if name in windowed),
        tests=IndependenceResult(
            statistic=place([test.statistic for test in tests], 0.0),
            pvalue=place([test.pvalue for test in tests], 1.0),
            effect_size=place([test.effect_size for test in tests], 0.0),
            df=place([test.df for test in tests], np.nan),
            n=place([np.broadcast_to(test.n, test.pvalue.shape) for test in tests], 0),
            flag=place([test.flag for test in tests], int(ResultFlag.TOO_FEW_SAMPLES)),
            signed=all(test.signed for test in tests),
        ),
        pairs=results[0].pairs,
        selection_frequency=field("selection_frequency", np.nan),
        between_groups=place(between, False)[0] if len(between) == len(results) else None,
    )
