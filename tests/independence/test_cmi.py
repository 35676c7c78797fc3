"""Neural conditional mutual information: estimates, size, power, determinism."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone

from skspecialist.independence import CMI, BaseIndependenceTest, ResultFlag
from skspecialist.independence._cmi import _draw_blocks, _totals
from skspecialist.independence._critic import Candidates, sequential_scores

QUICK = {"n_permutations": 49, "max_epochs": 5, "hidden_units": 16}


def uniformity(pvalues, n_permutations):
    """Return the p-value of uniform ranks, by Kolmogorov and Smirnov, ties broken at random."""
    steps = np.random.default_rng(0).random(len(pvalues)) / (n_permutations + 1)
    return stats.kstest(np.array(pvalues) - steps, "uniform").pvalue


def test_the_short_name_loads_it():
    assert isinstance(BaseIndependenceTest.resolve("cmi", argument="test"), CMI)


def test_estimate_is_below_the_information_of_gaussians():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 1000, 1))
    result = CMI(n_permutations=99).test(x, x + 0.75 * noise)
    information = 0.5 * np.log1p(1 / 0.75**2)
    assert 0.5 * information < result.statistic < information + 0.1
    assert_allclose(result.effect_size, np.sqrt(1 - np.exp(-2 * result.statistic)))
    assert result.pvalue == 0.01


def test_dependence_on_a_sphere_is_found():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 400, 2))
    sphere = (x**2).sum(axis=1) + (y**2).sum(axis=1)
    assert CMI(**QUICK).test(x, y, sphere).pvalue < 0.05


@pytest.mark.slow
def test_pvalues_are_uniform_where_x_and_y_share_a_cause():
    rng = np.random.default_rng(2)
    pvalues = []
    for _ in range(60):
        z = rng.normal(size=(120, 1))
        x, y = np.sin(2 * z) + 0.5 * rng.normal(size=(2, 120, 1))
        pvalues.append(CMI(**QUICK).test(x, y, z).pvalue)
    assert uniformity(pvalues, 49) > 0.005
    low, high = stats.binom.ppf([0.0005, 0.9995], 60, 0.1)
    assert low <= np.sum(np.array(pvalues) <= 0.1) <= high


def test_the_total_of_any_scores_ranks_uniformly_among_rotations_of_exchangeable_ones():
    rng = np.random.default_rng(6)
    totals = np.array([_totals(rng.standard_exponential((40, 8)), 19, rng) for _ in range(400)])
    ranks = (totals[:, 1:] >= totals[:, :1]).sum(axis=1)
    assert stats.chisquare(np.bincount(ranks, minlength=20)).pvalue > 0.001


def test_blocks_share_no_sample_and_groups_are_near_in_z():
    z = np.random.default_rng(7).normal(size=(403, 3))
    blocks = _draw_blocks(z, 10, np.random.default_rng(8))
    rows = np.concatenate(blocks)
    assert rows.shape == (40, 10)
    assert len(np.unique(rows)) == rows.size
    assert np.all(z[rows].var(axis=1).mean(axis=0) < 0.6 * z.var(axis=0))


def test_scores_of_a_block_do_not_depend_on_later_ones():
    rng = np.random.default_rng(9)
    settings = {"n_hidden": 8, "max_epochs": 2, "learning_rate": 1e-2, "device": "cpu", "seed": 0}
    shapes = (20, 5, 2), (20, 1), (20, 3)
    blocks = [Candidates.from_arrays(*(rng.normal(size=s) for s in shapes)) for _ in range(3)]
    scores = sequential_scores(blocks, **settings)
    other = sequential_scores([*blocks[:2], blocks[0]], **settings)
    assert_array_equal(scores[0], other[0])
    assert np.any(scores[1] != other[1])


def test_the_same_seed_gives_the_same_bits_and_torch_is_left_alone():
    x, y, z = np.random.default_rng(3).normal(size=(3, 80))
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    test = CMI(n_permutations=19, max_epochs=2)
    first = test.test(x, y, z)
    assert_array_equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads
    assert_array_equal(first.statistic, clone(test).test(x, y, z).statistic)


@pytest.mark.slow
def test_workers_change_no_bit():
    data = np.random.default_rng(3).normal(size=(80, 4))
    test = CMI(n_permutations=19, max_epochs=2)
    alone = test.test_many(data, [0, 1], [2, 3], [[1], [2]])
    shared = clone(test).set_params(n_jobs=2).test_many(data, [0, 1], [2, 3], [[1], [2]])
    assert_array_equal(alone.statistic, shared.statistic)
    assert_array_equal(alone.pvalue, shared.pvalue)


def test_edge_cases():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 70))
    assert CMI(**QUICK).test(np.ones(70), y).flag == ResultFlag.DEGENERATE
    assert CMI(**QUICK).test(x[:50], y[:50]).flag == ResultFlag.TOO_FEW_SAMPLES
    with pytest.raises(ValueError, match="Input x contains"):
        CMI(**QUICK).test(np.full(70, np.nan), y)
    with pytest.raises(ValueError, match="'n_permutations' parameter of CMI"):
        CMI(n_permutations=0).test(x, y)
    with pytest.raises(ValueError, match="'group_size' parameter of CMI"):
        CMI(group_size=1).test(x, y)


@pytest.mark.slow
def test_size_and_power_at_500_samples():
    rng = np.random.default_rng(5)
    null, alternative = [], []
    for _ in range(120):
        z = rng.normal(size=(500, 3))
        x, y = z[:, :2] + rng.normal(size=(2, 500, 2))
        null.append(CMI().test(x, y, z).pvalue)
    for _ in range(40):
        x, y, g = rng.normal(size=(3, 500, 2))
        sphere = (x**2 + y**2).sum(axis=1, keepdims=True) + g[:, :1]
        alternative.append(CMI().test(x, y, sphere).pvalue <= 0.05)
    assert uniformity(null, 199) > 0.005
    low, high = stats.binom.ppf([0.0005, 0.9995], 120, 0.05)
    assert low <= np.sum(np.array(null) <= 0.05) <= high
    assert np.mean(alternative) > 0.9
