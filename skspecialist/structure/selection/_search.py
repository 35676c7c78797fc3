"""Search for the support of the loadings with the best information criterion.

Sparse starts are pruned by Wald tests, and then changed by one segment at a time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri
from tqdm import tqdm

from ._gaussian import NOISE, Parameters, Problem, Solution, cost, minimize_bounded

__all__ = ["Search", "Tests"]

# Tasks of a random start beyond those that are found: with too few, it ends in local optima.
SURPLUS = 4
# Starts that are worse than the best by more than this are not improved: single changes rarely
# gain more.
WORTH_IMPROVING = 60.0
# Starts in a row without improvement after which the search ends.
PATIENCE = 10
# Changes with the largest expected improvement that are tried before a solution is final.
N_FAILURES = 5
# Smaller improvements of the criterion are within the tolerance of the optimizer.
TOLERANCE = 1e-3
# Penalties of consecutive starts, in units of 1 / sqrt(n), the standard error of a loading: a
# penalty of about one removes noise. A larger one finds fewer and shorter tasks.
PENALTIES = (1.0, 0.5, 0.25)
# Each penalty is approached from larger ones: (factor, smoothing of the norm, iterations).
ANNEALING = ((3.0, 0.1, 60), (2.0, 0.05, 60), (1.0, 0.02, 150))
# Norm of a segment's loadings that counts as zero; the columns have unit variance.
THRESHOLD = 0.05
# Ridge penalty of the effects of actions, so that those that are not identified are zero.
RIDGE = 0.01
# Standard deviations of loadings: of a random start, and of an additional, almost empty task.
RANDOM, EMPTY = 0.3, 0.05
# Range of random factors of the segments' penalties, so that starts near one solution differ.
SPREAD = (0.3, 1.7)


class Search:
    """Search from sparse starts, by changes of single cells.

    Parameters
    ----------
    problem : Problem
        Criterion of the data.
    rng : RandomState
        Source of the starts.
    """

    def __init__(self, problem: Problem, rng: np.random.RandomState) -> None:
        self.problem, self.rng = problem, rng
        self.starts = SparseStarts(problem, rng)

    def run(self, n_starts: int, verbose: int) -> Solution:
        """Return the best solution from starts that are random and near the best in turn.

        The search ends after several starts in a row without improvement.
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
        """Return the best solution near one that was found for other data."""
        near = (self.starts.near(solution.parameters, penalty) for penalty in PENALTIES)
        found = (self.improve(self.prune(start)) for start in (solution, *near))
        return min(self.problem.empty(), *found, key=lambda solution: solution.criterion)

    def limit(self, solution: Solution, n_tasks: int) -> Solution:
        """Return a solution with at most ``n_tasks`` tasks, dropping the least important ones."""
        while solution.cells.shape[1] > n_tasks:
            others = ~np.eye(solution.cells.shape[1], dtype=bool)
            without = (
                self.problem.fit(replace(solution, cells=solution.cells & kept)) for kept in others
            )
            solution = self.improve(min(without, key=lambda solution: solution.criterion))
        return solution

    def prune(self, start: Solution) -> Solution:
        """Return the fit after dropping cells that do not improve the criterion."""
        best = self.problem.fit(start)
        moves = Tests(self.problem, best).moves(drops=True)
        while moves:
            changed = best
            for move in moves:
                changed = move.apply(changed)
            changed = self.problem.fit(changed)
            # All drops at once, then half of them, as the tests hold for single drops only.
            if changed.criterion < best.criterion:
                best = changed
                moves = Tests(self.problem, best).moves(drops=True)
            else:
                moves = moves[: len(moves) // 2]
        return best

    def improve(self, solution: Solution) -> Solution:
        """Return the solution after single changes, as long as one improves the criterion."""
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
        """Return the solution from a start; the best one if the start is not worth a search."""
        if _is_new(start, seen):
            found = self.prune(start)
            if _is_new(found, seen) and found.criterion < best.criterion + WORTH_IMPROVING:
                return self.improve(found)
        return best

    def _enough_tasks(self) -> int:
        """Return a number of tasks that leaves some of them empty."""
        n_tasks = 2 * SURPLUS
        while True:
            starts = (self.starts.far(n_tasks, penalty) for penalty in PENALTIES[:2])
            found = max(int((start.cells.sum(axis=0) >= 2).sum()) for start in starts)
            if found <= n_tasks - SURPLUS or n_tasks >= len(self.problem.S):
                return min(n_tasks, found + SURPLUS)
            n_tasks *= 2


def _is_new(solution: Solution, seen: set[tuple]) -> bool:
    """Return whether the cells and effects are new, and add them to those seen."""
    tasks = sorted(task.tobytes() for task in solution.cells.T)
    key = (solution.follows.tobytes(), *tasks)
    if key in seen:
        return False
    seen.add(key)
    return True


class SparseStarts:
    """Solutions with a penalty on the norm of each segment's loadings in each task.

    Parameters
    ----------
    problem : Problem
        Criterion of the data.
    rng : RandomState
        Source of the starts.
    """

    def __init__(self, problem: Problem, rng: np.random.RandomState) -> None:
        self.problem, self.rng = problem, rng
        n_columns = problem.layout.n_columns
        self.inside = problem.layout.is_segment[problem.layout.run]
        # The norm of p loadings of noise grows with sqrt(p): the group lasso's weights.
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
        """Return the solution from given parameters, with some tasks rotated into each other.

        Without a penalty, rotated tasks would fit almost as well. An additional, almost
        empty task can take over a part of another.
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


class Move(NamedTuple):
    """Change of the support: of a cell, of the effect of an action on a run, or of both.

    Attributes
    ----------
    change : float
        Expected change of the criterion; negative is better.
    cell : tuple of int, or None
        Run and task of the cell that is added or dropped.
    follows : int or None
        Run whose effect of the action before is added or dropped.
    """

    change: float
    cell: tuple[int, int] | None
    follows: int | None

    def apply(self, solution: Solution) -> Solution:
        """Return the solution with its support changed, not yet fitted."""
        cells, follows = solution.cells.copy(), solution.follows.copy()
        if self.cell is not None:
            cells[self.cell] ^= True
        if self.follows is not None:
            follows[self.follows] ^= True
        return replace(solution, cells=cells, follows=follows)


class Tests:
    """Wald tests of the free parameters of a solution and score tests of all others.

    Every parameter changes the precision by a symmetric matrix a b' + b a', with a and b
    among a few vectors. Score and information are then entries, and products of entries,
    of two small matrices.

    Parameters
    ----------
    problem : Problem
        Criterion of the data.
    solution : Solution
        Parameters of greatest likelihood on their support.
    """

    def __init__(self, problem: Problem, solution: Solution) -> None:
        self.problem, self.solution = problem, solution
        layout, (L, C, W, noise) = problem.layout, solution.parameters
        n = len(W)
        V, R = solution.parameters.factors()
        Q = np.linalg.solve(R, V.T).T
        Z = Q @ W.T
        # dP for an entry (i, j): of L it is e_i l_j' + l_j e_i', of C it is e_i z_j' + z_j e_i',
        # of W it is (e_i + c_i - noise z_i) q_j' + its transpose. These are the columns.
        vectors = np.hstack([np.eye(n), L, Z, np.eye(n) + C - noise * Z, Q])
        chain, effect = layout.entries, layout.follow_entries(layout.may_follow)
        row, self.task = np.indices(W.shape).reshape(2, -1)
        self.a = np.concatenate([chain[0], effect[0], 3 * n + row])
        self.b = np.concatenate([n + chain[1], 2 * n + effect[1], 4 * n + self.task])

        # Score n a' (P^-1 - S) b.
        self.inner = vectors.T @ np.linalg.solve(solution.parameters.precision(), vectors)
        score = self.inner - vectors.T @ problem.S @ vectors
        self.score = problem.n * score[self.a, self.b]
        self.theta = np.concatenate([L[chain], C[effect], W.ravel()])
        follows = solution.follows[layout.run[effect[0]]]
        free_loadings = solution.cells[layout.run].ravel()
        self.free = np.concatenate([np.ones(len(chain[0]), dtype=bool), follows, free_loadings])
        self.n_chain, self.n_before = len(chain[0]), len(chain[0]) + len(effect[0])
        self.effect_run = layout.run[effect[0]]
        # Position of each parameter among the free or among the fixed ones.
        self.place = np.where(self.free, np.cumsum(self.free), np.cumsum(~self.free)) - 1

    def _information(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the Fisher information n trace(P^-1 dP P^-1 dP') / 2 of two sets."""
        a, b = (self.a[one], self.a[other]), (self.b[one], self.b[other])
        straight = self.inner[np.ix_(*a)] * self.inner[np.ix_(*b)]
        crossed = self.inner[np.ix_(a[0], b[1])] * self.inner[np.ix_(b[0], a[1])]
        return self.problem.n * (straight + crossed)

    @cached_property
    def _covariance(self) -> np.ndarray:
        """Covariance of the free parameters' estimates."""
        return _inverse(self._information(self.free, self.free))

    @cached_property
    def _fixed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Efficient score of the fixed parameters, and its regression on the free ones."""
        coupling = self._information(~self.free, self.free)
        explained = coupling @ self._covariance
        return self.score[~self.free] - explained @ self.score[self.free], coupling, explained

    def _statistic(self, parameters: np.ndarray) -> float:
        """Return twice the log-likelihood lost by fixing, or gained by freeing, parameters."""
        place = self.place[parameters]
        if self.free[parameters[0]]:
            values, matrix = self.theta[parameters], self._covariance[np.ix_(place, place)]
        else:
            # Score test: the information of the parameters given the free ones.
            score, coupling, explained = self._fixed
            values = score[place]
            matrix = self._information(parameters, parameters)
            matrix -= explained[place] @ coupling[place].T
        return float(max(values @ np.linalg.solve(_regular(matrix), values), 0.0))

    def _cell(self, run: int, task: int, n_left_out: int = 0) -> np.ndarray:
        """Return the loadings of a run in a task, without its first ``n_left_out``."""
        rows = np.flatnonzero(self.problem.layout.run == run)[n_left_out:]
        return self.n_before + rows * self.solution.cells.shape[1] + task

    def _effect(self, run: int) -> np.ndarray:
        """Return the effects of the action before a run on its first state."""
        return self.n_chain + np.flatnonzero(self.effect_run == run)

    def moves(self, *, drops: bool = False) -> list[Move]:
        """Return the changes that are expected to improve the criterion, best first.

        With ``drops``, only those that drop single cells or effects.
        """
        problem, cells, follows = self.problem, self.solution.cells, self.solution.follows
        layout, n_followed = problem.layout, problem.n_followed(cells)
        candidates = cells if drops else cells | layout.is_segment[:, None]
        found = []
        for run, task in np.argwhere(candidates).tolist():
            sign = -1 if cells[run, task] else 1
            change = sign * (problem.cell_price[run] - self._statistic(self._cell(run, task)))
            found.append(Move(change, (run, task), None))
        for run in np.flatnonzero((n_followed > 0) & (follows | (not drops))).tolist():
            sign = -1 if follows[run] else 1
            change = sign * (problem.follow_price(cells)[run] - self._statistic(self._effect(run)))
            found.append(Move(change, None, run))
        found += [] if drops else self._replacements()
        return sorted((move for move in found if move.change < 0), key=lambda move: move.change)

    def _replacements(self) -> list[Move]:
        """Return the changes that replace a cell by the effect of the action before it."""
        problem, cells, follows = self.problem, self.solution.cells, self.solution.follows
        n_first = problem.layout.n_features
        after = cells & problem.layout.may_follow[:, None] & ~follows[:, None]
        after[1:] &= cells[:-1]
        found = []
        for run, task in np.argwhere(after).tolist():
            price = n_first * np.log(problem.n) - problem.cell_price[run]
            lost = self._statistic(self._cell(run, task, n_first))
            found.append(Move(lost + price, (run, task), run))
        return found

    def effect_sizes(self) -> np.ndarray:
        """Return the strength of each run in each task as a correlation.

        A task's other loadings are fixed while one of them is tested: its scale may not be
        identified between two segments, and then no Wald test would be significant.
        """
        statistics = np.zeros(self.solution.cells.shape)
        of_task = np.append(np.full(self.n_before, -1), self.task)
        for task, cells in enumerate(self.solution.cells.T):
            others = (of_task != task) & self.free
            covariance = _inverse(self._information(others, others))
            for run, has in enumerate(cells):
                own = self._cell(run, task)
                if has:
                    coupling = self._information(own, others)
                    information = self._information(own, own) - coupling @ covariance @ coupling.T
                    statistics[run, task] = self.theta[own] @ information @ self.theta[own]
                else:
                    statistics[run, task] = self._statistic(own)
        return np.sqrt(statistics / (statistics + self.problem.n))


def _inverse(matrix: np.ndarray) -> np.ndarray:
    root, _ = dpotrf(_regular(matrix), lower=1)
    lower, _ = dpotri(root, lower=1)
    return np.tril(lower) + np.tril(lower, -1).T


def _regular(matrix: np.ndarray) -> np.ndarray:
    """Return an information matrix that is positive definite in unidentified directions."""
    return matrix + 1e-8 * np.diag(np.diag(matrix) + 1e-300)
