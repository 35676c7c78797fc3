"""Laws of the metrics: bounds, symmetry, and what does not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skspecialist.metrics import (
    match_columns,
    mean_correlation_coefficient,
    structure_scores,
    support_scores,
)

few = settings(max_examples=12, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)
exponents = st.integers(-8, 8)

structures = st.integers(1, 5).flatmap(
    lambda n: st.integers(1, 4).flatmap(
        lambda m: st.tuples(
            *[st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=n, max_size=n)] * 2
        )
    )
)


@few
@given(structures, seeds)
def test_scores_of_structures(pair, seed):
    true, found = map(np.array, pair)
    scores = structure_scores(true, found)
    assert -1 <= scores.mcc <= 1
    assert all(
        0 <= scores[name] <= 1 for name in ("false_discovery_proportion", "recall", "accuracy")
    )
    assert scores.mcc == pytest.approx(structure_scores(found, true).mcc)
    assert structure_scores(true, true).accuracy == 1
    assert structure_scores(true, found, match=True).accuracy >= scores.accuracy
    order = np.random.default_rng(seed).permutation(true.shape[1])
    assert structure_scores(true, true[:, order], match=True).accuracy == 1
    assert_array_equal(match_columns(true, true[:, order]), true)
    both = structure_scores(true[:, order], found[:, order])
    assert both.mcc == pytest.approx(scores.mcc)


@few
@given(structures)
def test_scores_of_supports(pair):
    true, found = map(np.array, pair)
    one, other = support_scores(true, found), support_scores(found, true)
    assert all(0 <= value <= 1 for value in one.values())
    assert one.f1 == pytest.approx(other.f1)
    assert support_scores(true, found, match=True).f1 >= one.f1 - 1e-12
    assert support_scores(true, true).f1 == 1
    assert support_scores(7.5 * true, -1 * found) == one


@few
@given(seed=seeds, order=st.permutations(range(3)), scale=exponents, spearman=st.booleans())
def test_matched_correlations(seed, order, scale, spearman):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(30, 3))
    learned = true + rng.normal(size=(30, 3))
    method = "spearman" if spearman else "pearson"
    scores = mean_correlation_coefficient(true, learned, method=method)
    assert 0 <= scores.score <= 1 + 1e-12
    signs = rng.choice([-1.0, 1.0], 3)
    changed = 10.0**scale * signs * learned[:, order]
    moved = mean_correlation_coefficient(true, changed, method=method)
    assert moved.score == pytest.approx(scores.score)
    assert_array_equal(np.array(order)[moved.assignment], scores.assignment)
    backwards = mean_correlation_coefficient(learned, true, method=method)
    assert backwards.score == pytest.approx(scores.score)
