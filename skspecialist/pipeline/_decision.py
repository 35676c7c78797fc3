"""Comparison of candidates on held-out sequences, and the decision for each task."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from .._data.validation import split_indices
from .._stats.one_standard_error import standard_error
from ..exceptions import SpecialistWarning
from ._estimators import fit_estimator, null_estimator, sample_losses
from ._representation import LabeledSequences, Representation, Stage

__all__ = [
    "Candidate",
    "Decision",
    "TaskModel",
    "choose_candidate",
    "compare_candidates",
    "fit_models",
    "n_splits",
    "other_environments",
    "split_sequences",
    "task_candidates",
]

# Candidates of a task in the order of a table of losses. The null model reads no feature.
CANDIDATES = ("null", "generalist", "latents", "steps")
SPECIALISTS = CANDIDATES[2:]
# A sparser candidate may lose one per cent of the loss that the generalist saves: a tolerance
# that does not grow where few sequences make standard errors large.
TOLERANCE = 0.01
# Draws of a random split, until no class is missing where it is needed. A class of two
# sequences is missed by a part of one half with probability 1 / 4, hence 25 times with 1e-15.
MAX_DRAWS = 25

# From a seed, and whether there is an encoder, to unfitted parts.
NewRepresentation = Callable[[int, bool], Representation]


@dataclass(frozen=True)
class Split:
    """Indices of the sequences for each step of a comparison."""

    representation: np.ndarray
    estimators: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Candidate:
    """Features and unfitted estimator that may predict a task.

    Attributes
    ----------
    name : {"null", "generalist", "latents", "steps"}
        Kind of the features.
    columns : ndarray of int
        Columns of the representation.
    estimator : estimator or None
        Unfitted; None is the default for the kind of the task.
    """

    name: str
    columns: np.ndarray
    estimator: Any


@dataclass(frozen=True)
class Decision:
    """Candidate that predicts a task, and the evidence for it.

    Attributes
    ----------
    candidate : {"latents", "steps", "generalist"} or None
        Name of the candidate; None is the first specialist that is found in the final fit.
    reason : str or None
        Reason against specializing, None for specialized tasks.
    gain, standard_error : float
        Mean held-out loss of the generalist minus that of the best specialist, and its
        standard error; NaN without a comparison.
    """

    candidate: str | None
    reason: str | None = None
    gain: float = np.nan
    standard_error: float = np.nan

    def resolve(self, candidates: list[Candidate], missing: str | None) -> Decision:
        """Return the decision given the candidates of the final fit.

        Parameters
        ----------
        candidates : list of Candidate
            Candidates of the task, the generalist first.
        missing : str or None
            Reason why there is no specialist.
        """
        names = [candidate.name for candidate in candidates]
        if self.candidate is None and len(names) > 1:
            return replace(self, candidate=names[1])
        if self.candidate in names:
            return self
        reason = missing or f"no {self.candidate} of this task were found in the end"
        return replace(self, candidate="generalist", reason=reason)


@dataclass(frozen=True)
class TaskModel:
    """Fitted estimator of a task, and the columns of the representation that it reads."""

    estimator: Any
    columns: np.ndarray
    decision: Decision


def task_candidates(representation: Representation, index: int, estimator: Any) -> list[Candidate]:
    """Return the candidates of a task: the generalist, then the specialists that were found."""
    generalist = Candidate("generalist", np.arange(representation.n_generalist), estimator)
    found = representation.columns[index]
    return [generalist, *(Candidate(name, part, estimator) for name, part in found.items())]


def compare_candidates(
    data: LabeledSequences,
    new_representation: NewRepresentation,
    stage: Stage,
    *,
    cv: Any,
    loss: str | Callable[..., Any],
    estimator: Any,
    seed: int,
) -> list[Decision]:
    """Decide for each task, on sequences that none of its candidates was fitted on.

    Parameters
    ----------
    data : LabeledSequences
        All sequences.
    new_representation : callable
        Returns unfitted parts.
    stage : callable
        Opens a stage of the fit.
    cv, loss, estimator : object
        Parameters of :class:`SpecialistPipeline`.
    seed : int
        Seed of the splits and of the parts.
    """
    losses = np.full((len(data), len(data.tasks), len(CANDIDATES)), np.nan)
    missing: list[str | None] = []
    for split in split_sequences(cv, data, seed):
        representation = new_representation(seed, True)
        with warnings.catch_warnings():
            # The final fit, to all sequences, repeats the warnings that matter.
            warnings.simplefilter("ignore", SpecialistWarning)
            representation.fit(data.take(split.representation), stage)
            with stage("estimators"):
                losses[split.held_out] = _held_out_losses(
                    representation,
                    data.take(split.estimators),
                    data.take(split.held_out),
                    loss,
                    estimator,
                    seed,
                )
        missing = representation.missing
    return [
        choose_candidate(table, reason, data.groups)
        for table, reason in zip(losses.swapaxes(0, 1), missing, strict=True)
    ]


def fit_models(
    data: LabeledSequences,
    representation: Representation,
    decisions: list[Decision],
    estimator: Any,
    seed: int,
) -> list[TaskModel]:
    """Return the fitted model of each task, of the candidate that was decided on."""
    features = representation.features(data.X)
    models = []
    for i, task in enumerate(data.tasks.tasks):
        candidates = task_candidates(representation, i, estimator)
        decision = decisions[i].resolve(candidates, representation.missing[i])
        chosen = next(c for c in candidates if c.name == decision.candidate)
        columns = features[:, chosen.columns]
        fitted = fit_estimator(chosen.estimator, task, columns, data.values[i], seed)
        models.append(TaskModel(fitted, chosen.columns, decision))
    return models


def choose_candidate(
    losses: np.ndarray, missing: str | None, groups: np.ndarray | None
) -> Decision:
    """Return the specialist unless it loses to the generalist more than next to nothing.

    Next to nothing is at most one standard error of the difference, and at most ``TOLERANCE``
    of the loss that the generalist saves compared with the null model: the sparser candidate
    is chosen by the one-standard-error rule [1]_, bounded where few sequences make the
    standard error large.

    Parameters
    ----------
    losses : ndarray of shape (n_sequences, 4)
        Held-out losses of ``CANDIDATES``; NaN where a candidate was not found.
    missing : str or None
        Reason why no specialist was found, if there is none in any fold.
    groups : ndarray of shape (n_sequences,) or None
        Sequences of one group may be dependent: the standard error is one over groups.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression
       Trees", Wadsworth, 1984, section 3.4.3.
    """
    null, generalist = np.nanmean(losses[:, :2], axis=0)
    gains = losses[:, 1:2] - losses[:, 2:]
    compared = [column[~np.isnan(column)] for column in gains.T]
    means = [column.mean() if len(column) else -np.inf for column in compared]
    best = int(np.argmax(means))
    if not len(compared[best]):
        return Decision("generalist", missing)
    gain = float(means[best])
    rows = ~np.isnan(gains[:, best])
    groups = np.arange(len(rows)) if groups is None else groups
    error = standard_error(compared[best], groups[rows])
    # A NaN of the standard error, of a single group, specializes nothing.
    if gain >= -min(error, TOLERANCE * max(0.0, null - generalist)):
        return Decision(SPECIALISTS[best], None, gain, error)
    reason = (
        f"it would add {-gain:.3g} to the held-out loss of {generalist:.3g}, with a standard "
        f"error of {error:.3g}"
    )
    return Decision("generalist", reason, gain, error)


def _held_out_losses(
    representation: Representation,
    fit: LabeledSequences,
    held_out: LabeledSequences,
    loss: str | Callable[..., Any],
    estimator: Any,
    seed: int,
) -> np.ndarray:
    """Return the losses (n_held_out, n_tasks, 4) of ``CANDIDATES``; NaN for those not found."""
    features = representation.features(fit.X), representation.features(held_out.X)
    losses = np.full((len(held_out), len(fit.tasks), len(CANDIDATES)), np.nan)
    for i, task in enumerate(fit.tasks.tasks):
        null = Candidate("null", np.arange(0), null_estimator(task))
        for candidate in (null, *task_candidates(representation, i, estimator)):
            place, columns = CANDIDATES.index(candidate.name), candidate.columns
            for rows, others in other_environments(fit, held_out):
                fitted = fit_estimator(
                    candidate.estimator,
                    task,
                    features[0][np.ix_(rows, columns)],
                    fit.values[i][rows],
                    seed,
                )
                losses[others, i, place] = sample_losses(
                    loss,
                    task,
                    fitted,
                    features[1][np.ix_(others, columns)],
                    held_out.values[i][others],
                )
    return losses


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
        If fractions are not two or three positive numbers that sum to 1, or a class is too
        rare to be in all parts that need it.
    """
    if is_fractions(cv):
        yield _random_split(cv, data, np.random.RandomState(seed))
        return
    splitter = _splitter(cv, data, seed)
    for fit, held_out in split_indices(splitter, data.X, data.y, data.groups):
        _check_classes(data.take(fit))
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
        _check_classes(fit.take(others))
        yield others, np.flatnonzero(held_out.environments == environment)


def _splitter(cv: Any, data: LabeledSequences, seed: int) -> Any:
    if isinstance(cv, Integral):
        folds = KFold if data.groups is None else GroupKFold
        return folds(cv, shuffle=True, random_state=seed)
    return cv


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
    _check_classes(data.take(parts[0]))
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


def _check_classes(data: LabeledSequences) -> None:
    for task, values in zip(data.tasks.tasks, data.values, strict=True):
        if task.is_classification and len(np.unique(values)) < 2:
            raise ValueError(
                f"A class of task {task.name!r} of y is too rare to hold some sequences out: what "
                "is left has one class only. Use strategy='specialist' or 'generalist', or "
                "another cv."
            )
