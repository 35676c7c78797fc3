"""Held-out predictions of the candidates of every task."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import softmax

from .._data.tasks import Task
from .._stats.model_comparison import best_sharpness, sample_losses, standard_error
from ..exceptions import SpecialistWarning
from ._candidates import Candidate, fit_estimator, pinball_quantile, predict_scores
from ._heads import shared_computations
from ._representation import Representation, Stage
from ._sequences import LabeledSequences, Split, States, other_environments

__all__ = [
    "Evidence",
    "Fold",
    "NewCandidates",
    "NewRepresentation",
    "add_latents",
    "collect_evidence",
    "fit_folds",
    "is_curved",
    "sharpen",
]

# From a seed to unfitted parts.
NewRepresentation = Callable[[int], Representation]
# From a fitted representation, the index of a task in it, and the task.
NewCandidates = Callable[[Representation, int, Task], list[Candidate]]


@dataclass
class FittedCandidate:
    """Fitted estimator, and its scores of the held-out sequences of a fold."""

    candidate: Candidate
    estimator: Any
    rows: np.ndarray
    scores: np.ndarray
    seconds: float


@dataclass
class Fold:
    """Representation and candidates that were fitted without the held-out sequences.

    ``data`` are all sequences, as states of the generalist; ``fitted`` has one dictionary per
    task, from the names of the candidates, and ``dropped``, which the folds share, the names of
    those that the first fold dropped.
    """

    split: Split
    representation: Representation
    data: LabeledSequences
    dropped: list[set[str]]
    fitted: list[dict[str, FittedCandidate]] = field(default_factory=list)

    def fit_candidates(self, new_candidates: NewCandidates, seed: int) -> None:
        """Fit the candidates that are not fitted yet, and predict the held-out sequences."""
        data = self.data
        fit, held_out = data.take(self.split.estimators), data.take(self.split.held_out)
        features = self.representation.features(fit.X), self.representation.features(held_out.X)
        if not self.fitted:
            self.fitted = [{} for _ in data.tasks.tasks]
        jobs = [
            (i, task, candidate)
            for i, task in enumerate(data.tasks.tasks)
            for candidate in new_candidates(self.representation, i, task)
            if candidate.name not in {*self.fitted[i], *self.dropped[i]}
        ]
        # Candidates of one name often read the same columns in all tasks: one after the other
        # they share their computations.
        names = list(dict.fromkeys(candidate.name for _, _, candidate in jobs))
        jobs.sort(key=lambda job: names.index(job[2].name))
        with shared_computations():
            for i, task, candidate in jobs:
                pairs = [
                    (rows[np.isin(rows, fit.known[i])], others)
                    for rows, others in other_environments(fit, held_out)
                ]
                self.fitted[i][candidate.name] = _fit_held_out(
                    candidate, task, features, (fit, i, pairs), self.split, seed
                )

    def drop_latents(self) -> None:
        """Forget the encoder, and the candidates that read its latents."""
        self.representation.drop_encoder()
        for fitted in self.fitted:
            for name in [name for name, fit in fitted.items() if fit.candidate.reads == "latents"]:
                del fitted[name]


def fit_folds(
    data: LabeledSequences,
    states: States,
    splits: list[Split],
    new_representation: NewRepresentation,
    *,
    stage: Stage,
    new_candidates: NewCandidates,
    seed: int,
    drop: Callable[[Fold], None] | None,
    encode: bool,
) -> list[Fold]:
    """Return the folds, with the latents' candidates if ``encode``; ``drop`` judges the first."""
    folds: list[Fold] = []
    dropped: list[set[str]] = [set() for _ in data.tasks.tasks]
    for split in splits:
        representation = new_representation(seed)
        with _without_warnings():
            represented = representation.fit(data, states, stage, split.representation)
            fold = Fold(split, representation, represented, dropped)
            if encode:
                part = represented.take(split.representation)
                representation.fit_encoder(part, stage, folds=folds)
            with stage("estimators"):
                fold.fit_candidates(new_candidates, seed)
        folds.append(fold)
        if drop and len(folds) == 1 < len(splits):
            drop(fold)
    return folds


def add_latents(
    folds: list[Fold],
    stage: Stage,
    new_candidates: NewCandidates,
    seed: int,
    train: bool,
    first: int = 0,
) -> None:
    """Train the encoder of every fold, if ``train``, and fit the candidates that read latents."""
    for place, fold in enumerate(folds[first:], first):
        with _without_warnings():
            part = fold.data.take(fold.split.representation)
            fold.representation.fit_encoder(part, stage, train, folds[:place])
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
    curved : set of str
        Candidates that are smooth functions and not linear.
    quantile : float
        Quantile of the pinball loss.
    weights : ndarray of shape (n_sequences,) or None
        Weights of the sequences, which are factors of their losses.

    Candidates that the first fold dropped have costs and a part that they read, and nothing else.
    """

    task: Task
    truth: np.ndarray
    scores: dict[str, np.ndarray]
    losses: dict[str, np.ndarray]
    sharpness: dict[str, float]
    groups: np.ndarray | None
    costs: dict[str, tuple[int, float]] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)
    curved: set[str] = field(default_factory=set)
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
) -> dict[int, Evidence]:
    """Collect the held-out predictions of the tasks that are compared, by index."""
    return {index: _task_evidence(folds, data, index, loss) for index in compared}


def _task_evidence(folds: list[Fold], data: LabeledSequences, index: int, loss: Any) -> Evidence:
    task, values = data.tasks.tasks[index], data.values[index]
    every = list(dict.fromkeys(name for fold in folds for name in fold.fitted[index]))
    names = [name for name in every if name not in folds[0].dropped[index]]
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
    costs, reads, curved = {}, {}, set()
    for name in every:
        fits = [fold.fitted[index][name] for fold in folds if name in fold.fitted[index]]
        parts = [fit.candidate.reads for fit in fits]
        costs[name] = len(fits[-1].candidate.columns), sum(fit.seconds for fit in fits)
        # A sum over the steps of a task is one over all steps in folds that found none.
        reads[name] = next((part for part in parts if part != "generalist"), "generalist")
        if fits[-1].candidate.is_curved:
            curved.add(name)
    evidence = Evidence(
        task, truth, scores, {}, sharpness, groups, costs, reads, curved, quantile, weights
    )
    evidence.losses = {name: evidence.sample_losses(loss, scores[name]) for name in names}
    return evidence


def is_curved(evidence: Evidence) -> bool:
    """Return whether a kernel predicts a task better than every linear candidate.

    The difference must be more than its standard error. Without curvature, latents are linear
    functions of columns that the linear candidates read already. Without a kernel among the
    candidates, as with environments, it is not known: then it is assumed.
    """
    curved = {name: v for name, v in evidence.losses.items() if name in evidence.curved}
    linear = {n: v for n, v in evidence.losses.items() if n not in (*curved, "null")}
    if not curved:
        return not evidence.curved  # those that were dropped are worse than another candidate
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
    return FittedCandidate(candidate, fitted, split.held_out, scores, seconds)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence warnings that the final fit, to all sequences, repeats where they matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)
        yield
