"""Diagnostics of fitted encoders and selectors, and stability over half-samples."""

import numpy as np
import pytest

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import (
    SparseMultiTaskSelector,
    SparseMultiTaskSelectorCV,
    SparseSpecialistEncoderCV,
)
from skspecialist.encoder._diagnostics import diagnose, head_slopes

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")


@pytest.fixture(scope="module")
def known():
    """Three columns, all of which heads read."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((400, 3))
    y = np.column_stack([X[:, 0] * X[:, 1], np.sin(X[:, 2]), X.sum(axis=1)])
    encoder = SparseMultiTaskSelector(sparsity=0.0, max_epochs=20, random_state=0)
    return encoder.fit(X, y), X


def test_the_jacobian_is_the_slope_of_the_predictions(known):
    encoder, X = known
    latents = encoder.latents(X)
    step = 1e-6
    jacobian = head_slopes(encoder.module_, latents)
    scale = np.array([task.scale for task in encoder.tasks_.tasks])
    for latent in range(3):
        moved = X + step * np.eye(3)[latent] * X.std(axis=0)
        slope = (encoder.predict(moved) - encoder.predict(X)) / (step * scale)
        # A row next to a kink of a rectifier has two slopes.
        close = np.isclose(jacobian[:, :, latent], slope, atol=1e-4)
        assert close.mean() > 0.99


@pytest.mark.slow
def test_rank_and_use_of_tasks_that_see_every_latent(known):
    encoder, X = known
    found = encoder.diagnose(X)
    assert found.jacobian_rank == 3
    assert found.use.min() > 0.1
    assert not found.unused.size
    assert found.duplicates == []
    assert found.leakage.shape == (0,)


@pytest.mark.slow
def test_a_task_that_sees_a_sum_only_has_rank_one():
    rng = np.random.RandomState(1)
    X = rng.standard_normal((500, 2))
    encoder = SparseMultiTaskSelector(
        heads="linear", sparsity=0.0, max_epochs=60, random_state=0
    ).fit(X, X.sum(axis=1))
    assert encoder.diagnose(X).jacobian_rank == 1


@pytest.mark.slow
def test_copies_are_named_and_leak(known):
    encoder, X = known
    latents = encoder.latents(X)
    latents[:, 2] = latents[:, 0]
    both = diagnose(encoder.module_, latents, np.array([True, False, True]))
    assert both.duplicates == [(0, 2)]
    apart = diagnose(encoder.module_, latents, np.array([True, True, False]))
    assert apart.leakage[0] > 0.95
    assert apart.duplicates == []


@pytest.mark.slow
def test_sequences_are_steps_here(known):
    encoder, X = known
    np.testing.assert_array_equal(
        encoder.diagnose(X).use, encoder.diagnose(X.reshape(200, 2, 3)).use
    )


@pytest.mark.slow
def test_half_samples_return_what_is_there():
    data = make_specialist_latents(800, 3, 2, 3, n_layers=1, random_state=0)
    encoder = SparseSpecialistEncoderCV(
        cv=2, hidden_layer_sizes=(16,), n_subsamples=3, random_state=0
    ).fit(data.X, data.y)
    assert encoder.selection_frequency_.shape == (encoder.n_components_,)
    np.testing.assert_array_equal(encoder.selection_frequency_[~encoder.support_], 0)
    assert encoder.selection_frequency_[encoder.support_].min() > 0.5


@pytest.mark.slow
def test_half_samples_of_columns():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((300, 4))
    y = np.column_stack([X[:, 0], X[:, 0] + X[:, 1]]) + 0.1 * rng.standard_normal((300, 2))
    encoder = SparseMultiTaskSelectorCV(
        cv=2,
        sparsities=[0.1, 0.3],
        max_epochs=60,
        n_subsamples=4,
        random_state=0,
    ).fit(X, y)
    expected = [[1, 0, 0, 0], [1, 1, 0, 0]]
    np.testing.assert_array_equal(encoder.mask_ > 0, expected)
    assert np.abs(encoder.selection_frequency_ - expected).max() <= 0.5
    without = SparseMultiTaskSelectorCV(cv=2, sparsities=[0.3], max_epochs=2).fit(X, y)
    assert without.selection_frequency_ is None
