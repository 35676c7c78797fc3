"""TaskLocalizer refuses sequences, tasks, groups and parameters that make no sense."""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from torch import nn

from skspecialist import TaskLocalizer
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
    no_targets,
)
from tests.refusals._refusals import Refusals, check_refusals

refusals = Refusals()

ROWS = X.reshape(160, 2)
GROUPS = np.repeat(np.arange(40), 4)
OCCURS = LABELS[:, 0]


def new_localizer(**params):
    small = {"n_components": 2, "cv": 2, "hidden_layer_sizes": (4,), "max_epochs": 1}
    return TaskLocalizer(**(small | {"random_state": 0} | params))


@cache
def localizer():
    return new_localizer().fit(X, LABELS)


@cache
def of_amounts():
    return new_localizer().fit(X, Y)


@cache
def of_flat():
    return new_localizer(n_timesteps=4).fit(FRAME, LABELS)


def in_list(place, part, parts=X):
    """Return the sequences as a list, with another in one place."""
    return [part if k == place else other for k, other in enumerate(parts)]


# ------------------------------------------------------------------ sequences

NO_ARRAY = {
    "None": None,
    "number": 5.0,
    "text": "sequences",
    "dict": {"a": [1.0, 2.0]},
    "set": {1.0, 2.0},
    "generator": (part for part in X),
    "empty list": [],
    "empty tuple": (),
    "vector": X[:, 0, 0],
    "list of vectors": list(X[:, 0, 0]),
    "list of text": ["ab"] * 40,
    "ragged lists": [[[1.0], [2.0]], [[1.0]]] * 20,
    "sparse": csr_array(FLAT),
    "sparse vector": csr_array(FLAT[:, :1]).T,
    "four dimensions": X[:, :, :, None],
}
ENDS = changed(X, (slice(None, 20), slice(2, None)), NAN)  # shorter sequences
PADDED = {
    "a sequence of nan": changed(X, 3, NAN),
    "only nan": X * NAN,
    "inf": changed(X, (3, 1, 0), INF),
    "inf in shorter ones": changed(ENDS, (3, 1, 0), -INF),
    "huge": changed(X, (3, 1, 0), 1e200),
    "huge in shorter ones": changed(ENDS, (3, 1, 0), 1e200),
    "inf in float32": changed(X, (3, 1, 0), INF).astype(np.float32),
    "beyond float64": changed(X, (3, 1, 0), 10**400, object),
    "words": np.full(X.shape, "word"),
    "one word": changed(X, (3, 1, 0), "word", object),
    "one dict": changed(X, (3, 1, 0), {}, object),
    "one list": changed(X, (3, 1, 0), [1.0], object),
    "complex": X + 1j,
    "bytes": np.full(X.shape, b"word"),
    "dates": np.zeros(X.shape, "datetime64[s]"),
    "durations": np.zeros(X.shape, "timedelta64[s]"),
    "no sequences": X[:0],
    "no steps": X[:, :0],
    "no features": X[:, :, :0],
}
TABLES = [pd.DataFrame(part, columns=["a", "b"]) for part in X]
LISTS = {
    "another width": in_list(3, X[3, :, :1]),
    "no steps": in_list(3, X[3, :0]),
    "no features": [part[:, :0] for part in X],
    "inf": in_list(3, changed(X[3], (1, 0), INF)),
    "huge": in_list(3, changed(X[3], (1, 0), 1e200)),
    "words": in_list(3, np.full((4, 2), "word")),
    "one word": in_list(3, changed(X[3], (1, 0), "word", object)),
    "one dict": in_list(3, changed(X[3], (1, 0), {}, object)),
    "complex": in_list(3, X[3] + 1j),
    "dates": in_list(3, np.zeros((4, 2), "datetime64[s]")),
    "dates only": [np.zeros((4, 2), "datetime64[s]")] * 40,
    "records": in_list(3, np.zeros((4, 2), dtype=[("a", float)])),
    "sparse": in_list(3, csr_array(X[3])),
    "sparse only": [csr_array(part) for part in X],
    "None inside": in_list(3, None),
    "a vector inside": in_list(3, X[3, :, 0]),
    "three dimensions inside": in_list(3, X[3:5]),
    "a table with words": in_list(3, TABLES[3].assign(a="word"), TABLES),
    "a table with dates": in_list(3, TABLES[3].assign(a=pd.Timestamp(2020, 1, 1)), TABLES),
    "a table with another column": in_list(3, TABLES[3].assign(c=1.0), TABLES),
    "tables in two orders": in_list(3, TABLES[3][["b", "a"]], TABLES),
    "tables of two libraries": in_list(3, pl.DataFrame(TABLES[3]), TABLES),
}
BAD_ROWS = {
    "inf": changed(ROWS, (3, 1), INF),
    "huge": changed(ROWS, (3, 1), 1e200),
    "one word": changed(ROWS, (3, 1), "word", object),
    "complex": ROWS + 1j,
    "dates": np.zeros(ROWS.shape, "datetime64[s]"),
    "sparse": csr_array(ROWS),
    "vector": ROWS[:, 0],
    "a row less": ROWS[1:],
    "no rows": ROWS[:0],
    "no columns": ROWS[:, :0],
    "None": None,
    "text": "rows",
    "table with words": pd.DataFrame(ROWS, columns=["a", "b"]).assign(a="word"),
    "table with dates": pd.DataFrame(ROWS, columns=["a", "b"]).assign(a=pd.Timestamp(2020, 1, 1)),
}
refusals.add("fit", "X", lambda X: new_localizer().fit(X, OCCURS), NO_ARRAY | PADDED)
refusals.add("fit of a list", "X", lambda X: new_localizer().fit(X, OCCURS), LISTS)
refusals.add("fit of rows", "X", lambda X: new_localizer().fit(X, OCCURS, GROUPS), BAD_ROWS)
refusals.add(
    "fit of flat sequences",
    "X",
    lambda X: new_localizer(n_timesteps=4).fit(X, OCCURS),
    {
        "five blocks": FLAT[:, :5],
        "inf": changed(FLAT, (3, 1), INF),
        "table with words": FRAME.assign(a="word"),
    },
)
WIDTHS = {
    "fewer features": X[:, :, :1],
    "more features": np.tile(X, 2),
    "fewer features of shorter ones": ENDS[:, :, :1],
    "list with fewer features": [part[:, :1] for part in X],
    "list with more features": [np.tile(part, 2) for part in X],
}
BROKEN = {name: PADDED[name] for name in ("inf", "words", "no sequences")}
for method in ("predict", "predict_proba", "contributions", "step_weights", "transform"):
    refusals.add(
        method, "X", lambda X, method=method: getattr(localizer(), method)(X), WIDTHS | BROKEN
    )
