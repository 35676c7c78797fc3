"""The number of sequences that is said to suffice does."""

import numpy as np
import pytest
from scipy.stats import binom

from skspecialist import TaskStructureIdentifier, sequences_needed


@pytest.mark.slow
@pytest.mark.parametrize(("n_features", "effect_size"), [(1, 0.2), (3, 0.3)])
def test_simulated_power(n_features, effect_size):
    n_segments, n_draws, power = 6, 300, 0.8
    n = sequences_needed(effect_size, n_segments=n_segments, n_features=n_features, power=power)
    rng = np.random.default_rng(0)
    n_found, n_tasks = 0, 20
    for _ in range(n_draws // n_tasks):
        # Given the sequences, tasks are independent of each other.
        X, noise = rng.normal(size=(n, 2 * n_segments, n_features)), rng.normal(size=(n, n_tasks))
        y = effect_size * X[:, 5, :1] + np.sqrt(1 - effect_size**2) * noise
        identifier = TaskStructureIdentifier(2, independence_test="wilks")
        n_found += identifier.fit(X, y).structure_[2].sum()
    # The power of random predictors is a little below that of fixed ones.
    assert binom.ppf(0.001, n_draws, power - 0.03) <= n_found <= binom.ppf(0.999, n_draws, power)


def test_more_are_needed_for_weaker_effects_more_segments_and_more_features():
    base = sequences_needed(0.2)
    assert base < sequences_needed(0.1)
    assert base < sequences_needed(0.2, n_segments=50)
    assert base < sequences_needed(0.2, n_features=4)
    assert base < sequences_needed(0.2, power=0.95)
    assert base < sequences_needed(0.2, alpha=0.01)
    longer = {
        segment_steps: sequences_needed(0.2, segment_length=4, segment_steps=segment_steps)
        for segment_steps in ("last", "interior", "all")
    }
    assert base == longer["last"] < longer["interior"] < longer["all"]


def test_what_cannot_be_found_or_asked():
    with pytest.raises(ValueError, match="too weak"):
        sequences_needed(1e-6)
    with pytest.raises(ValueError, match="effect_size"):
        sequences_needed(1.5)
