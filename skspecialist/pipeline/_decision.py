"""Decision for each task among its candidates, and the models that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .._base.estimator import pinned_settings
from .._data.tasks import Task
from .._stats.model_comparison import (
    log_loss_weights,
    loss_weights,
    predict_values,
    prune_weights,
    squared_error_weights,
)
from ._candidates import Candidate, fit_estimator, predict_scores
from ._comparison import (
    Evidence,
    Fold,
    NewCandidates,
    NewRepresentation,
    add_latents,
    collect_evidence,
    fit_folds,
    is_curved,
    sharpen,
)
from ._heads import shared_computations
from ._representation import Representation, Stage
from ._sequences import LabeledSequences, Split, States, varied_tasks

__all__ = [
    "Decision",
    "TaskModel",
    "best_mixture",
    "choose_candidate",
    "fit_tasks",
    "mix_candidates",
    "restrict_to_final",
]

# A sparser candidate may lose one per cent of the loss that the generalist saves: a tolerance
# that does not grow where few sequences make standard errors large.
TOLERANCE = 0.01
# Weights below are dropped: with a few hundred sequences their standard error is as large.
SMALLEST_WEIGHT = 0.02

# Sequences below which the gain of a combination must be larger: its weights are fitted to the
# same sequences, and the standard error of few is too small. On generated tables of 30 to 55 rows
# the worst loss is half as large, and the mean gain nearly the same.
FEW, FEW_ERRORS = 60, 1.5
# Standard errors by which latents must improve some task in the first fold. One is exceeded by
# chance in one of several tasks, and its weights are fitted to the same sequences.
RACE_ERRORS = 2.0

# Standard errors by which a candidate without weight in the first fold must lose to the best one
# to be left out of the others, which take two thirds of the time; and held-out sequences of this
# fold, of which fewer do not show it: with many folds one may hold out two.
DROP_ERRORS, DROP_SEQUENCES = 3.0, 10

# Reasons against specializing a task, all that there are.
REASONS = {
    "generalist": "strategy='generalist'",
    "constant": "the task has fewer than two values",
    "constant in a fold": "the task has one value only in a training fold",
    "too few": "there are too few sequences to test its steps",
    "no step": "no time step of this task was found",
    "no latent": "no latent of this task was found",
    "unstable": "no feature of this task is stable across environments",
    "all steps": "all steps belong to this task",
    "no weight": "no weight of the combination is on steps or latents of this task",
    "loss": "{name} would add {added:.3g} to the held-out loss of {loss:.3g}, with a standard "
    "error of {error:.3g}",
    "in a part": "in a part of the sequences, {reason}",
    "in the end": "no {names} of this task were found in the end",
}

# From a representation to its features of the sequences that are predicted.
Features = Callable[[Representation], np.ndarray]


@dataclass(frozen=True)
class Decision:
    """Weights of the candidates of a task, and the evidence for them.

    Attributes
    ----------
    weights : dict of {str: float}
        Non-negative weights of sum one.
    reason : str or None
        Reason against specializing, None for specialized tasks.
    gain, standard_error : float
        Mean held-out loss of the generalist minus that of the combination or, if one candidate
        is chosen, of the best that reads no steps minus that of the best specialist; and its
        standard error. NaN without a comparison.
    evidence : Evidence or None
        Held-out scores and losses.
    """

    weights: dict[str, float]
    reason: str | None = None
    gain: float = np.nan
    standard_error: float = np.nan
    evidence: Evidence | None = None

    @property
    def reads_latents(self) -> bool:
        """True if a candidate with weight reads latents."""
        reads = {} if self.evidence is None else self.evidence.reads
        return any(reads.get(name) == "latents" for name in self.weights)


def fit_tasks(
    data: LabeledSequences,
    new_representation: NewRepresentation,
    stage: Stage,
    seeds: np.ndarray,
    *,
    strategy: str,
    loss: Any,
    splits: list[Split],
    new_candidates: NewCandidates,
    encode: bool | None,
    reads: Representation | None = None,
) -> tuple[Representation, list[TaskModel]]:
    """Return the representation and the models of the tasks, fitted to all sequences.

    Parameters
    ----------
    data : LabeledSequences
        All sequences.
    new_representation : callable
        Returns unfitted parts.
    stage : callable
        Opens a stage of the fit.
    seeds : ndarray of int of shape (2,)
        Seeds of the comparison and of the final fit.
    strategy, loss : object
        Parameters of :class:`SpecialistPipeline`.
    splits : list of Split
        Splits of the comparison, empty without one.
    new_candidates : callable
        Returns the candidates of a task.
    encode : bool or None
        Whether the encoder of the comparison is trained; None is if some task is curved.
    reads : Representation or None, default=None
        Fitted representation that tasks added later read in place of their own.
    """
    states, stacks = States(data.X), strategy == "stack"
    folds: list[Fold] = []
    decisions = [Decision({"generalist": 1.0}, REASONS["generalist"])] * len(data.tasks)
    if splits:
        varied = [varied_tasks(data.take(split.estimators)) for split in splits]
        compared = np.flatnonzero(np.all(varied, axis=0)).tolist()
        collect = partial(collect_evidence, data=data, compared=compared, loss=loss)
        drop = partial(_drop_hopeless, collect, loss) if stacks else None
        fits: Any = {"stage": stage, "new_candidates": new_candidates, "seed": seeds[0]}
        given = data, states, splits, new_representation
        folds = fit_folds(*given, drop=drop, encode=bool(encode), **fits)
        found = _compare(folds, stacks, loss, encode, collect, drop, partial(add_latents, **fits))
        unknown = Decision({"null": 1.0}, REASONS["constant in a fold"])
        decisions = [found.get(i, unknown) for i in range(len(data.tasks))]
    representation = new_representation(seeds[1])
    data = representation.fit(data, states, stage)
    # Tasks that are added learn their row of the mask, whatever predicts them.
    train = strategy == "specialist" or reads is not None
    train |= any(decision.reads_latents for decision in decisions)
    representation.fit_encoder(data, stage, train, folds)
    if strategy == "specialist":
        decisions = [first_specialist(columns) for columns in representation.columns]
    for i, (task, decision) in enumerate(zip(data.tasks.tasks, decisions, strict=True)):
        reason = missing_reason(folds[-1].representation, i) if folds else None
        if task.is_constant:
            decisions[i] = Decision({"null": 1.0}, REASONS["constant"])
        elif reason and decision.reason == reason != missing_reason(representation, i):
            decisions[i] = replace(decision, reason=REASONS["in a part"].format(reason=reason))
    with stage("estimators"), shared_computations():
        # One candidate that was chosen has one fit; combinations are averaged over the folds.
        bags = folds if strategy == "stack" and data.environments is None else []
        models = _fit_models(data, representation, decisions, bags, new_candidates, seeds[1], reads)
    return representation, models


def _drop_hopeless(collect: Any, loss: Any, fold: Fold) -> None:
    """Drop candidates without weight that lose to the best one by several standard errors."""
    for i, task in collect([fold]).items():
        best = min(task.losses.values(), key=lambda losses: losses.mean())
        # The generalist and the null model are what the others are compared with.
        for name in set(task.losses) - {"generalist", "null", *best_mixture(loss, task)[0]}:
            worse = task.losses[name] - best
            if worse.mean() > DROP_ERRORS * task.error(worse) and len(worse) >= DROP_SEQUENCES:
                fold.dropped[i].add(name)


def _compare(
    folds: list[Fold], stacks: bool, loss: Any, encode: Any, collect: Any, drop: Any, add: Any
) -> dict[int, Decision]:
    """Return the decisions on the tasks that are compared, by held-out losses of candidates."""
    evidence = collect(folds)
    if encode is False:
        add(folds, train=False)
    elif encode is None and _race(folds, evidence, loss, collect, drop, add):
        evidence = collect(folds)
    decide = partial(mix_candidates, loss) if stacks else choose_candidate
    last = folds[-1].representation
    return {i: decide(task, missing_reason(last, i)) for i, task in evidence.items()}


def _race(folds: list[Fold], evidence: Any, loss: Any, collect: Any, drop: Any, add: Any) -> bool:
    """Train the encoder where it can help, and return whether it did.

    It takes most of the time of a fit, and can only add where a task is curved. Of a combination
    the first fold decides on the others.
    """
    train = any(is_curved(task) for task in evidence.values())
    add(folds[:1], train=train)
    if train and drop and len(folds) > 1:
        train = any(latents_improve(task, loss) for task in collect(folds[:1]).values())
        if train:
            drop(folds[0])
        else:
            folds[0].drop_latents()
    add(folds, train=train, first=1)
    return train


def missing_reason(representation: Representation, index: int) -> str | None:
    """Return the reason why a task has neither steps nor latents, None if it has some."""
    if representation.columns[index]:
        return None
    if representation.has_too_few:
        return REASONS["too few"]
    if not representation.steps[:, index].any():
        return REASONS["no step"]
    used = representation.used_latents[index]
    if len(used) and not used.any():
        return REASONS["no latent"]
    return REASONS["unstable" if representation.selects_stable else "all steps"]


def first_specialist(columns: dict[str, np.ndarray]) -> Decision:
    """Return the latents of a task or, without any, its steps or the generalist."""
    name = next((name for name in ("latents", "steps") if name in columns), "generalist")
    return Decision({name: 1.0})


def choose_candidate(evidence: Evidence, missing: str | None) -> Decision:
    """Return the best specialist unless it loses to the best other candidate.

    It may lose one standard error of the difference, and ``TOLERANCE`` of the loss that the
    other candidate saves compared with the null model: the sparser candidate is chosen by the
    one-standard-error rule [1]_, bounded where few sequences make the standard error large.

    Parameters
    ----------
    evidence : Evidence
        Losses of the candidates.
    missing : str or None
        Reason why the last fold found no specialist, if there is none in any.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression
       Trees", Wadsworth, 1984, section 3.4.3.
    """
    means = {name: losses.mean() for name, losses in evidence.losses.items()}
    specialists = [name for name in means if name in evidence.specialists]
    reference = min((name for name in means if name not in specialists), key=means.__getitem__)
    if not specialists:
        return Decision({reference: 1.0}, missing, evidence=evidence)
    best = min(specialists, key=means.__getitem__)
    differences = evidence.losses[reference] - evidence.losses[best]
    gain, error = float(differences.mean()), evidence.error(differences)
    saved = max(0.0, means["null"] - means[reference])
    # A NaN of the standard error, of a single group, specializes nothing.
    if gain >= -min(error, TOLERANCE * saved):
        return Decision({best: 1.0}, None, gain, error, evidence)
    reason = REASONS["loss"].format(name=best, added=-gain, loss=means[reference], error=error)
    return Decision({reference: 1.0}, reason, gain, error, evidence)


def mix_candidates(loss: Any, evidence: Evidence, missing: str | None = None) -> Decision:
    """Return the convex combination of least held-out loss (stacking), shrunk to the generalist.

    Its weights are fitted to the held-out sequences, and their gain there is uncertain: a gain g
    of standard error s is shrunk by the factor 1 - s**2 / g**2, or to zero (positive-part
    James-Stein [1]_), by a weight of the generalist. Where the gain is within its standard error
    (below 60 sequences, one and a half), the generalist alone predicts.

    Parameters
    ----------
    loss : str or callable
        Parameter of :class:`SpecialistPipeline`.
    evidence : Evidence
        Scores of the candidates.
    missing : str or None, default=None
        Reason why the last fold found no specialist, if there is none in any.

    References
    ----------
    .. [1] W. James and C. Stein, "Estimation with quadratic loss", Berkeley Symposium on
       Mathematical Statistics and Probability, 1961.
    """
    weights, mixed = best_mixture(loss, evidence)
    gain, error = _gain(loss, evidence, mixed)
    if len(mixed) < FEW:
        error *= FEW_ERRORS
    # The standard error of a single group is NaN: then the generalist alone predicts, too.
    kept = 1 - (error / gain) ** 2 if gain > error else 0.0
    if 1 - kept >= SMALLEST_WEIGHT:
        shrunk = {name: kept * weight for name, weight in weights.items()}
        shrunk["generalist"] = shrunk.get("generalist", 0.0) + 1 - kept
        pruned = prune_weights(np.array(list(shrunk.values())), SMALLEST_WEIGHT)
        weights = {n: float(w) for n, w in zip(shrunk, pruned, strict=True) if w > 0}
        mixed = np.sum([w * evidence.scores[name] for name, w in weights.items()], axis=0)
        gain, error = _gain(loss, evidence, mixed)
    reason = None
    if not evidence.specialists:
        reason = missing
    elif not evidence.specialists & set(weights):
        reason = REASONS["no weight"]
    return Decision(weights, reason, gain, error, evidence)


def _gain(loss: Any, evidence: Evidence, mixed: np.ndarray) -> tuple[float, float]:
    """Return the mean gain over the generalist of a combination, and its standard error."""
    differences = evidence.losses["generalist"] - evidence.sample_losses(loss, mixed)
    return float(differences.mean()), evidence.error(differences)


def latents_improve(evidence: Evidence, loss: Any) -> bool:
    """Return whether latents lower the loss of the combination by several standard errors."""
    names = [name for name in evidence.scores if evidence.reads[name] != "latents"]
    cheap = replace(evidence, scores={name: evidence.scores[name] for name in names})
    without, with_latents = (
        evidence.sample_losses(loss, best_mixture(loss, candidates)[1])
        for candidates in (cheap, evidence)
    )
    differences = without - with_latents
    return bool(differences.mean() > RACE_ERRORS * evidence.error(differences))


def best_mixture(loss: Any, evidence: Evidence) -> tuple[dict[str, float], np.ndarray]:
    """Return the weights of the candidates that have some, and the scores of the combination."""
    names = list(evidence.scores)
    scores = np.stack([evidence.scores[name] for name in names], axis=1)
    truth = evidence.truth
    if scores.shape[2] > 1 and not callable(loss):
        weights = log_loss_weights(
            scores, evidence.task.encode(truth).astype(int), evidence.weights
        )
    elif loss == "auto":
        weights = squared_error_weights(scores[:, :, 0], truth.astype(float), evidence.weights)
    else:
        weights = loss_weights(lambda mixed: evidence.sample_losses(loss, mixed).mean(), scores)
    weights = prune_weights(weights, SMALLEST_WEIGHT)
    chosen = {name: float(w) for name, w in zip(names, weights, strict=True) if w > 0}
    return chosen, np.einsum("k,nkc->nc", weights, scores)


@dataclass
class Member:
    """Candidate in the model of a task: its weight, and its fits.

    ``fits`` are triples of a representation, its columns, and the estimator that reads them.
    """

    name: str
    weight: float
    sharpness: float
    fits: list[tuple[Representation, np.ndarray, Any]]
    is_pooled: bool


@dataclass
class TaskModel:
    """Combination of fitted candidates that predicts a task."""

    task: Task
    decision: Decision
    members: list[Member]

    @pinned_settings()
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
        """Return the rows of the candidates in the table of the pipeline, without the task."""
        evidence = self.decision.evidence
        if evidence is None:
            return []
        rows, absent = [], np.full(1, np.nan)
        for name in evidence.costs:
            losses = evidence.losses.get(name, absent)
            differences = evidence.losses["generalist"] - losses
            rows.append(
                (
                    name,
                    float(losses.mean()),
                    float(differences.mean()),
                    evidence.error(differences),
                    self.decision.weights.get(name, 0.0),
                    *evidence.costs[name],
                )
            )
        return rows

    @pinned_settings()
    def predict(self, features: Features) -> np.ndarray:
        """Return amounts or class labels, shape (n_sequences,)."""
        if len(self.members) == len(self.members[0].fits) == 1:
            ((representation, columns, estimator),) = self.members[0].fits
            return np.asarray(estimator.predict(features(representation)[:, columns]))
        return predict_values(self.task, self.scores(features))


def _fit_models(
    data: LabeledSequences,
    representation: Representation,
    decisions: list[Decision],
    folds: list[Fold],
    new_candidates: NewCandidates,
    seed: int,
    reads: Representation | None = None,
) -> list[TaskModel]:
    """Return the model of each task: its candidates fitted to all data, and those of the folds.

    Predictions are averaged over the final fit and the folds, as in bagging, unless the
    generalist or the null model has all the weight. Tasks that are added later read one fitted
    representation, ``reads``, whose features are those of all of theirs.
    """
    features = representation.features(data.X)
    models = []
    for i, task in enumerate(data.tasks.tasks):
        candidates = {c.name: c for c in new_candidates(representation, i, task)}
        missing = missing_reason(representation, i)
        decision = restrict_to_final(decisions[i], candidates, missing)
        members = []
        bags = [] if list(decision.weights) in (["generalist"], ["null"]) else folds
        for name, weight in decision.weights.items():
            columns, rows = candidates[name].columns, data.known[i]
            read, values = features[:, columns], data.values[i]
            if len(rows) < len(read):
                read, values = read[rows], values[rows]
            weights = data.weights_of(i, rows)
            fitted = fit_estimator(candidates[name].estimator, task, read, values, seed, weights)
            fits = [(reads or representation, columns, fitted)]
            for fold in bags:
                if name in fold.fitted[i]:
                    part = fold.fitted[i][name]
                    fits.append(
                        (reads or fold.representation, part.candidate.columns, part.estimator)
                    )
            sharpness = 0.0 if decision.evidence is None else decision.evidence.sharpness[name]
            is_pooled = candidates[name].is_pooled
            members.append(Member(name, weight, sharpness, fits, is_pooled))
        models.append(TaskModel(task, decision, members))
    return models


def restrict_to_final(
    decision: Decision, candidates: dict[str, Candidate], missing: str | None
) -> Decision:
    """Return the decision on the candidates that the final fit has; the generalist for others."""
    weights = decision.weights
    kept = {name: weight for name, weight in weights.items() if name in candidates}
    lost = 1.0 - sum(kept.values())
    if lost > 1e-9:
        kept["generalist"] = kept.get("generalist", 0.0) + lost
    reason = decision.reason
    if reason is None and all(candidates[name].reads == "generalist" for name in kept):
        absent = " and ".join(sorted(set(weights) - set(kept)))
        lost_in_the_end = REASONS["in the end"].format(names=absent)
        reason = missing or (lost_in_the_end if absent else REASONS["all steps"])
    return Decision(kept, reason, decision.gain, decision.standard_error, decision.evidence)
