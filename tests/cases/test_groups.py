"""Dependent sequences, such as those of one person, in the parts of a pipeline."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, GroupKFold

from skspecialist import (
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistClassifier,
    SpecialistPipeline,
    SpecialistRegressor,
    TaskLocalizer,
)

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
# Windows of the same recording are nearly the same, and share a label that is a coin.
RECORDINGS = np.repeat(np.arange(30), 8)
X = np.repeat(RNG.normal(size=(30, 6, 6)), 8, axis=0) + 0.1 * RNG.normal(size=(240, 6, 6))
COIN = RNG.integers(0, 2, 30)[RECORDINGS]
SMALL = {"heads": "linear", "max_epochs": 2, "hidden_layer_sizes": (4,)}


@pytest.mark.slow
def test_the_localizer_of_a_pipeline_finds_no_steps_of_a_coin_of_the_recordings():
    encoder = SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, input_noise=0.3, **SMALL)
    pipeline = SpecialistPipeline(
        structure=TaskLocalizer(max_epochs=40),
        encoder=encoder,
        strategy="specialist",
        random_state=0,
    )
    pipeline.fit(X, COIN, groups=RECORDINGS)
    assert pipeline.structure_.thresholds_ == [np.inf]
    assert not pipeline.structure_.predict(X).any()


def test_groups_reach_the_splitter_of_an_encoder_in_a_pipeline():
    encoder = SparseSpecialistEncoderCV(2, cv=GroupKFold(2), **SMALL)
    pipeline = SpecialistPipeline(encoder=encoder, strategy="specialist", random_state=0)
    y = X[:, 1, 0] + 0.3 * RNG.normal(size=240)
    assert pipeline.fit(X, y, groups=RECORDINGS).encoder_ is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SpecialistClassifier, SpecialistRegressor])
def test_a_grid_search_in_two_workers_routes_groups_and_weights(kind):
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(90, 4, 2)), np.arange(90) // 3
    y = X[:, 1, 0] + 0.1 * rng.normal(size=90)
    y = y if kind is SpecialistRegressor else np.where(y > 0, "up", "down")
    weights = rng.integers(1, 3, 90).astype(float)
    params = {"candidates": ["steps"], "random_state": 0}
    with config_context(enable_metadata_routing=True):
        model = kind(**params).set_fit_request(groups=True, sample_weight=True)
        model.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"cv": [2, 3]}, cv=GroupKFold(2), n_jobs=2)
        search.fit(X, y, groups=groups, sample_weight=weights)
    alone = kind(**params, cv=search.best_params_["cv"])
    expected = alone.fit(X, y, groups=groups, sample_weight=weights).predict(X)
    assert_array_equal(search.predict(X), expected)
    assert search.best_score_ > 0.8
