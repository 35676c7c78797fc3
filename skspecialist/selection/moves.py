"""What each change of a support is expected to bring, from one Fisher information."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .support import Problem, Solution

__all__ = ["Move", "Tests"]


class Move(NamedTuple):
    """A change of one run, in a task, or in whether it follows an action, or in both.

    Attributes
    ----------
    change : float
        Expected change of the criterion; negative is better.
    cell : tuple of int, or None
        Run and task that are joined or parted.
    follows : int or None
        Run that comes to follow an action or no longer does.
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
        The data.
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
        vectors = np.hstack([np.eye(n), L, Z, np.eye(n) + C - noise * Z, Q])
        chain, effect = layout.entries, layout.follow_entries(layout.may_follow)
        row, self.task = np.indices(W.shape).reshape(2, -1)
        self.a = np.concatenate([chain[0], effect[0], 3 * n + row])
        self.b = np.concatenate([n + chain[1], 2 * n + effect[1], 4 * n + self.task])

        self.inner = vectors.T @ np.linalg.solve(solution.parameters.precision(), vectors)
        score = self.inner - vectors.T @ problem.S @ vectors
        self.score = problem.n * score[self.a, self.b]
        self.theta = np.concatenate([L[chain], C[effect], W.ravel()])
        follows = solution.follows[layout.run[effect[0]]]
        free_loadings = solution.cells[layout.run].ravel()
        self.free = np.concatenate([np.ones(len(chain[0]), dtype=bool), follows, free_loadings])
        self.n_chain, self.n_before = len(chain[0]), len(chain[0]) + len(effect[0])
        self.effect_run = layout.run[effect[0]]
        # Where a fixed parameter is among the fixed ones.
        self.place = np.cumsum(~self.free) - 1

    def _information(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        a, b = (self.a[one], self.a[other]), (self.b[one], self.b[other])
        straight = self.inner[np.ix_(*a)] * self.inner[np.ix_(*b)]
        crossed = self.inner[np.ix_(a[0], b[1])] * self.inner[np.ix_(b[0], a[1])]
        return self.problem.n * (straight + crossed)

    def _cleared(self, kept: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return score and information of some parameters, cleared of others that are free."""
        coupling = self._information(others, kept)
        explained = np.linalg.solve(_regular(self._information(others, others)), coupling)
        information = self._information(kept, kept) - coupling.T @ explained
        return self.score[kept] - explained.T @ self.score[others], information

    @cached_property
    def _fixed(self) -> tuple[np.ndarray, np.ndarray]:
        return self._cleared(~self.free, self.free)

    @cached_property
    def _tasks(self) -> list[np.ndarray]:
        """Information of the loadings of each task, cleared of all but its own.

        A task's own loadings are held: the data may leave open how its segments share the
        scale, and no test would find them different from zero.
        """
        of_task = np.concatenate([np.full(self.n_before, -1), self.task])
        information = []
        for task in range(self.solution.cells.shape[1]):
            own = of_task == task
            information.append(self._cleared(own & self.free, ~own & self.free)[1])
        return information

    def _score_statistic(self, parameters: np.ndarray) -> float:
        """Return twice the log-likelihood that freeing some parameters wins."""
        score, information = self._fixed
        place = self.place[parameters]
        information = _regular(information[np.ix_(place, place)])
        return float(max(score[place] @ np.linalg.solve(information, score[place]), 0.0))

    def _cell_statistic(self, run: int, task: int, n_left_out: int = 0) -> float:
        """Return twice the log-likelihood that a cell's loadings, but for the first, bring."""
        rows = np.flatnonzero(self.problem.layout.run == run)[n_left_out:]
        parameters = self.n_before + rows * self.solution.cells.shape[1] + task
        if not self.solution.cells[run, task]:
            return self._score_statistic(parameters)
        free_rows = np.flatnonzero(self.solution.cells[self.problem.layout.run, task])
        place = np.searchsorted(free_rows, rows)
        values = self.theta[parameters]
        return float(max(values @ self._tasks[task][np.ix_(place, place)] @ values, 0.0))

    def _effect_statistic(self, run: int) -> float:
        """Return twice the log-likelihood that an effect on the run's first state brings."""
        parameters = self.n_chain + np.flatnonzero(self.effect_run == run)
        if not self.solution.follows[run]:
            return self._score_statistic(parameters)
        others = self.free.copy()
        others[parameters] = False
        _, information = self._cleared(np.isin(np.arange(len(self.free)), parameters), others)
        return float(max(self.theta[parameters] @ information @ self.theta[parameters], 0.0))

    def moves(self, *, drops: bool = False) -> list[Move]:
        """Return the changes that are expected to be for the better, best first.

        With ``drops`` only those that fix single cells or effects.
        """
        problem, cells, follows = self.problem, self.solution.cells, self.solution.follows
        layout, n_followed = problem.layout, problem.n_followed(cells)
        candidates = cells if drops else cells | layout.is_segment[:, None]
        found = []
        for run, task in np.argwhere(candidates).tolist():
            sign = -1 if cells[run, task] else 1
            change = sign * (problem.cell_price[run] - self._cell_statistic(run, task))
            found.append(Move(change, (run, task), None))
        for run in np.flatnonzero((n_followed > 0) & (follows | (not drops))).tolist():
            sign = -1 if follows[run] else 1
            change = sign * (problem.follow_price(cells)[run] - self._effect_statistic(run))
            found.append(Move(change, None, run))
        found += [] if drops else self._replacements()
        return sorted((move for move in found if move.change < 0), key=lambda move: move.change)

    def _replacements(self) -> list[Move]:
        """Return what it brings to explain a cell by the effect of the action before it."""
        problem, cells, follows = self.problem, self.solution.cells, self.solution.follows
        layout, price = problem.layout, problem.layout.n_features * np.log(problem.n)
        after = cells & layout.may_follow[:, None] & ~follows[:, None]
        after[1:] &= cells[:-1]
        return [
            Move(
                self._cell_statistic(run, task, layout.n_features)
                - problem.cell_price[run]
                + price,
                (run, task),
                run,
            )
            for run, task in np.argwhere(after).tolist()
        ]

    def effect_sizes(self) -> np.ndarray:
        """Return the strength of each run in each task as a correlation."""
        statistics = np.zeros(self.solution.cells.shape)
        for run, task in np.ndindex(*statistics.shape):
            statistics[run, task] = self._cell_statistic(run, task)
        return np.sqrt(statistics / (statistics + self.problem.n))


def _regular(matrix: np.ndarray) -> np.ndarray:
    """Return an information matrix that also bounds directions that the data leave open."""
    return matrix + 1e-8 * np.diag(np.diag(matrix) + 1e-300)
