"""Fitted estimators in files: equal predictions once loaded, and no other types."""

import copy
import io
import json
import pickle
import warnings
import zipfile

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer

from skspecialist import (
    SparseMultiTaskSelector,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
    TaskStructureIdentifier,
    TorchGeneralist,
)
from skspecialist.datasets import (
    make_collider_sequences,
    make_digit_sequences,
    make_specialist_latents,
)
from skspecialist.exceptions import SpecialistWarning
from skspecialist.saving import trusted_types
from skspecialist.structure import Selection

SMALL = {"hidden_layer_sizes": (8,), "input_noise": 0.1}
ENCODERS = {
    "mlp": SparseSpecialistEncoder(4, n_relevant=2, sparsity=0, **SMALL),
    "linear": SparseSpecialistEncoder(4, heads="linear", **SMALL),
    "selector": SparseMultiTaskSelector(),
    "given size": SparseSpecialistEncoder(n_relevant=2, hidden_layer_sizes=(8,)),
    "cross-validated": SparseSpecialistEncoderCV(4, cv=2, n_subsamples=2, **SMALL),
}
NAMES = [*ENCODERS, "labels", "observed", "selection", "pipeline"]


def fit(name):
    """Return a fitted estimator, and data for it."""
    if name in ENCODERS:
        data = make_specialist_latents(100, 4, 2, n_layers=1, random_state=0)
        encoder = copy.deepcopy(ENCODERS[name]).set_params(max_epochs=3, random_state=0)
        return encoder.fit(data.X, data.y), data.X
    if name == "observed":
        data = make_collider_sequences(100, random_state=0)
        return TaskStructureIdentifier(random_state=0).fit(data.X, data.y), data.X
    if name == "selection":
        data = make_collider_sequences(200, 6, 1, selection=True, random_state=0)
        identifier = TaskStructureIdentifier(
            2, criterion=Selection(n_tasks=1), n_subsamples=2, random_state=0
        )
        return identifier.fit(data.X), data.X
    data = make_digit_sequences(100, n_timesteps=4, n_tasks=2, random_state=0)
    encoder = SparseSpecialistEncoder(
        4, n_relevant=2, sparsity=0, heads="linear", max_epochs=10, random_state=0, **SMALL
    )
    if name == "labels":
        y = np.where(data.y > np.median(data.y, axis=0), "more", "less").astype(object)
        return encoder.fit(data.X, y), data.X
    pipeline = SpecialistPipeline(PCA(10), encoder=encoder, strategy="specialist", random_state=0)
    return pipeline.fit(data.X, data.y), data.X


@pytest.fixture(scope="module")
def fitted():
    """Return a function that fits each estimator once."""
    done = {}

    def get(name):
        if name not in done:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SpecialistWarning)  # the fits are short
                done[name] = fit(name)
        return done[name]

    return get


def through_pickle(estimator, path):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator, path):
    joblib.dump(estimator, path)
    return joblib.load(path, mmap_mode="r")  # its arrays cannot be written to


def through_skops(estimator, path):
    import skops.io  # which imports every estimator of scikit-learn, for seconds

    skops.io.dump(estimator, path)
    return skops.io.load(path, trusted=trusted_types(path))


def assert_the_same(estimator, other, X):
    methods = [name for name in ("predict", "transform") if hasattr(estimator, name)]
    assert methods
    for name in methods:
        np.testing.assert_array_equal(getattr(other, name)(X), getattr(estimator, name)(X))
    assert repr(other) == repr(estimator)
    assert sorted(vars(other)) == sorted(vars(estimator))


@pytest.mark.parametrize(
    "through",
    [through_pickle, pytest.param(through_joblib, marks=pytest.mark.slow), through_skops],
)
@pytest.mark.parametrize("name", NAMES)
def test_what_comes_back_does_the_same(fitted, name, through, tmp_path):
    estimator, X = fitted(name)
    assert_the_same(estimator, through(estimator, tmp_path / "file"), X)


def test_the_pipeline_that_is_saved_has_latents(fitted):
    pipeline, _ = fitted("pipeline")
    assert "latents" in pipeline.predicted_from_
    assert pipeline.encoder_.mask_.any()


@pytest.mark.parametrize("through", [through_pickle, through_joblib])
def test_a_module_of_the_users_own_comes_back(through, tmp_path):
    X = np.random.default_rng(0).normal(size=(10, 3))
    generalist = TorchGeneralist(torch.nn.Linear(3, 2)).fit(X)
    assert_the_same(generalist, through(generalist, tmp_path / "file"), X)


