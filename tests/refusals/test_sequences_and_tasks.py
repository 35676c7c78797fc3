"""Estimators refuse sequences and tasks that they cannot read."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from skspecialist.baselines import CCABaseline
from tests.refusals._estimators import (
    FLAT,
    FRAME,
    INF,
    LABELS,
    NAN,
    NOTHING_TO_LEARN,
    X,
    Y,
    changed,
    encoder,
    generalist,
    identifier,
    new_cv,
    new_encoder,
    new_generalist,
    new_identifier,
    new_pipeline,
    no_targets,
    pipeline,
)
from tests.refusals._refusals import Refusals, check_refusals

refusals = Refusals()

# ------------------------------------------------------------------ sequences

NO_ARRAY = {
    "None": None,
    "number": 5.0,
    "text": "sequences",
    "dict": {"a": [1.0, 2.0]},
    "set": {1.0, 2.0},
    "generator": (row for row in X),
    "function": np.mean,
    "class": np.ndarray,
}
NO_NUMBERS = {
    "words": np.full(X.shape, "word"),
    "one word": changed(X, (3, 1, 0), "word", object),
    "one dict": changed(X, (3, 1, 0), {}, object),
    "one list": changed(X, (3, 1, 0), [1.0], object),
    "complex": X + 1j,
    "dates": np.zeros(X.shape, "datetime64[s]"),
    "durations": np.zeros(X.shape, "timedelta64[s]"),
    "bytes": np.full(X.shape, b"word"),
    "ragged": [[[1.0], [2.0]], [[1.0]]] * 20,
    "records": np.zeros(40, dtype=[("a", float), ("b", float)]),
    "table with words": FRAME.assign(a="word"),
    "table with dates": FRAME.assign(a=pd.Timestamp(2020, 1, 1)),
}
NO_SHAPE = {
    "vector": X[:, 0, 0],
    "four dimensions": X[:, :, :, None],
    "no sequences": X[:0],
    "no features": X[:, :, :0],
    "no steps": X[:, :0],
    "no rows": FLAT[:0],
    "no columns": FLAT[:, :0],
    "one sequence": X[:1],
    "sparse": csr_array(FLAT),
    "sparse vector": csr_array(FLAT[:, :1]).T,
}
INFINITE = {
    "inf": changed(X, (3, 1, 0), INF),
    "-inf": changed(X, (3, 1, 0), -INF),
    "beyond float64": changed(X, (3, 1, 0), 10**400, object),
    "inf in a row": changed(FLAT, (3, 1), INF),
    "inf in float32": changed(X, (3, 1, 0), INF).astype(np.float32),
}
MISSING = {
    "nan": changed(X, (3, 1, 0), NAN),
    "only nan": X * NAN,
    "None inside": changed(X, (3, 1, 0), None, object),
    "table with NA": FRAME.convert_dtypes().mask(FRAME > 2),
}
BAD_X = NO_ARRAY | NO_NUMBERS | NO_SHAPE | INFINITE
OTHER_X = {
    "fewer steps": X[:, :3],
    "more steps": np.tile(X, (1, 2, 1)),
    "fewer features": X[:, :, :1],
    "more features": np.tile(X, 2),
    "a column less": FLAT[:, 1:],
    "a column more": np.hstack([FLAT, Y[:, :1]]),
    "targets": Y,
    "swapped axes": X.swapaxes(1, 2),
}

refusals.add("identifier.fit", "X", lambda X: new_identifier().fit(X, Y), BAD_X)
refusals.add("encoder.fit", "X", lambda X: new_encoder().fit(X, Y), BAD_X | MISSING)
refusals.add("pipeline.fit", "X", lambda X: new_pipeline().fit(X, Y), MISSING | NO_SHAPE)
refusals.add("generalist.fit", "X", lambda X: new_generalist().fit(X), NO_ARRAY | MISSING)
refusals.add("cca.fit", "X", lambda X: CCABaseline().fit(X, Y), INFINITE | MISSING)
refusals.add("identifier.transform", "X", lambda X: identifier().transform(X), OTHER_X)
refusals.add("identifier.step_weights", "X", lambda X: identifier().step_weights(X), NO_ARRAY)
refusals.add("identifier.score", "X", lambda X: identifier().score(X, Y), INFINITE)
refusals.add("pipeline.predict", "X", lambda X: pipeline().predict(X), MISSING)
refusals.add("pipeline.transform", "X", lambda X: pipeline().transform(X), OTHER_X)
refusals.add(
    "encoder.transform",
    "X",
    lambda X: encoder().transform(X),
    MISSING
    | {name: OTHER_X[name] for name in ("fewer features", "more features", "a column less")},
)
refusals.add("encoder.predict", "X", lambda X: encoder().predict(X), NO_ARRAY | INFINITE)
refusals.add("encoder.latents", "X", lambda X: encoder().latents(X), NO_NUMBERS)
refusals.add(
    "encoder.predict", "step_weights", lambda X: encoder().predict(X), {"3 of 4": X[:, :3]}
)
refusals.add(
    "encoder.diagnose",
    "X",
    lambda X: encoder().diagnose(X),
    {"None": None, "4 steps": X[:1], "nan": MISSING["nan"], "fewer features": X[:, :, :1]},
)
refusals.add("generalist.transform", "X", lambda X: generalist().transform(X), INFINITE | MISSING)
refusals.add(
    "partial_fit",
    "X",
    lambda X: new_identifier().partial_fit(X, Y),
    MISSING | {"text": "text", "vector": X[:, 0, 0], "inf": INFINITE["inf"]},
)
refusals.add(
    "second partial_fit",
    "X",
    lambda more: new_identifier().partial_fit(X, Y).partial_fit(more, Y),
    {name: OTHER_X[name] for name in ("fewer steps", "more features", "a column less")},
)
refusals.add(
    "identifier.inverse_transform",
    "X",
    lambda kept: identifier().inverse_transform(kept),
    NO_ARRAY
    | {name: NO_NUMBERS[name] for name in ("words", "one word", "one dict", "complex", "dates")}
    | {"too few": np.ones((2, 1)), "number": 1.0, "four dimensions": np.ones((2, 1, 1, 1))},
)
refusals.add(
    "encoder.inverse_transform",
    "X",
    lambda latents: encoder().inverse_transform(latents),
    NO_ARRAY
    | {"nan": [[NAN]], "words": [["word"]], "too many": np.ones((2, 7)), "vector": [1.0] * 3},
)
refusals.add(
    "renamed columns",
    "feature names",
    lambda table: new_identifier(n_timesteps=4).fit(FRAME, Y).transform(table),
    {"renamed": FRAME.rename(columns={"a": "z"}), "reordered": FRAME[list("hgfedcba")]},
)
refusals.add(
    "identifier.get_feature_names_out",
    "input_features",
    lambda names: identifier().get_feature_names_out(names),
    [["a"], list("abcdefghi")],
)

# ------------------------------------------------------------------ tasks

NO_TARGETS = no_targets(Y)
INFINITE_Y = {
    "inf": changed(Y, (3, 1), INF),
    "-inf in one task": changed(Y[:, 0], 3, -INF),
    "inf in a table": pd.DataFrame(changed(Y, (3, 1), INF)),
    "inf in float32": changed(Y, (3, 1), INF).astype(np.float32),
    "infinite object": changed(Y, (3, 1), INF, object),
}
ONE_CLASS_Y = {
    "missing class": np.array(["a", None] * 20, dtype=object),
    "NaT": np.array(["2020-01-01", "NaT"] * 20, "datetime64[D]"),
    "NA": pd.Series([1, pd.NA] * 20, dtype="Int64"),
    "only nan": Y * NAN,
}
BAD_Y = NO_TARGETS | NOTHING_TO_LEARN | INFINITE_Y
UNSEEN = {
    "unseen class": np.full((40, 2), 7),
    "strings for integers": np.full((40, 2), "a"),
    "a task less": LABELS[:, :1],
    "a task more": np.hstack([LABELS, LABELS]),
    "a vector": LABELS[:, 0],
}


@cache
def classifier():
    return new_identifier().fit(X, LABELS)


@cache
def predicting_classes():
    return new_encoder().fit(X, LABELS)


refusals.add("identifier.fit", "y", lambda y: new_identifier(criterion="direct").fit(X, y), BAD_Y)
refusals.add("encoder.fit", "y", lambda y: new_encoder().fit(X, y), BAD_Y)
refusals.add(
    "pipeline.fit",
    "y",
    lambda y: new_pipeline().fit(X, y),
    ONE_CLASS_Y | NOTHING_TO_LEARN,
)
refusals.add("identifier.fit", "y", lambda y: new_identifier().fit(X, y), ONE_CLASS_Y)
refusals.add("collider", "y", lambda y: new_identifier(criterion="collider").fit(X, y), ONE_CLASS_Y)
refusals.add("cv.fit", "y", lambda y: new_cv().fit(X, y), {"only nan": Y * NAN} | INFINITE_Y)
refusals.add("identifier.score", "y", lambda y: classifier().score(X, y), UNSEEN | ONE_CLASS_Y)
refusals.add("identifier.score", "y", lambda y: identifier().score(X, y), NO_TARGETS)
refusals.add(
    "encoder.score",
    "y",
    lambda y: encoder().score(X, y),
    NO_TARGETS | INFINITE_Y | {"words": np.full((40, 2), "word"), "a task less": Y[:, :1]},
)
refusals.add("pipeline.score", "y", lambda y: pipeline().score(X, y), INFINITE_Y)
refusals.add("add_task", "y", lambda y: pipeline().add_task(X, y), BAD_Y)
refusals.add("add_task", "X", lambda X: pipeline().add_task(X, Y), OTHER_X | MISSING)
refusals.add(
    "partial_fit",
    "y",
    lambda y: new_identifier(criterion="direct").partial_fit(X, y),
    {name: y for name, y in BAD_Y.items() if name not in NO_TARGETS | {"one value": None}},
)
refusals.add(
    "second partial_fit",
    "y",
    lambda y: new_identifier().partial_fit(X, LABELS).partial_fit(X, y),
    UNSEEN | {"None": None, "too short": LABELS[:-1]},
)
refusals.add(
    "partial_fit",
    "classes",
    lambda classes: new_identifier().partial_fit(X, LABELS, classes=classes),
    {
        "number": 3,
        "text": "ab",
        "one task": [[0, 1]],
        "three tasks": [[0, 1]] * 3,
        "one class": [[0], [0, 1]],
        "mixed": [np.array([0, "a"], dtype=object), [0, 1]],
        "set": {0, 1},
        "numbers": [0, 1],
    },
)


# Tables are among what is given to estimators that were fitted to arrays.
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("call", "mistakes", "argument"), refusals.cases)
def test_is_refused(call, mistakes, argument):
    check_refusals(call, mistakes, argument)
