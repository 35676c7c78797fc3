"""The sparsest candidate within one standard error, and searches over our estimators."""

import pickle
import re
from functools import partial

import joblib
import numpy as np
import pytest
import sklearn
from joblib import parallel_config
from numpy.testing import assert_array_equal
from scipy.stats import sem
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Lasso, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline, TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences, make_specialist_latents
from skspecialist.model_selection import neg_n_features_used, one_standard_error_rule

# Fits of a moment, whose masks stay dense.
pytestmark = [
    pytest.mark.filterwarnings("error::UserWarning"),
    pytest.mark.filterwarnings("error::sklearn.exceptions.FitFailedWarning"),
    pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning"),
]

RULE = one_standard_error_rule
GRID = {"encoder__n_relevant": [1, 2]}


def planted(scores, values, name="sparsity", metric="score"):
    """Return the results of a search whose scores, (n_candidates, n_splits), are known."""
    scores = np.asarray(scores, dtype=float)
    return {
        "params": [{name: value} for value in values],
        f"mean_test_{metric}": scores.mean(axis=1),
    } | {f"split{k}_test_{metric}": split for k, split in enumerate(scores.T)}


def split_scores(results, metric="score"):
    names = sorted(name for name in results if re.fullmatch(rf"split\d+_test_{metric}", name))
    return np.column_stack([results[name] for name in names])


def permuted(results, order):
    return {name: [values[i] for i in order] for name, values in results.items()}


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_as_good_as_the_best_and_nothing_as_good_is_sparser(seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(12, 1)) + rng.normal(size=(12, 4))
    values = rng.permutation(12)
    chosen = RULE(planted(scores, values))
    means = scores.mean(axis=1)
    as_good = means >= means.max() - sem(scores[means.argmax()])
    assert as_good[chosen]
    assert values[chosen] == values[as_good].max()
    shifted = planted(scores * 3 + 7, values)
    assert RULE(shifted) == chosen


@pytest.mark.parametrize("seed", range(20))
def test_permuted_candidates_permute_the_choice(seed):
    rng = np.random.default_rng(seed)
    # Two splits and few scores and values: many candidates share the best mean or the sparsity.
    scores, values = rng.integers(4, size=(12, 2)), rng.integers(3, size=12)
    results = planted(scores, values)
    chosen = RULE(results)
    order = rng.permutation(12)
    other = order[RULE(permuted(results, order))]
    assert values[other] == values[chosen]
    assert scores[other].sum() == scores[chosen].sum()


def test_ties():
    same = [[0.5, 0.6]] * 3
    assert RULE(planted(same, [0.1, 0.3, 0.2])) == 1
    assert RULE(planted(same, [0.1, 0.1, 0.1])) == 0
    # Equally sparse: the better one. Of two best, the one that is known better sets the bound.
    assert RULE(planted([[0, 4], [1, 4]], [0.1, 0.1])) == 1
    scores = [[2.9, 3.1], [0, 6], [1, 1.1]]
    for order in ([0, 1, 2], [1, 0, 2]):
        results = permuted(planted(scores, [0.1, 0.2, 0.3]), order)
        assert order[RULE(results)] == 1


def test_one_split_has_no_standard_error():
    results = planted([[1.0], [0.999], [1.0]], [0.1, 0.9, 0.2])
    assert RULE(results) == 2


def test_failed_candidates_are_left_out():
    scores = [[0.5, 0.7], [np.nan, 0.9], [-np.inf, 0.9], [0.4, 0.7]]
    results = planted(scores, [0.1, 0.9, 0.8, 0.2])
    assert RULE(results) == 3
    with pytest.raises(ValueError, match="every fit failed"):
        RULE(planted(np.full((2, 2), np.nan), [0.1, 0.2]))


def test_only_the_last_iteration_of_halving_counts():
    results = planted([[0.8, 0.9], [0.5, 0.7], [0.5, 0.6]], [0.9, 0.2, 0.5])
    assert RULE(results | {"iter": [0, 1, 1]}) == 2
    assert RULE(results | {"iter": [1, 1, 1]}) == 0


@pytest.mark.parametrize(
    ("name", "sparsest"),
    [
        ("sparsity", 5),
        ("encoder__sparsity", 5),
        ("encoder__tolerance", 5),
        ("specialist__encoder__n_relevant", 2),
        ("encoder__n_components", 2),
        ("structure__alpha", 2),
        ("specialist__structure__alpha", 2),
        ("structure__min_effect_size", 5),
    ],
)
def test_known_parameters(name, sparsest):
    results = planted(np.zeros((3, 2)), [3, 2, 5], name)
    chosen = RULE(results)
    assert results["params"][chosen] == {name: sparsest}


