"""Generated sequences with tasks on some of their segments."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import Interval, StrOptions, validate_params

__all__ = ["draw_structure", "make_collider_sequences", "make_digit_sequences"]


@validate_params(
    {
        "n_sequences": [Interval(Integral, 1, None, closed="left")],
        "n_timesteps": [Interval(Integral, 1, None, closed="left")],
        "n_tasks": [Interval(Integral, 1, None, closed="left")],
        "segment_length": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "segment_probability": [Interval(Real, 0, 1, closed="both")],
        "n_null_tasks": [Interval(Integral, 0, None, closed="left")],
        "chain_probability": [Interval(Real, 0, 1, closed="both")],
        "action_effect": [Interval(Real, None, None, closed="neither")],
        "action_noise": [Interval(Real, 0, None, closed="left")],
        "task_noise": [Interval(Real, 0, None, closed="neither")],
        "selection": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_collider_sequences(
    n_sequences: int = 1000,
    n_timesteps: int = 20,
    n_tasks: int = 4,
    segment_length: int = 2,
    n_features: int = 1,
    *,
    segment_probability: float = 0.3,
    n_null_tasks: int = 0,
    chain_probability: float = 0.9,
    action_effect: float = 0.4,
    action_noise: float = 0.5,
    task_noise: float = 1.0,
    selection: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Generate sequences of states whose tasks depend on the actions of some segments.

    States follow a linear Gaussian chain, each state has a hidden action with noise of
    its own, and a task is a weighted sum of the actions of its segments:

    .. math::

        s_{t+1} &= c_t (A_t s_t + \gamma\, a_t) + \varepsilon_t, \\
        a_t &= s_t + \sigma_a \eta_t, \\
        g_i &= \textstyle\sum_{t \in \text{steps}(i)} w_{it}^\top a_t + \sigma_g \zeta_i,

    all noises standard normal. The arrow :math:`c_t \in \{0, 1\}` is missing at random;
    :math:`A_t` is a random rotation times a factor from U(0.3, 0.7), with a random
    sign for one feature; each weight has a random sign and a size from U(0.5, 1.5),
    divided by :math:`\sqrt{d}`. Each task has each segment with probability
    ``segment_probability`` and at least two, so that tasks interleave, overlap and
    repeat.

    Parameters
    ----------
    n_sequences : int, default=1000
        Number of sequences.
    n_timesteps : int, default=20
        Number of steps.
    n_tasks : int, default=4
        Number of tasks that have segments.
    segment_length : int, default=2
        Steps in a segment.
    n_features : int, default=1
        Numbers in a state, d.
    segment_probability : float, default=0.3
        Probability that a task has a segment: three in ten with the default number
        of steps.
    n_null_tasks : int, default=0
        Number of further null tasks: pure noise, last in ``y``.
    chain_probability : float, default=0.9
        Probability that a step's arrow to the next one exists.
    action_effect : float, default=0.4
        How much an action drives the next state, :math:`\gamma`.
    action_noise : float, default=0.5
        Standard deviation of the actions' own noise, :math:`\sigma_a`.
    task_noise : float, default=1.0
        Standard deviation of the tasks' own noise, :math:`\sigma_g`.
    selection : bool, default=False
        Whether every task is conditioned on (its value is zero in every sequence), as
        when only sequences that succeeded were recorded. The states are drawn from
        this conditional distribution exactly, and ``y`` is None.
    random_state : int, RandomState instance or None, default=None
        Seed of structure, weights and noise.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        X : ndarray of shape (n_sequences, n_timesteps, n_features)
            States.
        y : ndarray of shape (n_sequences, n_tasks + n_null_tasks), or None
            Values of the tasks; None with ``selection``.
        structure : ndarray of bool of shape (n_segments, n_tasks + n_null_tasks)
            Which segments each task has.
        step_weights : ndarray of bool of shape (n_timesteps, n_tasks + n_null_tasks)
            The same for steps.
        segments : ndarray of int of shape (n_segments, 2)
            First step of each segment and the step after its last.
        chain : ndarray of bool of shape (n_timesteps - 1,)
            Which steps have an arrow to the next one.

    References
    ----------
    .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733. The densities, weights and noises are a choice made here.

    Examples
    --------
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(100, n_timesteps=8, n_tasks=2, random_state=0)
    >>> data.X.shape, data.y.shape, data.structure.shape
    ((100, 8, 1), (100, 2), (4, 2))
    """
    rng = check_random_state(random_state)
    segments, structure = draw_structure(
        n_timesteps, segment_length, n_tasks, segment_probability, rng
    )
    structure = np.pad(structure, [(0, 0), (0, n_null_tasks)])
    step_weights = np.repeat(structure, np.diff(segments).ravel(), axis=0)
    chain = rng.uniform(size=n_timesteps - 1) < chain_probability
    transitions = _draw_transitions(chain, n_features, rng)
    weights = _draw_weights(step_weights, n_features, rng)

    shape = (n_sequences, n_timesteps, n_features)
    innovations, noise = rng.normal(size=shape), action_noise * rng.normal(size=shape)
    X, y = _run_chain(innovations, noise, transitions, action_effect * chain, weights)
    y += task_noise * rng.normal(size=y.shape)
    if selection:
        gain = _selection_gain(
            transitions, action_effect * chain, weights, action_noise, task_noise
        )
        X -= (y @ gain).reshape(X.shape)
    return Bunch(
        X=X,
        y=None if selection else y,
        structure=structure,
        step_weights=step_weights,
        segments=segments,
        chain=chain,
    )


