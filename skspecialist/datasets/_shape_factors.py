"""Images of colored shapes with known factors of variation."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import Interval, validate_params
from ._digit_factors import _check_names, _check_sizes
from ._specialist_latents import draw_tasks

__all__ = ["make_shape_factors"]

# Lowest and highest value of each continuous factor, in the units of the docstring. The largest
# triangle, fully shifted, reaches 0.2 * 1.56 + 0.18 < 1/2, the side of the frame.
RANGES = {"color": (0.0, 2 / 3), "x": (-0.18, 0.18), "y": (-0.18, 0.18), "size": (0.12, 0.2)}
FACTORS = ("shape", *RANGES)
SHAPES = ["disk", "square", "triangle"]
# Half widths of a square and of an equilateral triangle with the area of the unit disk.
SQUARE, TRIANGLE = np.sqrt(np.pi) / 2, np.sqrt(np.pi / (3 * np.sqrt(3)))


@validate_params(
    {
        "n_samples": [Interval(Integral, 2, None, closed="left")],
        "n_tasks": [Interval(Integral, 1, None, closed="left")],
        "relevant": ["array-like"],
        "n_factors_per_task": [Interval(Integral, 1, None, closed="left")],
        "image_size": [Interval(Integral, 8, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_shape_factors(
    n_samples: int = 3000,
    n_tasks: int = 6,
    *,
    relevant: Sequence[str] = ("shape", "color", "x"),
    n_factors_per_task: int = 2,
    image_size: int = 16,
    noise: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Generate images of one shape each: its kind, color, position and size are the factors.

    Shapes of equal area are drawn on black, their edges smoothed over a pixel. The factors are
    independent and uniform, and determine the image. Each task is a smooth function of its own
    few *relevant* factors, as in :func:`make_specialist_latents`.

    Parameters
    ----------
    n_samples : int, default=3000
        Number of images.
    n_tasks : int, default=6
        Number of tasks.
    relevant : sequence of str, default=("shape", "color", "x")
        Names of the factors that some task uses, all others are irrelevant:

        - "shape": a disk, a square or a triangle;
        - "color": hue from red, 0, to blue, 2/3;
        - "x" and "y": position of the center, -0.18 to 0.18 of the frame's side to the right
          and downwards;
        - "size": radius of a disk of this area, 0.12 to 0.2 of the frame's side.
    n_factors_per_task : int, default=2
        Number of relevant factors that a task uses. All relevant factors are used about
        equally often, each at least once.
    image_size : int, default=16
        Side of the images in pixels.
    noise : float, default=0.1
        Standard deviation of the noise on the values of a task, which have unit variance.
    random_state : int, RandomState instance or None, default=None
        Seed of factors, tasks and noise.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the keys

        X : ndarray of shape (n_samples, 3 * image_size ** 2), float64
            Red, green and blue of the pixels, row by row, from 0 to 1.
        images : ndarray of shape (n_samples, image_size, image_size, 3), float64
            The same.
        y : ndarray of shape (n_samples, n_tasks), float64
            Values of the tasks.
        latents : ndarray of shape (n_samples, 5), float64
            The factors, of mean 0 and variance 1 in the population; the first has the three
            values of the shapes.
        factor_names : list of str
            Names of the columns of ``latents``.
        mask : ndarray of shape (n_tasks, 5), bool
            Which task uses which factor.
        relevant : ndarray of shape (5,), bool
            Factors that some task uses.
        DESCR : str
            Description of the data.

    Raises
    ------
    ValueError
        If a name is unknown or given twice, a task cannot have its number of factors, or the
        tasks are too few to use every relevant factor.

    See Also
    --------
    make_digit_factors : Images of handwritten digits, whose writers vary too.

    Examples
    --------
    >>> from skspecialist.datasets import make_shape_factors
    >>> data = make_shape_factors(100, relevant=["color", "size"], random_state=0)
    >>> data.X.shape, data.y.shape, data.latents.shape
    ((100, 768), (100, 6), (100, 5))
    >>> data.relevant
    array([False,  True, False, False,  True])
    """
    used = _check_names("relevant", relevant, list(FACTORS))
    _check_sizes(len(used), n_tasks, n_factors_per_task)
    rng = check_random_state(random_state)
    shape = rng.randint(len(SHAPES), size=n_samples)
    positions = rng.uniform(-1, 1, size=(n_samples, len(RANGES)))
    images = _render(shape, positions, image_size)
    # Variances: 2/3 of -1, 0 and 1, 1/3 of the uniform distribution.
    latents = np.column_stack([np.sqrt(1.5) * (shape - 1), np.sqrt(3) * positions])
    columns = [FACTORS.index(name) for name in used]
    y, mask = draw_tasks(rng, latents, columns, n_tasks, n_factors_per_task)
    return Bunch(
        X=images.reshape(n_samples, -1),
        images=images,
        y=y + noise * rng.standard_normal(y.shape),
        latents=latents,
        factor_names=list(FACTORS),
        mask=mask,
        relevant=mask.any(axis=0),
        DESCR=(
            f"{n_samples} images, {image_size} x {image_size}, of {', '.join(SHAPES)} with the "
            f"factors {', '.join(FACTORS)}. {n_tasks} tasks depend on {', '.join(used)}, "
            f"{n_factors_per_task} each, with noise of standard deviation {noise}."
        ),
    )


def _render(shape: np.ndarray, positions: np.ndarray, image_size: int) -> np.ndarray:
    low, high = np.array(list(RANGES.values())).T
    hue, x0, y0, size = ((low + high) / 2 + (high - low) / 2 * positions).T[..., None, None]
    axis = (np.arange(image_size) + 0.5) / image_size - 0.5
    x, y = (axis - x0) / size, (axis[:, None] - y0) / size
    # Distances to the edge in units of the size, negative inside; of the corners of square and
    # triangle, those to the nearest extended side.
    distances = [
        np.hypot(x, y) - 1,
        np.maximum(np.abs(x), np.abs(y)) - SQUARE,
        np.maximum(y, np.sqrt(3) / 2 * np.abs(x) - y / 2) - TRIANGLE,
    ]
    distance = np.choose(shape[:, None, None], np.broadcast_arrays(*distances)) * size
    coverage = np.clip(0.5 - distance * image_size, 0, 1)
    # Full saturation: each channel falls linearly with the distance from its own hue.
    channels = np.clip(2 - 6 * np.abs(hue[..., None] - [0, 1 / 3, 2 / 3]), 0, 1)
    return np.asarray(coverage[..., None] * channels)
