"""Gaussian likelihood of selected sequences, and the criterion of a support.

The model and its symbols are those of :class:`SelectionModel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dtrtri
from scipy.optimize import minimize

from .._segments import evidence_blocks

__all__ = ["Layout", "Parameters", "Problem", "Solution", "cost", "minimize_bounded"]

Arrays = tuple[np.ndarray, ...]
# Cost of a numerically singular precision: larger than any other, and finite for L-BFGS-B.
REJECTED = 1e8
# Ratio of the diagonal entries of a Cholesky factor, about the root of the condition number:
# beyond it, the inverse loses ten digits.
LARGEST_SPREAD = 1e5
# Initial variance of the actions' noise: small, as it is bounded by zero, but not at the bound.
NOISE = 0.1


class Parameters(NamedTuple):
    """Parameters of the precision matrix L L' + V R^-1 V', V = (I + C) W, R = I + noise W' W.

    L L' is the chain without selection. Column i of W has the loadings of task i on the
    states. C has the coefficients by which a segment's last action drives the next state,
    and ``noise`` is the variance of an action given its state, in units of the variance of
    the state.

    Attributes
    ----------
    L : ndarray of shape (n_columns, n_columns)
        Lower triangular, with blocks of a step and the next one only.
    C : ndarray of shape (n_columns, n_columns)
        Blocks of a step with the one before.
    W : ndarray of shape (n_columns, n_tasks)
        Loadings.
    noise : float
        Variance of the actions' noise.
    """

    L: np.ndarray
    C: np.ndarray
    W: np.ndarray
    noise: float

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return V and R."""
        n_tasks = self.W.shape[1]
        return self.W + self.C @ self.W, np.eye(n_tasks) + self.noise * self.W.T @ self.W

    def precision(self) -> np.ndarray:
        """Return the precision matrix."""
        V, R = self.factors()
        return self.L @ self.L.T + V @ np.linalg.solve(R, V.T)


def cost(S: np.ndarray, parameters: Parameters) -> tuple[float, Parameters]:
    """Return half of trace(S P) - log det P for the precision P, and its gradients.

    Parameters
    ----------
    S : ndarray of shape (n_columns, n_columns)
        Covariance of the data.
    parameters : Parameters
        Parameters of the precision.

    Returns
    -------
    value : float
        Negative log-likelihood per sample, up to a constant.
    gradients : Parameters
        Derivatives with respect to all entries, free or fixed.
    """
    L, C, W, noise = parameters
    V, R = parameters.factors()
    # Woodbury's identity: P^-1 needs only the inverse of L and of K = R + V' (L L')^-1 V, which
    # has one row per task.
    inverse, _ = dtrtri(L, lower=1)
    whitened = inverse @ V
    try:
        root_R, root = np.linalg.cholesky(R), np.linalg.cholesky(R + whitened.T @ whitened)
    except np.linalg.LinAlgError:
        return REJECTED, Parameters(0 * L, 0 * C, 0 * W, 0.0)
    if max(_spread(L), _spread(root_R), _spread(root)) > LARGEST_SPREAD:
        return REJECTED, Parameters(0 * L, 0 * C, 0 * W, 0.0)
    Q = np.linalg.solve(R, V.T).T  # V R^-1
    # P^-1 Q = (L L')^-1 V K^-1.
    covariance_Q = inverse.T @ np.linalg.solve(root.T, np.linalg.solve(root, whitened.T)).T
    SL, SQ = S @ L, S @ Q
    # trace(S P) = trace(S L L') + trace(S Q V'), and det P = det(L L') det K / det R.
    value = 0.5 * ((SL * L).sum() + (SQ * V).sum()) - np.log(np.abs(np.diag(L))).sum()
    value += np.log(np.diag(root_R)).sum() - np.log(np.diag(root)).sum()

    # The differential is trace((S - P^-1) dP) / 2. V appears in P directly, R by its inverse:
    # dP = dV Q' + Q dV' - Q dR Q'.
    d_Q = SQ - covariance_Q
    inner = Q.T @ d_Q
    return float(value), Parameters(
        SL - inverse.T + covariance_Q @ whitened.T,  # (S - P^-1) L
        d_Q @ W.T,
        d_Q + C.T @ d_Q - noise * W @ inner,
        -0.5 * float((inner * (W.T @ W)).sum()),
    )


