"""Ctrl-C is raised, and leaves an estimator as it was: never half-fitted."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import Ridge
from skorch.callbacks import Callback
from torch import nn

from skspecialist import (
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
    TaskStructureIdentifier,
    TorchGeneralist,
)
from skspecialist.baselines import SelTaskBaseline
from skspecialist.independence import GCM, FisherZ
from tests._instances import SMALL_LINEAR

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4, 1))
Y = X[:, 1] + 0.3 * RNG.normal(size=(60, 2))


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


class InterruptedTest(FisherZ):
    test_many = test_given_rest = interrupt


class InterruptedSample(GCM):
    _test = interrupt


class InterruptedPart(TransformerMixin, BaseEstimator):
    """Interrupted when fitted."""

    fit = interrupt

    def transform(self, X):
        """Return what came in."""
        return X


class InterruptedRidge(Ridge):
    """Interrupted when it has been fitted ``calls`` times, by any of its clones."""

    calls = 0

    def fit(self, X, y):
        type(self).calls -= 1
        return interrupt() if type(self).calls < 0 else super().fit(X, y)


class InterruptedEpoch(Callback):
    """Interrupted after the first epoch."""

    on_epoch_end = interrupt


class InterruptedModule(nn.Module):
    """Interrupted at the first batch."""

    forward = interrupt


def after(n_fits):
    return type(f"InterruptedAfter{n_fits}", (InterruptedRidge,), {"calls": n_fits})()


IDENTIFIER = TaskStructureIdentifier(alpha=0.5)
ENCODER = SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, **SMALL_LINEAR)
PIPELINE = SpecialistPipeline(
    structure=TaskStructureIdentifier(1, alpha=0.9),
    encoder=ENCODER,
    candidates=["steps", "latents"],
    cv=(0.6, 0.4),
    random_state=0,
)
CASES = [
    (IDENTIFIER, {"independence_test": InterruptedTest()}),
    (IDENTIFIER, {"independence_test": InterruptedSample()}),
    (IDENTIFIER, {"criterion": "collider", "independence_test": InterruptedTest()}),
    (ENCODER, {"callbacks": [InterruptedEpoch()]}),
    (
        SparseSpecialistEncoderCV(2, cv=2, **SMALL_LINEAR),
        {"callbacks": [InterruptedEpoch()]},
    ),
    (PIPELINE, {"generalist": InterruptedPart()}),
    (PIPELINE, {"structure": TaskStructureIdentifier(independence_test=InterruptedTest())}),
    (
        PIPELINE,
        {"encoder": SparseSpecialistEncoder(2, callbacks=[InterruptedEpoch()], **SMALL_LINEAR)},
    ),
    pytest.param(PIPELINE, {"estimator": after(0)}, marks=pytest.mark.slow),
    (PIPELINE, {"estimator": after(3)}),
    pytest.param(
        PIPELINE, {"strategy": "generalist", "estimator": after(1)}, marks=pytest.mark.slow
    ),
    (TorchGeneralist(nn.Identity()), {"module": InterruptedModule()}),
]


def name_of(value):
    return "-".join(value) if isinstance(value, dict) else type(value).__name__


@pytest.mark.parametrize(("estimator", "interrupting"), CASES, ids=name_of)
def test_ctrl_c_leaves_the_estimator_as_it_was(estimator, interrupting):
    fresh = clone(estimator).set_params(**interrupting)
    with pytest.raises(KeyboardInterrupt):
        fresh.fit(X, Y)
    assert vars(fresh).keys() == fresh.get_params(deep=False).keys()

    fitted = clone(estimator).fit(X, Y)
    before, expected = dict(vars(fitted)), fitted.transform(X)
    with pytest.raises(KeyboardInterrupt):
        fitted.set_params(**interrupting).fit(np.tile(X, 2), Y)
    fitted.set_params(**{name: before[name] for name in interrupting})
    assert vars(fitted).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(fitted).items())
    assert_array_equal(fitted.transform(X), expected)


def test_ctrl_c_in_partial_fit_does_not_count_the_batch():
    identifier = TaskStructureIdentifier().partial_fit(X, Y)
    identifier.set_params(independence_test=InterruptedTest())
    with pytest.raises(KeyboardInterrupt):
        identifier.partial_fit(X, Y)
    assert identifier.n_samples_seen_ == len(X)
    identifier.set_params(independence_test="auto").partial_fit(X, Y)
    assert identifier.n_samples_seen_ == 2 * len(X)


def test_ctrl_c_in_add_task_adds_nothing():
    pipeline = SpecialistPipeline(strategy="generalist", random_state=0).fit(X, Y)
    pipeline.set_params(estimator=after(1))
    with pytest.raises(KeyboardInterrupt):
        pipeline.add_task(X, Y)
    assert pipeline.predict(X).shape == Y.shape
    assert pipeline.set_params(estimator=None).add_task(X, Y).predict(X).shape == (60, 4)


def test_ctrl_c_in_a_baseline(monkeypatch):
    baseline = SelTaskBaseline(n_iter=2, random_state=0).fit(X, Y)
    expected = baseline.structure_
    monkeypatch.setattr(SelTaskBaseline, "_factorize", interrupt)
    with pytest.raises(KeyboardInterrupt):
        baseline.fit(np.tile(X, 2), Y)
    assert baseline.structure_ is expected
