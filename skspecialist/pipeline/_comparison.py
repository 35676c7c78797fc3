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
from .._stats.model_comparison import best_sharpness, standard_error
from ..exceptions import SpecialistWarning
from ._candidates import Candidate, task_candidates
from ._estimators import fit_estimator, pinball_quantile, predict_scores, sample_losses
from ._representation import LabeledSequences, Representation, Stage
from ._splits import Split, other_environments, split_sequences

__all__ = [
    "Fold",
    "HeldOut",
    "NewRepresentation",
    "add_latents",
    "fit_folds",
    "held_out",
    "is_curved",
    "sharpen",
]

# From a seed to unfitted parts.
NewRepresentation = Callable[[int], Representation]


@dataclass
class FittedCandidate:
    """Fitted estimator, its columns, and its scores of the held-out sequences of a fold."""

    estimator: Any
    columns: np.ndarray
    rows: np.ndarray
    scores: np.ndarray
    seconds: float


@dataclass
class Fold:
    """Representation and candidates that were fitted without the held-out sequences.

    ``fitted`` has one dictionary per task, from the names of the candidates.
    """

    split: Split
    representation: Representation
    fitted: list[dict[str, FittedCandidate]] = field(default_factory=list)

    def fit_candidates(self, data: LabeledSequences, estimator: Any, seed: int) -> None:
        """Fit the candidates that are not fitted yet, and predict the held-out sequences."""
        fit, held_out = data.take(self.split.estimators), data.take(self.split.held_out)
        features = self.representation.features(fit.X), self.representation.features(held_out.X)
        if not self.fitted:
            self.fitted = [{} for _ in data.tasks.tasks]
        for i, task in enumerate(data.tasks.tasks):
            for candidate in task_candidates(self.representation, i, task, estimator):
                if candidate.name not in self.fitted[i]:
                    pairs = other_environments(fit, held_out)
                    self.fitted[i][candidate.name] = _fit_held_out(
                        candidate, task, features, (fit.values[i], pairs), self.split, seed
                    )


def fit_folds(
    data: LabeledSequences,
    new_representation: NewRepresentation,
    stage: Stage,
    *,
    cv: Any,
    estimator: Any,
    seed: int,
    encode: bool,
) -> list[Fold]:
    """Return the folds, with the latents' candidates if ``encode``."""
    folds = []
    for split in split_sequences(cv, data, seed):
        fold = Fold(split, new_representation(seed))
        with _final_fit_warns():
            part = data.take(split.representation)
            fold.representation.fit(part, stage)
            if encode:
                fold.representation.fit_encoder(part, stage)
            with stage("estimators"):
                fold.fit_candidates(data, estimator, seed)
        folds.append(fold)
    return folds


def add_latents(
    folds: list[Fold], data: LabeledSequences, stage: Stage, estimator: Any, seed: int, train: bool
) -> None:
    """Train the encoder of every fold, if ``train``, and fit the candidates that read latents."""
    for fold in folds:
        with _final_fit_warns():
            fold.representation.fit_encoder(data.take(fold.split.representation), stage, train)
            if train:
                fold.fit_candidates(data, estimator, seed)


@dataclass
class HeldOut:
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
    """

    task: Task
    truth: np.ndarray
    scores: dict[str, np.ndarray]
    losses: dict[str, np.ndarray]
    sharpness: dict[str, float]
    groups: np.ndarray | None
    costs: dict[str, tuple[int, float]] = field(default_factory=dict)

    def error(self, differences: np.ndarray) -> float:
        """Return the standard error of a mean difference of losses."""
        return float(standard_error(differences, self.groups))


def held_out(folds: list[Fold], data: LabeledSequences, index: int, loss: Any) -> HeldOut:
    """Collect the held-out predictions of one task."""
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
    seen = np.flatnonzero(counts)
    truth = values[seen]
    scores = {name: total[seen] / counts[seen, None] for name, total in sums.items()}
    sharpness = dict.fromkeys(names, 0.0)
    if n_columns > 1:
        codes = task.encode(truth).astype(int)
        for name, probabilities in scores.items():
            sharpness[name] = best_sharpness(_log(probabilities), codes)
            scores[name] = sharpen(probabilities, sharpness[name])
    quantile = pinball_quantile(folds[0].fitted[index]["generalist"].estimator)
    losses = {
        name: sample_losses(loss, task, values, truth, quantile) for name, values in scores.items()
    }
    groups = None if data.groups is None else data.groups[seen]
    costs = {}
    for name in names:
        fits = [fold.fitted[index][name] for fold in folds if name in fold.fitted[index]]
        costs[name] = len(fits[-1].columns), sum(fit.seconds for fit in fits)
    return HeldOut(task, truth, scores, losses, sharpness, groups, costs)


def is_curved(held_out: HeldOut) -> bool:
    """Return whether a kernel predicts a task better than every linear candidate.

    The difference must be more than its standard error. Without curvature, latents are linear
    functions of columns that the linear candidates read already. Without a kernel among the
    candidates, as with environments, it is not known: then it is assumed.
    """
    curved = {name: v for name, v in held_out.losses.items() if name.endswith("kernel")}
    linear = {n: v for n, v in held_out.losses.items() if n not in (*curved, "null")}
    if not curved:
        return True
    best_curved, best_linear = (
        min(losses.values(), key=lambda values: values.mean()) for losses in (curved, linear)
    )
    differences = best_linear - best_curved
    return bool(differences.mean() > held_out.error(differences))


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
    targets: tuple[np.ndarray, Iterator[tuple[np.ndarray, np.ndarray]]],
    split: Split,
    seed: int,
) -> FittedCandidate:
    """Fit a candidate, to other environments where there are any, and predict."""
    start = time.perf_counter()
    values, pairs = targets
    parts = []
    for rows, others in pairs:
        columns = features[0][np.ix_(rows, candidate.columns)]
        fitted = fit_estimator(candidate.estimator, task, columns, values[rows], seed)
        held_out = features[1][np.ix_(others, candidate.columns)]
        parts.append((others, predict_scores(fitted, task, held_out)))
    scores = np.zeros((len(split.held_out), parts[0][1].shape[1]))
    for others, part in parts:
        scores[others] = part
    seconds = time.perf_counter() - start
    return FittedCandidate(fitted, candidate.columns, split.held_out, scores, seconds)


@contextmanager
def _final_fit_warns() -> Iterator[None]:
    """Silence warnings that the final fit, to all sequences, repeats where they matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)
        yield
