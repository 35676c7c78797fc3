"""Block R2 and support scores against known answers."""

import numpy as np
import pytest

from skspecialist.metrics import block_r2, support_scores


@pytest.mark.parametrize("probe", ["kernel", "mlp"])
def test_an_invertible_map_of_a_block_scores_one_and_the_rest_zero(probe):
    sources = np.random.RandomState(0).standard_normal((1000, 4))
    a, b = sources[:, 0], sources[:, 1]
    latents = np.column_stack([a + np.tanh(b), b - 0.3 * a])
    r2 = block_r2(latents, sources, probe=probe)
    assert r2[:2].min() > 0.95
    assert np.abs(r2[2:]).max() < 0.1


def test_units_do_not_matter():
    rng = np.random.RandomState(0)
    latents, sources = rng.standard_normal((2, 200, 2))
    sources += latents
    expected = block_r2(latents, sources)
    np.testing.assert_allclose(block_r2(100 * latents + 5, 0.01 * sources - 3), expected, atol=1e-6)


def test_no_latents_and_one_source():
    sources = np.random.RandomState(0).standard_normal(50)
    assert block_r2(np.empty((50, 0)), sources).tolist() == [0.0]
    assert block_r2(sources[:, None], sources).shape == (1,)


def test_wrong_arrays_say_so():
    with pytest.raises(ValueError, match="inconsistent"):
        block_r2(np.ones((30, 1)), np.ones(31))
    with pytest.raises(ValueError, match="NaN"):
        block_r2(np.full((30, 1), np.nan), np.ones(30))
    with pytest.raises(ValueError, match="minimum of 20"):
        block_r2(np.ones((10, 1)), np.ones(10))


def test_support_scores():
    scores = support_scores([True, True, False, False], [0.3, 0.0, 0.2, 0.0])
    assert scores == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert support_scores([0, 0], [0, 0]) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert support_scores([1, 0], [0, 0])["f1"] == 0.0
    with pytest.raises(ValueError, match="same shape"):
        support_scores([1], [1, 0])
