"""Held-out losses of ridge regressions on groups of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from sklearn.linear_model import RidgeCV

from .._data.tasks import TaskTargets
from .._stats.model_comparison import standard_error

__all__ = [
    "GroupRegression",
    "mean_present",
    "missing_patterns",
    "ridge_penalties",
    "task_columns",
]

# Shares of the number of samples, which is the squared norm of a standardized column.
PENALTIES = np.logspace(-4, 2, 13)
# Pairs of permutations between two looks at the standard errors.
N_PAIRS = 10


def task_columns(tasks: TaskTargets, y: Any) -> list[np.ndarray]:
    """Return the columns of each task that can be learned, of total variance one.

    Class labels become indicators of all classes, so that the error of a task does not depend
    on the order of its classes. Missing values are NaN.
    """
    blocks = tasks.column_blocks(y)
    return [columns / np.sqrt(np.nanvar(columns, axis=0).sum()) for columns in blocks]


def ridge_penalties(X: np.ndarray, Y: Sequence[np.ndarray]) -> np.ndarray:
    """Return for each task the penalty of least leave-one-out error on all columns."""
    penalties = np.ones(len(Y)) * len(X)
    for tasks, rows in missing_patterns(Y):
        if rows.sum() > 2:
            model = RidgeCV(alphas=rows.sum() * PENALTIES)
            model.fit(X[rows], np.hstack([Y[task][rows] for task in tasks]))
            penalties[tasks] = model.alpha_
    return penalties


def missing_patterns(Y: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the tasks that have values in the same rows, and these rows."""
    present = np.array([~np.isnan(columns[:, 0]) for columns in Y])
    patterns, codes = np.unique(present, axis=0, return_inverse=True)
    return [(np.flatnonzero(codes.ravel() == k), rows) for k, rows in enumerate(patterns)]


@dataclass(frozen=True)
class _Split:
    """Moments of the training rows, and the test rows, of some tasks in one split."""

    index: int
    tasks: np.ndarray
    owner: np.ndarray  # task of each column of ``cross`` and ``Y``
    gram: np.ndarray
    penalty: float
    cross: np.ndarray
    X: np.ndarray
    Y: np.ndarray

    def losses(self, errors: np.ndarray) -> np.ndarray:
        """Return the mean squared errors of the tasks, shape (n_tasks,)."""
        squares = (errors**2).mean(axis=0)
        return np.array([squares[self.owner == task].sum() for task in self.tasks])


