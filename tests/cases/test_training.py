"""Training beside the settings and callbacks of skorch and torch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from skorch.callbacks import EarlyStopping

from skspecialist import SparseSpecialistEncoder

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = X[:, :2] + 0.3 * RNG.normal(size=(60, 2))


def encoder(**params):
    return SparseSpecialistEncoder(
        2, n_relevant=1, sparsity=0, hidden_layer_sizes=(4,), max_epochs=3, random_state=0, **params
    )


@pytest.mark.parametrize(
    "params",
    [
        {"callbacks": [EarlyStopping()], "early_stopping": True},
        {"callbacks": [EarlyStopping("train_loss")]},
    ],
    ids=["validation loss", "training loss"],
)
def test_early_stopping_of_skorch_monitors_a_loss_that_exists(params):
    assert encoder(**params).fit(X, Y).n_iter_ <= 3


def test_a_validation_loss_that_is_not_recorded_is_named():
    with pytest.raises(ValueError, match=r"callbacks .*'valid_loss'.*early_stopping=True"):
        encoder(callbacks=[EarlyStopping()]).fit(X, Y)


def test_the_generator_of_torch_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    encoder().fit(X, Y)
    assert_array_equal(torch.rand(3), expected)
