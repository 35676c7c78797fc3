"""Samples that the search holds out, and their losses along a path."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold

from .._base.sklearn_compat import Interval
from .._data.validation import split_indices
from .._stats.model_comparison import standard_error
from ..exceptions import warn
from ..networks.layers import CHUNK, Bottlenecks
from ..networks.net import SpecialistNet
from ..networks.training import NO_FOLD, StepData
from ._training import SpecialistAutoencoder, TaskLoss

__all__ = [
    "VALIDATION_FRACTION",
    "GivenSparsityMixin",
    "SearchedSparsityMixin",
    "SparsityPath",
]

VALIDATION_FRACTION = 0.2  # default
RIDGE_STRENGTHS = np.logspace(-4, 2, 13)  # relative to the number of samples
LOST_SHARE = 0.1  # of what a linear model explains: a task that loses less is not lost


class SparsityPath:
    """Held-out task losses along a path from the empty model to the dense one.

    A point is a number of latents, or a share of the strongest penalty; the losses of a point
    are those of groups that leave out one fold each, sample by sample.

    Parameters
    ----------
    data : StepData
        With the fold in which each sample is held out.
    n_classes : sequence of int
        Number of classes of each task, 0 for a continuous one.
    tolerance : float
        Share of the explained loss that may be lost for sparsity.

    Attributes
    ----------
    losses : dict of {float: ndarray of shape (n_held_out,)}
        Losses of each point.
    supports : dict of {float: ndarray of shape (n_folds, n_tasks, n_latents)}
        For shares of a penalty: the latents that each task uses.
    nets : list of SpecialistNet
        Nets that were trained for the path.
    rank : int
        Number of latents that the slopes of a dense network propose; 0 for none.
    progress : float
        Part of the held-out loss of a dense network that its longer training takes off.
    """

    def __init__(self, data: StepData, n_classes: Sequence[int], tolerance: float) -> None:
        self.data, self.tolerance = data, tolerance
        held_out = (data.folds >= 0).nonzero()[:, 0]
        self.rows = held_out[torch.argsort(data.folds[held_out], stable=True)]
        self.n_folds = int(data.folds.max()) + 1
        folds = data.folds[self.rows].numpy()
        self.starts = np.searchsorted(folds, np.arange(self.n_folds))
        self.task_loss = TaskLoss(n_classes, data.targets, data.weights)
        self.losses: dict[float, np.ndarray] = {}
        self.supports: dict[float, np.ndarray] = {}
        self.nets: list[SpecialistNet] = []
        self.rank, self.progress = 0, 1.0

    @torch.no_grad()
    def held_out_losses(self, module: Bottlenecks, X: torch.Tensor | None = None) -> np.ndarray:
        """Return losses (n_groups / n_folds, n_held_out, n_tasks); groups are ordered by fold.

        ``X`` are the features in the form that the module takes, by default those of the data.
        """
        parts, X = [], self.data.X if X is None else X
        for rows in self.rows.split(max(1, CHUNK // X.shape[1])):
            outputs = module(X[rows], self.data.step_weights[rows])
            outputs = outputs.unflatten(0, (self.n_folds, -1))
            # Of each sample the outputs of the groups that did not learn from its fold.
            own = outputs[self.data.folds[rows], :, torch.arange(len(rows))]
            parts.append(self._losses(own.transpose(0, 1), rows))
        return torch.cat(parts, dim=1).numpy()

    @cached_property
    def null_losses(self) -> np.ndarray:
        """Losses (n_held_out, n_tasks) of the null model."""
        outputs = self.task_loss.null_outputs.expand(1, len(self.rows), -1)
        return self._losses(outputs, self.rows)[0].numpy()

    def _losses(self, outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        losses = self.task_loss(outputs, self.data.targets[rows])
        return losses * self.data.weights[rows]

    def by_fold(self, losses: np.ndarray, *, by_task: bool = False) -> np.ndarray:
        """Return means over the samples of each fold, (n_folds,) or (n_folds, n_tasks)."""
        sizes = np.diff([*self.starts, len(losses)])
        means = np.add.reduceat(losses, self.starts, axis=0) / sizes[:, None]
        return means if by_task else means.mean(axis=1)

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of features and outputs."""
        return self.data.X.shape[2], len(self.task_loss.null_outputs)

    @property
    def best(self) -> np.ndarray:
        """Losses of the best point."""
        return min(self.losses.values(), key=lambda losses: losses.mean())

    @property
    def explained(self) -> float:
        """Task loss of the null model minus that of the best point."""
        return max(0.0, float((self.null_losses - self.best).mean()))

    def lost_tasks(self, module: Bottlenecks) -> np.ndarray:
        """Return which tasks one group predicts clearly worse than ridge regression.

        By more than one standard error, and a tenth of the loss that the regression explains. The
        network may have learned from the samples that are held out, the regression has not: even
        so a lost task is worse.
        """
        data, lost = self.data, []
        with torch.no_grad():
            outputs = module(data.X[self.rows], data.step_weights[self.rows])[0]
        blocks = outputs.double().split(self.task_loss.n_outputs, dim=1)
        kinds = zip(self.task_loss.n_classes, blocks, self._regressions, strict=True)
        for count, block, (values, weights, linear, mean) in kinds:
            found = (block.softmax(dim=1) if count else block).numpy()
            worse = weights * ((found - values) ** 2).sum(axis=1) - linear
            limit = LOST_SHARE * (mean - linear).mean()
            lost.append(worse.mean() > max(np.nan_to_num(standard_error(worse)), limit))
        return np.array(lost)

    @cached_property
    def _regressions(self) -> list[tuple[np.ndarray, ...]]:
        """Held-out values, weights, and errors of ridge regression and of the mean, by task."""
        data, regressions = self.data, []
        folds = data.folds.numpy()
        for task, count in enumerate(self.task_loss.n_classes):
            values = data.targets[:, task].double().numpy()[:, None]
            if count:
                # Squared errors of probabilities, which the regression can be measured by too.
                values = (values == np.arange(count)).astype(float)
            design = (data.X * data.step_weights[:, :, task, None]).sum(dim=1).double().numpy()
            weights = data.weights[:, task].double().numpy()
            errors = np.zeros((3, len(folds)))  # weights, errors of the regression, of the mean
            for fold in range(self.n_folds):
                learn, rows = (folds != fold) & (weights > 0), folds == fold
                if not learn.any():
                    continue
                mean = values[learn].mean(axis=0)
                ridge = RidgeCV(RIDGE_STRENGTHS * learn.sum()).fit(design[learn], values[learn])
                linear = ridge.predict(design[rows]).reshape(rows.sum(), -1)
                own = [np.ones(rows.sum())]
                own += [((guess - values[rows]) ** 2).sum(axis=1) for guess in (linear, mean)]
                errors[:, rows] = weights[rows] * own
            regressions.append((values[self.rows], *errors[:, self.rows]))
        return regressions

    def is_good(self, point: float) -> bool:
        """Return whether a point is about as good as the best one.

        It may lose ``tolerance`` of the explained loss, and one standard error (Breiman et al.
        1984, section 3.4.3). That is the error of the difference or, if less, of the best: a
        point that fails in a single fold has a large error of the difference. Numbers of
        latents are also judged task by task, or the latent of one task among many would be
        lost; the mean over tasks finds a small loss of all of them, such as of class labels,
        whose losses vary more. The rank of the slopes is evidence too: below it no standard
        error is granted, from it on two.
        """
        if point < self.rank:
            proposed = self.losses[self.rank]
            worse = (self.losses[point] - proposed).mean(axis=0)
            tolerated = self.tolerance * (self.null_losses - proposed).mean(axis=0).clip(0)
            if worse.mean() > 0 and (worse > tolerated).any():
                return False
        losses = [self.null_losses, self.best, self.losses[point]]
        # The error over samples shrinks with their number, but the randomness of the
        # training, which differs between folds, does not.
        if self.n_folds > 1:
            losses = [self.by_fold(each, by_task=True) for each in losses]
        means = [each.mean(axis=1, keepdims=True) for each in losses]
        n_errors = 2.0 if 0 < self.rank <= point else 1.0
        kinds = [means] if self.supports else [means, losses]
        return all(self._is_near(*each, n_errors=n_errors) for each in kinds)

    def _is_near(
        self, null: np.ndarray, best: np.ndarray, own: np.ndarray, *, n_errors: float
    ) -> bool:
        """Compare losses (n_values, n_tasks) with those of the best point, in each column."""
        n_values, n_tasks = own.shape
        # One standard error is exceeded by chance with probability 0.16. This is that of the
        # largest of n_tasks errors: 0.84 ** (1 / n_tasks) is not exceeded in a single one.
        factor = stats.t.ppf(stats.norm.cdf(n_errors) ** (1 / n_tasks), n_values - 1)
        error = np.minimum(standard_error(best.T), standard_error((own - best).T))
        tolerated = np.nan_to_num(factor * error) + self.tolerance * (null - best).mean(0).clip(0)
        return bool(((own - best).mean(axis=0) <= tolerated).all())

    @property
    def chosen(self) -> float:
        """The sparsest good point: fewest latents, or strongest penalty."""
        points = [point for point in self.losses if self.is_good(point)]
        return max(points) if self.supports else min(points)

    @property
    def points(self) -> list[float]:
        """The points, from dense to empty."""
        return sorted(self.losses, reverse=not self.supports)

    @property
    def mean_losses(self) -> np.ndarray:
        """Mean loss of each point, from dense to empty."""
        return np.array([self.losses[point].mean(dtype=float) for point in self.points])


