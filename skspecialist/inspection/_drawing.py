"""What the displays share: axes of the right size, ticks that do not overlap, names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Okabe and Ito's colours, which differ for colour-blind readers and, in this choice, in grey.
BLUE, ORANGE, VERMILLION, GREY = "#0072B2", "#E69F00", "#D55E00", "#8C8C8C"


def import_pyplot(owner: object) -> Any:
    """Return matplotlib's pyplot, or say what to install."""
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


def check_names(names: Sequence[str] | None, *, n: int, prefix: str, argument: str) -> list[str]:
    """Return ``n`` names: the ones given, or numbered ones."""
    if names is None:
        return [f"{prefix}{i}" for i in range(n)]
    if len(names) != n:
        raise ValueError(f"{argument} must hold {n} names, got {len(names)}.")
    return [str(name) for name in names]


def check_matrix(values: Any, *, argument: str) -> np.ndarray:
    """Return ``values`` as an array of two dimensions without missing numbers."""
    matrix = np.asarray(values)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{argument} must be a matrix that is not empty, got {matrix.shape}.")
    if matrix.dtype.kind not in "biuf" or not np.isfinite(matrix).all():
        raise ValueError(f"{argument} must hold finite numbers.")
    return matrix
