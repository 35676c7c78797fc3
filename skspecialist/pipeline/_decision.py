"""Comparison of candidates on held-out sequences, and their combination for each task."""

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
from .._stats.one_standard_error import standard_error
from .._stats.stacking import (
    best_sharpness,
    log_loss_weights,
    loss_weights,
    prune_weights,
    squared_error_weights,
)
from ..exceptions import SpecialistWarning
from ._candidates import GENERALISTS, Candidate, task_candidates
from ._estimators import (
    fit_estimator,
    pinball_quantile,
    predict_scores,
    predict_values,
    sample_losses,
)
from ._representation import LabeledSequences, Representation, Stage
from ._splits import Split, other_environments, split_sequences

__all__ = [
    "Decision",
    "Fold",
    "HeldOut",
    "TaskModel",
    "add_latents",
    "available",
    "choose_candidate",
    "fit_folds",
    "fit_models",
    "held_out",
    "is_curved",
    "mix_candidates",
]

# A sparser candidate may lose one per cent of the loss that the generalist saves: a tolerance
# that does not grow where few sequences make standard errors large.
TOLERANCE = 0.01
# Weights below are dropped: with a few hundred sequences their standard error is as large.
SMALLEST_WEIGHT = 0.02

# From a seed to unfitted parts.
NewRepresentation = Callable[[int], Representation]
# From a representation to its features of the sequences that are predicted.
Features = Callable[[Representation], np.ndarray]


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
    """Collect what the folds predict of one task."""
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


@dataclass(frozen=True)
class Decision:
    """Weights of the candidates of a task, and the evidence for them.

    Attributes
    ----------
    weights : dict of {str: float}
        Non-negative weights of sum one. Empty: the first specialist of the final fit.
    reason : str or None
        Reason against specializing, None for specialized tasks.
    gain, standard_error : float
        Mean held-out loss of the generalist minus that of the combination (of the best
        specialist, for a task that is not specialized), and its standard error; NaN without
        a comparison.
    held_out : HeldOut or None
        Evidence.
    """

    weights: dict[str, float]
    reason: str | None = None
    gain: float = np.nan
    standard_error: float = np.nan
    held_out: HeldOut | None = None


def choose_candidate(held_out: HeldOut, missing: str | None) -> Decision:
    """Return the specialist unless it loses to the generalist more than next to nothing.

    Next to nothing is at most one standard error of the difference, and at most ``TOLERANCE``
    of the loss that the generalist saves compared with the null model: the sparser candidate
    is chosen by the one-standard-error rule [1]_, bounded where few sequences make the
    standard error large.

    Parameters
    ----------
    held_out : HeldOut
        Losses of the candidates.
    missing : str or None
        Reason why no specialist was found, if there is none in any fold.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression
       Trees", Wadsworth, 1984, section 3.4.3.
    """
    means = {name: losses.mean() for name, losses in held_out.losses.items()}
    null = means.pop("null")
    reference = min((name for name in means if name in GENERALISTS), key=means.__getitem__)
    specialists = [name for name in means if name not in GENERALISTS]
    if not specialists:
        return Decision({reference: 1.0}, missing, held_out=held_out)
    best = min(specialists, key=means.__getitem__)
    differences = held_out.losses[reference] - held_out.losses[best]
    gain, error = float(differences.mean()), held_out.error(differences)
    saved = max(0.0, null - means[reference])
    # A NaN of the standard error, of a single group, specializes nothing.
    if gain >= -min(error, TOLERANCE * saved):
        return Decision({best: 1.0}, None, gain, error, held_out)
    reason = (
        f"{best} would add {-gain:.3g} to the held-out loss of {means[reference]:.3g}, with a "
        f"standard error of {error:.3g}"
    )
    return Decision({reference: 1.0}, reason, gain, error, held_out)


def mix_candidates(held_out: HeldOut, loss: Any) -> Decision:
    """Return the convex combination of least held-out loss (stacking).

    Parameters
    ----------
    held_out : HeldOut
        Scores of the candidates.
    loss : str or callable
        Parameter of :class:`SpecialistPipeline`.
    """
    names = list(held_out.scores)
    scores = np.stack([held_out.scores[name] for name in names], axis=1)
    task, truth = held_out.task, held_out.truth
    if scores.shape[2] > 1 and not callable(loss):
        weights = log_loss_weights(scores, task.encode(truth).astype(int))
    elif loss == "auto":
        weights = squared_error_weights(scores[:, :, 0], truth.astype(float))
    else:
        weights = loss_weights(
            lambda mixed: float(sample_losses(loss, task, mixed, truth).mean()), scores
        )
    weights = prune_weights(weights, SMALLEST_WEIGHT)
    mixed = np.einsum("k,nkc->nc", weights, scores)
    differences = held_out.losses["generalist"] - sample_losses(loss, task, mixed, truth)
    gain, error = float(differences.mean()), held_out.error(differences)
    chosen = {name: float(w) for name, w in zip(names, weights, strict=True) if w > 0}
    reason = None
    if set(chosen) <= set(GENERALISTS):
        reason = "no weight of the combination is on steps or latents of this task"
    return Decision(chosen, reason, gain, error, held_out)


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


