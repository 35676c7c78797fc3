"""What each change of a support is expected to bring, from one Fisher information."""

from __future__ import annotations

from dataclasses import replace
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

    def drops(self, solution: Solution) -> bool:
        """Whether the solution has fewer parameters after it."""
        if self.cell is None:
            return bool(solution.follows[self.follows])
        return bool(solution.cells[self.cell])

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
        n, n_tasks = W.shape
        V, R = solution.parameters.factors()
        Q = np.linalg.solve(R, V.T).T
        Z = Q @ W.T
        vectors = np.hstack([np.eye(n), L, Z, np.eye(n) + C - noise * Z, Q])
        loading, effect = (
            np.indices(W.shape).reshape(2, -1),
            layout.follow_entries(layout.may_follow),
        )
        a = np.concatenate([layout.entries[0], effect[0], 3 * n + loading[0]])
        b = np.concatenate([n + layout.entries[1], 2 * n + effect[1], 4 * n + loading[1]])

        inner = vectors.T @ np.linalg.solve(solution.parameters.precision(), vectors)
        score = inner - vectors.T @ problem.S @ vectors
        cross = inner[np.ix_(a, b)]
        information = inner[np.ix_(a, a)] * inner[np.ix_(b, b)] + cross * cross.T
        free = np.concatenate(
            [
                np.ones(len(layout.entries[0]), dtype=bool),
                np.repeat(solution.follows[layout.may_follow], layout.n_features**2),
                solution.cells[layout.run].ravel(),
            ]
        )
        self.theta = np.concatenate([L[layout.entries], C[effect], W.ravel()])
        self.effects = {
            run: np.flatnonzero(layout.run[effect[0]] == run) + len(layout.entries[0])
            for run in np.flatnonzero(layout.may_follow)
        }
        self.n_before = len(layout.entries[0]) + len(effect[0])
        self._profile(problem.n * score[a, b], problem.n * information, free)

    def _profile(self, score: np.ndarray, information: np.ndarray, free: np.ndarray) -> None:
        """Clear score and information of the fixed parameters of those that are free."""
        self.free = free
        self.place = np.where(free, np.cumsum(free), np.cumsum(~free)) - 1
        self.covariance = np.linalg.pinv(
            information[np.ix_(free, free)], rcond=1e-10, hermitian=True
        )
        coupling = information[np.ix_(~free, free)]
        explained = coupling @ self.covariance
        self.information = information[np.ix_(~free, ~free)] - explained @ coupling.T
        self.score = score[~free] - explained @ score[free]

    def statistic(self, parameters: np.ndarray) -> float:
        """Return twice the log-likelihood lost or won by fixing or freeing parameters."""
        place = self.place[parameters]
        if self.free[parameters[0]]:
            values, matrix = self.theta[parameters], self.covariance[np.ix_(place, place)]
        else:
            values, matrix = self.score[place], self.information[np.ix_(place, place)]
        return float(max(values @ np.linalg.pinv(matrix, rcond=1e-8, hermitian=True) @ values, 0.0))

    def cell(self, run: int, task: int, n_left_out: int = 0) -> np.ndarray:
        """Return the loadings of a run in a task, but for its first ones."""
        rows = np.flatnonzero(self.problem.layout.run == run)[n_left_out:]
        return self.n_before + rows * self.solution.cells.shape[1] + task

    def moves(self) -> list[Move]:
        """Return the changes that are expected to be for the better, best first."""
        problem, cells, follows = self.problem, self.solution.cells, self.solution.follows
        layout, n_followed = problem.layout, problem.n_followed(cells)
        price = problem.follow_price(cells)
        found = []
        for run, task in np.argwhere(layout.is_segment[:, None] | cells).tolist():
            sign = -1 if cells[run, task] else 1
            gain = self.statistic(self.cell(run, task))
            found.append(Move(sign * (problem.cell_price[run] - gain), (run, task), None))
            if sign < 0 and run in self.effects and not follows[run] and cells[run - 1, task]:
                lost = self.statistic(self.cell(run, task, layout.n_features))
                change = lost - problem.cell_price[run] + layout.n_features * np.log(problem.n)
                found.append(Move(change, (run, task), run))
        for run in np.flatnonzero(n_followed).tolist():
            sign = -1 if follows[run] else 1
            gain = self.statistic(self.effects[run])
            found.append(Move(sign * (price[run] - gain), None, run))
        return sorted((move for move in found if move.change < 0), key=lambda move: move.change)

    def effect_sizes(self) -> np.ndarray:
        """Return the strength of each run in each task as a correlation."""
        statistics = np.zeros(self.solution.cells.shape)
        for run, task in np.ndindex(*statistics.shape):
            statistics[run, task] = self.statistic(self.cell(run, task))
        return np.sqrt(statistics / (statistics + self.problem.n))
