"""Structure scores against their definitions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skspecialist.metrics import structure_scores


def test_perfect_and_opposite():
    true = np.array([[1, 0], [0, 1], [1, 0]], dtype=bool)
    perfect, opposite = structure_scores(true, true), structure_scores(true, ~true)
    assert (perfect.mcc, perfect.recall, perfect.false_discovery_proportion) == (1.0, 1.0, 0.0)
    assert (opposite.mcc, opposite.recall, opposite.false_discovery_proportion) == (-1.0, 0.0, 1.0)


def test_mcc_is_the_correlation_of_the_cells():
    true, found = np.random.default_rng(0).uniform(size=(2, 8, 5)) < 0.4
    expected = np.corrcoef(true.ravel(), found.ravel())[0, 1]
    assert_allclose(structure_scores(true, found).mcc, expected)


def test_nothing_found_has_no_false_discovery():
    scores = structure_scores(np.ones((2, 2)), np.zeros((2, 2)))
    assert (scores.false_discovery_proportion, scores.recall, scores.mcc) == (0.0, 0.0, 0.0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="same shape"):
        structure_scores(np.ones((2, 2)), np.ones((2, 3)))


def test_matching_undoes_a_permutation():
    rng = np.random.default_rng(1)
    true = rng.uniform(size=(10, 5)) < 0.4
    assert structure_scores(true, true[:, rng.permutation(5)], match=True).mcc == 1.0


@pytest.mark.parametrize(("n_true", "n_found"), [(2, 3), (3, 2), (2, 0), (0, 2)])
def test_tasks_without_a_match_are_compared_with_empty_ones(n_true, n_found):
    tasks = np.eye(6, 3, dtype=bool)
    scores = structure_scores(tasks[:, :n_true], tasks[:, :n_found], match=True)
    width, common = max(n_true, n_found), min(n_true, n_found)
    assert_allclose(scores.accuracy, 1 - (width - common) / (6 * width))


def test_matching_needs_the_same_segments():
    with pytest.raises(ValueError, match="same shape"):
        structure_scores(np.ones((2, 2)), np.ones((3, 2)), match=True)
