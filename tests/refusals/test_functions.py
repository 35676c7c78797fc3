"""Generators, tables, searches and saved files refuse what makes no sense."""

import io
import pickle
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from skspecialist import TaskStructureIdentifier, sequences_from_frame, sequences_needed
from skspecialist.datasets import (
    make_collider_sequences,
    make_digit_factors,
    make_digit_sequences,
    make_specialist_latents,
)
from skspecialist.model_selection import neg_n_features_used, one_standard_error_rule
from skspecialist.saving import trusted_types
from tests.refusals._estimators import NAN
from tests.refusals._refusals import Refusals, check_refusals

refusals = Refusals()

TRUE = np.ones((40, 3))
# ------------------------------------------------------------------ generators, sample sizes


def arguments(where, function, mistakes):
    """Add mistakes in the arguments of a function."""
    for argument, values in mistakes.items():
        refusals.add(
            where, argument, lambda v, argument=argument: function(**{argument: v}), values
        )


arguments(
    "make_collider_sequences",
    make_collider_sequences,
    {"n_timesteps": [1], "segment_length": [21]},
)
arguments(
    "make_specialist_latents",
    make_specialist_latents,
    {
        "n_latents": [2],
        "n_relevant": [7, 9],
        "n_tasks": [1],
        "n_features": [5],
        "n_latents_per_task": [4],
    },
)
arguments(
    "make_digit_sequences", make_digit_sequences, {"n_timesteps": [1], "segment_length": [17]}
)
arguments(
    "make_digit_factors",
    make_digit_factors,
    {
        "n_tasks": [1],
        "factors": [[], ["shear"], ["scale", "scale"], [3], [["scale"]]],
        "n_relevant": [6],
        "relevant": [[], ["shear"], [0], ["scale", "scale"]],
        "n_factors_per_task": [4],
        "digits": [[], [10], [2, 2], ["two"], [NAN]],
    },
)
refusals.add("sequences_needed", "effect_size", sequences_needed, [1e-9])

# ------------------------------------------------------------------ searches

RESULTS = {
    "params": [{"sparsity": 0.1}, {"sparsity": 0.2}],
    "mean_test_score": [0.5, 0.6],
    "split0_test_score": [0.5, 0.6],
    "split1_test_score": [0.4, 0.6],
}
refusals.add(
    "sparsest",
    "cv_results",
    one_standard_error_rule,
    {
        "None": None,
        "list": [1],
        "number": 3,
        "text": "results",
        "empty": {},
        "no parameters": {"mean_test_score": [0.5]},
        "parameters are a number": RESULTS | {"params": 3},
        "words": RESULTS | {"mean_test_score": ["good", "bad"]},
        "different lengths": RESULTS | {"mean_test_score": [0.5]},
        "different splits": RESULTS | {"split1_test_score": [0.5]},
    },
)
refusals.add(
    "sparsest",
    "metric",
    lambda v: one_standard_error_rule(RESULTS, metric=v),
    ["r2"],
)
refusals.add(
    "sparsest",
    "order",
    lambda v: one_standard_error_rule(RESULTS, order=v),
    [
        {"sparsity": "most"},
        {"alpha": "largest"},
        "sparsity",
        3,
        {"sparsity": None},
        {3: "largest"},
        {},
    ],
)
refusals.add(
    "sparsest",
    "sparsity",
    one_standard_error_rule,
    {"words": RESULTS | {"params": [{"sparsity": "a"}, {"sparsity": "b"}]}},
)
refusals.add(
    "neg_n_features_used",
    "estimator",
    lambda v: neg_n_features_used(v, TRUE),
    [None, "pipeline", LogisticRegression(), LogisticRegression],
)

# ------------------------------------------------------------------ tables

TABLE = {"who": ["a", "a", "b"], "when": [1, 2, 1], "value": [0.1, 0.2, 0.3]}


def read(table, **columns):
    return sequences_from_frame(table, **({"sequence": "who", "step": "when"} | columns))


