"""Planted sparse heads are found in mixed latents, and inseparable latents are named."""

import warnings
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist.encoder._rotation import sparse_rotation
from skspecialist.encoder._separability import inseparable_groups, select_support
from skspecialist.exceptions import SpecialistWarning
from skspecialist.metrics import mean_correlation_coefficient, support_scores


def deal_support(n_latents, n_tasks, rng):
    """Two or three latents for each task, all latents equally often, and separable."""
    while True:
        support, deck = np.zeros((n_tasks, n_latents), dtype=bool), []
        for row in support:
            for _ in range(rng.integers(2, 4)):
                if all(row[latent] for latent in deck):
                    deck += rng.permutation(n_latents).tolist()
                latent = next(latent for latent in deck if not row[latent])
                deck.remove(latent)
                row[latent] = True
        if not inseparable_groups(support):
            return support


def mix(support, rng, *, correlation=0.0, n_samples=5000, noise=0.1):
    """True latents behind tasks of that support, mixed by a matrix and seen with an error."""
    n_latents = support.shape[1]
    covariance = correlation + (1 - correlation) * np.eye(n_latents)
    sources = rng.multivariate_normal(np.zeros(n_latents), covariance, size=n_samples)
    weights = support * rng.uniform(0.5, 1.5, support.shape) * rng.choice([-1, 1], support.shape)
    y = sources @ weights.T + noise * rng.normal(size=(n_samples, len(support)))
    left, right = (np.linalg.qr(rng.normal(size=(n_latents, n_latents)))[0] for _ in range(2))
    mixed = sources @ (left * np.geomspace(1, 1 / rng.uniform(1, 20), n_latents) @ right)
    mixed /= mixed.std(axis=0)
    return regress(mixed + rng.uniform(0.02, 0.05) * rng.normal(size=mixed.shape), y, sources)


def regress(mixed, y, sources):
    mixed = (mixed - mixed.mean(axis=0)) / mixed.std(axis=0)
    centered = y - y.mean(axis=0)
    coefficients = np.linalg.lstsq(mixed, centered, rcond=None)[0].T
    noise = (centered - mixed @ coefficients.T).std(axis=0) / np.sqrt(len(mixed))
    covariance = np.cov(mixed, rowvar=False).reshape(mixed.shape[1], -1)
    return SimpleNamespace(
        sources=sources, mixed=mixed, y=y, b=coefficients, noise=noise, covariance=covariance
    )


@pytest.mark.parametrize(
    ("seed", "n_latents"),
    [
        pytest.param(seed, n_latents, marks=[] if seed < last else pytest.mark.slow)
        for n_latents, last in ((5, 1001), (8, 1000))
        for seed in range(1000, 1010)
    ],
)
def test_planted_latents_and_supports_are_found(seed, n_latents):
    rng = np.random.default_rng(seed)
    support = deal_support(n_latents, 24, rng)
    data = mix(support, rng, correlation=0.5 * (seed % 2))
    found = sparse_rotation(data.b, data.covariance, noise=data.noise)
    latents = data.mixed @ found.rotation
    # The errors of the mixed latents bound what any linear map can read from them.
    best = data.mixed @ np.linalg.lstsq(data.mixed, data.sources, rcond=None)[0]
    ceiling = mean_correlation_coefficient(data.sources, best).score
    score = mean_correlation_coefficient(data.sources, latents).score
    assert score >= min(0.98, ceiling - 0.003)
    assert mean_correlation_coefficient(data.sources, data.mixed).score < 0.9
    assert support_scores(support, select_support(latents, data.y), match=True).f1 >= 0.95
    assert inseparable_groups(select_support(latents, data.y)) == []


