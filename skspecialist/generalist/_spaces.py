"""Maps between the spaces of representations."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.linear_model import RidgeCV
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import SequenceMixin, TaskEstimatorMixin, all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.validation import (
    FLOATS,
    as_array,
    check_numbers,
    check_same_length,
    refuse_huge,
    validate_steps,
)
from ..exceptions import warn

__all__ = ["RelativeRepresentation", "SpaceAligner"]

# Shares of the sum of squares of the centered features.
PENALTIES = np.logspace(-8, 0, 17)
# Of the penalty of "lambda": a hundredth from its bound it is off or on for the most part.
STEEPNESS = 100.0


class SpaceAligner(
    TaskEstimatorMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    r"""Map a representation onto another one of the same samples.

    Models of the second representation, such as a pipeline that was fitted before its foundation
    model was exchanged, then work with the first [1]_ [2]_. Some samples with both
    representations, the parallel anchors, are enough.

    Parameters
    ----------
    method : {"orthogonal", "affine", "lambda"}, default="orthogonal"
        "orthogonal" is a shift, a scale and the rotation or reflection of least squared error,
        after the smaller space is filled up with zeros [2]_: it keeps angles, and needs few
        samples. "affine" is a ridge regression, whose penalty has the least leave-one-out
        error: it adapts to maps that are not rotations, with more samples. "lambda" lies between
        them: an affine map whose matrix W, but for the scale, is near a rotation,
        :math:`\|W W' - I\|_F \le \lambda` [4]_.
    max_deviation : float, default=None
        Of "lambda" the bound :math:`\lambda / \sqrt{n}` with n features. None is 0.5, which for 512
        features are the 12 of [4]_.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features_in_, n_features_out), float64
        The linear map, applied from the right to centered samples.
    source_mean_ : ndarray of shape (n_features_in_,), float64
        Mean of the first representation.
    target_mean_ : ndarray of shape (n_features_out,), float64
        Mean of the second.
    rotation_ : ndarray of shape (n, n), float64, or None
        Of "orthogonal" the orthogonal matrix, of "lambda" the one near it, n the larger number of
        features.
    scale_ : float or None
        Of "orthogonal" and "lambda" the scale.
    n_features_in_ : int
        Number of features of the first representation.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    RelativeRepresentation : A space that both share, without a map.
    skspecialist.metrics.stitching_score : Loss by a change of the encoder.

    References
    ----------
    .. [1] Lähner and Moeller, On the direct alignment of latent spaces, UniReps workshop,
       NeurIPS 2023.
    .. [2] Maiorca, Moschella, Norelli, Fumero, Locatello and Rodolà, Latent space translation
       via semantic alignment, NeurIPS 2023.
    .. [3] Schönemann, A generalized solution of the orthogonal Procrustes problem,
       Psychometrika 31, 1966.
    .. [4] Ricci, Biondi, Pernici, Patras and Del Bimbo, Lambda-orthogonality regularization for
       compatible representation learning, NeurIPS 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import SpaceAligner
    >>> rng = np.random.default_rng(0)
    >>> old = rng.normal(size=(50, 4))
    >>> rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    >>> new = 3 * old @ rotation + 1
    >>> aligner = SpaceAligner().fit(new[:30], old[:30])
    >>> bool(np.allclose(aligner.transform(new[30:]), old[30:]))
    True
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"orthogonal", "affine", "lambda"})],
        "max_deviation": [Interval(Real, 0, None, closed="left"), None],
    }

    def __init__(self, method: str = "orthogonal", *, max_deviation: float | None = None) -> None:
        self.method = method
        self.max_deviation = max_deviation

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the map.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            The representation to be mapped.
        y : array-like of shape (n_samples, n_features_out) or \
                (n_sequences, n_timesteps, n_features_out)
            The representation of the same samples onto which it is mapped.

        Returns
        -------
        self : SpaceAligner
            Fitted.

        Raises
        ------
        ValueError
            If there are fewer than two samples, NaN or infinite values, the numbers of samples
            differ, or ``max_deviation`` is given with another method.
        """
        if self.max_deviation is not None and self.method != "lambda":
            raise ValueError(
                f"max_deviation={self.max_deviation} is of method='lambda', got {self.method!r}."
            )
        if y is None:
            raise ValueError("SpaceAligner requires y to be passed, but the target y is None.")
        X = validate_steps(self, X, ensure_min_samples=2)
        Y = check_numbers(y, "y", ensure_2d=False, allow_nd=True)
        refuse_huge(Y, "y")
        check_same_length(X=X, y=Y)
        Y = Y[:, None] if Y.ndim == 1 else Y
        source, target = (Z.reshape(-1, Z.shape[-1]).astype(np.float64) for Z in (X, Y))
        check_same_length(X=source, y=target)
        self.source_mean_, self.target_mean_ = source.mean(axis=0), target.mean(axis=0)
        source, target = source - self.source_mean_, target - self.target_mean_
        self.rotation_, self.scale_ = None, None
        if self.method == "affine":
            size = np.linalg.norm(source) or 1.0
            model = RidgeCV(PENALTIES, fit_intercept=False).fit(source / size, target)
            coef = model.coef_.reshape(target.shape[1], -1).T / size
            self.coef_ = np.where(_varies(target), coef, 0.0)
            return self
        n = max(source.shape[1], target.shape[1])
        filled = [np.pad(Z, [(0, 0), (0, n - Z.shape[1])]) for Z in (source, target)]
        self.rotation_, total = orthogonal_procrustes(*filled)
        # The scale of least squared error, given the rotation: trace(R' X' Y) / trace(X' X).
        self.scale_ = float(total / max((source**2).sum(), np.finfo(float).tiny))
        if self.method == "lambda" and self.scale_ > 0:
            # Both in units of the target, where a rotation keeps the size of the samples.
            self.scale_ = float(np.linalg.norm(target) / np.linalg.norm(source))
            unit = np.linalg.norm(target) / np.sqrt(target.size) / self.scale_
            self.rotation_ = _near_rotation(
                filled[0] / unit,
                filled[1] / (unit * self.scale_),
                self.rotation_,
                (0.5 if self.max_deviation is None else self.max_deviation) * np.sqrt(n),
            )
        coef = self.scale_ * self.rotation_[: source.shape[1], : target.shape[1]]
        self.coef_ = np.where(_varies(target), coef, 0.0)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return samples of the first representation in the space of the second.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            Samples, or sequences of them.

        Returns
        -------
        mapped : ndarray of shape (..., n_features_out)
            In the dtype of ``X``.
        """
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        mapped = (X - self.source_mean_) @ self.coef_ + self.target_mean_
        return mapped.astype(X.dtype)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Return samples of the second representation in the space of the first.

        Parameters
        ----------
        X : array-like of shape (..., n_features_out)
            Samples, or sequences of them.

        Returns
        -------
        X : ndarray of shape (..., n_features_in_)
            By the pseudo-inverse of the map.
        """
        check_is_fitted(self)
        X = check_numbers(X, "X", dtype=FLOATS, allow_nd=True)
        if X.shape[-1] != len(self.target_mean_):
            raise ValueError(
                f"X must have the {len(self.target_mean_)} features of y, got {X.shape[-1]}."
            )
        original = (X - self.target_mean_) @ np.linalg.pinv(self.coef_) + self.source_mean_
        return np.asarray(original.astype(X.dtype))

    @property
    def _n_features_out(self) -> int:
        return len(self.target_mean_)


def _near_rotation(
    source: np.ndarray, target: np.ndarray, rotation: np.ndarray, bound: float
) -> np.ndarray:
    """Return the matrix of least squared error near a rotation, where the search begins."""
    gram, cross = source.T @ source / target.size, source.T @ target / target.size

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        # Mean squared error and equation (6) of [4]: s(a (r - lambda)) r for the distance r from
        # orthogonality. The logistic function s switches the penalty on at lambda.
        W = flat.reshape(rotation.shape)
        error, slope = np.sum(W * (gram @ W - 2 * cross)), 2 * (gram @ W - cross)
        apart = W @ W.T - np.eye(len(W))
        r = np.linalg.norm(apart)
        switch = expit(STEEPNESS * (r - bound))
        weight = switch + STEEPNESS * switch * (1 - switch) * r
        slope += weight * 2 * apart @ W / max(r, np.finfo(float).tiny)
        return error + switch * r, slope.ravel()

    found = minimize(loss, rotation.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return found.x.reshape(rotation.shape)


def _varies(target: np.ndarray) -> np.ndarray:
    """Return the columns that vary by more than rounding in single precision.

    Others keep their mean: foundation models have columns of size 1e-32, whose standardization
    in a model of the target would turn rounding errors of the map into huge numbers.
    """
    spread = target.std(axis=0)
    return np.asarray(spread > np.finfo(np.float32).eps * spread.max())


METRICS = ("cosine", "euclidean", "manhattan", "chebyshev")


class RelativeRepresentation(
    SequenceMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    r"""Represent samples by their similarity to anchors, which other encoders share.

    A sample x becomes :math:`(s(x, a_1), \dots, s(x, a_k))` for the anchors :math:`a_j`, samples
    of the same space [1]_. Encoders of the same data that differ in initialization often differ
    by a map that keeps angles, or distances. Representations relative to the *same* samples are
    then alike, and models that are fitted to one encoder work with another.

    Parameters
    ----------
    anchors : int or array-like of int, default=100
        Number of anchors, or the samples in ``fit`` that are the anchors: for a second encoder
        those of the first, its ``anchor_indices_``.
    metric : str or list of str, default="cosine"
        "cosine" is the cosine similarity, which rotations and a scale leave unchanged;
        "euclidean", "manhattan" and "chebyshev" are distances, in units of their mean between
        anchors, and the first of them is unchanged by rotations, a scale and a shift. Several
        are put side by side [2]_, where the map between encoders is not known.
    selection : {"random", "farthest"}, default="random"
        Selection of a number of anchors. "farthest" begins with a random sample and adds the one
        that is farthest from all anchors so far, in Euclidean distance.
    random_state : int, RandomState instance or None, default=None
        Selection of the anchors.

    Attributes
    ----------
    anchor_indices_ : ndarray of int of shape (n_anchors,)
        The anchors among the samples, or steps, of ``fit``.
    anchors_ : ndarray of shape (n_anchors, n_features_in_)
        The anchors.
    scales_ : ndarray of shape (n_metrics,), float64
        Mean distance between anchors; 1 for "cosine".
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    SpaceAligner : Maps one space onto another.
    skspecialist.metrics.stitching_score : Loss by a change of the encoder.

    References
    ----------
    .. [1] Moschella, Maiorca, Fumero, Norelli, Locatello and Rodolà, Relative representations
       enable zero-shot latent space communication, ICLR 2023.
    .. [2] Cannistraci, Moschella, Fumero, Maiorca and Rodolà, From bricks to bridges: product
       of invariances to enhance latent space communication, ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import RelativeRepresentation
    >>> rng = np.random.default_rng(0)
    >>> first = rng.normal(size=(50, 4))
    >>> rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    >>> relative = RelativeRepresentation(20, random_state=0)
    >>> one, other = relative.fit_transform(first), relative.fit_transform(3 * first @ rotation)
    >>> bool(np.allclose(one, other))
    True
    """

    _parameter_constraints: dict = {
        "anchors": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "metric": [StrOptions(set(METRICS)), list],
        "selection": [StrOptions({"random", "farthest"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        anchors: Any = 100,
        *,
        metric: str | list[str] = "cosine",
        selection: str = "random",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.anchors = anchors
        self.metric = metric
        self.selection = selection
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Select the anchors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            Samples, or sequences whose steps are the samples.
        y : None
            Ignored.

        Returns
        -------
        self : RelativeRepresentation
            Fitted.

        Raises
        ------
        ValueError
            If ``X`` has NaN or infinite values, an anchor is not among the samples, all anchors
            are equal and the metric is a distance, or a metric does not exist.

        Warns
        -----
        SpecialistWarning
            If there are fewer samples than anchors, or given anchors beside parameters of their
            selection.
        """
        if not self._metrics or not set(self._metrics) <= set(METRICS):
            raise ValueError(f"metric must be of {list(METRICS)}, got {self.metric!r}.")
        X = validate_steps(self, X, ensure_min_samples=2)
        X = X.reshape(-1, X.shape[-1])
        self.anchor_indices_ = self._select(X)
        self.anchors_ = X[self.anchor_indices_]
        self.scales_ = np.ones(len(self._metrics))
        for k, metric in enumerate(self._metrics):
            if metric != "cosine":
                self.scales_[k] = pairwise_distances(self.anchors_, metric=metric).mean()
        if not self.scales_.all():
            raise ValueError("anchors are all equal: distances to them have no unit.")
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return similarities or distances to the anchors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            Samples, or sequences of them.

        Returns
        -------
        relative : ndarray of shape (..., n_metrics * n_anchors)
            All anchors by the first metric, then by the next.
        """
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        rows = X.reshape(-1, X.shape[-1])
        relative = np.hstack(list(self._compare(rows))).astype(X.dtype)
        return relative.reshape(*X.shape[:-1], relative.shape[1])

    @property
    def _metrics(self) -> list[str]:
        return [self.metric] if isinstance(self.metric, str) else self.metric

    @property
    def _n_features_out(self) -> int:
        return len(self.anchors_) * len(self._metrics)

    def _compare(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        for metric, scale in zip(self._metrics, self.scales_, strict=True):
            if metric == "cosine":
                yield cosine_similarity(rows, self.anchors_)
            else:
                yield pairwise_distances(rows, self.anchors_, metric=metric) / scale

    def _select(self, X: np.ndarray) -> np.ndarray:
        if not isinstance(self.anchors, Integral):
            indices = as_array(self.anchors, "anchors")
            if indices.ndim != 1 or not len(indices) or indices.dtype.kind not in "iu":
                raise ValueError(f"anchors must be a number or indices, got {self.anchors!r}.")
            if indices.min() < 0 or indices.max() >= len(X):
                raise ValueError(f"anchors must be indices from 0 to {len(X) - 1}.")
            if self.selection != "random" or self.random_state is not None:
                warn("selection and random_state have no effect with given anchors.")
            return indices
        rng = check_random_state(self.random_state)
        n_anchors = min(int(self.anchors), len(X))
        if n_anchors < int(self.anchors):
            warn(f"anchors={self.anchors}, but X has {len(X)} samples, which all become anchors.")
        if self.selection == "random":
            return rng.permutation(len(X))[:n_anchors]
        chosen = [int(rng.randint(len(X)))]
        distances = np.full(len(X), np.inf)
        while len(chosen) < n_anchors:
            newest = pairwise_distances(X, X[chosen[-1:]])[:, 0]
            distances = np.minimum(distances, newest)
            chosen.append(int(distances.argmax()))
        return np.array(chosen)