def test_several_parameters_count_one_after_the_other():
    results = planted(np.zeros((4, 2)), [0] * 4) | {
        "params": [{"a__alpha": alpha, "b": b} for alpha, b in [(1, 1), (2, 1), (1, 2), (2, None)]]
    }
    for order, expected in [
        ({"alpha": "largest", "b": "largest"}, 1),
        ({"b": "largest", "alpha": "largest"}, 2),
        ({"alpha": "largest", "b": "smallest"}, 1),
        ({"a__alpha": "smallest", "b": "smallest"}, 0),
    ]:
        assert RULE(results, order=order) == expected


def test_measured_sparsity_comes_before_parameters():
    results = planted(np.zeros((4, 2)), [0.1, 0.2, 0.3, 0.4])
    results["mean_test_neg_n_features_used"] = np.array([-3.0, -2.0, -2.5, np.nan])
    assert RULE(results) == 1
    assert RULE(results, order={"sparsity": "largest"}) == 3


def test_several_metrics():
    results = planted([[1, 1], [2, 2]], [0.1, 0.2], metric="r2")
    assert RULE(results) == 1
    results |= planted([[2, 2], [1, 1]], [0.1, 0.2], metric="time")
    with pytest.raises(ValueError, match=r"\['r2', 'time'\]"):
        RULE(results)
    with pytest.raises(ValueError, match="metric='r3' is not in cv_results"):
        RULE(results, metric="r3")
    assert RULE(results, metric="time") == 0
    results |= planted([[1, 1], [2, 2]], [0.1, 0.2])
    assert RULE(results) == 1


def test_what_orders_candidates_has_to_be_known():
    results = planted(np.zeros((2, 2)), [1, 2], "estimator__alpha")
    with pytest.raises(ValueError, match=r"\['estimator__alpha'\].*order="):
        RULE(results)
    with pytest.raises(ValueError, match="names 'alhpa'"):
        RULE(results, order={"alhpa": "largest"})
    with pytest.raises(ValueError, match="'smallest' or 'largest'; got 'big'"):
        RULE(results, order={"alpha": "big"})
    results = planted(np.zeros((2, 2)), [1, "auto"])
    with pytest.raises(ValueError, match="sparsity='auto' is no number"):
        RULE(results)


@pytest.mark.parametrize(
    "search", [GridSearchCV, pytest.param(RandomizedSearchCV, marks=pytest.mark.slow)]
)
def test_refit_of_a_search(search):
    X, y = make_regression(100, 20, n_informative=3, noise=20.0, random_state=0)
    rule = partial(RULE, order={"alpha": "largest"})
    pipeline = make_pipeline(StandardScaler(), Lasso())
    params = {"lasso__alpha": np.geomspace(0.1, 30, 10)}
    best = search(pipeline, params, cv=3).fit(X, y)
    sparse = search(pipeline, params, cv=3, refit=pickle.loads(pickle.dumps(rule)))
    sparse.fit(X, y)
    coefs = [found.best_estimator_[-1].coef_ for found in (best, sparse)]
    assert np.count_nonzero(coefs[1]) < np.count_nonzero(coefs[0])
    assert sparse.score(X, y) == sparse.best_estimator_.score(X, y)


def test_a_structure():
    data = make_collider_sequences(200, n_timesteps=6, n_tasks=2, random_state=0)
    rule = partial(RULE, order={"alpha": "smallest"})
    search = GridSearchCV(TaskStructureIdentifier(2), {"alpha": [0.9, 0.01]}, cv=3, refit=rule)
    assert_array_equal(search.fit(data.X, data.y).best_estimator_.structure_, data.structure)


def test_an_encoder():
    data = make_specialist_latents(100, random_state=0)
    encoder = SparseSpecialistEncoder(
        3, heads="linear", max_epochs=2, hidden_layer_sizes=(8,), input_noise=0.3, random_state=0
    )
    search = GridSearchCV(encoder, {"n_relevant": [1, 2]}, cv=2, refit=RULE).fit(data.X, data.y)
    assert search.best_estimator_.support_.sum() <= search.best_params_["n_relevant"]


def quick_pipeline(**params):
    encoder = SparseSpecialistEncoder(
        3,
        n_relevant=1,
        sparsity=0,
        heads="linear",
        input_noise=0.3,
        max_epochs=1,
        hidden_layer_sizes=(4,),
    )
    params = {"encoder": encoder, "estimator": Ridge(), "cv": (0.6, 0.4)} | params
    return SpecialistPipeline(structure=TaskStructureIdentifier(2), random_state=0, **params)


