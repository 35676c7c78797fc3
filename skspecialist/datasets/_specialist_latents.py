"""Rows of mixed latents with tasks on a few of them."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import Interval, StrOptions, validate_params

__all__ = ["make_specialist_latents"]

N_DRAWS = 2500  # square matrices drawn for each mixing layer; the best-conditioned is kept
N_HIDDEN = 16  # hidden units of a task's function
SLOPE = 0.2  # of the leaky rectifier below zero


@validate_params(
    {
        "n_samples": [Interval(Integral, 2, None, closed="left")],
        "n_latents": [Interval(Integral, 1, None, closed="left")],
        "n_relevant": [Interval(Integral, 1, None, closed="left")],
        "n_tasks": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left"), None],
        "n_latents_per_task": [Interval(Integral, 1, None, closed="left")],
        "correlation": [Interval(Real, 0, 1, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "task_kind": [StrOptions({"regression", "classification"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_specialist_latents(
    n_samples: int = 1000,
    n_latents: int = 6,
    n_relevant: int = 3,
    n_tasks: int = 4,
    *,
    n_features: int | None = None,
    n_latents_per_task: int = 2,
    correlation: float = 0.0,
    n_layers: int = 3,
    noise: float = 0.1,
    task_kind: str = "regression",
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Generate mixed latents, a few of which the tasks depend on.

    Gaussian latents go through an invertible network, as in [1]_, and become the
    features. Each task is a smooth function of its own few *relevant* latents, so a
    representation that serves the tasks and nothing else must separate the relevant
    latents, as a block, from the others [2]_.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_latents : int, default=6
        Number of latents.
    n_relevant : int, default=3
        Number of latents that some task uses; their positions are random.
    n_tasks : int, default=4
        Number of tasks. With fewer tasks than relevant latents the latents are not
        identified: an encoder may hand over the task functions themselves.
    n_features : int, default=None
        Number of features. None is ``n_latents``; more embed the mixed latents by a
        linear isometry.
    n_latents_per_task : int, default=2
        Number of relevant latents that a task uses. All relevant latents are used about
        equally often, each at least once.
    correlation : float, default=0.0
        Correlation of every pair of latents, relevant or not.
    n_layers : int, default=3
        Number of square layers of the mixing network, a leaky rectifier between them;
        1 is a linear mixing.
    noise : float, default=0.1
        Standard deviation of the noise on a task's values, which have unit variance.
    task_kind : {"regression", "classification"}, default="regression"
        Whether the tasks are the noisy values, or whether they exceed their median.
    random_state : int, RandomState instance or None, default=None
        Everything random here.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the keys

        X : ndarray of shape (n_samples, n_features), float64
            The features.
        y : ndarray of shape (n_samples, n_tasks), float64 or int64
            The tasks' values, or class labels 0 and 1.
        latents : ndarray of shape (n_samples, n_latents), float64
            The latents, of unit variance.
        mask : ndarray of shape (n_tasks, n_latents), bool
            Which task uses which latent.
        relevant : ndarray of shape (n_latents,), bool
            Latents that some task uses.
        mix : callable
            Takes latents of shape (n, n_latents) to the features that show them, as it took
            ``latents`` to ``X``: for data whose latents are distributed otherwise.
        condition_numbers : ndarray of shape (n_layers,), float64
            Condition numbers of the mixing layers: the lower, the easier to undo.
        DESCR : str
            Description of the data.

    Raises
    ------
    ValueError
        If more latents are relevant than there are, a task cannot have its number of
        latents, the tasks are too few to use every relevant latent, or there are fewer
        features than latents.

    References
    ----------
    .. [1] von Kügelgen, Sharma, Gresele, Brendel, Schölkopf, Besserve and Locatello,
       Self-supervised learning with data augmentations provably isolates content from
       style, NeurIPS 2021.
    .. [2] Zheng, Feng, Li, Xie, Murphy and Zhang, From generalist to specialist
       representation, ICML 2026, arXiv:2605.12733.

    Examples
    --------
    >>> from skspecialist.datasets import make_specialist_latents
    >>> data = make_specialist_latents(n_samples=100, random_state=0)
    >>> data.X.shape, data.y.shape, int(data.relevant.sum())
    ((100, 6), (100, 4), 3)

    The same world with its irrelevant latents moved:

    >>> X_shifted = data.mix(data.latents + 2.0 * ~data.relevant)
    """
    n_features = n_latents if n_features is None else n_features
    _check_sizes(n_latents, n_relevant, n_tasks, n_features, n_latents_per_task)
    rng = check_random_state(random_state)

    shared = rng.standard_normal((n_samples, 1))
    own = rng.standard_normal((n_samples, n_latents))
    latents = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    mask = _draw_mask(rng, n_latents, n_relevant, n_tasks, n_latents_per_task)
    layers = [_draw_layer(rng, n_latents) for _ in range(n_layers)]
    condition_numbers = np.linalg.cond(layers)
    embedding = None
    if n_features > n_latents:
        embedding = np.linalg.qr(rng.standard_normal((n_features, n_latents)))[0].T
    mix = partial(_mix, layers=layers, embedding=embedding)
    y = np.column_stack([_task_values(rng, latents[:, used]) for used in mask])
    y = y + noise * rng.standard_normal(y.shape)
    if task_kind == "classification":
        y = (y > np.median(y, axis=0)).astype(np.int64)
    return Bunch(
        X=mix(latents),
        y=y,
        latents=latents,
        mask=mask,
        relevant=mask.any(axis=0),
        mix=mix,
        condition_numbers=condition_numbers,
        DESCR=(
            f"{n_samples} rows of {n_features} features: {n_latents} Gaussian latents mixed by "
            f"{n_layers} layers. {n_tasks} tasks ({task_kind}) depend on {n_relevant} of the "
            f"latents, {n_latents_per_task} each, with noise of standard deviation {noise}."
        ),
    )


