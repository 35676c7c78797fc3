"""Display of the time steps that belong to each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


class TaskStructureDisplay:
    """Time steps (across) that belong to each task (down).

    Where the true structure is given, a step found rightly is a filled square, one that
    was missed an open square, and a false discovery a cross: the shapes tell them apart
    without the colours.

    Parameters
    ----------
    step_tasks : array-like of shape (n_timesteps, n_tasks)
        The structure found; non-zero where the step belongs to the task.
    true_step_tasks : array-like of shape (n_timesteps, n_tasks), default=None
        The structure to compare with, its tasks in the same order. None shows the
        structure found alone.
    task_names : sequence of str, default=None
        Names of the tasks. None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.

    See Also
    --------
    SequenceDisplay : The steps of one task, shown in some sequences.
    MaskDisplay : The latents that each task uses.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skspecialist.inspection import TaskStructureDisplay
    >>> found = [[1, 0], [1, 0], [0, 1], [0, 1]]
    >>> truth = [[1, 0], [1, 1], [0, 1], [0, 0]]
    >>> display = TaskStructureDisplay(found, true_step_tasks=truth).plot()
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        step_tasks: ArrayLike,
        *,
        true_step_tasks: ArrayLike | None = None,
        task_names: Sequence[str] | None = None,
    ) -> None:
        self.step_tasks = drawing.check_matrix(step_tasks, argument="step_tasks") != 0
        self.true_step_tasks = None
        if true_step_tasks is not None:
            truth = drawing.check_matrix(true_step_tasks, argument="true_step_tasks") != 0
            if truth.shape != self.step_tasks.shape:
                raise ValueError(
                    f"true_step_tasks has shape {truth.shape}, but step_tasks has shape "
                    f"{self.step_tasks.shape}."
                )
            self.true_step_tasks = truth
        self.task_names = drawing.check_names(
            task_names, n=self.step_tasks.shape[1], prefix="task", argument="task_names"
        )

    @classmethod
    def from_estimator(
        cls, identifier: Any, *, true_step_tasks: ArrayLike | None = None, ax: Axes | None = None
    ) -> Self:
        """Draw the structure that a fitted identifier found.

        Parameters
        ----------
        identifier : TaskStructureIdentifier
            A fitted one.
        true_step_tasks : array-like of shape (n_timesteps, n_tasks), default=None
            The structure to compare with.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : TaskStructureDisplay
            The display, drawn.
        """
        check_is_fitted(identifier, "step_tasks_")
        display = cls(
            identifier.step_tasks_,
            true_step_tasks=true_step_tasks,
            task_names=identifier.task_names_,
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the structure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose size follows the structure.

        Returns
        -------
        self : TaskStructureDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_timesteps, n_tasks = self.step_tasks.shape
        ax = drawing.make_axes(self, ax, width=2 + 0.3 * n_timesteps, height=1.3 + 0.3 * n_tasks)
        inches = drawing.axes_inches(ax)
        width = np.clip(18 * inches[0] / n_timesteps, 0.5, 1.6)  # of lines, in points
        if self.true_step_tasks is None:
            _draw_filled(ax, self.step_tasks)
        else:
            _draw_filled(ax, self.step_tasks & self.true_step_tasks)
            _draw_open(ax, ~self.step_tasks & self.true_step_tasks, width)
            _draw_crossed(ax, self.step_tasks & ~self.true_step_tasks, width)
            _explain(ax)

        steps = [str(step) for step in range(n_timesteps)]
        drawing.label_ticks(ax.xaxis, steps, inches=inches[0], each=0.3)
        drawing.label_ticks(ax.yaxis, self.task_names, inches=inches[1], each=0.18)
        ax.set(xlim=(-0.5, n_timesteps - 0.5), ylim=(n_tasks - 0.5, -0.5), xlabel="time step")
        ax.hlines(np.arange(1, n_tasks) - 0.5, -0.5, n_timesteps - 0.5, color="0.88", lw=0.6)
        ax.tick_params(length=0)
        ax.spines[:].set_color("0.7")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _squares(cells: np.ndarray) -> list[np.ndarray]:
    """Return the corners of a square in each cell that is set."""
    corners = 0.36 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return [cell + corners for cell in np.argwhere(cells)]


def _draw_filled(ax: Axes, cells: np.ndarray) -> None:
    from matplotlib.collections import PolyCollection

    ax.add_collection(PolyCollection(_squares(cells), facecolors=drawing.BLUE, edgecolors="none"))


def _draw_open(ax: Axes, cells: np.ndarray, width: float) -> None:
    from matplotlib.collections import PolyCollection

    ax.add_collection(
        PolyCollection(
            _squares(cells), facecolors="none", edgecolors=drawing.ORANGE, linewidths=width
        )
    )


def _draw_crossed(ax: Axes, cells: np.ndarray, width: float) -> None:
    from matplotlib.collections import LineCollection

    diagonals = [line for square in _squares(cells) for line in (square[::2], square[1::2])]
    ax.add_collection(LineCollection(diagonals, colors=drawing.VERMILLION, linewidths=width))


def _explain(ax: Axes) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], ls="", marker="s", color=drawing.BLUE, label="found, true"),
        Line2D([], [], ls="", marker="s", color=drawing.ORANGE, mfc="none", label="missed"),
        Line2D([], [], ls="", marker="x", color=drawing.VERMILLION, label="found, false"),
    ]
    ax.legend(
        handles=marks,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        frameon=False,
        borderaxespad=0.2,
        handletextpad=0.2,
        columnspacing=1.2,
    )
