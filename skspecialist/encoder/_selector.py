"""Selectors of the input's columns, with a sparse mask of the columns that each task uses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import fill_docstring
from .._data.validation import FLOATS, as_array, check_numbers, validate_steps
from ..networks.layers import Bottlenecks
from ..networks.penalties import BasePenalty
from ..networks.training import NO_FOLD, StepData, Trainer
from ._base import BaseSparseSpecialist
from ._diagnostics import column_stability
from ._docs import SHARED_DOCS
from ._path import VALIDATION_FRACTION, GivenSparsityMixin, SearchedSparsityMixin, SparsityPath
from ._search import CONTINUED_SHARE, search_penalty
from ._training import Build, SpecialistAutoencoder, refit_heads

__all__ = ["SparseMultiTaskSelector", "SparseMultiTaskSelectorCV"]

# Default path: from a penalty that drops next to nothing to nearly the strongest one.
SHARES = tuple(np.geomspace(0.03, 0.8, 8).tolist())

DOCS = {
    "penalty": """
        penalty : {"auto", "l1", "hard_concrete"} or instance of a penalty, default="auto"
            Penalty on the mask: "l1" is ``L1()``, a sparse group lasso, "hard_concrete" is
            ``HardConcrete()``, random gates. "auto" is "hard_concrete", which found the support
            at a wider range of strengths.
        """,
    "max_epochs": """
        max_epochs : int, default=None
            Epochs of a training from scratch; the fit to all samples takes 0.8 of them, and
            heads without penalty a third. None is as many as make 25 updates times the root of
            the number of samples: 2,500 at 10,000.
        """,
    "column_attributes": """
        mask_ : ndarray of shape (n_tasks, n_features_in_), float64
            How much each task uses each column; exact zeros.
        support_ : ndarray of shape (n_features_in_,), bool
            Columns that some task uses.
        """,
    "references": """
        .. [1] Louizos, Welling and Kingma, Learning sparse neural networks through L0
           regularization, ICLR 2018.
        .. [2] Meinshausen, Relaxed lasso, Computational Statistics and Data Analysis 52, 2007.
        """,
}


class _ColumnSelector(SelectorMixin, BaseSparseSpecialist):
    """Base of the selectors: the latents are the standardized columns of the input."""

    _default_penalty = "hard_concrete"

    def _hidden(self) -> None:
        """Return None: there is no encoder."""

    def _count_latents(self, X: np.ndarray, row_weights: np.ndarray | None) -> int:
        return X.shape[-1]

    def _learn(self, data: StepData, trainer: Trainer, build: Build) -> None:
        # 1. The strength of the penalty, and dense heads to start from.
        width, start, weight = self._find_penalty(data, trainer, build)
        everything = replace(data, folds=torch.full_like(data.folds, NO_FOLD))

        # 2. The heads and the mask, with the penalty.
        share = 1.0 if start is None else CONTINUED_SHARE
        bottleneck = self._train(
            everything, trainer, build, width, start, sparsity=weight, share=share
        )

        # 3. The heads without penalty, on the columns that they kept.
        if width > 0:
            self._record("refit", refit_heads(everything, trainer, bottleneck))
        self._publish(SpecialistAutoencoder(bottleneck, data.X.shape[2]))
        self._check_stability(everything, trainer, build)

    def _find_penalty(
        self, data: StepData, trainer: Trainer, build: Build
    ) -> tuple[int, Bottlenecks | None, float]:
        """Return the number of columns (all or none), dense heads, and the penalty's weight."""
        raise NotImplementedError

    def _search_penalty(
        self, data: StepData, trainer: Trainer, build: Build, tolerance: float, shares: Any
    ) -> tuple[SparsityPath, Bottlenecks]:
        path = SparsityPath(data, self._n_classes, tolerance)
        dense = search_penalty(path, trainer, build, shares)
        self._record("search", *path.nets)
        return path, dense

    def _check_stability(self, data: StepData, trainer: Trainer, build: Build) -> None:
        """Fit to half-samples, if that was asked for."""

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.support_)

    def transform(self, X: Any) -> np.ndarray:
        """Return the columns that some task uses.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Single steps, or sequences of them.

        Returns
        -------
        X : ndarray of shape (..., n_support)
            The columns, as they are in ``X``.
        """
        check_is_fitted(self)
        return validate_steps(self, X, reset=False)[..., self.support_]

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Put the columns back into their places, with zeros elsewhere.

        Parameters
        ----------
        X : array-like of shape (..., n_support)
            Columns as :meth:`transform` returns them, of steps or of sequences.

        Returns
        -------
        X : ndarray of shape (..., n_features)
            All columns.
        """
        check_is_fitted(self)
        X = check_numbers(X, "X", dtype=FLOATS, allow_nd=True, ensure_min_features=0)
        if X.shape[-1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[-1]} columns, but {self._n_features_out} are in the support."
            )
        columns = np.zeros((*X.shape[:-1], self.n_features_in_), dtype=X.dtype)
        columns[..., self.support_] = X
        return columns


@fill_docstring(SHARED_DOCS, DOCS)
class SparseMultiTaskSelector(GivenSparsityMixin, _ColumnSelector):
    """Feature selector for several tasks, with a support and a head of its own for each.

    The heads of :class:`SparseSpecialistEncoder` with the columns of the input as latents. A
    head reads the standardized columns that a non-negative mask between tasks and columns
    admits, and a penalty on the mask sets entries to exactly zero [1]_. ``fit`` takes three
    steps: dense heads and their held-out loss, which gives the scale of the penalty; heads with
    the penalty; and the same heads without it, on the columns that they kept [2]_.

    Parameters
    ----------
    sparsity : float, default=0.02
        From 0, dense, to 1, empty: a share of ``sparsity_max_``, the weight of the penalty at
        which keeping everything is worth no more than keeping nothing. The same share has the
        same meaning for any data.
    {penalty}
    {heads}
    {task_weight}
    {task_types}
    {max_epochs}
    {batch_size}
    {learning_rate}
    {early_stopping}
    {validation_fraction}
    {callbacks}
    {device}
    {checkpoint_dir}
    {warm_start}
    {random_state}
    {verbose}

    Attributes
    ----------
    sparsity_max_ : float or None
        The task loss of the null model minus that of the dense heads. None without a search.
    {column_attributes}
    {fit_attributes}

    See Also
    --------
    SparseMultiTaskSelectorCV : Sparsity chosen by cross-validation.
    SparseSpecialistEncoder : Learned latents.

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.encoder import SparseMultiTaskSelector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4))
    >>> y = X[:, :2] + 0.1 * rng.normal(size=(300, 2))
    >>> selector = SparseMultiTaskSelector(sparsity=0.1, random_state=0).fit(X, y)
    >>> (selector.mask_ > 0).astype(int).tolist()
    [[1, 0, 0, 0], [0, 1, 0, 0]]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseSparseSpecialist._parameter_constraints,
        **GivenSparsityMixin._parameter_constraints,
    }

    def __init__(
        self,
        *,
        sparsity: float = 0.02,
        penalty: str | BasePenalty = "auto",
        heads: str = "mlp",
        task_weight: Any = None,
        task_types: Any = None,
        max_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        early_stopping: bool = False,
        validation_fraction: float = VALIDATION_FRACTION,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "cpu",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.sparsity = sparsity
        self.penalty = penalty
        self.heads = heads
        self.task_weight = task_weight
        self.task_types = task_types
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def _find_penalty(
        self, data: StepData, trainer: Trainer, build: Build
    ) -> tuple[int, Bottlenecks | None, float]:
        previous = self._previous()
        self.sparsity_max_ = None
        if previous is not None or self.sparsity == 0:
            self._warn_without_search()
        if previous is not None:
            return previous.n_relevant, previous.bottleneck, self.sparsity
        if self.sparsity == 0:
            return self._n_latents, None, 0.0
        path, dense = self._search_penalty(data, trainer, build, self.sparsity, ())
        self.sparsity_max_ = path.explained
        if self.sparsity == 1:
            return 0, None, path.explained
        return self._n_latents, dense, self.sparsity * path.explained


@fill_docstring(SHARED_DOCS, DOCS)
class SparseMultiTaskSelectorCV(SearchedSparsityMixin, _ColumnSelector):
    """Feature selector for several tasks that chooses its sparsity by cross-validation.

    The path from dense to empty is one of the penalty on the mask, and each point is refitted
    without it. The sparsest point is taken whose held-out task loss exceeds that of the best by
    no more than ``tolerance`` of the loss that the best explains and one standard error over
    folds [3]_. All folds and points of the path learn side by side. Then the selector is fitted
    to all samples, as :class:`SparseMultiTaskSelector`.

    Parameters
    ----------
    {cv}
    sparsities : array-like of float, default=None
        Points of the path, shares of ``sparsity_max_`` within (0, 1). None is eight from 0.03
        to 0.8.
    tolerance : float, default=0.005
        Share of the task loss explained by the best point that may be lost for a sparser one.
        It is smaller than for the encoder because a point drops single entries of the mask.
    {n_subsamples}
    {penalty}
    {heads}
    {task_weight}
    {task_types}
    {max_epochs}
    {batch_size}
    {learning_rate}
    {early_stopping}
    {callbacks}
    {device}
    {checkpoint_dir}
    {random_state}
    {verbose}

    Attributes
    ----------
    {path_attributes}
    selection_frequency_ : ndarray of shape (n_tasks, n_features_in_) or None
        Share of the half-samples in which each entry of the mask is positive. None without
        ``n_subsamples``.
    {column_attributes}
    {fit_attributes}

    See Also
    --------
    SparseMultiTaskSelector : Given sparsity.
    SparseSpecialistEncoderCV : Learned latents.

    References
    ----------
    {references}
    .. [3] Breiman, Friedman, Olshen and Stone, Classification and regression trees,
       Wadsworth 1984, section 3.4.3: the rule of one standard error.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.encoder import SparseMultiTaskSelectorCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4))
    >>> y = X[:, :2] + 0.1 * rng.normal(size=(300, 2))
    >>> selector = SparseMultiTaskSelectorCV(cv=2, max_epochs=60, random_state=0).fit(X, y)
    >>> selector.get_support()
    array([ True,  True, False, False])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseSparseSpecialist._parameter_constraints,
        **SearchedSparsityMixin._parameter_constraints,
        "sparsities": ["array-like", None],
    }

    def __init__(
        self,
        *,
        cv: Any = 5,
        sparsities: Any = None,
        tolerance: float = 0.005,
        n_subsamples: int | None = None,
        penalty: str | BasePenalty = "auto",
        heads: str = "mlp",
        task_weight: Any = None,
        task_types: Any = None,
        max_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        early_stopping: bool = False,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "cpu",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.cv = cv
        self.sparsities = sparsities
        self.tolerance = tolerance
        self.n_subsamples = n_subsamples
        self.penalty = penalty
        self.heads = heads
        self.task_weight = task_weight
        self.task_types = task_types
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.callbacks = callbacks
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    def _find_penalty(
        self, data: StepData, trainer: Trainer, build: Build
    ) -> tuple[int, Bottlenecks | None, float]:
        path, dense = self._search_penalty(
            data, trainer, build, self._positive_tolerance, self._shares()
        )
        self.sparsity_path_ = np.array(path.points)
        self._describe(path, [path.supports[point] for point in path.points])
        if path.chosen == 1:
            return 0, None, path.explained
        return self._n_latents, dense, path.chosen * path.explained

    def _shares(self) -> Sequence[float]:
        if self.sparsities is None:
            return SHARES
        given = as_array(self.sparsities, "sparsities", dtype=float)
        shares = np.unique(given)
        if given.ndim != 1 or not len(shares) or not ((shares > 0) & (shares < 1)).all():
            raise ValueError(f"sparsities must be within (0, 1), got {self.sparsities!r}.")
        return shares.tolist()

    def _check_stability(self, data: StepData, trainer: Trainer, build: Build) -> None:
        self.selection_frequency_ = np.zeros(self.mask_.shape) if self.n_subsamples else None
        if self.n_subsamples and self.module_.n_relevant > 0:
            share = float(self.sparsity_path_[self.best_index_])
            found = column_stability(
                data, trainer, build, self._n_classes, share, self.n_subsamples
            )
            self.selection_frequency_ = self.tasks_.place(found)
