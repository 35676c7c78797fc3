"""Search for the support with the best criterion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .gaussian import Parameters, cost, minimise
from .moves import Tests
from .support import NOISE, Problem, Solution

__all__ = ["Search"]

# Penalties of the starts in turn, in units of 1 / sqrt(n): what noise alone reaches is about
# one. A larger one finds fewer tasks and shorter ones.
PENALTIES = (1.0, 0.5, 0.25)
# Each is approached from larger ones, with coarser norms and fewer iterations.
ANNEALING = ((3.0, 0.1, 60), (2.0, 0.05, 60), (1.0, 0.02, 150))
# A loading is a correlation; a segment whose norm is below this has none.
THRESHOLD = 0.05
# Best candidates that are improved by single changes.
WORTH_A_TRY = 60.0
# Expected improvements that may fail in a row.
N_FAILURES = 5
# Improvements of the criterion below this are rounding.
TOLERANCE = 1e-3
# Tasks that the starts have beyond those that are found.
SURPLUS = 4
RIDGE = 0.01
SPREAD = (0.3, 1.7)


class Search:
    """Random starts made sparse, then changes of single cells.

    Parameters
    ----------
    problem : Problem
        The data.
    rng : RandomState
        Source of the starts.
    """

    def __init__(self, problem: Problem, rng: np.random.RandomState) -> None:
        self.problem, self.rng = problem, rng
        layout = problem.layout
        self.inside = layout.is_segment[layout.run]
        self.unit = np.sqrt(layout.n_columns.max() / 2 / problem.n)
        self.base = np.sqrt(layout.n_columns / layout.n_columns.max())[:, None]

    def start(self, n_tasks: int) -> Solution:
        """Return random loadings."""
        W = 0.3 * self.rng.normal(size=(len(self.problem.S), n_tasks))
        parameters = Parameters(self.problem.chain, np.zeros_like(self.problem.S), W, NOISE)
        return self._solution(parameters)

    def candidate(self, start: Solution, penalty: float, far: bool) -> Solution:
        """Return the sparse solution that a start leads to."""
        parameters = start.parameters
        spread = (1.0, 1.0) if far else SPREAD
        shape = (self.problem.layout.n_runs, parameters.W.shape[1])
        self.weights = self.base * self.rng.uniform(*spread, size=shape)
        for factor, smoothing, max_iter in ANNEALING if far else ANNEALING[1:]:
            strength = factor * penalty * self.unit
            parameters = self.sparse(parameters, strength, smoothing, max_iter)
        return self._solution(parameters)

    def sparse(
        self, start: Parameters, penalty: float, smoothing: float, max_iter: int
    ) -> Parameters:
        """Return parameters with a penalty on the norm of each segment in each task."""
        layout, S = self.problem.layout, self.problem.S
        entries, shape = layout.entries, (self.inside.sum(), start.W.shape[1])
        effects = layout.follow_entries(layout.may_follow)
        ends = np.cumsum([1, len(entries[0]), len(effects[0])])
        L, C, W = np.zeros_like(S), np.zeros_like(S), np.zeros_like(start.W)

        def unpack(flat: np.ndarray) -> Parameters:
            noise, L[entries], C[effects], loadings = np.split(flat, ends)
            W[self.inside] = loadings.reshape(shape)
            return Parameters(L, C, W, float(noise[0]))

        def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, by = cost(S, unpack(flat))
            norms = np.sqrt(self._norms2(W) + smoothing**2)
            value += penalty * (self.weights * norms).sum()
            d_W = by.W + penalty * np.repeat(self.weights / norms, layout.n_columns, axis=0) * W
            value += RIDGE * (C**2).sum() / 2
            return value, np.r_[
                by.noise,
                by.L[entries],
                by.C[effects] + RIDGE * C[effects],
                d_W[self.inside].ravel(),
            ]

        flat = np.r_[start.noise, start.L[entries], start.C[effects], start.W[self.inside].ravel()]
        return unpack(minimise(function, flat, max_iter)[0])

    def _norms2(self, W: np.ndarray) -> np.ndarray:
        return np.add.reduceat(W**2, self.problem.layout.first, axis=0)

    def _solution(self, parameters: Parameters) -> Solution:
        cells = np.sqrt(self._norms2(parameters.W)) > THRESHOLD
        layout = self.problem.layout
        follows = np.add.reduceat((parameters.C**2).sum(axis=1), layout.first) > THRESHOLD**2
        return Solution(parameters, cells, follows)

    def prune(self, start: Solution) -> Solution:
        """Return the fit after dropping, several at once, what does not pay."""
        best = self.problem.fit(start)
        while best.cells.size:
            changed = best
            for move in Tests(self.problem, best).moves():
                if move.drops(best):
                    changed = move.apply(changed)
            if changed is best:
                break
            changed = self.problem.fit(changed)
            if changed.criterion >= best.criterion:
                break
            best = changed
        return best

    def improve(self, solution: Solution) -> Solution:
        """Return the solution after single changes, as long as one is for the better."""
        while solution.cells.size:
            for move in Tests(self.problem, solution).moves()[:N_FAILURES]:
                changed = self.problem.fit(move.apply(solution))
                if changed.criterion < solution.criterion - TOLERANCE:
                    solution = changed
                    break
            else:
                break
        return solution

    def enough_tasks(self) -> int:
        """Return a number of tasks of which some stay empty."""
        n_tasks = 2 * SURPLUS
        while True:
            starts = (self.candidate(self.start(n_tasks), penalty, True) for penalty in PENALTIES)
            found = max(self.prune(start).cells.shape[1] for start in starts)
            if found <= n_tasks - SURPLUS or n_tasks > len(self.problem.S):
                return min(n_tasks, found + SURPLUS)
            n_tasks *= 2

    def run(self, n_tasks: int, n_starts: int) -> Solution:
        """Return the best solution from random starts with so many tasks.

        Half of the starts are random, the others are near the best solution so far.
        """
        seen: set[bytes] = set()
        best = self.problem.empty()
        for number in range(n_starts):
            far = 2 * number < n_starts or not best.cells.size
            start = self.start(n_tasks) if far else self.remix(best)
            candidate = self.candidate(start, PENALTIES[number % len(PENALTIES)], far)
            key = signature(candidate.cells)
            if key in seen:
                continue
            seen.add(key)
            pruned = self.prune(candidate)
            if pruned.criterion < best.criterion + WORTH_A_TRY:
                best = min(best, self.improve(pruned), key=lambda solution: solution.criterion)
        return best

    def remix(self, solution: Solution) -> Solution:
        """Return a start that fits as well, with some tasks rotated into each other."""
        W = solution.parameters.W
        W = np.hstack([W, 0.05 * self.rng.normal(size=(len(W), 1))])
        n_mixed = min(self.rng.randint(2, 4), W.shape[1])
        mixed = self.rng.choice(W.shape[1], n_mixed, replace=False)
        rotation, _ = np.linalg.qr(self.rng.normal(size=(n_mixed, n_mixed)))
        W[:, mixed] = W[:, mixed] @ rotation
        return self._solution(solution.parameters._replace(W=W))

    def resume(self, solution: Solution) -> Solution:
        """Return the best solution near one that was found in other data."""
        W = solution.parameters.W
        noise = 0.1 * self.rng.normal(size=W.shape)
        moved = replace(solution, parameters=solution.parameters._replace(W=W + noise))
        starts = [solution, *(self.candidate(moved, penalty, far=False) for penalty in PENALTIES)]
        found = (self.improve(self.prune(start)) for start in starts)
        return min(found, key=lambda solution: solution.criterion)


def signature(cells: np.ndarray) -> bytes:
    """Return what is equal for equal cells up to the order of the tasks."""
    return bytes(np.array(sorted(map(tuple, cells.T.astype(int)))))
