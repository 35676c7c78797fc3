"""Display of the latents that each task uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


class MaskDisplay:
    """How much each task (down) uses each latent (across).

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
