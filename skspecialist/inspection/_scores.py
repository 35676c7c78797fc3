"""Displays of scores with their standard errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._data.validation import as_array
from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


class SpecialistGainDisplay:
    """Gain in held-out loss of the specialist of each task over the generalist.

    A point is the gain in held-out loss, its bar one standard error to either side: a task
    is specialized where the whole bar is to the right of zero. Tasks that were not compared
    show the reason instead.

    Parameters
    ----------
    gain : array-like of shape (n_tasks,)
        Loss of the generalist minus that of the specialist; NaN where not compared.
    gain_se : array-like of shape (n_tasks,)
        Its standard error.
    use_specialist : array-like of shape (n_tasks,), default=None
        Which tasks are specialized. None is where the gain exceeds its standard error.
    reasons : sequence of (str or None), default=None
        Why a task is not specialized; shown where nothing was compared.
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
        If the arguments do not have one entry for each task.

    See Also
    --------
    MaskDisplay : The latents that each task uses.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skspecialist.inspection import SpecialistGainDisplay
    >>> display = SpecialistGainDisplay([0.3, -0.1], [0.1, 0.1]).plot()
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        gain: ArrayLike,
        gain_se: ArrayLike,
        *,
        use_specialist: ArrayLike | None = None,
        reasons: Sequence[str | None] | None = None,
        task_names: Sequence[str] | None = None,
    ) -> None:
        self.gain = drawing.check_entries(gain, np.size(gain), argument="gain", allow_nan=True)
        n_tasks = len(self.gain)
        self.gain_se = drawing.check_entries(gain_se, n_tasks, argument="gain_se", allow_nan=True)
        if (self.gain_se < 0).any():
            raise ValueError(f"gain_se must not be negative, got {self.gain_se.tolist()}.")
        self.use_specialist = self.gain > self.gain_se
        if use_specialist is not None:
            chosen = drawing.check_entries(
                use_specialist, n_tasks, argument="use_specialist", allow_nan=True
            )
            self.use_specialist = chosen != 0
        self.reasons: list[str | None] = [None] * n_tasks
        if reasons is not None:
            if not isinstance(reasons, Iterable):
                raise TypeError(f"reasons must be a list, got {reasons!r}.")
            self.reasons = list(reasons)
        if len(self.reasons) != n_tasks:
            raise ValueError(f"reasons must have one entry for each of {n_tasks} tasks.")
        self.task_names = drawing.check_names(
            task_names, n=n_tasks, prefix="task", argument="task_names"
        )

    @classmethod
    def from_estimator(cls, pipeline: Any, *, ax: Axes | None = None) -> Self:
        """Draw the validation gains of a fitted pipeline.

        Parameters
        ----------
        pipeline : SpecialistPipeline
            A fitted one.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : SpecialistGainDisplay
            The display, drawn.
        """
        check_is_fitted(pipeline, "use_specialist_")
        return cls(
            pipeline.validation_gain_,
            pipeline.validation_gain_se_,
            use_specialist=pipeline.use_specialist_,
            reasons=pipeline.fallback_reason_,
            task_names=pipeline.tasks_.names,
        ).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the gains.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose height follows the tasks.

        Returns
        -------
        self : SpecialistGainDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_tasks = len(self.gain)
        ax = drawing.make_axes(self, ax, width=6.5, height=1.6 + 0.3 * n_tasks)
        ax.axvline(0.0, color="0.4", lw=0.8)
        places = np.arange(n_tasks)
        for used, color, marker, label in (
            (True, drawing.BLUE, "o", "specialist"),
            (False, drawing.ORANGE, "s", "generalist kept"),
        ):
            chosen = (self.use_specialist == used) & np.isfinite(self.gain)
            if chosen.any():
                ax.errorbar(
                    self.gain[chosen],
                    places[chosen],
                    xerr=self.gain_se[chosen],
                    ls="",
                    marker=marker,
                    color=color,
                    capsize=2,
                    label=label,
                )
        for place in places[~np.isfinite(self.gain)]:
            text = self.reasons[place] or "specialist, without comparison"
            ax.annotate(
                text,
                (0.0, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
                color="0.3",
            )
        if np.isfinite(self.gain).any():
            drawing.legend_above(ax)
        height = drawing.axes_inches(ax)[1]
        drawing.label_ticks(ax.yaxis, self.task_names, inches=height, each=0.18)
        ax.set(xlabel="gain in held-out loss, with one standard error", ylim=(n_tasks - 0.5, -0.5))
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        self.ax_, self.figure_ = ax, ax.figure
        return self


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
