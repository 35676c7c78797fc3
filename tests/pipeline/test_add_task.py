"""Tasks that are added later leave the fitted ones unchanged."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline
from skspecialist.datasets import make_specialist_latents

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")


@pytest.fixture(scope="module")
def data():
    return make_specialist_latents(128, 4, 2, 5, n_layers=1, random_state=0)


@pytest.fixture(scope="module")
def many():
    return make_specialist_latents(1500, 4, 2, 5, n_layers=1, random_state=0)


def pipeline(n_components=None, input_noise="auto", **params):
    encoder = SparseSpecialistEncoder(
        n_components,
        n_relevant=2,
        sparsity=0,
        max_epochs=15,
        hidden_layer_sizes=(32,),
        input_noise=input_noise,
    )
    params = {"encoder": encoder, "strategy": "specialist", "random_state": 0} | params
    return SpecialistPipeline(**params)


@pytest.fixture(scope="module")
def fitted(data):
    short = pipeline(n_components=2, input_noise=0.1).set_params(encoder__max_epochs=4)
    return short.fit(data.X[:, None], data.y[:, :4])


def copy(estimator):
    return pickle.loads(pickle.dumps(estimator))


def test_earlier_predictions_stay_bit_equal(data, fitted):
    X = data.X[:, None]
    before = fitted.predict(X)
    more = copy(fitted).add_task(X, data.y[:, 4])
    assert_array_equal(more.predict(X)[:, :4], before)
    assert_array_equal(more.mask_[:4], fitted.mask_)
    assert more.tasks_.names == [f"task{i}" for i in range(5)]
    assert more.step_mask_.shape == (1, 5)
    assert len(more.weights_) == len(more.fallback_reason_) == 5
    assert more.use_specialist_.shape == more.validation_gain_.shape == (5,)
    assert_array_equal(copy(more).predict(X), more.predict(X))


@pytest.mark.slow
def test_the_new_task_reads_the_latents_of_the_others_only(data, fitted):
    X = data.X[:, None]
    more = copy(fitted).add_task(X, data.y[:, 4])
    assert more.use_specialist_[4]
    assert 0 < more.n_features_used_[4] <= 2
    assert not (more.mask_[4] > 0)[~fitted.encoder_.support_].any()


@pytest.mark.slow
def test_as_good_as_a_fit_of_all_tasks(many):
    X, half = many.X[:, None], slice(1000, None)
    later = pipeline().fit(X[:1000], many.y[:1000, :4]).add_task(X[:1000], many.y[:1000, 4])
    together = pipeline().fit(X[:1000], many.y[:1000])
    scores = [
        model.tasks_.tasks[4].score(many.y[half, 4], model.predict(X[half])[:, 4])
        for model in (later, together)
    ]
    assert scores[0] > scores[1] - 0.02


@pytest.mark.slow
def test_several_tasks_at_once_and_one_after_the_other(many):
    X, y = many.X[:, None], many.y
    start = pipeline().fit(X, y[:, 0])
    assert start.predict(X).ndim == 1
    once = copy(start).add_task(X, y[:, 1:3])
    in_turn = copy(start).add_task(X, y[:, 1]).add_task(X, y[:, 2])
    assert once.predict(X).shape == in_turn.predict(X).shape == (1500, 3)
    assert_array_equal(once.predict(X)[:, 0], in_turn.predict(X)[:, 0])


@pytest.mark.slow
def test_names_are_kept_unless_they_are_taken(data, fitted):
    X, y = data.X[:100, None], data.y[:100]
    frame = pd.DataFrame({"task0": y[:, 4], "mood": y[:, 3] > 0})
    more = copy(fitted).add_task(X, frame)
    assert more.tasks_.names == ["task0", "task1", "task2", "task3", "task4", "mood"]
    assert set(more.predict(X)[:, 5]) == {True, False}


@pytest.mark.slow
def test_a_task_beyond_the_latents_comes_from_the_generalist(many):
    X = many.X[:, None]
    narrow = pipeline(strategy="best", estimator=Ridge()).fit(X, many.y[:, :4])
    irrelevant = many.latents[:, ~many.relevant][:, 0]
    narrow.add_task(X, irrelevant)
    without = pipeline(strategy="generalist").fit(X, irrelevant)
    score = narrow.tasks_.tasks[4].score(irrelevant, narrow.predict(X)[:, 4])
    assert score > without.score(X, irrelevant) - 0.05


def test_a_pipeline_without_encoder(data):
    X = data.X[:, None]
    compared = pipeline(strategy="stack", candidates=["generalist"]).set_params(encoder=None)
    compared.fit(X, data.y[:, 0]).add_task(X, data.y[:, 1])
    assert_array_equal(compared.candidates_["task"].unique(), ["task0", "task1"])
    never = pipeline(strategy="generalist").fit(X, data.y[:, 0]).add_task(X, data.y[:, 1])
    assert never.fallback_reason_ == ["strategy='generalist'"] * 2
    assert never.mask_.shape == (2, 0)
    assert_array_equal(
        never.predict(X)[:, 1], pipeline(strategy="generalist").fit(X, data.y[:, 1]).predict(X)
    )


def test_an_error_leaves_the_pipeline_as_it_was(data, fitted):
    more = copy(fitted)
    before = dict(vars(more))
    with pytest.raises(ValueError, match="constant"):
        more.add_task(data.X[:, None], np.ones(128))
    with pytest.raises(ValueError, match="features"):
        more.add_task(data.X[:, None, :-1], data.y[:, 4])
    assert vars(more) == before


class FirstLatent(BaseEstimator):
    """The features as latents, of which the tasks of the first fit use the first."""

    def fit(self, X, y, step_weights=None):
        self.mask_ = np.zeros((1 if np.ndim(y) == 1 else np.shape(y)[1], X.shape[-1]))
        self.mask_[:, 0] = 1.0
        return self

    def latents(self, X):
        return X

    def _task_latents(self, X):
        return X * (np.arange(X.shape[-1]) == 0)


@pytest.mark.slow
def test_a_latent_that_only_an_added_task_uses():
    X = np.random.default_rng(0).normal(size=(200, 1, 3))
    model = pipeline(encoder=FirstLatent()).fit(X, X[:, 0, 0])
    model.add_task(X, X[:, 0, 1])
    assert model.mask_[1, 1] > 0
    assert model.score(X, X[:, 0, :2]) > 0.95
