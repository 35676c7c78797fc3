"""TaskStructureIdentifier: planted structures come back, with the promised error rates."""

import pickle

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences, make_digit_sequences
from skspecialist.exceptions import SpecialistWarning
from skspecialist.independence import FisherZ
from skspecialist.metrics import structure_scores


@pytest.fixture(scope="module")
def data():
    return make_collider_sequences(1500, n_timesteps=12, n_tasks=3, random_state=0)


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize(
    ("criterion", "segment_steps"),
    [
        ("direct", "interior"),
        ("direct", "last"),
        ("collider", "interior"),
    ],
)
def test_a_planted_structure_comes_back(criterion, segment_steps, n_features):
    n_sequences = 2000 if criterion == "direct" else 20_000
    data = make_collider_sequences(n_sequences, 12, n_features=n_features, random_state=1)
    identifier = TaskStructureIdentifier(
        2, criterion=criterion, segment_steps=segment_steps, alpha=0.01
    )
    found = identifier.fit(data.X, data.y).structure_
    assert structure_scores(data.structure, found).mcc > 0.9


@pytest.mark.slow
def test_segment_evidence_needs_actions_without_effect():
    discoveries = {}
    for effect in (0.0, 0.8):
        data = make_collider_sequences(5000, 12, action_effect=effect, random_state=2)
        found = TaskStructureIdentifier(2, segment_steps="all").fit(data.X, data.y).structure_
        scores = structure_scores(data.structure, found)
        discoveries[effect] = scores.false_discovery_proportion
    assert discoveries[0.0] < 0.1 < discoveries[0.8]


@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_a_task_that_touches_nothing_stays_empty(criterion):
    # Given the sequences, null tasks are independent of each other.
    n_draws, n_null, n_empty = 8, 10, 0
    for seed in range(n_draws):
        data = make_collider_sequences(
            500, 12, n_tasks=2, n_null_tasks=n_null, random_state=1000 + seed
        )
        identifier = TaskStructureIdentifier(2, criterion=criterion).fit(data.X, data.y)
        n_empty += (~identifier.structure_[:, 2:].any(axis=0)).sum()
    assert n_empty >= binom.ppf(0.001, n_draws * n_null, 0.95)


@pytest.mark.slow
def test_all_steps_find_more_than_the_band_at_the_same_level():
    recall, rejections = {"band": [], "all": []}, {"band": [], "all": []}
    linear = TaskStructureIdentifier(2, independence_test="wilks")
    for seed in range(20):
        data = make_collider_sequences(300, random_state=4000 + seed)
        for conditioning in recall:
            found = linear.set_params(conditioning=conditioning).fit(data.X, data.y)
            recall[conditioning].append(structure_scores(data.structure, found.structure_).recall)
            rejections[conditioning].append(found.pvalues_[~data.structure] <= 0.05)
    assert np.mean(recall["all"]) > np.mean(recall["band"]) + 0.1
    for rejected in map(np.concatenate, rejections.values()):
        low, high = binom.ppf([0.0005, 0.9995], len(rejected), 0.05)
        assert low <= rejected.sum() <= high


def test_all_steps_where_they_are_too_many_or_collinear():
    data = make_collider_sequences(300, n_timesteps=12, n_tasks=2, random_state=5)
    auto, band, every = (
        TaskStructureIdentifier(2, conditioning=conditioning, independence_test="wilks")
        for conditioning in ("auto", "band", "all")
    )
    few = data.X[:59], data.y[:59]
    assert_array_equal(auto.fit(*few).pvalues_, band.fit(*few).pvalues_)
    assert_array_equal(auto.fit(data.X, data.y).pvalues_, every.fit(data.X, data.y).pvalues_)
    twice = np.repeat(data.X, 2, axis=2)
    assert_array_equal(auto.fit(twice, data.y).pvalues_, band.fit(twice, data.y).pvalues_)
    with pytest.raises(ValueError, match="conditioning='band'"):
        every.fit(twice, data.y)
    with pytest.raises(ValueError, match="conditioning='band'"):
        every.set_params(independence_test="gcm").fit(data.X, data.y)