@dataclass
class Member:
    """Candidate in the model of a task: its weight, and its fits.

    ``fits`` are triples of a representation, its columns, and the estimator that reads them.
    """

    name: str
    weight: float
    sharpness: float
    fits: list[tuple[Representation, np.ndarray, Any]]


@dataclass
class TaskModel:
    """Combination of fitted candidates that predicts a task."""

    task: Task
    decision: Decision
    members: list[Member]

    def scores(self, features: Features) -> np.ndarray:
        """Return amounts (n_sequences, 1), or probabilities (n_sequences, n_classes).

        Parameters
        ----------
        features : callable
            Returns the features of a representation.
        """
        parts = []
        for member in self.members:
            scores = [
                predict_scores(estimator, self.task, features(representation)[:, columns])
                for representation, columns, estimator in member.fits
            ]
            mean = np.mean(scores, axis=0)
            parts.append(member.weight * sharpen(mean, member.sharpness))
        return np.asarray(np.sum(parts, axis=0))

    @property
    def columns(self) -> np.ndarray:
        """Columns of the final representation that are read."""
        return np.unique(np.concatenate([member.fits[0][1] for member in self.members]))

    def candidate_rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of the candidates in the table of the pipeline."""
        evidence = self.decision.held_out
        if evidence is None:
            return []
        rows = []
        for name, losses in evidence.losses.items():
            differences = evidence.losses["generalist"] - losses
            rows.append(
                (
                    self.task.name,
                    name,
                    float(losses.mean()),
                    float(differences.mean()),
                    evidence.error(differences),
                    self.decision.weights.get(name, 0.0),
                    *evidence.costs[name],
                )
            )
        return rows

    def predict(self, features: Features) -> np.ndarray:
        """Return amounts or class labels, shape (n_sequences,)."""
        if len(self.members) == len(self.members[0].fits) == 1:
            ((representation, columns, estimator),) = self.members[0].fits
            return np.asarray(estimator.predict(features(representation)[:, columns]))
        return predict_values(self.task, self.scores(features))


def fit_models(
    data: LabeledSequences,
    representation: Representation,
    decisions: list[Decision],
    folds: list[Fold],
    estimator: Any,
    seed: int,
    reads: Representation | None = None,
) -> list[TaskModel]:
    """Return the model of each task: its candidates fitted to all data, and those of the folds.

    Predictions are averaged over the final fit and the folds, as in bagging, unless one
    candidate has all the weight. Tasks that are added later read one fitted representation,
    ``reads``, whose features are those of all of theirs.
    """
    features = representation.features(data.X)
    models = []
    for i, task in enumerate(data.tasks.tasks):
        candidates = {c.name: c for c in task_candidates(representation, i, task, estimator)}
        decision = available(decisions[i], candidates, representation.missing[i])
        members = []
        bags = [] if data.environments is not None or len(decision.weights) == 1 else folds
        for name, weight in decision.weights.items():
            columns = candidates[name].columns
            fitted = fit_estimator(
                candidates[name].estimator, task, features[:, columns], data.values[i], seed
            )
            fits = [(reads or representation, columns, fitted)]
            for fold in bags:
                if name in fold.fitted[i]:
                    part = fold.fitted[i][name]
                    fits.append((reads or fold.representation, part.columns, part.estimator))
            sharpness = 0.0 if decision.held_out is None else decision.held_out.sharpness[name]
            members.append(Member(name, weight, sharpness, fits))
        models.append(TaskModel(task, decision, members))
    return models


def sharpen(scores: np.ndarray, sharpness: float) -> np.ndarray:
    """Return probabilities at another temperature, and amounts as they are."""
    if scores.shape[1] == 1 or sharpness == 0.0:
        return scores
    return np.asarray(softmax(np.exp(sharpness) * _log(scores), axis=1))


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(probabilities, np.finfo(float).eps)))


def available(
    decision: Decision, candidates: dict[str, Candidate], missing: str | None
) -> Decision:
    """Return the decision with weights of the candidates that the final fit has."""
    weights = decision.weights
    if not weights:
        found = [name for name in candidates if name in ("latents", "steps")]
        weights = {found[0]: 1.0} if found else {}
    kept = {name: weight for name, weight in weights.items() if name in candidates}
    lost = 1.0 - sum(kept.values())
    reason = decision.reason
    if lost > 1e-9:
        kept["generalist"] = kept.get("generalist", 0.0) + lost
        if set(kept) <= set(GENERALISTS):
            absent = " and ".join(sorted(set(weights) - set(kept)))
            reason = missing or f"no {absent} of this task were found in the end"
    return Decision(kept, reason, decision.gain, decision.standard_error, decision.held_out)


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
