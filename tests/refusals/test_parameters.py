"""Estimators refuse weights, groups and parameters that make no sense."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold
from torch import nn

from skspecialist.baselines import (
    CCABaseline,
    ChangePointBaseline,
    GraphicalLassoBaseline,
    GroupLassoBaseline,
    HMMBaseline,
    SelTaskBaseline,
)
from skspecialist.encoder.penalties import L1, HardConcrete
from skspecialist.independence import Wilks
from skspecialist.structure.aggregation import RankOne
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
from tests.refusals._refusals import Refusals, check_refusal

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
    "y_weight",
    lambda w: new_encoder().fit(X, Y, y_weight=w),
    {
        "negative": -np.ones(40),
        "nan": np.full(40, NAN),
        "inf": np.full(40, INF),
        "zero": np.zeros(40),
        "zero for a task": np.ones((40, 2)) * [1, 0],
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
refusals.add(
    "cv.fit",
    "cv",
    lambda cv: new_cv(cv=cv).fit(X, Y),
    {"0": 0, "1": 1, "-2": -2, "too many": KFold(60), "text": "five", "half": 2.5, "nothing": []},
)
refusals.add(
    "cv.fit",
    "sparsities",
    lambda s: new_cv(sparsities=s).fit(X, Y),
    [[], [0.0], [1.0], [-0.1, 0.2], [NAN], ["a"], [[0.1]], 0.1, "auto", {"a": 0.1}, [INF], [None]],
)
refusals.add("cv.fit", "tolerance", lambda t: new_cv(tolerance=t).fit(X, Y), [1.0, -0.1, NAN, "a"])
refusals.add("cv.fit", "n_subsamples", lambda n: new_cv(n_subsamples=n).fit(X, Y), [1, 0, 2.5])
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
        0,
        1,
        -3,
        41,
        2.5,
        "three",
        KFold(50),
        [],
        {"folds": 3},
    ],
)

# ------------------------------------------------------------------ parameters


def parameters(where, new, mistakes):
    """Add mistakes in parameters that ``fit`` refuses."""
    for argument, values in mistakes.items():
        refusals.add(
            where, argument, lambda v, argument=argument: new(**{argument: v}).fit(X, Y), values
        )


parameters(
    "TaskStructureIdentifier",
    new_identifier,
    {
        "segment_length": [0, -1, 1.5, "two", None, 5, [2], NAN],
        "criterion": ["Direct", None, 1, ["direct"]],
        "segment_steps": ["first", None, ("interior",)],
        "conditioning": ["none", None, True],
        "independence_test": ["fisher", "", "no.such", None, Wilks, RankOne(), 3],
        "aggregation": ["mean", None, RankOne, Wilks(), 0],
        "alpha": [0, 1, -0.1, NAN, "0.05", None, 1e300, 5],
        "correction": ["bonferroni", None, False],
        "min_effect_size": [-0.1, 1.1, NAN, "large", None],
        "n_tasks": [0, -1, 2.5, "two"],
        "segments": [
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
            "all",
            {0: 2},
            [[1, 1]],
            [[0, 2**70]],
        ],
        "n_subsamples": [-1, 2.5, "many"],
        "n_timesteps": [0, -4, 2.0, "four", 3, 8],
        "n_jobs": [1.5, "all"],
        "random_state": [-1, "seed", 0.5, 2**40],
        "verbose": [-1, "yes"],
    },
)
parameters(
    "SparseSpecialistEncoder",
    new_encoder,
    {
        "n_components": [0, -1, 2.5, "two"],
        "n_relevant": [0, 3, 1.5, "one"],
        "sparsity": [-0.1, 1.1, NAN, None, "l1"],
        "penalty": ["l3", None, L1, 0.1, Wilks()],
        "beta": [-1, NAN, "a", None, INF],
        "independence_weight": [-1, NAN, None, INF],
        "heads": ["conv", None, nn.Linear],
        "hidden_layer_sizes": [(0,), (-3,), (2.5,), ("8",), (None,), 8, "big", {8}, (NAN,)],
        "whiten": [2, "yes", None],
        "max_epochs": [0, -1, 2.5, "many"],
        "batch_size": [0, 1, -1, 2.5, None],
        "learning_rate": [0, -0.1, NAN, "fast", None, INF],
        "input_noise": [-0.1, NAN, "some", None, INF],
        "refit": [None, "no"],
        "early_stopping": [None, 3],
        "validation_fraction": [0.0, 1.0, -0.5, NAN, None, 5],
        "callbacks": [["print"], "print", [3], (1,)],
        "device": ["banana", "", None, 0, "cuda:99"],
        "warm_start": ["yes", None],
        "random_state": [-1, "seed", 0.5],
        "verbose": [-1, "yes"],
    },
)
refusals.add("L1", "group", lambda v: new_encoder(penalty=L1(v)).fit(X, Y), [-1.0, NAN, "a", None])
refusals.add(
    "HardConcrete",
    "temperature",
    lambda v: new_encoder(penalty=HardConcrete(v)).fit(X, Y),
    [0.0, 1.0, NAN, "a"],
)
refusals.add(
    "HardConcrete",
    "init",
    lambda v: new_encoder(penalty=HardConcrete(init=v)).fit(X, Y),
    [NAN, INF, "a", None],
)
parameters(
    "SpecialistPipeline",
    new_pipeline,
    {
        "generalist": ["pca", Ridge(), 3],
        "structure": ["direct", Ridge(), LinearRegression],
        "encoder": ["sparse", Ridge(), 1],
        "estimator": ["ridge", nn.Linear(2, 1), 1],
        "strategy": ["sometimes", None, True],
        "task_features": ["sparse", None],
        "loss": ["mse", None, 3],
        "n_timesteps": [0, 2.0, "four", 3],
        "random_state": [-1, "seed"],
        "verbose": [-1],
    },
)
refusals.add(
    "loss",
    "loss",
    lambda loss: new_pipeline(loss=loss).fit(X, Y),
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
        "module": ["resnet", 3, nn.Linear(3, 2), nn.LSTM, lambda x: None, lambda x: x * NAN],
        "layer": ["9", "no.such", 3],
        "pooling": ["max", 3, lambda x: x[0]],
        "input_shape": [(3,), (2, 2), "image", (0,), (-1, 3), ("a",)],
        "preprocess": ["scale", lambda x: None],
        "batch_size": [0, -1, 2.5, None],
        "device": ["banana", 0, "cuda:99"],
        "verbose": [-1],
    },
)
parameters("CCA", CCABaseline, {"alpha": [0, 1, NAN, "a"], "segment_length": [0, 5, 1.5, "auto"]})
parameters("ChangePoint", ChangePointBaseline, {"penalty": [-1, NAN, "a"], "n_timesteps": [3, 0]})
parameters("GroupLasso", GroupLassoBaseline, {"segment_length": [0, 99]})
parameters("GraphicalLasso", GraphicalLassoBaseline, {"segment_length": [-1, "two"]})
parameters("HMM", HMMBaseline, {"n_init": [0, 1.5], "random_state": ["seed"]})
parameters(
    "SelTask",
    SelTaskBaseline,
    {"n_components": [0, 1.5], "n_iter": [0, "many"], "sparsity": [-1, NAN], "binarity": [-1]},
)


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("call", "mistake", "argument"), refusals.cases)
def test_is_refused(call, mistake, argument):
    check_refusal(call, mistake, argument)
