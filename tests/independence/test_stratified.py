"""Tests within strata: exactness, opposite signs, shared labels, edge cases."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.base import clone

from skspecialist.independence import GCM, FisherZ, ResultFlag, Stratified, Wilks


def labeled(rng, n=300):
    """A class label changes means, scales and signs of what z does to both sides."""
    label = rng.integers(3, size=n)
    z = rng.normal(size=(n, 2))
    gain = np.array([1.0, -2.0, 0.5])[label][:, None]
    x = gain * z + 2 * label[:, None] + rng.normal(size=(n, 2)) * (1 + label[:, None])
    y = gain * z - label[:, None] ** 2 + rng.normal(size=(n, 2))
    return x, y, np.column_stack([z, label])


def test_equals_fisher_of_the_strata_done_by_hand():
    x, y, z = labeled(np.random.default_rng(0))
    by_hand = [Wilks().test(*(b[z[:, 2] == k] for b in (x, y, z[:, :2]))).pvalue for k in range(3)]
    statistic, pvalue = stats.combine_pvalues(by_hand, method="fisher")
    ours = Stratified().test(x, y, z)
    assert_allclose([ours.statistic, ours.pvalue], [statistic, pvalue], rtol=1e-8)
    assert ours.df[0] == 6


@pytest.mark.slow
def test_pvalues_are_uniform_where_a_label_changes_every_relation():
    rng = np.random.default_rng(1)
    data = [labeled(rng) for _ in range(100)]
    assert stats.kstest([Stratified().test(*d).pvalue for d in data], "uniform").pvalue > 0.001
    assert np.mean([Wilks().test(*d).pvalue <= 0.05 for d in data]) > 0.9


@pytest.mark.parametrize("base", ["fisher_z", FisherZ(), GCM(features="linear")], ids=repr)
def test_opposite_signs_do_not_cancel(base):
    rng = np.random.default_rng(2)
    label = rng.integers(2, size=300)
    x = rng.normal(size=300)
    y = np.where(label == 1, x, -x) + rng.normal(size=300)
    assert Stratified(base).test(x, y, label).pvalue < 1e-6
    assert clone(Stratified(base, max_levels=1)).test(x, y, label).pvalue > 0.001


def test_without_discrete_columns_it_is_the_base_test():
    x, y, z = np.random.default_rng(3).normal(size=(3, 100, 2))
    ours, base = Stratified().test(x, y, z), Wilks().test(x, y, z)
    assert_allclose(ours.pvalue, base.pvalue)
    assert_allclose(ours.df, base.df)


def test_given_and_padding():
    rng = np.random.default_rng(4)
    label = rng.integers(2, size=200)
    data = np.column_stack([rng.normal(size=(200, 5)), label, 1 - label])
    z, given = [[3], [-1]], [[5, 6], [4, -1]]
    shared = Stratified().test_many(data, [0, 1], [1, 2], z, given=given)
    assert shared.pvalue.shape == (2, 2)
    for i, row in enumerate(z):
        for j, more in enumerate(given):
            one = Stratified().test_many(data, [i], [i + 1], [row + more])
            assert_allclose(shared.pvalue[i, j], one.pvalue[0])
            columns = [c for c in row + more if c >= 0]
            direct = Stratified().test(data[:, i], data[:, i + 1], data[:, columns])
            assert_allclose(direct.pvalue, one.pvalue[0])


def test_small_or_degenerate_strata_do_not_count():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 100))
    label = np.repeat([0, 1, 2], [60, 35, 5])
    x[label == 1] = 0.0
    result = Stratified().test(x, y, label)
    assert_allclose(result.pvalue, Wilks().test(x[:60], y[:60]).pvalue)
    assert result.df[0] == 2
    nothing = Stratified(min_samples=200).test(x, y, label)
    assert (nothing.pvalue, nothing.flag) == (1.0, ResultFlag.TOO_FEW_SAMPLES)
    x[:] = 1.0
    assert Stratified().test(x, y, label).flag & ResultFlag.DEGENERATE


def test_nan_is_named_and_an_unknown_base_too():
    x, y, z = np.random.default_rng(6).normal(size=(3, 50))
    with pytest.raises(ValueError, match="base='tea' is not known"):
        Stratified("tea").test(x, y, z)
    z[0] = np.nan
    with pytest.raises(ValueError, match="Input z contains"):
        Stratified().test(x, y, z)