@pytest.fixture(scope="module")
def data():
    return make_collider_sequences(100, n_timesteps=6, n_tasks=2, n_features=3, random_state=0)


@pytest.fixture(scope="module")
def groups():
    return np.random.default_rng(0).integers(20, size=100)


@pytest.mark.parametrize("routing", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.slow
def test_groups_are_kept_apart_and_jobs_do_not_matter(data, groups, routing):
    cv, y = GroupKFold(2), data.y[:, 0]
    with sklearn.config_context(enable_metadata_routing=routing):
        pipeline = quick_pipeline()
        if routing:
            pipeline.set_fit_request(groups=True)
        searches = [GridSearchCV(pipeline, GRID, cv=cv, n_jobs=n, refit=RULE) for n in (1, 2)]
        with parallel_config("threading"):
            one, two = (search.fit(data.X, y, groups=groups) for search in searches)
    assert one.best_index_ == two.best_index_
    assert_array_equal(split_scores(one.cv_results_), split_scores(two.cv_results_))

    def fit(rows):
        labels = {"groups": groups[rows]} if routing else {}
        found = clone(pipeline).set_params(**one.best_params_)
        return found.fit(data.X[rows], y[rows], **labels)

    by_hand = [
        fit(train).score(data.X[test], y[test]) for train, test in cv.split(data.X, y, groups)
    ]
    assert_array_equal(split_scores(one.cv_results_)[one.best_index_], by_hand)
    everything = fit(np.arange(100))
    assert_array_equal(one.best_estimator_.validation_gain_, everything.validation_gain_)
    unaware = clone(everything).fit(data.X, y)
    assert routing != np.array_equal(unaware.validation_gain_, everything.validation_gain_)


@pytest.mark.slow
def test_measured_features_of_pipelines(data):
    pipeline = make_pipeline(quick_pipeline(strategy="specialist"))
    grid = {"specialistpipeline__encoder__n_relevant": [1, 2]}
    search = GridSearchCV(
        pipeline,
        grid,
        cv=2,
        scoring={"score": None, "neg_n_features_used": neg_n_features_used},
        refit=RULE,
    ).fit(data.X, data.y)
    measured = search.cv_results_["mean_test_neg_n_features_used"]
    assert (measured < 0).all()
    means = search.cv_results_["mean_test_score"]
    bound = means.max() - sem(split_scores(search.cv_results_)[means.argmax()])
    assert measured[search.best_index_] == measured[means >= bound].max()
    best = search.best_estimator_[-1]
    assert neg_n_features_used(search, data.X) == -best.n_features_used_.mean()
    with pytest.raises(TypeError, match=r"n_features_used_.*got Ridge"):
        neg_n_features_used(Ridge().fit(data.X[:, 0], data.y), data.X)


@pytest.mark.slow
def test_halving_search(data):
    search = HalvingGridSearchCV(
        quick_pipeline(strategy="specialist"),
        {"encoder__n_relevant": [1, 2, 3]},
        cv=KFold(2),
        factor=2,
        resource="encoder__max_epochs",
        max_resources=2,
        refit=False,
    )
    results = search.fit(data.X, data.y).cv_results_
    chosen = RULE(results)
    last = results["iter"] == results["iter"].max()
    assert last[chosen]
    assert not last.all()
    means = np.where(last, results["mean_test_score"], -np.inf)
    assert means[chosen] >= means.max() - sem(split_scores(results)[means.argmax()])


@pytest.mark.xfail(strict=True, reason="halving searches ignore a callable refit: see the guide")
def test_halving_searches_call_refit(data):
    called = []
    grid = {"alpha": [1, 2, 3, 4]}
    HalvingGridSearchCV(Ridge(), grid, cv=KFold(2), refit=lambda _: called.append(1) or 0).fit(
        data.X[:, 0], data.y
    )
    assert called


@pytest.mark.slow
def test_dask(data, groups):
    distributed = pytest.importorskip("distributed")
    search = GridSearchCV(quick_pipeline(), GRID, cv=GroupKFold(2), refit=RULE)
    y = data.y[:, 0]
    here = clone(search).fit(data.X, y, groups=groups)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, processes=False
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        there = search.fit(data.X, y, groups=groups)
    assert here.best_index_ == there.best_index_
    assert_array_equal(split_scores(here.cv_results_), split_scores(there.cv_results_))
