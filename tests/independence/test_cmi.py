"""Neural conditional mutual information: estimates, size, power, determinism."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone

from skspecialist.independence import BaseIndependenceTest, ResultFlag
from skspecialist.independence.cmi import CMI

QUICK = {"n_permutations": 49, "max_epochs": 10, "hidden_units": 32}


def test_the_short_name_loads_it_without_torch():
    code = (
        "import sys; from skspecialist.independence import BaseIndependenceTest as B; "
        "assert 'skspecialist.independence.cmi' not in sys.modules; "
        "print(B.resolve('cmi', argument='test')); assert 'torch' not in sys.modules"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stdout.strip() == "CMI()", out.stderr
    assert isinstance(BaseIndependenceTest.resolve("cmi", argument="test"), CMI)


def test_estimate_is_below_the_information_of_gaussians():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 1000, 1))
    result = CMI(n_permutations=99, max_epochs=15).test(x, x + 0.75 * noise)
    information = 0.5 * np.log1p(1 / 0.75**2)
    assert 0.5 * information < result.statistic < information + 0.1
    assert_allclose(result.effect_size, np.sqrt(1 - np.exp(-2 * result.statistic)))
    assert result.pvalue == 0.01


def test_dependence_on_a_sphere_is_found():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 400, 2))
    sphere = (x**2).sum(axis=1) + (y**2).sum(axis=1)
    assert CMI(**QUICK).set_params(max_epochs=30).test(x, y, sphere).pvalue < 0.05


def test_a_shared_cause_is_no_dependence():
    rng = np.random.default_rng(2)
    pvalues = []
    for _ in range(12):
        z = rng.normal(size=(200, 1))
        x, y = np.sin(2 * z) + 0.5 * rng.normal(size=(2, 200, 1))
        pvalues.append(CMI(**QUICK).test(x, y, z).pvalue)
    assert np.sum(np.array(pvalues) <= 0.05) <= stats.binom.ppf(0.9995, 12, 0.05)


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
    with pytest.raises(ValueError, match="n_negatives must lie between"):
        CMI(n_permutations=5).test(x, y)


@pytest.mark.slow
def test_size_and_power_at_500_samples():
    rng = np.random.default_rng(5)
    null, alternative = [], []
    for _ in range(60):
        z = rng.normal(size=(500, 3))
        x, y = z[:, :2] + rng.normal(size=(2, 500, 2))
        null.append(CMI().test(x, y, z).pvalue <= 0.05)
        alternative.append(CMI().test(x, y + 0.5 * x, z).pvalue <= 0.05)
    assert sum(null) <= stats.binom.ppf(0.999, 60, 0.05)
    assert np.mean(alternative) > 0.9