refusals.add("predict", "X", lambda X: localizer().predict(X), NO_ARRAY)
refusals.add(
    "predict of a list",
    "X",
    lambda X: localizer().predict(X),
    LISTS,
)
refusals.add(
    "predict of rows",
    "X",
    lambda X: localizer().predict(X, GROUPS),
    BAD_ROWS | {"fewer features": ROWS[:, :1], "more features": np.tile(ROWS, 2)},
)
refusals.add(
    "predict of flat sequences",
    "X",
    lambda X: of_flat().predict(X),
    {"a column less": FLAT[:, 1:], "a step less": X[:, 1:]},
)
refusals.add(
    "predict of flat sequences",
    "feature names",
    lambda X: of_flat().predict(X),
    {"renamed": FRAME.rename(columns={"a": "z"})},
)
refusals.add("score", "X", lambda X: localizer().score(X, LABELS), WIDTHS | BROKEN)

# ------------------------------------------------------------------ tasks

BAD_Y = (
    no_targets(LABELS)
    | NOTHING_TO_LEARN
    | {
        "one for each step": np.repeat(OCCURS, 4),
        "inf": changed(Y, (3, 1), INF),
        "huge": changed(Y, (3, 1), 1e200),
        "only nan": Y * NAN,
        "only None": np.full(40, None),
        "one known value": changed(np.full(40, NAN), 3, 1.0),
        "never occurs": np.zeros(40, bool),
        "one class beside missing ones": np.array(["a", None] * 20, dtype=object),
        "dates": np.array(["2020-01-01", "NaT"] * 20, "datetime64[D]"),
    }
)
refusals.add("fit", "y", lambda y: new_localizer().fit(X, y), BAD_Y)
refusals.add("fit of a list", "y", lambda y: new_localizer().fit(list(X), y), BAD_Y)
refusals.add("fit of rows", "y", lambda y: new_localizer().fit(ROWS, y, GROUPS), BAD_Y)
for name, value in {"an occurrence": [1], "an amount": [0.5]}.items():
    refusals.add(
        f"fit of one sequence to {name}",
        "y",
        lambda X, value=value: new_localizer().fit(X, value),
        {"array": X[:1], "list": [X[0]], "flat": FLAT[:1]},
    )
