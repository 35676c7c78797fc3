"""Images of real digits with known factors of variation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates, zoom
from sklearn.datasets import load_digits
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import Interval, StrOptions, validate_params
from ._specialist_latents import draw_tasks

__all__ = ["make_digit_factors"]

# Lowest and highest value of each factor, in the units of the docstring.
RANGES = {
    "shift_x": (-0.075, 0.075),
    "shift_y": (-0.075, 0.075),
    "rotation": (-45.0, 45.0),
    "scale": (0.75, 1.25),
    "thickness": (0.15, 0.375),
}
HEIGHT = 8  # of a bundled image, in its pixels, which its digit fills
# Side of the frame in these pixels, at scale 1. With the broadest pen no outline is farther
# than 6.11 of them from its digit's center of mass, so the largest digit, fully shifted, at any
# angle, reaches 6.11 * 1.25 / 18 + 0.075 < 1/2, the side of the frame.
FRAME = 18
EDGE = 1.0  # of these pixels over which a stroke's edge fades from full to no ink
LEVEL = 0.4  # gray level at the outline of a bundled digit
PAD = 4  # blank pixels around a bundled digit
FINE = 4  # points per pixel, each way, of the distances to the outline
CHUNK = 500  # images whose coordinates are held at once


@validate_params(
    {
        "n_samples": [Interval(Integral, 2, None, closed="left")],
        "n_tasks": [Interval(Integral, 1, None, closed="left")],
        "factors": ["array-like"],
        "n_relevant": [Interval(Integral, 1, None, closed="left")],
        "relevant": ["array-like", None],
        "n_factors_per_task": [Interval(Integral, 1, None, closed="left")],
        "digits": ["array-like"],
        "image_size": [Interval(Integral, 8, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "subset": [StrOptions({"all", "train", "test"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_digit_factors(
    n_samples: int = 3000,
    n_tasks: int = 6,
    *,
    factors: Sequence[str] = ("shift_x", "shift_y", "rotation", "scale", "thickness"),
    n_relevant: int = 3,
    relevant: Sequence[str] | None = None,
    n_factors_per_task: int = 2,
    digits: Sequence[int] = (2, 3, 5),
    image_size: int = 16,
    noise: float = 0.1,
    subset: str = "all",
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Generate images of handwritten digits with known factors, a few of which tasks use.

    Every row is a random image of :func:`sklearn.datasets.load_digits`, centered at its
    center of mass and redrawn: shifted, rotated, scaled, and with a pen of another
    width. These factors are independent and uniform. Which digit it is, and how its
    writer writes, varies too and is not a factor. Each task is a smooth function of its own
    few *relevant* factors, as in :func:`make_specialist_latents`; here the mixing is an
    image instead of a network.

    Parameters
    ----------
    n_samples : int, default=3000
        Number of images.
    n_tasks : int, default=6
        Number of tasks. With fewer tasks than relevant factors the factors are not
        identified: an encoder may hand over the task functions themselves.
    factors : sequence of str, default=("shift_x", "shift_y", "rotation", "scale", \
"thickness")
        The factors that vary, in the order of the columns of ``latents``; any other stays
        in the middle of its range. The ranges keep every outline within the frame.

        - "shift_x", to the right: -0.075 to 0.075 of the frame's side;
        - "shift_y", downwards: the same;
        - "rotation", counterclockwise: -45 to 45 degrees;
        - "scale": 0.75 to 1.25; at 1, a digit is 8/18 of the frame high;
        - "thickness", the width of the pen: 0.15 to 0.375 of the digit's height.
    n_relevant : int, default=3
        Number of factors that some task uses: the first of ``factors``. Not read where
        `relevant` names them.
    relevant : sequence of str, default=None
        Names of the factors that some task uses, all others are irrelevant. None is the
        first `n_relevant` of `factors`.
    n_factors_per_task : int, default=2
        Number of relevant factors that a task uses. All relevant factors are used about
        equally often, each at least once.
    digits : sequence of int, default=(2, 3, 5)
        Digits to show. The default's curved, open strokes look different at every angle
        and resemble each other in size, so that the factors can be read from an image. All ten
        together are harder to read, and a 1 shows its scale least.
    image_size : int, default=16
        Side of the images in pixels.
    noise : float, default=0.1
        Standard deviation of the noise on a task's values, which have unit variance.
    subset : {"all", "train", "test"}, default="all"
        Which bundled images to draw from. "train" and "test" are disjoint halves. With one
        ``random_state`` they share mask and task functions, up to a function's mean and
        variance, which are standardized in the sample; factors and noise are drawn afresh.
    random_state : int, RandomState instance or None, default=None
        Seed of images, factors, tasks and noise.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the keys

        X : ndarray of shape (n_samples, image_size ** 2), float64
            Pixels row by row, from 0, blank, to 1, full ink.
        images : ndarray of shape (n_samples, image_size, image_size), float64
            The same pixels.
        y : ndarray of shape (n_samples, n_tasks), float64
            The tasks' values.
        latents : ndarray of shape (n_samples, n_factors), float64
            The factors, from the lowest, ``-sqrt(3)``, to the highest, ``sqrt(3)``, so
            that their mean is 0 and their variance 1.
        factor_names : list of str
            Names of the columns of ``latents``.
        digit : ndarray of shape (n_samples,), int64
            The digits shown.
        source : ndarray of shape (n_samples,), int64
            Rows of the bundled images, the groups of a split that holds images out.
        mask : ndarray of shape (n_tasks, n_factors), bool
            Which task uses which factor.
        relevant : ndarray of shape (n_factors,), bool
            Factors that some task uses.
        DESCR : str
            Description of the data.

    Raises
    ------
    ValueError
        If a name or a digit is unknown or given twice, more factors are relevant than
        there are, a task cannot have its number of factors, or the tasks are too few to
        use every relevant factor.

    See Also
    --------
    make_specialist_latents : Gaussian latents mixed by a network.
    make_digit_sequences : Sequences of digits with tasks on some of their steps.

    Examples
    --------
    >>> from skspecialist.datasets import make_digit_factors
    >>> data = make_digit_factors(100, relevant=["rotation", "scale"], random_state=0)
    >>> data.X.shape, data.y.shape, data.latents.shape
    ((100, 256), (100, 6), (100, 5))
    >>> data.relevant
    array([False, False,  True,  True, False])
    """
    names = _check_names("factors", factors, list(RANGES))
    used = _relevant_names(names, n_relevant, relevant)
    digits = _check_names("digits", digits, list(range(10)))
    _check_sizes(len(used), n_tasks, n_factors_per_task)
    seeds = check_random_state(random_state).randint(2**31 - 1, size=4)
    task_rng = np.random.RandomState(seeds[0])
    rng = np.random.RandomState(seeds[{"all": 1, "train": 2, "test": 3}[subset]])

    positions = rng.uniform(-1, 1, size=(n_samples, len(names)))
    labels = load_digits().target
    source = rng.choice(_pool(labels, digits, subset), size=n_samples)
    images = _render(source, _factor_values(names, positions), image_size)

    latents = np.sqrt(3) * positions
    columns = [names.index(name) for name in used]
    y, mask = draw_tasks(task_rng, latents, columns, n_tasks, n_factors_per_task)
    return Bunch(
        X=images.reshape(n_samples, -1),
        images=images,
        y=y + noise * rng.standard_normal(y.shape),
        latents=latents,
        factor_names=names,
        digit=labels[source].astype(np.int64),
        source=source,
        mask=mask,
        relevant=mask.any(axis=0),
        DESCR=(
            f"{n_samples} images, {image_size} x {image_size}, of the handwritten digits "
            f"{', '.join(map(str, digits))} with the factors {', '.join(names)}. {n_tasks} tasks "
            f"depend on {', '.join(used)}, {n_factors_per_task} each, with noise of standard "
            f"deviation {noise}."
        ),
    )


