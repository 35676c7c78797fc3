"""Gates, which estimate the domain of a sample, and sums of specialists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf
from sklearn.utils import get_tags

from .._data.tasks import Task
from .._data.validation import split_indices
from .._stats.smoothing import whitening
from ._candidates import fit_estimator, predict_scores
from ._comparison import Evidence
from ._decision import mix_candidates
from ._heads import column_head
from ._sequences import LabeledSequences, stratified_folds

__all__ = [
    "Gate",
    "conformal_cut",
    "decide_share",
    "fit_each_task",
    "gate_features",
    "held_out_splits",
    "mix_parts",
]

# Iterations of the balancing, which converges linearly.
N_BALANCING = 200


@dataclass(frozen=True)
class Gate:
    """Domain of a sample by its features: prototypes in whitened features, or a classifier."""

    kind: str
    top_k: int | None
    balance: float
    whitener: np.ndarray
    means: np.ndarray
    counts: np.ndarray
    features: np.ndarray  # of the training samples, which gates that are fitted again keep
    codes: np.ndarray
    classifier: Any = None
    bias: Any = 0.0
    cuts: Any = ()

    @classmethod
    def fit(cls, features: np.ndarray, codes: np.ndarray, n_domains: int, **settings: Any) -> Gate:
        """Return a gate of domains that are given by their codes."""
        counts = np.bincount(codes, minlength=n_domains)
        sums = np.zeros((n_domains, features.shape[1]))
        np.add.at(sums, codes, features)
        # The mean of a domain without a sample is never the nearest one: it has no prior.
        means = sums / np.maximum(counts, 1)[:, None]
        residuals = features - means[codes]
        scales = np.where(residuals.std(axis=0) > 0, residuals.std(axis=0), 1.0)
        covariance = ledoit_wolf(residuals / scales, assume_centered=True)[0]
        whitener = whitening(covariance) / scales[:, None]
        gate = cls(
            whitener=whitener,
            means=means @ whitener,
            counts=counts,
            features=features,
            codes=codes,
            **settings,
        )
        return gate._finished()

    def extended(self, features: np.ndarray) -> Gate:
        """Return a gate with one more domain; prototypes and distances of the others stay."""
        gate = replace(
            self,
            means=np.vstack([self.means, features.mean(axis=0) @ self.whitener]),
            counts=np.append(self.counts, len(features)),
            features=np.vstack([self.features, features]),
            codes=np.append(self.codes, np.full(len(features), len(self.counts))),
            bias=0.0,
        )
        return gate._finished()

    def __len__(self) -> int:
        return len(self.counts)

    def _finished(self) -> Gate:
        """Return the gate with classifier and biases, and without features not needed again."""
        gate = self
        if self.kind == "learned" and (self.counts > 0).sum() > 1:
            gate = replace(gate, classifier=column_head(True).fit(self.features, self.codes))
        if self.balance:
            logits, bias = gate._logits(self.features), np.zeros(len(self))
            load = softmax(logits, axis=1).mean(axis=0)
            target = (1 - self.balance) * load + self.balance / len(self)
            # Mirror descent with the entropy as potential [3]: the dual variable is the bias.
            for _ in range(N_BALANCING):
                load = softmax(logits + bias, axis=1).mean(axis=0)
                bias += np.log(target / np.maximum(load, np.finfo(float).tiny))
            gate = replace(gate, bias=bias - bias.mean())
        elif self.kind != "learned":
            gate = replace(gate, features=self.features[:0], codes=self.codes[:0])
        return gate

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return squared Mahalanobis distances from the prototypes, (n_samples, n_domains)."""
        white = features @ self.whitener
        return np.stack([((white - mean) ** 2).sum(axis=1) for mean in self.means], axis=1)

    def weights(self, features: np.ndarray) -> np.ndarray:
        """Return the weights of the specialists, (n_samples, n_domains), of sum one."""
        weights = softmax(self._logits(features) + self.bias, axis=1)
        if self.top_k is not None and self.top_k < len(self):
            # Ties, as of the uniform gate, are broken by the order of the specialists.
            order = np.argsort(-weights, axis=1, kind="stable")
            np.put_along_axis(weights, order[:, self.top_k :], 0.0, axis=1)
            weights /= weights.sum(axis=1, keepdims=True)
        return weights

    def _logits(self, features: np.ndarray) -> np.ndarray:
        if self.kind == "prototype":
            with np.errstate(divide="ignore"):  # a domain without a sample
                return np.log(self.counts) - self.distances(features) / 2
        logits = np.zeros((len(features), len(self)))
        if self.kind == "learned":
            logits[:, self.counts == 0] = -np.inf
            if self.classifier is not None:
                found = self.classifier.predict_proba(features)
                logits[:, self.classifier.classes_] = np.log(np.maximum(found, 1e-300))
        return logits