refusals.add("fit of one sequence", "y", lambda y: new_localizer().fit(ROWS, y, 0 * GROUPS), [[1]])
refusals.add(
    "score",
    "y",
    lambda y: localizer().score(X, y),
    {
        "all missing": np.full((40, 2), NAN),
        "None": None,
        "number": 1,
        "text": "targets",
        "unseen class": np.full((40, 2), 7),
        "strings for integers": np.full((40, 2), "a"),
        "a task less": LABELS[:, :1],
        "a task more": np.hstack([LABELS, LABELS]),
        "a vector": OCCURS,
        "too short": LABELS[:-1],
        "ragged": [[1], [1, 2]] * 20,
        "complex": LABELS + 1j,
        "sparse vector": csr_array(LABELS[:, :1]).T,
    },
)
refusals.add(
    "score of amounts",
    "y",
    lambda y: of_amounts().score(X, y),
    {
        "inf": changed(Y, (3, 1), INF),
        "huge": changed(Y, (3, 1), 1e200),
        "words": np.full((40, 2), "word"),
        "None": None,
    },
)

# ------------------------------------------------------------------ groups

BAD_GROUPS = {
    "number": 1,
    "text": "groups",
    "dict": {"a": [1]},
    "set": {1},
    "generator": (label for label in GROUPS),
    "empty": [],
    "lists": [[0], [1, 2]] * 80,
}
FOR_ROWS = {
    "nan": changed(GROUPS, 3, NAN, float),
    "None inside": changed(GROUPS, 3, None, object),
    "mixed": changed(GROUPS, 3, "a", object),
    "too short": GROUPS[:-1],
    "too long": np.append(GROUPS, 40),
    "one for each sequence": GROUPS[::4],
    "two dimensions": np.stack([GROUPS, GROUPS], axis=1),
    "a table": pd.DataFrame({"a": GROUPS, "b": GROUPS}),
    "NaT": np.where(GROUPS == 3, np.datetime64("NaT"), np.datetime64("2020-01-01") + GROUPS),
    "NA": pd.Series(GROUPS, dtype="Int64").where(GROUPS != 3),
}
FOR_SEQUENCES = {
    "one for each step": GROUPS,
    "too short": GROUPS[::4][:-1],
    "two dimensions": np.ones((40, 2)),
    "one label": np.zeros(40, int),
    "nan": changed(np.arange(40), 3, NAN, float),
    "None inside": changed(np.arange(40), 3, None, object),
    "mixed": changed(np.arange(40), 3, "a", object),
}
refusals.add(
    "fit of rows", "groups", lambda g: new_localizer().fit(ROWS, OCCURS, g), BAD_GROUPS | FOR_ROWS
)
refusals.add(
    "predict of rows",
    "groups",
    lambda g: localizer().predict(ROWS, g),
    BAD_GROUPS | FOR_ROWS,
)
refusals.add(
    "fit", "groups", lambda g: new_localizer().fit(X, OCCURS, g), BAD_GROUPS | FOR_SEQUENCES
)
refusals.add(
    "fit of a list",
    "groups",
    lambda g: new_localizer().fit(list(X), OCCURS, g),
    BAD_GROUPS | FOR_SEQUENCES,
)
refusals.add(
    "score of rows",
    "groups",
    lambda g: localizer().score(ROWS, LABELS, g),
    {"too short": GROUPS[:-1], "nan": FOR_ROWS["nan"]},
)

# ------------------------------------------------------------------ parameters

for argument, values in {
    "hidden_layer_sizes": [(0,), (-3,), (2.5,), ("8",), (None,), (NAN,)],
    "callbacks": [["print"], [3], [nn.Linear]],
    "device": ["banana", "", "cuda:99"],
}.items():
    refusals.add(
        "TaskLocalizer",
        argument,
        lambda v, argument=argument: new_localizer(**{argument: v}).fit(X, LABELS),
        values,
    )
refusals.add("TaskLocalizer of amounts", "window", lambda v: new_localizer(window=v).fit(X, Y), [2])
refusals.add(
    "TaskLocalizer",
    "n_timesteps",
    lambda v: new_localizer(n_timesteps=v).fit(FLAT, LABELS),
    {"3 of 8 columns": 3, "16 of 8 columns": 16},
)


# Arrays are among what is given to a localizer that was fitted to a table.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("call", "mistakes", "argument"), refusals.cases)
def test_is_refused(call, mistakes, argument):
    check_refusals(call, mistakes, argument)
