"""Pipelines whose sequences have steps of their own for each task."""

import numpy as np
import pytest
from sklearn.base import clone

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline, TaskLocalizer
from skspecialist.exceptions import SpecialistWarning

# A fit of a moment, whose mask may stay dense; two tasks separate few latents.
pytestmark = [
    pytest.mark.slow,  # one fit of seconds
    pytest.mark.filterwarnings("ignore:The fit was too short"),
    pytest.mark.filterwarnings("ignore:The tasks use"),
]

QUICK = {"max_epochs": 25, "random_state": 0}


def draw(n=400, seed=0):
    """Return sequences with a task that is how often one feature is large."""
    X = np.random.default_rng(seed).normal(size=(n, 10, 4))
    steps = X[:, :, :2] > 1
    return X, (steps * X[:, :, 2:] ** 2).sum(axis=1)


@pytest.fixture(scope="module")
def fitted():
    pipeline = SpecialistPipeline(
        structure=TaskLocalizer(4, hidden_layer_sizes=(16,), cv=2, **QUICK),
        encoder=SparseSpecialistEncoder(heads="linear", hidden_layer_sizes=(16,), max_epochs=8),
        cv=2,
        strategy="best",
        random_state=0,
    )
    return pipeline.fit(*draw())


def test_tasks_are_read_from_their_own_steps_of_each_sequence(fitted):
    X, y = draw(seed=1)
    assert fitted.use_specialist_.all()
    with pytest.warns(SpecialistWarning, match="no effect with strategy='generalist'"):
        never = clone(fitted).set_params(strategy="generalist").fit(*draw())
    assert fitted.score(X, y) > never.score(X, y) + 0.3
    assert set(fitted.predicted_from_) <= {"latents", "latents_kernel", "steps"}


def test_where_a_task_happens_does_not_matter(fitted):
    X, _ = draw(seed=1)
    order = np.random.default_rng(2).permutation(10)
    np.testing.assert_allclose(fitted.predict(X[:, order]), fitted.predict(X), atol=1e-9)


def test_the_report_does_not_list_steps_that_differ_between_sequences(fitted):
    assert "depends on steps that differ between sequences" in str(fitted.report())


def test_features_have_names(fitted):
    X, _ = draw(seed=1)
    names = fitted.get_feature_names_out()
    assert len(names) == fitted.transform(X).shape[1] == len(set(names))
    assert {"task0_weight", "task1_weight"} <= set(names)
    assert {name.split("_")[0] for name in names} == {"task0", "task1"}


def test_adding_a_task_is_refused(fitted):
    X, y = draw(seed=1)
    with pytest.raises(ValueError, match="add_task needs a structure"):
        fitted.add_task(X, y[:, 0])
