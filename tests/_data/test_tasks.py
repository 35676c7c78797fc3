"""Task values: the rule for their kind, the round trip, invalid, missing and weighted values."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, r2_score

from skspecialist._data.tasks import TaskTargets
from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoder
from skspecialist.exceptions import SpecialistWarning

CONTINUOUS = np.array([0.5, 2.0, -1.0, 7.5])
LABELS = {
    "int": np.array([3, 1, 3, 2]),
    "bool": np.array([True, False, True, True]),
    "str": np.array(["b", "a", "c", "a"]),
    "object": np.array(["b", "a", "c", "a"], dtype=object),
}


@pytest.fixture
def mixed():
    return pd.DataFrame({"amount": CONTINUOUS, "kind": list("abca"), "count": [1, 2, 1, 2]})


def round_trip(y):
    targets = TaskTargets(y)
    decoded = [task.decode(c) for task, c in zip(targets.tasks, targets.encode(y), strict=True)]
    return targets.join(decoded)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floats_are_continuous_and_standardized(dtype):
    targets = TaskTargets(CONTINUOUS.astype(dtype))
    (codes,) = targets.encode(CONTINUOUS)
    assert not targets.tasks[0].is_classification
    np.testing.assert_allclose([codes.mean(), codes.std()], [0, 1], atol=1e-12)


@pytest.mark.parametrize("y", LABELS.values(), ids=LABELS)
def test_everything_else_is_labels(y):
    targets = TaskTargets(y)
    (codes,) = targets.encode(y)
    assert targets.tasks[0].is_classification
    np.testing.assert_array_equal(np.unique(y)[codes], y)


def test_whole_numbers_do_not_make_floats_labels():
    assert not TaskTargets(np.array([0.0, 1.0, 1.0])).tasks[0].is_classification


def test_objects_that_are_all_floats_are_continuous():
    assert not TaskTargets(CONTINUOUS.astype(object)).tasks[0].is_classification


@pytest.mark.parametrize("y", [CONTINUOUS, *LABELS.values()], ids=["float", *LABELS])
def test_round_trip_keeps_values_type_and_dimensions(y):
    for values in (y, np.column_stack([y, y[::-1]])):
        back = round_trip(values)
        assert back.shape == values.shape
        assert back.dtype == values.dtype
        if y.dtype.kind == "f":
            np.testing.assert_allclose(back, values)
        else:
            np.testing.assert_array_equal(back, values)


def test_frame_of_mixed_kinds(mixed):
    targets = TaskTargets(mixed)
    assert targets.names == ["amount", "kind", "count"]
    assert [task.is_classification for task in targets.tasks] == [False, True, True]
    assert len(targets) == 3
    assert not targets.is_1d
    back = round_trip(mixed)
    pd.testing.assert_frame_equal(back, mixed)


def test_score_of_mixed_kinds_is_the_mean_of_r2_and_accuracy(mixed):
    targets = TaskTargets(mixed)
    assert targets.score(mixed, round_trip(mixed)) == pytest.approx(1.0)
    wrong = mixed.assign(amount=CONTINUOUS + 1, kind=list("abcb"), count=[1, 1, 1, 1])
    expected = [
        r2_score(CONTINUOUS, CONTINUOUS + 1),
        accuracy_score(list("abca"), list("abcb")),
        0.5,
    ]
    prediction = targets.join(targets.split(wrong))
    assert targets.score(mixed, prediction) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    "columns", [[0, 1], [("a", 1), ("a", 2)], ["same", "same"], [None, "with space"]]
)
def test_odd_column_names_become_strings(columns):
    y = pd.DataFrame(np.column_stack([CONTINUOUS, -CONTINUOUS]))
    y.columns = columns
    assert TaskTargets(y).names == [str(name) for name in y.columns]


@pytest.mark.parametrize(
    ("y", "is_classification"),
    [
        (pd.Series([1, 2, 1], dtype="Int64"), True),
        (pd.Series([True, False], dtype="boolean"), True),
        (pd.Series(["u", "v"]), True),
        (pd.Series(["u", "v"], dtype="category"), True),
        (pd.Series([1.5, 2.5], dtype="Float64"), False),
        ([[0.5], [1.5]], False),
        (["u", "v"], True),
    ],
)
def test_other_containers(y, is_classification):
    targets = TaskTargets(y)
    assert targets.names == ["task0"]
    assert targets.tasks[0].is_classification is is_classification
    assert round_trip(y).shape == np.shape(y)


def test_to_columns(mixed):
    columns, groups = TaskTargets(mixed).to_columns(mixed)
    assert [list(group) for group in groups] == [[0], [1, 2], [3]]
    np.testing.assert_allclose(columns[:, 0], (CONTINUOUS - 2.25) / CONTINUOUS.std())
    np.testing.assert_array_equal(columns[:, 1:3], [[0, 0], [1, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(columns[:, 3], [0, 1, 0, 1])


def test_label_that_fit_did_not_see():
    with pytest.raises(ValueError, match=r"task 'task0' that were not seen in fit, .*: \['z'\]"):
        TaskTargets(["a", "b"]).encode(["a", "z"])
    with pytest.raises(ValueError, match="not seen in fit"):
        TaskTargets([1, 2]).encode([1.5, 2.0])


def test_label_of_another_type_than_in_fit():
    with pytest.raises(TypeError, match="'task0' in y are of another type"):
        TaskTargets(np.array(["a", "b"], dtype=object)).encode([1, 2])


def test_other_number_of_tasks():
    with pytest.raises(ValueError, match="y has 1 tasks, but fit saw 2"):
        TaskTargets(np.column_stack([CONTINUOUS, CONTINUOUS])).encode(CONTINUOUS)


def test_other_number_of_samples():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TaskTargets(CONTINUOUS).split(CONTINUOUS, like=np.zeros(3))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TaskTargets.for_samples(CONTINUOUS, np.zeros((3, 2)), estimator=object())


def test_no_y():
    with pytest.raises(ValueError, match="int requires y to be passed, but the target y is None"):
        TaskTargets.for_samples(None, np.zeros((3, 2)), estimator=1)


@pytest.mark.parametrize("y", [[1.0, 1.0], [1e8, 1e8 + 1e-7], [0.0, 0.0]])
def test_constant_task(y):
    with pytest.raises(ValueError, match="Task 'task0' of y is constant"):
        TaskTargets(y)


@pytest.mark.parametrize("y", [["a", "a"], [1, 1], [True, True], pd.DataFrame({"task0": [2, 2]})])
def test_one_class(y):
    with pytest.raises(ValueError, match="Task 'task0' of y has one class only"):
        TaskTargets(y)


@pytest.mark.parametrize(
    "y",
    [5.0, [], np.zeros((3, 0)), np.zeros((2, 2, 2)), pd.DataFrame(), pd.DataFrame({"a": []})],
    ids=str,
)
def test_shapes_that_are_refused(y):
    with pytest.raises(ValueError, match=r"y must have shape .* got shape"):
        TaskTargets(y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_and_infinite_numbers(bad):
    with pytest.raises(ValueError, match="y contains"):
        TaskTargets([1.0, bad])


def test_complex_numbers():
    with pytest.raises(ValueError, match="Complex data not supported"):
        TaskTargets(np.array([1 + 1j, 2]))


@pytest.mark.parametrize("y", [["a", None], ["a", np.nan], [None, True]])
def test_missing_labels(y):
    with pytest.raises(ValueError, match="missing values"):
        TaskTargets(np.array(y, dtype=object))


@pytest.mark.parametrize("y", [["a", 1]])
def test_labels_of_mixed_types(y):
    with pytest.raises(TypeError, match="task 'task0' in y are of mixed types"):
        TaskTargets(np.array(y, dtype=object))


@pytest.mark.parametrize("bad", [np.nan, None, pd.NA], ids=str)
@pytest.mark.parametrize("values", [["b", "a", "b"], [True, False, True]], ids=str)
def test_missing_labels_where_they_are_allowed(values, bad):
    y = np.array([*values, bad], dtype=object)
    targets = TaskTargets(y, allow_missing=True)
    (codes,) = targets.encode(y)
    np.testing.assert_array_equal(codes, [1, 0, 1, np.nan])
    assert targets.tasks[0].n_classes == 2
    assert targets.score(y, np.array([*values, values[0]], dtype=object)) == 1.0


def test_missing_values_where_they_are_allowed():
    y = np.append(CONTINUOUS, np.nan)
    targets, known = TaskTargets(y, allow_missing=True), TaskTargets(CONTINUOUS)
    (codes,) = targets.encode(y)
    np.testing.assert_array_equal(codes[:-1], known.encode(CONTINUOUS)[0])
    assert np.isnan(codes[-1])
    wrong = np.append(CONTINUOUS + 1, 1e9)
    assert targets.score(y, wrong) == pytest.approx(r2_score(CONTINUOUS, CONTINUOUS + 1))


@pytest.mark.parametrize(
    "y",
    [[[1.0, np.nan], [2.0, np.nan]], pd.DataFrame({"amount": [1, 2], "task1": [None, None]})],
    ids=["array", "frame"],
)
def test_a_task_without_any_value_is_named(y):
    with pytest.warns(SpecialistWarning, match=r"'task1' of y has no value \(all are missing"):
        targets = TaskTargets(y, allow_missing=True)
    assert targets.learned.tolist() == [True, False]


def test_what_is_present_must_differ():
    with pytest.raises(ValueError, match="is constant"):
        TaskTargets([1.0, 1.0, np.nan], allow_missing=True)
    with pytest.raises(ValueError, match="one class only"):
        TaskTargets(np.array(["a", None, "a"], dtype=object), allow_missing=True)


def test_infinite_values_are_not_missing():
    with pytest.raises(ValueError, match="y contains infinity"):
        TaskTargets([1.0, np.nan, -np.inf], allow_missing=True)


def test_a_score_of_nothing_is_nan():
    targets = TaskTargets(CONTINUOUS, allow_missing=True)
    assert np.isnan(targets.score(np.full(4, np.nan), CONTINUOUS))


@pytest.fixture(scope="module")
def data():
    return make_specialist_latents(300, random_state=0)


def quick(**params):
    """Return an encoder that fits in a moment."""
    params = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0} | params
    return SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, input_noise=0.3, **params)


pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")


@pytest.fixture(scope="module")
def weights(data):
    weights = (np.random.RandomState(0).uniform(size=data.y.shape) > 0.3).astype(float)
    weights[~weights.any(axis=1), 0] = 1  # a sample without any weight would be absent
    return weights


def test_missing_values_need_no_weight(data, weights):
    y = np.where(weights > 0, data.y, np.nan)
    first, second = (quick().fit(data.X, y, sample_weight=w) for w in (None, weights))
    np.testing.assert_array_equal(first.predict(data.X), second.predict(data.X))


@pytest.mark.parametrize("value", [None, 1e6])
def test_values_without_weight_are_as_if_they_were_missing(data, weights, value):
    missing = np.where(weights > 0, data.y, np.nan)
    there = np.where(weights > 0, data.y, data.y if value is None else value)
    first, second = (quick().fit(data.X, y, sample_weight=weights) for y in (missing, there))
    np.testing.assert_array_equal(first.predict(data.X), second.predict(data.X))


def test_missing_values_do_not_count_in_the_score(data):
    encoder = quick().fit(data.X, data.y)
    missing = data.y.copy()
    missing[:50] = np.nan
    assert encoder.score(data.X, missing) == encoder.score(data.X[50:], data.y[50:])


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA], ids=str)
def test_an_encoder_of_missing_labels(data, nothing):
    labels = np.where(data.y[:, 0] > 0, "high", "low").astype(object)
    missing = labels.copy()
    missing[::5] = nothing
    encoder = quick().fit(data.X, missing)
    assert set(encoder.predict(data.X)) <= {"high", "low"}
    present = np.arange(300) % 5 > 0
    assert encoder.score(data.X, missing) == encoder.score(data.X[present], labels[present])


@pytest.mark.slow
def test_the_scale_of_weights_does_not_matter(data):
    factor = 0.3
    sample_weight = np.random.RandomState(0).uniform(size=data.y.shape)
    task_weight = np.array([1.0, 2.0, 3.0, 0.0])
    first = quick(task_weight=task_weight).fit(data.X, data.y, sample_weight=sample_weight)
    second = quick(task_weight=factor * task_weight).fit(
        data.X, data.y, sample_weight=sample_weight * [factor, 1, factor, 2]
    )
    # Weights in single precision differ in their last digit, and updates amplify it.
    np.testing.assert_allclose(first.predict(data.X), second.predict(data.X), atol=1e-3)
    equal = quick(task_weight=np.full(4, factor)).fit(
        data.X, data.y, sample_weight=np.full(300, factor)
    )
    unweighted = quick().fit(data.X, data.y)
    np.testing.assert_allclose(equal.predict(data.X), unweighted.predict(data.X), atol=1e-3)


@pytest.mark.slow
def test_a_task_that_counts_more_is_learned_better(data):
    def errors(task_weight):
        encoder = quick(task_weight=task_weight, max_epochs=40)
        return ((encoder.fit(data.X, data.y).predict(data.X) - data.y) ** 2).mean(axis=0)

    first, last = errors([1.0, 0, 0, 0.01]), errors([0.01, 0, 0, 1.0])
    assert first[0] < last[0]
    assert last[3] < first[3]


def test_weights_must_fit(data):
    for wrong in (np.ones(299), np.ones((300, 3)), np.ones((4, 300))):
        with pytest.raises(ValueError, match=r"sample_weight must have shape .*\(300, 4\)"):
            quick().fit(data.X, data.y, sample_weight=wrong)
    with pytest.raises(ValueError, match="Negative values in data passed to sample_weight"):
        quick().fit(data.X, data.y, sample_weight=-np.ones(300))
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        quick().fit(data.X, data.y, sample_weight=np.full(300, np.nan))
    with pytest.raises(ValueError, match="zero for all samples"):
        quick().fit(data.X, data.y, sample_weight=np.zeros((300, 4)))


@pytest.mark.parametrize("labels", [[(0, 1), (1, 0)], [(0,), (1, 0)]])
def test_a_label_may_be_a_tuple(labels):
    y = np.empty(4, dtype=object)
    y[:] = labels * 2
    task = TaskTargets(y).tasks[0]
    assert list(task.classes) == sorted(labels)
