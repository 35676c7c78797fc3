"""Changes of later batches of sequences, and updates of the estimators to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control
from scipy.stats import t as student
from sklearn.utils import check_random_state

from .._base.estimator import all_or_nothing
from .._base.sklearn_compat import Interval, validate_params
from .._data.validation import is_missing
from .._data.weights import validate_sample_weight
from .._stats.pvalues import cauchy_combination
from ._candidates import fit_estimator, pinball_quantile
from ._comparison import Evidence
from ._decision import Features, TaskModel, best_mixture
from ._heads import shared_computations
from ._report import ReportMixin
from ._representation import Representation, features_of
from ._sequences import LabeledSequences, Split, split_sequences

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DriftMonitor", "DriftReport", "MonitorMixin"]

# Fewer sequences have no useful standard error.
SMALLEST_BATCH = 8


@dataclass
class DriftReport:
    """Changes in one batch of sequences, as text, as a table and in notebooks.

    Attributes
    ----------
    rows : list of dict
        One entry per test: ``kind`` ("inputs" or "relation"), ``task`` (None for inputs),
        ``part`` ("step3", "latent0", or "residuals" for their mean and spread), ``pvalue``,
        ``adjusted`` (by Benjamini and Hochberg, over the tests of the batch) and ``moved``.
    level : float
        Probability of any false alarm in this batch.
    alarm : bool
        Whether anything moved.
    """

    rows: list[dict[str, Any]]
    level: float
    alarm: bool

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per test. Needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def __str__(self) -> str:
        moved = [row for row in self.rows if row["moved"]]
        if not moved:
            return f"No change at level {self.level:.2g}, in {len(self.rows)} tests."
        lines = [f"{len(moved)} of {len(self.rows)} tests show a change at level {self.level:.2g}:"]
        for row in sorted(moved, key=lambda row: row["pvalue"]):
            subject = "inputs" if row["task"] is None else f"relation of {row['task']!r}"
            lines.append(f"{subject}, {row['part']} (adjusted p = {row['adjusted']:.2g})")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre class='skspecialist-report'>{escape(str(self))}</pre>"


class DriftMonitor:
    """Tests of batches against sequences from before, made by ``monitor`` of a pipeline.

    The columns of each step of the generalist, and the latents that tasks use, are compared in
    their ranks among the reference: location and spread [1]_, by Welch's test, so that an outlier
    counts as the largest value. With tasks, the residuals of the predictions are compared, and
    their products with these ranks, the scores of a regression of the residuals [2]_: where they
    differ, the task depends on the part otherwise than before. One further column per part is the
    direction that predictions follow, with the weight of all others. The variance of each product
    is that of the samples, so that no noise model is assumed. The p-values of the columns of a
    part, which depend on each other, are combined by Cauchy's distribution.

    A batch raises an alarm if a p-value adjusted by Benjamini and Hochberg is at most its level:
    with nothing changed, the probability is ``alpha``. With ``anytime`` the k-th
    batch has the level :math:`\\alpha / (k (k + 1))`, so that the probability of any false alarm,
    in however many batches, is at most ``alpha`` (spending of the level [3]_).

    Sequences are assumed to be independent, and those of the reference must not be those of the
    fit, whose residuals are too small. A predictor that is wrong somewhere has other residuals
    where more sequences fall into that region: a shift of the inputs then moves relations too.

    Attributes
    ----------
    n_batches : int
        Number of batches tested.

    References
    ----------
    .. [1] A. R. Ansari and R. A. Bradley, "Rank-sum tests for dispersions", Annals of
       Mathematical Statistics 31, 1960.
    .. [2] J. M. Wooldridge, "On the application of robust, regression-based diagnostics to models
       of conditional means and conditional variances", Journal of Econometrics 47, 1991.
    .. [3] K. K. G. Lan and D. L. DeMets, "Discrete sequential boundaries for clinical trials",
       Biometrika 70, 1983.
    """

    def __init__(self, pipeline: Any, X: Any, y: Any, alpha: float, anytime: bool) -> None:
        self._pipeline, self._alpha, self._anytime = pipeline, alpha, anytime
        self.n_batches = 0
        columns, features = self._columns(X)
        self._parts = _parts_of(pipeline._representation)
        self._sorted = np.sort(columns, axis=0)
        scores = self._scores(columns)
        self._inputs = _location_and_spread(scores)
        self._residuals: list[np.ndarray] = []
        self._relations: list[tuple[_Sample, _Sample]] = []
        self._sizes: list[np.ndarray] = []
        self._directions: list[np.ndarray] = []
        if y is not None:
            for known, found, predicted in self._residuals_of(features, X, y):
                if len(known) < SMALLEST_BATCH:
                    raise ValueError(
                        f"The reference has {len(known)} values of task "
                        f"{pipeline.tasks_.names[len(self._sizes)]!r}: at least {SMALLEST_BATCH} "
                        "are needed."
                    )
                self._sizes.append(np.sort(np.abs(found), axis=0))
                ranks = scores[known]
                self._directions.append(_directions(predicted, ranks, self._parts))
                given = self._sizes[-1], self._directions[-1]
                self._relations.append(_relation(found, ranks, *given))

    def test(self, X: ArrayLike, y: Any = None) -> DriftReport:
        """Test a batch.

        Parameters
        ----------
        X : array-like
            At least 8 sequences, as in ``fit`` of the pipeline.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Values of the tasks; None tests the inputs alone. Some may be missing.

        Returns
        -------
        report : DriftReport
            Prints as text; ``report.to_frame()`` is a table with one row per test.

        Raises
        ------
        ValueError
            If the batch is too small, or ``y`` is given and the reference had none.
        """
        if y is not None and not self._relations:
            raise ValueError("y needs a reference with tasks: use monitor(X, y) of the pipeline.")
        columns, features = self._columns(X)
        scores = self._scores(columns)
        pvalues = self._inputs.compare(_location_and_spread(scores))
        rows = [
            _row("inputs", None, name, pvalues[:, places]) for name, places in self._parts.items()
        ]
        if y is not None:
            found = self._residuals_of(features, X, y)
            for k, (known, residuals, _) in enumerate(found):
                if len(known) >= SMALLEST_BATCH:
                    rows += self._relation_rows(k, residuals, scores[known])
        self.n_batches += 1
        spent = self.n_batches * (self.n_batches + 1) if self._anytime else 1
        level = self._alpha / spent
        adjusted = false_discovery_control([row["pvalue"] for row in rows])
        for row, value in zip(rows, adjusted, strict=True):
            row |= {"adjusted": float(value), "moved": bool(value <= level)}
        return DriftReport(rows, level, bool(adjusted.min() <= level))

    def _relation_rows(
        self, k: int, residuals: np.ndarray, scores: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """Yield the tests of the relation of one task to the parts."""
        spread, products = (
            reference.compare(batch)
            for reference, batch in zip(
                self._relations[k],
                _relation(residuals, scores, self._sizes[k], self._directions[k]),
                strict=True,
            )
        )
        task = self._pipeline.tasks_.tasks[k].name
        yield _row("relation", task, "residuals", spread)
        used = self._pipeline._representation.mask[k] > 0 if self._uses_latents else []
        n_columns = len(self._sorted.T)
        for i, (name, places) in enumerate(self._parts.items()):
            if name.startswith("step") or used[int(name.removeprefix("latent"))]:
                own = products[:, places], products[:, [n_columns + i]]
                yield _row("relation", task, name, np.array([_combined(part) for part in own]))

    @property
    def _uses_latents(self) -> bool:
        return self._pipeline._representation.encoder_ is not None

    def _columns(self, X: Any) -> tuple[np.ndarray, Any]:
        """Return the features of sequences, missing ones as the reference's medians."""
        sequences = self._pipeline._validate(X)
        if len(sequences) < SMALLEST_BATCH:
            raise ValueError(
                f"monitor needs batches of at least {SMALLEST_BATCH} sequences, got "
                f"{len(sequences)}: join several."
            )
        features = features_of(sequences)
        return features(self._pipeline._representation), features

    def _scores(self, columns: np.ndarray) -> np.ndarray:
        """Return ranks of each column among the reference, from -1 to 1."""
        pairs = zip(self._sorted.T, columns.T, strict=True)
        return np.stack([_ranks(reference, values) for reference, values in pairs], axis=1)

    def _residuals_of(
        self, features: Any, X: Any, y: Any
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return the sequences of which each task is known, residuals and predictions there."""
        found = []
        columns = self._pipeline.tasks_.split(y, like=X)
        for model, values in zip(self._pipeline._models, columns, strict=True):
            known = np.flatnonzero(~is_missing(values))
            predicted = model.scores(features)[known]
            if model.task.is_classification:
                truth = values[known][:, None] == model.task.classes
                # Indicators of two classes are each other's complement.
                first = 1 if predicted.shape[1] == 2 else 0
                predicted = predicted[:, first:]
                residuals = truth[:, first:] - predicted
            else:
                residuals = np.asarray(values[known], dtype=float)[:, None] - predicted
            found.append((known, residuals, predicted))
        return found


@dataclass
class _Sample:
    """Means of columns and their variances, shape (...) each."""

    mean: np.ndarray
    variance: np.ndarray
    n: int

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        return cls(values.mean(axis=0), values.var(axis=0, ddof=1), len(values))

    def compare(self, batch: _Sample) -> np.ndarray:
        """Return two-sided p-values of Welch's test, 1 where nothing varies.

        The variance of the batch is at least that of the reference: few values may be close to
        each other by chance.
        """
        own, others = self.variance / self.n, np.maximum(self.variance, batch.variance) / batch.n
        varied = own + others > 0
        total = np.where(varied, own + others, 1.0)
        estimated_from = np.where(batch.variance > self.variance, batch.n, self.n)
        squares = own**2 / (self.n - 1) + others**2 / (estimated_from - 1)
        freedom = total**2 / np.where(varied, squares, 1.0)
        statistic = np.abs(self.mean - batch.mean) / np.sqrt(total)
        return np.where(varied, 2 * student.sf(statistic, freedom), 1.0)


def _ranks(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return ranks among the sorted reference, ties in the middle, from -1 to 1."""
    ranks = np.searchsorted(reference, values) + np.searchsorted(reference, values, side="right")
    return ranks / len(reference) - 1


def _location_and_spread(ranks: np.ndarray) -> _Sample:
    """Return ranks (Wilcoxon) and their absolute values (Ansari and Bradley)."""
    return _Sample.of(np.stack([ranks, np.abs(ranks)], axis=1))


def _directions(
    predicted: np.ndarray, ranks: np.ndarray, parts: dict[str, np.ndarray]
) -> np.ndarray:
    """Return the direction of each part that predictions follow, (n_outputs, n_columns, n_parts).

    A relation that weakens, grows or turns round does so along it. It is a ridge regression on
    the reference, with one observation per column as the prior.
    """
    found = np.zeros((predicted.shape[1], ranks.shape[1], len(parts)))
    centered = predicted - predicted.mean(axis=0)
    for i, places in enumerate(parts.values()):
        own = ranks[:, places]
        gram = own.T @ own + len(places) * np.eye(len(places))
        found[:, places, i] = np.linalg.solve(gram, own.T @ centered).T
    return found


def _relation(
    residuals: np.ndarray, ranks: np.ndarray, sizes: np.ndarray, directions: np.ndarray
) -> tuple[_Sample, _Sample]:
    """Return residuals with ranks of their sizes, and their products with the columns."""
    pairs = zip(sizes.T, np.abs(residuals).T, strict=True)
    spread = np.stack([_ranks(reference, values) for reference, values in pairs], axis=1)
    # As in the ranks, no residual is larger than those of the reference.
    residuals = residuals.clip(-sizes[-1], sizes[-1])
    products = [
        _Sample.of(column[:, None] * np.hstack([ranks, ranks @ along]))
        for column, along in zip(residuals.T, directions, strict=True)
    ]
    means, variances = ([getattr(p, name) for p in products] for name in ("mean", "variance"))
    joined = _Sample(np.array(means), np.array(variances), len(residuals))
    return _Sample.of(np.stack([residuals, spread], axis=1)), joined


def _combined(pvalues: np.ndarray) -> float:
    return float(cauchy_combination(pvalues.ravel()[:, None])[0])


def _row(kind: str, task: str | None, part: str, pvalues: np.ndarray) -> dict[str, Any]:
    return {"kind": kind, "task": task, "part": part, "pvalue": _combined(pvalues)}


def _parts_of(fitted: Representation) -> dict[str, np.ndarray]:
    """Return the columns of each step, and of each latent that a task uses."""
    n_timesteps, n_tasks = fitted.steps.shape
    places = np.arange(fitted.n_generalist).reshape(n_timesteps, -1)
    parts = {f"step{t}": own for t, own in enumerate(places)}
    if fitted.encoder_ is not None:
        n_latents = fitted.mask.shape[1]
        # Latents by step or, where the steps differ between sequences, as means by task.
        users = fitted.steps if fitted.aligned else np.eye(n_tasks, dtype=bool)
        stop = len(fitted.feature_names())
        places = np.arange(stop - len(users) * n_latents, stop).reshape(len(users), n_latents)
        used = users.astype(int) @ (fitted.mask > 0) > 0
        for j in np.flatnonzero(used.any(axis=0)):
            parts[f"latent{j}"] = places[used[:, j], j]
    return parts


class MonitorMixin(ReportMixin):
    """Reports, explanations, monitors and updates of a fitted pipeline."""

    if TYPE_CHECKING:
        _models: list[TaskModel]
        _representation: Representation
        _validate: Any
        _set_models: Any
        cv: Any
        loss: Any
        random_state: Any
        tasks_: Any

    @validate_params(
        {
            "X": "no_validation",
            "y": "no_validation",
            "alpha": [Interval(Real, 0, 1, closed="neither")],
            "anytime": ["boolean"],
        },
        prefer_skip_nested_validation=True,
    )
    def monitor(
        self, X: ArrayLike, y: Any = None, *, alpha: float = 0.05, anytime: bool = False
    ) -> DriftMonitor:
        """Return a monitor that tests later batches against held-out sequences.

        Parameters
        ----------
        X : array-like
            Reference: sequences of the time before, at least 8 that the pipeline was not fitted
            to, and better as many as two batches.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Their tasks, for tests of the relations between parts and tasks.
        alpha : float, default=0.05
            Probability of a false alarm in a batch.
        anytime : bool, default=False
            Whether it is that of a false alarm in any batch, however many are tested.

        Returns
        -------
        monitor : DriftMonitor
            ``monitor.test(X, y)`` returns the report of a batch.
        """
        return DriftMonitor(self, X, y, alpha, anytime)

    @all_or_nothing
    def update(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> Self:
        """Fit the estimators to new sequences, and mix them with the present ones.

        Generalist, structure, encoder and the columns of each candidate are kept. The estimators
        of the candidates with weight are fitted to the new sequences alone, on the final
        representation. Their weight beside the present model is that of the
        combination of least loss on held-out parts of the new sequences, and zero if it gains
        less than one standard error, as where nothing has changed.

        Parameters
        ----------
        X : array-like
            New sequences, as in :meth:`fit`.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Their tasks. Class labels must be among those of :meth:`fit`.
        groups, sample_weight : array-like of shape (n_sequences,), default=None
            As in :meth:`fit`.

        Returns
        -------
        self : object
            Pipeline with ``update_weights_``, the weight of the new estimators in each task.
        """
        X = self._validate(X)
        weights = validate_sample_weight(sample_weight, (len(X), len(self.tasks_)))
        data = LabeledSequences.validated(X, y, self.tasks_, weights, groups=groups)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        splits = split_sequences(self.cv if isinstance(self.cv, Integral) else 3, data, seed)
        features = features_of(X)
        models, found = [], []
        with shared_computations():
            for k, model in enumerate(self._models):
                weight = _new_weight(model, data, k, features, splits, seed, self.loss)
                members = [replace(m, weight=m.weight * (1 - weight)) for m in model.members]
                if weight > 0:
                    new = _refit(model, data, k, features, data.known[k], seed)
                    members += [replace(m, weight=m.weight * weight) for m in new.members]
                models.append(replace(model, members=[m for m in members if m.weight > 0]))
                found.append(weight)
        self._set_models(models)
        self.update_weights_ = np.array(found)
        return self


def _new_weight(
    model: TaskModel,
    data: LabeledSequences,
    k: int,
    features: Features,
    splits: list[Split],
    seed: int,
    loss: Any,
) -> float:
    """Return the weight of new estimators of a task beside its present model (stacking)."""
    known = data.known[k]
    if model.task.is_constant or len(set(data.values[k][known].tolist())) < 2:
        return 0.0
    present = model.scores(features)
    new, held_out = np.zeros_like(present), []
    for split in splits:
        rows = np.intersect1d(split.held_out, known)
        fitted = _refit(model, data, k, features, np.setdiff1d(known, split.held_out), seed)
        new[rows] = fitted.scores(features)[rows]
        held_out.append(rows)
    rows = np.concatenate(held_out)
    evidence = Evidence(
        model.task,
        data.values[k][rows],
        {"present": present[rows], "new": new[rows]},
        losses={},
        sharpness={},
        groups=None if data.groups is None else data.groups[rows],
        quantile=pinball_quantile(model.members[0].fits[0][2]),
        weights=data.weights_of(k, rows),
    )
    weights, mixed = best_mixture(loss, evidence)
    losses = [evidence.sample_losses(loss, scores) for scores in (present[rows], mixed)]
    gains = losses[0] - losses[1]
    # The weight is fitted to these losses: a gain below its standard error may be chance.
    return weights.get("new", 0.0) if gains.mean() > evidence.error(gains) else 0.0


def _refit(
    model: TaskModel, data: LabeledSequences, k: int, features: Features, rows: Any, seed: int
) -> TaskModel:
    """Return a model of the same candidates, fitted to some of the new sequences."""
    latest = {member.name: member for member in model.members}  # of several updates
    total = sum(member.weight for member in latest.values())
    values, weights = data.values[k][rows], data.weights_of(k, rows)
    members = []
    for member in latest.values():
        fit, columns, estimator = member.fits[0]
        read = features(fit)[np.ix_(rows, columns)]
        fitted = fit_estimator(estimator, model.task, read, values, seed, weights)
        members.append(replace(member, weight=member.weight / total, fits=[(fit, columns, fitted)]))
    return replace(model, members=members)