@pytest.mark.slow
@pytest.mark.parametrize("correction", ["bh", pytest.param("by", marks=pytest.mark.slow)])
def test_false_discoveries_within_a_task_hold_their_level(correction):
    proportions = []
    for seed in range(15):
        data = make_collider_sequences(500, 12, random_state=2000 + seed)
        found = TaskStructureIdentifier(2, correction=correction).fit(data.X, data.y).structure_
        wrong = (found & ~data.structure).sum(axis=0) / np.maximum(found.sum(axis=0), 1)
        proportions.extend(wrong)
    standard_error = np.std(proportions) / np.sqrt(len(proportions))
    assert np.mean(proportions) <= 0.05 + 3 * standard_error


def test_no_correction_rejects_more(data):
    found = {
        name: TaskStructureIdentifier(2, correction=name).fit(data.X, data.y).structure_
        for name in ("none", "bh", "by")
    }
    assert (found["by"] <= found["bh"]).all()
    assert (found["bh"] <= found["none"]).all()


@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_permuting_tasks_permutes_the_answer(data, criterion):
    order = [2, 0, 1]
    one = TaskStructureIdentifier(2, criterion=criterion).fit(data.X, data.y)
    other = TaskStructureIdentifier(2, criterion=criterion).fit(data.X, data.y[:, order])
    assert_allclose(one.pvalues_[:, order], other.pvalues_)


