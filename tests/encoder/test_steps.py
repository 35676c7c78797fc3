"""The encoder on sequences: steps of each task, and their weights."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.encoder.test_encoder import quick, single

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((400, 5, 3))
    y = np.column_stack([X[:, :3, 0].sum(axis=1), X[:, 2:, 1].sum(axis=1)])
    step_weights = np.zeros((5, 2))
    step_weights[:3, 0] = step_weights[2:, 1] = 1
    return X, y, step_weights


@pytest.mark.slow
def test_all_steps_are_what_ones_say(sequences):
    X, y, _ = sequences
    implicit = quick().fit(X, y)
    explicit = quick().fit(X, y, np.ones((400, 5, 2)))
    assert_array_equal(implicit.predict(X), explicit.predict(X, np.ones((400, 5, 2))))
    assert implicit.step_weights_ is explicit.step_weights_ is None
    assert implicit.predict(X[:, :3]).shape == (400, 2)


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["mlp", "linear"])
def test_steps_that_a_task_does_not_use_are_learned_to_count_little(sequences, heads):
    X, y, step_weights = sequences
    train, test = slice(200), slice(200, None)

    def fit(steps):
        return quick(max_epochs=30, heads=heads, sparsity=0).fit(X[train], y[train], steps)

    given, found = fit(step_weights), fit(np.ones((5, 2)))
    counts = np.abs(found.step_weights_)
    assert counts[step_weights > 0].min() > 3 * counts[step_weights == 0].max()
    assert found.score(X[test], y[test]) > given.score(X[test], y[test]) - 0.05
    assert_allclose((found.step_weights_**2).mean(axis=0), 1)
    assert_array_equal(given.step_weights_ != 0, step_weights > 0)
    with pytest.raises(ValueError, match="each of 5 steps"):
        found.predict(X[:, :3], np.ones((3, 2)))


@pytest.mark.slow
def test_a_task_may_weigh_a_step_the_other_way():
    X = np.random.RandomState(0).standard_normal((400, 3, 2))
    encoder = quick(max_epochs=30, n_relevant=1)
    encoder.fit(X, X[:, 0, 0] - X[:, 2, 0], np.ones((3, 1)))
    assert_allclose(encoder.step_weights_[0] / encoder.step_weights_[2], -1, atol=0.2)
    assert encoder.score(X, X[:, 0, 0] - X[:, 2, 0]) > 0.9


@pytest.mark.slow
def test_a_prediction_is_a_sum_over_the_steps_of_a_task(sequences):
    X, y, step_weights = sequences
    encoder = quick(max_epochs=30, n_relevant=2).fit(X, y, step_weights)
    assert encoder.score(X, y) > 0.5
    assert encoder.transform(X).shape == (400, 5, encoder.support_.sum())
    # Contributions of single steps add up, apart from the constant that they share.
    constant = encoder.predict(X, np.zeros((5, 2)))
    parts = [encoder.predict(X, step_weights * (np.arange(5) == t)[:, None]) for t in range(5)]
    assert_allclose(encoder.predict(X) - constant, sum(parts) - 5 * constant, atol=1e-9)


def test_steps_without_weight_do_not_matter(sequences):
    X, y, step_weights = sequences
    encoder = single().fit(X, y, step_weights)
    changed = X.copy()
    changed[:, 3:] += 5.0
    assert_array_equal(encoder.predict(X)[:, 0], encoder.predict(changed)[:, 0])
    assert not np.allclose(encoder.predict(X)[:, 1], encoder.predict(changed)[:, 1])


def test_a_task_without_steps_predicts_its_mean(sequences):
    X, y, step_weights = sequences
    step_weights = step_weights * [1, 0]
    labels = np.where(np.arange(len(y)) % 3 == 0, "rare", "often")
    y = pd.DataFrame({"value": y[:, 0], "label": labels})
    encoder = single().fit(X, y, step_weights)
    assert not encoder.mask_[1].any()
    assert set(encoder.predict(X)["label"]) == {"often"}


def test_step_tasks_must_fit(sequences):
    X, y, step_weights = sequences
    with pytest.raises(ValueError, match="step_weights must have shape"):
        quick().fit(X, y, step_weights[:3])
    with pytest.raises(ValueError, match="step_weights needs sequences"):
        quick().fit(X[:, 0], y, step_weights)
    with pytest.raises(ValueError, match="Negative values"):
        quick().fit(X, y, -step_weights)
    encoder = single().fit(X, y, step_weights)
    with pytest.raises(ValueError, match="4 steps"):
        encoder.predict(X[:, :4])
    assert encoder.predict(X[:, 0]).shape == (400, 2)
    each = single().fit(X, y, np.tile(step_weights, (400, 1, 1)))
    with pytest.raises(ValueError, match="pass those of X"):
        each.predict(X)
