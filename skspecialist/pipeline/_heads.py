"""Heads of the built-in candidates, and the features that they read.

Ridge and logistic regressions with a strength of least leave-one-out error, on columns, moments
over steps, or kernel features. Transformers take a row as ``n_timesteps`` equal blocks. Tasks
often read the same columns: within :func:`shared_computations` these are decomposed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from numbers import Integral
from typing import Any, Self

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler
from sklearn.utils import gen_batches

from .._base.sklearn_compat import Interval

__all__ = [
    "KernelMean",
    "RidgeTunedLogisticRegression",
    "TunedRidge",
    "column_head",
    "kernel_head",
    "shared_computations",
]

# Strengths of ridge regressions on standardized columns, and on kernel features, whose squares
# sum to at most one: from next to no shrinkage to nearly the mean.
COLUMN_ALPHAS = np.logspace(-2, 5, 15)
KERNEL_ALPHAS = np.logspace(-4, 2, 13)
# Width of the kernel in multiples of the median squared distance: around the median heuristic.
WIDTHS = (0.5, 1.0, 2.0, 4.0)
# Landmarks while scaling and width are chosen, and steps weighed: more change little there.
N_TRIED = 100
# Factor by which landmarks become more, and the part of the leave-one-out error that this must
# have taken off for the next time.
MORE, LEAST_GAIN = 3, 0.1
# Multiples of C, the inverse strength: weaker shrinkage than that of the ridge regression.
WEAKER = (1.0, 10.0, 100.0)
# Rows among which the median distance is taken: its error is then a few per cent.
N_DISTANCES = 400
# Share of the unit diagonal that is added to the kernel of the landmarks, which is singular to
# rounding where two of them are close.
JITTER = 1e-10
# Sequences per weight of a step, without which all steps have the same: as in linear regressions.
PER_WEIGHT = 10
# Values of the kernel between steps and landmarks that are in memory at a time: 64 MiB.
BLOCK = 2**23


def column_head(is_classifier: bool) -> Any:
    """Return the head of candidates that read columns."""
    return make_pipeline(
        StandardScaler(), RidgeTunedLogisticRegression() if is_classifier else TunedRidge()
    )


def kernel_head(is_classifier: bool) -> Any:
    """Return the head of candidates that read kernel features."""
    if is_classifier:
        return RidgeTunedLogisticRegression(alphas=KERNEL_ALPHAS)
    return TunedRidge(alphas=KERNEL_ALPHAS)


class Values:
    """Array that is compared by its values: a key of the computations that are shared."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.ascontiguousarray(array, dtype=np.float64)
        self._digest = self.array.shape, blake2b(self.array.data).digest()

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and self._digest == other._digest


@contextmanager
def shared_computations() -> Iterator[None]:
    """Forget shared results at the end: they are of the size of the data."""
    try:
        yield
    finally:
        for function in (_axes, _scaling, _kernel_features):
            function.cache_clear()


@dataclass
class PrincipalAxes:
    """Axes of centered columns in which ridge regressions of all strengths are diagonal.

    Attributes
    ----------
    mean : ndarray of shape (n_columns,)
        Weighted mean of the columns.
    axes : ndarray of shape (n_columns, n_axes)
        Orthonormal axes.
    scores : ndarray of shape (n_samples, n_axes)
        Coordinates of the samples, times the roots of their weights.
    eigenvalues : ndarray of shape (n_axes,)
        Sums of squares of the scores.
    roots : ndarray of shape (n_samples,)
        Roots of the weights.
    """

    mean: np.ndarray
    axes: np.ndarray
    scores: np.ndarray
    eigenvalues: np.ndarray
    roots: np.ndarray

    def regress(self, targets: np.ndarray, alphas: np.ndarray) -> tuple[float, float, np.ndarray]:
        """Return the least leave-one-out error, its strength, and coefficients on the axes.

        Parameters
        ----------
        targets : ndarray of shape (n_samples, n_targets)
            Targets, which share one strength.
        alphas : ndarray of shape (n_alphas,)
            Strengths.
        """
        roots = self.roots[:, None]
        mean = np.average(targets, axis=0, weights=self.roots**2)
        centered = roots * (targets - mean)
        products = self.scores.T @ centered
        # Leverages, the diagonals of the hat matrices: of the axes, and of the mean.
        inverses = 1 / (self.eigenvalues[:, None] + alphas)
        leverages = self.scores**2 @ inverses + roots**2 / np.sum(roots**2)
        errors = []
        for inverse, leverage in zip(inverses.T, leverages.T, strict=True):
            residuals = centered - self.scores @ (products * inverse[:, None])
            errors.append(np.mean((residuals / np.maximum(1 - leverage, 1e-12)[:, None]) ** 2))
        best = int(np.argmin(errors))
        return errors[best], float(alphas[best]), products * inverses[:, [best]]


