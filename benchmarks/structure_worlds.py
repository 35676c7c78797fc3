"""Worlds of which the steps that tasks depend on are known, for the levels of structure tests.

``WORLDS`` maps a name to a function of a random generator. Unless a name states otherwise, there
are 500 sequences of 20 steps with two features, a linear chain whose coefficients differ between
steps. An action is the state and noise; two tasks depend on the actions of about a third of the
steps, and a third task on none of them.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

N, T, D = 500, 20, 2
N_TASKS, SHARE_OF_STEPS, ACTION_NOISE = 2, 0.3, 0.5


@dataclass(frozen=True)
class World:
    """Sequences, tasks, and the steps that these depend on.

    Attributes
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features)
        Sequences.
    y : ndarray of shape (n_sequences, n_tasks)
        Tasks; integers are class labels.
    structure : ndarray of bool of shape (n_timesteps, n_tasks)
        Steps of each task; those of a null task are all False.
    groups : ndarray of shape (n_sequences,) or None, default=None
        Group of each sequence.
    """

    X: np.ndarray
    y: np.ndarray
    structure: np.ndarray
    groups: np.ndarray | None = None


def _states(rng, n=N, n_features=D, lag=0.0, noise=None):
    """Return states of a chain, whose coefficients are rotations that shrink."""
    shape = (n, T, n_features)
    states = rng.normal(size=shape) if noise is None else noise(rng, shape)
    for t in range(1, T):
        rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
        states[:, t] += states[:, t - 1] @ (rotation * rng.uniform(0.3, 0.7))
        if t > 1:
            states[:, t] += lag * states[:, t - 2]
    return states


def _tasks(rng, states, effect=None, noise=1.0):
    """Return tasks and their steps; ``effect`` maps actions to the terms that have weights."""
    n, n_timesteps, _ = states.shape
    actions = states + ACTION_NOISE * rng.normal(size=states.shape)
    if effect is not None:
        actions = effect(actions)
    structure = np.zeros((n_timesteps, N_TASKS + 1), dtype=bool)
    y = noise * rng.normal(size=(n, N_TASKS + 1))
    for task in range(N_TASKS):
        own = np.flatnonzero(rng.random(n_timesteps) < SHARE_OF_STEPS)
        if len(own) < 2:
            own = rng.choice(n_timesteps, 2, replace=False)
        structure[own, task] = True
        width = actions.shape[2]
        size = (len(own), width)
        weights = rng.uniform(0.5, 1.5, size) * rng.choice([-1, 1], size) / width**0.5
        y[:, task] += np.einsum("ntd,td->n", actions[:, own], weights)
    return y, structure


def base(rng, n=N, effect=None, **chain):
    """Linear states, and tasks that depend on the actions through ``effect``."""
    X = _states(rng, n, **chain)
    return World(X, *_tasks(rng, X, effect))


def product(actions):
    return actions[:, :, :1] * actions[:, :, 1:2]


def observed(rng, view, n=2000):
    """States are observed through a function."""
    world = base(rng, n)
    return replace(world, X=view(rng, world.X))


def mixed(rng, states):
    """Four features that a random network makes of the states."""
    return np.tanh(states @ rng.normal(size=(D, 8))) @ rng.normal(size=(8, 4))


def noisy(rng, states):
    return states + 0.5 * states.std() * rng.normal(size=states.shape)


def smoothed(rng, states):
    """Moving averages of three steps, as of features that are computed from their context."""
    padded = np.pad(states, ((0, 0), (1, 1), (0, 0)), mode="edge")
    return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3


def label(rng):
    """Tasks are class labels, of which one has a tenth of the sequences."""
    world = base(rng)
    return replace(world, y=(world.y > np.quantile(world.y, 0.9, axis=0)).astype(int))


def lognormal(rng):
    world = base(rng)
    return replace(world, y=np.exp(1.5 * (world.y - world.y.mean(0)) / world.y.std(0)))


def _cauchy(rng, shape):
    return rng.standard_cauchy(shape)


def cauchy(rng):
    """States and tasks without any moments."""
    world = base(rng, noise=_cauchy)
    y = world.y + rng.standard_cauchy(world.y.shape)
    return replace(world, y=y)


def volatility(rng):
    """One volatility of each sequence scales its states and three null tasks."""
    scale = np.exp(0.8 * rng.normal(size=N))
    X = _states(rng) * scale[:, None, None]
    y = rng.normal(size=(N, N_TASKS + 1)) * scale[:, None]
    return World(X, y, np.zeros((T, N_TASKS + 1), dtype=bool))


def grouped(rng, n_groups, share):
    """Groups shift states and tasks; ``share`` is that of a trait in the null task's variance."""
    world = base(rng)
    groups = np.repeat(np.arange(n_groups), N * (2 if n_groups > N // 5 else 1) // n_groups)
    if len(groups) != N:
        world = base(rng, len(groups))
    trait = rng.normal(size=n_groups)
    shift = rng.normal(size=(n_groups, 1, D)) + rng.normal(size=(n_groups, T, D)).cumsum(1) / 5
    shift += trait[:, None, None]
    y = world.y.copy()
    y[:, -1] = share**0.5 * trait[groups] + (1 - share) ** 0.5 * y[:, -1]
    y[:, :-1] += trait[groups][:, None]
    return World(world.X + shift[groups], y, world.structure, groups)


def lagged(rng, change):
    """Each state depends on the two before it, and features carry no further information."""
    world = base(rng, lag=0.4)
    return replace(world, X=change(rng, world.X))


def one_missing(rng, X):
    X = X.copy()
    X[rng.integers(len(X)), rng.integers(T), 0] = np.nan
    return X


def constant(rng, X):
    return np.concatenate([X, np.ones((*X.shape[:2], 1))], axis=2)


def duplicated(rng, X):
    return np.concatenate([X, X[:, :, :1]], axis=2)


def one_hot(rng, X):
    return np.concatenate([X, np.eye(3)[rng.integers(3, size=X.shape[:2])]], axis=2)


def wide(rng, n_columns=256, n_latents=8, n=400):
    """Columns that a random network makes of eight latents."""
    states = _states(rng, n, n_latents)
    hidden = np.tanh(states @ rng.normal(size=(n_latents, 64)) / n_latents**0.5)
    X = hidden @ rng.normal(size=(64, n_columns)) / 8 + 0.1 * rng.normal(size=(n, T, n_columns))
    return World(X, *_tasks(rng, states))


def _views(**views):
    return {name: lambda rng, states, view=view: view(states) for name, view in views.items()}


VIEWS = _views(
    exp=np.exp, tanh=np.tanh, cube=lambda s: s**3, relu=lambda s: np.maximum(s, 0), sign=np.sign
) | {"network": mixed, "error": noisy, "smoothed": smoothed}
WORLDS = {
    "linear task": base,
    "abs task": partial(base, effect=np.abs),
    "square task": partial(base, effect=lambda a: a**2 / 2**0.5),
    "sine task": partial(base, effect=lambda a: 1.4 * np.sin(2 * a)),
    "product task": partial(base, effect=product),
    "states exp, n=2000": partial(observed, view=VIEWS["exp"]),
    "states tanh, n=2000": partial(observed, view=VIEWS["tanh"]),
    "states cube, n=2000": partial(observed, view=VIEWS["cube"]),
    "states mixed by a network, n=2000": partial(observed, view=mixed),
    "states relu, n=2000": partial(observed, view=VIEWS["relu"]),
    "states sign, n=2000": partial(observed, view=VIEWS["sign"]),
    "states with error, n=2000": partial(observed, view=noisy),
    "states smoothed, n=500": partial(observed, view=smoothed, n=N),
    "labels of 10 %": label,
    "log-normal tasks": lognormal,
    "Cauchy states and tasks": cauchy,
    "one volatility": volatility,
    "trait, 20 groups x 25": partial(grouped, n_groups=20, share=1.0),
    "trait, 50 groups x 10": partial(grouped, n_groups=50, share=1.0),
    "trait, 200 groups x 5": partial(grouped, n_groups=200, share=1.0),
    "partial trait, 20 groups x 25": partial(grouped, n_groups=20, share=0.5),
    "partial trait, 50 groups x 10": partial(grouped, n_groups=50, share=0.5),
    "partial trait, 200 groups x 5": partial(grouped, n_groups=200, share=0.5),
    "lag 2": partial(base, lag=0.4),
    "lag 2, one NaN": partial(lagged, change=one_missing),
    "lag 2, constant feature": partial(lagged, change=constant),
    "lag 2, duplicated feature": partial(lagged, change=duplicated),
    "lag 2, one-hot feature": partial(lagged, change=one_hot),
    "n=60": partial(base, n=60),
    "n=80": partial(base, n=80),
    "n=100": partial(base, n=100),
    "n=150": partial(base, n=150),
    "256 columns of 8 latents, n=400": wide,
    # A world's place is part of its seed: further ones come last.
    "states relu, n=500": partial(observed, view=VIEWS["relu"], n=N),
    "states sign, n=500": partial(observed, view=VIEWS["sign"], n=N),
    "states with error, n=500": partial(observed, view=noisy, n=N),
}


def drifting(rng):
    """Features rise by a standard deviation of their noise over the order of the sequences."""
    world = base(rng)
    return replace(world, X=world.X + np.linspace(0, 1, N)[:, None, None])


def shifted(rng):
    """A trait of each sequence, on which no task depends, shifts all of its steps."""
    world = base(rng)
    return replace(world, X=world.X + rng.normal(size=(N, 1, D)))


def repeated(rng, n_repeated=5):
    """Some sequences are recorded twice, with little noise."""
    world = base(rng)
    X, (first, second) = world.X.copy(), rng.permutation(N)[: 2 * n_repeated].reshape(2, -1)
    X[second] = X[first] + 0.01 * rng.normal(size=(n_repeated, T, D))
    return replace(world, X=X)


# Further worlds for the diagnostics of assumptions.
VIOLATIONS = {
    "drift of features": drifting,
    "trait of sequences": shifted,
    "repeated sequences": repeated,
    "states exp, n=500": partial(observed, view=VIEWS["exp"], n=N),
}
