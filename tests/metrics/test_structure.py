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
