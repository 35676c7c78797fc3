"""Folds and the path of sparsity of the estimators with cross-validation."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from .._base.sklearn_compat import Interval
from .._data.validation import split_indices
from ..networks.training import NO_FOLD
from ._training import SparsityPath

__all__ = ["SearchedSparsityMixin"]


class SearchedSparsityMixin:
    """Fits whose sparsity is chosen by cross-validation."""

    cv: Any
    tolerance: float
    sparsity_path_: np.ndarray

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "cv": ["cv_object"],
        "tolerance": [Interval(Real, 0, 1, closed="left")],
        "n_subsamples": [Interval(Integral, 2, None, closed="left"), None],
    }

    @property
    def _positive_tolerance(self) -> float:
        # At exactly zero there would be no penalty, and dense masks.
        return max(self.tolerance, np.finfo(float).tiny)

    def _given_folds(self, X: np.ndarray, y: Any, groups: np.ndarray | None) -> np.ndarray | None:
        """Return the fold in which a splitter holds out each sample; None for random folds."""
        if self.cv is None or isinstance(self.cv, Integral):
            return None
        return self._folds(split_indices(self.cv, X, y, groups), len(X))

    def _draw_folds(
        self, n_samples: int, groups: np.ndarray | None, rng: np.random.RandomState
    ) -> np.ndarray:
        """Return random folds of samples, or groups."""
        n_units = n_samples if groups is None else len(np.unique(groups))
        splitter = KFold if groups is None else GroupKFold
        n_splits = max(2, min(5 if self.cv is None else self.cv, n_units))
        cv = splitter(n_splits, shuffle=True, random_state=rng.randint(2**31 - 1))
        placeholder = np.zeros((n_samples, 1))
        return self._folds(split_indices(cv, placeholder, None, groups), n_samples)

    def _folds(self, splits: Any, n_samples: int) -> np.ndarray:
        folds = np.full(n_samples, NO_FOLD)
        for fold, (_, test) in enumerate(splits):
            folds[test] = fold
        if not (folds >= 0).any():
            raise ValueError(f"cv={self.cv!r} holds out no sample.")
        return folds

    def _describe(self, path: SparsityPath, supports: list[np.ndarray]) -> None:
        """Set the attributes of the path, from dense to empty.

        Parameters
        ----------
        path : SparsityPath
            The path.
        supports : list of ndarray of shape (n_folds, n_tasks, n_latents)
            Which latents each task may use, for each point.
        """
        self.sparsity_max_ = path.explained
        losses = [path.losses[point] for point in path.points]
        self.scores_path_ = 1.0 - np.array([path.by_fold(each) for each in losses])
        self.support_path_ = np.array([support.mean(axis=0) for support in supports])
        self.n_active_path_ = np.array([s.any(axis=1).sum(axis=1).mean() for s in supports])
        self.best_index_ = path.points.index(path.chosen)
        self.sparsity_ = float(self.sparsity_path_[self.best_index_])
