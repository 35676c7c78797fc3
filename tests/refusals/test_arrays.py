"""Tests of independence, metrics and rotations refuse arrays that they cannot read."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from skspecialist.encoder._rotation import sparse_rotation
from skspecialist.encoder._separability import inseparable_groups, select_support
from skspecialist.independence import CMI, GCM, KCI, RCIT, FisherZ, Stratified, Wilks
from skspecialist.independence._moments import Moments
from skspecialist.metrics import (
    block_r2,
    consistency,
    dci,
    infomec,
    match_columns,
    mean_correlation_coefficient,
    specialization_score,
    structure_scores,
    support_scores,
)
from tests.refusals._estimators import INF, NAN, changed
from tests.refusals._refusals import Refusals, check_refusals

refusals = Refusals()

RNG = np.random.default_rng(0)
TRUE = RNG.normal(size=(40, 3))
LEARNED = TRUE @ RNG.normal(size=(3, 2))
# ------------------------------------------------------------------ tests of independence

x, y, z = TRUE.T
SAMPLES = {
    "None": None,
    "number": 1.0,
    "text": "x",
    "dict": {"a": [1.0]},
    "set": {1.0},
    "generator": (v for v in x),
    "nan": changed(x, 3, NAN),
    "inf": changed(x, 3, INF),
    "words": np.full(40, "word"),
    "one word": changed(x, 3, "word", object),
    "None inside": changed(x, 3, None, object),
    "complex": x + 1j,
    "dates": np.zeros(40, "datetime64[s]"),
    "empty": x[:0],
    "too short": x[:-1],
    "a row": x[None],
    "three dimensions": x[:, None, None],
    "sparse": csr_array(TRUE),
    "ragged": [[1.0], [1.0, 2.0]] * 20,
}
refusals.add("FisherZ.test", "x", lambda x: FisherZ().test(x, y, z), SAMPLES)
refusals.add("Wilks.test", "y", lambda y: Wilks().test(x, y, z), SAMPLES)
some = {name: SAMPLES[name] for name in SAMPLES if name != "None"}
refusals.add("GCM.test", "z", lambda z: GCM().test(x, y, z), some)
refusals.add(
    "CMI.test", "x", lambda x: CMI().test(x, y), {"nan": SAMPLES["nan"], "words": SAMPLES["words"]}
)
DATA = {
    "None": None,
    "text": "data",
    "vector": x,
    "nan": changed(TRUE, (3, 1), NAN),
    "inf": changed(TRUE, (3, 1), INF),
    "one word": changed(TRUE, (3, 1), "word", object),
    "complex": TRUE + 1j,
    "dates": np.zeros((40, 3), "datetime64[s]"),
    "three dimensions": TRUE[None],
    "empty": TRUE[:0],
    "no columns": TRUE[:, :0],
    "sparse": csr_array(TRUE),
    "generator": (v for v in x),
    "dict": {0: 1.0},
}
COLUMNS = {
    "beyond the last": [3],
    "minus two": [-2],
    "floats": [0.0],
    "booleans": [True],
    "words": ["a"],
    "None inside": [None],
    "text": "a",
    "number": 0,
    "three dimensions": [[[0]]],
    "one test more": [0, 1],
    "too large": [2**70],
    "ragged": [[0], [1, 2]],
    "dict": {0: 1},
    "generator": (i for i in [0]),
    "none at all": None,
}
refusals.add("FisherZ.test_many", "data", lambda data: FisherZ().test_many(data, [0], [1]), DATA)
refusals.add("RCIT.test_many", "data", lambda data: RCIT().test_many(data, [0], [1], [[2]]), DATA)
refusals.add("Wilks.test_many", "x", lambda x: Wilks().test_many(TRUE, x, [1]), COLUMNS)
refusals.add("KCI.test_many", "y", lambda y: KCI().test_many(TRUE, [0], y), COLUMNS)
others = {name: COLUMNS[name] for name in COLUMNS if name != "none at all"}
refusals.add("GCM.test_many", "z", lambda z: GCM().test_many(TRUE, [0], [1], z), others)
refusals.add(
    "FisherZ.test_many",
    "given",
    lambda given: FisherZ().test_many(TRUE, [0], [1], given=given),
    {name: others[name] for name in others if name != "one test more"},
)
refusals.add("FisherZ", "x", lambda x: FisherZ().test(x, y), {"two columns": TRUE[:, :2]})
refusals.add("Moments.from_data", "data", Moments.from_data, DATA)
refusals.add(
    "Moments.merge",
    "other",
    Moments.from_data(TRUE).merge,
    {"fewer columns": Moments.from_data(LEARNED), "array": TRUE, "None": None},
)


def answer_of(test):
    return test.test(x, y, z)


refusals.add("GCM", "regressor", lambda v: answer_of(GCM(regressor=v)), [LogisticRegression()])
refusals.add("Stratified", "base", lambda v: answer_of(Stratified(v)), ["chi"])

# ------------------------------------------------------------------ metrics

LATENTS = {
    "None": None,
    "number": 1.0,
    "text": "latents",
    "vector": x,
    "nan": changed(TRUE, (3, 1), NAN),
    "-inf": changed(TRUE, (3, 1), -INF),
    "words": np.full((40, 3), "word"),
    "None inside": changed(TRUE, (3, 1), None, object),
    "complex": TRUE + 1j,
    "three dimensions": TRUE[:, :, None],
    "empty": TRUE[:0],
    "too short": TRUE[:-1],
    "constant column": changed(TRUE, (slice(None), 1), 2.0),
    "wide": TRUE[:3],
    "sparse": csr_array(TRUE),
    "dates": np.zeros((40, 3), "datetime64[s]"),
    "set": {1.0},
    "dict": {"a": x},
}
refusals.add("mcc", "true", lambda v: mean_correlation_coefficient(v, LEARNED), LATENTS)
refusals.add("dci", "learned", lambda v: dci(TRUE, v), LATENTS)
refusals.add("infomec", "true", lambda v: infomec(v, LEARNED), LATENTS)
refusals.add("consistency", "latents", lambda v: consistency([TRUE, v]), LATENTS)
refusals.add(
    "consistency", "latents", consistency, {"one": [TRUE], "none": [], "number": 3, "None": None}
)
not_constant = {name: v for name, v in LATENTS.items() if name not in ("constant column",)}
refusals.add("block_r2", "latents", lambda v: block_r2(v, TRUE), not_constant)
refusals.add(
    "block_r2",
    "sources",
    lambda v: block_r2(LEARNED, v),
    {name: v for name, v in LATENTS.items() if name != "vector"},
)
refusals.add(
    "block_r2",
    "X",
    lambda v: block_r2(LEARNED, TRUE, X=v),
    {"short": x[:, None][:-1], "nan": [[NAN]] * 40, "text": "X"},
)
RELEVANT = {
    "none": [False] * 3,
    "too few": [True],
    "numbers": [1, 0, 1],
    "text": "all",
    "two dimensions": [[True, False, True]],
    "positions": [0, 2],
    "nan": [NAN, 0.0, 1.0],
    "words": ["yes", "no", "no"],
    "ragged": [[True], [True, False]],
}
refusals.add("block_r2", "relevant", lambda v: block_r2(LEARNED, TRUE, relevant=v), RELEVANT)
refusals.add(
    "specialization_score",
    "relevant",
    lambda v: specialization_score(TRUE, LEARNED, v),
    RELEVANT | {"all": [True] * 3, "None": None},
)
refusals.add(
    "infomec",
    "discrete",
    lambda v: infomec(TRUE, LEARNED, discrete=v),
    [[True], [1, 0, 1], [[True, False, True]]],
)
refusals.add("infomec", "n_neighbors", lambda v: infomec(TRUE, LEARNED, n_neighbors=v), [40])
CELLS = np.eye(4, 3, dtype=bool)
STRUCTURES = {
    "None": None,
    "number": 1,
    "text": "structure",
    "more steps": np.ones((5, 3)),
    "more tasks": np.ones((4, 4)),
    "vector": np.ones(4),
    "three dimensions": np.ones((4, 3, 1)),
    "empty": np.ones((0, 3)),
    "nan": changed(CELLS, (1, 1), NAN, float),
    "words": np.full((4, 3), "yes"),
    "None inside": changed(CELLS, (1, 1), None, object),
    "ragged": [[True], [True, False]],
    "dict": {0: True},
    "set": {True},
    "sparse": csr_array(CELLS),
    "dates": np.zeros((4, 3), "datetime64[s]"),
}
refusals.add("structure_scores", "found", lambda v: structure_scores(CELLS, v), STRUCTURES)
refusals.add(
    "structure_scores",
    "true",
    lambda v: structure_scores(v, CELLS, match=True),
    {k: v for k, v in STRUCTURES.items() if k != "more tasks"},
)
refusals.add("support_scores", "found", lambda v: support_scores(CELLS, v), STRUCTURES)
refusals.add(
    "support_scores",
    "true",
    lambda v: support_scores(v, CELLS, match=True),
    {k: v for k, v in STRUCTURES.items() if k != "more tasks"},
)
refusals.add(
    "support_scores",
    "match",
    lambda v: support_scores(CELLS, CELLS, match=v),
    [[0], [0, 0, 1], [0, 1, 3], [0, 1, -2], [0.5, 1, 2], "yes", None, [[0, 1, 2]], [NAN, 1, 2], 2],
)
refusals.add(
    "match_columns",
    "columns",
    lambda v: match_columns(CELLS, v),
    {k: v for k, v in STRUCTURES.items() if k != "more tasks"},
)

# ------------------------------------------------------------------ rotations and supports

SQUARE = np.eye(3)
MATRICES = {
    "None": None,
    "number": 1.0,
    "text": "matrix",
    "vector": [1.0, 2.0, 3.0],
    "nan": changed(SQUARE, (1, 1), NAN),
    "inf": changed(SQUARE, (1, 1), INF),
    "words": np.full((3, 3), "word"),
    "complex": SQUARE + 1j,
    "three dimensions": SQUARE[None],
    "empty": SQUARE[:0],
    "dict": {0: 1.0},
    "ragged": [[1.0], [1.0, 2.0]],
    "sparse": csr_array(SQUARE),
}
refusals.add("sparse_rotation", "coefficients", lambda v: sparse_rotation(v, SQUARE), MATRICES)
refusals.add(
    "sparse_rotation",
    "covariance",
    lambda v: sparse_rotation(RNG.normal(size=(5, 3)), v),
    MATRICES
    | {
        "singular": np.ones((3, 3)),
        "indefinite": -SQUARE,
        "asymmetric": SQUARE + np.eye(3, k=1),
        "too small": np.eye(2),
        "rectangular": np.ones((3, 2)),
    },
)
refusals.add(
    "sparse_rotation",
    "noise",
    lambda v: sparse_rotation(SQUARE, SQUARE, noise=v),
    [-1.0, NAN, INF, "low", [0.1, 0.1], [0.1, 0.1, -0.1], {"a": 1}, [[0.1]]],
)
refusals.add("select_support", "latents", lambda v: select_support(v, TRUE), not_constant)
refusals.add(
    "select_support",
    "targets",
    lambda v: select_support(TRUE, v),
    {name: v for name, v in LATENTS.items() if name not in ("vector", "constant column")},
)
GROUPS = [[], [[]], [[5]], [["a"]], [[0.5]], [[-1]], [[NAN]], [None], [[0], 7]]
refusals.add("select_support", "groups", lambda v: select_support(TRUE, LEARNED, groups=v), GROUPS)
refusals.add("select_support", "n_folds", lambda v: select_support(TRUE, x, n_folds=v), [41])
refusals.add("inseparable_groups", "support", inseparable_groups, MATRICES)
refusals.add(
    "inseparable_groups",
    "groups",
    lambda v: inseparable_groups(SQUARE, groups=v),
    [[], [[0]], 3, "a"],
)


# The search for missing values compares the entries of object arrays, sparse ones too.
@pytest.mark.filterwarnings("ignore:Comparing two sparse matrices")
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("call", "mistakes", "argument"), refusals.cases)
def test_is_refused(call, mistakes, argument):
    check_refusals(call, mistakes, argument)
