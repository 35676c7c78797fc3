"""Sequential non-negative matrix factorization, as in SelTask."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import linear_sum_assignment
from sklearn.utils import Tags, check_random_state

from .._base.sklearn_compat import Interval
from ._base import BaseBaseline, StructureProblem

__all__ = ["SelTaskBaseline"]

# The published schedule: iteration from which activations are drawn to 0 and 1, and the
# fraction of its maximum above which a component is active.
FIRST_BINARY_ITERATION = 30
ON = 0.5
TINY = 1e-12


class SelTaskBaseline(BaseBaseline):
    r"""Factorize sequences into patterns that recur over time, and match them to tasks.

    SelTask [1]_ assumes that the recorded sequences were selected for subtasks, and
    finds them as the components of a sequential non-negative factorization
    :math:`X_t \approx \sum_{kl} W_{kl} H_{k,t-l}`: patterns W of ``segment_length``
    steps and the times H at which they start. W and H minimize

    .. math::

        \tfrac12 \|X - W * H\|^2
        + \lambda_s \|(W \star X) S H^\top\|_{1, i \neq j}
        + \lambda_1 \|H\|_1 + \lambda_b \|H \odot (1 - H)\|^2,

    where S sums over neighbors nearer than a pattern's length, so that no two patterns
    explain the same steps, and the last term draws activations to 0 and 1.

    The reading for aligned sequences: a task has the same steps in all of them. Hence
    H is shared, and the rows of X are the features of all sequences, with loadings W of
    their own. Standardized states have both signs; each becomes two rows, its positive
    part and the size of its negative part. The loss is the mean over rows, so that a
    penalty means the same for any number of sequences. A segment is a component's where
    the norm of the component's part of X exceeds half its maximum over segments.

    The factorization does not look at ``y``. With ``y``, each task then gets the
    component with a loading that correlates with it most, one component for one task.
    Without, the components are the tasks. States depend on tasks only where the
    sequences were selected for them; elsewhere the components are any recurring patterns.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment and in a pattern. The last segment may be shorter.
    n_components : int, default=None
        Number of components. None takes the number of tasks, and needs ``y``.
    similarity : float, default=0.001
        :math:`\lambda_s`, not negative; this and the next two as in [1]_.
    sparsity : float, default=0.01
        :math:`\lambda_1`, not negative.
    binarity : float, default=0.01
        :math:`\lambda_b`, not negative.
    n_iter : int, default=301
        Number of multiplicative updates, as in [1]_.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None means that every column is a step.
    random_state : int, RandomState instance or None, default=None
        Seed of the start.

    Attributes
    ----------
    loadings_ : ndarray of shape (n_components, n_sequences, n_loadings)
        W: for each pattern and sequence, its steps and signed features.
    activations_ : ndarray of shape (n_components, n_timesteps)
        H.
    {structure_attributes}

    References
    ----------
    .. [1] Y. Qiu, Y. Zheng and K. Zhang, "Identifying selections for unsupervised
       subtask discovery", NeurIPS 2024.
    .. [2] E. L. Mackevicius et al., "Unsupervised discovery of temporal sequences in
       high-dimensional datasets, with applications to neuroscience", eLife 8, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.baselines import SelTaskBaseline
    >>> rng = np.random.default_rng(0)
    >>> y = rng.exponential(size=(200, 2))
    >>> steps = np.array([[1, 1, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 0, 0]])
    >>> X = y @ steps + 0.1 * rng.normal(size=(200, 8))
    >>> SelTaskBaseline(random_state=0).fit(X, y).structure_.astype(int).T.tolist()
    [[1, 0, 0, 1], [0, 0, 1, 0]]
    """

    _parameter_constraints: dict = {
        **BaseBaseline._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "similarity": [Interval(Real, 0, None, closed="left")],
        "sparsity": [Interval(Real, 0, None, closed="left")],
        "binarity": [Interval(Real, 0, None, closed="left")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        segment_length: int = 2,
        *,
        n_components: int | None = None,
        similarity: float = 0.001,
        sparsity: float = 0.01,
        binarity: float = 0.01,
        n_iter: int = 301,
        n_timesteps: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.segment_length = segment_length
        self.n_components = n_components
        self.similarity = similarity
        self.sparsity = sparsity
        self.binarity = binarity
        self.n_iter = n_iter
        self.n_timesteps = n_timesteps
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        """Tasks are not required."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    def _find_structure(self, problem: StructureProblem) -> np.ndarray:
        n_components = self.n_components or len(problem.groups)
        if not n_components:
            raise ValueError("SelTaskBaseline needs y, or n_components in place of it.")
        n_sequences, n_timesteps, _ = problem.X.shape
        parts = np.concatenate([np.maximum(problem.X, 0), np.maximum(-problem.X, 0)], axis=2)
        rows = parts.transpose(0, 2, 1).reshape(-1, n_timesteps)
        W, H = self._factorize(rows, n_components)
        self.activations_ = H
        self.loadings_ = W.reshape(n_sequences, -1, n_components).transpose(2, 0, 1)

        norms = np.stack([_norm_over_time(W[:, :, k], H[k]) for k in range(n_components)], axis=1)
        means = np.add.reduceat(norms, problem.segments[:, 0]) / np.diff(problem.segments)
        found = means > ON * means.max(axis=0)
        return self._match(found, problem) if problem.groups else found

    def _match(self, found: np.ndarray, problem: StructureProblem) -> np.ndarray:
        """Give each task the component with a loading that correlates with it most."""
        loadings = self.loadings_ - self.loadings_.mean(axis=1, keepdims=True)
        loadings /= np.linalg.norm(loadings, axis=1, keepdims=True) + TINY
        correlation = np.abs(np.einsum("knj,nc->kjc", loadings, problem.tasks)).max(axis=1)
        strength = np.stack([correlation[:, g].max(axis=1) for g in problem.groups], axis=1)
        structure = np.zeros((len(found), len(problem.groups)), dtype=bool)
        components, tasks = linear_sum_assignment(strength, maximize=True)
        structure[:, tasks] = found[:, components]
        return structure

    def _factorize(self, X: np.ndarray, n_components: int) -> tuple[np.ndarray, np.ndarray]:
        """Return W (n_rows, segment_length, n_components) and H (n_components, n_timesteps)."""
        rng = check_random_state(self.random_state)
        length, n_timesteps = self.segment_length, X.shape[1]
        W = X.max(initial=0) * rng.uniform(size=(len(X), length, n_components))
        H = rng.uniform(size=(n_components, n_timesteps))
        for iteration in range(self.n_iter):
            binary = iteration >= FIRST_BINARY_ITERATION
            similarity = self.similarity * (iteration < self.n_iter - 1)
            H = H * self._step_of_activations(X, W, H, similarity, self.binarity * binary)
            norm = np.linalg.norm(H, axis=1) / np.sqrt(n_timesteps / length)
            size = H.max(axis=1) if binary else norm
            H, W = H / (size[:, None] + TINY), W * size
            W = (W + W * _step_of_patterns(X, W, H, similarity)) / 2
        return W, H

    def _step_of_activations(
        self, X: np.ndarray, W: np.ndarray, H: np.ndarray, similarity: float, binarity: float
    ) -> np.ndarray:
        flat = W.reshape(len(X), -1)
        overlap = _unlag(flat.T @ X / len(X), self.segment_length)
        fitted = _unlag(flat.T @ flat / len(X) @ _lag(H, self.segment_length), self.segment_length)
        crowd = similarity * _others(_smooth(overlap, self.segment_length))
        undecided = np.minimum(1, binarity * ((1 - H) ** 2 * H - H**2 * (1 - H)))
        return overlap / np.maximum(fitted + crowd + self.sparsity + undecided, TINY)