@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_order_scale_and_offset_of_the_data_do_not_matter(data, criterion):
    order = np.random.default_rng(0).permutation(len(data.X))
    # The folds of the robust tests depend on the order.
    identifier = TaskStructureIdentifier(2, criterion=criterion, independence_test="wilks")
    one = clone(identifier).fit(data.X, data.y)
    other = clone(identifier).fit(data.X[order] * 1e-6 + 3, data.y[order] * -1e4 - 1e5)
    assert_allclose(one.pvalues_, other.pvalues_, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_class_labels_are_tasks_like_any_other(criterion):
    n_sequences = 4000 if criterion == "direct" else 20_000
    data = make_collider_sequences(n_sequences, n_timesteps=8, n_tasks=2, random_state=4)
    y = pd.DataFrame(
        {
            "good": data.y[:, 0] > 0,
            "grade": pd.cut(data.y[:, 1], 4, labels=list("abcd")).astype(str),
        }
    )
    identifier = TaskStructureIdentifier(2, criterion=criterion, alpha=0.01).fit(data.X, y)
    assert identifier.task_names_ == ["good", "grade"]
    assert structure_scores(data.structure, identifier.structure_).mcc > 0.8


def test_a_one_dimensional_y_is_one_task(data):
    one = TaskStructureIdentifier(2).fit(data.X, data.y[:, 0])
    assert one.structure_.shape == (6, 1)
    assert_allclose(
        one.pvalues_[:, 0], TaskStructureIdentifier(2).fit(data.X, data.y).pvalues_[:, 0]
    )


def test_real_images():
    data = make_digit_sequences(1000, random_state=4)
    X = PCA(10).fit_transform(data.X.reshape(-1, 64)).reshape(1000, 16, 10)
    found = TaskStructureIdentifier(2, alpha=0.01).fit(X, data.y).structure_
    assert structure_scores(data.structure, found).mcc > 0.85


def test_flat_input_is_the_same_as_sequences(data):
    flat = data.X.reshape(len(data.X), -1)
    one = TaskStructureIdentifier(2, n_timesteps=12).fit(flat, data.y)
    other = TaskStructureIdentifier(2).fit(data.X, data.y)
    assert_array_equal(one.pvalues_, other.pvalues_)
    assert one.transform(data.X).shape == (1500, other.support_.sum(), 1)
    assert_array_equal(one.transform(flat), other.transform(data.X)[:, :, 0])


def test_transform_keeps_steps_and_inverse_transform_puts_them_back():
    data = make_collider_sequences(1000, n_timesteps=8, n_tasks=1, n_features=2, random_state=7)
    identifier = TaskStructureIdentifier(2).fit(data.X, data.y)
    support = identifier.get_support()
    assert 0 < support.sum() < 8
    assert_array_equal(identifier.get_support(indices=True), np.flatnonzero(support))
    kept = identifier.transform(data.X)
    assert_array_equal(kept, data.X[:, support])
    assert_array_equal(identifier.inverse_transform(kept)[:, support], kept)
    assert not identifier.inverse_transform(kept)[:, ~support].any()
    flat = identifier.transform(data.X.reshape(1000, -1))
    assert_array_equal(flat, kept.reshape(1000, -1))
    assert flat.shape[1] == len(identifier.get_feature_names_out())
    with pytest.raises(ValueError, match="must hold the"):
        identifier.inverse_transform(kept[:, :-1])


def test_task_steps_repeat_the_structure(data):
    identifier = TaskStructureIdentifier(2).fit(data.X, data.y)
    weights = identifier.step_weights(data.X[:5])
    assert weights.shape == (5, 12, 3)
    assert_array_equal(weights[3], identifier.step_mask_)


def test_names_of_a_data_frame_come_through(data):
    frame = pd.DataFrame(data.X[:, :, 0], columns=[f"day {t}" for t in range(12)])
    identifier = TaskStructureIdentifier(2).set_output(transform="pandas").fit(frame, data.y)
    kept = identifier.transform(frame)
    assert kept.columns.tolist() == [f"day {t}" for t in identifier.get_support(indices=True)]


def test_the_true_structure_scores_best():
    # Without an effect of actions on states, so that no other step says more of a task.
    data = make_collider_sequences(2000, action_effect=0.0, random_state=6)
    half = len(data.X) // 2
    scores = {}
    for alpha in (1e-30, 0.01, 0.9):
        identifier = TaskStructureIdentifier(2, alpha=alpha, correction="none")
        identifier.fit(data.X[:half], data.y[:half])
        scores[alpha] = identifier.score(data.X[half:], data.y[half:])
    assert scores[0.01] == max(scores.values()) > 0


def test_an_empty_structure_scores_zero_and_warns():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(100, 8)), rng.normal(size=100)
    identifier = TaskStructureIdentifier(2, alpha=1e-6).fit(X, y)
    assert identifier.score(X, y) == 0.0
    with pytest.warns(SpecialistWarning, match="No step of any task"):
        assert identifier.transform(X).shape == (100, 0)


def test_the_score_needs_tasks_that_were_observed(data):
    with pytest.raises(ValueError, match="requires y"):
        TaskStructureIdentifier(2).fit(data.X, data.y).score(data.X)


def test_a_minimal_effect_size_is_demanded(data):
    lenient = TaskStructureIdentifier(2).fit(data.X, data.y)
    middle = float(np.median(lenient.effect_sizes_[lenient.structure_]))
    strict = TaskStructureIdentifier(2, min_effect_size=middle).fit(data.X, data.y)
    assert_array_equal(strict.structure_, lenient.structure_ & (lenient.effect_sizes_ >= middle))
    assert 0 < strict.structure_.sum() < lenient.structure_.sum()


@pytest.mark.slow
def test_works_in_pipelines_and_searches(data):
    flat = data.X.reshape(len(data.X), -1)
    pipeline = make_pipeline(StandardScaler(), TaskStructureIdentifier(2), Ridge())
    with parallel_config("threading", n_jobs=2):
        search = GridSearchCV(pipeline, {"taskstructureidentifier__alpha": [0.001, 0.1]}, cv=3)
        search.fit(flat, data.y)
    assert search.best_score_ > 0.3
    own = GridSearchCV(
        TaskStructureIdentifier(2, independence_test=FisherZ()),
        {"segment_length": [2, 4], "criterion": ["direct", "collider"]},
        cv=3,
        error_score="raise",
    )
    with pytest.raises(ValueError, match="independence_test='wilks'"):
        own.fit(data.X, data.y)
    own.set_params(estimator__independence_test="wilks").fit(data.X, data.y)
    assert own.best_params_["segment_length"] == 2