def _spread(root: np.ndarray) -> float:
    sizes = np.abs(np.diag(root))
    return float(sizes.max() / sizes.min()) if sizes.size else 1.0


def chain_entries(n_timesteps: int, n_features: int) -> Arrays:
    """Return rows and columns of the entries of a chain's Cholesky factor.

    It is lower triangular, with non-zero blocks of each step with itself and the next only.
    """
    step = np.repeat(np.arange(n_timesteps), n_features)
    return np.nonzero(np.tril(step[:, None] - step <= 1))


def fit_chain(S: np.ndarray, entries: Arrays) -> np.ndarray:
    """Return the Cholesky factor of the chain with the greatest likelihood.

    It has a closed form for each column, as the pattern is that of a decomposable graph.
    """
    # Column j is that of the inverse of S on the rows of its pattern, scaled to the conditional
    # standard deviation (Lauritzen, "Graphical Models", 1996, section 5.3).
    L = np.zeros_like(S)
    for column in range(len(S)):
        rows = entries[0][entries[1] == column]
        first = np.linalg.solve(S[np.ix_(rows, rows)], np.eye(len(rows))[0])
        L[rows, column] = first / np.sqrt(first[0])
    return L


def minimize_bounded(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, max_iter: int
) -> tuple[np.ndarray, float]:
    """Minimize a function with gradient, whose first variable is non-negative.

    Returns the minimizer and the minimum.
    """
    bounds = [(0.0, None), *[(None, None)] * (len(start) - 1)]
    options = {"maxiter": max_iter, "maxcor": 10, "ftol": 1e-9, "gtol": 1e-5}
    result = minimize(function, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return result.x, float(result.fun)


class Layout:
    """Runs of steps and their columns in the flat sequences.

    Runs are the segments and the steps between them, which belong to no task.

    Parameters
    ----------
    segments : ndarray of int of shape (n_segments, 2)
        As from :func:`~skspecialist.structure._segments.make_segments`.
    n_timesteps, n_features : int
        Number of steps, and of features of a state.
    segment_steps : {"interior", "all", "last"}
        Steps that are evidence for a segment. "all" assumes that actions drive no state.
    """

    def __init__(
        self, segments: np.ndarray, n_timesteps: int, n_features: int, segment_steps: str
    ) -> None:
        starts = np.unique(np.append(segments, 0))
        starts = starts[starts < n_timesteps]
        lengths = np.diff(np.append(starts, n_timesteps))
        self.n_runs, self.n_features = len(starts), n_features
        self.is_segment = np.isin(starts, segments[:, 0])
        self.run = np.repeat(np.arange(self.n_runs), lengths * n_features)
        self.first, self.n_columns = starts * n_features, lengths * n_features
        self.entries = chain_entries(n_timesteps, n_features)
        # Runs whose first state may be driven by the action before them, and is not evidence.
        blocks, _ = evidence_blocks(segments, n_timesteps, segment_steps)
        own = np.isin(starts, blocks) & self.is_segment
        self.may_follow = ~own & (starts > 0) & (segment_steps != "all")

    def follow_entries(self, follows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of C that are free, where some runs follow an action."""
        offset = np.arange(self.n_features)
        rows = self.first[follows][:, None, None] + offset[:, None]
        rows, columns = np.broadcast_arrays(rows, rows[:, :1] - self.n_features + offset)
        return rows.ravel(), columns.ravel()


@dataclass(frozen=True)
class Solution:
    """A support, the parameters on it, and their information criterion.

    Attributes
    ----------
    parameters : Parameters
        Parameters of the precision.
    cells : ndarray of bool of shape (n_runs, n_tasks)
        Runs of each task.
    follows : ndarray of bool of shape (n_runs,)
        Runs whose first state was driven by the action before.
    criterion : float
        Bayesian information criterion; infinite before a fit.
    """

    parameters: Parameters
    cells: np.ndarray
    follows: np.ndarray
    criterion: float = np.inf


class Problem:
    """Extended Bayesian information criterion of supports, from a correlation matrix.

    With gamma = 1/2 in Chen & Chen (Biometrika 95, 2008): the more segments there are to
    choose from, the larger the penalty of each.

    Parameters
    ----------
    S : ndarray of shape (n_columns, n_columns)
        Correlation matrix.
    n : int
        Number of sequences.
    layout : Layout
        Runs of the columns.
    """

    def __init__(self, S: np.ndarray, n: float, layout: Layout) -> None:
        self.S, self.n, self.layout = S, n, layout
        self.chain = fit_chain(S, layout.entries)
        # log n per free loading, and 2 gamma log(number of segments) per chosen segment.
        self.cell_price = layout.n_columns * np.log(n) + np.log(layout.is_segment.sum())

    def follow_price(self, cells: np.ndarray) -> np.ndarray:
        """Return the penalty of the effect of an action on each run, shape (n_runs,)."""
        # The block of C has d x d entries, but acts on the loadings of these tasks only, so
        # that min(d, n_tasks) d of them are identified.
        d = self.layout.n_features
        return np.minimum(d, self.n_followed(cells)) * d * np.log(self.n)

    def n_followed(self, cells: np.ndarray) -> np.ndarray:
        """Return the number of tasks that have the previous run but not the run itself."""
        count = np.zeros(len(cells), dtype=int)
        count[1:] = (cells[:-1] & ~cells[1:]).sum(axis=1)
        return np.where(self.layout.may_follow, count, 0)

    def empty(self) -> Solution:
        """Return the solution without tasks."""
        n_runs, n_columns = self.layout.n_runs, len(self.S)
        parameters = Parameters(self.chain, np.zeros_like(self.S), np.zeros((n_columns, 0)), NOISE)
        no_cells, no_follows = np.zeros((n_runs, 0), dtype=bool), np.zeros(n_runs, dtype=bool)
        return self.fit(Solution(parameters, no_cells, no_follows))

    def fit(self, start: Solution, max_iter: int = 100) -> Solution:
        """Return the parameters of greatest likelihood on the support of the start.

        Parameters that are not identified are dropped first: tasks with one segment, and
        effects of actions on runs that all tasks of the run before have as well.
        """
        cells = start.cells & self.layout.is_segment[:, None]
        kept = cells.sum(axis=0) >= 2
        cells, begin = cells[:, kept], start.parameters
        follows = start.follows & (self.n_followed(cells) > 0)
        free, entries = cells[self.layout.run], self.layout.entries
        effects = self.layout.follow_entries(follows)
        ends = np.cumsum([1, len(entries[0]), len(effects[0])])
        L, C, W = np.zeros_like(self.S), np.zeros_like(self.S), np.zeros(free.shape)

        def unpack(flat: np.ndarray) -> Parameters:
            noise, L[entries], C[effects], W[free] = np.split(flat, ends)
            return Parameters(L, C, W, float(noise[0]))

        def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, by = cost(self.S, unpack(flat))
            return value, np.r_[by.noise, by.L[entries], by.C[effects], by.W[free]]

        flat = np.r_[begin.noise, begin.L[entries], begin.C[effects], begin.W[:, kept][free]]
        flat, value = minimize_bounded(function, flat, max_iter)
        # -2 log-likelihood and the penalty of the support.
        criterion = 2 * self.n * value + (self.cell_price[:, None] * cells).sum()
        criterion += self.follow_price(cells)[follows].sum()
        return Solution(unpack(flat), cells, follows, float(criterion))
