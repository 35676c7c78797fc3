"""Search for the support with the best criterion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from .moves import Tests
from .sparse import PENALTIES, SparseStarts
from .support import Problem, Solution

__all__ = ["Search"]

# Tasks that random starts have beyond those that are found: with too few, they get stuck.
SURPLUS = 4
# Starts this much worse than the best are not worth improving; single changes rarely bring more.
WORTH_IMPROVING = 60.0
# Starts in a row that may bring nothing better.
PATIENCE = 10
# Expected improvements that may fail in a row.
N_FAILURES = 5
# Improvements below this are rounding.
TOLERANCE = 1e-3


class Search:
    """Sparse starts, then changes of single cells.

    Parameters
    ----------
    problem : Problem
        The data.
    rng : RandomState
        Source of the starts.
    """

    def __init__(self, problem: Problem, rng: np.random.RandomState) -> None:
        self.problem, self.rng = problem, rng
        self.starts = SparseStarts(problem, rng)

    def run(self, n_starts: int, verbose: int) -> Solution:
        """Return the best solution from random starts and, in turn, from near the best so far.

        Some in a row without a better one are the end.
        """
        n_tasks = self._enough_tasks()
        seen: set[tuple] = set()
        best, n_idle = self.problem.empty(), 0
        for number in tqdm(range(n_starts), desc="starts", disable=not verbose, leave=False):
            penalty = PENALTIES[number % len(PENALTIES)]
            if number % 2 and best.cells.size:
                start = self.starts.near(best.parameters, penalty)
            else:
                start = self.starts.far(n_tasks, penalty)
            found = self._unless_seen(start, seen, best)
            n_idle += 1
            if found.criterion < best.criterion - TOLERANCE:
                best, n_idle = found, 0
            if n_idle >= PATIENCE:
                break
        return self.problem.fit(best, max_iter=1000)

    def resume(self, solution: Solution) -> Solution:
        """Return the best solution near one that was found in other data."""
        near = (self.starts.near(solution.parameters, penalty) for penalty in PENALTIES)
        found = (self.improve(self.prune(start)) for start in (solution, *near))
        return min(self.problem.empty(), *found, key=lambda solution: solution.criterion)

    def limit(self, solution: Solution, n_tasks: int) -> Solution:
        """Return a solution with so many tasks at most, without those that matter least."""
        while solution.cells.shape[1] > n_tasks:
            others = ~np.eye(solution.cells.shape[1], dtype=bool)
            without = (
                self.problem.fit(replace(solution, cells=solution.cells & kept)) for kept in others
            )
            solution = self.improve(min(without, key=lambda solution: solution.criterion))
        return solution

    def prune(self, start: Solution) -> Solution:
        """Return the fit after dropping, several at once, what does not pay."""
        best = self.problem.fit(start)
        moves = Tests(self.problem, best).moves(drops=True)
        while moves:
            changed = best
            for move in moves:
                changed = move.apply(changed)
            changed = self.problem.fit(changed)
            if changed.criterion < best.criterion:
                best = changed
                moves = Tests(self.problem, best).moves(drops=True)
            else:
                moves = moves[: len(moves) // 2]
        return best

    def improve(self, solution: Solution) -> Solution:
        """Return the solution after single changes, as long as one is for the better."""
        improved = True
        while improved:
            improved = False
            for move in Tests(self.problem, solution).moves()[:N_FAILURES]:
                changed = self.problem.fit(move.apply(solution))
                if changed.criterion < solution.criterion - TOLERANCE:
                    solution, improved = changed, True
                    break
        return solution

    def _unless_seen(self, start: Solution, seen: set[tuple], best: Solution) -> Solution:
        """Return the solution that a start leads to, and the best for what is known."""
        if _is_new(start, seen):
            found = self.prune(start)
            if _is_new(found, seen) and found.criterion < best.criterion + WORTH_IMPROVING:
                return self.improve(found)
        return best

    def _enough_tasks(self) -> int:
        """Return a number of tasks of which some stay empty."""
        n_tasks = 2 * SURPLUS
        while True:
            starts = (self.starts.far(n_tasks, penalty) for penalty in PENALTIES[:2])
            found = max(int((start.cells.sum(axis=0) >= 2).sum()) for start in starts)
            if found <= n_tasks - SURPLUS or n_tasks >= len(self.problem.S):
                return min(n_tasks, found + SURPLUS)
            n_tasks *= 2


def _is_new(solution: Solution, seen: set[tuple]) -> bool:
    """Return whether no solution had the same cells and effects, and remember them."""
    tasks = sorted(task.tobytes() for task in solution.cells.T)
    key = (solution.follows.tobytes(), *tasks)
    if key in seen:
        return False
    seen.add(key)
    return True