def test_segments_of_the_users_own(data):
    pairs = [(t, t + 2) for t in range(0, 12, 2)]
    own = TaskStructureIdentifier(pairs).fit(data.X, data.y)
    assert_array_equal(own.pvalues_, TaskStructureIdentifier(2).fit(data.X, data.y).pvalues_)
    some = TaskStructureIdentifier([(2, 4), (4, 9)]).fit(data.X, data.y)
    assert some.structure_.shape == (2, 3)
    assert not some.support_[[0, 1, 9, 10, 11]].any()


@pytest.mark.slow
@pytest.mark.parametrize("length", [2, 3])
def test_the_length_of_the_segments_is_found(length):
    n_right = 0
    identifier = TaskStructureIdentifier("auto", alpha=0.01, independence_test="wilks")
    for seed in range(3):
        data = make_collider_sequences(5000, 12, 3, segment_length=length, random_state=3000 + seed)
        identifier.fit(data.X, data.y)
        n_right += bool(identifier.segments_[0, 1] == length)
    assert n_right >= 2


@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_frequent_in_half_samples_is_what_is_clear(data, criterion):
    identifier = TaskStructureIdentifier(2, criterion=criterion, n_subsamples=4, random_state=0)
    frequency = identifier.fit(data.X, data.y).selection_frequency_
    assert ((frequency >= 0) & (frequency <= 1)).all()
    assert frequency[identifier.pvalues_ < 1e-12].min() == 1.0
    assert frequency[~data.structure].mean() < 0.1
    again = clone(identifier).fit(data.X, data.y)
    assert_array_equal(again.selection_frequency_, frequency)


def test_the_table_says_what_the_attributes_say(data):
    identifier = TaskStructureIdentifier(2, n_subsamples=2, random_state=0).fit(data.X, data.y)
    frame = identifier.to_frame()
    assert len(frame) == identifier.structure_.size
    one = frame.set_index(["task", "segment"]).loc[("task1", 3)]
    assert one["relevant"] == identifier.structure_[3, 1]
    assert one["adjusted_pvalue"] == identifier.adjusted_pvalues_[3, 1]
    assert (one["start"], one["stop"]) == (6, 8)
    assert one["n_sequences"] == len(data.X)


@pytest.mark.slow
def test_workers_and_seed_go_to_the_test(data):
    X, y = data.X[:150], data.y[:150]
    one = TaskStructureIdentifier(2, independence_test="rcit", random_state=3).fit(X, y)
    two = TaskStructureIdentifier(2, independence_test="rcit", random_state=3, n_jobs=2).fit(X, y)
    other = TaskStructureIdentifier(2, independence_test="rcit", random_state=4).fit(X, y)
    assert_array_equal(one.pvalues_, two.pvalues_)
    assert (one.pvalues_ != other.pvalues_).any()


def test_one_label_a_sequence_or_a_column_for_each_label(data):
    label = np.where(data.y[:, 0] > 0.5, "wave", np.where(data.y[:, 1] > 0, "bow", "nod"))
    one = TaskStructureIdentifier(2).fit(data.X, label)
    assert one.structure_.shape == (6, 1)
    each = TaskStructureIdentifier(2).fit(data.X, pd.get_dummies(label))
    assert each.task_names_ == ["bow", "nod", "wave"]
    assert_array_equal(each.structure_.any(axis=1) <= one.structure_[:, 0], True)


