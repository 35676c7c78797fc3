"""Sufficient dimension reduction: agreement with published code, recovery, responses, refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import eigh, sqrtm, subspace_angles
from scipy.spatial.distance import cdist

from skspecialist import SufficientReduction
from skspecialist.exceptions import SpecialistWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 5)) @ (np.eye(5) + 0.3)
NOISE = RNG.normal(size=150)


def angle(reduction, directions):
    """Return the largest angle between the subspaces, in radians."""
    return subspace_angles(reduction.components_.T, np.transpose(directions)).max()


def test_wire_is_that_of_the_published_function():
    # github.com/SDR-VariableSelection/SparseFrechet, function wire: -X' D X / n^2, and the
    # eigenvectors in the metric of the covariance.
    y = np.column_stack([X[:, 0], X[:, 1] + NOISE])
    centered = X - X.mean(axis=0)
    candidate = -centered.T @ cdist(y, y) @ centered / len(X) ** 2
    values, vectors = eigh(candidate, np.cov(X.T, bias=True))
    reduction = SufficientReduction(2, method="wire", metric="euclidean").fit(X, y)
    assert_allclose(np.abs(reduction.components_), np.abs(vectors.T[::-1][:2]), atol=1e-8)
    ratios = reduction.eigenvalues_ / reduction.eigenvalues_[0]
    assert_allclose(ratios, np.maximum(values[::-1], 0) / values[-1], atol=1e-8)


def test_directional_regression_is_that_of_the_published_function():
    # github.com/bideliunian/DR4FrechetReg, functions dr and fdr, with max(round(n / 6p), 3) slices
    # of distances, here of their ranks.
    y = X[:, 0] ** 2 + 0.1 * NOISE
    root = np.linalg.inv(sqrtm(np.cov(X.T, bias=True)).real)
    Z, candidate = (X - X.mean(axis=0)) @ root, np.zeros((5, 5))
    for center in y:
        first, second = np.zeros((2, 5, 5))
        for rows in np.split(np.argsort(np.abs(y - center), kind="stable"), 5):
            mean, variance = Z[rows].mean(axis=0), np.cov(Z[rows].T, bias=True)
            moment = variance + np.outer(mean, mean)
            first += moment @ moment / 5
            second += np.outer(mean, mean) / 5
        candidate += 2 * first + 2 * second @ second + 2 * np.trace(second) * second
    values, vectors = np.linalg.eigh(candidate / len(y) - 2 * np.eye(5))
    reduction = SufficientReduction(1).fit(X, y)
    assert_allclose(reduction.eigenvalues_, np.maximum(values[::-1], 0), atol=1e-8)
    assert_allclose(np.abs(reduction.components_[0]), np.abs(root @ vectors[:, -1]), atol=1e-8)


GRID = np.linspace(-2, 2, 20)
QUANTILES = X[:, :1] + np.abs(2 + X[:, 1:2]) * GRID
RESPONSES = {
    "amounts": (X[:, :2] + 0.3 * NOISE[:, None], {}),
    "labels": (np.array(list("abcd"))[2 * (X[:, 0] > 0) + (X[:, 1] > 0)], {}),
    "curves": (QUANTILES, {"metric": "manhattan"}),
    "distances": (cdist(QUANTILES, QUANTILES), {"metric": "precomputed"}),
}


@pytest.mark.parametrize("method", ["directional", "wire", "cumulative"])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] if kind in ("amounts", "distances") else [])
        for kind in RESPONSES
    ],
)
def test_the_subspace_and_its_dimension_are_found(method, kind):
    y, options = RESPONSES[kind]
    # Labels show less: the second direction is sometimes not counted.
    n_components = 2 if kind == "labels" else None
    reduction = SufficientReduction(n_components, method=method, random_state=0, **options).fit(
        X, y
    )
    reduced = reduction.transform(X)
    assert reduction.n_components_ == 2
    assert angle(reduction, np.eye(5)[:2]) < 0.5
    assert_allclose(np.cov(reduced.T, bias=True), np.eye(2), atol=1e-8)


def test_affine_maps_of_the_features_change_nothing():
    y = X[:, 0] ** 2 + X[:, 1]
    map_ = RNG.normal(size=(5, 5))
    one = SufficientReduction(2).fit(X, y).transform(X)
    other = SufficientReduction(2).fit(X @ map_ + 1, y).transform(X @ map_ + 1)
    assert_allclose(np.abs(one), np.abs(other), atol=1e-6)


def test_wrong_responses_are_refused():
    for y, match in ((np.zeros(150), "differ"), (np.ones((150, 2)), "differ"), (None, "requires")):
        with pytest.raises(ValueError, match=match):
            SufficientReduction().fit(X, y)
    with pytest.raises(ValueError, match="distances"):
        SufficientReduction(metric="precomputed").fit(X, NOISE)
    with pytest.raises(ValueError, match="constant"):
        SufficientReduction().fit(np.ones((150, 2)), NOISE)
    with pytest.warns(SpecialistWarning, match="5 directions"):
        assert SufficientReduction(9).fit(X, NOISE).n_components_ == 5
