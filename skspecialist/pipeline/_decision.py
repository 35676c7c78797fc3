"""Whether to specialise: who sees which sequences, and what the comparison says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, check_cv

from ._sample import Sample

__all__ = ["Decision", "n_splits", "split_sequences", "transfers"]

MAX_DRAWS = 25  # of a random split, until no class is missing where it is needed


@dataclass(frozen=True)
class Parts:
    """Indices of the sequences that each stage of a comparison sees."""

    representation: np.ndarray
    estimators: np.ndarray
    decision: np.ndarray


@dataclass(frozen=True)
class Decision:
    """What speaks for the specialist, task by task.

    ``reasons`` are in words, None where the specialist is used; gains and their standard
    errors are NaN where nothing was compared.
    """

    reasons: list[str | None]
    gains: np.ndarray
    errors: np.ndarray

    def __add__(self, other: Decision) -> Decision:
        return Decision(
            self.reasons + other.reasons,
            np.append(self.gains, other.gains),
            np.append(self.errors, other.errors),
        )

    def unless(self, missing: list[str | None]) -> Decision:
        """Return it with further reasons against the specialist."""
        reasons = [a or b for a, b in zip(self.reasons, missing, strict=True)]
        return Decision(reasons, self.gains, self.errors)

    @classmethod
    def without_comparison(cls, reason: str | None, n_tasks: int) -> Decision:
        """Return the same decision for all tasks."""
        nothing = np.full(n_tasks, np.nan)
        return cls([reason] * n_tasks, nothing, nothing)

    @classmethod
    def from_gains(
        cls, gains: np.ndarray, missing: list[str | None], groups: np.ndarray | None
    ) -> Decision:
        """Decide by the rule of one standard error.

        Parameters
        ----------
        gains : ndarray of shape (n_sequences, n_tasks)
            Loss of the generalist minus that of the specialist; NaN where not compared.
        missing : list of (str or None)
            Why a task was never compared.
        groups : ndarray of shape (n_sequences,) or None
            Sequences of one group may be alike: the standard error is one over groups.
        """
        reasons, means, errors = [], [], []
        for column, reason in zip(gains.T, missing, strict=True):
            seen = ~np.isnan(column)
            mean = column[seen].mean() if seen.any() else np.nan
            error = standard_error(column[seen], None if groups is None else groups[seen])
            if reason is None and not mean > error:
                reason = (
                    f"the gain of {mean:.3g} in held-out loss is not larger than its standard "
                    f"error of {error:.3g}"
                )
            reasons.append(reason)
            means.append(mean)
            errors.append(error)
        return cls(reasons, np.array(means), np.array(errors))


def standard_error(values: np.ndarray, groups: np.ndarray | None) -> float:
    """Return that of the mean of values, of which those of a group may depend on each other."""
    groups = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return np.nan
    sums = np.bincount(groups, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum() * n_groups / (n_groups - 1)) / len(values))


def is_fractions(split: Any) -> bool:
    """Return whether a split is a sequence of numbers."""
    return isinstance(split, (tuple, list, np.ndarray)) and all(isinstance(s, Real) for s in split)


def n_splits(split: Any, sample: Sample) -> int:
    """Return how many comparisons a split makes."""
    if is_fractions(split):
        return 1
    return int(_splitter(split, sample, 0).get_n_splits(sample.X, sample.y, sample.groups))


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
    for fit, decision in _splitter(split, sample, seed).split(sample.X, sample.y, sample.groups):
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
    if len(shares) not in (2, 3) or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            "split must be two fractions (what fits, what decides) or three (representation, "
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
            f"split={fractions!r} leaves a part empty: there are too few sequences, or groups. "
            "Use specialise='always' or 'never', or another split."
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
                f"A class of task {task.name!r} is too rare to hold some sequences out: what is "
                "left has one class only. Use specialise='always' or 'never', or another split."
            )