@pytest.mark.parametrize("name", ["linear", "pipeline"])
def test_what_came_back_learns_the_same(fitted, name, tmp_path):
    estimator, X = fitted(name)
    y = np.random.default_rng(0).normal(size=(len(X), len(estimator.tasks_)))
    twins = [copy.deepcopy(estimator), through_skops(estimator, tmp_path / "file")]
    if name == "linear":
        twins = [twin.set_params(warm_start=True) for twin in twins]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)
        first, second = (twin.fit(X, y) for twin in twins)
    assert_the_same(first, second, X)


class Recorder(pickle.Pickler):
    """Notes the packages of the types of all that is pickled."""

    def __init__(self):
        super().__init__(io.BytesIO())
        self.packages = set()

    def persistent_id(self, thing):
        cls = thing if isinstance(thing, type) else type(thing)
        self.packages.add(cls.__module__.partition(".")[0])


@pytest.mark.parametrize("name", [*ENCODERS, "labels", "pipeline"])
def test_no_tensor_and_no_net_is_in_a_pickle(fitted, name):
    recorder = Recorder()
    recorder.dump(fitted(name)[0])
    assert {"skspecialist", "numpy"} <= recorder.packages
    assert not recorder.packages & {"torch", "skorch"}


@pytest.mark.parametrize("name", NAMES)
def test_skops_has_to_trust_nothing_but_this_package(fitted, name, tmp_path):
    import skops.io

    skops.io.dump(fitted(name)[0], tmp_path / "file")
    unknown = skops.io.get_untrusted_types(file=tmp_path / "file")
    assert unknown
    assert trusted_types(tmp_path / "file") == unknown


@pytest.mark.parametrize("library", [pd, pytest.param(pl, marks=pytest.mark.slow)])
def test_the_form_of_a_table_of_tasks_comes_back(library, tmp_path):
    rng = np.random.default_rng(0)
    X, code = rng.normal(size=(60, 3)), rng.integers(2, size=60)
    kinds = {"word": ["no", "yes"], "truth": [False, True], "number": [3, 5], "size": [0.5, 1.5]}
    y = library.DataFrame({name: np.array(kind)[code] for name, kind in kinds.items()})
    level = np.array(["low", "high"])[code]
    y = (
        y.assign(level=pd.Categorical(level, ["low", "high"], ordered=True))
        if library is pd
        else y.with_columns(level=pl.Series(level, dtype=pl.Enum(["low", "high"])))
    )
    pipeline = SpecialistPipeline(strategy="generalist", random_state=0).fit(X, y)
    predicted = pipeline.predict(X)
    assert list(predicted.dtypes) == list(y.dtypes)
    assert through_skops(pipeline, tmp_path / "file").predict(X).equals(predicted)


def test_types_from_elsewhere_are_not_trusted(tmp_path):
    from skops.io.exceptions import UntrustedTypesFoundException

    pipeline = SpecialistPipeline(FunctionTransformer(exec))
    with pytest.raises(UntrustedTypesFoundException, match=r"builtins\.exec"):
        through_skops(pipeline, tmp_path / "file")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("skspecialist", "import_module"),  # imported there, not defined
        ("skspecialist._data.frames", "sequences_from_frame"),  # no class
        ("skspecialist.nowhere", "Class"),
        ("skspecialistic", "Class"),
    ],
)
def test_names_that_look_like_ours_are_not_trusted(module, name, tmp_path):
    import skops.io

    content = io.BytesIO(skops.io.dumps(TaskStructureIdentifier()))
    with zipfile.ZipFile(content) as archive:
        schema = json.loads(archive.read("schema.json"))
    schema |= {"__module__": module, "__class__": name}
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    assert skops.io.get_untrusted_types(file=tmp_path / "file") == [f"{module}.{name}"]
    assert trusted_types(tmp_path / "file") == []


def test_loading_leaves_the_random_numbers_alone(fitted):
    content = pickle.dumps(fitted("mlp")[0])
    state = torch.get_rng_state()
    pickle.loads(content)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["mlp", "linear", "selector"])
def test_a_copied_module_is_equal_and_shares_nothing(fitted, name):
    module = fitted(name)[0].module_
    twin = copy.deepcopy(module)
    tensors = [dict([*m.named_parameters(), *m.named_buffers()]) for m in (module, twin)]
    assert tensors[0].keys() == tensors[1].keys() == module.state_dict().keys()
    for key, tensor in tensors[0].items():
        other = tensors[1][key]
        assert torch.equal(tensor, other)
        assert (tensor.dtype, tensor.requires_grad) == (other.dtype, other.requires_grad)
        assert tensor.numel() == 0 or tensor.data_ptr() != other.data_ptr()
    modes = [[part.training for part in m.modules()] for m in (module, twin)]
    assert modes[0] == modes[1]