def _step_of_patterns(X: np.ndarray, W: np.ndarray, H: np.ndarray, similarity: float) -> np.ndarray:
    length = W.shape[1]
    flat, lagged = W.reshape(len(X), -1), _lag(H, length)
    crowd = similarity * (X @ _lag(_others(_smooth(H, length)), length).T)
    step = (X @ lagged.T) / np.maximum(flat @ (lagged @ lagged.T) + crowd, TINY)
    return step.reshape(W.shape)


def _lag(H: np.ndarray, length: int) -> np.ndarray:
    """Return H delayed by 0 to length - 1 steps, shape (length * n_components, n_timesteps)."""
    lagged = np.zeros((length, *H.shape))
    for delay in range(length):
        lagged[delay, :, delay:] = H[:, : H.shape[1] - delay]
    return lagged.reshape(-1, H.shape[1])


def _unlag(G: np.ndarray, length: int) -> np.ndarray:
    """Undo each delay and sum: the adjoint of :func:`_lag`."""
    G = G.reshape(length, -1, G.shape[1])
    total = np.zeros(G.shape[1:])
    for delay in range(length):
        total[:, : G.shape[2] - delay] += G[delay, :, delay:]
    return total


def _smooth(rows: np.ndarray, length: int) -> np.ndarray:
    """Sum over the neighbors in time that are nearer than ``length``."""
    padded = np.pad(rows, ((0, 0), (length - 1, length - 1)))
    return sliding_window_view(padded, 2 * length - 1, axis=1).sum(axis=-1)


def _others(rows: np.ndarray) -> np.ndarray:
    """Return for each component the sum of all others."""
    return rows.sum(axis=0) - rows


def _norm_over_time(W: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Return the norm of a component's part of X at each step."""
    lagged = _lag(h[None], W.shape[1])
    return np.sqrt(np.einsum("lt,lm,mt->t", lagged, W.T @ W, lagged))
