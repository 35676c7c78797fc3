"""Error rates from end to end, against binomial bounds, and gains on held-out sequences."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import Ridge

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline, TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences


@pytest.mark.parametrize("n_sequences", [300, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_a_null_task_gets_segments_at_the_level(criterion, n_sequences):
    # Two further tasks are planted: their colliders stay closed.
    # Given the sequences, null tasks are independent of each other.
    n_draws, n_null, alpha = 10, 10, 0.1
    n_found = 0
    for seed in range(n_draws):
        data = make_collider_sequences(
            n_sequences, n_timesteps=8, n_tasks=2, n_null_tasks=n_null, random_state=seed
        )
        identifier = TaskStructureIdentifier(2, criterion=criterion, alpha=alpha)
        n_found += identifier.fit(data.X, data.y).structure_[:, 2:].any(axis=0).sum()
    assert n_found <= binom.ppf(0.999, n_draws * n_null, alpha)


@pytest.mark.parametrize("n_sequences", [300, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_false_discoveries_stay_below_the_level(criterion, n_sequences):
    alpha, n_false, n_discoveries = 0.1, 0, 0
    for seed in range(20):
        data = make_collider_sequences(n_sequences, n_timesteps=8, n_tasks=2, random_state=seed)
        identifier = TaskStructureIdentifier(2, criterion=criterion, alpha=alpha)
        found = identifier.fit(data.X, data.y).structure_
        n_false += (found & ~data.structure).sum()
        n_discoveries += found.sum()
    assert n_false <= binom.ppf(0.999, n_discoveries, alpha)


# The fits are short.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_the_pipeline_is_never_worse_on_new_sequences():
    encoder = SparseSpecialistEncoder(
        2,
        n_relevant=1,
        sparsity=0,
        heads="linear",
        hidden_layer_sizes=(8,),
        max_epochs=5,
        input_noise=0.3,
    )
    parts = {"estimator": Ridge(), "random_state": 0}
    chosen = SpecialistPipeline(encoder=encoder, **parts)
    generalist = SpecialistPipeline(strategy="generalist", estimator=Ridge())
    excess, least = [], []
    for seed in range(16):
        data = make_collider_sequences(400, n_timesteps=6, n_tasks=2, random_state=seed)
        train, test = slice(0, 150), slice(150, None)
        losses = []
        for pipeline in (chosen, generalist):
            pipeline.fit(data.X[train], data.y[train])
            errors = (pipeline.predict(data.X[test]) - data.y[test]) / data.y[train].std(axis=0)
            losses.append(np.mean(errors**2))
        excess.append(losses[0] - losses[1])
        least.append(losses[1])
    # Within half a per cent, up to two standard errors.
    error = np.std(excess, ddof=1) / np.sqrt(len(excess))
    assert np.mean(excess) <= 0.005 * np.mean(least) + 2 * error
