"""Settings of scikit-learn and torch that a library around ours has changed."""

import copy
import pickle
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA

from skspecialist import (
    NuisanceRemover,
    RelativeRepresentation,
    SpaceAligner,
    SparseSpecialistEncoder,
    SpecialistPipeline,
    TaskLocalizer,
    TaskStructureIdentifier,
    TorchGeneralist,
)

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6, 4))
Y = np.column_stack([X[:, 1, 0], X[:, 4, 2]]) + 0.3 * RNG.normal(size=(60, 2))
SMALL = {
    "n_relevant": 1,
    "sparsity": 0,
    "max_epochs": 2,
    "hidden_layer_sizes": (4,),
    "random_state": 0,
}


def predictions():
    encoder = SparseSpecialistEncoder(2, input_noise=0.3, **SMALL)
    options = {"candidates": ["steps", "kernel", "latents"], "cv": (0.6, 0.4), "random_state": 0}
    pipeline = SpecialistPipeline(PCA(3), encoder=encoder, **options)
    return encoder.fit(X[:, 0], Y).predict(X[:, 0]), pipeline.fit(X, Y).predict(X)


@pytest.fixture(scope="module")
def expected():
    return predictions()


@pytest.mark.slow
def test_the_output_of_transformers_changes_no_prediction(expected):
    with sklearn.config_context(transform_output="pandas"):
        found = predictions()
    assert_array_equal(found[0], expected[0])
    assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize(
    "dtype", [pytest.param(torch.float64, marks=pytest.mark.slow), torch.bfloat16]
)
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


@contextmanager
def setting(change, restore):
    change()
    try:
        yield
    finally:
        restore()


# Settings that a library around ours may have changed, as contexts.
SETTINGS = {
    "float64": lambda: setting(
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.float32),
    ),
    "another device": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "errors of numpy": lambda: np.errstate(all="raise"),
    "tables": lambda: sklearn.config_context(transform_output="pandas"),
    "no checks": lambda: sklearn.config_context(assume_finite=True),
}
# Several at once, which is quicker; each alone is tested nightly.
TOGETHER = [
    ("float64", "another device", "autocast"),
    ("no gradients", "tables", "errors of numpy"),
    ("inference mode", "no checks"),
]
TOGETHER += [pytest.param((name,), marks=pytest.mark.slow) for name in SETTINGS]


@pytest.fixture(scope="module")
def fitted():
    steps = SparseSpecialistEncoder(2, input_noise=0.3, **SMALL)
    localizer = TaskLocalizer(2, cv=2, hidden_layer_sizes=(4,), max_epochs=1, random_state=0)
    return [
        steps.fit(X, Y),
        localizer.fit(X, Y > 0),
        TaskStructureIdentifier().fit(X, Y),
        SpecialistPipeline(encoder=steps, strategy="specialist", random_state=0).fit(X, Y),
    ]


def answers(estimator):
    """Return all that it predicts of sequences; tables as arrays."""
    methods = ("predict", "transform", "latents", "contributions", "step_weights")
    found = [getattr(estimator, name)(X) for name in methods if hasattr(estimator, name)]
    return [np.asarray(array) for array in found]


@pytest.mark.parametrize("names", TOGETHER, ids=" and ".join)
def test_settings_change_nothing_when_pickles_are_loaded_and_copies_fitted(fitted, names):
    expected = [answers(estimator) for estimator in fitted]
    pickles = [pickle.dumps(estimator) for estimator in fitted]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(SETTINGS[name]())
        loaded = [answers(pickle.loads(saved)) for saved in pickles]
        copies = [answers(copy.deepcopy(estimator)) for estimator in fitted]
        again = [
            answers(clone(estimator).fit(X, Y > 0 if "Localizer" in repr(estimator)[:13] else Y))
            for estimator in fitted
        ]
    for found in (loaded, copies, again):
        for one, other in zip(found, expected, strict=True):
            for array, same in zip(one, other, strict=True):
                assert_array_equal(array, same)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_sequences_of_three_dimensions_stay_arrays_where_tables_are_asked_for(fitted, output):
    encoder, _, structure, _ = fitted
    for estimator in (encoder, structure):
        expected = estimator.transform(X)
        with sklearn.config_context(transform_output=output):
            assert_array_equal(estimator.transform(X), expected)
            assert_array_equal(clone(estimator).fit_transform(X, Y), expected)
    with sklearn.config_context(transform_output=output):
        table = structure.transform(X.reshape(60, -1))
        assert type(table).__module__.startswith(output)
    module = TorchGeneralist(torch.nn.Tanh())
    remover = NuisanceRemover()
    for new in (clone(structure), module, remover, SpaceAligner(), RelativeRepresentation(5)):
        tasks = X if isinstance(new, SpaceAligner) else Y
        assert new.set_output(transform=output).fit_transform(X, tasks).ndim == 3
