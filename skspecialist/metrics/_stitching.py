"""Score of a model of one representation that is applied to another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from .._base.sklearn_compat import HasMethods, validate_params
from .._data.tasks import split_columns
from .._data.validation import check_numbers, check_same_length, split_indices
from ..generalist._aligner import SpaceAligner
from ..generalist._relative import RelativeRepresentation

__all__ = ["stitching_score"]


@validate_params(
    {
        "X": ["array-like"],
        "Z": ["array-like"],
        "y": ["array-like"],
        "aligner": [SpaceAligner, RelativeRepresentation, None],
        "estimator": [HasMethods(["fit", "score"]), None],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def stitching_score(
    X: ArrayLike,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    aligner: SpaceAligner | RelativeRepresentation | None = None,
    estimator: Any = None,
    cv: Any = 5,
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    """Score an estimator that is fitted to one representation and applied to another.

    The estimator never learns from ``X``: in each fold it is fitted to ``Z`` of the training
    samples, the alignment to both representations of them, without ``y``, and the score is that
    of ``X`` of the test samples (zero-shot stitching [1]_ [2]_).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The new representation.
    Z : array-like of shape (n_samples, n_other_features)
        The representation that the estimator is fitted to, of the same samples.
    y : array-like of shape (n_samples,)
        The task: floats are amounts, other values class labels.
    aligner : SpaceAligner or RelativeRepresentation, default=None
        Maps ``X`` onto ``Z``, or both to a space relative to the same samples. None is
        ``SpaceAligner()``, a rotation.
    estimator : estimator, default=None
        With ``fit`` and ``score``. None is a ridge or a logistic regression of standardized
        features.
    cv : int, splitter or iterable, default=5
        Folds; of an integer random ones, stratified for labels.
    random_state : int, RandomState instance or None, default=0
        Folds.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        score : float
            Mean over the folds of the stitched estimator's score: R2 or accuracy.
        own : float
            Of the same estimator in ``Z``, or in its relative representation.
        loss : float
            ``own`` minus ``score``.
        scores : ndarray of shape (n_splits, 2), float64
            Of each fold, stitched and own.

    Raises
    ------
    ValueError
        If the arrays differ in length or are not finite, or ``cv`` cannot split them.

    References
    ----------
    .. [1] Lenc and Vedaldi, Understanding image representations by measuring their equivariance
       and equivalence, CVPR 2015.
    .. [2] Moschella, Maiorca, Fumero, Norelli, Locatello and Rodolà, Relative representations
       enable zero-shot latent space communication, ICLR 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import stitching_score
    >>> rng = np.random.default_rng(0)
    >>> old = rng.normal(size=(100, 4))
    >>> new = old[:, ::-1] + 0.1 * rng.normal(size=(100, 4))
    >>> scores = stitching_score(new, old, old[:, 0] > 0)
    >>> scores.score > 0.9, scores.own > 0.9
    (True, True)
    """
    new, old = check_numbers(X, "X"), check_numbers(Z, "Z")
    values = split_columns(y)[0][0]
    check_same_length(X=new, Z=old, y=values)
    is_label = values.dtype.kind != "f"
    if estimator is None:
        head = LogisticRegression(max_iter=1000) if is_label else RidgeCV(np.logspace(-3, 3, 13))
        estimator = make_pipeline(StandardScaler(), head)
    if cv is None or isinstance(cv, int):
        kind = StratifiedKFold if is_label else KFold
        cv = kind(5 if cv is None else cv, shuffle=True, random_state=random_state)
    scores = []
    for train, test in split_indices(cv, old, values, None):
        (new_test, old_train, old_test) = _share(aligner, new, old, train, test)
        fitted = clone(estimator).fit(old_train, values[train])
        scores.append([fitted.score(Z, values[test]) for Z in (new_test, old_test)])
    stitched, own = np.mean(scores, axis=0).tolist()
    return Bunch(score=stitched, own=own, loss=own - stitched, scores=np.array(scores))


def _share(
    aligner: Any, new: np.ndarray, old: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the new test samples, the old training and test samples, in a shared space."""
    if not isinstance(aligner, RelativeRepresentation):
        mapped = clone(aligner or SpaceAligner()).fit(new[train], old[train]).transform(new[test])
        return mapped, old[train], old[test]
    of_old = clone(aligner).fit(old[train])
    shared = {"anchors": of_old.anchor_indices_, "selection": "random", "random_state": None}
    of_new = clone(aligner).set_params(**shared).fit(new[train])
    return of_new.transform(new[test]), of_old.transform(old[train]), of_old.transform(old[test])
