"""Sequences of many steps, and of more features than sequences."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist import (
    SparseSpecialistEncoder,
    SpecialistPipeline,
    TaskLocalizer,
    TaskStructureIdentifier,
)
from skspecialist.encoder import _training
from skspecialist.exceptions import SpecialistWarning
from skspecialist.independence import _moments as moments

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6, 4))
Y = np.column_stack([X[:, 1, 0] + X[:, 1, 1], X[:, 4, 2]]) + 0.5 * RNG.normal(size=(120, 2))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"independence_test": "wilks", "conditioning": "band", "n_subsamples": 4},
        {"independence_test": "wilks", "conditioning": "band", "segment_length": 2},
        {"criterion": "collider", "segment_length": 2},
        pytest.param({"segment_length": "auto"}, marks=pytest.mark.slow),
    ],
    ids=["default", "band", "segments", "collider", "auto"],
)
def test_a_structure_without_a_covariance_of_all_columns_is_the_same(params, monkeypatch):
    params = {"random_state": 0} | params
    expected = TaskStructureIdentifier(**params).fit(X, Y)
    monkeypatch.setattr(moments, "MAX_COVARIANCE_BYTES", 0)
    found = TaskStructureIdentifier(**params).fit(X, Y)
    assert_allclose(found.pvalues_, expected.pvalues_, rtol=1e-6)
    assert_array_equal(found.structure_, expected.structure_)
    assert_array_equal(found.selection_frequency_, expected.selection_frequency_)
    assert found.score(X, Y) == pytest.approx(expected.score(X, Y))


def test_what_needs_the_covariance_of_all_columns_is_refused(monkeypatch):
    monkeypatch.setattr(moments, "MAX_COVARIANCE_BYTES", 0)
    with pytest.raises(ValueError, match="X has 6 steps of 4 features, too many"):
        TaskStructureIdentifier().fit(X)
    with pytest.raises(ValueError, match="conditioning='all' needs"):
        TaskStructureIdentifier(independence_test="wilks", conditioning="all").fit(X, Y)


def test_the_memory_of_a_structure_is_linear_in_the_number_of_steps():
    peaks = []
    for n_timesteps in (2000, 4000):
        long = RNG.normal(size=(40, n_timesteps, 4))
        tracemalloc.start()
        structure = TaskStructureIdentifier(100, conditioning="band", segment_steps="last")
        structure.fit(long, Y[:40])
        structure.score(long, Y[:40])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The covariance of 16,000 columns alone would have two gigabytes.
    assert peaks[1] < 2.2 * peaks[0] < 1e8


def test_the_independence_of_latents_is_measured_on_some_rows(monkeypatch):
    sizes = []
    measure = _training.kernel_alignment

    def measured(x, y):
        sizes.append(len(x))
        return measure(x, y)

    monkeypatch.setattr(_training, "kernel_alignment", measured)
    monkeypatch.setattr(_training, "KERNEL_ROWS", 50)
    encoder = SparseSpecialistEncoder(
        3,
        n_relevant=1,
        sparsity=0,
        max_epochs=1,
        decoder="fit",
        random_state=0,
        hidden_layer_sizes=(4,),
    )
    encoder.fit(X, Y)
    assert set(sizes) == {50}


@pytest.mark.slow
def test_long_sequences_fit_into_four_gigabytes():
    long = RNG.normal(size=(64, 10_000, 4)).astype(np.float32)
    y = np.column_stack([long[:, 5000:5005, 0].sum(1), long[:, -5:, 1].sum(1)])
    encoder = SparseSpecialistEncoder(max_epochs=1, n_relevant=2, random_state=0, decoder="fit")
    assert encoder.fit(long, y).mask_.shape[0] == 2
    assert TaskStructureIdentifier(100).fit(long, y).structure_.shape == (100, 2)
    TaskLocalizer(2, cv=2, max_epochs=1, random_state=0).fit(long[:10], y[:10] > 0)


def test_more_columns_than_sequences_fall_back_to_the_generalist():
    wide = X[:40] @ RNG.normal(size=(4, 40)) + 0.01 * RNG.normal(size=(40, 6, 40))
    structure = TaskStructureIdentifier(independence_test="wilks")
    with pytest.raises(ValueError, match=r"X has 40 sequences.*too few for every test"):
        structure.fit(wide, Y[:40])
    pipeline = SpecialistPipeline(structure=structure, strategy="specialist", random_state=0)
    with pytest.warns(SpecialistWarning, match="structure is left out: X has 40 sequences"):
        pipeline.fit(wide, Y[:40])
    assert not pipeline.use_specialist_.any()
    assert "too few sequences" in pipeline.fallback_reason_[0]
    pipeline.set_params(strategy="generalist", structure=None).fit(wide, Y[:40])
    assert pipeline.score(wide, Y[:40]) > 0.5


def test_wide_steps_are_refused_by_a_linear_test_where_they_determine_each_other():
    rng = np.random.default_rng(0)
    few = rng.normal(size=(40, 3, 2))
    y = few[:, 1, 0] + 0.1 * rng.normal(size=40)
    identifier = TaskStructureIdentifier(independence_test="wilks")
    with pytest.raises(ValueError, match=r"40 sequences, which are too few for every test"):
        identifier.fit(rng.normal(size=(40, 3, 200)), y)
    # The same number of columns, which are combinations of two.
    wide = few @ rng.normal(size=(2, 200))
    assert identifier.fit(wide, y).structure_.ravel().tolist() == [False, True, False]
