"""Display of the dependence between the segments of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.stats import false_discovery_control

from ..independence._base import IndependenceResult
from ..independence._gaussian import FisherZ, Wilks
from ..structure._criteria import Selection
from ..structure._segments import evidence_blocks, resolve_segment_steps, to_columns
from ..structure.aggregation import to_matrix
from . import _drawing as drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


class PairEvidenceDisplay:
    """Dependence between pairs of segments, and the segments of a task.

    The segments of a task form a clique: all pairs of them are dependent. The shade of a
    pair is the evidence for its dependence, significant pairs have a dot, and the pairs of
    segments that were found for the task are framed. Framed cells without a dot are pairs
    that are not significant alone; dots without a frame are pairs whose evidence the other
    pairs do not support. Cells without a test, such as the diagonal, are hatched.

    Parameters
    ----------
    scores : array-like of shape (n_segments, n_segments, n_tasks)
        Absolute normal score of each pair for each task, symmetric in the segments; NaN
        where a pair was not tested.
    significant : array-like of bool of shape (n_segments, n_segments, n_tasks)
        Whether a pair is significant.
    structure : array-like of shape (n_segments, n_tasks)
        Segments that were found for each task; non-zero if relevant.
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
    ValueError or TypeError
        If the shapes are inconsistent, or the arrays are not numeric.

    See Also
    --------
    TaskStructureDisplay : The steps of all tasks.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.datasets import make_collider_sequences
    >>> from skspecialist.inspection import PairEvidenceDisplay
    >>> data = make_collider_sequences(2000, n_timesteps=12, n_tasks=2, random_state=0)
    >>> identifier = TaskStructureIdentifier(criterion="collider").fit(data.X, data.y)
    >>> display = PairEvidenceDisplay.from_estimator(identifier, task=1)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        scores: ArrayLike,
        significant: ArrayLike,
        structure: ArrayLike,
        *,
        task_names: Sequence[str] | None = None,
    ) -> None:
        self.structure = drawing.check_matrix(structure, argument="structure") != 0
        n_segments, n_tasks = self.structure.shape
        self.scores = drawing.check_floats(scores, argument="scores")
        self.significant = drawing.check_floats(significant, argument="significant")
        for name in ("scores", "significant"):
            if np.shape(getattr(self, name)) != (n_segments, n_segments, n_tasks):
                raise ValueError(
                    f"{name} must have shape {(n_segments, n_segments, n_tasks)}, as structure "
                    f"has {n_segments} segments and {n_tasks} tasks, got "
                    f"{np.shape(getattr(self, name))}."
                )
        self.task_names = drawing.check_names(
            task_names, n=n_tasks, prefix="task", argument="task_names"
        )
        if np.isinf(self.scores).any() or np.nanmin(self.scores, initial=0.0) < 0:
            raise ValueError("scores must be absolute values, finite or NaN.")
        if not np.isin(self.significant, [0, 1]).all():
            raise ValueError("significant must hold True and False only.")
        self.significant = self.significant == 1

    @classmethod
    def from_estimator(
        cls,
        identifier: Any,
        X: ArrayLike | None = None,
        *,
        task: int | str = 0,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the pairs of a fitted identifier.

        With ``criterion="collider"`` these are the tests that were aggregated, given the
        task. With ``criterion="selection"``, which performs no tests, all pairs of segments
        that do not touch are tested given all other steps. These tests are common to all
        tasks, so that the cliques of the other tasks are visible as well.

        Parameters
        ----------
        identifier : TaskStructureIdentifier
            Fitted estimator, with the criterion "collider" or "selection".
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_), default=None
            Sequences of the tests, more of them than columns: those of ``fit`` or others.
            Required with "selection", and ignored otherwise.
        task : int or str, default=0
            The task, by its position or its name.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : PairEvidenceDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the criterion does not test pairs, there are no pairs or no tasks, or ``X``
            is missing but required.
        """
        drawing.check_fitted(
            identifier, "segments_", argument="identifier", kind="TaskStructureIdentifier"
        )
        structure = identifier.structure_
        tests, pairs = _tests_of_pairs(identifier, X)
        adjusted = tests.pvalue
        if identifier.correction != "none":
            adjusted = false_discovery_control(adjusted, axis=0, method=identifier.correction)
        found = (adjusted <= identifier.alpha) & tests.informative
        score = np.abs(tests.normal_score) if tests.signed else np.maximum(tests.normal_score, 0)
        score = np.where(tests.informative, score, np.nan)
        per_task = len(pairs), structure.shape[1]
        display = cls(
            to_matrix(np.broadcast_to(score, per_task), pairs, len(structure), fill=np.nan),
            to_matrix(np.broadcast_to(found, per_task), pairs, len(structure), fill=False),
            structure,
            task_names=identifier.task_names_,
        )
        return display.plot(task=task, ax=ax)

    def plot(self, *, task: int | str = 0, ax: Axes | None = None) -> Self:
        """Draw the pairs of one task.

        Parameters
        ----------
        task : int or str, default=0
            The task, by its position or its name.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure whose size follows the segments.

        Returns
        -------
        self : PairEvidenceDisplay
            The display, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such task.
        """
        position = drawing.find_task(task, self.task_names)
        n_segments = len(self.structure)
        side = np.clip(0.28 * n_segments, 2.0, 7.0)
        ax = drawing.make_axes(self, ax, width=side + 1.7, height=side + 1.2)
        ax.set(xlim=(-0.5, n_segments - 0.5), ylim=(n_segments - 0.5, -0.5), aspect="equal")
        inches = min(drawing.axes_inches(ax))
        self._draw_pairs(ax, position, inches)
        numbers = [str(segment) for segment in range(n_segments)]
        for axis in (ax.xaxis, ax.yaxis):
            drawing.label_ticks(axis, numbers, inches=inches, each=0.3)
        ax.set(xlabel="segment", ylabel="segment")
        ax.set_title(f"Pairs of {self.task_names[position]}", loc="left", fontsize="medium", pad=22)
        ax.tick_params(length=0)
        ax.spines[:].set_color("0.7")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_pairs(self, ax: Axes, position: int, inches: float) -> None:
        scores, significant = self.scores[:, :, position], self.significant[:, :, position]
        found = self.structure[:, position]
        edges = np.arange(len(found) + 1) - 0.5
        tested = np.isfinite(scores)
        ax.patch.set(hatch="////", edgecolor="0.8")  # visible where no pair was tested
        cells = ax.pcolormesh(
            edges,
            edges,
            np.ma.masked_invalid(scores),
            cmap=drawing.greys(0.7),
            vmin=0.0,
            vmax=scores[tested].max() if tested.any() else 1.0,
        )
        rows, columns = np.nonzero(significant)
        each = 72 * inches / len(found)  # points
        size = np.clip(0.28 * each, 1.0, 6.0)
        ax.plot(columns, rows, ls="", marker="o", ms=size, color="white", mec="black", mew=0.6)
        _frame(ax, np.outer(found, found), np.clip(0.1 * each, 0.5, 1.8))
        drawing.add_bar(ax, cells, "absolute normal score", inches=(inches, inches))
        _explain(ax)


def _tests_of_pairs(identifier: Any, X: ArrayLike | None) -> tuple[IndependenceResult, np.ndarray]:
    """Return tests of shape (n_pairs, n_tasks), or (n_pairs, 1) for all tasks, and the pairs."""
    criterion = getattr(identifier, "criterion_", None)
    if getattr(identifier, "pairs_", None) is not None:
        tests, pairs = identifier.test_result_, identifier.pairs_
    elif not isinstance(criterion, Selection):
        raise ValueError(
            f"{type(identifier).__name__} with criterion={criterion!r} does not test pairs of "
            "segments: fit with criterion='collider' or 'selection', or draw the evidence for "
            "single segments with TaskStructureDisplay.from_estimator(..., confidence=True)."
        )
    elif X is None:
        raise ValueError(
            "X is required with criterion='selection', which performs no tests of pairs: pass the "
            "sequences of fit, or others."
        )
    else:
        tests, pairs = _test_given_rest(identifier, X)
    if not len(pairs):
        raise ValueError(
            f"There is no pair of segments to draw: segments_ has {len(identifier.segments_)}."
        )
    return tests, pairs


def _test_given_rest(identifier: Any, X: ArrayLike) -> tuple[IndependenceResult, np.ndarray]:
    """Test all pairs of segments that do not touch, given all other steps."""
    segments, n_timesteps = identifier.segments_, identifier.n_timesteps_
    sequences = identifier._validate(X)
    n_features = sequences.shape[2]
    pairs = np.stack(np.triu_indices(len(segments), 1), axis=1)
    pairs = pairs[segments[pairs[:, 1], 0] > segments[pairs[:, 0], 1]]
    segment_steps = resolve_segment_steps(identifier.segment_steps, segments)
    blocks, _ = evidence_blocks(segments, n_timesteps, segment_steps)
    x, y = blocks[pairs[:, 0]], blocks[pairs[:, 1]]
    steps = np.arange(n_timesteps)
    own = (np.hstack([x, y])[:, :, None] == steps).any(axis=1)
    z = np.where(own, -1, steps)
    test = FisherZ() if x.shape[1] * n_features == 1 else Wilks()
    columns = [to_columns(side, n_features) for side in (x, y, z)]
    if np.isnan(sequences).any():
        raise ValueError("X has missing steps (NaN): pairs need sequences with all steps.")
    tests = test.test_many(sequences.reshape(len(sequences), -1), *columns)
    return tests.reshape(len(pairs), 1), pairs


def _frame(ax: Axes, cells: np.ndarray, width: float) -> None:
    from matplotlib.collections import PolyCollection

    corners = 0.44 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    squares = [cell[::-1] + corners for cell in np.argwhere(cells)]
    ax.add_collection(
        PolyCollection(
            squares, facecolors="none", edgecolors=drawing.VERMILLION, linewidths=width, zorder=2
        )
    )


def _explain(ax: Axes) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], ls="", marker="o", mfc="white", mec="black", mew=0.6, label="significant"),
        Line2D([], [], ls="", marker="s", mfc="none", mec=drawing.VERMILLION, label="of the task"),
    ]
    drawing.legend_above(ax, handles=marks)
