"""Splits of the sequences, and held-out predictions of the candidates of every task."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.model_selection import GroupKFold, KFold

from .._data.tasks import Task
from .._data.validation import split_indices
from .._stats.model_comparison import best_sharpness, sample_losses, standard_error
from ..exceptions import SpecialistWarning, warn
from ._candidates import (
    Candidate,
    fit_estimator,
    pinball_quantile,
    predict_scores,
)
from ._input import is_fractions
from ._representation import LabeledSequences, Representation, Stage, States

__all__ = [
    "Evidence",
    "Fold",
    "NewCandidates",
    "NewRepresentation",
    "Split",
    "add_latents",
    "collect_evidence",
    "fit_folds",
    "is_curved",
    "sharpen",
    "split_sequences",
    "varied_tasks",
]

# Draws of a random split, until no class is missing where it is needed. A class of two
# sequences is missed by a part of one half with probability 1 / 4, hence 25 times with 1e-15.
MAX_DRAWS = 25
# From a seed to unfitted parts.
NewRepresentation = Callable[[int], Representation]
# From a fitted representation, the index of a task in it, and the task.
NewCandidates = Callable[[Representation, int, Task], list[Candidate]]


@dataclass(frozen=True)
class Split:
    """Indices of the sequences for each step of a comparison."""

    representation: np.ndarray
    estimators: np.ndarray
    held_out: np.ndarray


@dataclass
class FittedCandidate:
    """Fitted estimator, its columns, and its scores of the held-out sequences of a fold."""

    estimator: Any
    columns: np.ndarray
    reads: str
    rows: np.ndarray
    scores: np.ndarray
    seconds: float


@dataclass
class Fold:
    """Representation and candidates that were fitted without the held-out sequences.

    ``data`` are all sequences, as states of the generalist; ``fitted`` has one dictionary per
    task, from the names of the candidates.
    """

    split: Split
    representation: Representation
    data: LabeledSequences
    fitted: list[dict[str, FittedCandidate]] = field(default_factory=list)

    def fit_candidates(self, new_candidates: NewCandidates, seed: int) -> None:
        """Fit the candidates that are not fitted yet, and predict the held-out sequences."""
        data = self.data
        fit, held_out = data.take(self.split.estimators), data.take(self.split.held_out)
        features = self.representation.features(fit.X), self.representation.features(held_out.X)
        if not self.fitted:
            self.fitted = [{} for _ in data.tasks.tasks]
        for i, task in enumerate(data.tasks.tasks):
            for candidate in new_candidates(self.representation, i, task):
                if candidate.name not in self.fitted[i]:
                    pairs = [
                        (rows[np.isin(rows, fit.known[i])], others)
                        for rows, others in other_environments(fit, held_out)
                    ]
                    self.fitted[i][candidate.name] = _fit_held_out(
                        candidate, task, features, (fit, i, pairs), self.split, seed
                    )


def fit_folds(
    data: LabeledSequences,
    states: States,
    splits: list[Split],
    new_representation: NewRepresentation,
    stage: Stage,
    *,
    new_candidates: NewCandidates,
    seed: int,
    encode: bool,
) -> list[Fold]:
    """Return the folds, with the latents' candidates if ``encode``."""
    folds = []
    for split in splits:
        representation = new_representation(seed)
        with _final_fit_warns():
            represented = representation.fit(data, states, stage, split.representation)
            fold = Fold(split, representation, represented)
            if encode:
                representation.fit_encoder(represented.take(split.representation), stage)
            with stage("estimators"):
                fold.fit_candidates(new_candidates, seed)
        folds.append(fold)
    return folds


def add_latents(
    folds: list[Fold], stage: Stage, new_candidates: NewCandidates, seed: int, train: bool
) -> None:
    """Train the encoder of every fold, if ``train``, and fit the candidates that read latents."""
    for fold in folds:
        with _final_fit_warns():
            part = fold.data.take(fold.split.representation)
            fold.representation.fit_encoder(part, stage, train)
            if train:
                fold.fit_candidates(new_candidates, seed)


@dataclass
class Evidence:
    """Held-out scores and losses of the candidates of one task.

    Attributes
    ----------
    task : Task
        The task.
    truth : ndarray of shape (n_sequences,)
        Values of the sequences that were held out.
    scores : dict of {str: ndarray of shape (n_sequences, n_columns)}
        Amounts, or probabilities at the temperature of least log loss. Where a candidate was
        not available in a fold, those of the generalist.
    losses : dict of {str: ndarray of shape (n_sequences,)}
        Loss of each sequence.
    sharpness : dict of {str: float}
        Logarithm of the inverse temperature of each candidate.
    costs : dict of {str: (int, float)}
        Number of columns in the last fold, and seconds of the fits of all folds.
    groups : ndarray of shape (n_sequences,) or None
        Groups of the sequences.
    reads : dict of {str: str}
        Part of the representation that each candidate reads.
    quantile : float
        Quantile of the pinball loss.
    weights : ndarray of shape (n_sequences,) or None
        Weights of the sequences, which are factors of their losses.
    """

    task: Task
    truth: np.ndarray
    scores: dict[str, np.ndarray]
    losses: dict[str, np.ndarray]
    sharpness: dict[str, float]
    groups: np.ndarray | None
    costs: dict[str, tuple[int, float]] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)
    quantile: float = 0.5
    weights: np.ndarray | None = None

    @property
    def specialists(self) -> set[str]:
        """Candidates that read steps or latents of the task."""
        return {name for name, part in self.reads.items() if part != "generalist"}

    def sample_losses(self, loss: Any, scores: np.ndarray) -> np.ndarray:
        """Return the loss of each sequence, for scores of all sequences."""
        losses = sample_losses(loss, self.task, scores, self.truth, self.quantile)
        # Their mean is the weighted one.
        return losses if self.weights is None else losses * (self.weights / self.weights.mean())

    def error(self, differences: np.ndarray) -> float:
        """Return the standard error of a mean difference of losses."""
        return float(standard_error(differences, self.groups))


