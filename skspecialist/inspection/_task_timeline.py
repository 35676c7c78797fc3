"""Display of the steps of each task in one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._data.validation import check_numbers
from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_MOST_CELLS = 800  # in a row; more would be narrower than a pixel, and some not drawn
_SHADE = 0.2  # half the height of the shades in a row of height 1
_BAR = 0.14, 0.06  # height of a bar, and the gap between it and the shades


class TaskTimelineDisplay:
    """One sequence: the probability of each task (down) at each step (across), and the steps found.

    The shade is the probability of a task, or the contribution of a step to it. A bar below the
    shades marks the steps that count as found, a bar above them the true ones: where both are, a
    step was found correctly, independent of the colors.

    Parameters
    ----------
    values : array-like of shape (n_timesteps, n_tasks)
        Probabilities of the tasks, or contributions of the steps to them. NaN is left white, as
        after the end of a shorter sequence.
    steps : array-like of shape (n_timesteps, n_tasks), default=None
        The steps found; non-zero where a step belongs to a task. None marks none.
    true_steps : array-like of shape (n_timesteps, n_tasks), default=None
        The steps to compare with, in the same form. None marks none.
    task_names : sequence of str, default=None
        Names of the tasks. None numbers them.
    values_label : str, default="probability"
        Label of the color bar of the values.
    limit : float, default=None
        Size of the values that the strongest shade is for. None is the largest there is.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError or TypeError
        If the shapes do not fit each other, or these are no numbers.

    See Also
    --------
    TaskStructureDisplay : The steps of each task in sequences that align.
    SequenceDisplay : The steps of one task, shown in some sequences.

    Notes
    -----
    Where more than 800 steps share a row, each shade is that of the largest value, in size,
    among a few steps that follow each other, so that no peak is lost.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skspecialist.inspection import TaskTimelineDisplay
    >>> probabilities = [[0.9, 0.1], [0.8, 0.0], [0.2, 0.3], [0.0, 0.7]]
    >>> found = [[1, 0], [1, 0], [0, 0], [0, 1]]
    >>> display = TaskTimelineDisplay.from_predictions(probabilities, found)
    >>> plt.close(display.figure_)

    Steps that a localizer finds in a sequence:

    >>> import numpy as np
    >>> from skspecialist import TaskLocalizer
    >>> X = np.random.default_rng(0).normal(size=(200, 10, 3))
    >>> steps = X[:, :, :2] > 1.5  # where two tasks are
    >>> localizer = TaskLocalizer(max_epochs=5, random_state=0)
    >>> localizer = localizer.fit(X[1:], steps[1:].any(axis=1))
    >>> display = TaskTimelineDisplay.from_estimator(localizer, X[0], steps[0])
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        values: ArrayLike,
        *,
        steps: ArrayLike | None = None,
        true_steps: ArrayLike | None = None,
        task_names: Sequence[str] | None = None,
        values_label: str = "probability",
        limit: float | None = None,
    ) -> None:
        self.values = _check_values(values, "values")
        self.steps = self._check_steps(steps, "steps")
        self.true_steps = self._check_steps(true_steps, "true_steps")
        self.task_names = drawing.check_names(
            task_names, n=self.values.shape[1], prefix="task", argument="task_names"
        )
        self.values_label = values_label
        if limit is not None and not (isinstance(limit, Real) and 0 < limit < np.inf):
            raise ValueError(f"limit must be positive, or None, got {limit!r}.")
        self.limit = limit

    @classmethod
    def from_estimator(
        cls,
        localizer: Any,
        sequence: ArrayLike,
        true_steps: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the steps that a fitted localizer finds in a sequence.

        The shades are probabilities. Where some tasks are amounts they are contributions, in
        standard deviations of the amount so that all tasks have one scale. No step is marked as
        found if all ``thresholds_`` are infinite.

        Parameters
        ----------
        localizer : TaskLocalizer
            A fitted one.
        sequence : array-like of shape (n_timesteps, n_features)
            One sequence; with a table, its columns are those of ``fit``.
        true_steps : array-like of shape (n_timesteps, n_outputs), default=None
            The steps to compare with, a column for each of ``localizer.task_names_``.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : TaskTimelineDisplay
            The display, drawn.

        Raises
        ------
        ValueError or TypeError
            If this is not one sequence of the features of ``fit``, or ``true_steps`` has not
            its shape.
        """
        drawing.check_fitted(localizer, "thresholds_", argument="localizer", kind="TaskLocalizer")
        shape = np.shape(np.asarray(sequence, dtype=object))
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                "sequence must have shape (n_timesteps, n_features) and not be empty, got "
                f"shape {shape}."
            )
        together = np.zeros(shape[0])
        check_numbers(sequence, "sequence")
        if shape[1] != localizer.n_features_in_:
            raise ValueError(
                f"sequence has {shape[1]} features, but the localizer was fitted with "
                f"{localizer.n_features_in_}."
            )
        contributions = localizer.contributions(sequence, together)
        certain = np.isfinite(localizer.thresholds_).any()
        steps = localizer.predict(sequence, together) if certain else None
        is_amount = np.isfinite(localizer.amount_scales_)
        kinds = {False: "probability", True: "contribution (SD)"}
        display = cls(
            contributions / np.where(is_amount, localizer.amount_scales_, 1.0),
            steps=steps,
            true_steps=true_steps,
            task_names=localizer.task_names_,
            values_label=",\n".join(kinds[kind] for kind in np.unique(is_amount).tolist()),
            limit=None if is_amount.any() else 1.0,
        )
        return display.plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        probabilities: ArrayLike,
        steps: ArrayLike | None = None,
        true_steps: ArrayLike | None = None,
        *,
        task_names: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the probabilities of the steps of one sequence, whatever they come from.

        Parameters
        ----------
        probabilities : array-like of shape (n_timesteps, n_tasks)
            Between 0 and 1, or NaN after the end of the sequence.
        steps : array-like of shape (n_timesteps, n_tasks), default=None
            The steps found.
        true_steps : array-like of shape (n_timesteps, n_tasks), default=None
            The steps to compare with.
        task_names : sequence of str, default=None
            Names of the tasks. None numbers them.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : TaskTimelineDisplay
            The display, drawn.

        Raises
        ------
        ValueError or TypeError
            If these are not probabilities, or the shapes do not fit each other.
        """
        shades = _check_values(probabilities, "probabilities")
        if np.nanmin(shades, initial=0.0) < 0 or np.nanmax(shades, initial=0.0) > 1:
            raise ValueError(
                f"probabilities must be between 0 and 1, got {np.nanmin(shades):.3g} to "
                f"{np.nanmax(shades):.3g}: draw amounts with TaskTimelineDisplay(values).plot()."
            )
        display = cls(shades, steps=steps, true_steps=true_steps, task_names=task_names, limit=1.0)
        return display.plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the sequence.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose size follows the sequence.

        Returns
        -------
        self : TaskTimelineDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_timesteps, n_tasks = self.values.shape
        ax = drawing.make_axes(self, ax, width=2 + 0.3 * n_timesteps, height=1.5 + 0.45 * n_tasks)
        inches = drawing.axes_inches(ax)
        self._draw_shades(ax, inches)
        thickness, gap = _BAR
        above, below = -_SHADE - gap - thickness, _SHADE + gap
        marked = [
            _draw_bars(ax, cells, low, color, label)
            for cells, low, color, label in (
                (self.true_steps, above, drawing.ORANGE, "true (above)"),
                (self.steps, below, drawing.BLUE, "found (below)"),
            )
            if cells is not None
        ]
        if marked:
            drawing.legend_above(ax, handles=marked)

        drawing.label_steps_and_tasks(ax, n_timesteps, self.task_names, inches=inches)
        pad = 22 if marked else None  # room for the legend
        ax.set_title("Steps of each task", loc="left", fontsize="medium", pad=pad)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _check_steps(self, steps: ArrayLike | None, argument: str) -> np.ndarray | None:
        if steps is None:
            return None
        marks = drawing.check_matrix(steps, argument=argument) != 0
        if marks.shape != self.values.shape:
            raise ValueError(
                f"{argument} must have shape {self.values.shape}, a row for each step and a "
                f"column for each task, got {marks.shape}."
            )
        return marks

    def _draw_shades(self, ax: Axes, inches: tuple[float, float]) -> None:
        largest = self.limit or float(np.nanmax(np.abs(self.values), initial=0.0)) or 1.0
        signed = np.nanmin(self.values, initial=0.0) < 0
        edges, peaks = _peaks(self.values)
        n_cells, n_tasks = peaks.shape
        shades = np.full((2 * n_tasks - 1, n_cells), np.nan)  # a gap between any two tasks
        shades[::2] = peaks.T
        borders = np.arange(n_tasks)[:, None] + [-_SHADE, _SHADE]
        cells = ax.pcolormesh(
            edges - 0.5,
            borders.ravel(),
            np.ma.masked_invalid(shades),
            # Its lightness tells the sign as well: light below zero and dark above.
            cmap="cividis_r" if signed else drawing.greys(0.9),
            vmin=-largest if signed else 0.0,
            vmax=largest,
        )
        end = np.flatnonzero(np.isfinite(self.values).any(axis=1)).max(initial=-1) + 0.5
        ax.hlines(borders.ravel(), -0.5, end, color="0.8", lw=0.6)
        drawing.add_bar(ax, cells, self.values_label, inches=inches)


def _check_values(values: ArrayLike, argument: str) -> np.ndarray:
    array = drawing.check_floats(values, argument=argument)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"{argument} must have shape (n_timesteps, n_tasks) and not be empty, got "
            f"{array.shape}: draw one sequence at a time."
        )
    if np.isinf(array).any():
        raise ValueError(f"{argument} must hold finite numbers, or NaN after the end.")
    return array


def _peaks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of the cells of a row, and the values of largest size in them."""
    starts = np.unique(np.linspace(0, len(values), _MOST_CELLS, endpoint=False).astype(int))
    high, low = np.fmax.reduceat(values, starts), np.fmin.reduceat(values, starts)
    return np.append(starts, len(values)), np.where(high >= -low, high, low)


def _draw_bars(ax: Axes, cells: np.ndarray, low: float, color: str, label: str) -> Any:
    """Draw a bar for each run of steps that are set, and return what explains it."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    bars = []
    for task, column in enumerate(cells.T.astype(int)):
        runs = np.flatnonzero(np.diff(column, prepend=0, append=0)).reshape(-1, 2) - 0.5
        top, bottom = task + low, task + low + _BAR[0]
        bars += [[(a, top), (b, top), (b, bottom), (a, bottom)] for a, b in runs]
    # Their edges show a single step of very many.
    ax.add_collection(PolyCollection(bars, facecolors=color, edgecolors=color, linewidths=0.6))
    return Patch(color=color, label=label)
