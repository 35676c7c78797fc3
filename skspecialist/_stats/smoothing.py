"""Nonparametric regression: Gaussian kernels, random features, splines and ridge."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer, SplineTransformer

__all__ = [
    "RidgeSmoother",
    "ball_kernel",
    "centered_kernel",
    "check_distances",
    "fourier_features",
    "least_gcv_strength",
    "median_distance",
    "standardize",
    "whiten",
    "whitening",
]

# The ridge strength that predicts best leaves a bias of the size of the error; two biases with
# the same cause multiply to a spurious covariance. A tenth of it leaves next to none.
UNDERSMOOTHING = 0.1
# A residual with less variance than this share is rounding.
RESIDUAL_TOLERANCE = 1e-8
# A column with no more values than this gets an indicator for each in place of splines.
MAX_LEVELS = 10
# The cost grows with the square of the number of features; more hardly reduce the bias.
MAX_FOURIER = 300
# Less than this share of the largest eigenvalue is rounding.
EIGENVALUE_TOLERANCE = 1e-10
# Rows that the fit all but interpolates have residuals without information on the noise.
MAX_LEVERAGE = 0.5


def standardize(columns: np.ndarray) -> np.ndarray:
    """Return columns of zero mean and unit variance, without the constant ones."""
    # Squares of very large or small values would over- or underflow.
    largest = np.abs(columns).max(axis=0, initial=0.0)
    columns = columns / np.where(largest > 0, largest, 1.0)
    columns = columns - columns.mean(axis=0)
    scale = columns.std(axis=0)
    kept = scale > 1e-12
    return columns[:, kept] / scale[kept]


def whiten(columns: np.ndarray) -> np.ndarray:
    """Return the columns' linear combinations of unit variance that are uncorrelated."""
    columns = columns - columns.mean(axis=0)
    scale = columns.std(axis=0)
    columns = columns[:, scale > RESIDUAL_TOLERANCE] / scale[scale > RESIDUAL_TOLERANCE]
    if not columns.shape[1]:
        return columns
    covariance = columns.T @ columns / len(columns)
    # The ridge keeps columns that are linear in others from failing the factorization.
    ridge = RESIDUAL_TOLERANCE * np.eye(len(covariance))
    return solve_triangular(np.linalg.cholesky(covariance + ridge), columns.T, lower=True).T


def whitening(covariance: np.ndarray) -> np.ndarray:
    """Return the map of features to principal axes of unit variance, without those of none."""
    variances, axes = np.linalg.eigh(covariance)
    kept = variances > EIGENVALUE_TOLERANCE * variances.max(initial=0.0)
    return axes[:, kept] / np.sqrt(variances[kept])


def median_distance(columns: np.ndarray) -> float:
    """Return the median distance between the first 500 rows, 1 where it is zero.

    The usual width of a Gaussian kernel: it grows with the number of columns as distances
    do. Distances of 500 rows determine their median to about a percent.
    """
    distances = pdist(columns[:500])
    distances = distances[distances > 0]
    return float(np.median(distances)) if len(distances) else 1.0


def centered_kernel(columns: np.ndarray, width: float | None) -> np.ndarray:
    """Return the Gaussian kernel matrix, centered in feature space; no width is the median."""
    width = median_distance(columns) if width is None else width
    kernel = rbf_kernel(columns, gamma=1 / (2 * width**2))
    return KernelCenterer().fit_transform(kernel)


def check_distances(distances: np.ndarray, argument: str, n_samples: int) -> np.ndarray:
    """Return a matrix of distances, which must be symmetric and zero on its diagonal."""
    if distances.shape != (n_samples, n_samples):
        raise ValueError(
            f"metric='precomputed' needs {argument} with the distances of all {n_samples} samples, "
            f"got shape {distances.shape}."
        )
    tolerance = 1e-6 * np.abs(distances).max()  # distances of float32
    if (
        distances.min() < 0
        or np.abs(np.diag(distances)).max() > tolerance
        or np.abs(distances - distances.T).max() > tolerance
    ):
        raise ValueError(
            f"{argument} must be distances: at least 0, symmetric, and 0 on the diagonal."
        )
    return distances


