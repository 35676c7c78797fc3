"""Removal of nuisances, such as speaker, site or style, from a representation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import SequenceMixin, all_or_nothing
from .._base.sklearn_compat import fit_context
from .._data.tasks import Task, read_tasks, require_tasks, split_columns
from .._data.validation import check_same_length, is_missing, validate_steps
from .._data.weights import as_sequences
from ..exceptions import warn

__all__ = ["NuisanceRemover", "read_nuisance"]

# A direction is erased if no draw of random signs reaches its covariance: one in twenty, 5 %.
N_DRAWS = 19
# Columns, and kernel functions of them, that a nuisance is predicted from in the report.
PROBE_COLUMNS, PROBE_FUNCTIONS = 100, 200


class NuisanceRemover(SequenceMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Remove the directions of a representation that linear models read a nuisance from.

    Least-squares concept erasure [1]_: of all maps after which the features have no covariance
    with the nuisance, it changes them least. With the covariance :math:`\Sigma` of the
    features and :math:`B` a basis of :math:`\Sigma^{-1/2} \operatorname{cov}(x, z)`, a sample
    :math:`x` becomes :math:`x - \Sigma^{1/2} B B^\top \Sigma^{-1/2} (x - \bar x)`. No linear
    model then predicts :math:`z` better than its mean. New samples are transformed without
    their nuisances.

    Three things are added. (1) Directions are counted by parallel analysis [2]_, against
    covariances with random signs of the samples [3]_: a nuisance that is not in the features
    erases nothing, even if their variance depends on it. (2) In sequences, directions that only
    some of the steps have are erased too. (3) An amount :math:`z` stands beside the first three
    Hermite polynomials of its normal scores, so that features whose mean depends on it in a
    curved way are erased as well.

    Networks, kernels and trees can find traces in variances and in products of features:
    ``scores_`` has the held-out predictions of a model with kernel functions.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=0
        Seed of the signs.

    Attributes
    ----------
    n_erased_ : int
        Number of directions that were erased.
    mean_ : ndarray of shape (n_features_in_,), float64
        Mean of the features.
    projection_ : ndarray of shape (n_features_in_, n_features_in_), float64
        Matrix that multiplies the centered samples.
    scores_ : list of dict
        One entry per nuisance: its ``name``; ``chance``, the frequency of the most frequent
        label, and 0 for amounts; accuracy or R2 of held-out predictions from the features
        ``before`` and ``after``. Steps are read by their mean and standard deviation.
    n_features_in_ : int
        Number of features of a step.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    SparseSpecialistEncoder : ``fit(X, y, nuisance=...)`` applies it to its input.
    SpecialistPipeline : ``fit(X, y, nuisance=...)`` applies it to the generalist.

    References
    ----------
    .. [1] Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff and Biderman, Perfect
       linear concept erasure in closed form, NeurIPS 2023.
    .. [2] Horn, A rationale and test for the number of factors in factor analysis,
       Psychometrika 30, 1965.
    .. [3] Wu, Jackknife, bootstrap and other resampling methods in regression analysis, Annals
       of Statistics 14, 1986.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import NuisanceRemover
    >>> rng = np.random.default_rng(0)
    >>> speaker = rng.choice(["ann", "bob", "eve"], size=300)
    >>> X = rng.normal(size=(300, 5))
    >>> X[:, :2] += 3 * (speaker[:, None] == ["ann", "bob"])
    >>> remover = NuisanceRemover().fit(X, speaker)
    >>> remover.n_erased_
    2
    >>> remover.scores_[0]["before"] > 0.8, remover.scores_[0]["after"] < 0.4
    (True, True)
    """

    _parameter_constraints: dict = {"random_state": ["random_state"]}

    def __init__(self, random_state: int | np.random.RandomState | None = 0) -> None:
        self.random_state = random_state

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None, nuisance: Any = None) -> Self:
        """Find the directions of the nuisances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            Samples, or sequences of them.
        y : array-like of shape (n_samples,) or (n_samples, n_nuisances), default=None
            The nuisances, unless they are given as ``nuisance``.
        nuisance : array-like of shape (n_samples,) or (n_samples, n_nuisances), default=None
            Nuisances of each sample, or sequence: amounts in columns of floats, labels in all
            others. Missing values do not count.

        Returns
        -------
        self : NuisanceRemover
            Fitted.

        Raises
        ------
        ValueError
            If nuisances are not given, an array has a wrong shape, or ``X`` is not finite.

        Warns
        -----
        SpecialistWarning
            If all directions are erased.
        """
        given = y if nuisance is None else nuisance
        require_tasks(given, self)
        X = validate_steps(self, X, ensure_min_samples=2)
        nuisance = read_nuisance(given, X, self)
        self._learn(X, nuisance, np.ones(len(X)))
        self.scores_ = compare_scores(nuisance, before=X, after=self._erase(X))
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Erase the directions of the nuisances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            Samples, or sequences of them.

        Returns
        -------
        erased : ndarray of the same shape
            In the dtype of ``X`` (float32 or float64).
        """
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        return self._erase(X)

    def _erase(self, X: np.ndarray) -> np.ndarray:
        """Transform valid samples; steps after the end of a sequence, which are NaN, stay so."""
        if self.n_erased_ == 0:
            return X
        erased = (X - self.mean_) @ self.projection_ + self.mean_
        return erased.astype(X.dtype, copy=False)

    def _compare(
        self, X: np.ndarray, nuisance: Any, y: Any, specialist: np.ndarray, steps: Any = None
    ) -> list[dict[str, Any]]:
        """Return scores of nuisances and tasks, as ``nuisance_scores_`` of an estimator.

        ``specialist`` are features or latents of the samples, of which ``steps``, of shape
        (n_timesteps, n_tasks), are read.
        """
        if steps is not None and specialist.ndim == 3:
            specialist = specialist[:, np.any(steps, axis=1)].reshape(len(X), -1)
        features = {"before": X, "after": self._erase(X)}
        scores = compare_scores(nuisance, **features, specialist=specialist)
        return scores + compare_scores(y, **features)

    def _learn(self, X: np.ndarray, nuisance: Any, weights: np.ndarray) -> Self:
        """Find the directions in valid samples, of which steps may be NaN.

        ``weights`` are those of the samples, of shape (n_samples,).
        """
        sequences = as_sequences(X).astype(np.float64)
        weights = weights / weights.sum()
        codes = _codes(nuisance, len(X), weights)

        # Step 1: whitened features. The covariance is shrunk, because its inverse is used.
        observed = ~np.isnan(sequences).any(axis=2)
        shares = (weights[:, None] * observed)[observed]
        shares = shares / shares.sum()
        rows = sequences[observed]
        self.mean_ = shares @ rows
        rows -= self.mean_
        shrinkage = ledoit_wolf_shrinkage(rows, assume_centered=True)
        covariance = (rows.T * shares) @ rows
        sphere = covariance.trace() / len(covariance) * np.eye(len(covariance))
        covariance += shrinkage * (sphere - covariance)
        variances, axes = np.linalg.eigh(covariance)
        varied = variances > 1e-10 * variances.max(initial=0)
        scales, axes = np.sqrt(variances[varied]), axes[:, varied]
        white = np.zeros((*observed.shape, len(scales)))
        white[observed] = rows @ (axes / scales)

        # Step 2: directions that all steps have in common, then those of single steps.
        rng = check_random_state(self.random_state)
        basis = np.empty((len(scales), 0))
        for pooled in (True, False)[: white.shape[1]]:
            found = True
            while found and basis.shape[1] < len(scales):
                rest = (white - white @ basis @ basis.T) * weights[:, None, None]
                parts = rest.sum(axis=1, keepdims=True) if pooled else rest
                directions = _directions(parts, codes, rng)
                basis, found = np.hstack([basis, directions]), directions.shape[1] > 0
        self.n_erased_ = basis.shape[1]
        if self.n_erased_ == len(scales) > 0:
            warn(
                f"The nuisances take all {len(scales)} directions of X: nothing is left. Give "
                "more features, or fewer nuisances or labels."
            )

        # Step 3: the map of [1], for rows: whiten, remove the basis, undo the whitening.
        kept = np.eye(len(self.mean_)) - (axes / scales) @ basis @ basis.T @ (axes * scales).T
        self.projection_ = kept
        self.n_features_in_ = len(kept)
        return self

    def __sklearn_tags__(self) -> Tags:
        """Return tags: nuisances are required, and there may be several."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = tags.target_tags.multi_output = True
        return tags


