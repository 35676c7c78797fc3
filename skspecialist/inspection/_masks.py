"""Displays of the steps and of the latents of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_LARGEST_EVIDENCE = 5.0  # in decimal digits of the p-value: smaller ones are all overwhelming


class TaskStructureDisplay:
    """Time steps (across) that belong to each task (down).

    With the true structure, a true discovery is a filled square, a missed step an open
    square, and a false discovery a cross; the shapes distinguish them without colors. With
    the confidence, the shade behind a mark is darker for more evidence: light behind a mark
    is a step that was barely found, dark without a mark a step that was barely missed.

    Parameters
    ----------
    step_weights : array-like of shape (n_timesteps, n_tasks)
        The structure found; non-zero if the step belongs to the task.
    true_step_tasks : array-like of shape (n_timesteps, n_tasks), default=None
        The true structure, with its tasks in the same order. None draws the structure
        found only.
    confidence : array-like of shape (n_timesteps, n_tasks), default=None
        Non-negative evidence that a step belongs to a task. None draws no shades.
    confidence_label : str, default="confidence"
        Label of the color bar of the confidence.
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
        If the shapes are inconsistent.

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

    The evidence of a fitted identifier for each step and task:

    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> identifier = TaskStructureIdentifier().fit(data.X, data.y)
    >>> display = TaskStructureDisplay.from_estimator(identifier, confidence=True)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        step_weights: ArrayLike,
        *,
        true_step_tasks: ArrayLike | None = None,
        confidence: ArrayLike | None = None,
        confidence_label: str = "confidence",
        task_names: Sequence[str] | None = None,
    ) -> None:
        self.step_weights = drawing.check_matrix(step_weights, argument="step_weights") != 0
        self.true_step_tasks = None
        if true_step_tasks is not None:
            self.true_step_tasks = self._check_like(true_step_tasks, "true_step_tasks") != 0
        self.confidence = None
        if confidence is not None:
            self.confidence = self._check_like(confidence, "confidence").astype(float)
            if self.confidence.min() < 0:
                raise ValueError(
                    f"confidence must not be negative, got {self.confidence.min():.3g}."
                )
        self.confidence_label = confidence_label
        self.task_names = drawing.check_names(
            task_names, n=self.step_weights.shape[1], prefix="task", argument="task_names"
        )

    @classmethod
    def from_estimator(
        cls,
        identifier: Any,
        *,
        true_step_tasks: ArrayLike | None = None,
        confidence: bool = False,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the structure that a fitted identifier found.

        Parameters
        ----------
        identifier : TaskStructureIdentifier
            Fitted estimator.
        true_step_tasks : array-like of shape (n_timesteps, n_tasks), default=None
            The true structure.
        confidence : bool, default=False
            Whether to shade each cell by its evidence: minus the decimal logarithm of the
            adjusted p-value, up to 5, or the ``selection_frequency_`` without p-values.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : TaskStructureDisplay
            The display, drawn.

        Raises
        ------
        ValueError or TypeError
            If ``confidence`` is True and the identifier has neither p-values nor
            frequencies, or ``identifier`` is not a fitted identifier.
        """
        drawing.check_fitted(
            identifier,
            "step_mask_",
            "task_names_",
            argument="identifier",
            kind="TaskStructureIdentifier",
        )
        if not isinstance(confidence, bool | np.bool_):
            raise TypeError(
                "confidence must be True or False here, as the identifier has the values, got "
                f"{type(confidence).__name__}."
            )
        shade, label = _confidence(identifier) if confidence else (None, "")
        display = cls(
            identifier.step_mask_,
            true_step_tasks=true_step_tasks,
            confidence=shade,
            confidence_label=label,
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
        n_timesteps, n_tasks = self.step_weights.shape
        ax = drawing.make_axes(self, ax, width=2 + 0.3 * n_timesteps, height=1.3 + 0.3 * n_tasks)
        inches = drawing.axes_inches(ax)
        width = np.clip(18 * inches[0] / n_timesteps, 0.5, 1.6)  # of lines, in points
        if self.confidence is not None:
            self._draw_shades(ax, inches)
        if self.true_step_tasks is None:
            _draw_filled(ax, self.step_weights)
        else:
            _draw_filled(ax, self.step_weights & self.true_step_tasks)
            _draw_open(ax, ~self.step_weights & self.true_step_tasks, width)
            _draw_crossed(ax, self.step_weights & ~self.true_step_tasks, width)
            _explain(ax)

        drawing.label_steps_and_tasks(ax, n_timesteps, self.task_names, inches=inches)
        ax.hlines(np.arange(1, n_tasks) - 0.5, -0.5, n_timesteps - 0.5, color="0.88", lw=0.6)
        ax.tick_params(length=0)
        ax.spines[:].set_color("0.7")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _check_like(self, values: ArrayLike, argument: str) -> np.ndarray:
        matrix = drawing.check_matrix(values, argument=argument)
        if matrix.shape != self.step_weights.shape:
            raise ValueError(
                f"{argument} has shape {matrix.shape}, but step_weights has shape "
                f"{self.step_weights.shape}."
            )
        return matrix

    def _draw_shades(self, ax: Axes, inches: tuple[float, float]) -> None:
        assert self.confidence is not None
        n_timesteps, n_tasks = self.confidence.shape
        cells = ax.pcolormesh(
            np.arange(n_timesteps + 1) - 0.5,
            np.arange(n_tasks + 1) - 0.5,
            self.confidence.T,
            cmap=drawing.greys(0.5),
            vmin=0.0,
            vmax=self.confidence.max() or 1.0,
        )
        drawing.add_bar(ax, cells, self.confidence_label, inches=inches)


def _confidence(identifier: Any) -> tuple[np.ndarray, str]:
    """Return the evidence for each step and task, and its label."""
    pvalues = getattr(identifier, "adjusted_pvalues_", np.nan)
    frequency = getattr(identifier, "selection_frequency_", np.nan)
    if np.isfinite(pvalues).all():
        evidence = np.minimum(-np.log10(np.maximum(pvalues, 1e-300)), _LARGEST_EVIDENCE)
        label = "\N{MINUS SIGN}log\N{SUBSCRIPT ONE}\N{SUBSCRIPT ZERO} p"
    elif np.isfinite(frequency).all():
        evidence, label = frequency, "frequency"
    else:
        raise ValueError(
            "confidence=True needs adjusted_pvalues_ or selection_frequency_, and this "
            f"{type(identifier).__name__} has neither: use the default of n_subsamples with "
            "criterion='selection'."
        )
    steps = np.zeros(identifier.step_mask_.shape)
    for (first, stop), value in zip(identifier.segments_, evidence, strict=True):
        steps[first:stop] = value
    return steps, label


def _squares(cells: np.ndarray) -> list[np.ndarray]:
    """Return the corners of a square in each non-zero cell."""
    corners = 0.36 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return [cell + corners for cell in np.argwhere(cells)]


def _draw_filled(ax: Axes, cells: np.ndarray) -> None:
    from matplotlib.collections import PolyCollection

    ax.add_collection(PolyCollection(_squares(cells), facecolors=drawing.BLUE, edgecolors="none"))


def _draw_open(ax: Axes, cells: np.ndarray, width: float) -> None:
    from matplotlib.collections import PolyCollection

    ax.add_collection(
        PolyCollection(
            _squares(cells),
            facecolors="none",
            edgecolors=drawing.ORANGE,
            linewidths=width,
            path_effects=_halo(width),
        )
    )


def _draw_crossed(ax: Axes, cells: np.ndarray, width: float) -> None:
    from matplotlib.collections import LineCollection

    diagonals = [line for square in _squares(cells) for line in (square[::2], square[1::2])]
    ax.add_collection(
        LineCollection(
            diagonals, colors=drawing.VERMILLION, linewidths=width, path_effects=_halo(width)
        )
    )


def _halo(width: float) -> list[Any]:
    """Return a white border that separates lines from shades of similar lightness."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5 * width, foreground="white")]


def _explain(ax: Axes) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], ls="", marker="s", color=drawing.BLUE, label="found, true"),
        Line2D([], [], ls="", marker="s", color=drawing.ORANGE, mfc="none", label="missed"),
        Line2D([], [], ls="", marker="x", color=drawing.VERMILLION, label="found, false"),
    ]
    drawing.legend_above(ax, handles=marks)


