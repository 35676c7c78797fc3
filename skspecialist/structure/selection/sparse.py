"""Loadings made sparse by a penalty: where a search for a support begins."""

from __future__ import annotations

import numpy as np

from .gaussian import Parameters, cost, minimize_bounded
from .support import NOISE, Problem, Solution

__all__ = ["PENALTIES", "SparseStarts"]

# Penalties of the starts in turn, in units of 1 / sqrt(n): what noise alone reaches is about
# one. A larger one finds fewer tasks and shorter ones.
PENALTIES = (1.0, 0.5, 0.25)
# Each is approached from larger ones, with coarser norms and fewer iterations.
ANNEALING = ((3.0, 0.1, 60), (2.0, 0.05, 60), (1.0, 0.02, 150))
# Norm below which a segment has no loading; the columns have unit variance.
THRESHOLD = 0.05
# Weight of the squared effects of actions, so that they are zero where nothing tells them.
RIDGE = 0.01
# Standard deviations of loadings: of a random start, and of an empty task beside others.
RANDOM, EMPTY = 0.3, 0.05
# Factors of the penalty of single segments, so that starts near one solution part.
SPREAD = (0.3, 1.7)


class SparseStarts:
    """Solutions with a penalty on the norm of each segment's loadings in each task.

    Parameters
    ----------
    problem : Problem
        The data.
    rng : RandomState
        Source of the starts.
    """

    def __init__(self, problem: Problem, rng: np.random.RandomState) -> None:
        self.problem, self.rng = problem, rng
        n_columns = problem.layout.n_columns
        self.inside = problem.layout.is_segment[problem.layout.run]
        self.weights = np.sqrt(n_columns / 2 / problem.n)[:, None]

    def far(self, n_tasks: int, penalty: float) -> Solution:
        """Return the solution from random loadings."""
        n_columns = len(self.problem.S)
        W = RANDOM * self.rng.normal(size=(n_columns, n_tasks))
        C = np.zeros((n_columns, n_columns))
        parameters = Parameters(self.problem.chain, C, W, NOISE)
        for factor, smoothing, max_iter in ANNEALING:
            weights = factor * penalty * np.repeat(self.weights, n_tasks, axis=1)
            parameters = self._minimize_bounded(parameters, weights, smoothing, max_iter)
        return self._solution(parameters)

    def near(self, parameters: Parameters, penalty: float) -> Solution:
        """Return the solution from others, with some tasks rotated into each other.

        Without a penalty a rotation would fit almost as well. One more task, almost
        empty, can take a part of another.
        """
        W = parameters.W
        W = np.hstack([W, EMPTY * self.rng.normal(size=(len(W), 1))])
        n_mixed = min(self.rng.randint(2, 4), W.shape[1])
        mixed = self.rng.choice(W.shape[1], n_mixed, replace=False)
        W[:, mixed] @= np.linalg.qr(self.rng.normal(size=(n_mixed, n_mixed)))[0]
        parameters = parameters._replace(W=W)
        factors = self.rng.uniform(*SPREAD, size=(len(self.weights), W.shape[1]))
        for factor, smoothing, max_iter in ANNEALING[1:]:
            weights = factor * penalty * factors * self.weights
            parameters = self._minimize_bounded(parameters, weights, smoothing, max_iter)
        return self._solution(parameters)

    def _minimize_bounded(
        self, start: Parameters, weights: np.ndarray, smoothing: float, max_iter: int
    ) -> Parameters:
        layout, S = self.problem.layout, self.problem.S
        entries, shape = layout.entries, (-1, start.W.shape[1])
        effects = layout.follow_entries(layout.may_follow)
        ends = np.cumsum([1, len(entries[0]), len(effects[0])])
        L, C, W = np.zeros_like(S), np.zeros_like(S), np.zeros_like(start.W)

        def unpack(flat: np.ndarray) -> Parameters:
            noise, L[entries], C[effects], loadings = np.split(flat, ends)
            W[self.inside] = loadings.reshape(shape)
            return Parameters(L, C, W, float(noise[0]))

        def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, by = cost(S, unpack(flat))
            norms = np.sqrt(self._squares(W) + smoothing**2)
            value += (weights * norms).sum() + RIDGE * (C**2).sum() / 2
            d_W = by.W + np.repeat(weights / norms, layout.n_columns, axis=0) * W
            d_C = by.C[effects] + RIDGE * C[effects]
            return value, np.r_[by.noise, by.L[entries], d_C, d_W[self.inside].ravel()]

        flat = np.r_[start.noise, start.L[entries], start.C[effects], start.W[self.inside].ravel()]
        return unpack(minimize_bounded(function, flat, max_iter)[0])

    def _squares(self, columns: np.ndarray) -> np.ndarray:
        return np.add.reduceat(columns**2, self.problem.layout.first, axis=0)

    def _solution(self, parameters: Parameters) -> Solution:
        cells = self._squares(parameters.W) > THRESHOLD**2
        follows = self._squares(parameters.C).sum(axis=1) > THRESHOLD**2
        return Solution(parameters, cells, follows)
