"""Class labels and amounts in every form, and the classifier and the regressor of scikit-learn."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputClassifier

from skspecialist import (
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistClassifier,
    SpecialistPipeline,
    SpecialistRegressor,
    TaskLocalizer,
    TaskStructureIdentifier,
)
from skspecialist._data.tasks import TaskTargets
from skspecialist.encoder import SparseMultiTaskSelector, SparseMultiTaskSelectorCV
from skspecialist.exceptions import SpecialistWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6, 4))
FLAT = X.reshape(60, -1)
Y = np.column_stack([X[:, 1, 0], X[:, 4, 2]]) + 0.3 * RNG.normal(size=(60, 2))
LABELS = (Y > 0).astype(int)
GAPS = [None if i % 10 == 0 else int(v) for i, v in enumerate(LABELS[:, 0])]


def classifier(**params):
    return SpecialistClassifier(strategy="generalist", random_state=0, **params)


def regressor(**params):
    return SpecialistRegressor(strategy="generalist", random_state=0, **params)


@pytest.mark.parametrize(
    "column",
    [
        LABELS[:, 0],
        pd.array(LABELS[:, 0], dtype="Int64"),
        pd.array(GAPS, dtype="Int64"),
        pd.array([None if v is None else bool(v) for v in GAPS], dtype="boolean"),
        pd.Series(GAPS, dtype=object),
        pd.Categorical(GAPS),
    ],
    ids=["int64", "Int64", "Int64 with gaps", "boolean with gaps", "objects", "categories"],
)
@pytest.mark.parametrize("rows", [slice(0, 30), slice(31, 40)])
def test_integers_are_labels_whether_or_not_some_are_missing(column, rows):
    y = pd.DataFrame({"a": column}).iloc[rows]
    (task,) = TaskTargets(y, allow_missing=True).tasks
    assert_array_equal(task.classes, [0, 1])
    (task,) = TaskTargets(y["a"], allow_missing=True).tasks
    assert_array_equal(task.classes, [0, 1])


def test_nullable_labels_have_probabilities_in_the_localizer():
    y = pd.DataFrame({"a": pd.array(GAPS, dtype="Int64")})
    localizer = TaskLocalizer(2, cv=2, hidden_layer_sizes=(4,), max_epochs=1, random_state=0)
    assert localizer.fit(X, y).predict_proba(X).shape == (60, 6, 1)


def test_floats_that_are_zero_or_one_warn_of_their_kind():
    holes = np.where(np.arange(60) % 7 == 0, np.nan, LABELS[:, 0].astype(float))
    with pytest.warns(SpecialistWarning, match="'task0' of y, floats that are all 0 or 1"):
        TaskTargets(holes, allow_missing=True)


def test_integers_of_many_values_warn_once_of_their_kind():
    counts = np.arange(60) // 2
    encoder = SparseSpecialistEncoder(
        2, n_relevant=1, sparsity=0, max_epochs=1, hidden_layer_sizes=(4,)
    )
    pipeline = SpecialistPipeline(encoder=encoder, strategy="specialist", random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline.fit(X, np.column_stack([counts, LABELS]))
    assert sum("integers of 30 diff" in str(warning.message) for warning in caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert TaskTargets(counts, task_types="amount").tasks[0].classes is None


@pytest.mark.parametrize(
    "task_types", ["amount", ["amount", "amount"], {"task0": "amount", "task1": "amount"}]
)
def test_integers_are_amounts_where_task_types_says_so(task_types):
    pipeline = SpecialistPipeline(task_types=task_types, strategy="generalist").fit(X, LABELS)
    floats = SpecialistPipeline(task_types="amount", strategy="generalist")
    floats.fit(X, LABELS.astype(float))
    assert_array_equal(pipeline.predict(X), floats.predict(X))


def test_task_types_by_name_and_a_readable_form():
    y = pd.DataFrame({"count": RNG.poisson(5, 60), "won": LABELS[:, 1].astype(float)})
    kinds = {"count": "amount", "won": "label"}
    pipeline = SpecialistPipeline(task_types=kinds, strategy="generalist").fit(X, y)
    assert repr(pipeline.tasks_) == "TaskTargets(count: amount, won: [0 1])"
    assert pipeline.tasks_.names == ["count", "won"]


@pytest.mark.parametrize(
    ("task_types", "match"),
    [({"no": "label"}, "'no'"), (["label"], "1 entries"), (["label", "word"], "'word'")],
)
def test_task_types_that_do_not_match_y_are_refused(task_types, match):
    with pytest.raises(ValueError, match=f"task_types.*{match}"):
        SpecialistPipeline(task_types=task_types).fit(X, LABELS)


def test_amounts_are_refused_by_the_classifier_and_strings_by_the_regressor():
    with pytest.raises(ValueError, match="Unknown label type"):
        classifier().fit(X, Y)
    with pytest.raises(ValueError, match="'task0' of y must have numbers"):
        regressor().fit(X, np.where(LABELS, "a", "b"))


def test_tags():
    assert is_classifier(classifier())
    assert not is_regressor(classifier())
    assert is_regressor(regressor())
    assert not is_classifier(regressor())
    assert not hasattr(regressor(), "predict_proba")


@pytest.mark.parametrize("dtype", [int, float, bool, str, object, "datetime64[s]"])
def test_labels_of_any_type_come_back(dtype):
    y = LABELS[:, 0].astype(dtype)
    fitted = classifier().fit(X, y)
    assert fitted.score(X, y) > 0.7
    assert set(fitted.predict(X)) <= set(y)
    assert len(fitted.classes_) == fitted.predict_proba(X).shape[1] == 2


def test_several_tasks_have_lists_of_classes_and_probabilities():
    fitted = classifier().fit(X, LABELS)
    assert [len(classes) for classes in fitted.classes_] == [2, 2]
    assert [probabilities.shape for probabilities in fitted.predict_proba(X)] == [(60, 2)] * 2


def test_scores_are_those_of_scikit_learn():
    weights = RNG.random(60)
    one, other = classifier().fit(X, LABELS[:, 0]), regressor().fit(X, Y)
    expected = accuracy_score(LABELS[:, 0], one.predict(X), sample_weight=weights)
    assert one.score(X, LABELS[:, 0], sample_weight=weights) == pytest.approx(expected)
    expected = r2_score(Y, other.predict(X), sample_weight=weights)
    assert other.score(X, Y, weights) == pytest.approx(expected)


def test_counts_are_amounts_to_the_regressor():
    counts = RNG.poisson(np.exp(X[:, 1, 0]))
    assert_array_equal(
        regressor().fit(X, counts).predict(X), regressor().fit(X, counts.astype(float)).predict(X)
    )


@pytest.mark.slow
def test_rows_in_the_order_of_their_class():
    labels = np.repeat(np.arange(3), 20)
    shifted = X.copy()
    shifted[:, 2, 0] += 4 * (labels == 1)
    shifted[:, 3, 1] += 4 * (labels == 2)
    assert cross_val_score(classifier(), shifted, labels, cv=3).mean() > 0.7
    with pytest.warns(SpecialistWarning, match=r"not seen in fit, \[.\].*StratifiedKFold"):
        assert cross_val_score(classifier(), shifted, labels, cv=KFold(3))[0] == 0
    encoder = SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, input_noise=0.3, max_epochs=1)
    compared = SpecialistPipeline(encoder=encoder, strategy="best", cv=2, random_state=0)
    compared.fit(shifted, labels)
    assert compared.score(shifted, labels) > 0.7


def test_meta_estimators_take_the_classifier():
    y = LABELS[:, 0]
    flat = classifier(n_timesteps=6)
    proba = cross_val_predict(classifier(), X, y, method="predict_proba", cv=2)
    assert proba.shape == (60, 2)
    assert cross_val_score(classifier(), X, y, scoring="roc_auc", cv=2).mean() > 0.6
    grid = GridSearchCV(classifier(), {"random_state": [0]}, scoring="roc_auc", cv=2)
    assert grid.fit(X, y).best_score_ > 0.6
    assert CalibratedClassifierCV(flat, cv=2).fit(FLAT, y).predict_proba(FLAT).shape == (60, 2)
    for voting in ("hard", "soft"):
        pair = [("ours", flat), ("theirs", LogisticRegression())]
        assert VotingClassifier(pair, voting=voting).fit(FLAT, y).score(FLAT, y) > 0.7
    assert MultiOutputClassifier(flat).fit(FLAT, LABELS).predict(FLAT).shape == (60, 2)


def test_displays_take_the_classifier():
    pytest.importorskip("matplotlib").use("agg")
    fitted = classifier().fit(X, LABELS[:, 0])
    display = ConfusionMatrixDisplay.from_estimator(fitted, X, LABELS[:, 0])
    assert display.confusion_matrix.sum() == 60


@pytest.mark.parametrize("meta", [VotingRegressor, StackingRegressor])
def test_meta_estimators_take_the_regressor(meta):
    pair = [("ours", regressor(n_timesteps=6)), ("theirs", Ridge())]
    assert meta(pair).fit(FLAT, Y[:, 0]).predict(FLAT).shape == (60,)


def new_identifier(**params):
    return TaskStructureIdentifier(**params)


def new_localizer(**params):
    small = {"cv": 2, "hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
    return TaskLocalizer(2, **small, **params)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("kind", ["amount", "label"])
@pytest.mark.parametrize(
    "cls",
    [
        SparseSpecialistEncoder,
        SparseSpecialistEncoderCV,
        SparseMultiTaskSelector,
        SparseMultiTaskSelectorCV,
    ],
)
def test_task_types_override_the_rule_in_every_encoder(cls, kind):
    y = np.column_stack([np.arange(60) % 5, LABELS[:, 1]])
    plain = y.astype(float) if kind == "amount" else y
    other = y if kind == "amount" else y.astype(float)
    params = {"max_epochs": 1, "random_state": 0}
    params |= {"cv": 2} if "CV" in cls.__name__ else {}
    one = cls(task_types=kind, **params).fit(X[:, 1], other)
    assert_array_equal(one.predict(X[:, 1]), cls(**params).fit(X[:, 1], plain).predict(X[:, 1]))


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("new", [new_identifier, new_localizer])
@pytest.mark.parametrize("kind", ["amount", "label"])
def test_task_types_override_the_rule_in_every_estimator(new, kind):
    y = pd.DataFrame({"count": np.arange(60) % 5, "won": LABELS[:, 1]})
    plain = y.astype(float) if kind == "amount" else y
    other = y if kind == "amount" else y.astype(float)
    expected = new().fit(X, plain)
    for types in (kind, [kind, kind], {"count": kind, "won": kind}):
        found = new(task_types=types).fit(X, other)
        assert_array_equal(found.step_weights(X), expected.step_weights(X))
        assert found.score(X, other) == expected.score(X, plain)
    with pytest.raises(ValueError, match=r"task_types.*'no'"):
        new(task_types={"no": kind}).fit(X, y)


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning:skspecialist")
@pytest.mark.parametrize("new", [new_identifier, new_localizer])
def test_an_ambiguous_column_warns_once_in_every_estimator(new):
    counts = np.arange(60) // 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        new().fit(X, counts)
    assert sum("is read as class labels" in str(warning.message) for warning in caught) == 1


def test_task_types_of_batches():
    counts = np.arange(60) % 5
    whole = TaskStructureIdentifier(task_types="amount", independence_test="wilks").fit(X, counts)
    parts = TaskStructureIdentifier(task_types="amount", independence_test="wilks")
    for rows in (slice(0, 30), slice(30, 60)):
        parts.partial_fit(X[rows], counts[rows])
    assert_array_equal(whole.structure_, parts.structure_)
