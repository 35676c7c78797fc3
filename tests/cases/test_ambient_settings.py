"""Settings of scikit-learn and torch that a library around ours has changed."""

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.decomposition import PCA

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6, 4))
Y = np.column_stack([X[:, 1, 0], X[:, 4, 2]]) + 0.3 * RNG.normal(size=(60, 2))
SMALL = {"n_relevant": 1, "max_epochs": 2, "hidden_layer_sizes": (4,), "random_state": 0}


def predictions():
    encoder = SparseSpecialistEncoder(2, input_noise=0.3, **SMALL)
    pipeline = SpecialistPipeline(PCA(3), encoder=encoder, cv=2, random_state=0)
    return encoder.fit(X[:, 0], Y).predict(X[:, 0]), pipeline.fit(X, Y).predict(X)


@pytest.fixture(scope="module")
def expected():
    return predictions()


def test_the_output_of_transformers_changes_no_prediction(expected):
    with sklearn.config_context(transform_output="pandas"):
        found = predictions()
    assert_array_equal(found[0], expected[0])
    assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_type_of_torch_changes_no_prediction(expected, dtype):
    torch.set_default_dtype(dtype)
    try:
        found = predictions()
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert_array_equal(found[0], expected[0])
    assert_array_equal(found[1], expected[1])


def test_the_default_device_of_torch_changes_no_prediction(expected):
    with torch.device("meta"):
        found = predictions()
    assert_array_equal(found[0], expected[0])
    assert_array_equal(found[1], expected[1])
