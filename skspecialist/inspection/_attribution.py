"""Display of the contributions to one prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_HALF = 0.4  # length of the longest bar, of the distance between two tasks
_LONGEST_NAME = 60  # characters of the name of a part, such as a sentence


class AttributionDisplay:
    """Contributions of steps or columns to the predictions of one sequence.

    Each task has a column of bars, one per part: to the right where the part raises the
    prediction, to the left where it lowers it. Every task has a scale of its own; the larger
    contributions are labeled with their values. Contributions add up to the difference
    between the prediction and that for the mean sequence (base), both of which are
    above the bars.

    Parameters
    ----------
    contributions : array-like of shape (n_parts, n_tasks)
        Contribution of each step or column to the prediction of each task.
    base : array-like of shape (n_tasks,), default=None
        Predictions for the mean sequence. None omits predictions.
    scale : array-like of shape (n_tasks,), default=None
        Contribution of each task with a bar of full length, such as the standard deviation of
        its values; a larger contribution takes its place. None is the largest contribution.
    part_names : sequence of str, default=None
        Names of the parts, such as the texts of the steps. None numbers them.
    task_names : sequence of str, default=None
        Names of the tasks. None numbers them.
    class_names : sequence of (str or None), default=None
        Of a task with class labels, the class whose probability is attributed.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If ``contributions`` is not a matrix of finite numbers, or the other arguments do not
        match its shape.

    See Also
    --------
    TaskStructureDisplay : The steps of each task, in all sequences.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skspecialist.inspection import AttributionDisplay
    >>> display = AttributionDisplay([[0.5, 0.0], [-0.2, 0.3]], base=[1.0, 0.2]).plot()
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        contributions: ArrayLike,
        *,
        base: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        part_names: Sequence[str] | None = None,
        task_names: Sequence[str] | None = None,
        class_names: Sequence[str | None] | None = None,
    ) -> None:
        self.contributions = drawing.check_matrix(contributions, argument="contributions")
        n_parts, n_tasks = self.contributions.shape
        self.base = None if base is None else drawing.check_entries(base, n_tasks, argument="base")
        largest = np.abs(self.contributions).max(axis=0)
        if scale is not None:
            largest = np.maximum(largest, drawing.check_entries(scale, n_tasks, argument="scale"))
        self.scale = np.where(largest > 0, largest, 1.0)
        self.part_names = drawing.check_names(
            part_names, n=n_parts, prefix="step", argument="part_names"
        )
        self.task_names = drawing.check_names(
            task_names, n=n_tasks, prefix="task", argument="task_names"
        )
        self.class_names = [None] * n_tasks if class_names is None else list(class_names)
        if len(self.class_names) != n_tasks:
            raise ValueError(
                f"class_names must have {n_tasks} entries, got {len(self.class_names)}."
            )

    @classmethod
    def from_estimator(
        cls,
        pipeline: Any,
        X: Any,
        *,
        by: str = "steps",
        part_names: Sequence[str] | None = None,
        task_names: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the contributions to the predictions of a fitted pipeline for one sequence.

        Parameters
        ----------
        pipeline : SpecialistPipeline
            Fitted estimator.
        X : array-like
            One sequence, as in its ``predict``: the first one of several is drawn.
        by : {"steps", "columns"}, default="steps"
            Parts: the steps, or the columns at all steps.
        part_names : sequence of str, default=None
            Names of the parts, such as the texts of the steps, of which a sequence in a list may
            have fewer than those of ``fit``. None numbers them.
        task_names : sequence of str, default=None
            Names of the tasks. None is those of the columns of ``y``.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : AttributionDisplay
            The display, drawn.
        """
        drawing.check_fitted(pipeline, "tasks_", argument="pipeline", kind="SpecialistPipeline")
        explanation = pipeline.explain(X[:1], by=by)
        if part_names is not None:
            names = list(part_names)
            # Steps after the end of a shorter sequence contribute nothing, and keep their numbers.
            if by == "steps" and isinstance(X, list | tuple) and len(names) == len(X[0]):
                names += explanation.part_names[len(names) :]
            explanation = replace(explanation, part_names=names)
        if task_names is not None:
            explanation = replace(explanation, task_names=list(task_names))
        # Standard deviations: that of a label is at most one half.
        scale = [0.5 if task.is_classification else task.scale for task in pipeline.tasks_.tasks]
        return cls.from_explanation(explanation, scale=scale, ax=ax)

    @classmethod
    def from_explanation(
        cls,
        explanation: Any,
        *,
        sequence: int = 0,
        scale: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the contributions to the predictions of one sequence, without computing them again.

        Parameters
        ----------
        explanation : Explanation
            Result of the ``explain`` of a pipeline.
        sequence : int, default=0
            Index of the sequence. Of a label, the most probable class is drawn.
        scale : array-like of shape (n_tasks,), default=None
            As in the class.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : AttributionDisplay
            The display, drawn.
        """
        outputs = [int(prediction[sequence].argmax()) for prediction in explanation.predictions]
        parts = zip(explanation.contributions, outputs, strict=True)
        return cls(
            np.column_stack([part[sequence, :, k] for part, k in parts]),
            base=[
                start[k] if start.ndim == 1 else start[sequence, k]
                for start, k in zip(explanation.base, outputs, strict=True)
            ],
            scale=scale,
            part_names=explanation.part_names,
            task_names=explanation.task_names,
            class_names=[
                None if classes is None else str(classes[k])
                for classes, k in zip(explanation.classes, outputs, strict=True)
            ],
        ).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the contributions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose size follows parts and tasks.

        Returns
        -------
        self : AttributionDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_parts, n_tasks = self.contributions.shape
        names = [shorten(name, _LONGEST_NAME, placeholder=" ...") for name in self.part_names]
        longest = max(map(len, names))
        width = 1.0 + 1.5 * n_tasks + 0.07 * longest
        ax = drawing.make_axes(self, ax, width=width, height=1.2 + 0.27 * n_parts)
        lengths = _HALF * self.contributions / self.scale
        rows = np.arange(n_parts)
        for column, (values, bars) in enumerate(zip(self.contributions.T, lengths.T, strict=True)):
            colors = np.where(bars >= 0, drawing.BLUE, drawing.VERMILLION)
            ax.barh(rows, bars, left=column, height=0.7, color=colors)
            ax.axvline(column, color="0.6", lw=0.8)
            # Values of bars that are not too short to compare.
            for row in np.flatnonzero(np.abs(bars) > 0.1 * _HALF):
                right = bars[row] < 0  # on the side without the bar
                ax.annotate(
                    f"{values[row]:+.2g}",
                    (column, row),
                    xytext=(3 if right else -3, 0),
                    textcoords="offset points",
                    ha="left" if right else "right",
                    va="center",
                    fontsize="small",
                )
        ax.hlines(rows[1:] - 0.5, -0.5, n_tasks - 0.5, color="0.5", alpha=0.2, lw=0.6, zorder=0)
        drawing.label_ticks(ax.yaxis, names, inches=drawing.axes_inches(ax)[1], each=0.18)
        ax.set(xlim=(-0.5, n_tasks - 0.5), ylim=(n_parts - 0.5, -0.5))
        ax.set_xticks(range(n_tasks), [self._title(i) for i in range(n_tasks)])
        ax.xaxis.tick_top()
        ax.set_xlabel("contribution to the prediction")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _title(self, task: int) -> str:
        """Return the name of a task, and its prediction beside that for the mean sequence."""
        name, label = self.task_names[task], self.class_names[task]
        title = name if label is None else f"P({name} = {label})"
        if self.base is None:
            return title
        base = self.base[task]
        return f"{title}\n{base + self.contributions[:, task].sum():.2f}, base {base:.2f}"
