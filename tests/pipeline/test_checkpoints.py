"""Pipelines whose encoder saves its fits continue from them, or raise an error with the reason."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline
from skspecialist.datasets import make_specialist_latents
from tests.networks.test_checkpoint import Killed, kill_after

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

DATA = make_specialist_latents(100, 4, 2, 3, n_layers=1, random_state=0)
X = DATA.X[:, None]


def pipeline(checkpoint_dir=None, **params):
    encoder = SparseSpecialistEncoder(
        4,
        n_relevant=2,
        sparsity=0,
        heads="linear",
        input_noise=0.3,
        hidden_layer_sizes=(8,),
        max_epochs=3,
        checkpoint_dir=checkpoint_dir,
    )
    params = {"strategy": "specialist", "random_state": 0} | params
    return SpecialistPipeline(encoder=encoder, **params)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_without_a_seed_nothing_is_saved_in_vain(tmp_path, random_state):
    with pytest.raises(ValueError, match="random_state of the pipeline must be an integer"):
        pipeline(tmp_path, random_state=random_state).fit(X, DATA.y)
    fitted = pipeline(tmp_path).fit(X, DATA.y[:, :2])
    before = dict(vars(fitted.set_params(random_state=random_state)))
    with pytest.raises(ValueError, match="random_state of the pipeline must be an integer"):
        fitted.add_task(X, DATA.y[:, 2])
    assert vars(fitted) == before


def test_a_seed_is_needed_only_where_something_is_saved(tmp_path):
    pipeline(random_state=None).fit(X, DATA.y)
    pipeline(tmp_path, random_state=None, strategy="generalist").fit(X, DATA.y)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_interrupted_add_task_goes_on(tmp_path, monkeypatch):
    undisturbed = pipeline().fit(X, DATA.y[:, :2]).add_task(X, DATA.y[:, 2])
    fitted = pipeline(tmp_path).fit(X, DATA.y[:, :2])
    later, n_kills = pickle.loads(pickle.dumps(fitted)), 0
    while True:
        with monkeypatch.context() as patch:
            kill_after(patch, 1)
            try:
                later.add_task(X, DATA.y[:, 2])
                break
            except Killed:
                n_kills += 1
    assert n_kills
    assert_array_equal(later.predict(X), undisturbed.predict(X))
    assert_array_equal(later.mask_, undisturbed.mask_)
    with monkeypatch.context() as patch:
        kill_after(patch, 0)  # what was finished writes nothing
        fitted.add_task(X, DATA.y[:, 2])
    assert_array_equal(fitted.predict(X), undisturbed.predict(X))
