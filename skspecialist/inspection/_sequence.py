"""Display of sequences with the steps of one task framed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_GAP = 0.12  # between two steps, as a part of the width of one


class SequenceDisplay:
    """A few sequences, one a row, with the steps of one task framed.

    A step is an image or, where it is not one, a curve of its features. The steps that do
    not belong to the task are pale.

    Parameters
    ----------
    sequences : array-like of shape (n_sequences, n_timesteps, n_features) or \
            (n_sequences, n_timesteps, height, width)
        The sequences to show: few enough to be looked at.
    step_weights : array-like of shape (n_timesteps, n_tasks) or \
            (n_sequences, n_timesteps, n_tasks)
        How far each step belongs to each task, from 0 to 1; the same for all sequences
        or each its own. The frames are as strong as the weights.
    task_names : sequence of str, default=None
        Names of the tasks. None numbers them.
    image_shape : tuple of (height, width), default=None
        Shape of the images where their pixels are the features. None draws the
        features of a 3-D ``sequences`` as a curve.

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
    TaskStructureDisplay : The steps of all tasks.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skspecialist.inspection import SequenceDisplay
    >>> images = np.random.default_rng(0).random((2, 4, 8, 8))
    >>> display = SequenceDisplay(images, [[1, 0], [1, 0], [0, 1], [0, 0]]).plot(task=1)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        sequences: ArrayLike,
        step_weights: ArrayLike,
        *,
        task_names: Sequence[str] | None = None,
        image_shape: tuple[int, int] | None = None,
    ) -> None:
        self.sequences = _check_sequences(sequences, image_shape)
        self.step_weights = _check_weights(step_weights, self.sequences.shape[:2])
        self.task_names = drawing.check_names(
            task_names, n=self.step_weights.shape[2], prefix="task", argument="task_names"
        )

    @classmethod
    def from_estimator(
        cls,
        identifier: Any,
        X: ArrayLike,
        *,
        task: int | str = 0,
        max_sequences: int = 4,
        image_shape: tuple[int, int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the first sequences with the steps that a fitted identifier found.

        Parameters
        ----------
        identifier : TaskStructureIdentifier
            A fitted one.
        X : array-like of shape (n_sequences, n_timesteps, n_features)
            Sequences, as the identifier takes them.
        task : int or str, default=0
            The task whose steps are framed, by its position or its name.
        max_sequences : int, default=4
            How many to show: more than a handful are hard to compare.
        image_shape : tuple of (height, width), default=None
            Shape of the images where their pixels are the features.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : SequenceDisplay
            The display, drawn.
        """
        X = np.asarray(X)[:max_sequences]
        weights = np.asarray(identifier.step_weights(X))
        display = cls(
            X.reshape(*weights.shape[:2], -1),
            weights,
            task_names=identifier.task_names_,
            image_shape=image_shape,
        )
        return display.plot(task=task, ax=ax)

    def plot(self, *, task: int | str = 0, ax: Axes | None = None) -> Self:
        """Draw the sequences.

        Parameters
        ----------
        task : int or str, default=0
            The task whose steps are framed, by its position or its name.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose size follows the sequences.

        Returns
        -------
        self : SequenceDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such task.
        """
        position = drawing.find_task(task, self.task_names)
        weights = self.step_weights[:, :, position]
        n_sequences, n_timesteps = weights.shape
        width = min(14.0, 1 + 0.7 * n_timesteps)
        ax = drawing.make_axes(
            self, ax, width=width, height=1.0 + (width - 1) * n_sequences / n_timesteps
        )
        draw_step = _draw_image if self.sequences.ndim == 4 else _draw_curve
        low, high = np.nanmin(self.sequences), np.nanmax(self.sequences)
        for row, column in np.ndindex(n_sequences, n_timesteps):
            values = (self.sequences[row, column] - low) / ((high - low) or 1.0)
            draw_step(ax, values, row, column, faded=weights[row, column] == 0)
        _draw_frames(ax, weights)

        inches = drawing.axes_inches(ax)
        steps = [str(step) for step in range(n_timesteps)]
        drawing.label_ticks(ax.xaxis, steps, inches=inches[0], each=0.3)
        rows = [str(row) for row in range(n_sequences)]
        drawing.label_ticks(ax.yaxis, rows, inches=inches[1], each=0.18)
        ax.set(xlim=(-0.6, n_timesteps - 0.4), ylim=(n_sequences - 0.4, -0.6), aspect="equal")
        ax.set(xlabel="time step", ylabel="sequence")
        ax.set_title(f"Steps of {self.task_names[position]}", loc="left", fontsize="medium")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _check_sequences(sequences: ArrayLike, image_shape: tuple[int, int] | None) -> np.ndarray:
    array = drawing.check_floats(sequences, argument="sequences")
    if array.ndim not in (3, 4) or array.size == 0:
        raise ValueError(
            "sequences must have shape (n_sequences, n_timesteps, n_features) or (n_sequences, "
            f"n_timesteps, height, width) and not be empty, got {array.shape}."
        )
    if np.isinf(array).any():
        raise ValueError("sequences must hold finite numbers, or NaN for missing steps.")
    if image_shape is None:
        return array
    sides = drawing.check_image_shape(image_shape)
    if np.prod(sides) != np.prod(array.shape[2:]):
        raise ValueError(
            f"image_shape={image_shape!r} needs {np.prod(sides)} features a step, but "
            f"sequences have {np.prod(array.shape[2:])}."
        )
    return array.reshape(*array.shape[:2], *sides)


def _check_weights(step_weights: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    weights = drawing.check_floats(step_weights, argument="step_weights")
    if weights.ndim == 2:
        weights = np.broadcast_to(weights, (shape[0], *weights.shape))
    if weights.ndim != 3 or weights.shape[:2] != shape or weights.shape[2] == 0:
        raise ValueError(
            f"step_weights must have shape {(shape[1], 'n_tasks')} or "
            f"{(*shape, 'n_tasks')}, got {np.shape(step_weights)}."
        )
    if not np.isfinite(weights).all():
        raise ValueError("step_weights must hold finite numbers.")
    return weights


def _draw_image(ax: Axes, values: np.ndarray, row: int, column: int, *, faded: bool) -> None:
    half = 0.5 - _GAP / 2
    ax.imshow(
        values,
        cmap="gray_r",
        vmin=0,
        vmax=1,
        extent=(column - half, column + half, row + half, row - half),
        alpha=0.35 if faded else 1.0,
    )


def _draw_curve(ax: Axes, values: np.ndarray, row: int, column: int, *, faded: bool) -> None:
    half = 0.5 - _GAP
    across = np.linspace(-half, half, len(values)) if len(values) > 1 else np.zeros(1)
    ax.plot(
        column + across,
        row + half - 2 * half * values,
        color="0.75" if faded else "0.1",
        lw=1.0,
        marker="" if len(values) > 1 else "o",
        ms=4,
    )


def _draw_frames(ax: Axes, weights: np.ndarray) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    cells = np.argwhere(weights > 0)
    corners = 0.5 * (1 - _GAP / 2) * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    strengths = 0.3 + 0.7 * np.clip(weights[weights > 0], 0, 1)
    ax.add_collection(
        PolyCollection(
            [cell[::-1] + corners for cell in cells],
            facecolors="none",
            edgecolors=[to_rgba(drawing.VERMILLION, strength) for strength in strengths],
            linewidths=2.0,
            zorder=3,
        )
    )
