"""Display of the path from dense to empty from which a sparsity was chosen."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._stats.model_comparison import standard_error, tolerated_loss
from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


class SparsityPathDisplay:
    """Held-out task loss explained by the tasks' latents, from all of them to none.

    Whiskers are one standard error over the folds to either side. The band holds the points as
    good as the best one, up to the tolerance and the standard error of the best; a filled
    point is as good, an open one is not. An open point may lie in the band: where folds
    agree on how much it loses, the standard error of that loss counts, which is less. The
    sparsest filled point is the one to choose. A single fold has no standard error here.

    Parameters
    ----------
    scores_path : array-like of shape (n_points, n_folds)
        Held-out share of the task loss that is explained; from the dense point to the
        empty one.
    n_active_path : array-like of shape (n_points,)
        Number of latents that the tasks use.
    best_index : int
        The point chosen.
    sparsity_path : array-like of shape (n_points,), default=None
        Shares of the strongest penalty, rising from 0 to 1: the horizontal axis, whose
        scale is logarithmic (0 has a place to the left of the others), with the numbers
        of latents above. None takes the numbers of latents for it.
    tolerance : float, default=0.0
        Fraction of the loss explained by the best point that a sparser point
        may lose. The default leaves it to the standard error.

    Attributes
    ----------
    positions_ : ndarray of shape (n_points,), float64
        Where the points are on the horizontal axis.
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or the path is not in order.

    See Also
    --------
    MaskDisplay : The latents that each task uses at the point chosen.

    Notes
    -----
    This is the display of glmnet [1]_ for a path of penalties, with the rule of
    :class:`~skspecialist.encoder.SparseSpecialistEncoderCV`.

    References
    ----------
    .. [1] Friedman, Hastie and Tibshirani, Regularization paths for generalized linear
       models via coordinate descent, Journal of Statistical Software 33(1), 2010.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skspecialist.inspection import SparsityPathDisplay
    >>> scores = [[0.81, 0.85], [0.80, 0.86], [0.52, 0.55], [0.0, -0.01]]
    >>> display = SparsityPathDisplay(scores, [3, 2, 1, 0], best_index=1).plot()
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        scores_path: ArrayLike,
        n_active_path: ArrayLike,
        *,
        best_index: int,
        sparsity_path: ArrayLike | None = None,
        tolerance: float = 0.0,
    ) -> None:
        self.scores_path = drawing.check_matrix(scores_path, argument="scores_path")
        n_points = len(self.scores_path)
        if n_points < 2:
            raise ValueError("scores_path must have at least two points, got one.")
        self.n_active_path = _check_path(n_active_path, n_points, argument="n_active_path")
        if not isinstance(best_index, (int, np.integer)) or not 0 <= best_index < n_points:
            raise ValueError(
                f"best_index must be a position from 0 to {n_points - 1}, got {best_index!r}."
            )
        self.best_index = int(best_index)
        self.sparsity_path = None
        if sparsity_path is not None:
            self.sparsity_path = _check_shares(sparsity_path, n_points)
        elif (np.diff(self.n_active_path) >= 0).any():
            raise ValueError(
                "n_active_path must fall from point to point where it is the horizontal axis: "
                "pass sparsity_path as well."
            )
        if not isinstance(tolerance, Real) or not 0 <= tolerance <= 1:
            raise ValueError(f"tolerance must be within [0, 1], got {tolerance!r}.")
        self.tolerance: float = float(tolerance)

    @classmethod
    def from_estimator(cls, encoder: Any, *, ax: Axes | None = None) -> Self:
        """Draw the path of a fitted encoder.

        Parameters
        ----------
        encoder : SparseSpecialistEncoderCV or SparseMultiTaskSelectorCV
            A fitted one.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : SparsityPathDisplay
            The display, drawn.
        """
        check_is_fitted(encoder, "scores_path_")
        display = cls(
            encoder.scores_path_,
            encoder.n_active_path_,
            best_index=encoder.best_index_,
            # Selectors have a path of the penalty, encoders one of the number of latents.
            sparsity_path=None if hasattr(encoder, "n_components_") else encoder.sparsity_path_,
            tolerance=encoder.tolerance,
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the path.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        self : SparsityPathDisplay
            The display, with ``positions_``, ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = drawing.make_axes(self, ax, width=5.5, height=3.4)
        if self.sparsity_path is None:
            self.positions_ = self.n_active_path
            _scale_numbers(ax, self.positions_)
        else:
            self.positions_ = _place(self.sparsity_path)
            _scale_shares(ax, self.positions_, starts_at_zero=self.sparsity_path[0] == 0)
            _name_numbers(ax, self.positions_, self.n_active_path)
        self._draw_band(ax)
        self._draw_points(ax)
        ax.set_ylabel("held-out share explained")
        ax.legend(loc="best", fontsize="small", borderaxespad=0.8, framealpha=1.0)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_band(self, ax: Axes) -> None:
        best, lowest = _band(self.scores_path, self.tolerance)
        limits = ["one standard error"] if self.scores_path.shape[1] > 1 else []
        if self.tolerance:
            limits.insert(0, f"{100 * self.tolerance:.3g} %")
        ax.axhspan(
            lowest,
            best,
            color="0.85",
            lw=0.6,  # seen even where the band is thin
            zorder=0,
            label=f"within {' and '.join(limits) or 'nothing'} of the best",
        )

    def _draw_points(self, ax: Axes) -> None:
        means = self.scores_path.mean(axis=1)
        errors = np.nan_to_num(standard_error(self.scores_path))
        serves = _as_good(self.scores_path, self.tolerance)
        ax.errorbar(
            self.positions_, means, errors, color=drawing.BLUE, lw=1.0, capsize=2.5, zorder=2
        )
        for group, fill, label in (
            (serves, drawing.BLUE, "as good as the best"),
            (~serves, "white", "worse"),
        ):
            if not group.any():
                continue
            ax.plot(
                self.positions_[group],
                means[group],
                ls="",
                marker="o",
                ms=5,
                mfc=fill,
                mec=drawing.BLUE,
                zorder=3,
                label=label,
            )
        chosen = self.positions_[self.best_index], means[self.best_index]
        number = self.n_active_path[self.best_index]
        label = f"chosen: {number:.3g} latent{'' if number == 1 else 's'}"
        ax.axvline(chosen[0], color=drawing.VERMILLION, ls="--", lw=1.0, zorder=1)
        ax.plot(
            *chosen,
            ls="",
            marker="D",
            ms=10,
            mfc="none",
            mec=drawing.VERMILLION,
            mew=1.6,
            zorder=4,
            label=label,
        )


def _check_path(values: ArrayLike, n_points: int, *, argument: str) -> np.ndarray:
    path = drawing.check_floats(values, argument=argument)
    if path.shape != (n_points,) or not np.isfinite(path).all():
        raise ValueError(
            f"{argument} must hold {n_points} finite numbers, one a row of scores_path, "
            f"got shape {path.shape}."
        )
    return path


def _check_shares(values: ArrayLike, n_points: int) -> np.ndarray:
    path = _check_path(values, n_points, argument="sparsity_path")
    if path.min() < 0 or path.max() > 1 or (np.diff(path) <= 0).any():
        raise ValueError(f"sparsity_path must rise within [0, 1], got {path.tolist()}.")
    return path


def _best_and_allowance(scores: np.ndarray, tolerance: float) -> tuple[int, float]:
    """Return the best point, and what may be lost against it without a standard error."""
    means = scores.mean(axis=1)
    best = int(means.argmax())
    return best, tolerance * (means[best] - means[-1])


def _band(scores: np.ndarray, tolerance: float) -> tuple[float, float]:
    """Return the score of the best point, and the least that may be as good."""
    best, allowance = _best_and_allowance(scores, tolerance)
    top = float(scores[best].mean())
    return top, top - allowance - float(tolerated_loss(scores[best]))


def _as_good(scores: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the points that the rule of the encoder takes for as good as the best."""
    best, allowance = _best_and_allowance(scores, tolerance)
    lost = scores[best] - scores
    return lost.mean(axis=1) <= allowance + tolerated_loss(scores[best], lost)


def _place(shares: np.ndarray) -> np.ndarray:
    """Return positions on a logarithmic axis; 0 is left of the others, a tenth of their reach."""
    positions = shares.copy()
    if shares[0] == 0:
        reach = shares[-1] / shares[1]
        positions[0] = shares[1] / (reach**0.1 if reach > 1 else 10.0)
    return positions


def _scale_numbers(ax: Axes, positions: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    margin = min(0.04 * np.ptp(positions), 0.9) or 0.5  # short of a further number
    ax.set(xlim=(positions.max() + margin, positions.min() - margin))
    ax.set_xlabel("latents that the tasks may read")


def _scale_shares(ax: Axes, positions: np.ndarray, *, starts_at_zero: bool) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    first = positions[1] if starts_at_zero else positions[0]
    n_decades = np.log10(positions[-1] / first)
    # At a single position, matplotlib before 3.11 gives the same tick many times for several subs.
    subs = (1, 2, 5) if 0 < n_decades < 3 else (1,)
    inside = 0.999 * first, 1.001 * positions[-1]
    candidates = LogLocator(subs=subs, numticks=12).tick_values(first, positions[-1])
    ticks = [tick for tick in candidates if inside[0] <= tick <= inside[1]]
    names = [f"{tick:.3g}" for tick in ticks]
    margin = (positions[-1] / positions[0]) ** 0.04
    ax.set_xscale("log")
    ax.set_xlim(positions[0] / margin, positions[-1] * margin)
    if starts_at_zero:
        ticks, names = [positions[0], *ticks], ["0", *names]
        _break_axis(ax, np.sqrt(positions[0] * first))
    ax.xaxis.set_major_locator(NullLocator())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks, names)
    ax.set_xlabel("penalty, share of the strongest")


def _break_axis(ax: Axes, position: float) -> None:
    """Mark that the axis skips the range between 0 and the numbers."""
    ax.text(
        position,
        0.0,
        "//",
        transform=ax.get_xaxis_transform(),
        ha="center",
        va="center",
        fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        zorder=5,
    )


def _name_numbers(ax: Axes, positions: np.ndarray, numbers: np.ndarray) -> None:
    """Write the numbers of latents above the points, as many as do not overlap."""
    from matplotlib.ticker import NullLocator

    names = [f"{number:.3g}" for number in numbers]
    across = np.log(positions / positions[0]) / (np.log(positions[-1] / positions[0]) or 1.0)
    room = (0.12 + 0.08 * max(map(len, names))) / drawing.axes_inches(ax)[0]
    kept = [0, len(names) - 1]  # both ends, whatever is between them
    for point in range(len(names) - 2, 0, -1):
        if across[kept[-1]] - across[point] >= room <= across[point]:
            kept.append(point)
    above = ax.secondary_xaxis("top")
    above.xaxis.set_minor_locator(NullLocator())
    above.set_xticks(positions[kept], [names[point] for point in kept])
    above.set_xlabel("latents that the tasks use, mean over folds")
