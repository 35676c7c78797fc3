"""Relative representations, and maps between representations."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import orthogonal_procrustes
from sklearn.datasets import make_blobs
from sklearn.metrics.pairwise import cosine_similarity

from skspecialist.exceptions import SpecialistWarning
from skspecialist.generalist import RelativeRepresentation, SpaceAligner
from skspecialist.metrics import stitching_score

RNG = np.random.default_rng(0)
OLD = RNG.normal(size=(80, 4))
ROTATION, _ = np.linalg.qr(RNG.normal(size=(6, 6)))
# Another space of more dimensions: a rotation, a scale and a shift.
NEW = 3 * np.pad(OLD, [(0, 0), (0, 2)]) @ ROTATION + 1
DISTANCES = ["euclidean", "manhattan", "chebyshev"]


@pytest.mark.parametrize(
    ("metric", "other"),
    [("cosine", NEW - 1), ("euclidean", NEW), (DISTANCES, -2 * OLD[:, ::-1] + 1)],
)
def test_relative_representations_are_invariant(metric, other):
    first = RelativeRepresentation(20, metric=metric, random_state=0).fit(OLD)
    second = RelativeRepresentation(first.anchor_indices_, metric=metric).fit(other)
    assert_allclose(first.transform(OLD), second.transform(other), atol=1e-6)


def test_relative_representation_of_sequences_is_that_of_their_steps():
    relative = RelativeRepresentation(10, metric=["cosine", "euclidean"], random_state=0)
    states = relative.fit_transform(OLD.reshape(20, 4, 4))
    assert_array_equal(states.reshape(80, 20), relative.transform(OLD))
    assert_allclose(states[..., :10].reshape(80, 10), cosine_similarity(OLD, relative.anchors_))


def test_farthest_anchors_cover_the_clusters():
    X, y = make_blobs([95, 2, 2, 1], centers=20 * np.eye(4), random_state=0)
    farthest = RelativeRepresentation(4, selection="farthest", random_state=0).fit(X)
    assert set(y[farthest.anchor_indices_]) == {0, 1, 2, 3}


@pytest.mark.parametrize("anchors", [[80], [-1], [], [0.5], [[0]], ["a"]])
def test_wrong_anchors_are_refused(anchors):
    with pytest.raises(ValueError, match="anchors"):
        RelativeRepresentation(anchors).fit(OLD)
    with pytest.raises(ValueError, match="metric"):
        RelativeRepresentation(metric=["cosine", "l3"]).fit(OLD)
    with pytest.warns(SpecialistWarning, match="80 samples"):
        assert RelativeRepresentation(81).fit(OLD)._n_features_out == 80


@pytest.mark.parametrize("method", ["orthogonal", "affine", "lambda"])
def test_alignment_recovers_the_map_both_ways(method):
    up, down = SpaceAligner(method).fit(OLD[:40], NEW[:40]), SpaceAligner(method).fit(NEW, OLD)
    assert_allclose(up.transform(OLD), NEW, atol=1e-5)
    assert_allclose(down.transform(NEW), OLD, atol=1e-5)
    assert_allclose(up.inverse_transform(NEW), OLD, atol=1e-5)


def test_orthogonal_alignment_is_procrustes():
    other = RNG.normal(size=OLD.shape)
    aligner = SpaceAligner().fit(OLD, other)
    rotation, _ = orthogonal_procrustes(OLD - OLD.mean(axis=0), other - other.mean(axis=0))
    assert_allclose(aligner.rotation_, rotation)
    for scale in (0.99, 1.01):  # the scale is that of least squared error
        worse = (OLD - OLD.mean(axis=0)) @ (scale * aligner.coef_) + other.mean(axis=0)
        assert np.sum((worse - other) ** 2) > np.sum((aligner.transform(OLD) - other) ** 2)


def test_lambda_lies_between_a_rotation_and_an_affine_map():
    other = OLD @ (ROTATION[:4, :4] * [0.3, 0.5, 1, 2]) + 0.1 * RNG.normal(size=OLD.shape)
    errors, apart = [], []
    for bound in (0.0, 0.1, 0.3, 0.5, 9.0):
        aligner = SpaceAligner("lambda", max_deviation=bound).fit(OLD, other)
        errors.append(np.mean((aligner.transform(OLD) - other) ** 2))
        apart.append(np.linalg.norm(aligner.rotation_ @ aligner.rotation_.T - np.eye(4)) / 2)
    # The paper reports a deviation of 12.05 at lambda = 12: the bound is used up.
    assert_allclose(apart[:4], [0.0, 0.1, 0.3, 0.5], atol=0.05)
    assert (np.diff(errors) < 0).all()
    affine = SpaceAligner("affine").fit(OLD, other).transform(OLD)
    assert_allclose(errors[-1], np.mean((affine - other) ** 2), rtol=1e-2)
    with pytest.raises(ValueError, match="max_deviation=1"):
        SpaceAligner(max_deviation=1).fit(OLD, other)


AMOUNT = OLD[:, 0] + 0.1 * RNG.normal(size=80)
RELATIVE = RelativeRepresentation(40, metric="euclidean", random_state=0)


@pytest.mark.parametrize(
    ("y", "aligner"),
    [(AMOUNT, None), (AMOUNT > 0, SpaceAligner("affine")), (AMOUNT > 0, RELATIVE)],
)
def test_stitching_loses_nothing_by_a_rotation_and_everything_by_noise(y, aligner):
    scores = stitching_score(NEW, OLD, y, aligner=aligner)
    assert abs(scores.loss) < 0.02
    assert scores.own > 0.85
    assert stitching_score(RNG.normal(size=(80, 4)), OLD, y, aligner=aligner).score < 0.7


@pytest.mark.parametrize("method", ["orthogonal", "affine"])
def test_dead_columns_of_the_target_keep_their_mean(method):
    dead = np.c_[OLD, 1e-33 * RNG.normal(size=80)]
    with_dead = stitching_score(NEW, dead, AMOUNT, aligner=SpaceAligner(method))
    without = stitching_score(NEW, OLD, AMOUNT, aligner=SpaceAligner(method))
    assert_allclose(with_dead.score, without.score, rtol=1e-3)