def test_rotation_keeps_the_tasks_and_unit_variance():
    rng = np.random.default_rng(0)
    data = mix(deal_support(5, 24, rng), rng)
    found = sparse_rotation(data.b, data.covariance, noise=data.noise)
    latents = data.mixed @ found.rotation
    assert_allclose(latents.std(axis=0, ddof=1), 1)
    assert_allclose(latents @ found.coefficients.T, data.mixed @ data.b.T, atol=1e-8)
    again = sparse_rotation(data.b, data.covariance, noise=data.noise)
    assert_array_equal(again.rotation, found.rotation)
    # What is sparse already stays, in its order and with its signs.
    covariance = found.rotation.T @ data.covariance @ found.rotation
    same = sparse_rotation(found.coefficients, covariance, noise=data.noise)
    assert_allclose(same.rotation, np.eye(5), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("tell_noise", [True, False])
def test_order_signs_and_units_of_the_tasks_do_not_matter(tell_noise):
    rng = np.random.default_rng(1)
    data = mix(deal_support(5, 24, rng), rng)
    noise = data.noise if tell_noise else None
    found = sparse_rotation(data.b, data.covariance, noise=noise)
    order, units = rng.permutation(24), rng.choice([-1, 1], 24) * rng.uniform(0.01, 100, 24)
    moved = sparse_rotation(
        data.b[order], data.covariance, noise=data.noise[order] if tell_noise else None
    )
    assert_allclose(moved.rotation, found.rotation, atol=1e-8)
    assert_allclose(moved.coefficients, found.coefficients[order], atol=1e-8)
    scaled = sparse_rotation(
        units[:, None] * data.b,
        data.covariance,
        noise=np.abs(units) * data.noise if tell_noise else None,
    )
    assert_allclose(scaled.rotation, found.rotation, atol=1e-3)


@pytest.mark.slow
def test_latents_that_always_occur_together_are_one_group():
    n_exact = 0
    for seed in range(2000, 2005):
        rng = np.random.default_rng(seed)
        support = deal_support(5, 24, rng)
        data = mix(np.column_stack([support, support[:, 0]]), rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpecialistWarning)  # they are uncertain
            found = sparse_rotation(data.b, data.covariance, noise=data.noise)
        latents = data.mixed @ found.rotation
        groups = inseparable_groups(select_support(latents, data.y, tolerance=0.001))
        assignment = mean_correlation_coefficient(data.sources, latents).assignment
        pair = set(assignment[[0, 5]].tolist())
        assert len(groups) == 1
        assert pair <= set(groups[0])
        n_exact += pair == set(groups[0])
        # The other latents are found one by one.
        alone = data.sources[:, 1:5], latents[:, assignment[1:5]]
        assert mean_correlation_coefficient(*alone).score >= 0.95
    # Of 30 other data sets 2 had a further latent in a group: more than 2 of 5 have
    # probability 0.003.
    assert n_exact >= 3


@pytest.mark.slow
def test_latents_that_no_task_uses_are_set_apart():
    rng = np.random.default_rng(3)
    support = np.column_stack([deal_support(5, 24, rng), np.zeros((24, 2), dtype=bool)])
    data = mix(support, rng, correlation=0.5)
    found = sparse_rotation(data.b, data.covariance, noise=data.noise)
    latents = data.mixed @ found.rotation
    selected = select_support(latents, data.y)
    assert selected.any(axis=0).sum() == 5
    assert support_scores(support, selected, match=True).f1 >= 0.95
    # Those without a task are uncorrelated with the others.
    unused = ~selected.any(axis=0)
    assert_allclose(np.cov(latents, rowvar=False)[unused][:, ~unused], 0, atol=1e-8)


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_fewer_tasks_than_latents_leave_the_latents_as_they_are(n_tasks):
    coefficients = np.random.default_rng(4).normal(size=(n_tasks, 4))
    coefficients = np.vstack([coefficients, np.zeros((4 - n_tasks, 4))])
    found = sparse_rotation(coefficients, np.diag([1.0, 4, 1, 1]))
    assert_allclose(found.rotation, np.diag([1, 0.5, 1, 1]))
    assert_allclose(found.coefficients, coefficients * [1, 2, 1, 1])


def test_as_many_tasks_as_latents_each_have_one():
    coefficients = np.random.default_rng(5).normal(size=(4, 4))
    found = sparse_rotation(coefficients, np.eye(4)).coefficients
    # Three hundredths of a task count as half a coefficient.
    large = np.abs(found) > 0.03 * np.linalg.norm(coefficients, axis=1, keepdims=True)
    assert_array_equal(large.sum(axis=0), 1)
    assert_array_equal(large.sum(axis=1), 1)


def test_a_single_latent():
    found = sparse_rotation([[1.0], [-2.0]], [[4.0]])
    assert_allclose(found.rotation, [[0.5]])
    assert_allclose(found.coefficients, [[2], [-4]])


def test_tasks_that_repeat_each_other_do_not_fail():
    found = sparse_rotation(np.tile([[1.0, 1, 0]], (6, 1)), np.eye(3))
    used = np.abs(found.coefficients) > 1e-8
    assert_array_equal(used.sum(axis=1), 1)
    assert used.any(axis=0).sum() == 1


def test_columns_of_a_task_share_their_support():
    rng = np.random.default_rng(6)
    latents = rng.normal(size=(1000, 4))
    # Three classes of the first latent; the first two columns differ in what they need.
    classes = np.digitize(latents[:, 0] + 0.3 * latents[:, 1], [-0.5, 0.5])
    y = np.column_stack([classes == 1, classes == 2, latents[:, 2] + rng.normal(size=1000)])
    support = select_support(latents, y.astype(float), groups=[[0, 1], [2]])
    assert_array_equal(support, [[True, True, False, False], [False, False, True, False]])


def test_targets_that_nothing_predicts_use_nothing():
    rng = np.random.default_rng(7)
    latents, y = rng.normal(size=(400, 5)), rng.normal(size=(400, 20))
    selected = select_support(latents, y)
    assert selected.shape == (20, 5)
    # A useless latent passes one standard error with probability below 0.16.
    assert selected.mean() < 0.16
    assert select_support(latents, latents[:, 1]).tolist() == [[False, True, False, False, False]]


def test_tolerance_gives_up_weak_latents():
    rng = np.random.default_rng(8)
    latents = rng.normal(size=(2000, 2))
    y = latents @ [1, 0.3] + 0.1 * rng.normal(size=2000)
    assert select_support(latents, y).tolist() == [[True, True]]
    # The second explains 0.09 of 1.09.
    assert select_support(latents, y, tolerance=0.1).tolist() == [[True, False]]


def reference_groups(support):
    """Groups by looking at every set of latents."""
    n_latents = support.shape[1]
    linked = np.eye(n_latents, dtype=bool)
    used = np.flatnonzero(support.any(axis=0))
    for latent in used:
        smallest: list[tuple] = []
        for size in range(1, len(used)):
            for members in combinations(used[used != latent], size):
                touched = support[:, members].any(axis=1)
                if any(set(known) <= set(members) for known in smallest):
                    continue
                together = (touched & support[:, latent]).sum()
                spare = size + (0.25 * together if size == 1 else 0)
                alone = (touched & ~support[:, latent]).sum()
                if together and alone <= spare:
                    linked[latent, list(members)] = linked[list(members), latent] = True
                if alone <= size:
                    smallest.append(members)
    reached = np.linalg.matrix_power(linked.astype(float), n_latents) > 0
    groups = {tuple(np.flatnonzero(row).tolist()) for row in reached}
    return sorted(group for group in groups if len(group) > 1)


@pytest.mark.slow
def test_groups_are_those_of_an_exhaustive_search():
    rng = np.random.default_rng(9)
    n_draws, n_equal = 100, 0
    for _ in range(n_draws):
        shape = rng.integers(2, 14), rng.integers(1, 6)
        support = rng.random(shape) < rng.uniform(0.1, 0.7)
        found, expected = inseparable_groups(support), reference_groups(support)
        n_equal += found == expected
        # Where deficient sets overlap, a group may come out larger, never smaller.
        for group in expected:
            assert any(set(group) <= set(larger) for larger in found)
    assert n_equal >= 0.97 * n_draws


def test_groups_of_plain_supports():
    assert inseparable_groups([[1, 1, 0]] * 3 + [[0, 0, 1]] * 3) == [(0, 1)]
    # One direction is enough.
    assert inseparable_groups([[1, 1]] * 3 + [[1, 0]] * 9) == [(0, 1)]
    assert inseparable_groups([[1, 1]] * 3 + [[1, 0]] * 2 + [[0, 1]] * 2) == []
    # A coefficient that vanishes in one column alone is no evidence, in several it is.
    support = [[1, 1], [1, 0], [0, 1]]
    assert inseparable_groups(support) == [(0, 1)]
    assert inseparable_groups(support, groups=[[0], [1, 2], [3, 4]]) == []
    assert inseparable_groups(np.zeros((3, 2))) == []
    assert inseparable_groups([[1]]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, np.nan]], np.eye(2)), "coefficients"),
        (([[1.0, 2.0]], np.eye(3)), r"shape \(2, 2\)"),
        (([[1.0, 2.0]], [[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (([[1.0, 2.0]], np.ones((2, 2))), "positive definite"),
    ],
)
def test_rotation_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        sparse_rotation(*arguments)


def test_other_errors():
    for noise in (-1.0, [0.1, 0.1], np.nan):
        with pytest.raises(ValueError, match="noise"):
            sparse_rotation([[1.0]], [[1.0]], noise=noise)
    latents = np.random.default_rng(10).normal(size=(20, 2))
    with pytest.raises(ValueError, match="inconsistent"):
        select_support(latents, latents[:5])
    with pytest.raises(ValueError, match="too few"):
        select_support(latents[:2], latents[:2])
    for groups in ([[0, 2]], [[]], [], [[0.5]]):
        with pytest.raises(ValueError, match="groups"):
            select_support(latents, latents, groups=groups)
    with pytest.raises(ValueError, match="tolerance"):
        select_support(latents, latents, tolerance=1.5)
    with pytest.raises(ValueError, match="groups"):
        inseparable_groups(np.eye(2), groups=[[0]])


@pytest.mark.parametrize(
    ("noise", "n_samples"),
    [
        (1.0, 1000),
        *(
            pytest.param(noise, n_samples, marks=pytest.mark.slow)
            for noise in (0.1, 0.5, 1.0)
            for n_samples in (500, 1000, 5000)
        ),
    ],
)
def test_latents_come_back_from_noisy_tasks(noise, n_samples):
    worst = []
    for seed in (3000, 3001) if (noise, n_samples) == (1.0, 1000) else range(3000, 3005):
        rng = np.random.default_rng(seed)
        data = mix(deal_support(5, 24, rng), rng, n_samples=n_samples, noise=noise)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpecialistWarning)
            found = sparse_rotation(data.b, data.covariance, noise=data.noise)
        matched = mean_correlation_coefficient(data.sources, data.mixed @ found.rotation)
        worst.append(min(matched.correlations))
    assert np.sort(worst)[len(worst) // 5] > 0.9


def test_latents_stay_as_they_are_where_no_rotation_is_evident():
    coefficients = np.random.default_rng(11).normal(size=(12, 3))
    with pytest.warns(SpecialistWarning, match="stay as they are"):
        found = sparse_rotation(coefficients, np.diag([1.0, 4, 1]), noise=0.3)
    assert_allclose(found.rotation, np.diag([1, 0.5, 1]))
