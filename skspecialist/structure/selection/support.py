"""Which loadings are free, what they cost, and the parameters of greatest likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._segments import evidence_blocks
from .gaussian import Parameters, chain_entries, cost, fit_chain, minimize_bounded

__all__ = ["Layout", "Problem", "Solution"]

# Variance of the actions' noise to begin with.
NOISE = 0.1


class Layout:
    """Runs of steps, and where each has its columns in the flat sequences.

    Runs are the segments and what lies between them, which no task has.

    Parameters
    ----------
    segments : ndarray of int of shape (n_segments, 2)
        As from :func:`~skspecialist.structure._segments.make_segments`.
    n_timesteps, n_features : int
        Number of steps, and of numbers in a state.
    segment_steps : {"interior", "all", "last"}
        Which steps speak for a segment. With "all", actions drive no state.
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
        # Runs whose first state may tell of an action before them, and need not be their own.
        blocks, _ = evidence_blocks(segments, n_timesteps, segment_steps)
        own = np.isin(starts, blocks) & self.is_segment
        self.may_follow = ~own & (starts > 0) & (segment_steps != "all")

    def follow_entries(self, follows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of C that are free, where some runs follow an action."""
        offset = np.arange(self.n_features)
        rows = self.first[follows][:, None, None] + offset[:, None]
        rows, columns = np.broadcast_arrays(rows, rows[:, :1] - self.n_features + offset)
        return rows.ravel(), columns.ravel()


@dataclass(frozen=True)
class Solution:
    """A support, parameters on it, and what they are worth.

    Attributes
    ----------
    parameters : Parameters
        Of the precision.
    cells : ndarray of bool of shape (n_runs, n_tasks)
        Which runs each task has.
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
    """Bayesian information criterion of supports, from the correlation of the data.

    It is the extended criterion (Chen & Chen 2008, with gamma one half): the more
    segments there are to choose from, the more a chosen one costs.

    Parameters
    ----------
    S : ndarray of shape (n_columns, n_columns)
        Correlation.
    n : int
        Number of sequences.
    layout : Layout
        What the columns are.
    """

    def __init__(self, S: np.ndarray, n: int, layout: Layout) -> None:
        self.S, self.n, self.layout = S, n, layout
        self.chain = fit_chain(S, layout.entries)
        self.cell_price = layout.n_columns * np.log(n) + np.log(layout.is_segment.sum())

    def follow_price(self, cells: np.ndarray) -> np.ndarray:
        """Return what it costs that a run follows an action, shape (n_runs,)."""
        d = self.layout.n_features
        return np.minimum(d, self.n_followed(cells)) * d * np.log(self.n)

    def n_followed(self, cells: np.ndarray) -> np.ndarray:
        """Return the number of tasks that have the run before and not the run itself."""
        count = np.zeros(len(cells), dtype=int)
        count[1:] = (cells[:-1] & ~cells[1:]).sum(axis=1)
        return np.where(self.layout.may_follow, count, 0)

    def empty(self) -> Solution:
        """Return the solution without tasks."""
        n_runs, n_columns = self.layout.n_runs, len(self.S)
        parameters = Parameters(self.chain, np.zeros_like(self.S), np.zeros((n_columns, 0)), NOISE)
        no_cells, no_follows = np.zeros((n_runs, 0), dtype=bool), np.zeros(n_runs, dtype=bool)
        return self.fit(Solution(parameters, no_cells, no_follows))

    def fit(self, start: Solution, max_iter: int = 100) -> Solution:
        """Return the parameters of greatest likelihood on the support of the start.

        What cannot be identified is dropped before: a task with one segment, and an
        action's effect on a state that no task misses.
        """
        cells = start.cells & self.layout.is_segment[:, None]
        kept = cells.sum(axis=0) >= 2
        cells, begin = cells[:, kept], start.parameters
        follows = start.follows & (self.n_followed(cells) > 0)
        free, entries = cells[self.layout.run], self.layout.entries
        effects = self.layout.follow_entries(follows)
        ends = np.cumsum([1, len(entries[0]), len(effects[0])])
        L, C, W = np.zeros_like(self.S), np.zeros_like(self.S), np.zeros(free.shape)

        def unpack(flat: np.ndarray) -> Parameters:
            noise, L[entries], C[effects], W[free] = np.split(flat, ends)
            return Parameters(L, C, W, float(noise[0]))

        def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, by = cost(self.S, unpack(flat))
            return value, np.r_[by.noise, by.L[entries], by.C[effects], by.W[free]]

        flat = np.r_[begin.noise, begin.L[entries], begin.C[effects], begin.W[:, kept][free]]
        flat, value = minimize_bounded(function, flat, max_iter)
        criterion = 2 * self.n * value + (self.cell_price[:, None] * cells).sum()
        criterion += self.follow_price(cells)[follows].sum()
        return Solution(unpack(flat), cells, follows, float(criterion))
