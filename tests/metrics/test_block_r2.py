"""Block R2 and the specialization score against known answers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist.metrics import block_r2, specialization_score


def sources_with_floor(n_samples):
    """Return three sources, the last one half determined by the first: its floor is 0.5."""
    sources = np.random.RandomState(0).standard_normal((n_samples, 3))
    sources[:, 2] = (sources[:, 0] + sources[:, 2]) / np.sqrt(2)
    return sources, np.array([True, True, False])


@pytest.mark.parametrize("probe", ["kernel", "mlp"])
def test_an_invertible_map_of_a_block_scores_one_and_the_rest_zero(probe):
    sources = np.random.RandomState(0).standard_normal((500, 4))
    a, b = sources[:, 0], sources[:, 1]
    latents = np.column_stack([a + np.tanh(b), b - 0.3 * a])
    r2 = block_r2(latents, sources, probe=probe)
    assert r2[:2].min() > 0.95
    assert np.abs(r2[2:]).max() < 0.1


def test_units_do_not_matter():
    rng = np.random.RandomState(0)
    latents, sources = rng.standard_normal((2, 100, 2))
    sources += latents
    expected = block_r2(latents, sources)
    assert_allclose(block_r2(100 * latents + 5, 0.01 * sources - 3), expected, atol=1e-6)


@pytest.mark.slow
def test_floor_and_ceiling_are_the_same_reading_of_other_inputs():
    sources, relevant = sources_with_floor(200)
    nothing, best = sources[:, :0], sources[:, relevant]
    with_floor = block_r2(nothing, sources, relevant=relevant)
    with_ceiling = block_r2(nothing, sources, X=best)
    expected = block_r2(best, sources)
    assert_array_equal(with_floor.floor, expected)
    assert_array_equal(with_ceiling.ceiling, expected)
    assert with_floor.r2.tolist() == [0, 0, 0]
    assert with_floor.ceiling is None
    assert with_ceiling.floor is None
    # The standard error of a squared correlation of 0.5 in 200 samples is 0.05.
    assert_allclose(expected, [1, 1, 0.5], atol=3 * 0.05)


@pytest.mark.slow
def test_the_strongest_probe_is_the_better_for_each_source():
    sources, _ = sources_with_floor(60)
    both = [block_r2(sources[:, 1:], sources, probe=probe) for probe in ("kernel", "mlp")]
    assert_array_equal(block_r2(sources[:, 1:], sources, probe="strongest"), np.maximum(*both))


def test_no_latents_and_one_source():
    sources = np.random.RandomState(0).standard_normal(50)
    assert block_r2(np.empty((50, 0)), sources).tolist() == [0.0]
    assert block_r2(sources[:, None], sources).shape == (1,)


def test_wrong_arrays_say_so():
    with pytest.raises(ValueError, match="inconsistent"):
        block_r2(np.ones((30, 1)), np.ones(31))
    with pytest.raises(ValueError, match="inconsistent"):
        block_r2(np.ones((30, 1)), np.ones(30), X=np.ones((31, 1)))
    with pytest.raises(ValueError, match="NaN"):
        block_r2(np.full((30, 1), np.nan), np.ones(30))
    with pytest.raises(ValueError, match="minimum of 20"):
        block_r2(np.ones((10, 1)), np.ones(10))
    with pytest.raises(ValueError, match=r"sources \[0\] are constant"):
        block_r2(np.ones((30, 1)), np.ones(30))
    sources = np.random.RandomState(0).standard_normal((20, 2))
    for relevant in ([True], [0, 1], [False, False]):
        with pytest.raises(ValueError, match="relevant must be a bool for each of the 2"):
            block_r2(sources, sources, relevant=relevant)


@pytest.mark.parametrize("probe", ["kernel", "mlp"])
def test_the_fewest_rows_that_are_accepted_are_enough(probe):
    sources = np.random.RandomState(0).standard_normal((20, 1))
    assert np.isfinite(block_r2(sources, sources, probe=probe)).all()


@pytest.mark.slow
def test_the_specialization_score_follows_its_definition():
    sources, relevant = sources_with_floor(60)
    latents = sources[:, [0, 2]]
    read = block_r2(latents, sources, relevant=relevant)
    best = sources[:, relevant]
    scores = specialization_score(sources, latents, relevant, X=best, probe="kernel")
    held = np.maximum(read.r2, 0)
    assert scores.leakage == pytest.approx(held[2] - max(read.floor[2], 0))
    assert scores.relevant == pytest.approx((held[0] + held[1]) / 2)
    assert scores.score == pytest.approx(scores.relevant - scores.leakage)
    assert (scores.irrelevant, scores.floor) == pytest.approx((held[2], read.floor[2]))
    assert scores.ceiling == pytest.approx(read.floor[:2].mean())


@pytest.mark.slow
def test_the_specialization_score_of_typical_answers():
    sources, relevant = sources_with_floor(200)

    def score(latents):
        return specialization_score(sources, latents, relevant, probe="kernel").score

    unrelated = np.random.RandomState(1).standard_normal((200, 2))
    assert score(sources[:, :2] @ [[-1, 2], [1, 1]]) > 0.95
    assert abs(score(unrelated)) < 0.05
    # What leaks of the last source is the half that is not its floor, and what it holds of
    # the first is half: squared correlations with a standard error of 0.05.
    assert_allclose(score(sources), 1 - 0.5, atol=3 * 0.05)
    assert_allclose(score(sources[:, 2:]), 0.5 / 2 - 0.5, atol=3 * 0.05)


@pytest.mark.parametrize(
    ("relevant", "problem"), [([True, True], "not mark all"), ([False, False], "at least one")]
)
def test_the_specialization_score_compares_two_blocks(relevant, problem):
    true = np.random.RandomState(0).standard_normal((20, 2))
    with pytest.raises(ValueError, match=f"relevant .* {problem}"):
        specialization_score(true, true[:, :1], relevant)