class GroupRegression:
    """Ridge regressions of tasks on any groups of columns, fitted and tested on given splits.

    The gain of groups is the mean over the splits of the held-out squared error that they
    explain, in units of the variance of a task: about R2.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Standardized columns.
    Y : list of ndarray of shape (n_samples, n_columns)
        Columns of each task, as :func:`task_columns` returns them.
    groups : list of ndarray of int
        Columns of each group.
    splits : list of (ndarray of int, ndarray of int)
        Training and test rows.
    penalties : ndarray of shape (n_tasks,)
        Ridge penalty of each task.
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: Sequence[np.ndarray],
        groups: Sequence[np.ndarray],
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
        penalties: np.ndarray,
    ) -> None:
        self.groups = groups
        self.shape = (len(splits), len(Y))
        self.known: dict[frozenset[int], np.ndarray] = {}  # losses by the set of groups
        self.splits = []
        for tasks, rows in missing_patterns(Y):
            columns = np.hstack([Y[task] for task in tasks])
            owner = np.repeat(tasks, [Y[task].shape[1] for task in tasks])
            for index, (train, test) in enumerate(splits):
                train, test = train[rows[train]], test[rows[test]]
                if len(train) < 2 or not len(test):
                    continue
                x_mean, y_mean = X[train].mean(axis=0), columns[train].mean(axis=0)
                centered = X[train] - x_mean
                gram = centered.T @ centered
                penalty = penalties[tasks[0]]
                gram[np.diag_indices_from(gram)] += penalty
                cross = centered.T @ (columns[train] - y_mean)
                held_out = X[test] - x_mean, columns[test] - y_mean
                self.splits.append(_Split(index, tasks, owner, gram, penalty, cross, *held_out))

    def _table(self, width: int) -> np.ndarray:
        return np.full((*self.shape, width), np.nan)

    def losses(self, order: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the losses of no group, the first, the first two, ... of an order.

        Returns
        -------
        losses : ndarray of shape (n_splits, n_tasks, len(order) + 1)
            NaN where a task has no value in a split.
        """
        losses = self._table(len(order) + 1)
        sizes = np.cumsum([0] + [len(self.groups[g]) for g in order])
        columns = (
            np.concatenate([self.groups[g] for g in order]) if len(order) else np.array([], int)
        )
        for split in self.splits:
            # With A = L L', the leading block of L factors the leading block of A, so that the
            # prediction from the first k columns is the sum of the first k terms of
            # (X L'^-1) (L^-1 c): one factorization serves all beginnings of the order.
            lower = cholesky(split.gram[np.ix_(columns, columns)], lower=True)
            weights = solve_triangular(lower, split.cross[columns], lower=True)
            inputs = solve_triangular(lower, split.X[:, columns].T, lower=True)
            errors = split.Y.copy()
            losses[split.index, split.tasks, 0] = split.losses(errors)
            for k, (start, stop) in enumerate(pairwise(sizes)):
                errors -= inputs[start:stop].T @ weights[start:stop]
                losses[split.index, split.tasks, k + 1] = split.losses(errors)
        return losses

    def probe(self) -> np.ndarray:
        """Return the gain of each group alone, shape (n_splits, n_tasks, n_groups)."""
        single = [self.losses([g]) for g in range(len(self.groups))]
        return np.stack([losses[..., 0] - losses[..., 1] for losses in single], axis=-1)

    def fisher(self) -> np.ndarray:
        """Return the Fisher information of a gate on each group, as :meth:`probe`.

        With normal errors of variance s2, the information about a factor at the contribution
        f of a group to the prediction, at the value of one, is f ** 2 / s2 per sample.
        """
        information = self._table(len(self.groups))
        for split in self.splits:
            coef = cho_solve(cho_factor(split.gram), split.cross)
            noise = np.maximum(split.losses(split.Y - split.X @ coef), np.finfo(float).eps)
            for g, columns in enumerate(self.groups):
                parts = split.losses(split.X[:, columns] @ coef[columns])
                information[split.index, split.tasks, g] = parts / noise
        return information

    def pursue(self) -> tuple[list[int], np.ndarray]:
        """Select groups by simultaneous orthogonal matching pursuit.

        Returns
        -------
        order : list of int
            All groups: the selected ones as they were, the others by their last gain.
        gains : ndarray of shape (n_splits, n_tasks, n_groups)
            Gain of a selected group, given those before it, or what another one explains of
            the residuals.
        """
        inverses = [[self._inverse(split, g) for g in self.groups] for split in self.splits]
        order: list[int] = []
        gains, losses = self._table(len(self.groups)), self.losses([])
        rest = list(range(len(self.groups)))
        while rest:
            # 1. The residuals of all tasks, regressed on each group alone.
            alone = self._residual_gains(order, rest, inverses)
            gains[..., rest] = alone
            totals = mean_present(mean_present(alone, axis=1), axis=0)
            best = rest[int(np.argmax(totals))]
            # In held-out samples noise explains less than nothing on average.
            if totals.max() <= 0:
                break
            # 2. The group that explains most, and a regression on all that are selected.
            order.append(best)
            rest.remove(best)
            losses = self.losses(order)
            gains[..., best] = losses[..., -2] - losses[..., -1]
        last = mean_present(mean_present(gains, axis=1), axis=0)
        return order + sorted(rest, key=lambda g: -last[g]), gains

    @staticmethod
    def _inverse(split: _Split, columns: np.ndarray) -> np.ndarray:
        return np.linalg.inv(split.gram[np.ix_(columns, columns)])

    def _residual_gains(
        self, order: list[int], rest: list[int], inverses: list[list[np.ndarray]]
    ) -> np.ndarray:
        gains = self._table(len(rest))
        columns = np.concatenate([self.groups[g] for g in order]) if order else np.array([], int)
        for split, inverse in zip(self.splits, inverses, strict=True):
            coef = np.zeros_like(split.cross)
            if order:
                gram = split.gram[np.ix_(columns, columns)]
                coef[columns] = cho_solve(cho_factor(gram), split.cross[columns])
            # Products of the columns with the training residuals; the penalty is not a product.
            cross = split.cross - split.gram @ coef + split.penalty * coef
            errors = split.Y - split.X @ coef
            before = split.losses(errors)
            for k, g in enumerate(rest):
                part = split.X[:, self.groups[g]] @ (inverse[g] @ cross[self.groups[g]])
                gains[split.index, split.tasks, k] = before - split.losses(errors - part)
        return gains

    def shapley(
        self, tol: float, max_permutations: int, rng: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sample the Shapley values of the groups.

        Returns
        -------
        values : ndarray of shape (n_tasks, n_groups)
            Means over the permutations.
        errors : ndarray of shape (n_groups,)
            Standard errors of the means over the tasks, of the sampling alone.
        """
        n_groups = len(self.groups)
        samples: list[np.ndarray] = []
        while len(samples) < max_permutations // 2:
            for _ in range(min(N_PAIRS, max_permutations // 2 - len(samples))):
                # A permutation and its reverse: a group that comes late in one is early in the
                # other, and the mean of both varies less.
                order = rng.permutation(n_groups)
                samples.append((self._marginal(order) + self._marginal(order[::-1])) / 2)
            pairs = np.stack(samples, axis=-1)
            errors = standard_error(pairs.mean(axis=0))
            if (errors <= tol).all():
                break
        return pairs.mean(axis=-1), errors

    def _marginal(self, order: np.ndarray) -> np.ndarray:
        """Return the gain of each group over those before it, shape (n_tasks, n_groups)."""
        beginnings = [frozenset(order[:k].tolist()) for k in range(len(order) + 1)]
        # Few groups have few subsets, which permutations soon repeat.
        if not self.known.keys() >= set(beginnings):
            losses = mean_present(self.losses(order), axis=0)
            self.known.update(zip(beginnings, losses.T, strict=True))
        gains = np.empty((self.shape[1], len(order)))
        gains[:, order] = -np.diff([self.known[groups] for groups in beginnings], axis=0).T
        return gains


def mean_present(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of the values that are not NaN, zero where there are none."""
    present = ~np.isnan(values)
    return np.nansum(values, axis=axis) / np.maximum(present.sum(axis=axis), 1)
