"""Gaussian likelihood of selected sequences, and the criterion of a support.

The model and its symbols are those of :class:`SelectionModel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dposv, dpotrf

from .._segments import evidence_blocks

__all__ = ["Curvature", "Layout", "Parameters", "Problem", "Solution", "negative_log_likelihood"]

Arrays = tuple[np.ndarray, ...]
# Ratio of the diagonal entries of a Cholesky factor, about the root of the condition number:
# beyond it, the inverse loses ten digits.
LARGEST_SPREAD = 1e5
# Initial variance of the actions' noise: small, as it is bounded by zero, but not at the bound.
NOISE = 0.1
# Ridge of the steps of Fisher scoring, in units of the information: the first and the smallest.
FIRST_DAMPING, SMALLEST_DAMPING = 1e-2, 1e-6
# Larger and larger ridges that are tried before a step is given up.
N_TRIALS = 8
MAX_ITER = 100
# Improvement of the criterion by one step at which it has converged: directions that are hardly
# identified gain a little for many steps.
CONVERGED = 0.2


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


class Curvature:
    """Score and Fisher information of the parameters of the precision.

    Every parameter but the noise changes the precision by a symmetric matrix a b' + b a', with a
    and b among a few vectors. Score and information are then entries, and products of
    entries, of two small matrices. The order is L, C, W, noise.

    Parameters
    ----------
    S : ndarray of shape (n_columns, n_columns)
        Correlation matrix.
    n : float
        Number of sequences.
    layout : Layout
        Runs of the columns.
    parameters : Parameters
        Parameters of the precision.
    """

    def __init__(self, S: np.ndarray, n: float, layout: Layout, parameters: Parameters) -> None:
        self.n, (L, C, W, noise) = n, parameters
        size = len(W)
        V, R = parameters.factors()
        Q = np.linalg.solve(R, V.T).T
        Z = Q @ W.T
        # dP for an entry (i, j): of L it is e_i l_j' + l_j e_i', of C it is e_i z_j' + z_j e_i',
        # of W it is (e_i + c_i - noise z_i) q_j' + its transpose. These are the columns.
        vectors = np.hstack([np.eye(size), L, Z, np.eye(size) + C - noise * Z, Q])
        chain, effect = layout.entries, layout.effects
        row, self.task = np.indices(W.shape).reshape(2, -1)
        self.a = np.concatenate([chain[0], effect[0], 3 * size + row])
        self.b = np.concatenate([size + chain[1], 2 * size + effect[1], 4 * size + self.task])
        self.inner = vectors.T @ np.linalg.solve(parameters.precision(), vectors)
        self.difference = difference = self.inner - vectors.T @ S @ vectors
        # Score n a' (P^-1 - S) b. The noise changes the precision by -Z Z'.
        self.score = n * difference[self.a, self.b]
        self.z = slice(2 * size, 3 * size)
        self.noise_score = -0.5 * n * np.trace(difference[self.z, self.z])
        self.theta = np.concatenate([L[chain], C[effect], W.ravel()])

    def information(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the Fisher information n trace(P^-1 dP P^-1 dP') / 2 of two sets."""
        a, b = self.inner[self.a[one]], self.inner[self.b[one]]
        a_other, b_other = self.a[other], self.b[other]
        straight = a[:, a_other] * b[:, b_other]
        straight += a[:, b_other] * b[:, a_other]
        return self.n * straight

    def diagonal(self, start: int) -> np.ndarray:
        """Return the Fisher information of the parameters from a position on."""
        a, b = self.a[start:], self.b[start:]
        return self.n * (self.inner[a, a] * self.inner[b, b] + self.inner[a, b] ** 2)

    def add(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Add the products of two loadings of a new task to the parameters."""
        # A task with small loadings w adds u u' to P, with u = (I + C - noise Z) w.
        a, b = self.z.stop + rows, self.z.stop + columns
        self.a, self.b = np.append(self.a, a), np.append(self.b, b)
        self.score = np.append(self.score, self.n * self.difference[a, b])

    def noise_information(self, free: np.ndarray) -> np.ndarray:
        """Return the information of the noise and the free parameters, then of the noise."""
        of_z = self.inner[:, self.z]
        products = (of_z[self.a[free]] * of_z[self.b[free]]).sum(axis=1)
        return self.n * np.append(-products, 0.5 * (of_z[self.z] ** 2).sum())


def negative_log_likelihood(S: np.ndarray, parameters: Parameters) -> float:
    """Return half of trace(S P) - log det P for the precision P, or infinity if P is singular."""
    P = parameters.precision()
    root, failed = dpotrf(P, lower=1)
    pivots = np.diag(root)
    if failed or pivots.max() > LARGEST_SPREAD * pivots.min():
        return np.inf
    return float(0.5 * (S * P).sum() - np.log(pivots).sum())


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
        self.effects = self.follow_entries(self.may_follow)
        # Entries of the precision that are zero in a chain.
        self.far_apart = np.ones((len(self.run), len(self.run)))
        self.far_apart[self.entries] = self.far_apart.T[self.entries] = 0.0

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

    def fit(self, start: Solution, tolerance: float = CONVERGED) -> Solution:
        """Return the parameters of greatest likelihood on the support of the start.

        Parameters that are not identified are dropped first: tasks with one segment, and
        effects of actions on runs that all tasks of the run before have as well.
        """
        cells = start.cells & self.layout.is_segment[:, None]
        kept = cells.sum(axis=0) >= 2
        cells, begin = cells[:, kept], start.parameters
        follows = start.follows & (self.n_followed(cells) > 0)
        parameters = self._maximize(begin._replace(W=begin.W[:, kept]), cells, follows, tolerance)
        criterion = self._deviance(parameters) + (self.cell_price[:, None] * cells).sum()
        criterion += self.follow_price(cells)[follows].sum()
        return Solution(parameters, cells, follows, float(criterion))

    def _deviance(self, parameters: Parameters) -> float:
        """Return -2 times the log-likelihood, with a standard normal prior of the loadings.

        The prior is worth one sequence. Without it, loadings grow without bounds where a task
        explains a state almost entirely.
        """
        likelihood = 2 * self.n * negative_log_likelihood(self.S, parameters)
        return likelihood + float((parameters.W**2).sum())

    def _maximize(
        self, start: Parameters, cells: np.ndarray, follows: np.ndarray, tolerance: float
    ) -> Parameters:
        """Maximize the likelihood on a support by Fisher scoring.

        The steps are damped as in the Levenberg-Marquardt method: some parameters may not be
        identified.
        """
        layout, n_chain = self.layout, len(self.layout.entries[0])
        loading, effect = cells[layout.run], follows[layout.run[layout.effects[0]]]
        free = np.concatenate([np.ones(n_chain, dtype=bool), effect, loading.ravel()])
        C = np.zeros_like(self.S)
        C[layout.effects] = start.C[layout.effects] * effect
        current = Parameters(start.L, C, start.W * loading, start.noise)
        prior = (np.arange(len(free)) >= len(free) - loading.size).astype(float)
        value, damping = self._deviance(current), FIRST_DAMPING
        for _ in range(MAX_ITER):
            curvature = Curvature(self.S, self.n, layout, current)
            score = curvature.score - prior * curvature.theta
            gradient = np.append(score[free], curvature.noise_score)
            information = np.empty((len(gradient), len(gradient)), order="F")
            information[:-1, :-1] = curvature.information(free, free)
            information[-1] = information[:, -1] = curvature.noise_information(free)
            if current.noise == 0.0 and gradient[-1] <= 0:  # at its bound
                gradient[-1] = information[-1, :-1] = information[:-1, -1] = 0.0
            diagonal = np.diag_indices_from(information)
            information[diagonal] += np.append(prior[free], 0.0)
            scale = information[diagonal] + 1e-12 * self.n
            eased = 0.2 * damping
            for _ in range(N_TRIALS):
                damped = information.copy(order="F")
                damped[diagonal] += damping * scale
                _, step, failed = dposv(damped, gradient, lower=1, overwrite_a=1)
                changed = current if failed else self._moved(current, step, free)
                reached = self._deviance(changed)
                if reached < value:
                    break
                damping, eased = 5.0 * damping, 5.0 * damping
            gained = value - reached
            if gained > 0:
                current, value = changed, reached
                damping = max(eased, SMALLEST_DAMPING)
            if gained < tolerance:
                break
        return current

    def _moved(self, parameters: Parameters, step: np.ndarray, free: np.ndarray) -> Parameters:
        """Return the parameters after a step of the free ones and the noise."""
        change = np.zeros(len(free))
        change[free] = step[:-1]
        chain, effects = self.layout.entries, self.layout.effects
        of_chain, of_effects, of_loadings = np.split(
            change, np.cumsum([len(chain[0]), len(effects[0])])
        )
        L, C, W, noise = parameters
        L, C = L.copy(), C.copy()
        L[chain] += of_chain
        C[effects] += of_effects
        return Parameters(L, C, W + of_loadings.reshape(W.shape), max(noise + step[-1], 0.0))
