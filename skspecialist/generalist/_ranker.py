"""Ranking of groups of columns, such as layers or heads, by their use for tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.model_selection import GroupKFold, KFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import TaskEstimatorMixin, all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.tasks import TaskTargets
from .._data.validation import (
    as_array,
    check_labels,
    check_same_length,
    split_indices,
    validate_steps,
)
from .._stats.model_comparison import standard_error, tolerated_loss
from ..exceptions import warn
from ._group_regression import GroupRegression, mean_present, ridge_penalties, task_columns

__all__ = ["FeatureGroupRanker"]

# Number at the end of a name, with what separates it: "layer.3_17", "pca0", "head-4".
NUMBER = re.compile(r"[_.\-]?\d+$")
# Defaults of the sampling of Shapley values, which other methods ignore.
TOL, MAX_PERMUTATIONS = 0.01, 1000


class FeatureGroupRanker(TaskEstimatorMixin, SelectorMixin, BaseEstimator):
    r"""Rank groups of columns, such as layers or heads, by their contribution to tasks.

    All methods compare ridge regressions of the standardized tasks on standardized columns, by
    their error in samples that they were not fitted to. Class labels are regressed as
    indicators of the classes. The *gain* of groups is the part of a task's variance that they
    explain, averaged over the tasks; larger groups gain nothing by their size.

    Parameters
    ----------
    feature_groups : "blocks", int, mapping or list, default="blocks"
        Columns of each group. "blocks" is the columns whose names differ in a number at their
        end only, as those of :class:`TorchGeneralist` with several layers; without names
        every column is a group. An integer is a number of blocks of equal size, such as the
        heads of an attention layer. A mapping gives the columns by the name of the group, a list
        without names: a tuple (start, stop), a slice, a list of positions or of names, or a
        mask. Groups may not overlap; columns in no group are never used.
    method : {"pursuit", "shapley", "fisher", "probe"}, default="pursuit"
        - "pursuit": simultaneous orthogonal matching pursuit [1]_ over groups [2]_, as [3]_
          rank attention heads over tokens. The group that explains most of the residuals of all
          tasks is selected, all selected groups are fitted together, and so on until none
          explains any more. A group that repeats a better one comes last.
        - "shapley": mean gain of a group over all orders in which groups are added [4]_, from
          random permutations and their reverses [5]_. Groups that repeat each other share
          their gain.
        - "fisher": Fisher information about a gate on the group in a regression on all
          groups, averaged over samples [6]_ [7]_. One regression is fitted.
        - "probe": gain of each group alone. Groups that repeat each other rank alike.
    n_groups : "auto" or int, default="auto"
        Number of selected groups. "auto" is the smallest number whose held-out loss is
        within one standard error of the least; the ranking is repeated without the samples
        that are held out.
    cv : int, splitter or iterable, default=5
        Three splits or more. Folds are random, of samples or of ``groups``.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kind of all tasks, of each, or of some by name. None takes floats as amounts and other
        values as class labels.
    tol : float, default=0.01
        Largest standard error of a Shapley value, in units of a task's variance, at which
        sampling stops. Only for ``method="shapley"``.
    max_permutations : int, default=1000
        Largest number of permutations. Only for ``method="shapley"``.
    random_state : int, RandomState instance or None, default=None
        Folds and permutations.

    Attributes
    ----------
    feature_groups_ : dict of {str: ndarray of int}
        Columns of each group.
    ranking_ : ndarray of int of shape (n_feature_groups,)
        Rank of each group, 1 for the best, as in :class:`~sklearn.feature_selection.RFE`.
    scores_ : ndarray of shape (n_feature_groups,), float64
        Gain of each group. With "pursuit" that of a selected group given those before it, so
        that scores add up, and of another one its gain in the residuals; with "fisher" the
        information per sample.
    standard_errors_ : ndarray of shape (n_feature_groups,), float64
        Of the scores: with "shapley" of the sampling of permutations, otherwise over the folds.
    task_scores_ : ndarray of shape (n_tasks, n_feature_groups), float64
        Scores for each task; 0 for a constant one.
    held_out_losses_ : ndarray of shape (n_splits, n_feature_groups + 1), float64, or None
        Loss of no group, about 1, of the first, the first two, and so on. None if ``n_groups``
        is given.
    n_groups_ : int
        Number of selected groups.
    tasks_ : TaskTargets
        The tasks.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where ``X`` had names.

    See Also
    --------
    SparseMultiTaskSelector : Single columns, each task with a support of its own.
    skspecialist.inspection.FeatureGroupDisplay : Draws the ranking.

    Notes
    -----
    The penalty of the ridge regressions is the one of least leave-one-out error on all columns.
    One factorization of the columns in the order of a permutation yields the losses of all its
    beginnings. Time grows with the cube of the number of columns: reduce thousands by principal
    components of each group.

    References
    ----------
    .. [1] Tropp, Gilbert and Strauss, Algorithms for simultaneous sparse approximation, Part I:
       Greedy pursuit, Signal Processing 86, 2006.
    .. [2] Lozano, Swirszcz and Abe, Group orthogonal matching pursuit for variable selection
       and prediction, NeurIPS 2009.
    .. [3] Basile, Maiorca, Doimo, Locatello and Cazzaniga, Head pursuit: probing attention
       specialization in multimodal transformers, NeurIPS 2025.
    .. [4] Held and Yang, Shapley head pruning: identifying and removing interference in
       multilingual transformers, EACL 2023.
    .. [5] Mitchell, Cooper, Frank and Holmes, Sampling permutations for Shapley value
       estimation, Journal of Machine Learning Research 23, 2022.
    .. [6] Luo and others, TR-PTS: task-relevant parameter and token selection for efficient
       tuning, ICCV 2025.
    .. [7] Michel, Levy and Neubig, Are sixteen heads really better than one?, NeurIPS 2019:
       gates on heads.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import FeatureGroupRanker
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 12))
    >>> y = np.column_stack([X[:, 4] - X[:, 5], X[:, 7]]) + rng.normal(size=(200, 2))
    >>> ranker = FeatureGroupRanker({"early": (0, 4), "middle": (4, 8), "late": (8, 12)})
    >>> ranker.set_params(random_state=0).fit(X, y).ranking_
    array([2, 1, 3])
    >>> ranker.transform(X).shape
    (200, 4)
    """

    _parameter_constraints: dict = {
        "feature_groups": [
            StrOptions({"blocks"}),
            Interval(Integral, 1, None, closed="left"),
            Mapping,
            list,
        ],
        "method": [StrOptions({"pursuit", "shapley", "fisher", "probe"})],
        "n_groups": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "task_types": [StrOptions({"amount", "label"}), "array-like", Mapping, None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_permutations": [Interval(Integral, 4, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        feature_groups: Any = "blocks",
        *,
        method: str = "pursuit",
        n_groups: str | int = "auto",
        cv: Any = 5,
        task_types: Any = None,
        tol: float = TOL,
        max_permutations: int = MAX_PERMUTATIONS,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.feature_groups = feature_groups
        self.method = method
        self.n_groups = n_groups
        self.cv = cv
        self.task_types = task_types
        self.tol = tol
        self.max_permutations = max_permutations
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: Any, y: Any = None, groups: ArrayLike | None = None) -> Self:
        """Rank the groups of columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_timesteps, n_features)
            Representation of each sample; of sequences the mean over the steps is used.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Tasks; single values may be missing.
        groups : array-like of shape (n_samples,), default=None
            Samples of one group are on the same side of every split.

        Returns
        -------
        self : FeatureGroupRanker
            Fitted.

        Raises
        ------
        ValueError
            If ``X`` has NaN or infinite values, no task can be learned, the groups of columns
            overlap or do not exist, or there are fewer than three splits.
        """
        X = validate_steps(self, X, ensure_min_samples=3)
        options = {"allow_missing": True, "task_types": self.task_types}
        self.tasks_ = TaskTargets.for_samples(y, X, estimator=self, **options)
        Y = task_columns(self.tasks_, y)
        self.feature_groups_ = self._resolve_groups()
        rng = check_random_state(self.random_state)
        splits = self._splits(X, y, groups, rng)
        X = X.astype(np.float64)
        X = X if X.ndim == 2 else X.mean(axis=1)
        X = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)

        # 1. The ranking, in all samples.
        regression = self._regression(X, Y, splits)
        order, scores, self.standard_errors_ = self._rank(regression, rng)
        self.task_scores_ = self.tasks_.place(scores)
        self.scores_ = scores.mean(axis=0)
        self.ranking_ = np.argsort(order) + 1

        # 2. The number of groups, by rankings without the samples that are held out.
        self.held_out_losses_ = None
        if self.n_groups == "auto":
            losses = self.held_out_losses_ = self._held_out_losses(X, Y, splits, rng)
            self.n_groups_ = self._fewest_groups(losses)
        elif int(self.n_groups) > len(order):
            raise ValueError(f"n_groups={self.n_groups}, but there are {len(order)} groups.")
        else:
            self.n_groups_ = int(self.n_groups)
            losses = mean_present(regression.losses(order[: self.n_groups_]), axis=1)
        self._warn(losses)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the columns of the selected groups.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_timesteps, n_features)
            Samples, or sequences of them.

        Returns
        -------
        X : ndarray of shape (..., n_selected_features)
            The columns, as they are in ``X``.
        """
        check_is_fitted(self)
        return validate_steps(self, X, reset=False)[..., self._get_support_mask()]

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        support = np.zeros(self.n_features_in_, dtype=bool)
        for columns, rank in zip(self.feature_groups_.values(), self.ranking_, strict=True):
            support[columns] = rank <= self.n_groups_
        return support

    def _resolve_groups(self) -> dict[str, np.ndarray]:
        """Return the columns of each group by its name."""
        n_features, given = self.n_features_in_, self.feature_groups
        names = list(getattr(self, "feature_names_in_", ()))
        if isinstance(given, str):
            stems = [NUMBER.sub("", name) for name in names] or [f"x{j}" for j in range(n_features)]
            unique = dict.fromkeys(stems)
            return {stem: np.flatnonzero([other == stem for other in stems]) for stem in unique}
        if isinstance(given, Integral):
            if n_features % given:
                raise ValueError(
                    f"feature_groups={given} blocks need a multiple of {given} columns, but X has "
                    f"{n_features}."
                )
            given = list(np.split(np.arange(n_features), given))
        if not isinstance(given, Mapping):
            given = {f"group{k}": columns for k, columns in enumerate(given)}
        resolved = {
            str(name): _find_columns(columns, str(name), n_features, names)
            for name, columns in given.items()
        }
        counts = np.bincount(np.concatenate([*resolved.values(), []]).astype(int))
        if not len(resolved) or counts.max() > 1:
            overlap = np.flatnonzero(counts > 1).tolist()
            raise ValueError(
                "feature_groups must have at least one group, and each column in one group at "
                f"most; columns in several: {overlap}."
            )
        return resolved

    def _splits(
        self, X: np.ndarray, y: Any, groups: Any, rng: np.random.RandomState
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        cv = self.cv
        if groups is not None:
            check_same_length(X=X, groups=groups)
            groups = check_labels(groups, "groups")
        if cv is None or isinstance(cv, Integral):
            n_units = len(X) if groups is None else len(np.unique(groups))
            kind = KFold if groups is None else GroupKFold
            cv = kind(max(2, min(cv or 5, n_units)), shuffle=True, random_state=rng.randint(2**31))
        splits = list(split_indices(cv, X, y, groups))
        if len(splits) < 3:
            raise ValueError(f"cv={self.cv!r} makes {len(splits)} splits; three are needed.")
        return splits

    def _regression(self, X: np.ndarray, Y: list[np.ndarray], splits: Any) -> GroupRegression:
        groups = list(self.feature_groups_.values())
        return GroupRegression(X, Y, groups, splits, ridge_penalties(X, Y))

    def _rank(
        self, regression: GroupRegression, rng: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return an order of the groups, their scores by task, and standard errors."""
        if self.method == "shapley":
            scores, errors = regression.shapley(self.tol, self.max_permutations, rng)
            return np.argsort(-scores.mean(axis=0), kind="stable"), scores, errors
        if self.method == "pursuit":
            path, by_split = regression.pursue()
        else:
            by_split = regression.probe() if self.method == "probe" else regression.fisher()
        scores = mean_present(by_split, axis=0)
        order = np.argsort(-scores.mean(axis=0), kind="stable")
        errors = standard_error(mean_present(by_split, axis=1).T)
        return np.array(path) if self.method == "pursuit" else order, scores, errors

    def _held_out_losses(
        self, X: np.ndarray, Y: list[np.ndarray], splits: Any, rng: np.random.RandomState
    ) -> np.ndarray:
        """Return the losses of the beginnings of rankings, shape (n_splits, n_groups + 1)."""
        losses = []
        for k, (train, test) in enumerate(splits):
            # The other splits, without the samples that this one holds out, make the ranking.
            inner = [
                (np.setdiff1d(fit, test), np.setdiff1d(held_out, test))
                for j, (fit, held_out) in enumerate(splits)
                if j != k
            ]
            known = [np.where(np.isin(np.arange(len(X)), train)[:, None], c, np.nan) for c in Y]
            penalties = ridge_penalties(X, known)
            groups = list(self.feature_groups_.values())
            order, _, _ = self._rank(GroupRegression(X, known, groups, inner, penalties), rng)
            outer = GroupRegression(X, Y, groups, [(train, test)], penalties)
            losses.append(mean_present(outer.losses(order)[0], axis=0))
        return np.array(losses)

    @staticmethod
    def _fewest_groups(losses: np.ndarray) -> int:
        """Return the smallest number of groups within one standard error of the best."""
        losses = losses[:, 1:]  # a selector without columns is of no use
        best = losses[:, losses.mean(axis=0).argmin()]
        lost = losses.T - best
        return int(np.argmax(lost.mean(axis=1) <= tolerated_loss(best, lost))) + 1

    def _warn(self, losses: np.ndarray) -> None:
        gains = losses[:, 0] - losses[:, self.n_groups_]
        # 95 % of normal values are less than two standard errors from their mean.
        if gains.mean() <= 2 * np.nan_to_num(standard_error(gains)):
            warn(
                "The selected groups of columns do not predict the tasks in samples that are held "
                f"out: the ranking may be one of noise. Gain {gains.mean():.2g}, standard error "
                f"{standard_error(gains):.2g}."
            )
        if self.method != "shapley":
            if (self.tol, self.max_permutations) != (TOL, MAX_PERMUTATIONS):
                warn(f"tol and max_permutations have no effect with method={self.method!r}.")
        elif (largest := self.standard_errors_.max()) > self.tol:
            warn(
                f"Sampling of Shapley values stopped at max_permutations={self.max_permutations} "
                f"with a standard error of {largest:.2g}, above tol={self.tol}."
            )


def _find_columns(columns: Any, group: str, n_features: int, names: list[str]) -> np.ndarray:
    """Return the positions of the columns of a group."""
    if isinstance(columns, slice):
        found = np.arange(n_features)[columns]
    elif isinstance(columns, tuple) and len(columns) == 2 and isinstance(columns[0], Integral):
        found = np.arange(*columns)
    else:
        found = np.atleast_1d(as_array(columns, "feature_groups"))
        if found.dtype == bool and found.shape == (n_features,):
            found = np.flatnonzero(found)
        elif found.dtype.kind in "OUS" and set(found.tolist()) <= set(names):
            found = np.array([names.index(name) for name in found.tolist()])
    if found.dtype.kind not in "iu" or found.ndim != 1 or not len(found) or found.min() < 0:
        raise ValueError(
            f"feature_groups has no columns {columns!r} of group {group!r}: give names, "
            "positions, a mask, a slice or (start, stop)."
        )
    if found.max() >= n_features:
        raise ValueError(
            f"feature_groups has column {found.max()} in group {group!r}, but X has {n_features}."
        )
    return found
