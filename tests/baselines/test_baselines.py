"""Properties of all baselines."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from skspecialist.baselines import (
    CCABaseline,
    ChangePointBaseline,
    GraphicalLassoBaseline,
    GroupLassoBaseline,
    HMMBaseline,
    SelTaskBaseline,
)
from skspecialist.datasets import make_collider_sequences

SUPERVISED = [
    CCABaseline(alpha=0.001),
    GroupLassoBaseline(),
    GraphicalLassoBaseline(),
    HMMBaseline(alpha=0.001, random_state=0),
    ChangePointBaseline(alpha=0.001),
]
ALL = [*SUPERVISED, SelTaskBaseline(random_state=0)]
SLOW_BASELINES = (GraphicalLassoBaseline, SelTaskBaseline)
STRUCTURE = np.array([[1, 0], [0, 0], [0, 1], [1, 0]], dtype=bool)


@pytest.fixture(autouse=True)
def libraries(request):
    """Skip what needs a library that is not installed."""
    estimator = getattr(request.node, "callspec", None) and request.node.callspec.params.get(
        "estimator"
    )
    needed = {HMMBaseline: "hmmlearn", ChangePointBaseline: "ruptures"}.get(type(estimator))
    if needed:
        pytest.importorskip(needed)


def planted(seed, n_sequences=2000):
    """Return states without a chain, and tasks that share no segment."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_sequences, 8))
    y = X @ np.repeat(STRUCTURE, 2, axis=0) + 0.5 * rng.normal(size=(n_sequences, 2))
    return X, y


@pytest.fixture(scope="module")
def data():
    return make_collider_sequences(1000, n_timesteps=12, n_tasks=3, random_state=0)


@pytest.mark.parametrize("estimator", SUPERVISED, ids=repr)
def test_an_easy_planted_structure_comes_back(estimator):
    found = clone(estimator).fit(*planted(0))
    assert_array_equal(found.structure_, STRUCTURE)
    assert_array_equal(found.step_mask_, np.repeat(STRUCTURE, 2, axis=0))
    assert found.transform(planted(1)[0]).shape == (2000, 6)


@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(each, marks=[pytest.mark.slow] * isinstance(each, SLOW_BASELINES))
        for each in ALL
    ],
    ids=repr,
)
def test_permuting_tasks_permutes_the_answer(estimator, data):
    order = [2, 0, 1]
    one = clone(estimator).fit(data.X, data.y).structure_
    other = clone(estimator).fit(data.X, data.y[:, order]).structure_
    assert one.any()
    assert_array_equal(one[:, order], other)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_scale_and_offset_do_not_matter(estimator, data):
    one = clone(estimator).fit(data.X, data.y).structure_
    other = clone(estimator).fit(data.X * 1e3 - 7, data.y * 1e-3 + 5).structure_
    assert_array_equal(one, other)


@pytest.mark.parametrize("estimator", SUPERVISED, ids=repr)
def test_class_labels_are_tasks(estimator):
    X, y = planted(2)
    labels = pd.DataFrame({"good": y[:, 0] > 0, "grade": pd.cut(y[:, 1], 3, labels=list("abc"))})
    labels["grade"] = labels["grade"].astype(str)
    found = clone(estimator).fit(X, labels)
    assert found.task_names_ == ["good", "grade"]
    assert (found.structure_ >= STRUCTURE).all()


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_a_constant_feature_is_no_evidence(estimator):
    X, y = planted(3, n_sequences=300)
    X[:, 2:4] = 5.0
    assert not clone(estimator).fit(X, y).structure_[1].any()


@pytest.mark.parametrize("estimator", SUPERVISED[:2] + SUPERVISED[3:], ids=repr)
def test_tasks_are_required(estimator):
    with pytest.raises(ValueError, match="requires y to be passed"):
        clone(estimator).fit(planted(0)[0])


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_sequences_may_be_shorter_than_wanted(estimator):
    with pytest.raises(ValueError, match="fewer than segment_length=9"):
        clone(estimator).set_params(segment_length=9).fit(*planted(0))