class MaskDisplay:
    """Mask of an encoder: use of latents (columns) by tasks (rows).

    A cell that is exactly zero is left blank with a dot; every other one is tinted,
    however small its value.

    Parameters
    ----------
    mask : array-like of shape (n_tasks, n_latents)
        The mask; its magnitudes are shown.
    task_names : sequence of str, default=None
        Names of the tasks. None numbers them.
    latent_names : sequence of str, default=None
        Names of the latents. None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If the mask is not a matrix, or the names do not fit it.

    See Also
    --------
    TaskStructureDisplay : The time steps that belong to each task.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skspecialist.inspection import MaskDisplay
    >>> display = MaskDisplay([[0.9, 0.0, 0.01], [0.0, 0.4, 0.0]]).plot()
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        mask: ArrayLike,
        *,
        task_names: Sequence[str] | None = None,
        latent_names: Sequence[str] | None = None,
    ) -> None:
        self.mask = drawing.check_matrix(mask, argument="mask")
        n_tasks, n_latents = self.mask.shape
        self.task_names = drawing.check_names(
            task_names, n=n_tasks, prefix="task", argument="task_names"
        )
        self.latent_names = drawing.check_names(
            latent_names, n=n_latents, prefix="", argument="latent_names"
        )

    @classmethod
    def from_estimator(cls, encoder: Any, *, ax: Axes | None = None) -> Self:
        """Draw the mask of a fitted encoder.

        Parameters
        ----------
        encoder : SparseSpecialistEncoder
            A fitted one.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : MaskDisplay
            The display, drawn.
        """
        check_is_fitted(encoder, "mask_")
        return cls(encoder.mask_, task_names=encoder.tasks_.names).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the mask.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose size follows the mask.

        Returns
        -------
        self : MaskDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_tasks, n_latents = self.mask.shape
        ax = drawing.make_axes(self, ax, width=3 + 0.32 * n_latents, height=1.3 + 0.3 * n_tasks)
        magnitude = np.abs(self.mask.astype(float))
        cells = ax.pcolormesh(
            np.arange(n_latents + 1) - 0.5,
            np.arange(n_tasks + 1) - 0.5,
            np.ma.masked_equal(magnitude, 0.0),
            cmap=_tints(),
            vmin=0.0,
            vmax=magnitude.max() or 1.0,
            edgecolors="white",
            linewidth=0.5,
        )
        rows, columns = np.nonzero(magnitude == 0.0)
        inches = drawing.axes_inches(ax)
        dot = np.clip(10 * min(inches[0] / n_latents, inches[1] / n_tasks), 0.8, 3.0)
        ax.plot(columns, rows, ls="", marker="o", ms=dot, mew=0, color="0.55", label="exactly 0")
        drawing.add_bar(ax, cells, "magnitude", inches=inches)
        if len(rows):
            drawing.legend_above(ax, markerscale=3 / dot)

        longest = max(len(name) for name in self.latent_names)
        drawing.label_ticks(
            ax.xaxis, self.latent_names, inches=inches[0], each=0.15 + 0.09 * longest
        )
        drawing.label_ticks(ax.yaxis, self.task_names, inches=inches[1], each=0.18)
        ax.set(xlabel="latent", xlim=(-0.5, n_latents - 0.5), ylim=(n_tasks - 0.5, -0.5))
        ax.tick_params(length=0)
        ax.spines[:].set_color("0.7")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _tints() -> Any:
    """Return shades of blue that start well away from white."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["Blues"](np.linspace(0.25, 1.0, 256)))
