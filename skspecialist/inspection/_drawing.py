"""Helpers of the displays: axes, ticks, colors and checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import NotFittedError

from .._data.validation import as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Okabe and Ito's colors, which differ for color-blind readers and, in this choice, in gray.
BLUE, ORANGE, VERMILLION, GREY = "#0072B2", "#E69F00", "#D55E00", "#8C8C8C"


def import_pyplot(owner: object) -> Any:
    """Return matplotlib's pyplot, or raise an error that names the extra."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(owner).__name__}.plot needs matplotlib: pip install 'skspecialist[plot]'."
        ) from error
    return plt


def make_axes(owner: object, ax: Axes | None, *, width: float, height: float) -> Axes:
    """Return ``ax``, or the axes of a new figure whose size in inches is kept in bounds."""
    plt = import_pyplot(owner)
    if ax is None:
        size = (np.clip(width, 4.0, 14.0), np.clip(height, 2.2, 12.0))
        _, ax = plt.subplots(figsize=size, layout="constrained")
    elif not isinstance(ax, plt.Axes):
        raise TypeError(f"ax must be matplotlib Axes, or None, got {type(ax).__name__}.")
    return ax


def axes_inches(ax: Axes) -> tuple[float, float]:
    """Return the width and height of the axes, roughly, before the labels take their part."""
    width, height = ax.figure.get_size_inches()  # type: ignore[union-attr]
    box = ax.get_position()
    return width * box.width, height * box.height


def label_ticks(axis: Axis, names: Sequence[str], *, inches: float, each: float) -> None:
    """Name the positions 0, 1, ..., leaving names out where ``each`` inch a name is too much."""
    crowding = len(names) * each / inches
    stride = next(s * 10**e for e in range(9) for s in (1, 2, 5) if s * 10**e >= crowding)
    positions = range(0, len(names), stride)
    axis.set_ticks(positions, [names[position] for position in positions])


def label_steps_and_tasks(
    ax: Axes, n_timesteps: int, task_names: Sequence[str], *, inches: tuple[float, float]
) -> None:
    """Label the axes of a picture with one column per step and one row per task."""
    label_ticks(ax.xaxis, list(map(str, range(n_timesteps))), inches=inches[0], each=0.3)
    label_ticks(ax.yaxis, task_names, inches=inches[1], each=0.18)
    ax.set(xlim=(-0.5, n_timesteps - 0.5), ylim=(len(task_names) - 0.5, -0.5), xlabel="time step")


def legend_above(ax: Axes, **options: Any) -> None:
    """Add the legend on one line above the axes, where it hides nothing."""
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        frameon=False,
        borderaxespad=0.2,
        handletextpad=0.2,
        columnspacing=1.2,
        **options,
    )


def add_bar(ax: Axes, cells: Any, label: str, *, inches: tuple[float, float]) -> None:
    """Explain the shades beside the axes, of ``inches``; two of them are high enough."""
    width, height = inches
    share = min(1.0, 2.0 / height)
    beside = ax.inset_axes((1.0 + 0.1 / width, 1.0 - share, 0.14 / width, share))
    ax.figure.colorbar(cells, cax=beside, label=label).outline.set_visible(False)


def greys(darkest: float) -> Any:
    """Return shades from white to a gray on which marks still show, up to 1 for black."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["Greys"](np.linspace(0.0, darkest, 256)))


def find_task(task: int | str, names: Sequence[str]) -> int:
    """Return the position of a task that is given by its position or its name."""
    if isinstance(task, str) and task in names:
        return list(names).index(task)
    if not isinstance(task, (int, np.integer)) or not 0 <= task < len(names):
        raise ValueError(
            f"task={task!r} is not known: use one of {list(names)} or a position "
            f"from 0 to {len(names) - 1}."
        )
    return int(task)


def check_fitted(estimator: Any, *attributes: str, argument: str, kind: str) -> None:
    """Check that an estimator is fitted and has the attributes to draw."""
    missing = [name for name in attributes if not hasattr(estimator, name)]
    if missing:
        message = f"{argument} must be a fitted {kind}: this {type(estimator).__name__} has no "
        error = NotFittedError if hasattr(estimator, "fit") else TypeError
        raise error(message + f"{missing[0]}.")


def check_names(names: Sequence[str] | None, *, n: int, prefix: str, argument: str) -> list[str]:
    """Return ``n`` names: the ones given, or numbered ones."""
    if names is None:
        return [f"{prefix}{i}" for i in range(n)]
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} must be a list of names, got {names!r}.")
    names = list(names)
    if len(names) != n:
        raise ValueError(f"{argument} must hold {n} names, got {len(names)}.")
    return [str(name) for name in names]


def check_matrix(values: Any, *, argument: str) -> np.ndarray:
    """Return ``values`` as an array of two dimensions without missing numbers."""
    matrix = as_array(values, argument)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{argument} must be a matrix that is not empty, got {matrix.shape}.")
    if matrix.dtype.kind not in "biuf" or not np.isfinite(matrix).all():
        raise ValueError(f"{argument} must hold finite numbers.")
    return matrix


def check_floats(values: Any, *, argument: str) -> np.ndarray:
    """Return numbers of any shape as float64; missing ones are NaN."""
    array = as_array(values, argument)
    if array.dtype.kind not in "biufO":
        raise TypeError(f"{argument} must hold numbers, got {array.dtype}.")
    return as_array(array, argument, dtype=np.float64).copy()


def check_entries(
    values: Any, n_tasks: int, *, argument: str, allow_nan: bool = False
) -> np.ndarray:
    """Return one number per task, as float64."""
    entries = check_floats(values, argument=argument)
    is_bad = np.isinf(entries) if allow_nan else ~np.isfinite(entries)
    if entries.shape != (n_tasks,) or not n_tasks or is_bad.any():
        kind = "entry, a number or NaN," if allow_nan else "finite number"
        raise ValueError(
            f"{argument} must have one {kind} for each of {n_tasks} tasks, got {entries.tolist()}."
        )
    return entries


def check_image_shape(shape: Any) -> tuple[int, int]:
    """Return the height and width of images."""
    sides = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sides) != 2 or not all(isinstance(s, (int, np.integer)) and s > 0 for s in sides):
        raise ValueError(f"image_shape must be (height, width) in pixels, got {shape!r}.")
    return sides
