"""SpecialistPipeline: candidates, decisions, features and predictions."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomTreesEmbedding
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import (
    SparseSpecialistEncoder,
    SpecialistPipeline,
    TaskStructureIdentifier,
    TorchGeneralist,
)
from skspecialist.datasets import make_collider_sequences, make_digit_sequences
from skspecialist.exceptions import SpecialistWarning
from skspecialist.inspection import SpecialistGainDisplay

# Two tasks and fits of a moment: as many latents as outputs, and masks that stay dense.
pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")


def quick_encoder(**params):
    """An encoder of one network."""
    small = {"n_components": 4, "n_relevant": 2, "input_noise": 0.3, "hidden_layer_sizes": (8,)}
    small |= {"sparsity": 0, "heads": "linear", "max_epochs": 5}
    return SparseSpecialistEncoder(**(small | params))


def quick_pipeline(**params):
    fixed = {"encoder": quick_encoder(), "estimator": Ridge(), "cv": (0.7, 0.3)}
    fixed |= {"strategy": "best", "candidates": ["steps", "latents"]}
    return SpecialistPipeline(**(fixed | {"random_state": 0} | params))


@pytest.fixture(scope="module")
def digits():
    return make_digit_sequences(200, n_timesteps=4, n_tasks=2, random_state=0)


@pytest.fixture(scope="module")
def fitted(digits):
    return quick_pipeline(generalist=PCA(16), strategy="specialist").fit(digits.X, digits.y)


@pytest.fixture(scope="module")
def chains():
    return make_collider_sequences(120, n_timesteps=6, n_tasks=2, random_state=0)


def test_the_specialist_reads_its_tasks_steps_and_latents_only(fitted, digits):
    steps = fitted.structure_.step_mask_
    mask = fitted.encoder_.mask_ > 0
    expected = [steps[:, i].sum() * mask[i].sum() for i in range(2)]
    assert fitted.use_specialist_.all()
    assert_array_equal(fitted.n_features_used_, expected)
    other = digits.X.copy()
    other[:, ~steps[:, 0]] = np.random.default_rng(0).uniform(size=other[:, ~steps[:, 0]].shape)
    assert_array_equal(fitted.predict(digits.X)[:, 0], fitted.predict(other)[:, 0])


@pytest.mark.slow
def test_specializing_helps_on_real_images():
    train, test = (
        make_digit_sequences(1000, n_timesteps=8, n_tasks=2, subset=half, random_state=1)
        for half in ("train", "test")
    )
    encoder = SparseSpecialistEncoder(heads="linear", max_epochs=10)
    auto = SpecialistPipeline(PCA(16), encoder=encoder, cv=(0.75, 0.25), random_state=0).fit(
        train.X, train.y
    )
    never = clone(auto).set_params(strategy="generalist").fit(train.X, train.y)
    assert auto.use_specialist_.all()
    assert (auto.validation_gain_ > auto.validation_gain_se_).all()
    assert auto.fallback_reason_ == [None, None]
    assert (auto.n_features_used_ < auto.n_generalist_features_).all()
    assert auto.score(test.X, test.y) > never.score(test.X, test.y)


@pytest.fixture(scope="module")
def named(chains):
    """A pipeline that was fitted to tables."""
    frame = pd.DataFrame(chains.X[:, :, 0], columns=[f"day {t}" for t in range(6)])
    return frame, quick_pipeline().fit(frame, pd.DataFrame(chains.y, columns=["walk", "wave"]))


@pytest.mark.slow
def test_the_gains_as_a_picture(named):
    ax = SpecialistGainDisplay.from_estimator(named[1]).ax_
    assert [label.get_text() for label in ax.get_yticklabels()] == ["walk", "wave"]
    plt.close(ax.figure)


@pytest.mark.slow
def test_steps_weighed_in_many_ways_are_read_as_they_are():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 8, 6))
    weights = rng.normal(size=(4, 6))  # a latent that is the same at each step cannot do this
    y = np.einsum("ntd,td->n", X[:, :4], weights) + rng.normal(size=400)
    pipeline = quick_pipeline(estimator=LinearRegression()).fit(X[:300], y[:300])
    assert pipeline.predicted_from_ == ["steps"]
    assert pipeline.use_specialist_.all()
    assert_array_equal(pipeline.n_features_used_, pipeline.step_mask_.sum(axis=0) * 6)
    names = pipeline.get_feature_names_out()
    assert all("generalist" in name for name in names)
    assert len(names) == pipeline.n_features_used_[0]
    never = clone(pipeline).set_params(strategy="generalist").fit(X[:300], y[:300])
    assert pipeline.score(X[300:], y[300:]) > never.score(X[300:], y[300:])


def test_all_task_features_are_those_of_any_task(digits, fitted):
    dense = clone(fitted).set_params(task_features="all").fit(digits.X, digits.y)
    assert_array_equal(dense.step_mask_[:, 0], fitted.structure_.step_mask_.any(axis=1))
    expected = dense.step_mask_[:, 0].sum() * dense.encoder_.support_.sum()
    assert_array_equal(dense.n_features_used_, [expected] * 2)


def test_one_step_serves_every_task(digits):
    rows = digits.X[:, 0]
    y = np.column_stack([rows[:, :32].sum(axis=1), rows[:, 32:].sum(axis=1)])
    pipeline = quick_pipeline(strategy="specialist").fit(rows[:, None], y)
    assert pipeline.structure_ is None
    assert pipeline.step_mask_.all()
    flat = quick_pipeline(strategy="specialist", n_timesteps=1).fit(rows, y)
    assert_array_equal(flat.predict(rows), pipeline.predict(rows[:, None]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "split",
    [(0.6, 0.2, 0.2), *(pytest.param(s, marks=pytest.mark.slow) for s in (2, ShuffleSplit(1)))],
)
def test_any_split_decides(chains, split):
    pipeline = quick_pipeline(cv=split).fit(chains.X, chains.y)
    gain, error = pipeline.validation_gain_, pipeline.validation_gain_se_
    assert np.isfinite(gain).any()
    assert pipeline.use_specialist_[gain > 0].all()
    assert not pipeline.use_specialist_[gain < -error].any()


@pytest.mark.slow
def test_copies_in_one_group_decide_as_the_originals(chains):
    gains = []
    for times in (1, 3):
        rows = np.repeat(np.arange(100), times)
        pipeline = quick_pipeline(
            structure=Everything(), encoder=Everything(), estimator=LinearRegression()
        )
        pipeline.fit(chains.X[rows], chains.y[rows], groups=rows)
        gains.append([pipeline.validation_gain_, pipeline.validation_gain_se_])
    assert_allclose(*gains)


class Everything(BaseEstimator):
    """A structure and an encoder that find everything."""

    def fit(self, X, y, step_weights=None):
        self.mask_ = np.ones((y.shape[1], 2 * X.shape[2]))
        return self

    def step_weights(self, X):
        return np.ones((*X.shape[:2], 2))

    def latents(self, X):
        return np.concatenate([X, X**2], axis=-1)


class Identity(Everything):
    """The features are the latents, and every task uses all of them."""

    def fit(self, X, y, step_weights=None):
        self.mask_ = np.ones((1, X.shape[2]))
        return self

    def latents(self, X):
        return X


def test_a_feature_stable_in_one_environment_only_is_dropped():
    rng = np.random.default_rng(0)
    environments = np.repeat(["home", "abroad"], 300)
    X = rng.normal(size=(600, 4))
    y = X[:, 0] + X[:, 1] + rng.normal(size=600)
    X[:, 3] = np.where(environments == "home", y, -y) + 0.3 * rng.normal(size=600)
    pipeline = quick_pipeline(encoder=Identity(), n_timesteps=1, estimator=LinearRegression())
    pipeline.fit(X, y, environments=environments)
    assert pipeline.use_specialist_.all()
    columns = {int(name[-1]) for name in pipeline.get_feature_names_out()}
    assert {0, 1} <= columns
    assert 3 not in columns
    with pytest.raises(ValueError, match="environments has the one value"):
        pipeline.fit(X, y, environments=np.zeros(600))


def test_a_specialist_that_loses_too_much_is_not_used():
    class FirstHalf(Everything):
        def step_weights(self, X):
            return super().step_weights(X) * (np.arange(X.shape[1]) < 4)[:, None]

    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 8, 2))
    y = np.einsum("ntd,tdk->nk", X, rng.normal(size=(8, 2, 2))) + rng.normal(size=(300, 2))
    pipeline = quick_pipeline(structure=FirstHalf(), encoder=Everything()).fit(X, y)
    assert pipeline.predicted_from_ == ["generalist"] * 2
    assert (pipeline.validation_gain_ < -pipeline.validation_gain_se_).all()
    assert all("would add" in reason for reason in pipeline.fallback_reason_)
    assert pipeline.encoder_ is None


def test_never_is_the_generalist_alone(digits):
    pipeline = quick_pipeline(generalist=PCA(5, random_state=0), strategy="generalist")
    pipeline.fit(digits.X, digits.y)
    rows = PCA(5, random_state=0).fit_transform(digits.X.reshape(-1, 64))
    features = rows.reshape(len(digits.X), -1)
    expected = Ridge().fit(features, digits.y).predict(features)
    assert_allclose(pipeline.predict(digits.X), expected, rtol=1e-6)
    assert_allclose(pipeline.transform(digits.X), features)
    assert pipeline.structure_ is None
    assert pipeline.encoder_ is None
    assert pipeline.fallback_reason_ == ["strategy='generalist'"] * 2


def test_a_task_without_steps_falls_back_with_a_reason(digits):
    y = np.column_stack([digits.y[:, 0], np.random.default_rng(0).normal(size=len(digits.y))])
    pipeline = quick_pipeline(
        generalist=PCA(16),
        structure=TaskStructureIdentifier(alpha=1e-4),
        strategy="specialist",
    ).fit(digits.X, y)
    assert_array_equal(pipeline.use_specialist_, [True, False])
    assert pipeline.fallback_reason_ == [None, "no time step of this task was found"]
    assert pipeline.n_features_used_[1] == pipeline.n_generalist_features_


@pytest.mark.slow
def test_classes_and_values_together(digits):
    y = pd.DataFrame(
        {
            "amount": digits.y[:, 0],
            "many": np.where(digits.y[:, 1] > np.median(digits.y[:, 1]), "yes", "no"),
        }
    )
    pipeline = quick_pipeline(generalist=PCA(16), estimator=None)
    prediction = pipeline.fit(digits.X, y).predict(digits.X)
    assert set(prediction["many"]) == {"yes", "no"}
    assert r2_score(y["amount"], prediction["amount"]) > 0.3
    assert (prediction["many"] == y["many"]).mean() > 0.7
    assert 0.5 < pipeline.score(digits.X, y) < 1.0


def test_one_task_of_labels(chains):
    y = np.where(chains.y[:, 0] > 0, "up", "down")
    pipeline = quick_pipeline(estimator=LogisticRegression()).fit(chains.X, y)
    assert pipeline.predict(chains.X).shape == y.shape
    assert pipeline.score(chains.X, y) > 0.7


def test_same_seed_same_numbers(chains, named):
    frame, one = named
    other = quick_pipeline().fit(chains.X, chains.y)
    assert_array_equal(one.predict(frame), other.predict(chains.X))


def test_a_frozen_generalist_stays_as_it_is(digits):
    pca = PCA(8, random_state=0).fit(digits.X.reshape(-1, 64))
    pipeline = quick_pipeline(generalist=FrozenEstimator(pca)).fit(digits.X[:100], digits.y[:100])
    assert_array_equal(pipeline.generalist_.estimator.components_, pca.components_)


class CountingModule(torch.nn.Module):
    """A module that counts the rows that it represents."""

    n_rows = 0

    def forward(self, rows):
        self.n_rows += len(rows)
        return torch.tanh(rows)


@pytest.mark.slow
def test_a_generalist_that_learns_nothing_runs_once(chains):
    module = CountingModule()
    X = chains.X[:60]
    model = quick_pipeline(generalist=TorchGeneralist(module), cv=3).fit(X, chains.y[:60])
    n_steps = X.shape[0] * X.shape[1]
    n_tried = 4 * 2  # each of four fits tries two steps
    assert n_steps <= module.n_rows <= n_steps + n_tried
    module.n_rows = 0
    model.predict(X)
    assert module.n_rows == n_steps


def test_names_and_set_output(fitted, digits):
    names = fitted.get_feature_names_out()
    assert names[0].startswith("step")
    assert len(names) == fitted.transform(digits.X).shape[1]
    pipeline = clone(fitted).set_output(transform="pandas").fit(digits.X, digits.y)
    frame = pipeline.transform(digits.X.reshape(200, -1))
    assert frame.columns.tolist() == names.tolist()


def test_pandas_in(named):
    frame, pipeline = named
    assert pipeline.feature_names_in_.tolist() == frame.columns.tolist()
    assert pipeline.tasks_.names == ["walk", "wave"]
    with pytest.raises(ValueError, match="feature names"):
        pipeline.predict(frame.rename(columns={"day 0": "day 9"}))


def test_pickle(fitted, digits):
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict(digits.X), fitted.predict(digits.X))


def test_grid_search_over_every_part(chains):
    pipeline = quick_pipeline(structure=TaskStructureIdentifier())
    grid = {
        "structure__alpha": [0.01, 0.1],
        "encoder__sparsity": [0.1],
        "estimator__alpha": [10.0],
    }
    results = []
    for n_jobs in (1, 2):
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise")
        with parallel_config("threading"):
            results.append(search.fit(chains.X[:60], chains.y[:60, 0]))
    scores = [search.cv_results_["mean_test_score"] for search in results]
    assert_array_equal(*scores)
    assert results[0].best_estimator_.structure_.alpha in grid["structure__alpha"]
    assert results[0].best_estimator_.encoder_ is None or (
        results[0].best_estimator_.encoder_.sparsity in grid["encoder__sparsity"]
    )


def test_cross_val_score(chains):
    scores = cross_val_score(quick_pipeline(), chains.X, chains.y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    assert (scores > 0).all()


def test_inside_a_scikit_learn_pipeline(chains):
    model = make_pipeline(StandardScaler(), quick_pipeline())
    flat = chains.X.reshape(len(chains.X), -1)
    assert model.fit(flat, chains.y).score(flat, chains.y) > 0.2
    assert clone(model).get_params()["specialistpipeline__estimator__alpha"] == 1.0


def test_a_progress_bar_names_the_stages(chains, capsys):
    X, y = chains.X[:40], chains.y[:40, 0]
    quick_pipeline(verbose=1).fit(X, y)
    assert "8/8" in capsys.readouterr().err
    quick_pipeline().fit(X, y)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_structure_with_tasks_of_its_own(chains):
    pipeline = quick_pipeline(structure=TaskStructureIdentifier(criterion="selection"))
    with pytest.raises(ValueError, match="tasks of its own, but y has 2"):
        pipeline.fit(chains.X, chains.y)


def test_a_sparse_generalist(digits):
    trees = RandomTreesEmbedding(3, max_depth=2, random_state=0)
    pipeline = quick_pipeline(generalist=trees, strategy="generalist").fit(digits.X, digits.y)
    assert np.isfinite(pipeline.predict(digits.X)).all()


@pytest.mark.slow
def test_a_class_too_rare_to_decide_on(chains):
    y = np.zeros(len(chains.X), dtype=int)
    y[7] = 1
    pipeline = quick_pipeline(estimator=LogisticRegression(), cv=2)
    with pytest.warns(SpecialistWarning, match="one class only in this training fold"):
        pipeline.fit(chains.X, y)
    # A random split is drawn again until the class is where it is needed.
    for seed in range(3):
        pipeline.set_params(cv=(0.5, 0.5), random_state=seed).fit(chains.X, y)
    pipeline.set_params(cv=2, strategy="generalist")
    assert pipeline.fit(chains.X, y).score(chains.X, y) > 0.9


def test_a_regressor_for_labels_warns(chains):
    labels = (chains.y[:, 0] > 0).astype(int)
    with pytest.warns(SpecialistWarning, match="the estimator is a regressor"):
        quick_pipeline(strategy="generalist").fit(chains.X, labels)


@pytest.mark.parametrize(
    ("params", "ignored"),
    [
        ({"strategy": "generalist"}, "encoder"),
        ({"strategy": "generalist", "structure": TaskStructureIdentifier()}, "structure"),
        ({"strategy": "generalist", "task_features": "all"}, "task_features"),
        ({"strategy": "generalist", "cv": 2}, "cv"),
        ({"strategy": "generalist", "loss": "huber"}, "loss"),
        ({"strategy": "specialist", "cv": 2}, "cv"),
        ({"strategy": "specialist", "loss": "huber"}, "loss"),
        ({"task_features": "all"}, "task_features"),
        ({"loss": "pinball", "estimator": LogisticRegression()}, "loss"),
    ],
)
def test_a_parameter_without_effect_warns(chains, params, ignored):
    pipeline = quick_pipeline(**params)
    y = chains.y[:, 0] > 0 if isinstance(pipeline.estimator, LogisticRegression) else chains.y[:, 0]
    with pytest.warns(SpecialistWarning, match=f"{ignored}.* has no effect"):
        pipeline.fit(chains.X[:80], y[:80])


class TestBadInput:
    X = np.random.default_rng(0).normal(size=(40, 6))
    y = np.random.default_rng(1).normal(size=40)

    @pytest.mark.parametrize(
        ("X", "y", "message"),
        [
            (np.where(X > 2, np.nan, X), y, "Input X contains NaN"),
            (X, np.where(y > 1, np.inf, y), "Input y contains infinity"),
            (X, np.ones(40), "constant"),
            (X, np.zeros(40, dtype=int), "one class only"),
            (X, None, "requires y"),
            (X[:1], y[:1], "minimum of 2"),
            (X, y[:30], "inconsistent"),
        ],
    )
    def test_messages(self, X, y, message):
        with pytest.raises(ValueError, match=message):
            quick_pipeline().fit(X, y)

    def test_an_error_leaves_the_estimator_as_it_was(self):
        pipeline = quick_pipeline().fit(self.X, self.y)
        before = dict(vars(pipeline))
        with pytest.raises(ValueError, match="constant"):
            pipeline.fit(self.X[:, :4], np.ones(40))
        assert vars(pipeline) == before
