"""Display of the contribution of groups of columns to tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._data.validation import as_array
from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


class FeatureGroupDisplay:
    """Scores of groups of columns, such as layers or heads, with their standard errors.

    The groups stay in their order, since neighbors among layers are often alike.

    Parameters
    ----------
    scores : array-like of shape (n_feature_groups,)
        Score of each group.
    standard_errors : array-like of shape (n_feature_groups,), default=None
        Standard errors of the scores; NaN for none.
    selected : array-like of bool of shape (n_feature_groups,), default=None
        Groups that are selected, which are drawn in color. None draws all alike.
    names : sequence of str, default=None
        Names of the groups. None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If the arguments differ in length.

    See Also
    --------
    FeatureGroupRanker : The estimator whose ranking is drawn.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skspecialist.inspection import FeatureGroupDisplay
    >>> display = FeatureGroupDisplay([0.1, 0.7], selected=[False, True], names=["1", "2"])
    >>> plt.close(display.plot().figure_)
    """

    def __init__(
        self,
        scores: ArrayLike,
        *,
        standard_errors: ArrayLike | None = None,
        selected: ArrayLike | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.scores = drawing.check_floats(scores, argument="scores")
        n = self.scores.size
        self.standard_errors = None
        if standard_errors is not None:
            self.standard_errors = drawing.check_floats(standard_errors, argument="standard_errors")
        chosen = np.ones(n, dtype=bool) if selected is None else as_array(selected, "selected")
        self.selected = chosen
        for argument in ("scores", "standard_errors", "selected"):
            values = getattr(self, argument)
            if values is not None and (values.shape != (n,) or not n):
                raise ValueError(
                    f"{argument} must have one value for each of {n} groups, got shape "
                    f"{values.shape}."
                )
        if chosen.dtype != bool:
            raise ValueError(f"selected must hold bools, got {chosen.dtype}.")
        self.names = drawing.check_names(names, n=n, prefix="group", argument="names")

    @classmethod
    def from_estimator(cls, ranker: Any, *, ax: Axes | None = None) -> Self:
        """Draw the ranking of a fitted ranker.

        Parameters
        ----------
        ranker : FeatureGroupRanker
            A fitted one.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : FeatureGroupDisplay
            The display, drawn.
        """
        needed = ("scores_", "ranking_", "n_groups_")
        drawing.check_fitted(ranker, *needed, argument="ranker", kind="FeatureGroupRanker")
        return cls(
            ranker.scores_,
            standard_errors=ranker.standard_errors_,
            selected=ranker.ranking_ <= ranker.n_groups_,
            names=list(ranker.feature_groups_),
        ).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw one bar per group.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose size follows the number of groups.

        Returns
        -------
        self : FeatureGroupDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n = len(self.scores)
        ax = drawing.make_axes(self, ax, width=5.5, height=1.0 + 0.24 * n)
        for selected, color, label in (
            (True, drawing.BLUE, "selected"),
            (False, drawing.GREY, "not selected"),
        ):
            rows = np.flatnonzero(self.selected == selected)
            if len(rows):
                errors = None if self.standard_errors is None else self.standard_errors[rows]
                ax.barh(rows, self.scores[rows], xerr=errors, color=color, label=label, height=0.7)
        ax.axvline(0.0, color="0.3", linewidth=0.8)
        drawing.label_ticks(ax.yaxis, self.names, inches=drawing.axes_inches(ax)[1], each=0.18)
        ax.set(xlabel="score", ylim=(n - 0.5, -0.5))
        ax.spines[["top", "right"]].set_visible(False)
        if not self.selected.all():
            drawing.legend_above(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
