"""Dependent sequences, such as those of one person, in the parts of a pipeline."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from skspecialist import (
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
    TaskLocalizer,
)

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
# Windows of the same recording are nearly the same, and share a label that is a coin.
RECORDINGS = np.repeat(np.arange(30), 8)
X = np.repeat(RNG.normal(size=(30, 6, 6)), 8, axis=0) + 0.1 * RNG.normal(size=(240, 6, 6))
COIN = RNG.integers(0, 2, 30)[RECORDINGS]
SMALL = {"heads": "linear", "max_epochs": 2, "hidden_layer_sizes": (4,)}


def test_the_localizer_of_a_pipeline_finds_no_steps_of_a_coin_of_the_recordings():
    encoder = SparseSpecialistEncoder(2, n_relevant=1, input_noise=0.3, **SMALL)
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
