"""Map of one representation onto another."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import orthogonal_procrustes
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.linear_model import RidgeCV
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import ReferenceMixin, all_or_nothing
from .._base.sklearn_compat import StrOptions, fit_context
from .._data.validation import (
    FLOATS,
    check_numbers,
    check_same_length,
    refuse_huge,
    validate_steps,
)

__all__ = ["SpaceAligner"]

# Shares of the sum of squares of the centered features.
PENALTIES = np.logspace(-8, 0, 17)


class SpaceAligner(
    ReferenceMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    r"""Map a representation onto another one of the same samples.

    Models of the second representation, such as a pipeline that was fitted before its foundation
    model was exchanged, then work with the first [1]_ [2]_. Some samples with both
    representations, the parallel anchors, are enough.

    Parameters
    ----------
    method : {"orthogonal", "affine"}, default="orthogonal"
        "orthogonal" is a shift, a scale and the rotation or reflection of least squared error,
        after the smaller space is filled up with zeros [2]_: it keeps angles, and needs few
        samples. "affine" is a ridge regression, whose penalty has the least leave-one-out
        error: it adapts to maps that are not rotations, with more samples.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features_in_, n_features_out), float64
        The linear map, applied from the right to centered samples.
    source_mean_ : ndarray of shape (n_features_in_,), float64
        Mean of the first representation.
    target_mean_ : ndarray of shape (n_features_out,), float64
        Mean of the second.
    rotation_ : ndarray of shape (n, n), float64, or None
        Of "orthogonal" the orthogonal matrix, n the larger number of features.
    scale_ : float or None
        Of "orthogonal" the scale.
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

    _parameter_constraints: dict = {"method": [StrOptions({"orthogonal", "affine"})]}

    def __init__(self, method: str = "orthogonal") -> None:
        self.method = method

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
            If there are fewer than two samples, NaN or infinite values, or the numbers of samples
            differ.
        """
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

    def __sklearn_tags__(self) -> Tags:
        """The target is a representation; sequences may have 3 dimensions."""
        tags: Tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _varies(target: np.ndarray) -> np.ndarray:
    """Return the columns that vary by more than rounding in single precision.

    Others keep their mean: foundation models have columns of size 1e-32, whose standardization
    in a model of the target would turn rounding errors of the map into huge numbers.
    """
    spread = target.std(axis=0)
    return np.asarray(spread > np.finfo(np.float32).eps * spread.max())