def _check_names(argument: str, given: Sequence, known: list) -> list:
    chosen = list(given) if isinstance(given, Iterable) else []
    distinct = [name for name in known if name in chosen]
    if not chosen or len(distinct) < len(chosen):
        raise ValueError(f"{argument}={given!r} must be some of {known}, each at most once.")
    return chosen


def _relevant_names(names: list[str], n_relevant: int, relevant: Sequence[str] | None) -> list[str]:
    if relevant is not None:
        return _check_names("relevant", relevant, names)
    if n_relevant > len(names):
        raise ValueError(f"n_relevant={n_relevant} exceeds the {len(names)} factors.")
    return names[:n_relevant]


def _check_sizes(n_relevant: int, n_tasks: int, n_factors_per_task: int) -> None:
    if n_factors_per_task > n_relevant:
        raise ValueError(
            f"n_factors_per_task={n_factors_per_task} exceeds the {n_relevant} relevant factors."
        )
    if n_tasks * n_factors_per_task < n_relevant:
        raise ValueError(
            f"n_tasks={n_tasks} with n_factors_per_task={n_factors_per_task} cannot use all "
            f"{n_relevant} relevant factors."
        )


def _pool(labels: np.ndarray, digits: list[int], subset: str) -> np.ndarray:
    # The halves of make_digit_sequences, so that held-out images are the same in both.
    halves = np.random.RandomState(0).permutation(len(labels))
    pool = {"all": halves, "train": halves[::2], "test": halves[1::2]}[subset]
    return pool[np.isin(labels[pool], digits)]