def collect_evidence(
    folds: list[Fold], data: LabeledSequences, compared: list[int], loss: Any
) -> list[Evidence]:
    """Collect the held-out predictions of the tasks that are compared."""
    return [_task_evidence(folds, data, index, loss) for index in compared]


def _task_evidence(folds: list[Fold], data: LabeledSequences, index: int, loss: Any) -> Evidence:
    task, values = data.tasks.tasks[index], data.values[index]
    names = list(dict.fromkeys(name for fold in folds for name in fold.fitted[index]))
    n_columns = folds[0].fitted[index]["generalist"].scores.shape[1]
    counts = np.zeros(len(data))
    sums = {name: np.zeros((len(data), n_columns)) for name in names}
    for fold in folds:
        fitted = fold.fitted[index]
        rows = fitted["generalist"].rows
        counts[rows] += 1
        for name in names:
            # np.add.at is not needed: a fold holds out each sequence once.
            sums[name][rows] += fitted.get(name, fitted["generalist"]).scores
    seen = data.known[index][counts[data.known[index]] > 0]
    truth, weights = values[seen], data.weights_of(index, seen)
    scores = {name: total[seen] / counts[seen, None] for name, total in sums.items()}
    sharpness = dict.fromkeys(names, 0.0)
    if n_columns > 1:
        codes = task.encode(truth).astype(int)
        for name, probabilities in scores.items():
            sharpness[name] = best_sharpness(_log(probabilities), codes, weights)
            scores[name] = sharpen(probabilities, sharpness[name])
    quantile = pinball_quantile(folds[0].fitted[index]["generalist"].estimator)
    groups = None if data.groups is None else data.groups[seen]
    costs, reads = {}, {}
    for name in names:
        fits = [fold.fitted[index][name] for fold in folds if name in fold.fitted[index]]
        costs[name] = len(fits[-1].columns), sum(fit.seconds for fit in fits)
        # A sum over the steps of a task is one over all steps in folds that found none.
        reads[name] = next((f.reads for f in fits if f.reads != "generalist"), "generalist")
    evidence = Evidence(task, truth, scores, {}, sharpness, groups, costs, reads, quantile, weights)
    evidence.losses = {name: evidence.sample_losses(loss, scores[name]) for name in names}
    return evidence


def is_curved(evidence: Evidence) -> bool:
    """Return whether a kernel predicts a task better than every linear candidate.

    The difference must be more than its standard error. Without curvature, latents are linear
    functions of columns that the linear candidates read already. Without a kernel among the
    candidates, as with environments, it is not known: then it is assumed.
    """
    curved = {name: v for name, v in evidence.losses.items() if name.endswith("kernel")}
    linear = {n: v for n, v in evidence.losses.items() if n not in (*curved, "null")}
    if not curved:
        return True
    best_curved, best_linear = (
        min(losses.values(), key=lambda values: values.mean()) for losses in (curved, linear)
    )
    differences = best_linear - best_curved
    return bool(differences.mean() > evidence.error(differences))


def sharpen(scores: np.ndarray, sharpness: float) -> np.ndarray:
    """Return probabilities at another temperature, and amounts as they are."""
    if scores.shape[1] == 1 or sharpness == 0.0:
        return scores
    return np.asarray(softmax(np.exp(sharpness) * _log(scores), axis=1))


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(probabilities, np.finfo(float).eps)))


def _fit_held_out(
    candidate: Candidate,
    task: Task,
    features: tuple[np.ndarray, np.ndarray],
    targets: tuple[LabeledSequences, int, list[tuple[np.ndarray, np.ndarray]]],
    split: Split,
    seed: int,
) -> FittedCandidate:
    """Fit a candidate, to other environments where there are any, and predict."""
    start = time.perf_counter()
    data, index, pairs = targets
    values = data.values[index]
    parts = []
    for rows, others in pairs:
        columns = features[0][np.ix_(rows, candidate.columns)]
        weights = data.weights_of(index, rows)
        fitted = fit_estimator(candidate.estimator, task, columns, values[rows], seed, weights)
        held_out = features[1][np.ix_(others, candidate.columns)]
        parts.append((others, predict_scores(fitted, task, held_out)))
    scores = np.zeros((len(split.held_out), parts[0][1].shape[1]))
    for others, part in parts:
        scores[others] = part
    seconds = time.perf_counter() - start
    return FittedCandidate(
        fitted, candidate.columns, candidate.reads, split.held_out, scores, seconds
    )


@contextmanager
def _final_fit_warns() -> Iterator[None]:
    """Silence warnings that the final fit, to all sequences, repeats where they matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)
        yield


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
    # A missing label is a class of its own, so that each fold has a share of the known ones.
    pairs = zip(data.values, data.tasks.tasks, strict=True)
    labels = [
        np.nan_to_num(task.encode(values), nan=-1)
        for values, task in pairs
        if task.is_classification and not task.is_constant
    ]
    if not labels:
        folds = KFold if data.groups is None else GroupKFold
        return folds(cv, shuffle=True, random_state=seed)
    return _stratified_folds(int(cv), labels, data.groups, np.random.RandomState(seed))


def _stratified_folds(
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
