"""What each change of a support is expected to bring, from one Fisher information."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

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
        # Number of each parameter among the free or among the fixed ones.
        self.place = np.where(self.free, np.cumsum(self.free), np.cumsum(~self.free)) - 1

    def _information(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
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
        """Score of the fixed parameters, cleared of the free ones, and what clears it."""
        coupling = self._information(~self.free, self.free)
        explained = coupling @ self._covariance
        return self.score[~self.free] - explained @ self.score[self.free], coupling, explained

    def _statistic(self, parameters: np.ndarray) -> float:
        """Return twice the log-likelihood lost or won by fixing or freeing parameters."""
        place = self.place[parameters]
        if self.free[parameters[0]]:
            values, matrix = self.theta[parameters], self._covariance[np.ix_(place, place)]
        else:
            score, coupling, explained = self._fixed
            values = score[place]
            matrix = self._information(parameters, parameters)
            matrix -= explained[place] @ coupling[place].T
        return float(max(values @ np.linalg.solve(_regular(matrix), values), 0.0))

    def _cell(self, run: int, task: int, n_left_out: int = 0) -> np.ndarray:
        """Return the loadings of a run in a task, but for its first ones."""
        rows = np.flatnonzero(self.problem.layout.run == run)[n_left_out:]
        return self.n_before + rows * self.solution.cells.shape[1] + task

    def _effect(self, run: int) -> np.ndarray:
        """Return the effects of an action on the first state of a run."""
        return self.n_chain + np.flatnonzero(self.effect_run == run)

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
            change = sign * (problem.cell_price[run] - self._statistic(self._cell(run, task)))
            found.append(Move(change, (run, task), None))
        for run in np.flatnonzero((n_followed > 0) & (follows | (not drops))).tolist():
            sign = -1 if follows[run] else 1
            change = sign * (problem.follow_price(cells)[run] - self._statistic(self._effect(run)))
            found.append(Move(change, None, run))
        found += [] if drops else self._replacements()
        return sorted((move for move in found if move.change < 0), key=lambda move: move.change)

    def _replacements(self) -> list[Move]:
        """Return what it brings to explain a cell by the effect of the action before it."""
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

        A task's other loadings are held while one of its own is tested: the data may leave
        open how its segments share the scale, and no test would find one different from zero.
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
    """Return an information matrix that also bounds directions that the data leave open."""
    return matrix + 1e-8 * np.diag(np.diag(matrix) + 1e-300)
