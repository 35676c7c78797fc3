"""The generator keeps its word."""

import numpy as np
import pytest

from skspecialist.datasets import make_specialist_latents


@pytest.mark.parametrize("seed", range(5))
def test_every_relevant_latent_is_used_and_no_other(seed):
    data = make_specialist_latents(50, 8, 4, 3, random_state=seed)
    assert data.relevant.sum() == 4
    assert (data.mask.sum(axis=1) == 2).all()
    assert np.array_equal(data.mask.any(axis=0), data.relevant)


def test_positions_of_the_relevant_latents_vary():
    positions = {tuple(make_specialist_latents(5, random_state=seed).relevant) for seed in range(5)}
    assert len(positions) > 1


def test_tasks_do_not_depend_on_the_other_latents():
    data = make_specialist_latents(5000, noise=0.0, random_state=0)
    correlations = np.corrcoef(data.latents.T, data.y.T)[:6, 6:]
    assert np.abs(correlations[~data.relevant]).max() < 0.06
    assert np.abs(correlations[data.relevant]).max(axis=1).min() > 0.1
    np.testing.assert_allclose(data.y.std(axis=0), 1)


def test_a_linear_mixing_is_undone_and_a_deeper_one_keeps_its_rank():
    data = make_specialist_latents(500, n_layers=1, random_state=0)
    _, residuals, rank, _ = np.linalg.lstsq(data.X, data.latents, rcond=None)
    assert rank == 6
    assert residuals.max() < 1e-20
    deep = make_specialist_latents(500, random_state=0)
    assert np.linalg.matrix_rank(deep.X) == 6
    assert deep.condition_numbers.shape == (3,)
    assert deep.condition_numbers.max() < 10


def test_more_features_than_latents_are_an_isometry():
    data = make_specialist_latents(100, n_features=20, random_state=0)
    assert data.X.shape == (100, 20)
    assert np.linalg.matrix_rank(data.X) == 6


def test_correlation_is_that_of_every_pair():
    data = make_specialist_latents(20_000, correlation=0.5, random_state=0)
    pairs = np.corrcoef(data.latents.T)[np.triu_indices(6, 1)]
    np.testing.assert_allclose(pairs, 0.5, atol=0.03)


def test_class_labels_are_balanced():
    data = make_specialist_latents(100, task_kind="classification", random_state=0)
    assert data.y.dtype == np.int64
    np.testing.assert_array_equal(data.y.mean(axis=0), 0.5)


def test_the_same_seed_gives_the_same_data():
    first, second = (make_specialist_latents(20, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.y, second.y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_relevant": 7}, "n_relevant=7 exceeds"),
        ({"n_latents_per_task": 4}, "n_latents_per_task=4 exceeds"),
        ({"n_tasks": 1}, "cannot use all"),
        ({"n_features": 5}, "below n_latents"),
        ({"correlation": 1.0}, "correlation"),
    ],
)
def test_impossible_sizes_say_so(params, message):
    with pytest.raises(ValueError, match=message):
        make_specialist_latents(**params)
