"""Gaussian model of sequences that were recorded because their tasks succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Self

import numpy as np
from sklearn.utils import check_random_state

from ..independence import Moments
from ..metrics._structure import match_columns
from .moves import Tests
from .search import Search
from .support import Layout, Problem, Solution

__all__ = ["SelectionModel"]

# Tasks that the starts have beyond those that are found.
SURPLUS = 4


class SelectionModel:
    """Gaussian model of sequences that were recorded because their tasks succeeded."""

    def __init__(
        self,
        segments: np.ndarray,
        n_features: int,
        *,
        evidence: str = "interior",
        n_tasks: int | None = None,
        n_starts: int = 24,
        random_state: int | np.random.RandomState | None = 0,
        verbose: int = 0,
    ) -> None:
        self.segments, self.n_features = segments, n_features
        self.evidence, self.n_tasks = evidence, n_tasks
        self.n_starts, self.random_state, self.verbose = n_starts, random_state, verbose

    def fit(self, folds: Sequence[Moments]) -> Self:
        """Find tasks and segments from the statistics of parts of the sequences."""
        moments = reduce(Moments.merge, folds)
        self.mean_ = moments.mean
        self._scale = scale_of(moments)
        n_timesteps = len(moments.mean) // self.n_features
        self._layout = Layout(self.segments, n_timesteps, self.n_features, self.evidence)
        problem = self._problem(moments)
        rng = check_random_state(self.random_state)
        solution = self._search(Search(problem, rng))
        self._solution = solution
        self.structure_ = solution.cells[self._layout.is_segment]
        self.n_tasks_ = self.structure_.shape[1]
        self.loadings_ = solution.parameters.W * self._scale[:, None]
        self.precision_ = solution.parameters.precision() * self._scale[:, None] * self._scale
        chain = problem.chain * self._scale[:, None]
        self.chain_precision_ = chain @ chain.T
        self.criterion_ = solution.criterion
        self.effect_sizes_ = Tests(problem, solution).effect_sizes()[self._layout.is_segment]
        return self

    def selection_frequency(self, folds: Sequence[Moments], n_subsamples: int) -> np.ndarray:
        """Return how often each segment and task is found in half of the sequences."""
        rng = check_random_state(self.random_state)
        found = []
        for _ in range((n_subsamples + 1) // 2):
            for half in np.array_split(rng.permutation(len(folds)), 2):
                moments = reduce(Moments.merge, (folds[k] for k in half))
                search = Search(self._problem(moments), rng)
                cells = search.resume(self._solution).cells[self._layout.is_segment]
                found.append(match_columns(self.structure_, cells)[:, : self.n_tasks_])
        return np.mean(found, axis=0)

    def _problem(self, moments: Moments) -> Problem:
        return Problem(correlation(moments, scale_of(moments)), moments.n, self._layout)

    def _search(self, search: Search) -> Solution:
        """Return the best solution; a few starts tell how many tasks are enough."""
        n_tasks = self.n_tasks or search.enough_tasks()
        return search.run(n_tasks, self.n_starts)

    def gain(self, moments: Moments) -> float:
        difference = moments.mean - self.mean_
        S = moments.scatter / moments.n + np.outer(difference, difference)
        return log_density(self.precision_, S) - log_density(self.chain_precision_, S)


def log_density(precision: np.ndarray, S: np.ndarray) -> float:
    return 0.5 * float(np.linalg.slogdet(precision)[1] - (precision * S).sum())


def scale_of(moments: Moments) -> np.ndarray:
    """Return the factors that bring columns to unit variance, one for a constant one."""
    variable = np.diag(moments.correlation()) > 0
    variance = np.where(variable, np.diag(moments.scatter) / moments.n, 1.0)
    return 1.0 / np.sqrt(variance)


def correlation(moments: Moments, scale: np.ndarray) -> np.ndarray:
    """Return the correlation matrix, positive definite also of few sequences.

    It counts one more sequence, of independent columns.
    """
    S = moments.scatter / moments.n * scale[:, None] * scale
    return (moments.n * S + np.eye(len(S))) / (moments.n + 1)
