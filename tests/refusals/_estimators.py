"""Data and quick estimators that bad input is given to."""

from functools import cache

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from torch import nn

from skspecialist import (
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
    TaskStructureIdentifier,
    TorchGeneralist,
)

NAN, INF = np.nan, np.inf
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4, 2))
Y = X[:, 1] + 0.3 * RNG.normal(size=(40, 2))
LABELS = (Y > 0).astype(int)
FLAT = X.reshape(40, 8)
STEPS = np.ones((4, 2))
FRAME = pd.DataFrame(FLAT, columns=list("abcdefgh"))


def changed(array, place, value, dtype=None):
    """Return a copy with another value in one place."""
    array = np.array(array, dtype=dtype)
    array[place] = value
    return array


def no_targets(y):
    """Return what no estimator takes for the tasks of 40 sequences, made from two that are good."""
    return {
        "None": None,
        "number": 1.0,
        "text": "targets",
        "dict": {"a": [1.0]},
        "set": {1.0},
        "generator": (row for row in y),
        "three dimensions": y[:, :, None],
        "empty": y[:0],
        "no tasks": y[:, :0],
        "too short": y[:-1],
        "too long": np.vstack([y, y[:1]]),
        "transposed": y.T,
        "one value": [1.0],
        "the sequences": X,
        "ragged": [[1.0], [1.0, 2.0]] * 20,
        "complex": y + 1j,
        "sparse vector": csr_array(y[:, :1]).T,
        "short table": pd.DataFrame(y[:-1]),
        "records of arrays": np.zeros(40, dtype=[("a", float, (2,)), ("b", float)]),
    }


NOTHING_TO_LEARN = {
    "one value": np.full((40, 2), 3.0),
    "one class": np.zeros(40, int),
    "one class of strings": np.full(40, "a"),
    "one class of booleans": np.full(40, True),
    "bytes": np.array([b"no", b"yes"] * 20),
    "mixed classes": np.array(["a", 1] * 20, dtype=object),
    "lists as classes": pd.Series([[1], [2]] * 20),
    "dicts as classes": pd.Series([{}, {"a": 1}] * 20),
}


def new_identifier(**params):
    return TaskStructureIdentifier(**params)


def new_encoder(**params):
    small = {"n_relevant": 1, "heads": "linear", "hidden_layer_sizes": (4,), "max_epochs": 1}
    return SparseSpecialistEncoder(**({"n_components": 2, "random_state": 0} | small | params))


def new_cv(**params):
    small = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
    return SparseSpecialistEncoderCV(**(small | params))


def new_pipeline(**params):
    return SpecialistPipeline(**({"encoder": new_encoder(), "random_state": 0} | params))


def new_generalist(module=None, **params):
    return TorchGeneralist(nn.Linear(2, 3) if module is None else module, **params)


@cache
def identifier():
    return new_identifier(alpha=0.9).fit(X, Y)


@cache
def encoder():
    return new_encoder().fit(X, Y, STEPS)


@cache
def pipeline():
    return new_pipeline(strategy="generalist").fit(X, Y)


@cache
def generalist():
    return new_generalist().fit(X)
