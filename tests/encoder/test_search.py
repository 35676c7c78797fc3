"""The search of the encoder: sizes that are too small, and tasks that are lost."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoder
from skspecialist.encoder._path import SparsityPath
from skspecialist.networks.training import StepData

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

SMALL = {"hidden_layer_sizes": (16,), "random_state": 0}


@pytest.mark.parametrize(("n_lost", "n_trainings"), [(0, 1), (1, 2), (2, 3), (3, 3)])
def test_a_lost_task_is_learned_again_or_named(monkeypatch, n_lost, n_trainings):
    data = make_specialist_latents(300, random_state=0)
    found = iter([True] * n_lost + [False] * 3)
    monkeypatch.setattr(
        SparsityPath,
        "lost_tasks",
        lambda path, module: np.array([False, False, next(found), False]),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder = SparseSpecialistEncoder(2, input_noise=0.3, max_epochs=3, **SMALL).fit(
            data.X, data.y
        )
    first = [row for row in encoder.history_ if row["phase"] == "sparse" and row["epoch"] == 1]
    assert len(first) == n_trainings
    said = [str(warning.message) for warning in caught if "Lost tasks" in str(warning.message)]
    assert len(said) == (n_lost > 2)
    assert all("task2 " in text and "task1" not in text for text in said)


@pytest.mark.parametrize("shared", [False, True])
def test_a_size_is_too_small_if_one_task_or_all_lose_more_than_noise(shared):
    """A loss of all tasks may be too small for each of them alone, as with class labels."""
    rng = np.random.RandomState(0)
    n_samples, n_tasks = 400, 6
    weights = np.ones((n_samples, 1, n_tasks))
    targets = list(rng.standard_normal((n_tasks, n_samples)))
    data = StepData.from_arrays(np.zeros((n_samples, 1, 1)), weights, targets)
    path = SparsityPath(replace(data, folds=torch.zeros(n_samples).long()), [0] * n_tasks, 0.0)
    noise = rng.standard_normal((n_samples, n_tasks))
    noise -= noise.mean(axis=0)
    path.losses = {0: np.full_like(noise, 5.0), 4: 1 + rng.standard_normal(noise.shape)}
    # In standard errors of a task: 1.9 are not exceeded in any, and 0.4 not by the mean.
    lost = np.full(n_tasks, 1.2) if shared else 2.3 * (np.arange(n_tasks) == 2)
    path.losses[3] = path.losses[4] + noise
    path.losses[2] = path.losses[3] + lost / n_samples**0.5
    assert (path.is_good(2), path.is_good(3), path.chosen) == (False, True, 3)
    # A rank is evidence: two standard errors are granted from it on, none below it.
    path.rank = 2
    assert path.is_good(2) is not shared  # the mean of all is exceeded by three
    path.losses[2], path.rank = path.losses[3] + 0.01 / n_samples**0.5, 3
    assert not path.is_good(2)


@pytest.mark.parametrize("labels", [False, True])
def test_a_task_is_lost_if_a_linear_model_predicts_it_better(monkeypatch, labels):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((300, 3))
    y = np.column_stack([X[:, 0], X[:, 1] - X[:, 2]]) + 0.3 * rng.standard_normal((300, 2))
    y = np.where(y > 0, "yes", "no") if labels else y
    seen, original = [], SparsityPath.lost_tasks

    def lost_tasks(path, module):
        seen.append(original(path, module))
        with torch.no_grad():
            module.heads.out[0, 1] = 0.0
            seen.append(original(path, module))
        return seen[0]

    monkeypatch.setattr(SparsityPath, "lost_tasks", lost_tasks)
    SparseSpecialistEncoder(2, input_noise=0.3, max_epochs=20, **SMALL).fit(X, y)
    assert [lost.tolist() for lost in seen[:2]] == [[False, False], [False, True]]