def test_pickle_and_clone(data):
    identifier = TaskStructureIdentifier(2, independence_test="wilks").fit(data.X, data.y)
    again = pickle.loads(pickle.dumps(identifier))
    assert again.score(data.X, data.y) == identifier.score(data.X, data.y)
    assert clone(identifier).get_params() == identifier.get_params()


class TestBadInput:
    X = np.random.default_rng(0).normal(size=(50, 6))
    y = np.random.default_rng(1).normal(size=50)

    def test_infinite_features(self):
        X = self.X.copy()
        X[3, 2] = np.inf
        with pytest.raises(ValueError, match="Input X contains infinity"):
            TaskStructureIdentifier(2).fit(X, self.y)

    def test_tasks_that_are_not_finite(self):
        y = self.y.copy()
        y[4] = np.inf
        with pytest.raises(ValueError, match="Input y contains infinity"):
            TaskStructureIdentifier(2).fit(self.X, y)

    def test_constant_feature_is_no_evidence(self):
        X = self.X.copy()
        X[:, 3] = 5.0
        with pytest.warns(SpecialistWarning, match="could not be tested"):
            found = TaskStructureIdentifier(2).fit(X, X[:, 1])
        assert (found.pvalues_[1] == 1.0).all()

    @pytest.mark.parametrize(
        ("X", "y", "message"),
        [
            (X, np.zeros(50), "'task0' of y is constant"),
            (X, np.zeros(50, dtype=int), "one class only"),
            (X, y[:40], "inconsistent numbers of samples"),
            (y, X, "Expected 2D array"),
            (X[:1], y[:1], "minimum of 2 is required"),
            (X[:3], y[:3], "too few for every test"),
            (X[:, :1], y, "fewer than segment_length=2"),
            (np.zeros((50, 0, 3)), y, "0 feature"),
            (np.full((50, 6), "word"), y, "could not convert string"),
            (X.reshape(50, 3, 2)[:, :1], y, "n_timesteps=1 steps"),
            (np.zeros((2, 2, 2, 2)), y[:2], "Expected 2D array"),
            (X, np.array(["a", 1.5] * 25, dtype=object), "mixed types"),
            (X, np.array(["a", None] * 25, dtype=object), "one class only"),
            (X, np.full(50, np.nan), "has no value"),
            (X + 1j, y, "Complex data not supported"),
        ],
    )
    def test_messages(self, X, y, message):
        with pytest.raises((ValueError, TypeError), match=message):
            TaskStructureIdentifier(2).fit(X, y)

    @pytest.mark.parametrize("criterion", ["direct", "collider"])
    def test_a_criterion_that_needs_tasks(self, criterion):
        with pytest.raises(ValueError, match="requires y to be passed"):
            TaskStructureIdentifier(2, criterion=criterion).fit(self.X)

    def test_an_error_leaves_the_estimator_as_it_was(self):
        identifier = TaskStructureIdentifier(2).fit(self.X, self.y)
        before = dict(vars(identifier))
        with pytest.raises(ValueError, match="constant"):
            identifier.fit(self.X[:, :4], np.zeros(50))
        assert vars(identifier) == before

    def test_sequences_of_another_length(self):
        identifier = TaskStructureIdentifier(2).fit(self.X.reshape(50, 3, 2), self.y)
        with pytest.raises(ValueError, match="expects n_timesteps=3"):
            identifier.transform(self.X.reshape(50, 2, 3))


