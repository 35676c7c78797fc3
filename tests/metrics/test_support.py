"""Support scores against their definitions."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from skspecialist.metrics import support_scores


def test_support_scores():
    scores = support_scores([True, True, False, False], [0.3, 0.0, 0.2, 0.0])
    assert scores == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert support_scores([0, 0], [0, 0]) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert support_scores([1, 0], [0, 0]).f1 == 0.0


def test_they_are_those_of_the_entries_as_classes():
    true, found = np.random.RandomState(0).uniform(size=(2, 6, 7)) < 0.4
    scores = support_scores(true, found)
    for name, reference in (("precision", precision_score), ("recall", recall_score)):
        assert scores[name] == pytest.approx(reference(true.ravel(), found.ravel()))
    assert scores.f1 == pytest.approx(f1_score(true.ravel(), found.ravel()))


def test_matching_undoes_a_permutation_and_finds_the_best_f1():
    rng = np.random.RandomState(0)
    true, found = rng.uniform(size=(2, 5, 4)) < 0.5
    assert support_scores(true, true[:, [2, 0, 3, 1]], match=True).f1 == 1
    best = max(support_scores(true, found, match=rng.permutation(4)).f1 for _ in range(300))
    assert support_scores(true, found, match=True).f1 == best


def test_an_assignment_says_what_is_compared():
    true = np.array([[1, 0, 0], [0, 1, 1]])
    found = np.array([[0, 1, 1, 1], [1, 0, 0, 0]])
    # The first and second found column are wanted; the other two have no counterpart.
    scores = support_scores(true, found, match=[1, 0, -1])
    assert (scores.precision, scores.recall) == (2 / 4, 2 / 3)
    assert support_scores(true, found[:, 1::-1], match=True).recall == 2 / 3


def test_wrong_shapes_and_assignments_say_so():
    with pytest.raises(ValueError, match="same shape"):
        support_scores([1], [1, 0])
    with pytest.raises(ValueError, match="same shape"):
        support_scores(np.ones((2, 3)), np.ones((3, 3)), match=True)
    for match in ([0], [0, 0], [0, 2], [0, -2]):
        with pytest.raises(ValueError, match="match must name"):
            support_scores(np.ones((3, 2)), np.ones((3, 2)), match=match)
