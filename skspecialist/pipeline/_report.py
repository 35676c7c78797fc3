"""Reports of a fitted pipeline: evidence for each task, and contributions to predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base.sklearn_compat import Interval, StrOptions, validate_params
from ._representation import Representation, features_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Explanation", "ReportMixin", "TaskReport"]


@dataclass
class TaskReport:
    """Evidence for each task of a fitted pipeline, as text, as a table and in notebooks.

    Attributes
    ----------
    rows : list of dict
        One entry per task: its name, kind, largest candidate, weight of its specialists,
        steps with their adjusted p-values, latents, held-out losses, gain and its standard
        error, and the reason of a fallback.
    """

    rows: list[dict[str, Any]]

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per task. Needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.rows).set_index("task")

    def __str__(self) -> str:
        return "\n\n".join(_paragraph(row) for row in self.rows)

    def _repr_html_(self) -> str:
        body = "".join(f"<p>{escape(_paragraph(row))}</p>" for row in self.rows)
        return f"<div class='skspecialist-report'>{body}</div>"


@dataclass
class Explanation:
    """Contributions to predictions, which add up to them.

    Attributes
    ----------
    contributions : list of ndarray of shape (n_sequences, n_parts, n_outputs)
        For each task the contribution of each step or column: to the amount, or to the
        probability of each class.
    base : list of ndarray of shape (n_outputs,)
        Prediction of each task for the mean sequence of the training data.
    predictions : list of ndarray of shape (n_sequences, n_outputs)
        Predicted amounts or probabilities: base plus the sum of the contributions.
    part_names, task_names : list of str
        Names of the steps or columns, and of the tasks.
    """

    contributions: list[np.ndarray]
    base: list[np.ndarray]
    predictions: list[np.ndarray]
    part_names: list[str]
    task_names: list[str]

    def to_frame(self, sequence: int = 0) -> pd.DataFrame:
        """Return the contributions to the predictions of one sequence. Needs pandas.

        Parameters
        ----------
        sequence : int, default=0
            Index of the sequence.

        Returns
        -------
        frame : pandas.DataFrame
            One row per step or column, one column per task; of class labels the
            contributions to the probability of the predicted class.
        """
        import pandas as pd

        chosen = [
            part[sequence, :, prediction[sequence].argmax()]
            for part, prediction in zip(self.contributions, self.predictions, strict=True)
        ]
        table = dict(zip(self.task_names, chosen, strict=True))
        return pd.DataFrame(table, index=self.part_names)


class ReportMixin:
    """Reports and explanations of a fitted pipeline."""

    if TYPE_CHECKING:
        _models: list[Any]
        _representation: Representation
        _mean_sequence: np.ndarray
        _validate: Any
        tasks_: Any

    @property
    def candidates_(self) -> pd.DataFrame:
        """Table of the candidates of each task."""
        check_is_fitted(self)
        import pandas as pd

        rows = [row for model in self._models for row in model.candidate_rows()]
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
        return TaskReport([_task_row(self, index) for index in range(len(self._models))])

    @validate_params(
        {
            "X": ["array-like"],
            "by": [StrOptions({"steps", "columns"})],
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
        """Return the contributions of steps, or of columns, to predictions.

        A part that is left out has the values of the mean sequence of the training data. Its
        contribution is the change of the prediction when it joins the parts before it, in
        the mean over random orders and their reverses: the sampled Shapley value [1]_, which
        adds up to the prediction exactly.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.
        by : {"steps", "columns"}, default="steps"
            Parts: the steps, or the columns of ``X`` (the features of a step) at all steps.
        n_permutations : int, default=10
            Number of random orders, each of which is used in both directions. The cost is
            two predictions per order and part.
        random_state : int, RandomState instance or None, default=0
            Seed of the orders.

        Returns
        -------
        explanation : Explanation
            Contributions; ``explanation.to_frame(i)`` is a table of those in one sequence.

        References
        ----------
        .. [1] E. Strumbelj and I. Kononenko, "Explaining prediction models and individual
           predictions with feature contributions", Knowledge and Information Systems 41, 2014.
        """
        sequences = self._validate(X)
        axis = 1 if by == "steps" else 2
        mean = self._mean_sequence
        base = [m[0] for m in _scores(self._models, mean[None])]
        n_parts = sequences.shape[axis]
        totals = [np.zeros((len(sequences), n_parts, len(start))) for start in base]
        for order in _orders(n_parts, n_permutations, random_state):
            before = [np.broadcast_to(start, (len(sequences), len(start))) for start in base]
            joined = np.zeros(n_parts, dtype=bool)
            for part in order:
                joined[part] = True
                mask = joined[None, :, None] if axis == 1 else joined
                after = _scores(self._models, np.where(mask, sequences, mean))
                for total, new, old in zip(totals, after, before, strict=True):
                    total[:, part] += new - old
                before = after
        contributions = [total / (2 * n_permutations) for total in totals]
        predictions = [b + c.sum(axis=1) for b, c in zip(base, contributions, strict=True)]
        prefix = "step" if by == "steps" else "column"
        names = [f"{prefix}{i}" for i in range(n_parts)]
        return Explanation(contributions, base, predictions, names, list(self.tasks_.names))


def _orders(n_parts: int, n_permutations: int, random_state: Any) -> Iterator[np.ndarray]:
    """Yield random orders, each followed by its reverse, which halves the variance."""
    rng = check_random_state(random_state)
    for _ in range(n_permutations):
        order = rng.permutation(n_parts)
        yield order
        yield order[::-1]


def _scores(models: list[Any], X: np.ndarray) -> list[np.ndarray]:
    features = features_of(X)
    return [model.scores(features) for model in models]


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
        "predicted_from": pipeline.predicted_from_[index],
        "weights": weights,
        "steps": steps.tolist(),
        "pvalues": _step_pvalues(pipeline.structure_, steps, index),
        "latents": np.flatnonzero(pipeline.mask_[index] > 0).tolist(),
        "loss": float(combined),
        "generalist_loss": float(losses["generalist"].mean()) if losses else np.nan,
        "null_loss": float(losses["null"].mean()) if losses else np.nan,
        "gain": float(model.decision.gain),
        "gain_se": float(model.decision.standard_error),
        "reason": model.decision.reason,
    }


def _step_pvalues(structure: Any, steps: np.ndarray, index: int) -> list[float]:
    """Return the least adjusted p-value of the segments that hold each step, NaN without one."""
    pvalues = getattr(structure, "adjusted_pvalues_", None)
    # Tasks that were added later have structures of their own.
    if pvalues is None or index >= pvalues.shape[1]:
        return [np.nan] * len(steps)
    first, stop = structure.segments_.T
    return [
        float(np.min(pvalues[(first <= step) & (step < stop), index], initial=1.0))
        for step in steps
    ]


def _paragraph(row: dict[str, Any]) -> str:
    """Return the text of one task."""
    lines = []
    if row["steps"]:
        steps = ", ".join(
            f"{step}" if np.isnan(p) else f"{step} (p = {p:.2g})"
            for step, p in zip(row["steps"], row["pvalues"], strict=True)
        )
        lines.append(f"depends on {_count(row['steps'], 'step')}: {steps}")
    else:
        lines.append("no time step was found")
    if row["latents"]:
        lines.append(f"uses {_count(row['latents'], 'latent')}: {row['latents']}")
    parts = ", ".join(f"{name} {weight:.2f}" for name, weight in row["weights"].items())
    lines.append(f"is predicted from {parts}")
    if not np.isnan(row["loss"]):
        lines.append(
            f"has a held-out loss of {row['loss']:.3g} (generalist {row['generalist_loss']:.3g}, "
            f"null model {row['null_loss']:.3g})"
        )
    if row["reason"] is not None:
        lines.append(f"is not specialized: {row['reason']}")
    return f"Task {row['task']!r} ({row['kind']}): " + "; ".join(lines) + "."


def _count(items: list[Any], noun: str) -> str:
    return f"{len(items)} {noun}" if len(items) == 1 else f"{len(items)} {noun}s"