class TestDefaults:
    """Each step given all others, by robust tests."""

    @pytest.fixture(scope="class")
    def curved(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(300, 6, 2))
        for t in range(1, 6):
            X[:, t] += 0.5 * X[:, t - 1]
        y = np.stack([X[:, 1, 0] + np.abs(X[:, 4, 1]), rng.normal(size=300)], axis=1)
        return X, y + 0.5 * rng.normal(size=y.shape)

    def test_odd_even_first_last_linear_and_curved_steps(self, curved):
        X, y = curved
        y = np.column_stack(
            [y, X[:, 0, 0] + X[:, 5, 1] + np.random.default_rng(1).normal(size=300)]
        )
        found = TaskStructureIdentifier().fit(X, y)
        truth = np.zeros((6, 3), dtype=bool)
        truth[[1, 4], 0] = truth[[0, 5], 2] = True
        assert_array_equal(found.structure_, truth)
        assert found.tested_.all()
        assert found.conditioning_ == "all"
        assert_array_equal(found.n_sequences_, np.full((6, 3), 300))
        assert_array_equal(found.test_result_.pvalue, found.pvalues_)

    def test_auto_is_robust_for_sequences_in_memory(self, curved):
        auto = TaskStructureIdentifier().fit(*curved)
        robust = TaskStructureIdentifier(independence_test="robust").fit(*curved)
        assert_array_equal(auto.pvalues_, robust.pvalues_)
        linear = TaskStructureIdentifier(conditioning="band").fit(*curved)
        wilks = TaskStructureIdentifier(conditioning="band", independence_test="wilks")
        assert_array_equal(linear.pvalues_, wilks.fit(*curved).pvalues_)

    def test_labels_do_not_depend_on_their_order(self, curved):
        X, y = curved
        grade = np.digitize(y[:, 0], np.quantile(y[:, 0], [0.3, 0.7]))
        one = TaskStructureIdentifier().fit(X, np.array(["a", "b", "c"])[grade])
        other = TaskStructureIdentifier().fit(X, np.array(["c", "a", "b"])[grade])
        assert_allclose(one.pvalues_, other.pvalues_, rtol=1e-6)
        assert_array_equal(np.flatnonzero(one.support_), [1, 4])

    def test_missing_steps_are_imputed(self, curved):
        X, y = curved[0].copy(), curved[1]
        X[::7, 3] = np.nan
        found = TaskStructureIdentifier().fit(X, y)
        assert found.conditioning_ == "all"
        assert found.n_sequences_[3, 0] == 300 - 43
        assert_array_equal(np.flatnonzero(found.structure_[:, 0]), [1, 4])

    def test_groups(self, curved):
        X, y = curved
        groups = np.repeat(np.arange(10), 30)
        trait = np.random.default_rng(2).normal(size=10)[groups]
        shifted = X + trait[:, None, None]
        tasks = np.column_stack([y[:, 0] + 3 * trait, trait])
        with pytest.warns(SpecialistWarning, match=r"\['task1'\] do not vary within groups"):
            found = TaskStructureIdentifier().fit(shifted, tasks, groups=groups.astype(str))
        assert found.structure_[1, 0]
        assert not found.structure_[[0, 2, 3, 5], 0].any()
        assert not found.tested_[:, 1].any()
        with pytest.warns(SpecialistWarning, match="groups do not enter"):
            TaskStructureIdentifier(independence_test="wilks").fit(X, y, groups=groups)
        with pytest.raises(ValueError, match="inconsistent numbers"):
            TaskStructureIdentifier().fit(X, y, groups=groups[:-1])

    def test_robust_tests_contradict_pairs_and_the_band(self, curved):
        robust = TaskStructureIdentifier(independence_test="robust")
        with pytest.raises(ValueError, match="use criterion='direct'"):
            clone(robust).set_params(criterion="collider").fit(*curved)
        with pytest.raises(ValueError, match="conditioning='band' contradicts"):
            clone(robust).set_params(conditioning="band").fit(*curved)

    def test_components(self, curved):
        one = TaskStructureIdentifier(n_components=1).fit(*curved)
        assert (one.pvalues_ != TaskStructureIdentifier().fit(*curved).pvalues_).any()
        every = TaskStructureIdentifier(n_components=None).fit(*curved)
        assert_array_equal(every.pvalues_, TaskStructureIdentifier().fit(*curved).pvalues_)
        with pytest.warns(SpecialistWarning, match="n_components=1 has no effect"):
            TaskStructureIdentifier(n_components=1, independence_test="wilks").fit(*curved)