@lru_cache(maxsize=16)
def _axes(columns: Values, weights: Values | None) -> PrincipalAxes:
    X = columns.array
    roots = np.ones(len(X)) if weights is None else np.sqrt(weights.array)
    mean = np.average(X, axis=0, weights=roots**2)
    centered = roots[:, None] * (X - mean)
    is_wide = X.shape[1] > len(X)
    gram = centered @ centered.T if is_wide else centered.T @ centered
    eigenvalues, vectors = np.linalg.eigh(gram)
    kept = eigenvalues > 1e-12 * max(eigenvalues[-1], 1e-300)
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    if is_wide:
        scales = np.sqrt(eigenvalues)
        return PrincipalAxes(
            mean, centered.T @ (vectors / scales), vectors * scales, eigenvalues, roots
        )
    return PrincipalAxes(mean, vectors, centered @ vectors, eigenvalues, roots)


def _axes_of(X: np.ndarray, weights: np.ndarray | None) -> PrincipalAxes:
    return _axes(Values(X), None if weights is None else Values(weights))


class TunedRidge(RegressorMixin, BaseEstimator):
    """Ridge regression with the strength of least leave-one-out error.

    It is scikit-learn's ``RidgeCV`` with one decomposition, which tasks of equal columns share.

    Parameters
    ----------
    alphas : array-like, default=COLUMN_ALPHAS
        Strengths.
    """

    _parameter_constraints: dict = {"alphas": ["array-like"]}

    def __init__(self, alphas: Any = COLUMN_ALPHAS) -> None:
        self.alphas = alphas

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any = None) -> Self:
        """Choose the strength, and fit the regression."""
        axes = _axes_of(X, sample_weight)
        _, self.alpha_, coefficients = axes.regress(_ridge_targets(y), np.asarray(self.alphas))
        self.coef_ = (axes.axes @ coefficients)[:, 0]
        self.intercept_ = np.average(y, weights=sample_weight) - axes.mean @ self.coef_
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the predicted amounts."""
        return np.asarray(X @ self.coef_ + self.intercept_)


class KernelMean(TransformerMixin, BaseEstimator):
    """Weighted mean over steps of random kernel features of each step.

    A ridge regression on these features is one with the set kernel
    :math:`k(x, x') = \\sum_{t, t'} w_t w_{t'} \\exp(-\\gamma ||x_t - x'_{t'}||^2)` [1]_, in the
    Nystroem approximation [2]_: the task is a weighted sum, over the steps, of one smooth
    function of the state. The width of the kernel, and whether columns are standardized first,
    are those of the ridge regression of least leave-one-out error. The weights of the steps are
    non-negative: a step that does not belong to the task gets next to none.

    Parameters
    ----------
    n_timesteps : int
        Number of steps of a row.
    n_components : int, default=1000
        Largest number of landmarks: on images 300 lose .03 of R2, on embeddings of text nothing.
        They become more as long as the leave-one-out error falls by a tenth.
    random_state : int or None, default=None
        Seed of the landmarks.

    References
    ----------
    .. [1] T. Gärtner, P. Flach, A. Kowalczyk and A. Smola, "Multi-instance kernels", ICML 2002.
    .. [2] C. Williams and M. Seeger, "Using the Nyström method to speed up kernel machines",
       NeurIPS 2000.
    """

    _parameter_constraints: dict = {
        "n_timesteps": [Interval(Integral, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self, n_timesteps: int, n_components: int = 1000, random_state: int | None = None
    ) -> None:
        self.n_timesteps = n_timesteps
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Choose scaling and width, and draw the landmarks.

        Parameters
        ----------
        X : ndarray of shape (n_sequences, n_timesteps * n_features)
            Steps side by side.
        y : ndarray of shape (n_sequences,)
            Amounts, or class labels.
        """
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Fit, and return the features of the same sequences."""
        steps, targets = Values(X), _ridge_targets(y)
        n_tried = min(self.n_components, N_TRIED)

        def features(choice: tuple[bool, float], n: int) -> tuple[Landmarks, np.ndarray]:
            weights = tuple(self.step_weights_)
            return _kernel_features(steps, weights, *choice, n, self.random_state)

        self.step_weights_ = np.full(self.n_timesteps, 1 / self.n_timesteps)

        def error(choice: tuple[bool, float], n: int = n_tried) -> float:
            axes = _axes_of(features(choice, n)[1], None)
            return axes.regress(targets, KERNEL_ALPHAS)[0]

        # Coordinate search: the scaling at the median width, then the width.
        is_scaled = min((False, True), key=lambda scaled: error((scaled, 1.0)))
        choice = min(((is_scaled, width) for width in WIDTHS), key=error)
        if 1 < self.n_timesteps <= len(X) / PER_WEIGHT:
            self.landmarks_, _ = features(choice, n_tried)
            self.step_weights_ = self._weigh_steps(steps.array, targets)
        # The decomposition costs the cube of the number of landmarks: more as long as they help.
        n, least, gain = n_tried, error(choice), LEAST_GAIN
        while n < self.n_components and gain >= LEAST_GAIN:
            more = min(MORE * n, self.n_components)
            gain = 1 - error(choice, more) / least
            n, least = (more, (1 - gain) * least) if gain > 0 else (n, least)
        self.landmarks_, found = features(choice, n)
        return found

    def _weigh_steps(self, X: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return non-negative weights of the steps, of sum one.

        The function of the state that is learned with equal weights has a value at each step:
        the weights are those of the non-negative regression of the targets on these values.
        They are leave-one-out values: others would fit the targets at irrelevant steps too.
        """
        size = max(1, BLOCK // (self.n_timesteps * len(self.landmarks_.rows)))
        rows = np.arange(0, len(X), -(-len(X) // size))
        features = self.landmarks_.features(_steps_of(X[rows], self.n_timesteps), np.ones(1))
        by_step = features.reshape(len(rows), self.n_timesteps, -1)
        targets = targets[rows] - targets[rows].mean(axis=0)
        axes = _axes_of(by_step.mean(axis=1), None)
        _, alpha, coefficients = axes.regress(targets, KERNEL_ALPHAS)
        # Without sequence i the coefficients b are b - (G + alpha)^-1 z_i e_i / (1 - h_i), for
        # the residual e and the leverage h (Sherman-Morrison).
        solved = axes.scores / (axes.eigenvalues + alpha)
        leverages = (axes.scores * solved).sum(axis=1) + 1 / len(rows)
        residuals = (targets - axes.scores @ coefficients) / (1 - leverages)[:, None]
        rotated = (by_step - axes.mean) @ axes.axes
        values = rotated @ coefficients
        values -= np.matmul(rotated, solved[:, :, None]) * residuals[:, None, :]
        values -= values.mean(axis=0)
        columns = values.transpose(0, 2, 1).reshape(-1, self.n_timesteps)
        weights = nnls(columns, targets.ravel())[0]
        return weights / weights.sum() if weights.any() else self.step_weights_

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the features, shape (n_sequences, n_components)."""
        return self.landmarks_.features(X, self.step_weights_)


@dataclass
class Landmarks:
    """Nystroem features of standardized steps: kernels with landmarks, decorrelated.

    Attributes
    ----------
    scaler : StandardScaler
        Scaling of the columns of a step.
    bounds : tuple of two ndarrays of shape (n_features,)
        Range of each column, beyond which features are constant: nothing is learned there.
    rows : ndarray of shape (n_components, n_features)
        Landmarks.
    gamma : float
        Inverse width of the kernel.
    factor : ndarray of shape (n_components, n_components)
        Cholesky factor of their kernel: the root in scikit-learn's Nystroem up to a rotation,
        which ridge and logistic regressions ignore.
    """

    scaler: StandardScaler
    bounds: tuple[np.ndarray, np.ndarray]
    rows: np.ndarray
    gamma: float
    factor: np.ndarray

    def features(self, X: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the weighted means over steps, shape (n_sequences, n_components)."""
        means = np.empty((len(X), len(self.rows)))
        used = np.flatnonzero(weights)
        for part in gen_batches(len(X), max(1, BLOCK // (len(used) * len(self.rows)))):
            steps = X[part].reshape(-1, len(weights), len(self.bounds[0]))[:, used]
            rows = self.scaler.transform(_steps_of(steps, len(used)).clip(*self.bounds))
            kernel = rbf_kernel(rows, self.rows, gamma=self.gamma)
            # Decorrelation is linear: the mean comes first.
            means[part] = weights[used] @ kernel.reshape(-1, len(used), len(self.rows))
        return np.asarray(solve_triangular(self.factor, means.T, lower=True).T)


@lru_cache(maxsize=16)
def _kernel_features(
    steps: Values, weights: tuple[float, ...], is_scaled: bool, width: float, n: int, seed: Any
) -> tuple[Landmarks, np.ndarray]:
    """Return ``n`` landmarks and features for a width in multiples of the median distance."""
    scaler, median = _scaling(steps, len(weights), is_scaled, seed)
    rows = _steps_of(steps.array, len(weights))
    # The first of one random order: more landmarks are those of few, and others.
    landmarks = scaler.transform(rows[np.random.default_rng(seed).permutation(len(rows))[:n]])
    gamma = 1 / (width * median)
    bounds = rows.min(axis=0), rows.max(axis=0)
    factor = _factor(rbf_kernel(landmarks, gamma=gamma))
    found = Landmarks(scaler, bounds, landmarks, gamma, factor)
    return found, found.features(steps.array, np.array(weights))


def _factor(kernel: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor of a kernel matrix."""
    jitter = JITTER
    while True:
        kernel.flat[:: len(kernel) + 1] += jitter
        try:
            return np.asarray(cholesky(kernel, lower=True))
        except np.linalg.LinAlgError:  # distances beside a huge outlier are rounded
            jitter *= 10


@lru_cache(maxsize=4)
def _scaling(
    steps: Values, n_timesteps: int, is_scaled: bool, seed: Any
) -> tuple[StandardScaler, float]:
    """Return the scaling of a step, and the median squared distance of different steps."""
    rows = _steps_of(steps.array, n_timesteps)
    scaler = StandardScaler(with_std=is_scaled).fit(rows)
    sample = np.random.default_rng(seed).permutation(len(rows))[:N_DISTANCES]
    distances = euclidean_distances(scaler.transform(rows[sample]), squared=True)
    return scaler, float(np.median(distances[distances > 0])) if distances.any() else 1.0


def _steps_of(X: np.ndarray, n_timesteps: int) -> np.ndarray:
    return X.reshape(len(X) * n_timesteps, -1).astype(np.float64)


class RidgeTunedLogisticRegression(ClassifierMixin, BaseEstimator):
    r"""Logistic regression whose strength starts from the best ridge regression on indicators.

    Leave-one-out errors of ridge regressions have a closed form. Near the solution the log loss
    has the curvature :math:`p (1 - p)` in place of the squared error's one: both shrink alike
    for :math:`C = 1 / (\alpha \overline{p (1 - p)})`. Indicators of ordered classes are not
    linear, and are shrunk too much: weaker strengths are compared with it on held-out samples.

    Parameters
    ----------
    alphas : array-like, default=COLUMN_ALPHAS
        Strengths of the ridge regression.
    max_iter : int, default=300
        Iterations of the logistic regression.
    """

    _parameter_constraints: dict = {
        "alphas": ["array-like"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, alphas: Any = COLUMN_ALPHAS, max_iter: int = 300) -> None:
        self.alphas = alphas
        self.max_iter = max_iter

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any = None) -> Self:
        """Choose the strength, and fit the logistic regression."""
        w = sample_weight
        axes = _axes_of(X, w)
        _, alpha, _ = axes.regress(_ridge_targets(y), np.asarray(self.alphas))
        # A rotation does not change the penalty, and axes are at most as many as sequences.
        self.mean_, self.axes_ = axes.mean, axes.axes
        X = self._rotate(X)
        codes = np.unique(y, return_inverse=True)[1]
        shares = np.bincount(codes, w) / (len(y) if w is None else np.sum(w))
        variance = (shares * (1 - shares)).mean()
        self.C_ = self._choose_C(X, y, 1 / (alpha * variance), w)
        self.logistic_ = self._logistic(self.C_).fit(X, y, w)
        self.classes_ = self.logistic_.classes_
        return self

    def _choose_C(self, X: np.ndarray, y: np.ndarray, C: float, weights: Any) -> float:
        """Return the multiple of ``C`` of least log loss of a held-out third."""
        counts = np.unique(y, return_counts=True)[1]
        if counts.min() < 2 or len(y) < 3 * len(counts):
            return C  # a class would be missing from one of the parts
        fit, held_out = train_test_split(
            np.arange(len(y)), test_size=1 / 3, stratify=y, random_state=0
        )
        own, others = (None if weights is None else weights[rows] for rows in (fit, held_out))
        best, least, model = C, np.inf, self._logistic(C).set_params(warm_start=True)
        for factor in WEAKER:
            model.set_params(C=factor * C).fit(X[fit], y[fit], own)
            probabilities = model.predict_proba(X[held_out])
            loss = log_loss(y[held_out], probabilities, sample_weight=others, labels=model.classes_)
            if loss >= least:
                break
            best, least = factor * C, loss
        return best

    def _logistic(self, C: float) -> LogisticRegression:
        return LogisticRegression(C=C, max_iter=self.max_iter)

    def _rotate(self, X: np.ndarray) -> np.ndarray:
        return np.asarray((X - self.mean_) @ self.axes_)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, shape (n_samples, n_classes)."""
        return self.logistic_.predict_proba(self._rotate(X))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable classes."""
        return self.logistic_.predict(self._rotate(X))


def _ridge_targets(y: np.ndarray) -> np.ndarray:
    """Return amounts as one column, and labels as indicators."""
    if y.dtype.kind == "f":
        return y[:, None].astype(np.float64)
    return LabelBinarizer().fit_transform(y).astype(float)
