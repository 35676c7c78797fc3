"""Display of the decoded features along each latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_REACH = 2.0  # standard deviations: within them are 95 % of a normal latent
_GAP = 0.08  # between two images, and above and below curves, as a part of a cell


class LatentTraversalDisplay:
    """The features decoded along one latent (down) after the other, the rest at their mean.

    Images are side by side, from low values of the latent to high ones. Features that are
    no image are curves on top of each other, from dark to light; all rows have one scale,
    so that features of different units should have been standardized before.

    Parameters
    ----------
    features : array-like of shape (n_latents, n_values, n_features)
        The features for each value of each latent.
    values : array-like of shape (n_values,)
        The values, in standard deviations from the mean.
    latent_names : sequence of str, default=None
        Names of the latents. None numbers them.
    image_shape : tuple of (height, width), default=None
        Shape of the images where their pixels are the features. None draws curves.

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
    MaskDisplay : The tasks that use each latent.

    Notes
    -----
    Latents that are identified together only (``inseparable_groups_``) are coordinates
    that the encoder chose: what one of them does is seen in the picture, but another fit
    may mix them differently.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skspecialist.inspection import LatentTraversalDisplay
    >>> values = np.linspace(-2, 2, 5)
    >>> waves = np.sin(np.linspace(0, 6, 40))
    >>> features = [values[:, None] * waves, values[:, None] + waves]
    >>> display = LatentTraversalDisplay(features, values).plot()
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        features: ArrayLike,
        values: ArrayLike,
        *,
        latent_names: Sequence[str] | None = None,
        image_shape: tuple[int, int] | None = None,
    ) -> None:
        self.features = _check_features(features)
        n_latents, n_values, n_features = self.features.shape
        self.values = drawing.check_floats(values, argument="values")
        if self.values.shape != (n_values,) or not np.isfinite(self.values).all():
            raise ValueError(
                f"values must hold {n_values} finite numbers, one for each of the features' "
                f"second axis, got shape {self.values.shape}."
            )
        self.image_shape = None
        if image_shape is not None:
            self.image_shape = drawing.check_image_shape(image_shape)
            if np.prod(image_shape) != n_features:
                raise ValueError(
                    f"image_shape={image_shape!r} needs {np.prod(image_shape)} features, but there "
                    f"are {n_features}."
                )
        self.latent_names = drawing.check_names(
            latent_names, n=n_latents, prefix="", argument="latent_names"
        )

    @classmethod
    def from_estimator(
        cls,
        encoder: Any,
        X: ArrayLike | None = None,
        *,
        latents: ArrayLike | None = None,
        n_values: int = 7,
        image_shape: tuple[int, int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the decoded features along each latent, from -2 to 2 standard deviations.

        Parameters
        ----------
        encoder : SparseSpecialistEncoder or SparseSpecialistEncoderCV
            A fitted one. Latents that no task uses stay at their mean.
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features), \
                default=None
            Steps, as the encoder takes them, whose means and standard deviations of the
            latents to use: of a part of the data, to see the latents' effects there.
            None is those of the training data.
        latents : array-like of int, default=None
            The latents to show, by their columns in ``mask_``. None is all that
            some task uses; others cannot be shown.
        n_values : int, default=7
            Number of values of a latent, at least 2. An odd number shows the mean too.
        image_shape : tuple of (height, width), default=None
            Shape of the images where their pixels are the features. None draws curves.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : LatentTraversalDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If no task uses any latent, or not one of ``latents``, or ``n_values`` is
            less than 2.
        """
        check_is_fitted(encoder, "support_")
        if n_values < 2:
            raise ValueError(f"n_values must be at least 2, got {n_values!r}.")
        support = np.flatnonzero(encoder.support_)
        shown = _check_latents(latents, support)
        values = np.linspace(-_REACH, _REACH, n_values)
        mean, deviation = np.zeros(len(support)), np.ones(len(support))
        if X is not None:
            kept = np.asarray(encoder.transform(X), dtype=float).reshape(-1, len(support))
            mean, deviation = kept.mean(axis=0), kept.std(axis=0)
        columns = np.searchsorted(support, shown)
        points = np.tile(mean, (len(shown), n_values, 1))
        for row, column in enumerate(columns):
            points[row, :, column] += values * deviation[column]
        display = cls(
            encoder.inverse_transform(points),
            values,
            latent_names=[str(latent) for latent in shown],
            image_shape=image_shape,
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the traversal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose size follows the numbers of
            latents and values.

        Returns
        -------
        self : LatentTraversalDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_latents = len(self.features)
        if self.image_shape is None:
            ax = drawing.make_axes(self, ax, width=7.0, height=1.0 + 0.6 * n_latents)
        else:
            ax = self._make_image_axes(ax, self.image_shape)
        ax.set(ylim=(n_latents - 0.5, -0.5), ylabel="latent")
        if self.image_shape is None:
            self._draw_curves(ax)
        else:
            self._draw_images(ax, self.image_shape)
        ax.set_title("Decoded, other latents at their mean", loc="left", fontsize="medium")
        inches = drawing.axes_inches(ax)
        drawing.label_ticks(ax.yaxis, self.latent_names, inches=inches[1], each=0.18)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _make_image_axes(self, ax: Axes | None, shape: tuple[int, int]) -> Axes:
        n_latents, n_values, _ = self.features.shape
        ratio = shape[0] / shape[1]
        # A cell is 0.75 inch wide, or what keeps the figure within its largest size.
        cell = min(0.75, 13.0 / n_values, 11.0 / (ratio * n_latents))
        return drawing.make_axes(
            self, ax, width=1.0 + cell * n_values, height=1.1 + cell * ratio * n_latents
        )

    def _draw_images(self, ax: Axes, shape: tuple[int, int]) -> None:
        n_latents, n_values, _ = self.features.shape
        ax.set(xlim=(-0.5, n_values - 0.5))  # or each image sets its own
        half = 0.5 - _GAP / 2
        for row, column in np.ndindex(n_latents, n_values):
            ax.imshow(
                self.features[row, column].reshape(shape),
                cmap="gray_r",
                vmin=self.features.min(),
                vmax=self.features.max(),
                extent=(column - half, column + half, row + half, row - half),
            )
        ax.set(aspect=shape[0] / shape[1], xlabel="value of the latent (standard deviations)")
        inches = drawing.axes_inches(ax)
        drawing.label_ticks(ax.xaxis, _name_values(self.values), inches=inches[0], each=0.5)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)

    def _draw_curves(self, ax: Axes) -> None:
        n_latents, n_values, n_features = self.features.shape
        low, high = self.features.min(), self.features.max()
        heights = (self.features - low) / ((high - low) or 1.0)
        colors = _shades(n_values)
        for row, column in np.ndindex(n_latents, n_values):
            ax.plot(
                np.arange(n_features),
                row + (0.5 - _GAP) * (1 - 2 * heights[row, column]),
                color=colors(column),
                lw=1.2,
                marker="o" if n_features == 1 else "",
            )
        _explain(ax, colors, self.values)
        inches = drawing.axes_inches(ax)
        positions = [str(feature) for feature in range(n_features)]
        drawing.label_ticks(ax.xaxis, positions, inches=inches[0], each=0.4)
        margin = 0.02 * (n_features - 1) or 0.5
        ends = -margin, n_features - 1 + margin
        ax.hlines(np.arange(1, n_latents) - 0.5, *ends, color="0.8", lw=0.6)
        ax.set(xlim=ends)
        ax.set_xlabel(f"feature (a row spans values from {_number(low)} to {_number(high)})")
        ax.tick_params(axis="y", length=0)
        ax.spines[:].set_color("0.7")


def _check_features(features: ArrayLike) -> np.ndarray:
    array = drawing.check_floats(features, argument="features")
    if array.ndim != 3 or array.size == 0:
        raise ValueError(
            "features must have shape (n_latents, n_values, n_features) and not be empty, got "
            f"{array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError("features must hold finite numbers.")
    return array


def _check_latents(latents: ArrayLike | None, support: np.ndarray) -> np.ndarray:
    """Return the latents to show: all of the support, or those asked for."""
    if not len(support):
        raise ValueError("encoder has an empty support: no latent to draw.")
    if latents is None:
        return support
    shown = np.asarray(latents)
    if shown.ndim != 1 or shown.dtype.kind not in "iu" or not np.isin(shown, support).all():
        raise ValueError(
            f"latents must be some of the support, {support.tolist()}, got {latents!r}."
        )
    return shown


def _number(value: float) -> str:
    return f"{value:.2g}".replace("-", "\N{MINUS SIGN}")


def _name_values(values: np.ndarray) -> list[str]:
    return [_number(value) for value in values]


def _shades(n: int) -> Any:
    """Return ``n`` colors from dark to light, also in gray, that end well before white."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, n)))


def _explain(ax: Axes, colors: Any, values: np.ndarray) -> None:
    """Add the bar of the curves' colors, a field for each value."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm

    norm = BoundaryNorm(np.arange(len(values) + 1) - 0.5, len(values))
    height = drawing.axes_inches(ax)[1]
    shrink = min(1.0, 2.0 / height)  # two inches are enough, however many latents there are
    bar = ax.figure.colorbar(
        ScalarMappable(norm, colors), ax=ax, pad=0.02, shrink=shrink, anchor=(0, 1), aspect=12
    )
    names = _name_values(values)
    drawing.label_ticks(bar.ax.yaxis, names, inches=shrink * height, each=0.18)
    bar.ax.minorticks_off()
    bar.set_label("standard deviations")
    bar.outline.set_visible(False)