def _draw_transitions(chain: np.ndarray, n_features: int, rng: np.random.RandomState) -> np.ndarray:
    """Return A_t with c_t multiplied in, shape (n_timesteps - 1, d, d)."""
    rotations, _ = np.linalg.qr(rng.normal(size=(len(chain), n_features, n_features)))
    rotations *= rng.choice([-1.0, 1.0], size=(len(chain), 1, 1))
    return rotations * rng.uniform(0.3, 0.7, size=(len(chain), 1, 1)) * chain[:, None, None]


def _draw_weights(
    step_weights: np.ndarray, n_features: int, rng: np.random.RandomState
) -> np.ndarray:
    """Return w_it, shape (n_timesteps, n_features, n_tasks)."""
    shape = (len(step_weights), n_features, step_weights.shape[1])
    sizes = rng.uniform(0.5, 1.5, size=shape) * rng.choice([-1.0, 1.0], size=shape)
    return sizes / np.sqrt(n_features) * step_weights[:, None, :]


def _run_chain(
    innovations: np.ndarray,
    action_noise: np.ndarray,
    transitions: np.ndarray,
    effects: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return states and noiseless task values for given noises: a linear map."""
    states = innovations.copy()
    for t, (A, effect) in enumerate(zip(transitions, effects, strict=True)):
        action = states[:, t] + action_noise[:, t]
        states[:, t + 1] += states[:, t] @ A.T + effect * action
    return states, np.einsum("ntd,tdm->nm", states + action_noise, weights)


def _selection_gain(
    transitions: np.ndarray,
    effects: np.ndarray,
    weights: np.ndarray,
    action_noise: float,
    task_noise: float,
) -> np.ndarray:
    """Return the regression of the states on the tasks, shape (n_tasks, T * d).

    Subtracting from a joint draw the regression of the states on the tasks leaves a draw
    given that every task is zero (Gaussian conditioning).
    """
    n_timesteps, n_features, n_tasks = weights.shape
    size = n_timesteps * n_features
    unit = np.eye(size).reshape(size, n_timesteps, n_features)
    zero = np.zeros_like(unit)
    by_state = _run_chain(unit, zero, transitions, effects, weights)
    by_action = _run_chain(zero, action_noise * unit, transitions, effects, weights)
    s = np.concatenate([by_state[0], by_action[0]]).reshape(2 * size, size)
    g = np.concatenate([by_state[1], by_action[1]])
    return np.linalg.solve(g.T @ g + task_noise**2 * np.eye(n_tasks), g.T @ s)


def draw_structure(
    n_timesteps: int,
    segment_length: int,
    n_tasks: int,
    probability: float,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """Return segments, and which of them each task has: by chance, and at least two."""
    if n_timesteps < segment_length:
        raise ValueError(f"{segment_length=} must be at most {n_timesteps=}.")
    starts = np.arange(0, n_timesteps, segment_length)
    segments = np.column_stack([starts, np.minimum(starts + segment_length, n_timesteps)])
    structure = rng.uniform(size=(len(segments), n_tasks)) < probability
    for task in structure.T:
        missing = min(2, len(segments)) - task.sum()
        if missing > 0:
            task[rng.choice(np.flatnonzero(~task), size=missing, replace=False)] = True
    return segments, structure


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
