"""The number of threads changes a result by rounding at most.

Sums are split differently between threads: results agree to 1e-12 relative to their largest
entry where they are computed in double precision, and to 1e-5 where a network was trained in
single precision.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits

from skspecialist import (
    SparseSpecialistEncoder,
    SpecialistPipeline,
    TaskLocalizer,
    TaskStructureIdentifier,
)
from skspecialist.independence import GCM, KCI, RCIT

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6, 3))
Y = X[:, 1:3, 0] + 0.3 * RNG.normal(size=(200, 2))
x, y, z = RNG.normal(size=(3, 300, 2))
SMALL = {"hidden_layer_sizes": (64,), "max_epochs": 2, "random_state": 0}


def latents(heads):
    """Return the latents of single steps: threads share the products of large matrices only."""
    encoder = SparseSpecialistEncoder(3, n_relevant=2, heads=heads, input_noise=0.3, **SMALL)
    return encoder.fit(X[:, 1], Y).latents(X[:, 1])


CALLS = {
    "direct": (lambda: TaskStructureIdentifier().fit(X, Y).statistics_, 0.0),
    "collider": (
        lambda: TaskStructureIdentifier(criterion="collider").fit(X, Y).statistics_,
        1e-12,
    ),
    "gcm": (lambda: GCM(random_state=0).test(x, y, z).statistic, 1e-12),
    "rcit": (lambda: RCIT(random_state=0).test(x, y, z).statistic, 1e-10),
    "kci": (lambda: KCI(random_state=0).test(x, y, z).statistic, 1e-10),
    "encoder": (lambda: latents("mlp"), 1e-5),
    "linear heads": (lambda: latents("linear"), 1e-5),
    "localizer": (
        lambda: TaskLocalizer(2, cv=2, **SMALL).fit(X, Y > 0).contributions(X),
        1e-5,
    ),
    "generalist": (
        lambda: SpecialistPipeline(strategy="generalist", random_state=0).fit(X, Y).predict(X),
        1e-12,
    ),
}


def run(call, n_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(n_threads):
            return np.asarray(call())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", CALLS)
def test_threads_change_rounding_only(name):
    call, tolerance = CALLS[name]
    one, two = run(call, 1), run(call, 2)
    assert_allclose(two, one, rtol=0, atol=tolerance * np.abs(one).max())


@pytest.mark.parametrize("fails", [False, True], ids=["", "error"])
def test_networks_train_on_one_thread(fails):
    """During a fit torch has one thread; afterwards, also after an error, its usual number."""

    class Count(Callback):
        def on_batch_end(self, net, **kwargs):
            counts.append(torch.get_num_threads())
            if fails:
                raise RuntimeError

    counts, before = [], torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        encoder = SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, callbacks=[Count()], **SMALL)
        with pytest.raises(RuntimeError) if fails else nullcontext():
            encoder.fit(X[:, 1], Y)
        assert (set(counts), torch.get_num_threads()) == ({1}, 3)
    finally:
        torch.set_num_threads(before)
