"""Weights of sequences, and of their values in single tasks, through the pipeline."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils.class_weight import compute_sample_weight

from skspecialist import (
    SparseSpecialistEncoder,
    SpecialistClassifier,
    SpecialistPipeline,
    SpecialistRegressor,
    TaskLocalizer,
    TaskStructureIdentifier,
)

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4, 3))
Y = np.column_stack([X[:, 1, 0], X[:, 3, 2]]) + 0.3 * RNG.normal(size=(60, 2))
COUNTS = RNG.integers(0, 3, 60)
REPEATED = RNG.permutation(np.repeat(np.arange(60), COUNTS))
ENCODER = SparseSpecialistEncoder(
    2, n_relevant=1, sparsity=0, input_noise=0.3, hidden_layer_sizes=(4,), max_epochs=1
)
GROUPS = np.arange(60) // 10


@pytest.mark.parametrize("kind", ["amount", "label"])
@pytest.mark.parametrize(
    "params",
    [
        {"strategy": "generalist"},
        {"encoder": ENCODER, "strategy": "specialist"},
        pytest.param({"encoder": ENCODER, "cv": 2}, marks=pytest.mark.slow),
    ],
    ids=["generalist", "specialist", "stack"],
)
def test_an_integer_weight_is_repetition_and_zero_is_absence(params, kind):
    y = Y if kind == "amount" else (Y > 0).astype(int)
    pipeline = SpecialistPipeline(random_state=0, **params)
    one = clone(pipeline).fit(X, y, sample_weight=COUNTS)
    other = clone(pipeline).fit(X[REPEATED], y[REPEATED])
    assert_array_equal(one.predict(X), other.predict(X))


def test_class_weights_are_sample_weights():
    y = np.column_stack([Y[:, 0] > 1, Y[:, 1] > 0]).astype(int)
    balanced = np.column_stack([compute_sample_weight("balanced", labels) for labels in y.T])
    new = {"strategy": "generalist", "random_state": 0}
    weighted = SpecialistClassifier(**new).fit(X, y, sample_weight=2 * balanced).predict_proba(X)
    for class_weight in ("balanced", ["balanced", "balanced"]):
        found = SpecialistClassifier(**new, class_weight=class_weight).fit(X, y).predict_proba(X)
        assert_allclose(found, weighted, atol=1e-6)
    assert weighted[0][:, 1].mean() > 1.5 * y[:, 0].mean()
    with pytest.raises(ValueError, match="class_weight has 3 entries, but y has 2 tasks"):
        SpecialistClassifier(**new, class_weight=[None] * 3).fit(X, y)


@pytest.mark.slow
def test_given_splits_are_those_of_the_repeated_sequences():
    pipeline = SpecialistPipeline(encoder=ENCODER, strategy="best", random_state=0)
    kept = GROUPS[REPEATED]
    splits = [(GROUPS != k, GROUPS == k) for k in (0, 1)]
    of_repeated = [tuple(np.flatnonzero(side[REPEATED]) for side in split) for split in splits]
    splits = [tuple(map(np.flatnonzero, split)) for split in splits]
    one = clone(pipeline).set_params(cv=splits).fit(X, Y, GROUPS, sample_weight=COUNTS)
    other = clone(pipeline).set_params(cv=of_repeated).fit(X[REPEATED], Y[REPEATED], kept)
    assert_array_equal(one.predict(X), other.predict(X))
    assert one.validation_gain_ == pytest.approx(other.validation_gain_, nan_ok=True)


def test_a_weight_of_zero_for_one_task_is_a_missing_value():
    weights = (RNG.random(Y.shape) > 0.3).astype(float)
    weights[~weights.any(axis=1), 0] = 1
    pipeline = SpecialistPipeline(encoder=ENCODER, strategy="specialist", random_state=0)
    one = clone(pipeline).fit(X, Y, sample_weight=weights)
    other = clone(pipeline).fit(X, np.where(weights > 0, Y, np.nan))
    assert_array_equal(one.step_mask_, other.step_mask_)
    assert_allclose(one.predict(X), other.predict(X))
    assert one.score(X, Y, sample_weight=weights) == pytest.approx(
        one.score(X, np.where(weights > 0, Y, np.nan))
    )


@pytest.mark.slow
def test_equal_weights_are_none():
    pipeline = SpecialistPipeline(encoder=ENCODER, cv=KFold(2), random_state=0)
    one = clone(pipeline).fit(X, Y, sample_weight=np.full(60, 3.0))
    assert_array_equal(one.predict(X), clone(pipeline).fit(X, Y).predict(X))
    one.add_task(X, Y[:, 0], sample_weight=COUNTS)
    assert one.predict(X).shape == (60, 3)


def test_balanced_weights_find_more_of_a_rare_class():
    rare = (X[:, 1, 0] + 2 * RNG.normal(size=60) > 2.5).astype(int)
    pipeline = SpecialistPipeline(strategy="generalist", random_state=0)
    plain = clone(pipeline).fit(X, rare).predict(X)
    weights = compute_sample_weight("balanced", rare)
    balanced = clone(pipeline).fit(X, rare, sample_weight=weights).predict(X)
    assert balanced[rare == 1].mean() > plain[rare == 1].mean()


def test_estimators_of_ones_own_take_weights_or_are_refused():
    trees = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2)
    pipeline = SpecialistPipeline(estimator=trees, strategy="generalist")
    fitted = pipeline.fit(X, Y, sample_weight=COUNTS)
    assert (fitted.predict(X) != pipeline.fit(X, Y).predict(X)).any()
    neighbors = SpecialistPipeline(estimator=KNeighborsRegressor(), strategy="generalist")
    with pytest.raises(TypeError, match=r"sample_weight needs an estimator.*KNeighborsRegressor"):
        neighbors.fit(X, Y, sample_weight=COUNTS)


def test_meta_estimators_hand_weights_on():
    flat = SpecialistRegressor(strategy="generalist", n_timesteps=4, random_state=0)
    voting = VotingRegressor([("ours", flat), ("theirs", Ridge())])
    voting.fit(X.reshape(60, -1), Y[:, 0], sample_weight=COUNTS)
    expected = clone(flat).fit(X.reshape(60, -1), Y[:, 0], sample_weight=COUNTS)
    assert_array_equal(voting.estimators_[0].predict(X), expected.predict(X))


@pytest.mark.parametrize(
    "params",
    [{}, {"independence_test": "wilks"}, {"criterion": "collider"}, {"n_components": 1}],
    ids=str,
)
def test_integer_weights_are_repetitions_in_the_structure(params):
    gaps = X.copy()
    gaps[:9, 1] = np.nan
    labels = np.column_stack([Y[:, 0], Y[:, 1] > 0]) if params else Y
    identifier = TaskStructureIdentifier(**params)
    one = clone(identifier).fit(gaps, labels, sample_weight=COUNTS)
    other = clone(identifier).fit(gaps[REPEATED], labels[REPEATED])
    assert_allclose(one.pvalues_, other.pvalues_, rtol=1e-8)
    assert_allclose(one.effect_sizes_, other.effect_sizes_, atol=1e-8)
    assert_array_equal(one.n_sequences_, other.n_sequences_)


def test_a_weight_of_zero_is_absence_in_the_structure():
    kept = COUNTS > 0
    one = TaskStructureIdentifier(2).fit(X, Y, GROUPS, sample_weight=kept)
    other = TaskStructureIdentifier(2).fit(X[kept], Y[kept], GROUPS[kept])
    assert_array_equal(one.pvalues_, other.pvalues_)
    assert one.score(X, Y, sample_weight=kept) == other.score(X[kept], Y[kept])
    weights = np.column_stack([kept, np.ones(60)])
    one = TaskStructureIdentifier().fit(X, Y, sample_weight=weights)
    other = TaskStructureIdentifier().fit(X, np.where(weights > 0, Y, np.nan))
    assert_array_equal(one.pvalues_, other.pvalues_)


def test_importance_weights_have_no_unit_and_keep_the_level():
    rng = np.random.default_rng(3)
    sequences, weights = rng.normal(size=(200, 6, 2)), rng.exponential(size=200)
    tasks = rng.normal(size=(200, 40)) * np.sqrt(weights)[:, None]
    pvalues = TaskStructureIdentifier().fit(sequences, tasks, sample_weight=weights).pvalues_
    # 240 tests of level .05: more than 22 have a probability of .003.
    assert (pvalues <= 0.05).sum() <= 22
    scaled = TaskStructureIdentifier().fit(sequences, tasks[:, :2], sample_weight=9 * weights)
    assert_allclose(scaled.pvalues_, pvalues[:, :2])


def test_tests_that_need_samples_refuse_weights():
    with pytest.raises(ValueError, match=r"sample_weight is not supported.*GCM"):
        TaskStructureIdentifier(independence_test="gcm").fit(X, Y, sample_weight=COUNTS)


LOCALIZER = TaskLocalizer(2, hidden_layer_sizes=(4,), cv=2, max_epochs=3, random_state=0)


def answers(localizer, sequences, labels):
    """Return the results of a fitted localizer that depend on all of its steps."""
    return [
        localizer.mask_,
        localizer.thresholds_,
        localizer.noise_,
        localizer.validation_score_,
        localizer.contributions(sequences),
        localizer.score(sequences, labels),
    ]


@pytest.mark.parametrize("grouped", [False, True])
def test_weights_in_the_localizer(grouped):
    labels = np.column_stack([Y[:, 0], Y[:, 1] > 0])
    gaps = X.copy()
    gaps[:9, 2:] = np.nan  # sequences that end after two steps
    kept = COUNTS > 0
    groups = GROUPS if grouped else None
    conditional = clone(LOCALIZER).set_params(conditional=True)
    one = clone(conditional).fit(gaps, labels, groups, sample_weight=COUNTS)
    repeated = [None if v is None else v[REPEATED] for v in (gaps, labels, groups)]
    other = clone(conditional).fit(*repeated)
    for found, expected in zip(
        answers(one, gaps, labels), answers(other, gaps, labels), strict=True
    ):
        assert_array_equal(found, expected)
    assert one.score(gaps, labels, sample_weight=COUNTS) == pytest.approx(one.score(*repeated[:2]))
    assert [part.shape for part in one.out_of_fold_scores_] == [(2, 2)] * 9 + [(4, 2)] * 51
    absent = clone(conditional).fit(gaps, labels, groups, sample_weight=kept)
    without = [None if v is None else v[kept] for v in (gaps, labels, groups)]
    alone = clone(conditional).fit(*without)
    for found, expected in zip(
        answers(absent, gaps, labels), answers(alone, gaps, labels), strict=True
    ):
        assert_array_equal(found, expected)


def test_the_splits_of_a_localizer_hold_out_each_sequence_once():
    labels = Y[:, 0] > 0
    drawn = clone(LOCALIZER).fit(X, labels)
    given = clone(LOCALIZER).set_params(cv=list(KFold(2).split(X))).fit(X, labels)
    assert_array_equal(given.mask_.shape, drawn.mask_.shape)
    assert (given.out_of_fold_scores_[0] != drawn.out_of_fold_scores_[0]).any()
    with pytest.raises(ValueError, match=r"cv=.* must hold out each sequence once, not 0 to 1"):
        clone(LOCALIZER).set_params(cv=ShuffleSplit(1)).fit(X, labels)


def test_a_label_of_weight_zero_is_missing_in_the_localizer():
    labels = np.column_stack([Y[:, 0] > 0, Y[:, 1] > 0])
    weights = (RNG.random(labels.shape) > 0.3).astype(float)
    weights[~weights.any(axis=1), 0] = 1
    one = clone(LOCALIZER).fit(X, labels, sample_weight=weights)
    other = clone(LOCALIZER).fit(X, np.where(weights > 0, labels, None))
    assert_array_equal(one.thresholds_, other.thresholds_)
    assert_allclose(one.contributions(X), other.contributions(X), rtol=1e-9)


def test_a_pipeline_hands_its_weights_to_a_localizer():
    pipeline = SpecialistPipeline(
        structure=clone(LOCALIZER).set_params(random_state=None),
        encoder=ENCODER,
        estimator=Ridge(),
        strategy="specialist",
        random_state=0,
    )
    one = clone(pipeline).fit(X, Y, sample_weight=COUNTS)
    other = clone(pipeline).fit(X[REPEATED], Y[REPEATED])
    assert_array_equal(one.structure_.mask_, other.structure_.mask_)
    assert_array_equal(one.predict(X), other.predict(X))
