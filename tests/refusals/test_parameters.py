"""Estimators refuse weights, groups and parameters that make no sense."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.model_selection import GroupKFold, KFold
from torch import nn

from skspecialist import SparseMultiTaskSelectorCV
from skspecialist.baselines import (
    CCABaseline,
    ChangePointBaseline,
    GroupLassoBaseline,
)
from skspecialist.structure import Collider
from tests.refusals._estimators import (
    INF,
    NAN,
    STEPS,
    X,
    Y,
    changed,
    encoder,
    new_cv,
    new_encoder,
    new_generalist,
    new_identifier,
    new_pipeline,
)
from tests.refusals._refusals import Refusals, check_refusals

refusals = Refusals()

# ------------------------------------------------------------------ weights, groups, folds

WEIGHTS = {
    "negative": -np.ones((4, 2)),
    "nan": changed(STEPS, (1, 1), NAN),
    "inf": changed(STEPS, (1, 1), INF),
    "words": np.full((4, 2), "word"),
    "None inside": changed(STEPS, (1, 1), None, object),
    "complex": STEPS + 1j,
    "dict": {"a": 1.0},
    "set": {1.0},
    "text": "all",
    "number": 1.0,
    "generator": (row for row in STEPS),
    "vector": np.ones(4),
    "transposed": np.ones((2, 4)),
    "a task more": np.ones((4, 3)),
    "a step less": np.ones((3, 2)),
    "empty": np.ones((0, 2)),
    "a sequence less": np.ones((39, 4, 2)),
    "four dimensions": np.ones((40, 4, 2, 1)),
    "sparse": csr_array(STEPS),
    "ragged": [[1.0], [1.0, 2.0]],
    "dates": np.zeros((4, 2), "datetime64[s]"),
}
refusals.add("encoder.fit", "step_weights", lambda w: new_encoder().fit(X, Y, w), WEIGHTS)
refusals.add(
    "encoder.predict",
    "step_weights",
    lambda w: encoder().predict(X, w),
    {name: WEIGHTS[name] for name in ("negative", "nan", "a task more", "transposed", "ragged")},
)
refusals.add("rows", "step_weights", lambda w: new_encoder().fit(X[:, 0], Y, w), {"steps": STEPS})
refusals.add(
    "encoder.predict",
    "step_weights",
    lambda w: new_encoder().fit(X, Y, w).predict(X),
    {"each sequence its own": np.tile(STEPS, (40, 1, 1))},
)
refusals.add(
    "encoder.fit",
    "sample_weight",
    lambda w: new_encoder().fit(X, Y, sample_weight=w),
    {
        "negative": -np.ones(40),
        "nan": np.full(40, NAN),
        "inf": np.full(40, INF),
        "zero": np.zeros(40),
        "zero for all": np.zeros((40, 2)),
        "words": ["word"] * 40,
        "dict": {"a": 1.0},
        "generator": (1.0 for _ in range(40)),
        "number": 1.0,
        "too short": np.ones(39),
        "a task more": np.ones((40, 3)),
        "transposed": np.ones((2, 40)),
        "three dimensions": np.ones((40, 2, 1)),
        "empty": [],
        "complex": np.ones(40) * 1j,
    },
)
refusals.add(
    "encoder.fit",
    "task_weight",
    lambda w: new_encoder(task_weight=w).fit(X, Y),
    [
        [1.0],
        [1.0, 1.0, 1.0],
        [-1.0, 2.0],
        [0, 0],
        [NAN, 1],
        [INF, 1],
        ["a", "b"],
        [[1.0, 1.0]],
        "ab",
    ],
)
LABELS_OF_SEQUENCES = {
    "too short": np.zeros(39),
    "two dimensions": np.zeros((40, 2)),
    "number": 3,
    "text": "groups",
    "dict": {"a": 1},
    "set": {1, 2},
    "generator": (i for i in range(40)),
    "mixed": np.array(["a", 1] * 20, dtype=object),
    "nan": [NAN, 1.0] * 20,
    "None inside": [None, 1] * 20,
    "lists": [[1], [1, 2]] * 20,
}
refusals.add("pipeline.fit", "groups", lambda g: new_pipeline().fit(X, Y, g), LABELS_OF_SEQUENCES)
refusals.add(
    "pipeline.fit",
    "environments",
    lambda e: new_pipeline(strategy="specialist").fit(X, Y, environments=e),
    LABELS_OF_SEQUENCES | {"one": np.zeros(40)},
)
refusals.add(
    "cv.fit",
    "groups",
    lambda g: new_cv(cv=GroupKFold(2)).fit(X, Y, groups=g),
    {name: LABELS_OF_SEQUENCES[name] for name in ("too short", "dict", "number")} | {"None": None},
)
refusals.add("cv.fit", "cv", lambda cv: new_cv(cv=cv).fit(X, Y), {"60": KFold(60), "none": []})
refusals.add(
    "selector_cv.fit",
    "sparsities",
    lambda s: SparseMultiTaskSelectorCV(cv=2, sparsities=s, max_epochs=1).fit(X, Y),
    [[], [0.0], [1.0], [-0.1, 0.2], [NAN], ["a"], [[0.1]], {"a": 0.1}, [INF], [None]],
)
refusals.add(
    "pipeline.fit",
    "cv",
    lambda cv: new_pipeline(cv=cv).fit(X, Y),
    [
        (0.5, 0.5, 0.5),
        (1.0, 0.0, 0.0),
        (0.9, 0.2, -0.1),
        (NAN, 0.5, 0.5),
        ("a", "b", "c"),
        (0.5, 0.25, 0.125, 0.125),
        (),
        41,
        KFold(50),
        [],
        {"folds": 3},
    ],
)

# ------------------------------------------------------------------ parameters
#
# Scikit-learn's own validation guards types, choices and ranges of single parameters, and its
# checks in tests/test_common.py try it. Here are values that pass it: wrong for the data, wrong
# beside another parameter, or wrong inside a container.


def parameters(where, new, mistakes, X=X, y=Y):
    """Add mistakes in parameters that ``fit`` refuses."""
    for argument, values in mistakes.items():
        refusals.add(
            where, argument, lambda v, argument=argument: new(**{argument: v}).fit(X, y), values
        )


parameters(
    "Collider",
    lambda **params: new_identifier(criterion=Collider(**params)),
    {"aggregation": ["mean"]},
)
parameters(
    "TaskStructureIdentifier",
    new_identifier,
    {
        "independence_test": ["fisher", "", "no.such"],
        "segment_length": [
            5,
            [],
            [0, 2],
            [[0, 2, 4]],
            [[2, 0]],
            [[0, 3], [2, 4]],
            [[2, 4], [0, 2]],
            [[0, 9]],
            [[-1, 2]],
            [[0.0, 2.0]],
            [["a", "b"]],
            [[0, 2], [3]],
            {0: 2},
            [[1, 1]],
            [[0, 2**70]],
        ],
        "n_timesteps": [3, 8],
    },
)
parameters(
    "SparseSpecialistEncoder",
    new_encoder,
    {
        "n_relevant": [3],
        "penalty": ["l3"],
        "hidden_layer_sizes": [(0,), (-3,), (2.5,), ("8",), (None,), (NAN,)],
        "callbacks": [["print"], [3], [nn.Linear]],
        "device": ["banana", "", "cuda:99"],
    },
)
parameters("SpecialistPipeline", new_pipeline, {"n_timesteps": [3]})
refusals.add(
    "loss",
    "loss",
    lambda loss: new_pipeline(loss=loss, cv=(0.6, 0.4)).fit(X, Y[:, 0]),
    {
        "a number": lambda truth, prediction: 0.0,
        "too many": lambda truth, prediction: np.zeros(3),
        "words": lambda truth, prediction: np.full(len(truth), "word"),
        "nan": lambda truth, prediction: np.full(len(truth), NAN),
        "None": lambda truth, prediction: None,
    },
)
parameters(
    "TorchGeneralist",
    new_generalist,
    {
        "module": [nn.Linear(3, 2), nn.LSTM, lambda x: None, lambda x: x * NAN],
        "layers": ["9", "no.such"],
        "pooling": [lambda x: x[0]],
        "input_shape": [(3,), (2, 2), (0,), (-1, 3), ("a",)],
        "preprocess": [lambda x: None],
        "device": ["banana", "cuda:99"],
    },
)
parameters("CCA", CCABaseline, {"segment_length": [5]})
parameters("ChangePoint", ChangePointBaseline, {"n_timesteps": [3]})
parameters("GroupLasso", GroupLassoBaseline, {"segment_length": [99]})


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("call", "mistakes", "argument"), refusals.cases)
def test_is_refused(call, mistakes, argument):
    check_refusals(call, mistakes, argument)
