"""Metrics of a single representation or mask."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics.pairwise import rbf_kernel

from skspecialist.metrics import (
    diversity_score,
    intrinsic_dimension,
    mask_overlap,
    spectral_entropy,
)

RNG = np.random.default_rng(0)


def sphere(n_dimensions, n_samples=1000):
    points = RNG.normal(size=(n_samples, n_dimensions + 1))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_overlap_of_a_planted_mask():
    mask = [[1, 1, 0, 0, 2], [1, 1, 0, 0, 0], [1, 0, 0, -1, 0]]
    overlap = mask_overlap(mask)
    assert_array_equal(overlap.n_tasks, [3, 2, 0, 1, 1])
    assert_array_equal(overlap.counts, [1, 2, 1, 1])
    assert_array_equal(overlap.exclusive.sum(axis=1), [1, 0, 1])
    assert_array_equal(overlap.shared | overlap.unused, ~overlap.exclusive.any(axis=0))
    assert_allclose(overlap.jaccard, [[1, 2 / 3, 1 / 4], [2 / 3, 1, 1 / 3], [1 / 4, 1 / 3, 1]])
    assert_array_equal(mask_overlap(np.zeros((2, 3))).jaccard, np.ones((2, 2)))


def test_diversity_and_specialization_of_planted_families():
    # Six kinds of specialists with three members each: D = 1.79 and S = -0.01 in table 1 of the
    # paper, whose members choose another recipe now and then.
    specialists = np.repeat(np.eye(6), 3, axis=0)
    assert_allclose(list(diversity_score(5 * specialists).values()), [1.79, 0, 1.79], atol=0.01)
    blurred = [diversity_score(specialists + share) for share in (0, 0.01, 0.1, 1, 100)]
    assert_allclose([scores.diversity for scores in blurred], np.log(6))
    assert (np.diff([scores.specialization for scores in blurred]) < 0).all()
    assert_allclose(blurred[-1].specialization, -np.log(6), atol=1e-3)
    fewer = [diversity_score(np.eye(6)[np.arange(6) % kinds]) for kinds in range(1, 7)]
    assert (np.diff([scores.diversity for scores in fewer]) > 0).all()
    assert_allclose([scores.specialization for scores in fewer], 0)
    with pytest.raises(ValueError, match="row 1"):
        diversity_score([[1, 0], [0, 0]])


@pytest.mark.parametrize("method", ["two_nn", "mle"])
@pytest.mark.parametrize("n_dimensions", [1, 2, 5])
def test_dimension_of_spheres_whatever_the_embedding(method, n_dimensions):
    X = sphere(n_dimensions)
    found = intrinsic_dimension(X, method=method)
    assert_allclose(found, n_dimensions, rtol=0.1)
    rotation, _ = np.linalg.qr(RNG.normal(size=(20, 20)))
    embedded = 7 * np.pad(X, [(0, 0), (0, 19 - n_dimensions)]) @ rotation + 3
    again = np.vstack([embedded, embedded[:10]])  # copies count once
    assert_allclose(intrinsic_dimension(again, method=method), found, rtol=1e-6)


@pytest.mark.slow  # seconds to import it
@pytest.mark.parametrize("method", ["two_nn", "mle"])
def test_dimension_agrees_with_scikit_dimension(method):
    skdim = pytest.importorskip("skdim")
    for n_dimensions in (1, 3, 8):
        X = sphere(n_dimensions, 500)
        oracle = skdim.id.TwoNN() if method == "two_nn" else skdim.id.MLE()
        reference = oracle.fit(X).dimension_
        assert_allclose(intrinsic_dimension(X, method=method), reference, rtol=1e-6)


def test_dimension_needs_enough_neighbors():
    with pytest.raises(ValueError, match="X has 20 different samples"):
        intrinsic_dimension(sphere(2, 20), method="mle")
    with pytest.raises(ValueError, match="n_neighbors"):
        intrinsic_dimension(sphere(2, 20), n_neighbors=5)


@pytest.mark.parametrize("t", [1, 3])
def test_entropy_is_that_of_the_transition_matrix(t):
    X = RNG.normal(size=(40, 3))
    kernel = rbf_kernel(X, gamma=0.5)
    eigenvalues = np.abs(np.linalg.eigvals(kernel / kernel.sum(axis=1, keepdims=True))) ** t
    shares = eigenvalues / eigenvalues.sum()
    assert_allclose(spectral_entropy(X, sigma=1.0, t=t), -shares @ np.log2(shares), rtol=1e-6)


def test_entropy_grows_with_the_number_of_clusters():
    for n_bits in range(4):
        clusters = np.repeat(1e4 * np.eye(2**n_bits), 3, axis=0)
        assert_allclose(spectral_entropy(clusters), n_bits, atol=1e-9)
