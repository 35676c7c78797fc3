"""Laws of the pooling rules: calibration, symmetry, power."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom, cauchy, norm

from skspecialist.independence import IndependenceResult, ResultFlag
from skspecialist.structure.aggregation import AnyPair, Cauchy, RankOne, Simes

K = 12
PAIRS = np.stack(np.triu_indices(K, 1), axis=1)


def result_of(z, signed=True, n=1000):
    pvalue = 2 * norm.sf(np.abs(z))
    return IndependenceResult(
        statistic=z if signed else z**2,
        pvalue=pvalue,
        effect_size=np.tanh(z / np.sqrt(n)) if signed else np.abs(np.tanh(z / np.sqrt(n))),
        df=np.full((*z.shape, 2), np.nan),
        n=n,
        flag=np.zeros(z.shape, dtype=int),
        signed=signed,
    )


def pool(z, rule=None, signed=True):
    return (rule or RankOne()).aggregate(result_of(z, signed), PAIRS, K, lambda p: p)


def clique(w, noise):
    return -np.outer(w, w)[PAIRS[:, 0], PAIRS[:, 1]][:, None] + noise


@pytest.mark.parametrize("signed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_pvalues_without_any_structure_hold_their_level(signed):
    n_tasks = 400
    z = np.random.default_rng(0).normal(size=(len(PAIRS), n_tasks))
    _, pvalues, _ = pool(z, signed=signed)
    # Segments of one task are not independent: count the tasks with a rejection, whose
    # probability is at most K times the level.
    level = 0.05 / K
    n_rejected = (pvalues.min(axis=0) <= level).sum()
    assert n_rejected <= binom.ppf(0.999, n_tasks, 0.05)
    assert (pvalues <= 0.2).mean() > 0.05


@pytest.mark.parametrize("signed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_pvalues_of_irrelevant_segments_hold_their_level_beside_a_clique(signed):
    w = np.zeros(K)
    w[:5] = [3, -2, 2, 4, -3]
    z = clique(w, np.random.default_rng(1).normal(size=(len(PAIRS), 400)))
    _, pvalues, _ = pool(z, signed=signed)
    n_rejected = (pvalues[5:].min(axis=0) <= 0.05 / 7).sum()
    assert n_rejected <= binom.ppf(0.999, 400, 0.05)


@pytest.mark.parametrize("rule", [Simes(), Cauchy()], ids=repr)
def test_combinations_hold_their_level_segment_by_segment(rule):
    z = np.random.default_rng(7).normal(size=(len(PAIRS), 500))
    _, pvalues, _ = pool(z, rule)
    # The pairs of one segment are independent; segments are looked at one by one.
    n_rejected = (pvalues <= 0.05).sum(axis=1)
    assert (n_rejected <= binom.ppf(1 - 0.001 / K, 500, 0.05)).all()
    assert n_rejected.mean() > 0.5 * 25


@pytest.mark.parametrize("rule", [Simes(), Cauchy()], ids=repr)
def test_combinations_equal_their_definitions(rule):
    z = np.random.default_rng(8).normal(size=(len(PAIRS), 2)) * 2
    _, pvalues, _ = pool(z, rule)
    p = np.sort((2 * norm.sf(np.abs(z)))[(PAIRS == 3).any(axis=1)], axis=0)
    m = len(p)
    expected = (
        (p * m / np.arange(1, m + 1)[:, None]).min(axis=0)
        if isinstance(rule, Simes)
        else cauchy.sf(np.tan((0.5 - p) * np.pi).mean(axis=0))
    )
    assert_allclose(pvalues[3], expected, rtol=1e-6)


@pytest.mark.parametrize("members", [2, 3, 5])
def test_a_clique_of_any_size_comes_back(members):
    w = np.zeros(K)
    w[:members] = 3.0 * np.array([1, -1, 1, 1, -1])[:members]
    z = clique(w, np.random.default_rng(2).normal(size=(len(PAIRS), 50)))
    _, pvalues, _ = pool(z)
    assert (pvalues[:members] < 0.01).all()


def test_pooling_finds_what_no_pair_shows():
    w = np.zeros(K)
    w[:8] = 1.4
    z = clique(w, np.random.default_rng(3).normal(size=(len(PAIRS), 50)))
    _, pooled, _ = pool(z)
    smallest = np.ones((K, 50))
    for (k, v), p in zip(PAIRS, 2 * norm.sf(np.abs(z)), strict=True):
        smallest[k], smallest[v] = np.minimum(smallest[k], p), np.minimum(smallest[v], p)
    by_pair = ((K - 1) * smallest[:8] < 0.01).mean()
    assert (pooled[:8] < 0.01).mean() > 0.9 > by_pair + 0.3


@pytest.mark.parametrize("rule", [RankOne(), AnyPair(), Simes(), Cauchy()], ids=repr)
@pytest.mark.parametrize("signed", [True, False])
def test_permuting_segments_or_tasks_permutes_the_answer(rule, signed):
    rng = np.random.default_rng(4)
    z = rng.normal(size=(len(PAIRS), 6)) * 2
    matrix = np.zeros((K, K, 6))
    matrix[PAIRS[:, 0], PAIRS[:, 1]] = matrix[PAIRS[:, 1], PAIRS[:, 0]] = z
    order, tasks = rng.permutation(K), rng.permutation(6)
    permuted = matrix[np.ix_(order, order, tasks)][PAIRS[:, 0], PAIRS[:, 1]]
    _, expected, _ = pool(z, rule, signed)
    _, pvalues, _ = pool(permuted, rule, signed)
    assert_allclose(pvalues, expected[np.ix_(order, tasks)], rtol=1e-6)


def test_any_pair_takes_the_smallest_pvalue():
    z = np.random.default_rng(5).normal(size=(len(PAIRS), 3))
    _, pvalues, _ = pool(z, AnyPair())
    pair_pvalues = 2 * norm.sf(np.abs(z))
    for k in range(K):
        expected = pair_pvalues[(PAIRS == k).any(axis=1)].min(axis=0)
        assert_allclose(pvalues[k], expected)


def test_the_weights_of_a_segment_do_not_know_its_own_scores():
    rng = np.random.default_rng(6)
    z = rng.normal(size=(len(PAIRS), 1)) * 3
    changed = z.copy()
    changed[PAIRS[:, 0] == 0] = 0.0
    statistics, _, _ = pool(z)
    without, _, _ = pool(changed)
    assert statistics[0] != 0.0
    assert without[0] == 0.0


@pytest.mark.parametrize("rule", [RankOne(), Simes(), Cauchy()], ids=repr)
@pytest.mark.parametrize("signed", [True, False])
def test_a_segment_with_nothing_to_test_takes_no_evidence_from_others(rule, signed):
    w = np.zeros(K)
    w[:5] = 2.5
    z = clique(w, np.random.default_rng(9).normal(size=(len(PAIRS), 50)))
    idle = (PAIRS == K - 1).any(axis=1)
    z[idle] = 0.0
    result = result_of(z, signed)
    result.flag[idle] = ResultFlag.DEGENERATE
    _, pvalues, _ = rule.aggregate(result, PAIRS, K, lambda p: p)
    assert (pvalues[:5] < 0.01).mean() > 0.9
    assert (pvalues[K - 1] > 0.9).all()
