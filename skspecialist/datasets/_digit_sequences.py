"""Sequences of real images with tasks on some steps."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import Interval, StrOptions, validate_params
from ._collider_sequences import draw_structure

__all__ = ["make_digit_sequences"]

# Value of a task from the digits of its steps, (n_sequences, n_steps).
TASK_KINDS = {
    "sum": lambda digits: digits.sum(axis=1),
    "odd": lambda digits: (digits % 2).sum(axis=1),
    "large": lambda digits: (digits >= 5).sum(axis=1),
    "largest": lambda digits: digits.max(axis=1),
}


@validate_params(
    {
        "n_sequences": [Interval(Integral, 1, None, closed="left")],
        "n_timesteps": [Interval(Integral, 1, None, closed="left")],
        "n_tasks": [Interval(Integral, 1, None, closed="left")],
        "segment_length": [Interval(Integral, 1, None, closed="left")],
        "segment_probability": [Interval(Real, 0, 1, closed="both")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "subset": [StrOptions({"all", "train", "test"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_digit_sequences(
    n_sequences: int = 1000,
    n_timesteps: int = 16,
    n_tasks: int = 4,
    segment_length: int = 2,
    *,
    segment_probability: float = 0.3,
    noise: float = 0.1,
    subset: str = "all",
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Generate sequences of handwritten digits with tasks on some of their segments.

    Every step is a random image of :func:`sklearn.datasets.load_digits`. A task is a
    function of the digits shown in the steps of its segments, plus noise; the kinds
    take turns: the sum of the digits, how many are odd, how many are five or more, and
    the largest. The estimators see pixels and task values, never a digit's label.

    Parameters
    ----------
    n_sequences : int, default=1000
        Number of sequences.
    n_timesteps : int, default=16
        Number of steps.
    n_tasks : int, default=4
        Number of tasks; four have each kind once.
    segment_length : int, default=2
        Steps in a segment.
    segment_probability : float, default=0.3
        Probability that a task has a segment; it has at least two.
    noise : float, default=0.1
        Standard deviation of the noise, as a share of the task's own.
    subset : {"all", "train", "test"}, default="all"
        Which images to draw from. "train" and "test" are disjoint halves; with one
        ``random_state`` they share their structure.
    random_state : int, RandomState instance or None, default=None
        Seed of structure, digits and noise.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        X : ndarray of shape (n_sequences, n_timesteps, 64)
            Pixels in [0, 1], 8 x 8 row by row.
        y : ndarray of shape (n_sequences, n_tasks)
            Values of the tasks, floats.
        digits : ndarray of int of shape (n_sequences, n_timesteps)
            The digits shown.
        task_kinds : list of str
            Kind of each task: "sum", "odd", "large" or "largest".
        structure : ndarray of bool of shape (n_segments, n_tasks)
            Which segments each task has.
        step_weights : ndarray of bool of shape (n_timesteps, n_tasks)
            The same for steps.
        segments : ndarray of int of shape (n_segments, 2)
            First step of each segment and the step after its last.

    Examples
    --------
    >>> from skspecialist.datasets import make_digit_sequences
    >>> data = make_digit_sequences(100, random_state=0)
    >>> data.X.shape, data.y.shape, data.task_kinds
    ((100, 16, 64), (100, 4), ['sum', 'odd', 'large', 'largest'])
    """
    rng = check_random_state(random_state)
    segments, structure = draw_structure(
        n_timesteps, segment_length, n_tasks, segment_probability, rng
    )
    step_weights = np.repeat(structure, np.diff(segments).ravel(), axis=0)
    kinds = [list(TASK_KINDS)[i % len(TASK_KINDS)] for i in range(n_tasks)]

    pixels, labels = load_digits(return_X_y=True)
    halves = np.random.RandomState(0).permutation(len(labels))
    pool = {"all": halves, "train": halves[::2], "test": halves[1::2]}[subset]
    shown = rng.choice(pool, size=(n_sequences, n_timesteps))
    digits = labels[shown]
    y = np.stack(
        [TASK_KINDS[k](digits[:, steps]) for k, steps in zip(kinds, step_weights.T, strict=True)],
        axis=1,
    ).astype(float)
    y += noise * y.std(axis=0) * rng.normal(size=y.shape)
    return Bunch(
        X=pixels[shown] / 16.0,
        y=y,
        digits=digits,
        task_kinds=kinds,
        structure=structure,
        step_weights=step_weights,
        segments=segments,
    )