for library in (pd, pl):
    frame = library.DataFrame
    name = library.__name__
    refusals.add(
        f"{name}, sequences_from_frame",
        "who",
        read,
        {
            "absent": frame({"when": [1], "value": [1.0]}),
            "missing": frame(TABLE | {"who": ["a", None, "b"]}),
            "a step twice": frame(TABLE | {"when": [1, 1, 1]}),
        },
    )
    refusals.add(
        f"{name}, sequences_from_frame",
        "when",
        read,
        {
            "absent": frame({"who": [1], "value": [1.0]}),
            "missing": frame(TABLE | {"when": [1.0, None, 1.0]}),
        },
    )
    refusals.add(
        f"{name}, sequences_from_frame",
        "value",
        read,
        {
            "words": frame(TABLE | {"value": ["x", "y", "z"]}),
            "lists": frame(TABLE | {"value": [[1.0], [2.0], [3.0]]}),
        },
    )
    refusals.add(
        f"{name}, sequences_from_frame",
        "frame",
        read,
        {
            "no rows": frame(TABLE)[:0],
            "no features": frame(TABLE)[["who", "when"]],
        },
    )
    refusals.add(
        f"{name}, sequences_from_frame",
        "features",
        lambda v, frame=frame: read(frame(TABLE), features=v),
        [[], ["other"], "value", 3, [3], ["who"], ["value", "value"], [None]],
    )
    refusals.add(
        f"{name}, sequences_from_frame",
        "align",
        lambda v, frame=frame: read(frame(TABLE), align=v),
        ["time", 0, -1, 1.5, None, ["order"]],
    )
    refusals.add(
        f"{name}, sequences_from_frame",
        "align",
        lambda v, frame=frame: read(v, align=2),
        {"words": frame(TABLE | {"when": ["a", "b", "c"]})},
    )
refusals.add(
    "sequences_from_frame", "frame", read, [None, 3, "table", TABLE, [[1, 2]], np.ones((3, 3))]
)
refusals.add(
    "sequences_from_frame",
    "sequence",
    lambda v: read(pd.DataFrame(TABLE), sequence=v),
    ["id", None, 3, ["who"], "when"],
)
refusals.add(
    "sequences_from_frame",
    "step",
    lambda v: read(pd.DataFrame(TABLE), step=v),
    ["id", None, 3, ["when"], "who"],
)
refusals.add(
    "sequences_from_frame",
    "when",
    read,
    {
        "mixed": pd.DataFrame(TABLE | {"when": [1, "a", 2]}),
        "lists": pd.DataFrame(TABLE | {"when": [[1], [2, 3], [4]]}),
    },
)
refusals.add(
    "sequences_from_frame",
    "value",
    read,
    {
        "dates": pd.DataFrame(TABLE | {"value": pd.to_datetime(["2020-01-01"] * 3)}),
        "complex": pd.DataFrame(TABLE | {"value": [1j, 2j, 3j]}),
        "columns of one name": pd.DataFrame(
            [["a", 1, 2.0, 3.0]], columns=["who", "when", "value", "value"]
        ),
    },
)

# ------------------------------------------------------------------ saved files


def archive(name, text):
    """Return a zip file of one file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, text)
    return content.getvalue()


def damaged(content):
    """Return bytes of which one is another."""
    place = content.index(b"__module__")
    return content[:place] + b"?" + content[place + 1 :]


# As skops would write it.
SAVED = archive("schema.json", '{"__module__": "skspecialist", "__loader__": "X", "protocol": 2}')
refusals.add(
    "trusted_types",
    "file",
    lambda content: trusted_types(io.BytesIO(content)),
    {
        "empty": b"",
        "text": b"no archive",
        "pickle": pickle.dumps(TaskStructureIdentifier()),
        "another archive": archive("readme.txt", "nothing"),
        "no schema": archive("schema.json", "{"),
        "an empty schema": archive("schema.json", "{}"),
        "another schema": archive("schema.json", "[]"),
        "unknown types": archive("schema.json", '{"__loader__": "Mine", "protocol": 2}'),
        "half": SAVED[: len(SAVED) // 2],
        "damaged": damaged(SAVED),
    },
)
refusals.add(
    "trusted_types",
    "file",
    trusted_types,
    {
        "None": None,
        "number": 3,
        "no name": "",
        "impossible name": "a\0b",
        "the content": SAVED,
        "list": ["file.skops"],
        "estimator": TaskStructureIdentifier(),
        "class": io.BytesIO,
        "text": io.StringIO("no archive"),
        "array": np.ones(3),
    },
)


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("call", "mistakes", "argument"), refusals.cases)
def test_is_refused(call, mistakes, argument):
    check_refusals(call, mistakes, argument)