def _factor_values(names: list[str], positions: np.ndarray) -> dict[str, np.ndarray]:
    values = {}
    for name, (low, high) in RANGES.items():
        position = positions[:, names.index(name)] if name in names else np.zeros(len(positions))
        values[name] = (low + high) / 2 + (high - low) / 2 * position
    return values


def _render(source: np.ndarray, values: dict[str, np.ndarray], image_size: int) -> np.ndarray:
    shown, strip = np.unique(source, return_inverse=True)
    distances, centers = _distances(load_digits().images[shown] / 16)
    side = distances.shape[1]
    stacked = distances.reshape(-1, side)  # one below the other: a plane is faster than a stack
    axis = (np.arange(image_size) + 0.5) / image_size - 0.5
    images = np.empty((len(source), image_size, image_size))
    for start in range(0, len(source), CHUNK):
        rows = slice(start, start + CHUNK)
        of_rows = {name: value[rows, None, None] for name, value in values.items()}
        # Where in its bundled digit every pixel of an image lies: the way back.
        x = (axis - of_rows["shift_x"]) * (FRAME / of_rows["scale"])
        y = (axis[:, None] - of_rows["shift_y"]) * (FRAME / of_rows["scale"])
        angle = np.deg2rad(of_rows["rotation"])
        column = np.cos(angle) * x - np.sin(angle) * y + centers[strip[rows], 1, None, None]
        row = np.sin(angle) * x + np.cos(angle) * y + centers[strip[rows], 0, None, None]
        column, row = (np.clip((p + 0.5) * FINE - 0.5, 0, side - 1) for p in (column, row))
        row += strip[rows, None, None] * side
        distance = map_coordinates(stacked, [row, column], order=1)
        pen = HEIGHT * of_rows["thickness"] / 2
        images[rows] = np.clip((distance + pen) / EDGE + 0.5, 0, 1)
    return images


def _distances(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # A pen of half width h inks the points whose value here exceeds -h: the distance to the
    # outline, positive inside, less the half width of the writer's own pen. This is what makes
    # the pen's width a factor that can be known; the writers' pens differ: their widths'
    # standard deviation is 13 % of their mean.
    gray = np.pad(gray, ((0, 0), (PAD, PAD), (PAD, PAD)))
    pixels = np.arange(gray.shape[1])
    centers = np.stack([gray.sum(axis=2) @ pixels, gray.sum(axis=1) @ pixels], axis=1)
    centers /= gray.sum(axis=(1, 2))[:, None]
    distances = []
    for image in gray:
        ink = zoom(image, FINE, order=3, mode="grid-constant", grid_mode=True) > LEVEL
        # Points lie half a step off the outline that runs between them.
        inside = np.maximum(distance_transform_edt(ink) - 0.5, 0) / FINE
        outside = np.maximum(distance_transform_edt(~ink) - 0.5, 0) / FINE
        # Across a straight stroke the distance to the outline is half of its half width.
        distances.append(inside - outside - 2 * inside[ink].mean())
    return np.array(distances), centers