def read_nuisance(nuisance: Any, X: np.ndarray, estimator: Any) -> Any:
    """Return nuisances of an estimator's samples as an array or a table of pandas."""
    if hasattr(estimator, "get_support"):
        raise ValueError(
            f"{type(estimator).__name__} selects columns of X, which contain the nuisance: "
            "transform X by NuisanceRemover first."
        )
    nuisance = read_tasks(nuisance)
    check_same_length(X=X, nuisance=split_columns(nuisance, True)[0][0])
    return nuisance


def _directions(parts: np.ndarray, codes: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Return an orthonormal basis of the directions that covary with the nuisance.

    ``parts`` are weighted, of shape (n_samples, n_timesteps, n_directions).
    """
    flat = parts.reshape(len(parts), -1)

    def covariances(codes: np.ndarray) -> np.ndarray:
        return (
            (flat.T @ codes)
            .reshape(*parts.shape[1:], -1)
            .swapaxes(0, 1)
            .reshape(parts.shape[2], -1)
        )

    left, sizes, _ = np.linalg.svd(covariances(codes), full_matrices=False)
    null = [
        np.linalg.norm(covariances(codes * rng.choice([-1.0, 1.0], (len(codes), 1))), ord=2)
        for _ in range(N_DRAWS)
    ]
    return left[:, sizes > max(null)]


def _codes(nuisance: Any, n_samples: int, weights: np.ndarray) -> np.ndarray:
    """Return nuisances as columns of zero mean and unit variance; missing values are zeros."""
    blocks = []
    for _, values, task in _columns(nuisance):
        known = ~is_missing(values)
        codes = _encoded(values[known], task)
        if task.classes is None:
            scores = ndtri((rankdata(codes) - 0.5) / max(1, len(codes)))
            codes = np.hstack([codes, *_hermite(scores[:, None])])
        share = weights[known, None] / max(weights[known].sum(), np.finfo(float).tiny)
        codes = codes - (share * codes).sum(axis=0)
        scale = np.sqrt((share * codes**2).sum(axis=0))
        block = np.zeros((n_samples, codes.shape[1]))
        block[known] = codes / np.where(scale > 0, scale, 1.0)
        blocks.append(block)
    return np.hstack(blocks)


def _hermite(scores: np.ndarray) -> list[np.ndarray]:
    """Return the first three Hermite polynomials, orthogonal under the normal distribution."""
    return [scores, scores**2 - 1, scores**3 - 3 * scores]


def _columns(nuisance: Any) -> Iterator[tuple[str, np.ndarray, Task]]:
    """Yield name, values and kind of each column."""
    columns, names, _ = split_columns(nuisance, True)
    for values, name in zip(columns, names, strict=True):
        labels = None if values.dtype.kind == "f" else np.unique(values[~is_missing(values)])
        yield name, values, Task(name, classes=labels)


def _encoded(values: np.ndarray, task: Task) -> np.ndarray:
    """Return one column per class, or the amounts."""
    codes = values[:, None] if task.classes is None else values[:, None] == task.classes
    return codes.astype(np.float64)


def compare_scores(targets: Any, **representations: np.ndarray) -> list[dict[str, Any]]:
    """Return the scores of held-out predictions of each target from representations.

    Parameters
    ----------
    targets : array-like of shape (n_samples,) or (n_samples, n_targets)
        Amounts and labels, which may be missing.
    **representations : ndarray of shape (n_samples, n_features) or \
            (n_samples, n_timesteps, n_features)
        Features. Steps are read by their mean and standard deviation.

    Returns
    -------
    scores : list of dict
        One entry per target: its name, its chance level, and its scores by representation.
    """
    summaries = {}
    for name, X in representations.items():
        if X.ndim == 3:
            X = np.hstack([np.nanmean(X, axis=1), np.nanstd(X, axis=1)][: X.shape[1]])
        summaries[name] = X.astype(np.float64)
    rows = []
    for target, values, task in _columns(targets):
        row: dict[str, Any] = {"name": target, "chance": 0.0}
        known = ~is_missing(values)
        if task.is_classification:
            counts = np.unique(values[known], return_counts=True)[1]
            row["chance"] = float(counts.max(initial=0) / max(1, known.sum()))
        for name, summary in summaries.items():
            row[name] = _held_out_score(summary[known], values[known], task)
        rows.append(row)
    return rows


def _held_out_score(X: np.ndarray, values: np.ndarray, task: Task) -> float:
    """Return accuracy or R2 of ridge regression on columns and kernel functions of them."""
    n_train = 2 * len(X) // 3
    rank = int(np.linalg.matrix_rank(X - X.mean(axis=0))) if X.size else 0
    if n_train < 4 or len(set(values.tolist())) < 2 or rank == 0:
        return float("nan")
    # Directions that were erased have rounding errors, which must not be scaled up.
    columns = min(PROBE_COLUMNS, n_train // 2, rank)
    reducer = make_pipeline(StandardScaler(), PCA(columns, whiten=True, svd_solver="full"))
    kernel = Nystroem(
        gamma=0.5 / columns, n_components=min(PROBE_FUNCTIONS, n_train // 2), random_state=0
    )
    encoded = _encoded(values, task)
    predicted = np.empty_like(encoded)
    for train, test in KFold(3, shuffle=True, random_state=0).split(X):
        reduced = reducer.fit(X[train]).transform(X)
        both = np.hstack([reduced, kernel.fit(reduced[train]).transform(reduced)])
        probe = RidgeCV(np.logspace(-4, 4, 9)).fit(both[train], encoded[train])
        predicted[test] = probe.predict(both[test]).reshape(len(test), -1)
    if task.classes is None:
        return task.score(values, predicted.reshape(-1))
    return task.score(values, task.classes[predicted.argmax(axis=1)])