def ball_kernel(distances: np.ndarray) -> np.ndarray:
    """Return the mean product of two samples' indicators of balls, centered in feature space.

    The balls are around each sample, with each sample on their border. Of the ball around i
    through j, k and l are both part if d(i, j) is at least d(i, k) and d(i, l): the number of
    such j is the lesser of those for k and for l.
    """
    n = len(distances)
    kernel = np.zeros((n, n))
    for row in distances:
        n_around = (n - np.searchsorted(np.sort(row), row)).astype(np.uint32)
        kernel += np.minimum.outer(n_around, n_around)
    return KernelCenterer().fit_transform(kernel / n**2)


def fourier_features(
    columns: np.ndarray,
    n_features: int,
    rng: np.random.Generator,
    *,
    speeds: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Return random Fourier features of the Gaussian kernel of median width [1]_.

    Parameters
    ----------
    columns : ndarray of shape (n_samples, n_columns)
        Standardized columns.
    n_features : int
        Number of features.
    rng : numpy.random.Generator
        Source of the frequencies and phases.
    speeds : float or ndarray of shape (n_features,), default=1.0
        Factors of the frequencies: 2 is a kernel of half the width.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features)
        Cosines.

    References
    ----------
    .. [1] A. Rahimi and B. Recht, "Random features for large-scale kernel machines",
       NIPS 2007.
    """
    frequencies = rng.normal(size=(columns.shape[1], n_features)) / median_distance(columns)
    phases = rng.uniform(0, 2 * np.pi, n_features)
    return np.cos(columns @ (frequencies * speeds) + phases)


def least_gcv_strength(
    eigenvalues: np.ndarray,
    squares: np.ndarray,
    grid: np.ndarray,
    *,
    n_outside: int = 0,
    outside: np.ndarray | float = 0.0,
) -> np.ndarray:
    r"""Return the ridge strengths of least generalized cross-validation error [1]_.

    The criterion is :math:`\|r\|^2 / \mathrm{tr}(I - H)^2` for the residuals r and the hat
    matrix H.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n_directions,)
        Eigenvalues of the Gram or kernel matrix of the regressors.
    squares : ndarray of shape (n_directions, n_targets)
        Squared inner products of the eigenvectors with the targets.
    grid : ndarray of shape (n_strengths,)
        Strengths to choose from.
    n_outside : int, default=0
        Degrees of freedom of the residuals outside all directions.
    outside : float or ndarray of shape (n_targets,), default=0.0
        Squared norm of the targets outside all directions.

    Returns
    -------
    strengths : ndarray of shape (n_targets,)
        Strength for each target.

    References
    ----------
    .. [1] G. H. Golub, M. Heath and G. Wahba, "Generalized cross-validation as a method
       for choosing a good ridge parameter", Technometrics 21, 1979.
    """
    # Ridge regression of strength s leaves s / (s + l) of the direction of eigenvalue l.
    left = grid / (eigenvalues[:, None] + grid)
    loss = outside + (left**2).T @ squares
    freedom = n_outside + left.sum(axis=0)
    return grid[(loss / np.maximum(freedom, 1.0)[:, None] ** 2).argmin(axis=0)]


class RidgeSmoother:
    """Linear smoother on ``z`` for any number of columns at once.

    Ordinary least squares on an additive part (``z``, cubic splines of each column,
    indicators of columns with few values) plus ridge regression on random Fourier
    features, whose strength is a tenth of the one of least generalized cross-validation
    error for the column. The additive part is not shrunk: a bias that the residuals of both
    sides share makes a test of their covariance reject.

    Parameters
    ----------
    z : ndarray of shape (n_samples, n_columns)
        Standardized columns; there may be none.
    rng : numpy.random.Generator
        For the Fourier features.
    """

    def __init__(self, z: np.ndarray, rng: np.random.Generator) -> None:
        additive, penalized = _features(z, rng)
        self.basis = _orthonormal(additive)[0]
        left = penalized - self.basis @ (self.basis.T @ penalized)
        self.fourier, self.eigenvalues = _orthonormal(left)

    def residuals(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the residuals of the columns, and the part of each direction in them.

        Parameters
        ----------
        targets : ndarray of shape (n_samples, n_targets)
            Columns.

        Returns
        -------
        residuals : ndarray of shape (n_samples, n_targets)
            In-sample residuals, divided by the square root of one minus the leverage,
            so that homoscedastic noise stays so; zero where the fit interpolates.
        kept : ndarray of shape (n_directions, n_targets)
            Part of each Fourier direction that the ridge regression leaves.
        """
        n = len(targets)
        residuals = targets - self.basis @ (self.basis.T @ targets)
        if not len(self.eigenvalues):
            return self._studentize(residuals, np.empty((0, targets.shape[1])))
        scores = self.fourier.T @ residuals
        strength = UNDERSMOOTHING * least_gcv_strength(
            self.eigenvalues,
            scores**2,
            self.eigenvalues.max() * np.logspace(-9, 2, 45),
            n_outside=n - self.basis.shape[1] - len(self.eigenvalues),
            outside=(residuals**2).sum(axis=0) - (scores**2).sum(axis=0),
        )
        kept = strength / (self.eigenvalues[:, None] + strength)
        return self._studentize(residuals - self.fourier @ ((1 - kept) * scores), kept)

    def _studentize(self, residuals: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        variance = self._residual_variance(kept)
        # Divisors below the threshold are not used; 0.1 keeps them from being zero.
        scaled = residuals / np.sqrt(np.maximum(variance, 0.1))
        return np.where(variance > 1 - MAX_LEVERAGE, scaled, 0), kept

    def _residual_variance(self, kept: np.ndarray) -> np.ndarray:
        """Return the variance of each residual where the noise has variance one.

        It is the diagonal of (I - H)(I - H)', with H the projection on the additive part plus
        1 - kept of each Fourier direction.
        """
        return 1 - (self.basis**2).sum(axis=1)[:, None] - self.fourier**2 @ (1 - kept**2)

    def deflation(self, kept_x: np.ndarray, kept_y: np.ndarray) -> float:
        """Return the ratio of the variances of products of residuals and of their sum.

        Residuals have fewer degrees of freedom than samples: under independence the sum
        of their products has a larger variance than products of independent samples.
        """
        square_x, square_y = ((kept**2).mean(axis=1) for kept in (kept_x, kept_y))
        n_outside = len(self.basis) - self.basis.shape[1] - len(self.eigenvalues)
        of_sum = n_outside + square_x @ square_y
        variances = [
            self._residual_variance(np.sqrt(square)[:, None])[:, 0]
            for square in (square_x, square_y)
        ]
        return float(variances[0] @ variances[1] / of_sum)


def _features(z: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns to regress on without, and with, a ridge penalty."""
    n, d = z.shape
    constant = np.ones((n, 1))
    if not d:
        return constant, np.empty((n, 0))
    n_fourier = min(MAX_FOURIER, n // 4)
    # Two widths in turn, the median distance and half of it.
    fourier = fourier_features(z, n_fourier, rng, speeds=1 + np.arange(n_fourier) % 2)
    if d > n // 10:
        # Too many columns to spend a degree of freedom on each.
        return constant, np.hstack([z, fourier])
    # As many as halve the bias faster than they add to the error.
    n_knots = min(round(n ** (1 / 3)), n // (10 * d))
    return np.hstack([constant, z, *(_curve(column, n_knots) for column in z.T)]), fourier


def _curve(column: np.ndarray, n_knots: int) -> np.ndarray:
    """Return functions of one column, beyond the column itself."""
    levels = np.unique(column)
    if len(levels) <= MAX_LEVELS:
        return (column[:, None] == levels[1:-1]).astype(float)
    if n_knots < 2:
        return np.empty((len(column), 0))
    knots = np.unique(np.quantile(column, np.linspace(0, 1, n_knots)))
    splines = SplineTransformer(knots=knots[:, None], extrapolation="linear", include_bias=False)
    return splines.fit_transform(column[:, None])


def _orthonormal(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis of the columns, and the eigenvalues of its directions."""
    eigenvalues, vectors = np.linalg.eigh(columns.T @ columns)
    kept = eigenvalues > EIGENVALUE_TOLERANCE * max(eigenvalues.max(initial=0.0), len(columns))
    eigenvalues = eigenvalues[kept]
    return columns @ (vectors[:, kept] / np.sqrt(eigenvalues)), eigenvalues
