"""Sufficient dimension reduction for responses with distances."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import pairwise_distances
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._base.estimator import ReferenceMixin, all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.tasks import split_columns
from .._data.validation import FLOATS, check_numbers, check_same_length
from .._stats.smoothing import ball_kernel, check_distances
from ..exceptions import warn

__all__ = ["SufficientReduction"]

# Centers of the slices of "directional": the mean over more of them hardly changes.
MAX_CENTERS = 200
# Draws of noise columns, whose mean decides the number of components.
N_AUGMENTATIONS = 5
# Directions of X with a smaller share of the largest variance are rounding.
RANK_TOLERANCE = 1e-10


class SufficientReduction(
    ReferenceMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    r"""Linear combinations of the features that hold all that the features show of a response.

    Sufficient dimension reduction looks for the central subspace, the fewest directions B with
    y independent of X given XB. The response needs no numbers but distances: several amounts,
    labels, curves, distributions, or a matrix of distances.

    Parameters
    ----------
    n_components : int, default=None
        Number of directions. None chooses it by predictor augmentation [4]_: columns of noise are
        added to X, and directions that have weight on them are not needed. It is at least 1, also
        where y does not depend on X.
    method : {"directional", "wire", "cumulative"}, default="directional"
        - "directional": directional regression [2]_ on slices of the distances to each response
          [3]_, from means and covariances of X. It also finds even functions, such as a square.
        - "wire": weighted inverse regression ensemble [1]_, the covariance of X weighted by the
          distances. More precise where the mean of X depends on the response, and blind to
          directions where only its variance does.
        - "cumulative": as "wire", with balls in place of distances
          (:class:`~skspecialist.independence.FrechetCovariance`), which outliers of y do not
          affect.
    metric : str or callable, default="auto"
        Distances of the rows of ``y``. "auto" is Euclidean, after amounts and the indicators of
        labels of each column are scaled to a total variance of 1. "precomputed" if ``y`` is the
        matrix of distances; else as in :func:`sklearn.metrics.pairwise_distances`.
    random_state : int, RandomState instance or None, default=None
        Noise columns for the number of components.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_), float64
        The directions, by their share in the dependence: features times these, centered, have unit
        variance in ``fit`` and are uncorrelated.
    n_components_ : int
        Number of directions.
    eigenvalues_ : ndarray of shape (n_directions,), float64
        Eigenvalues of the candidate matrix of all directions of X, descending.
    mean_ : ndarray of shape (n_features_in_,), float64
        Mean of the features.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    skspecialist.independence.FrechetCovariance : The dependence measure, and a test of it.
    skspecialist.SparseSpecialistEncoder : Nonlinear latents, with exact zeros.

    Notes
    -----
    All three methods find directions of the central subspace if the features are elliptical; the
    second moments of "directional" need constant conditional variances, too. Features with heavy
    tails are better transformed first. There should be more than ten samples per feature: reduce
    wider representations by principal components. The matrix of distances of n responses is held in
    memory.

    References
    ----------
    .. [1] Ying and Yu, Frechet sufficient dimension reduction for random objects, Biometrika 109,
       2022.
    .. [2] Li and Wang, On directional regression for dimension reduction, Journal of the American
       Statistical Association 102, 2007.
    .. [3] Zhang, Xue and Li, Dimension reduction for Frechet regression, Journal of the American
       Statistical Association 119, 2024.
    .. [4] Luo and Li, On order determination by predictor augmentation, Biometrika 108, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import SufficientReduction
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 6))
    >>> y = (X[:, 0] + X[:, 1]) ** 2 + 0.1 * rng.normal(size=200)
    >>> reduction = SufficientReduction(random_state=0).fit(X, y)
    >>> reduction.n_components_
    1
    >>> bool(abs(np.corrcoef(reduction.transform(X)[:, 0], X[:, 0] + X[:, 1])[0, 1]) > 0.99)
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "method": [StrOptions({"directional", "wire", "cumulative"})],
        "metric": [str, callable],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        method: str = "directional",
        metric: str | Callable[..., float] = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.method = method
        self.metric = metric
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Learn the directions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,), (n_samples, n_columns) or (n_samples, n_samples)
            Responses, or with ``metric="precomputed"`` their distances.

        Returns
        -------
        self : SufficientReduction
            Fitted.

        Raises
        ------
        ValueError
            If the features or responses have NaN or infinite values, their numbers differ, all
            responses are equal, or ``y`` is not a matrix of distances where it should be one.

        Warns
        -----
        SpecialistWarning
            If there are fewer directions of X than ``n_components``.
        """
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        samples: np.ndarray = validate_data(self, X, dtype=FLOATS, ensure_min_samples=2)
        distances = self._distances(y, samples)
        self.mean_ = samples.mean(axis=0, dtype=np.float64)
        whitened, whitening = _whiten(samples - self.mean_)
        kernel = self._kernel(distances)
        self.eigenvalues_, directions = self._decompose(whitened, kernel)
        if self.n_components is None:
            self.n_components_ = self._count(whitened, kernel)
        else:
            self.n_components_ = min(self.n_components, whitened.shape[1])
            if self.n_components_ < self.n_components:
                warn(
                    f"n_components={self.n_components}, but X has {whitened.shape[1]} directions "
                    "that vary."
                )
        self.components_ = (whitening @ directions[:, : self.n_components_]).T
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the coordinates of samples along the directions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        reduced : ndarray of shape (n_samples, n_components_)
            In the dtype of ``X``.
        """
        check_is_fitted(self)
        samples: np.ndarray = validate_data(self, X, dtype=FLOATS, reset=False)
        return ((samples - self.mean_) @ self.components_.T).astype(samples.dtype)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def _distances(self, y: Any, X: np.ndarray) -> np.ndarray:
        if self.metric == "auto":
            blocks = []
            for values in split_columns(y)[0]:
                columns = values[:, None].astype(float) if values.dtype.kind == "f" else None
                if columns is None:
                    columns = (values[:, None] == np.unique(values)).astype(float)
                columns = columns / (np.abs(columns).max() or 1.0)  # squares do not overflow
                blocks.append(columns / (np.sqrt(columns.var(axis=0).sum()) or 1.0))
            check_same_length(X=X, y=blocks[0])
            distances = pairwise_distances(np.hstack(blocks))
        else:
            responses = check_numbers(y, "y", ensure_2d=False)
            responses = responses[:, None] if responses.ndim == 1 else responses
            check_same_length(X=X, y=responses)
            if self.metric == "precomputed":
                distances = check_distances(responses, "y", len(X))
            else:
                distances = pairwise_distances(responses, metric=self.metric)
        if not distances.any():
            raise ValueError("y must have responses that differ: all distances are 0.")
        return distances / distances.max()

    def _kernel(self, distances: np.ndarray) -> np.ndarray:
        """Return the matrix that weighs pairs of samples, or distances to some centers."""
        if self.method == "wire":
            # Distances of negative type: their negative is a kernel up to centering.
            return -distances
        if self.method == "cumulative":
            return ball_kernel(distances)
        # Evenly spaced, since the samples may be sorted.
        centers = np.linspace(0, len(distances) - 1, min(MAX_CENTERS, len(distances)))
        return distances[np.unique(centers.astype(int))]

    def _decompose(self, Z: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return eigenvalues and vectors of the candidate matrix, of the whitened features."""
        n, p = Z.shape
        if self.method == "directional":
            # At least three slices, and enough samples in each for a covariance, as [3] has it.
            n_slices = min(max(round(n / (6 * p)), 3), n)
            candidate = np.mean([_directional(Z, row, n_slices) for row in kernel], axis=0)
        else:
            candidate = Z.T @ kernel @ Z / n**2
        eigenvalues, vectors = np.linalg.eigh(candidate)
        return np.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1]

    def _count(self, Z: np.ndarray, kernel: np.ndarray) -> int:
        """Return the number of components of least criterion by predictor augmentation [4]."""
        rng = check_random_state(self.random_state)
        n, p = Z.shape
        n_noise = max(round(p / 5), 1)
        criterion = np.zeros(p + 1)
        for _ in range(N_AUGMENTATIONS):
            augmented, _ = _whiten(np.hstack([Z, rng.standard_normal((n, n_noise))]))
            values, vectors = self._decompose(augmented, kernel)
            # Directions of the subspace have no weight on noise, others the share of noise;
            # and the next eigenvalue is small after the last direction of it.
            noise = (vectors[p:, :p] ** 2).sum(axis=0)
            values = np.append(values, np.zeros(p + 1))[: p + 1]
            criterion += np.append(0, np.cumsum(noise)) + values / np.cumsum(values)
        # At least one: whether there is any dependence is the question of a test.
        return int(criterion[1:].argmin()) + 1

    def __sklearn_tags__(self) -> Tags:
        """The target is required, and may have several columns."""
        tags: Tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _whiten(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return uncorrelated features of unit variance, and the map to them."""
    _, sizes, directions = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    kept = sizes > np.sqrt(RANK_TOLERANCE) * sizes.max(initial=0.0)
    if not kept.any():
        raise ValueError("X must have features that vary: all of them are constant.")
    whitening = directions[kept].T / sizes[kept] * np.sqrt(len(X))
    # Symmetric for features that are white already, so that columns keep their places.
    whitening = whitening @ directions[kept]
    return X @ whitening, whitening


def _directional(Z: np.ndarray, values: np.ndarray, n_slices: int) -> np.ndarray:
    """Return the matrix of directional regression, equation (4) of [2], with slices of values."""
    p = Z.shape[1]
    squares, means = np.zeros((p, p)), np.zeros((p, p))
    # Equal values, such as distances to the same label, stay in the slice of their mean rank.
    ranks = (rankdata(values) - 0.5) / len(values)
    slices = (ranks * n_slices).astype(int)
    for chosen in np.unique(slices):
        rows = Z[slices == chosen]
        share, mean = len(rows) / len(Z), rows.mean(axis=0)
        second = rows.T @ rows / len(rows)
        squares += share * second @ second
        means += share * np.outer(mean, mean)
    return 2 * (squares + means @ means + np.trace(means) * means - np.eye(p))