def held_out_splits(cv: Any, data: LabeledSequences, seed: int) -> Any:
    """Return training and test rows, each with a share of all domains and labels."""
    if not isinstance(cv, Integral):
        return split_indices(cv, data.X, data.y, data.groups)
    domains = np.zeros(len(data)) if data.environments is None else data.environments
    labels = [domains, *data.class_codes()]
    return stratified_folds(int(cv), labels, data.groups, np.random.RandomState(seed))


def gate_features(X: np.ndarray) -> np.ndarray:
    """Return the features that gates read: of sequences the mean over the steps."""
    return (X if X.ndim == 2 else X.mean(axis=1)).astype(np.float64)


def conformal_cut(distances: np.ndarray, alpha: float) -> float:
    """Return the distance from a domain beyond which the conformal p-value is at most alpha.

    The p-value is (1 + the number of held-out distances at least as large) / (n + 1). Hence it
    is at most m / (n + 1) beyond the m-th largest distance, and never below m = 1.
    """
    distances = np.sort(distances[~np.isnan(distances)])
    if not alpha or not len(distances):
        return np.inf
    n_larger = int(alpha * (len(distances) + 1) + 1e-9)  # 0.05 * 60 is less than 3 by rounding
    return float(distances[-max(1, n_larger)])


def _columns(estimator: Any, X: np.ndarray) -> np.ndarray:
    """Return the input of an estimator: sequences, or their steps as columns."""
    takes = X.ndim == 2 or get_tags(estimator).input_tags.three_d_array
    return X if takes else X.reshape(len(X), -1)


def fit_each_task(estimator: Any, data: LabeledSequences, seed: int) -> list[Any]:
    """Return one fitted clone of an estimator per task."""
    X = _columns(estimator, data.X)
    return [
        fit_estimator(estimator, task, X[rows], values[rows], seed)
        for task, values, rows in zip(data.tasks.tasks, data.values, data.known, strict=True)
    ]


def mix_parts(
    parts: list[list[Any]], weights: np.ndarray, index: int, task: Task, X: np.ndarray
) -> np.ndarray:
    """Return the weighted sum of the scores of a task, of parts that have weight only."""
    scores = np.zeros((len(X), max(1, task.n_classes)))
    for part, weight in zip(parts, weights.T, strict=True):
        rows = np.flatnonzero(weight)
        if len(rows):
            own = predict_scores(part[index], task, _columns(part[index], X[rows]))
            scores[rows] += weight[rows, None] * own
    return scores


def decide_share(
    data: LabeledSequences, index: int, seen: np.ndarray, scores: np.ndarray
) -> tuple[float, float, float, str]:
    """Return the weight of routing in a task, its gain with standard error, and the reason.

    ``scores`` are those of the pooled model and of routing, for samples that were ``seen``.
    """
    task, rows = data.tasks.tasks[index], data.known[index]
    rows = rows[seen[rows]]
    if task.is_constant or not len(rows):
        return 0.0, np.nan, np.nan, f"task {task.name!r} has no two values that can be compared"
    groups = None if data.groups is None else data.groups[rows]
    both = {"generalist": scores[0, rows], "routed": scores[1, rows]}
    evidence = Evidence(task, data.values[index][rows], both, {}, {}, groups)
    evidence.losses = {name: evidence.sample_losses("auto", s) for name, s in both.items()}
    decision = mix_candidates("auto", evidence)
    # One model is kept unless the combination is better by two standard errors (95 %).
    improves = decision.gain > 2 * decision.standard_error
    share = decision.weights.get("routed", 0.0) if improves else 0.0
    losses = {name: values.mean() for name, values in evidence.losses.items()}
    start = f"routing has weight {share:.2f}" if share else "the pooled model is used"
    return (
        share,
        decision.gain,
        decision.standard_error,
        f"{start}: held-out loss {losses['routed']:.3g} of routing, {losses['generalist']:.3g} of "
        f"the pooled model; the combination gains {decision.gain:.2g} (standard error "
        f"{decision.standard_error:.2g})",
    )
