"""Labels and amounts that are missing for some tasks: they cost one task one sequence."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import r2_score

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline, TaskStructureIdentifier

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5, 2))
Y = np.column_stack([X[:, 1, 0], X[:, 4, 1]]) + 0.3 * RNG.normal(size=(120, 2))
KNOWN = RNG.random(Y.shape) > 0.3
KNOWN[~KNOWN.any(axis=1), 0] = True  # a sample without any weight would be absent
HOLES = np.where(KNOWN, Y, np.nan)


def new_encoder():
    return SparseSpecialistEncoder(
        2,
        n_relevant=1,
        sparsity=0,
        input_noise=0.3,
        hidden_layer_sizes=(4,),
        max_epochs=2,
        random_state=0,
    )


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"independence_test": "wilks", "conditioning": "band"},
        {"criterion": "collider"},
        {"independence_test": "wilks", "n_subsamples": 4, "random_state": 0},
    ],
    ids=["default", "band", "collider", "subsamples"],
)
def test_each_task_has_the_structure_of_the_sequences_of_which_it_is_known(params):
    found = TaskStructureIdentifier(**params).fit(X, HOLES)
    for task, known in enumerate(KNOWN.T):
        alone = TaskStructureIdentifier(**params).fit(X[known], Y[known, task])
        assert_array_equal(found.pvalues_[:, task], alone.pvalues_[:, 0])
        assert_array_equal(found.n_sequences_[:, task], alone.n_sequences_[:, 0])
        assert_array_equal(found.structure_[:, task], alone.structure_[:, 0])
        assert_array_equal(found.selection_frequency_[:, task], alone.selection_frequency_[:, 0])


@pytest.mark.parametrize("segment_length", [1, "auto"])
def test_the_score_of_a_structure_is_the_sum_over_tasks_that_are_known(segment_length):
    found = TaskStructureIdentifier(segment_length).fit(X, HOLES)
    parts = [
        TaskStructureIdentifier(found.segments_).fit(X[known], y[known])
        for y, known in zip(Y.T, KNOWN.T, strict=True)
    ]
    scores = [
        part.score(X[known], y[known]) for part, y, known in zip(parts, Y.T, KNOWN.T, strict=True)
    ]
    assert found.score(X, HOLES) == pytest.approx(sum(scores))
    only_one = np.where([True, False], HOLES, np.nan)
    expected = scores[0] - parts[1]._gains[0].model.cost
    assert found.score(X, only_one) == pytest.approx(expected)
    with pytest.raises(ValueError, match="y has missing values only"):
        found.score(X, np.full(Y.shape, np.nan))


def test_a_value_of_weight_zero_is_absent():
    steps = X[:, 1]
    one = new_encoder().fit(steps, HOLES)
    other = new_encoder().fit(steps, Y, sample_weight=KNOWN.astype(float))
    assert_array_equal(one.predict(steps), other.predict(steps))
    assert one.score(steps, HOLES) != one.score(steps, Y)


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA], ids=["None", "NaN", "NA"])
@pytest.mark.parametrize("labels", [["no", "yes"], [0, 1], [False, True]], ids=str)
def test_every_form_of_a_missing_label_is_the_same(nothing, labels):
    values = np.array(labels)[(Y > 0).astype(int)].astype(object)
    values[~KNOWN] = nothing
    expected = np.array(labels)[(Y > 0).astype(int)].astype(object)
    expected[~KNOWN] = None
    structure = TaskStructureIdentifier(independence_test="wilks", conditioning="band")
    one, other = (clone(structure).fit(X, y) for y in (values, expected))
    assert_array_equal(one.pvalues_, other.pvalues_)
    steps = X[:, 1]
    one, other = (new_encoder().fit(steps, y) for y in (pd.DataFrame(values), expected))
    assert_array_equal(one.predict(steps), other.predict(steps))


def new_pipeline(**params):
    encoder = new_encoder().set_params(random_state=None)
    return SpecialistPipeline(encoder=encoder, random_state=0, **({"cv": 2} | params))


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param("stack", marks=pytest.mark.slow),
        "best",
        pytest.param("specialist", marks=pytest.mark.slow),
        "generalist",
    ],
)
def test_a_pipeline_learns_each_task_from_the_sequences_of_which_it_is_known(strategy):
    if strategy == "generalist":
        pipeline = SpecialistPipeline(strategy=strategy, random_state=0)
        alone = [clone(pipeline).fit(X[k], y[k]) for k, y in zip(KNOWN.T, Y.T, strict=True)]
        expected = np.column_stack([fitted.predict(X) for fitted in alone])
        assert_allclose(pipeline.fit(X, HOLES).predict(X), expected)
        return
    fitted = new_pipeline(strategy=strategy).fit(X, HOLES)
    assert fitted.score(X, HOLES) == pytest.approx(
        np.mean(
            [r2_score(Y[known, j], fitted.predict(X)[known, j]) for j, known in enumerate(KNOWN.T)]
        )
    )
    assert fitted.score(X, Y) > (0.1 if strategy == "specialist" else 0.8)
    before = fitted.predict(X)
    fitted.add_task(X, HOLES[:, 0])
    assert_array_equal(fitted.predict(X)[:, :2], before)


@pytest.mark.slow
def test_labels_that_are_missing_are_left_out_of_every_split():
    labels = np.where(KNOWN, np.where(Y > 0, "high", "low"), None)
    fitted = new_pipeline().fit(X, labels)
    assert [proba.shape for proba in fitted.predict_proba(X)] == [(120, 2)] * 2
    assert fitted.score(X, labels) > 0.8
    groups = np.arange(120) // 6
    grouped = new_pipeline().fit(X, labels, groups=groups, environments=groups % 2)
    assert grouped.score(X, labels) > 0.8