class GivenSparsityMixin:
    """Fits of a given sparsity, whose search holds out one part of the samples."""

    penalty: Any
    sparsity: float
    validation_fraction: float
    warm_start: bool

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sparsity": [Interval(Real, 0, 1, closed="both")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
    }

    def _given_folds(self, X: np.ndarray, y: Any, groups: np.ndarray | None) -> None:
        """Return None: the held-out samples are drawn."""

    def _draw_folds(
        self, n_samples: int, groups: np.ndarray | None, rng: np.random.RandomState
    ) -> np.ndarray:
        """Return 0 for a random part of the samples, or groups, and -1 for the others."""
        units = np.arange(n_samples)
        if groups is not None:
            units = np.unique(groups, return_inverse=True)[1]
        n_units = int(units.max()) + 1
        if n_samples < 4:
            return np.zeros(n_samples, dtype=int)  # too few for a split
        if n_units < 2:
            raise ValueError("groups has a single group, but one must be held out: pass None.")
        # Two samples at least must be left, of which there is a variance.
        most = n_units - (2 if groups is None else 1)
        n_held_out = min(max(1, round(self.validation_fraction * n_units)), most)
        return np.where(np.isin(units, rng.permutation(n_units)[:n_held_out]), 0, NO_FOLD)

    def _previous(self) -> SpecialistAutoencoder | None:
        return getattr(self, "module_", None) if self.warm_start else None

    def _warn_without_search(self) -> None:
        """Warn of parameters that act in the search only."""
        if self.validation_fraction != VALIDATION_FRACTION:
            warn(
                f"validation_fraction={self.validation_fraction} has no effect: the fit has no "
                "search that holds out samples."
            )
        if self.sparsity == 0 and self.penalty != "auto":
            warn(f"penalty={self.penalty!r} has no effect with sparsity=0.")


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
