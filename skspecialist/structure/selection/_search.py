"""Search for the support of the loadings with the best information criterion.

Sparse starts are pruned by Wald tests, and then changed by one segment at a time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dtrtri
from tqdm import tqdm

from ._gaussian import NOISE, Curvature, Parameters, Problem, Solution

__all__ = ["Search", "Tests"]

# Tasks of a random start beyond those that are found: with too few, it ends in local optima.
SURPLUS = 4
# Starts that are worse than the best by more than this are not improved: single changes rarely
# gain more.
WORTH_IMPROVING = 60.0
# Rounds of starts, and random starts that end at the best solution after which no further ones
# are needed.
MAX_ROUNDS, N_HITS = 6, 4
# Changes with the largest expected improvement that are tried before a solution is final.
N_FAILURES = 4
# Smaller improvements of the criterion are within the tolerance of the optimizer.
TOLERANCE = 0.5
# Penalties of consecutive starts, in units of 1 / sqrt(n), the standard error of a loading: a
# penalty of about one removes noise. A larger one finds fewer and shorter tasks.
PENALTIES = (1.0, 0.5, 0.25)
# Each penalty is approached from larger ones: (factor, smoothing of the norm, iterations).
ANNEALING = ((3.0, 0.1, 80), (2.0, 0.05, 60), (1.0, 0.02, 100))
# Largest step of a loading, at the first iteration.
RATE = 0.05
# Norm of a segment's loadings that counts as zero, in standard errors and within bounds; the
# columns have unit variance.
THRESHOLD, LEAST, MOST = 2.2, 0.05, 0.1
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
        """Return the best solution from starts that are random and then near the best.

        Random starts end when several of them reach the same best solution, and the search when
        a round of starts near it brings no improvement.
        """
        n_tasks = self._enough_tasks(n_starts)
        best = self.improve(self.problem.empty())
        reached: dict[tuple, Solution] = {}
        rounds = tqdm(range(MAX_ROUNDS), desc="rounds", disable=not verbose, leave=False)
        for number in rounds:
            far = number == 0 or not best.cells.size
            starts = (
                self.starts.far(n_starts, n_tasks)
                if far
                else self.starts.near(max(n_starts // 2, 4), best)
            )
            before, n_hits = best.criterion, 0
            for start in starts:
                found = self._reach(start, reached, best.criterion)
                if found.criterion < best.criterion - TOLERANCE:
                    best, n_hits = found, 0
                n_hits += far and found.criterion < best.criterion + TOLERANCE
                if n_hits == N_HITS:
                    break
            if number and best.criterion > before - TOLERANCE:
                break
        return self.problem.fit(best, tolerance=1e-3)

    def resume(self, solution: Solution) -> Solution:
        """Return the best solution near one that was found for other data."""
        starts = [solution, *self.starts.near(3, solution)]
        found = (self.improve(self.prune(start)) for start in starts)
        return min(self.problem.empty(), *found, key=criterion_of)

    def limit(self, solution: Solution, n_tasks: int) -> Solution:
        """Return a solution with at most ``n_tasks`` tasks, dropping the least important ones."""
        while solution.cells.shape[1] > n_tasks:
            others = ~np.eye(solution.cells.shape[1], dtype=bool)
            without = (
                self.problem.fit(replace(solution, cells=solution.cells & kept)) for kept in others
            )
            # A new task could be the one that was dropped.
            solution = self.improve(min(without, key=criterion_of), new_tasks=False)
        return solution

    def prune(self, start: Solution) -> Solution:
        """Return the fit after dropping cells that do not improve the criterion."""
        return self.improve(start, drops=True)

    def improve(self, start: Solution, *, drops: bool = False, new_tasks: bool = True) -> Solution:
        """Return the solution after changes, as long as they improve the criterion."""
        options = {"drops": drops, "new_tasks": new_tasks}
        best = self.problem.fit(start) if np.isinf(start.criterion) or drops else start
        moves, n_tried, failed = Tests(self.problem, best).moves(**options), None, 0
        while moves and failed < N_FAILURES:
            together = moves[:n_tried] if drops else _apart(moves)[:n_tried]
            changed = best
            for move in together:
                changed = move.apply(changed, self.problem.layout.first)
            changed = self.problem.fit(changed)
            # All changes at once, then half of them, as the tests hold for single ones only; then
            # those with the largest expected improvement one by one.
            if changed.criterion < best.criterion - TOLERANCE:
                best, n_tried, failed = changed, None, 0
                moves = Tests(self.problem, best).moves(**options)
            elif len(together) > 1:
                n_tried = len(together) // 2
            else:
                moves, failed = moves[1:], failed + 1
        return best

    def _reach(self, start: Solution, reached: dict, best: float) -> Solution:
        """Return the solution from a start; the same one from a start with the same support."""
        if _support(start) not in reached:
            found = self.prune(start)
            if _support(found) in reached:
                found = reached[_support(found)]
            elif found.criterion < best + WORTH_IMPROVING:
                reached[_support(found)] = found = self.improve(found)
            reached[_support(start)] = found
        return reached[_support(start)]

    def _enough_tasks(self, n_starts: int) -> int:
        """Return a number of tasks that leaves some of them empty."""
        n_tasks = 2 * SURPLUS
        while True:
            found = max(start.cells.shape[1] for start in self.starts.far(n_starts // 4, n_tasks))
            if found <= n_tasks - SURPLUS or n_tasks >= len(self.problem.S):
                return min(n_tasks, found + SURPLUS)
            n_tasks *= 2


def criterion_of(solution: Solution) -> float:
    """Return the information criterion."""
    return solution.criterion


def _apart(moves: list[Move]) -> list[Move]:
    """Return the moves without those that change the runs of a better one."""
    chosen: list[Move] = []
    runs: set[int] = set()
    for move in moves:
        own = {run for run, _ in move.cells}
        if move.follows is not None:
            own.add(move.follows)
        if move.loadings is not None:
            own.add(-1)
        if not own & runs:
            chosen.append(move)
            runs |= own
    return chosen


def _support(solution: Solution) -> tuple:
    """Return the cells, in any order of the tasks, and the effects."""
    return solution.follows.tobytes(), *sorted(task.tobytes() for task in solution.cells.T)


class SparseStarts:
    """Sparse factors of the partial correlations between steps that are not adjacent.

    The chain has no parameters there: M = V R^-1 V' is fitted to these entries of the precision
    matrix by least squares, with a penalty on the norm of each segment's loadings in each task.
    Many starts are fitted at once, by gradient steps of Adam (Kingma & Ba, 2015).

    Parameters
    ----------
    problem : Problem
        Criterion of the data.
    rng : RandomState
        Source of the starts.
    """

    def __init__(self, problem: Problem, rng: np.random.RandomState) -> None:
        self.problem, self.rng, layout = problem, rng, problem.layout
        # With few sequences, the inverse of S is noise: shrinkage to the chain.
        inverse, _ = dtrtri(problem.chain, lower=1)
        share = len(problem.S) / (len(problem.S) + problem.n)
        precision = np.linalg.inv((1 - share) * problem.S + share * inverse.T @ inverse)
        self.scale = np.sqrt(np.diag(precision))
        self.target = precision / np.outer(self.scale, self.scale)
        self.inside = layout.is_segment[layout.run][:, None]
        self.effects = np.zeros_like(problem.S)
        self.effects[layout.effects] = 1.0
        # The norm of p loadings of noise grows with sqrt(p): the group lasso's weights.
        self.weights = np.sqrt(layout.n_columns / 2 / problem.n)[:, None]

    def far(self, n_starts: int, n_tasks: int) -> list[Solution]:
        """Return the solutions from random loadings."""
        shape = n_starts, len(self.target), n_tasks
        return self._solve(RANDOM * self.rng.normal(size=shape), 0 * self.target, NOISE, 1.0)

    def near(self, n_starts: int, solution: Solution) -> list[Solution]:
        """Return the solutions from given parameters, with some tasks rotated into each other.

        Without a penalty, rotated tasks would fit almost as well. An additional, almost
        empty task can take over a part of another.
        """
        _, C, W, noise = solution.parameters
        W = np.tile(np.pad(W / self.scale[:, None], [(0, 0), (0, 1)]), (n_starts, 1, 1))
        W[:, :, -1] = EMPTY * self.rng.normal(size=W.shape[:2])
        for loadings in W:
            n_mixed = min(self.rng.randint(2, 4), W.shape[2])
            mixed = self.rng.choice(W.shape[2], n_mixed, replace=False)
            loadings[:, mixed] @= np.linalg.qr(self.rng.normal(size=(n_mixed, n_mixed)))[0]
        C = C * np.outer(1 / self.scale, self.scale)
        factors = self.rng.uniform(*SPREAD, size=(n_starts, len(self.weights), W.shape[2]))
        return self._solve(W, C, noise, factors)

    def _solve(
        self, W: np.ndarray, C: np.ndarray, noise: float, factors: np.ndarray | float
    ) -> list[Solution]:
        n_starts, _, n_tasks = W.shape
        layout = self.problem.layout
        W = W * self.inside
        theta = [W, np.tile(C, (n_starts, 1, 1)), np.full((n_starts, 1, 1), noise)]
        penalties = np.resize(PENALTIES, n_starts)[:, None, None]
        weights = penalties * factors * self.weights * np.ones((1, 1, n_tasks))
        means = [(np.zeros_like(part), np.zeros_like(part)) for part in theta]
        steps = [stage for stage in ANNEALING for _ in range(stage[2])]
        for number, (factor, smoothing, _) in enumerate(steps):
            gradients = self._gradients(theta[0], theta[1], theta[2], factor * weights, smoothing)
            rate = RATE * (1 - number / len(steps))
            for part, gradient, (first, second) in zip(theta, gradients, means, strict=True):
                first += 0.1 * (gradient - first)
                second += 0.02 * (gradient**2 - second)
                bias = (1 - 0.9 ** (number + 1)) / np.sqrt(1 - 0.98 ** (number + 1))
                part -= rate / bias * first / (np.sqrt(second) + 1e-8)
            np.maximum(theta[2], 0.0, out=theta[2])
        W, C, noises = theta
        zero = np.clip(THRESHOLD / np.sqrt(self.problem.n), LEAST, MOST)
        cells = self._squares(W) > zero**2
        follows = np.add.reduceat((C**2).sum(axis=2), layout.first, axis=1) > zero**2
        kept = cells.sum(axis=1) >= 2
        solutions = []
        for start, own in enumerate(kept):
            parameters = Parameters(
                self.problem.chain,
                C[start] * np.outer(self.scale, 1 / self.scale),
                W[start][:, own] * self.scale[:, None],
                float(noises[start, 0, 0]),
            )
            solutions.append(Solution(parameters, cells[start][:, own], follows[start]))
        return solutions

    def _residuals(self, W: np.ndarray, C: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the residuals of all starts, Q = V R^-1 and W' W."""
        V, gram = W + C @ W, W.transpose(0, 2, 1) @ W
        Q = V @ np.linalg.inv(np.eye(W.shape[2]) + noise * gram)
        return (Q @ V.transpose(0, 2, 1) - self.target) * self.problem.layout.far_apart, Q, gram

    def _gradients(
        self, W: np.ndarray, C: np.ndarray, noise: np.ndarray, weights: np.ndarray, smoothing: float
    ) -> tuple[np.ndarray, ...]:
        """Return the derivatives of all starts by W, C and the noise."""
        residuals, Q, gram = self._residuals(W, C, noise)
        # Of a quarter of the sum of squares: half of the expected log-likelihood per sequence.
        # The differential of M is dV Q' + Q dV' - Q dR Q', with R = I + noise W' W.
        d_Q = residuals @ Q
        inner = Q.transpose(0, 2, 1) @ d_Q
        d_W = d_Q + C.transpose(0, 2, 1) @ d_Q - noise * (W @ inner)
        norms = np.sqrt(self._squares(W) + smoothing**2)
        d_W += (weights / norms)[:, self.problem.layout.run] * W
        d_C = (d_Q @ W.transpose(0, 2, 1) + RIDGE * C) * self.effects
        d_noise = -0.5 * (inner * gram).sum(axis=(1, 2), keepdims=True)
        return d_W * self.inside, d_C, d_noise

    def _squares(self, columns: np.ndarray) -> np.ndarray:
        """Return sums of squares over the columns of each run."""
        return np.add.reduceat(columns**2, self.problem.layout.first, axis=1)


