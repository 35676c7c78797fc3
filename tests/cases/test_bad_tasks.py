"""Tasks that cannot be learned, beside others that can."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, cross_val_score

from skspecialist import (
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistClassifier,
    SpecialistPipeline,
    TaskLocalizer,
    TaskStructureIdentifier,
)
from skspecialist.encoder import SparseMultiTaskSelectorCV
from skspecialist.exceptions import SpecialistWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6, 4))
GOOD = X[:, 4, 2] + 0.3 * RNG.normal(size=120)
GROUPS = np.repeat(np.arange(4), 30)


def new_pipeline(**params):
    encoder = SparseSpecialistEncoder(
        2, n_relevant=1, sparsity=0, input_noise=0.3, hidden_layer_sizes=(4,), max_epochs=1
    )
    return SpecialistPipeline(encoder=encoder, random_state=0, **params)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(
    ("strategy", "n_rare"),
    [
        ("stack", 1),
        pytest.param("best", 1, marks=pytest.mark.slow),
        pytest.param("best", 2, marks=pytest.mark.slow),
    ],
)
def test_a_rare_class_does_not_stop_the_other_tasks(strategy, n_rare):
    rare = (np.arange(120) < n_rare).astype(int)
    y = np.column_stack([rare, GOOD > 0])
    pipeline = new_pipeline(strategy=strategy, cv=2)
    if n_rare == 1:
        with pytest.warns(SpecialistWarning, match="Task 'task0' .* one class only in this"):
            pipeline.fit(X, y)
        assert pipeline.weights_[0] == {"null": 1.0}
        assert "training fold" in pipeline.fallback_reason_[0]
    else:
        pipeline.fit(X, y)
    assert np.mean(pipeline.predict(X)[:, 1] == (GOOD > 0)) > 0.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_an_amount_that_is_constant_in_a_fold_does_not_stop_the_other_tasks():
    y = np.column_stack([np.where(GROUPS < 3, 0.0, GOOD), GOOD])
    pipeline = new_pipeline(cv=GroupKFold(2))
    with pytest.warns(SpecialistWarning, match="Task 'task0' .* one value only in this"):
        pipeline.fit(X, y, groups=GROUPS)
    assert pipeline.predicted_from_[0] == "null"
    assert np.corrcoef(pipeline.predict(X)[:, 1], GOOD)[0, 1] > 0.8


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_one_task_alone_falls_back_too():
    rare = (np.arange(120) < 1).astype(int)
    fitted = SpecialistClassifier(cv=2, random_state=0).fit(X, rare)
    assert fitted.weights_ == [{"null": 1.0}]
    assert fitted.predict_proba(X)[:, 1] == pytest.approx(1 / 120)


# Tasks of which nothing can be learned, and what a warning says of each.
BAD = {
    "constant": (np.zeros(120), "'bad' of y is constant"),
    "one class": (np.full(120, "a"), "'bad' of y has one class only"),
    "all missing": (np.full(120, np.nan), "'bad' of y has no value"),
    "all but one missing": (np.where(np.arange(120) > 0, np.nan, 1.0), "'bad' of y is constant"),
}


def small_encoder():
    return SparseSpecialistEncoder(
        2,
        n_relevant=1,
        sparsity=0,
        input_noise=0.3,
        max_epochs=2,
        hidden_layer_sizes=(4,),
        random_state=0,
    )


@cache
def good_task(kind):
    """Return a task, and a structure that was found for it alone."""
    good = pd.DataFrame({"good": GOOD if kind == "amount" else (GOOD > 0).astype(int)})
    return good, TaskStructureIdentifier().fit(X, good)


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", ["amount", "label"])
def test_one_bad_task_changes_no_other_in_structure_and_encoder(bad, kind):
    values, words = BAD[bad]
    alone, expected = good_task(kind)
    both = pd.DataFrame({"bad": values, "good": alone["good"]})
    with pytest.warns(SpecialistWarning, match=words):
        found = TaskStructureIdentifier().fit(X, both)
    assert_array_equal(found.pvalues_[:, 1:], expected.pvalues_)
    assert not found.structure_[:, 0].any()
    assert not found.tested_[:, 0].any()
    assert found.score(X, both) == expected.score(X, alone)
    weights = found.step_mask_.astype(float)
    weights[:, 1] += 1
    with pytest.warns(SpecialistWarning, match=words):
        encoder = small_encoder().fit(X, both, step_weights=weights)
    reference = small_encoder().fit(X, alone, step_weights=weights[:, 1:])
    assert_array_equal(encoder.mask_, np.vstack([np.zeros(2), reference.mask_[0]]))
    assert_array_equal(encoder.predict(X).iloc[:, 1], reference.predict(X).iloc[:, 0])
    assert encoder.step_weights_.shape == (6, 2)
    assert [str(v) for v in encoder.predict(X).iloc[:, 0]] == [str(values[0])] * 120


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("cls", [SparseSpecialistEncoderCV, SparseMultiTaskSelectorCV])
def test_one_bad_task_changes_no_other_in_cross_validated_encoders(cls):
    both = np.column_stack([GOOD, np.zeros(120)])
    params = {"cv": 2, "max_epochs": 2, "n_subsamples": 2, "random_state": 0}
    found, expected = (cls(**params).fit(X[:, 4], y) for y in (both, GOOD[:, None]))
    assert_array_equal(found.mask_[:1], expected.mask_)
    assert_array_equal(found.predict(X[:, 4])[:, :1], expected.predict(X[:, 4]))


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_a_task_that_is_constant_in_a_training_fold_does_not_stop_cross_validation():
    y = np.column_stack([np.where(GROUPS < 3, 0.0, GOOD), GOOD])
    options = {"groups": GROUPS, "cv": LeaveOneGroupOut(), "error_score": "raise"}
    assert np.isfinite(cross_val_score(small_encoder(), X, y, **options)).all()
    assert np.isfinite(cross_val_score(TaskStructureIdentifier(), X, y, **options)).all()


@pytest.mark.parametrize("n_rare", [1, 2])
def test_a_class_that_only_the_held_out_sequences_have_does_not_count(n_rare):
    labels = (GOOD > 0).astype(int)
    labels[:n_rare] = 2
    found = TaskStructureIdentifier().fit(X[n_rare:], labels[n_rare:])
    with pytest.warns(SpecialistWarning, match=r"'task0' .* not seen in fit, \[2\]"):
        assert found.score(X, labels) == pytest.approx(found.score(X[n_rare:], labels[n_rare:]))
    with pytest.raises(ValueError, match="not seen in fit"):
        found.score(X[:n_rare], labels[:n_rare])
    found = TaskLocalizer(2, cv=2, max_epochs=1).fit(X[n_rare:], labels[n_rare:])
    with pytest.warns(SpecialistWarning, match=r"'task0' .* not seen in fit, \[2\]"):
        score = found.score(X, labels)
    kept = found.score(X[n_rare:], labels[n_rare:])
    assert score == pytest.approx(kept * (1 - n_rare / len(X)))


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_one_bad_task_changes_no_other_in_the_localizer():
    small = {"cv": 2, "max_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0}
    labels = np.column_stack([np.ones(120, int), GOOD > 0])
    with pytest.warns(SpecialistWarning, match="'task0' of y has one class only"):
        found = TaskLocalizer(2, **small).fit(X, labels)
    expected = TaskLocalizer(2, **small).fit(X, labels[:, 1:])
    assert found.task_names_ == ["task1"]
    assert_array_equal(found.thresholds_, expected.thresholds_)
    weights = found.step_weights(X)
    assert_array_equal(weights[:, :, 1:], expected.step_weights(X))
    assert not weights[:, :, 0].any()
    assert found.score(X, labels) == expected.score(X, labels[:, 1:])


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("strategy", ["stack", "generalist"])
def test_bad_tasks_change_no_other_in_the_pipeline(strategy):
    both = pd.DataFrame({name: values for name, (values, _) in BAD.items()} | {"good": GOOD})
    pipeline = new_pipeline(cv=2) if strategy == "stack" else SpecialistPipeline(strategy=strategy)
    with pytest.warns(SpecialistWarning, match="'one class' of y has one class only"):
        pipeline.fit(X, both)
    alone = clone(pipeline).fit(X, both[["good"]])
    assert_array_equal(pipeline.predict(X).iloc[:, -1], alone.predict(X).iloc[:, 0])
    assert pipeline.predicted_from_[:-1] == ["null"] * 4
    assert [str(v) for v in pipeline.predict(X).iloc[0, :-1]] == ["0.0", "a", "nan", "1.0"]
    assert "fewer than two values" in pipeline.fallback_reason_[0]
    assert pipeline.weights_[-1] == alone.weights_[0]
