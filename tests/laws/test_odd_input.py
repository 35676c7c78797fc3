"""Odd but legal input has finite answers, or is refused: nothing is NaN in silence."""

import numpy as np
import pytest

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline, TaskStructureIdentifier
from skspecialist.baselines import (
    CCABaseline,
    ChangePointBaseline,
    GraphicalLassoBaseline,
    GroupLassoBaseline,
    HMMBaseline,
    SelTaskBaseline,
)
from skspecialist.independence import CMI, GCM, KCI, PCM, RCIT, FisherZ, Stratified, Wilks
from skspecialist.metrics import block_r2, dci, infomec, mean_correlation_coefficient
from skspecialist.structure import Selection
from tests._instances import SMALL_LINEAR
from tests.refusals._refusals import blames

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4, 2))
Y = X[:, 1] + 0.3 * RNG.normal(size=(40, 2))


def with_step(value):
    sequences = X.copy()
    sequences[:, 2] = value
    return sequences


ODD_X = {
    "constant": with_step(3.0),
    "zero": with_step(0.0),
    "huge constant": with_step(1e300),
    "all constant": np.ones_like(X),
    "copies": np.repeat(X[:, :, :1], 2, axis=2),
    "all steps alike": np.repeat(X[:, :1], 4, axis=1),
    "copies of a sequence": np.repeat(X[:20], 2, axis=0),
    "one outlier": np.where(np.arange(40)[:, None, None] == 3, 1e12, X),
    "one huge outlier": np.where(np.arange(40)[:, None, None] == 3, 1e200, X),
    "1e300": 1e300 * X,
    "1e150": 1e150 * X,
    "1e-150": 1e-150 * X,
    "1e-300": 1e-300 * X,
    "denormal": 5e-324 * np.round(10 * X),
    "largest float32": (3e38 * np.tanh(X)).astype(np.float32),
    "largest int64": np.where(X > 0, 2**63 - 1, -(2**63)),
    "far from zero": 1e9 + X,
    "farther from zero": 1e15 + X,
    "booleans": X > 0,
    "mostly zero": X * (np.arange(40) < 3)[:, None, None],
    "numbers as text": X.astype(str),
    "few sequences": X[:3],
    "two sequences": X[:2],
    "one step": X[:, :1],
}
ODD_Y = {
    "1e300": 1e300 * Y,
    "1e150": 1e150 * Y,
    "1e-150": 1e-150 * Y,
    "1e-300": 1e-300 * Y,
    "1e9 from zero": 1e9 + Y,
    "copies": Y[:, [0, 0]],
    "one outlier": np.where(np.arange(40)[:, None] == 3, 1e12, Y),
    "one of its kind": (np.arange(40) == 3).astype(int),
    "a class each": np.arange(40),
    "a column of X": X[:, 1],
    "largest int64": np.where(Y > 0, 2**63 - 1, -(2**63)),
}


def identify(X, y, **params):
    found = TaskStructureIdentifier(1, **params).fit(X, y)
    return found.pvalues_, found.effect_sizes_, found.statistics_, found.score(X, y)


def encode(X, y):
    encoder = SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, **SMALL_LINEAR).fit(X, y)
    return encoder.transform(X), encoder.mask_, encoder.predict(X), encoder.score(X, y)


def specialize(X, y, **params):
    encoder = SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, **SMALL_LINEAR)
    structure = TaskStructureIdentifier(1, alpha=0.9)
    pipeline = SpecialistPipeline(
        structure=structure, encoder=encoder, cv=(0.6, 0.4), random_state=0, **params
    )
    y = y if y.ndim == 1 else y[:, 0]
    pipeline.fit(X, y)
    return pipeline.transform(X), pipeline.predict(X), pipeline.score(X, y)


def compare(baseline):
    return lambda X, y: (baseline.fit(X, y).transform(X),)


METHODS = {
    "direct": identify,
    "band": lambda X, y: identify(X, y, conditioning="band", independence_test="wilks"),
    "collider": lambda X, y: identify(X, y, criterion="collider"),
    "gcm": lambda X, y: identify(X, y, independence_test="gcm"),
    "encoder": encode,
    "pipeline": lambda X, y: specialize(X, y, strategy="specialist"),
    "stack": specialize,
    "cca": compare(CCABaseline(1)),
    "change points": compare(ChangePointBaseline(1)),
    "graphical lasso": compare(GraphicalLassoBaseline(1)),
    "group lasso": compare(GroupLassoBaseline(1)),
    "hmm": compare(HMMBaseline(1, n_init=1, random_state=0)),
    "seltask": compare(SelTaskBaseline(1, n_iter=5, random_state=0)),
}
# All others are near one of these, or baselines that share how input is read.
QUICK = ("direct", "collider", "encoder", "pipeline", "cca")
METHOD_NAMES = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in METHODS
]


def assert_finite_or_refused(call, arguments):
    try:
        answers = call()
    except (ValueError, TypeError) as error:
        if not any(blames(error, argument) for argument in arguments):
            raise
        return
    for answer in answers:
        values = np.asarray(answer)
        assert values.dtype.kind in "biu" or np.isfinite(values.astype(float)).all()


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("odd", ODD_X)
def test_odd_sequences(method, odd):
    sequences = ODD_X[odd]
    tasks = Y[: len(sequences)]
    assert_finite_or_refused(lambda: METHODS[method](sequences, tasks), ["X", "sequences"])


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("odd", ODD_Y)
def test_odd_tasks(method, odd):
    assert_finite_or_refused(lambda: METHODS[method](X, ODD_Y[odd]), ["y", "sequences"])


@pytest.mark.parametrize("odd", ["copies", "1e-300"])
def test_selection_of_odd_sequences(odd):
    identifier = TaskStructureIdentifier(2, criterion=Selection(n_tasks=1), n_subsamples=0)
    assert_finite_or_refused(lambda: (identifier.fit(ODD_X[odd]).score(ODD_X[odd]),), ["X"])


@pytest.mark.parametrize(
    "test", [FisherZ(), Wilks(), GCM(), RCIT(), KCI(), CMI(), Stratified(), PCM()]
)
@pytest.mark.parametrize("odd", [name for name in ODD_X if name != "one step"])
def test_odd_samples(test, odd):
    x, y, z = np.asarray(ODD_X[odd], dtype=float)[:, :3, 0].T

    def call():
        result = test.test(x, y, z)
        return result.statistic, result.pvalue, result.effect_size

    assert_finite_or_refused(call, ["x", "y", "z", "data"])


@pytest.mark.slow
@pytest.mark.parametrize("metric", [mean_correlation_coefficient, dci, infomec, block_r2])
@pytest.mark.parametrize(
    "odd", ["constant", "copies", "one huge outlier", "denormal", "few sequences", "1e-150"]
)
def test_odd_latents(metric, odd):
    latents = ODD_X[odd][:, 2]
    true = RNG.normal(size=(len(latents), 2))

    def call():
        answer = metric(latents, true)
        return [answer] if metric is block_r2 else answer.values()

    assert_finite_or_refused(call, ["true", "n_neighbors", "latents"])
