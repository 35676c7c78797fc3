"""Whether to specialize: who sees which sequences, and what the comparison says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, check_cv

from .._data.validation import naming
from .._stats.one_standard_error import standard_error
from ._sample import Sample

__all__ = ["KINDS", "Decision", "n_splits", "split_sequences", "transfers"]

# What a task may be predicted from instead of the generalist.
KINDS = ("latents", "steps")
TOLERANCE = 0.01  # of what the generalist explains, that something sparser may lose
MAX_DRAWS = 25  # of a random split, until no class is missing where it is needed


@dataclass(frozen=True)
class Parts:
    """Indices of the sequences that each stage of a comparison sees."""

    representation: np.ndarray
    estimators: np.ndarray
    decision: np.ndarray


@dataclass(frozen=True)
class Decision:
    """What each task is predicted from, and what speaks for it.

    ``kinds`` are "latents", "steps", "generalist", or None for the first of these that there
    is; ``reasons`` against specializing are in words, None where there is none; gains and their
    standard errors are NaN where nothing was compared.
    """

    kinds: list[str | None]
    reasons: list[str | None]
    gains: np.ndarray
    errors: np.ndarray

    def __add__(self, other: Decision) -> Decision:
        return Decision(
            self.kinds + other.kinds,
            self.reasons + other.reasons,
            np.append(self.gains, other.gains),
            np.append(self.errors, other.errors),
        )

    def given(self, columns: list[dict[str, Any]], missing: list[str | None]) -> Decision:
        """Return it for what was found in the end: of each task the kinds, or why none."""
        kinds: list[str | None] = []
        reasons: list[str | None] = []
        for kind, reason, found, why in zip(
            self.kinds, self.reasons, columns, missing, strict=True
        ):
            if kind != "generalist" and not (found if kind is None else kind in found):
                kind, reason = "generalist", why or f"no {kind} of this task were found in the end"
            kinds.append(next(iter(found)) if kind is None else kind)
            reasons.append(reason)
        return Decision(kinds, reasons, self.gains, self.errors)

    @classmethod
    def without_comparison(cls, reason: str | None, n_tasks: int) -> Decision:
        """Return the same decision for all tasks."""
        kind, nothing = None if reason is None else "generalist", np.full(n_tasks, np.nan)
        return cls([kind] * n_tasks, [reason] * n_tasks, nothing, nothing)

    @classmethod
    def from_gains(
        cls,
        gains: np.ndarray,
        losses: np.ndarray,
        chance: np.ndarray,
        missing: list[str | None],
        groups: np.ndarray | None,
    ) -> Decision:
        """Decide by the rule of one standard error: the sparser where it loses next to nothing.

        Next to nothing is no more than the standard error, and no more than ``TOLERANCE`` of
        the loss that the generalist saves: with few sequences the standard error excuses too
        much.

        Parameters
        ----------
        gains : ndarray of shape (n_sequences, n_tasks, 2)
            Loss of the generalist minus that of each of ``KINDS``; NaN where not compared.
        losses : ndarray of shape (n_tasks,)
            Mean loss of the generalist.
        chance : ndarray of shape (n_tasks,)
            Mean loss without any feature.
        missing : list of (str or None)
            Why a task was never compared.
        groups : ndarray of shape (n_sequences,) or None
            Sequences of one group may be alike: the standard error is one over groups.
        """
        decisions = [
            cls._of_one_task(table, loss, TOLERANCE * max(0.0, saved), reason, groups)
            for table, loss, saved, reason in zip(
                gains.swapaxes(0, 1), losses, chance - losses, missing, strict=True
            )
        ]
        return sum(decisions[1:], start=decisions[0])

    @classmethod
    def _of_one_task(
        cls,
        gains: np.ndarray,
        loss: float,
        tolerance: float,
        missing: str | None,
        groups: np.ndarray | None,
    ) -> Decision:
        compared = [column[~np.isnan(column)] for column in gains.T]
        means = [values.mean() if len(values) else -np.inf for values in compared]
        best = int(np.argmax(means))
        mean = means[best] if len(compared[best]) else np.nan
        rows = ~np.isnan(gains[:, best])
        groups = np.arange(len(rows)) if groups is None else groups
        error = standard_error(compared[best], groups[rows])
        kind: str | None = KINDS[best]
        if missing is None and not mean >= -min(error, tolerance):
            missing = (
                f"it would add {-mean:.3g} to the held-out loss of {loss:.3g}, with a standard "
                f"error of {error:.3g}"
            )
        if missing is not None:
            kind = "generalist"
        return cls([kind], [missing], np.array([mean]), np.array([error]))


def is_fractions(split: Any) -> bool:
    """Return whether a split is a sequence of numbers."""
    return isinstance(split, (tuple, list, np.ndarray)) and all(isinstance(s, Real) for s in split)


def n_splits(split: Any, sample: Sample) -> int:
    """Return how many comparisons a split makes."""
    if is_fractions(split):
        return 1
    with naming("cv"):
        splitter = _splitter(split, sample, 0)
        return int(splitter.get_n_splits(sample.X, sample.y, sample.groups))


def split_sequences(split: Any, sample: Sample, seed: int) -> Iterator[Parts]:
    """Yield what fits and what decides.

    Raises
    ------
    ValueError
        If fractions are not two or three positive numbers that sum to 1, or a class is too
        rare to be in all parts that need it.
    """
    if is_fractions(split):
        yield _random_parts(split, sample, np.random.RandomState(seed))
        return
    with naming("cv"):
        splitter = _splitter(split, sample, seed)
        folds = list(splitter.split(sample.X, sample.y, sample.groups))
    for fit, decision in folds:
        _check_classes(sample.take(fit))
        yield Parts(fit, fit, decision)


def transfers(fit: Sample, decision: Sample) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield which sequences to fit on and which to look at: those of another environment."""
    if fit.environments is None or decision.environments is None:
        yield np.arange(len(fit)), np.arange(len(decision))
        return
    for environment in np.unique(decision.environments):
        others = np.flatnonzero(fit.environments != environment)
        _check_classes(fit.take(others))
        yield others, np.flatnonzero(decision.environments == environment)