class Move(NamedTuple):
    """Change of the support: of a cell, of the effect of an action on a run, or of both.

    Attributes
    ----------
    change : float
        Expected change of the criterion; negative is better.
    cells : tuple of (int, int)
        Runs and tasks of the cells that are added or dropped.
    follows : int or None
        Run whose effect of the action before is added or dropped.
    loadings : ndarray of shape (n_columns,) or None
        Loadings of a new task.
    """

    change: float
    cells: tuple[tuple[int, int], ...] = ()
    follows: int | None = None
    loadings: np.ndarray | None = None

    def apply(self, solution: Solution, first: np.ndarray) -> Solution:
        """Return the solution with its support changed, not yet fitted."""
        cells, follows = solution.cells.copy(), solution.follows.copy()
        for cell in self.cells:
            cells[cell] ^= True
        if self.follows is not None:
            follows[self.follows] ^= True
        parameters = solution.parameters
        if self.loadings is not None:
            new = np.add.reduceat(self.loadings != 0, first) > 0
            cells = np.column_stack([cells, new])
            parameters = parameters._replace(W=np.column_stack([parameters.W, self.loadings]))
        return Solution(parameters, cells, follows)


class Tests:
    """Wald tests of the free parameters of a solution and score tests of all others.

    Parameters
    ----------
    problem : Problem
        Criterion of the data.
    solution : Solution
        Parameters of greatest likelihood on their support.
    """

    def __init__(self, problem: Problem, solution: Solution) -> None:
        self.problem, self.solution, layout = problem, solution, problem.layout
        curvature = Curvature(problem.S, problem.n, layout, solution.parameters)
        # Entries of the precision between segments, which a new task would change.
        inside = layout.is_segment[layout.run]
        pairs = layout.far_apart * np.outer(inside, inside)
        self.pairs = np.nonzero(np.triu(pairs * (layout.run[:, None] != layout.run)))
        curvature.add(*self.pairs)
        self.score, self.theta, self.task = curvature.score, curvature.theta, curvature.task
        self._information, self._diagonal = curvature.information, curvature.diagonal
        chain, effect = layout.entries, layout.effects
        follows = solution.follows[layout.run[effect[0]]]
        free_loadings = solution.cells[layout.run].ravel()
        first = np.ones(len(chain[0]), dtype=bool), follows, free_loadings
        self.n_entries = sum(map(len, first))
        self.free = np.zeros(len(self.score), dtype=bool)
        self.free[: self.n_entries] = np.concatenate(first)
        self.n_chain, self.n_before = len(chain[0]), len(chain[0]) + len(effect[0])
        self.effect_run = layout.run[effect[0]]
        # Position of each parameter among the free or among the fixed ones.
        self.place = np.where(self.free, np.cumsum(self.free), np.cumsum(~self.free)) - 1

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

    def moves(self, *, drops: bool = False, new_tasks: bool = True) -> list[Move]:
        """Return the changes that are expected to improve the criterion, best first.

        With ``drops``, only those that drop single cells or effects.
        """
        problem, cells, follows = self.problem, self.solution.cells, self.solution.follows
        layout, n_followed = problem.layout, problem.n_followed(cells)
        candidates = cells if drops else cells | layout.is_segment[:, None]
        found = []
        for run, task in np.argwhere(candidates).tolist():
            if cells[run, task] and cells[:, task].sum() == 2:  # then the whole task is dropped
                change = self._strength(run, task) - problem.cell_price[cells[:, task]].sum()
            else:
                sign = -1 if cells[run, task] else 1
                change = sign * (problem.cell_price[run] - self._statistic(self._cell(run, task)))
            found.append(Move(change, ((run, task),)))
        for run in np.flatnonzero((n_followed > 0) & (follows | (not drops))).tolist():
            sign = -1 if follows[run] else 1
            change = sign * (problem.follow_price(cells)[run] - self._statistic(self._effect(run)))
            found.append(Move(change, follows=run))
        found += [] if drops else self._replacements()
        found += self._new_tasks() if new_tasks and not drops else []
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
            found.append(Move(lost + price, ((run, task),), run))
        return found

    def _new_tasks(self) -> list[Move]:
        """Return the changes that add a task of two segments."""
        problem, layout, (rows, columns) = self.problem, self.problem.layout, self.pairs
        if not len(rows):
            return []
        score, coupling, explained = self._fixed
        place = self.place[self.n_entries :]
        spent = np.einsum("ij,ij->i", explained[place], coupling[place])
        free = self._diagonal(self.n_entries) - spent
        strong = score[place] ** 2 > np.log(problem.n) * free
        pair = layout.run[rows] * layout.n_runs + layout.run[columns]
        found = []
        for code in np.unique(pair[strong]):
            own = np.flatnonzero(pair == code)
            block = self._information(own + self.n_entries, own + self.n_entries)
            block -= explained[place[own]] @ coupling[place[own]].T
            change = np.linalg.solve(_regular(block), score[place[own]])
            matrix = np.zeros_like(problem.S)
            matrix[rows[own], columns[own]] = change
            # The best approximation of rank one has the outer product of two segments' loadings.
            run, other = divmod(int(code), layout.n_runs)
            at, at_other = layout.run == run, layout.run == other
            left, sizes, right = np.linalg.svd(matrix[np.ix_(at, at_other)])
            statistic = change @ score[place[own]] * sizes[0] ** 2 / (sizes**2).sum()
            loadings = np.zeros(len(problem.S))
            loadings[at], loadings[at_other] = left[:, 0], right[0]
            price = problem.cell_price[[run, other]].sum()
            found.append(Move(price - statistic, loadings=np.sqrt(sizes[0]) * loadings))
        return found

    def effect_sizes(self) -> np.ndarray:
        """Return the strength of each run in each task as a correlation.

        A task's other loadings are fixed while one of them is tested: its scale may not be
        identified between two segments, and then no Wald test would be significant.
        """
        statistics = np.zeros(self.solution.cells.shape)
        for (run, task), has in np.ndenumerate(self.solution.cells):
            statistics[run, task] = (
                self._strength(run, task) if has else self._statistic(self._cell(run, task))
            )
        return np.sqrt(statistics / (statistics + self.problem.n))

    def _strength(self, run: int, task: int) -> float:
        """Return the Wald statistic of a cell with the task's other loadings fixed."""
        runs = np.flatnonzero(self.solution.cells[:, task]).tolist()
        parts = [self._cell(other, task) for other in runs]
        place = self.place[np.concatenate(parts)]
        information = _inverse(self._covariance[np.ix_(place, place)])
        own = np.repeat(np.equal(runs, run), list(map(len, parts)))
        values = self.theta[self._cell(run, task)]
        return float(values @ information[np.ix_(own, own)] @ values)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    root, _ = dpotrf(_regular(matrix), lower=1)
    lower, _ = dpotri(root, lower=1)
    return np.tril(lower) + np.tril(lower, -1).T


def _regular(matrix: np.ndarray) -> np.ndarray:
    """Return an information matrix that is positive definite in unidentified directions."""
    return matrix + 1e-8 * np.diag(np.diag(matrix) + 1e-300)
