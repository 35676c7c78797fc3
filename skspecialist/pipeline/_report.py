"""Reports of a fitted pipeline: evidence for each task, and contributions to predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base.sklearn_compat import Interval, StrOptions, validate_params
from ._representation import Representation
from ._sequences import States

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Explanation", "ReportMixin", "TaskReport"]

# Sequences, with some of their parts left out, that are predicted at once.
ROWS_AT_ONCE, NUMBERS_AT_ONCE = 4096, 2**24


@dataclass
class TaskReport:
    """Evidence for each task of a fitted pipeline, as text, as a table and in notebooks.

    Attributes
    ----------
    rows : list of dict
        One entry per task: its name, kind, classes, largest candidate, weights, those that read all
        steps for want of others, steps with their adjusted p-values, whether these are the same
        in all sequences, latents, held-out losses, gain and its standard error, and the reason
        of a fallback. ``n_classes`` is 0 for amounts.
    nuisances : list of dict
        ``nuisance_scores_`` of the pipeline.
    """

    rows: list[dict[str, Any]]
    nuisances: list[dict[str, Any]] = field(default_factory=list)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per task. Needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.rows).set_index("task")

    def __str__(self) -> str:
        return "\n\n".join(self._paragraphs())

    def _paragraphs(self) -> list[str]:
        erased = [_nuisance_paragraph(row) for row in self.nuisances if "specialist" in row]
        return [_paragraph(row) for row in self.rows] + erased

    def _repr_html_(self) -> str:
        body = "".join(f"<p>{escape(text)}</p>" for text in self._paragraphs())
        return f"<div class='skspecialist-report'>{body}</div>"


@dataclass
class Explanation:
    """Contributions to predictions, which add up to them.

    Attributes
    ----------
    contributions : list of ndarray of shape (n_sequences, n_parts, n_outputs)
        For each task the contribution of each part: to the amount, or to the probability of
        each class.
    base : list of ndarray of shape (n_outputs,)
        Prediction of each task from the means over the training data; of sequences of unequal
        lengths for as many steps, one row per sequence, (n_sequences, n_outputs).
    predictions : list of ndarray of shape (n_sequences, n_outputs)
        Predicted amounts or probabilities: base plus the sum of the contributions.
    part_names, task_names : list of str
        Names of the steps, columns or latents, and of the tasks.
    classes : list of (ndarray or None)
        Classes of each task, in the order of its outputs; None for a continuous one.
    """

    contributions: list[np.ndarray]
    base: list[np.ndarray]
    predictions: list[np.ndarray]
    part_names: list[str]
    task_names: list[str]
    classes: list[np.ndarray | None]

    def to_frame(self, sequence: int | None = 0) -> pd.DataFrame:
        """Return contributions as a table. Needs pandas.

        Parameters
        ----------
        sequence : int or None, default=0
            Index of the sequence; None is all of them.

        Returns
        -------
        frame : pandas.DataFrame
            One row per part, one column per amount or per class: "task" or "task = class",
            contributions to the probability of this class; of two classes only the second.
            For all sequences the rows have an index of two levels, "sequence" and "part".
        """
        import pandas as pd

        index = pd.Index(self.part_names, name="part")
        rows = slice(None) if sequence is None else [sequence]
        if sequence is None:
            levels = [range(len(self.predictions[0])), self.part_names]
            index = pd.MultiIndex.from_product(levels, names=["sequence", "part"])
        columns: dict[str, np.ndarray] = {}
        for name, classes, parts in zip(
            self.task_names, self.classes, self.contributions, strict=True
        ):
            outputs = {name: 0}
            if classes is not None:
                outputs = {f"{name} = {label}": k for k, label in enumerate(classes)}
                if len(outputs) == 2:
                    outputs.pop(f"{name} = {classes[0]}")
            columns |= {title: parts[rows, :, k].ravel() for title, k in outputs.items()}
        return pd.DataFrame(columns, index=index)


class ReportMixin:
    """Reports and explanations of a fitted pipeline."""

    if TYPE_CHECKING:
        _models: list[Any]
        _representation: Representation
        _validate: Any
        generalist: Any
        n_features_in_: int
        nuisance_scores_: list[dict[str, Any]]
        tasks_: Any

    @property
    def candidates_(self) -> pd.DataFrame:
        """Table of the candidates of each task."""
        check_is_fitted(self)
        import pandas as pd

        tasks = zip(self.tasks_.names, self._models, strict=True)  # added ones have other names
        rows = [(name, *row) for name, model in tasks for row in model.candidate_rows()]
        names = ["task", "candidate", "loss", "difference", "error", "weight", "columns", "seconds"]
        return pd.DataFrame(rows, columns=names)

    def report(self) -> TaskReport:
        """Return the evidence for each task: steps, latents, candidates and losses.

        Returns
        -------
        report : TaskReport
            Prints as one paragraph per task; ``report.to_frame()`` is a table with one row
            per task, and notebooks show it as HTML.
        """
        check_is_fitted(self)
        rows = [_task_row(self, index) for index in range(len(self._models))]
        return TaskReport(rows, self.nuisance_scores_)

    @validate_params(
        {
            "X": ["array-like"],
            "by": [StrOptions({"steps", "columns", "latents"})],
            "n_permutations": [Interval(Integral, 1, None, closed="left")],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def explain(
        self,
        X: ArrayLike,
        *,
        by: str = "steps",
        n_permutations: int = 10,
        random_state: Any = 0,
    ) -> Explanation:
        """Return the contributions of steps, columns or latents to predictions.

        A part that is left out has its mean over the training data, in the representation: the
        generalist runs once, however many parts there are. The contribution of a part is the
        change of the prediction when it joins the parts before it, in the mean over random
        orders and their reverses: the sampled Shapley value [1]_, which adds up to the
        prediction exactly.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`, or one of them, (n_timesteps, n_features).
        by : {"steps", "columns", "latents"}, default="steps"
            Parts: the steps; the columns of a step, as the generalist gives them, at all steps
            (those of ``X`` without a generalist); or the latents of ``encoder_`` at all steps,
            beside one part for all that is not read through latents, and one for the latents
            of the fits of the folds, which are others.
        n_permutations : int, default=10
            Number of random orders, each of which is used in both directions. The cost is
            two predictions per order and part.
        random_state : int, RandomState instance or None, default=0
            Seed of the orders.

        Returns
        -------
        explanation : Explanation
            Contributions; ``explanation.to_frame(i)`` is a table of those in one sequence.

        Raises
        ------
        ValueError
            If ``by="latents"`` and no task is predicted from latents.

        References
        ----------
        .. [1] E. Strumbelj and I. Kononenko, "Explaining prediction models and individual
           predictions with feature contributions", Knowledge and Information Systems 41, 2014.
        """
        final = self._representation
        n_steps = len(final.steps)
        width = self.n_features_in_ // n_steps
        if n_steps > 1 and isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == width:
            X = X[None] if len(X) == n_steps else [X]
        sequences = self._validate(X)
        fits = {fit[0] for model in self._models for member in model.members for fit in member.fits}
        names = _part_names(final, by, fits - {final})
        columns = _columns_of_steps(X)
        if by == "columns" and self.generalist is None and len(columns) == len(names):
            names = columns
        states = States(sequences)
        maskers = {
            fit: _masker(fit, fit.read(states), by, None if fit == final else len(names) - 1)
            for fit in fits
        }

        def scores(masks: np.ndarray) -> list[np.ndarray]:
            """Return scores of shape (n_masks, n_sequences, n_outputs), by task."""
            features = {
                fit: np.concatenate([masked(mask) for mask in masks])
                for fit, masked in maskers.items()
            }
            shape = (len(masks), len(sequences), -1)
            return [model.scores(features.__getitem__).reshape(shape) for model in self._models]

        start = scores(np.zeros((1, len(names)), dtype=bool))
        totals = [np.zeros((len(names), *part.shape[1:])) for part in start]
        n_parts, orders = len(names), list(_orders(len(names), n_permutations, random_state))
        # A call takes about as long for one row as for a few hundred.
        n_rows = max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // self.n_features_in_))
        n_together = max(1, n_rows // (n_parts * len(sequences)))
        for first in range(0, len(orders), n_together):
            some = orders[first : first + n_together]
            # Row k of an order has its first k + 1 parts.
            joined = [np.argsort(order) <= np.arange(n_parts)[:, None] for order in some]
            masks = np.concatenate(joined)
            n_calls = min(len(masks), -(-len(masks) * len(sequences) // n_rows))
            parts = zip(*map(scores, np.array_split(masks, n_calls)), strict=True)
            for total, empty, part in zip(totals, start, parts, strict=True):
                each = np.split(np.concatenate(part), len(some))
                for order, found in zip(some, each, strict=True):
                    total[order] += np.diff(np.concatenate([empty, found]), axis=0)
        contributions = [total.swapaxes(0, 1) / (2 * n_permutations) for total in totals]
        base = [part[0] if np.isnan(sequences).any() else part[0, 0] for part in start]
        predictions = [b + c.sum(axis=1) for b, c in zip(base, contributions, strict=True)]
        classes = [task.classes for task in self.tasks_.tasks]
        tasks = list(self.tasks_.names)
        return Explanation(contributions, base, predictions, names, tasks, classes)


def _masker(
    fitted: Representation, states: np.ndarray, by: str, latents_part: int | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the features as a function of the parts that are not at their means.

    Parameters
    ----------
    fitted : Representation
        Fitted on some of the sequences.
    states : ndarray of shape (n_sequences, n_timesteps, n_states)
        States of the generalist.
    by : {"steps", "columns", "latents"}
        Parts, as in ``SpecialistPipeline.explain``.
    latents_part : int or None
        Part of all latents, for ``by="latents"``. None: 1, 2, ... in their order.
    """
    absent = np.isnan(states)  # steps after the end of a sequence, which stay so
    if by == "columns" or (by == "steps" and (not fitted.aligned or absent.any())):
        mean = np.where(absent, np.nan, fitted.mean_states)
        return lambda mask: fitted.features(
            np.where(mask if by == "columns" else mask[None, :, None], states, mean)
        )
    # Features of a step are functions of its state: they are computed once.
    features, means = fitted.features(states), fitted.features(fitted.mean_states[None])
    n_timesteps = len(fitted.steps)
    n_latents = 0 if fitted.encoder_ is None else fitted.mask.shape[1]
    if by == "steps":
        widths = np.repeat([fitted.n_states, n_latents], n_timesteps)
        parts = np.repeat(np.tile(np.arange(n_timesteps), 2), widths)
    else:
        parts = np.zeros(features.shape[1], dtype=int)
        blocks = n_timesteps if fitted.aligned else fitted.n_tasks
        last = parts[len(parts) - blocks * n_latents :]
        last[:] = 1 + np.tile(np.arange(n_latents), blocks)
        if latents_part is not None:
            last[:] = latents_part
    return lambda mask: np.where(mask[parts], features, means)


def _part_names(final: Representation, by: str, others: set[Representation]) -> list[str]:
    """Return the names of the parts of the explanations, the last those of other fits."""
    if by == "steps":
        return [f"step{t}" for t in range(len(final.steps))]
    if by == "columns":
        return [f"column{j}" for j in range(final.n_generalist // len(final.steps))]
    if final.encoder_ is None:
        raise ValueError(
            "by='latents' needs tasks that are predicted from latents, but encoder_ is None: use "
            "by='steps' or by='columns'."
        )
    names = ["generalist", *(f"latent{j}" for j in range(final.mask.shape[1]))]
    return [*names, "latents of folds"] if any(fit.encoder_ for fit in others) else names


def _columns_of_steps(X: Any) -> list[str]:
    """Return the names of the columns of tables whose rows are steps, or an empty list."""
    table = X[0] if isinstance(X, list | tuple) else X
    are_steps = table is not X or getattr(getattr(X, "index", None), "nlevels", 1) == 2
    return list(map(str, getattr(table, "columns", []))) if are_steps else []


def _orders(n_parts: int, n_permutations: int, random_state: Any) -> Iterator[np.ndarray]:
    """Yield random orders, each followed by its reverse, which halves the variance."""
    rng = check_random_state(random_state)
    for _ in range(n_permutations):
        order = rng.permutation(n_parts)
        yield order
        yield order[::-1]


def _task_row(pipeline: Any, index: int) -> dict[str, Any]:
    """Return the entry of one task in the report."""
    model, task = pipeline._models[index], pipeline.tasks_.tasks[index]
    steps = np.flatnonzero(pipeline.step_mask_[:, index])
    weights = pipeline.weights_[index]
    losses = {} if model.decision.evidence is None else model.decision.evidence.losses
    combined = np.nan
    if losses:
        (name, _), *others = weights.items()
        # Of a combination the gain is known; of one candidate its own loss.
        combined = losses["generalist"].mean() - model.decision.gain
        combined = combined if others else losses[name].mean()
    return {
        "task": task.name,
        "kind": "label" if task.is_classification else "amount",
        "n_classes": task.n_classes,
        "predicted_from": pipeline.predicted_from_[index],
        "weights": weights,
        "over_all_steps": [m.name for m in model.members if m.is_pooled and not len(steps)],
        "steps": steps.tolist(),
        "pvalues": _step_pvalues(pipeline, steps, index),
        "aligned": pipeline._representation.aligned,
        "latents": np.flatnonzero(pipeline.mask_[index] > 0).tolist(),
        "loss": float(combined),
        "generalist_loss": float(losses["generalist"].mean()) if losses else np.nan,
        "null_loss": float(losses["null"].mean()) if losses else np.nan,
        "gain": float(model.decision.gain),
        "gain_se": float(model.decision.standard_error),
        "reason": model.decision.reason,
    }


def _step_pvalues(pipeline: Any, steps: np.ndarray, index: int) -> list[float]:
    """Return the least adjusted p-value of the segments that hold each step, NaN without one."""
    structure, varied = pipeline.structure_, pipeline._representation.varied
    pvalues = getattr(structure, "adjusted_pvalues_", None)
    # Tasks that were added later have structures of their own.
    if pvalues is None or index >= len(varied) or not varied[index]:
        return [np.nan] * len(steps)
    column = np.count_nonzero(varied[:index])  # constant tasks are not part of the structure
    first, stop = structure.segments_.T
    return [
        float(np.min(pvalues[(first <= step) & (step < stop), column], initial=1.0))
        for step in steps
    ]


def _paragraph(row: dict[str, Any]) -> str:
    """Return the text of one task."""
    lines = []
    if row["steps"] and not row["aligned"]:
        lines.append("depends on steps that differ between sequences (structure_.step_weights)")
    elif row["steps"]:
        steps = ", ".join(
            f"{step}" if np.isnan(p) else f"{step} (p = {p:.2g})"
            for step, p in zip(row["steps"], row["pvalues"], strict=True)
        )
        lines.append(f"depends on {_count(row['steps'], 'step')}: {steps}")
    else:
        lines.append("no time step was found")
    if row["latents"]:
        lines.append(f"uses {_count(row['latents'], 'latent')}: {row['latents']}")
    parts = ", ".join(
        f"{name}{' (all)' if name in row['over_all_steps'] else ''} {weight:.2f}"
        for name, weight in row["weights"].items()
    )
    lines.append(f"is predicted from {parts}")
    if not np.isnan(row["loss"]):
        lines.append(
            f"has a held-out loss of {row['loss']:.3g} (generalist {row['generalist_loss']:.3g}, "
            f"null model {row['null_loss']:.3g})"
        )
    if row["reason"] is not None:
        lines.append(f"is not specialized: {row['reason']}")
    kind = row["kind"] + (f" of {row['n_classes']} classes" if row["n_classes"] else "")
    return f"Task {row['task']!r} ({kind}): " + "; ".join(lines) + "."


def _nuisance_paragraph(row: dict[str, Any]) -> str:
    """Return the text of one nuisance, without the scores that are NaN."""
    sources = {
        "before": "from the generalist",
        "after": "after it was erased",
        "specialist": "from the steps or latents of the specialists",
    }
    scores = [f"{row[k]:.2f} {text}" for k, text in sources.items() if not np.isnan(row[k])]
    if not scores:
        return f"Nuisance {row['name']!r}: too few values, or none that differ, for predictions."
    return (
        f"Nuisance {row['name']!r}: held-out predictions have a score of {', '.join(scores)} "
        f"(chance {row['chance']:.2f})."
    )


def _count(items: list[Any], noun: str) -> str:
    return f"{len(items)} {noun}" if len(items) == 1 else f"{len(items)} {noun}s"