def _splitter(split: Any, sample: Sample, seed: int) -> Any:
    if isinstance(split, Integral):
        folds = KFold if sample.groups is None else GroupKFold
        return folds(split, shuffle=True, random_state=seed)
    return check_cv(split)


def _random_parts(fractions: Any, sample: Sample, rng: np.random.RandomState) -> Parts:
    shares = np.asarray(fractions, dtype=float)
    if len(shares) not in (2, 3) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            "cv must be two fractions (what fits, what decides) or three (representation, "
            f"estimators, what decides), positive and of sum 1, or a splitter; got {fractions!r}."
        )
    groups = np.arange(len(sample)) if sample.groups is None else sample.groups
    for _ in range(MAX_DRAWS):
        part = _draw(shares, groups, rng)
        parts = [np.flatnonzero(part == i) for i in range(len(shares))]
        if min(map(len, parts)) and _has_all_classes(sample, parts[0]):
            break
    if not min(map(len, parts)):
        raise ValueError(
            f"cv={fractions!r} leaves a part empty: there are too few sequences, or groups. "
            "Use strategy='specialist' or 'generalist', or another cv."
        )
    _check_classes(sample.take(parts[0]))
    return Parts(parts[0], np.concatenate(parts[:-1]), parts[-1])


def _draw(shares: np.ndarray, groups: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Return the part of each sequence; a group is in one part."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    middles = (np.cumsum(sizes[order]) - sizes[order] / 2) / len(groups)
    part = np.empty(len(sizes), dtype=int)
    part[order] = np.searchsorted(np.cumsum(shares)[:-1], middles)
    return np.asarray(part[groups])


def _has_all_classes(sample: Sample, rows: np.ndarray) -> bool:
    return all(
        task.classes is None or len(np.unique(values[rows])) == task.n_classes
        for task, values in zip(sample.tasks.tasks, sample.values, strict=True)
    )


def _check_classes(sample: Sample) -> None:
    for task, values in zip(sample.tasks.tasks, sample.values, strict=True):
        if task.is_classification and len(np.unique(values)) < 2:
            raise ValueError(
                f"A class of task {task.name!r} of y is too rare to hold some sequences out: what "
                "is left has one class only. Use strategy='specialist' or 'generalist', or "
                "another cv."
            )