def _check_sizes(
    n_latents: int, n_relevant: int, n_tasks: int, n_features: int, n_latents_per_task: int
) -> None:
    if n_relevant > n_latents:
        raise ValueError(f"n_relevant={n_relevant} exceeds n_latents={n_latents}.")
    if n_latents_per_task > n_relevant:
        raise ValueError(
            f"n_latents_per_task={n_latents_per_task} exceeds n_relevant={n_relevant}."
        )
    if n_tasks * n_latents_per_task < n_relevant:
        raise ValueError(
            f"n_tasks={n_tasks} with n_latents_per_task={n_latents_per_task} cannot use all "
            f"n_relevant={n_relevant} latents."
        )
    if n_features < n_latents:
        raise ValueError(
            f"n_features={n_features} is below n_latents={n_latents}: the latents could not "
            "be recovered."
        )


def _draw_mask(
    rng: np.random.RandomState, n_latents: int, n_relevant: int, n_tasks: int, n_per_task: int
) -> np.ndarray:
    relevant = rng.permutation(n_latents)[:n_relevant]
    mask = np.zeros((n_tasks, n_latents), dtype=bool)
    for task in range(n_tasks):
        # The latents used least so far, ties at random: each is used before any twice.
        order = np.lexsort((rng.uniform(size=n_relevant), mask[:, relevant].sum(axis=0)))
        mask[task, relevant[order[:n_per_task]]] = True
    return mask


def draw_tasks(
    rng: np.random.RandomState, latents: np.ndarray, used: list[int], n_tasks: int, n_per_task: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return values of tasks of some latents, and which each uses, (n_tasks, n_latents)."""
    mask = np.zeros((n_tasks, latents.shape[1]), dtype=bool)
    mask[:, used] = _draw_mask(rng, len(used), len(used), n_tasks, n_per_task)
    return np.column_stack([_task_values(rng, latents[:, own]) for own in mask]), mask


def _draw_layer(rng: np.random.RandomState, size: int) -> np.ndarray:
    draws = rng.uniform(-1, 1, size=(N_DRAWS, size, size))
    draws /= np.linalg.norm(draws, axis=1, keepdims=True)
    return np.asarray(draws[np.linalg.cond(draws).argmin()])


def _mix(latents: np.ndarray, layers: list[np.ndarray], embedding: np.ndarray | None) -> np.ndarray:
    X = latents @ layers[0]
    for layer in layers[1:]:
        X = np.where(X > 0, X, SLOPE * X) @ layer
    return X if embedding is None else X @ embedding


def _task_values(rng: np.random.RandomState, latents: np.ndarray) -> np.ndarray:
    weights = rng.standard_normal((latents.shape[1], N_HIDDEN))
    hidden = np.tanh(latents @ weights + rng.standard_normal(N_HIDDEN))
    values = hidden @ rng.standard_normal(N_HIDDEN)
    return (values - values.mean()) / values.std()
