"""What z says of other columns: additive splines and random Fourier features."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.preprocessing import SplineTransformer

__all__ = ["RidgeSmoother", "median_distance"]

# A column with no more values than this gets an indicator for each in place of splines.
MAX_LEVELS = 10
MAX_FOURIER = 300
# Less than this share of the largest eigenvalue is rounding.
EIGENVALUE_TOLERANCE = 1e-10
# The strength that predicts best leaves a bias of the size of the error; two biases with
# the same cause multiply to a spurious covariance. A tenth of it leaves next to none.
UNDERSMOOTHING = 0.1
# Rows that the fit all but interpolates tell nothing of the noise.
MAX_LEVERAGE = 0.5


class RidgeSmoother:
    """Linear smoother on ``z`` for any number of columns at once.

    Ordinary least squares on an additive part (``z``, cubic splines of each column,
    indicators of columns with few values) plus ridge regression on random Fourier
    features, whose strength is a tenth of what generalized cross-validation finds best
    for the column. The additive part is not shrunk: a bias that the residuals of both
    sides share is what makes a test of their covariance reject.

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
        """Return what is left of the columns, and what is left of each direction.

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
            Share of each Fourier direction that the ridge regression leaves.
        """
        n = len(targets)
        residuals = targets - self.basis @ (self.basis.T @ targets)
        if not len(self.eigenvalues):
            return self._studentize(residuals, np.empty((0, targets.shape[1])))
        scores = self.fourier.T @ residuals
        grid = self.eigenvalues.max() * np.logspace(-9, 2, 45)
        left = grid / (self.eigenvalues[:, None] + grid)
        outside = (residuals**2).sum(axis=0) - (scores**2).sum(axis=0)
        loss = outside + (left**2).T @ scores**2
        freedom = n - self.basis.shape[1] - (1 - left).sum(axis=0)
        best = (loss / np.maximum(freedom, 1.0)[:, None] ** 2).argmin(axis=0)
        strength = UNDERSMOOTHING * grid[best]
        kept = strength / (self.eigenvalues[:, None] + strength)
        return self._studentize(residuals - self.fourier @ ((1 - kept) * scores), kept)

    def _studentize(self, residuals: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = self._own_share(kept)
        return np.where(own > 1 - MAX_LEVERAGE, residuals / np.sqrt(np.maximum(own, 0.1)), 0), kept

    def _own_share(self, kept: np.ndarray) -> np.ndarray:
        """Return the variance of each residual where the noise has variance one."""
        return 1 - (self.basis**2).sum(axis=1)[:, None] - self.fourier**2 @ (1 - kept**2)

    def deflation(self, kept_x: np.ndarray, kept_y: np.ndarray) -> float:
        """Return the variance that products of residuals show over that of their sum.

        Residuals have fewer degrees of freedom than samples: under independence the sum
        of their products varies more than the products themselves would say.
        """
        square_x, square_y = ((kept**2).mean(axis=1) for kept in (kept_x, kept_y))
        n_outside = len(self.basis) - self.basis.shape[1] - len(self.eigenvalues)
        of_sum = n_outside + square_x @ square_y
        own = [self._own_share(np.sqrt(square)[:, None])[:, 0] for square in (square_x, square_y)]
        return float(own[0] @ own[1] / of_sum)


def _features(z: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns to regress on without, and with, a ridge penalty."""
    n, d = z.shape
    constant = np.ones((n, 1))
    if not d:
        return constant, np.empty((n, 0))
    n_fourier = min(MAX_FOURIER, n // 4)
    # Two widths: the median distance, and half of it.
    frequencies = rng.normal(size=(d, n_fourier)) * (1 + np.arange(n_fourier) % 2)
    phases = rng.uniform(0, 2 * np.pi, n_fourier)
    fourier = np.cos(z @ frequencies / median_distance(z) + phases)
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


def median_distance(z: np.ndarray) -> float:
    """Return the median distance between the first 500 rows; 1 where it is zero."""
    distances = pdist(z[:500])
    distances = distances[distances > 0]
    return float(np.median(distances)) if len(distances) else 1.0
