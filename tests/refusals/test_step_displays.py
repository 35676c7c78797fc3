"""Displays of steps and segments refuse what cannot be drawn."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LinearRegression

from skspecialist import TaskLocalizer, TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.inspection import PairEvidenceDisplay, TaskStructureDisplay, TaskTimelineDisplay
from skspecialist.structure import Selection
from tests.refusals._drawings import NAMES, SQUARE, WEIGHTS
from tests.refusals._estimators import INF, LABELS, NAN, X, Y, changed, identifier, pipeline
from tests.refusals._refusals import Refusals, check_refusals

refusals = Refusals()

# ------------------------------------------------------------------ steps of tasks

refusals.add("TaskStructureDisplay", "step_weights", TaskStructureDisplay, WEIGHTS)
refusals.add(
    "TaskStructureDisplay",
    "true_step_tasks",
    lambda v: TaskStructureDisplay(SQUARE, true_step_tasks=v),
    {name: v for name, v in WEIGHTS.items() if name != "None"} | {"more": np.ones((4, 3))},
)
LIKE_STEPS = {name: v for name, v in WEIGHTS.items() if name != "None"} | {
    "a step more": np.ones((4, 3)),
    "a task less": np.ones((3, 2)),
    "inf": changed(SQUARE, (1, 1), INF),
    "dates": np.zeros((3, 3), "datetime64[s]"),
    "generator": (row for row in SQUARE),
    "set": {1.0},
}
refusals.add(
    "TaskStructureDisplay",
    "confidence",
    lambda v: TaskStructureDisplay(SQUARE, confidence=v),
    LIKE_STEPS | {"negative": changed(SQUARE, (1, 1), -0.1), "True": True},
)
refusals.add(
    "TaskStructureDisplay",
    "task_names",
    lambda v: TaskStructureDisplay(SQUARE, task_names=v),
    NAMES,
)


SELECTED = make_collider_sequences(200, 6, 1, selection=True, random_state=0).X


@cache
def of_selection():
    return TaskStructureIdentifier(criterion=Selection(n_tasks=1), n_subsamples=0).fit(SELECTED)


@cache
def localizer():
    small = {"n_components": 2, "cv": 2, "hidden_layer_sizes": (4,), "max_epochs": 1}
    return TaskLocalizer(**small, random_state=0).fit(X, LABELS)


ONE = X[0]
NO_FINDING = {  # functions that make it
    "None": lambda: None,
    "text": lambda: "finding",
    "array": lambda: ONE,
    "class": lambda: TaskStructureIdentifier,
    "another estimator": lambda: LinearRegression().fit(ONE, ONE),
}
refusals.add(
    "TaskStructureDisplay.from_estimator",
    "confidence",
    lambda v: TaskStructureDisplay.from_estimator(identifier(), confidence=v),
    {"array": np.ones((4, 2)), "text": "p-values", "None": None},
)
refusals.add(
    "TaskStructureDisplay.from_estimator",
    "identifier",
    lambda make: TaskStructureDisplay.from_estimator(make()),
    NO_FINDING | {"localizer": localizer, "pipeline": pipeline},
)
refusals.add(
    "TaskStructureDisplay.from_estimator",
    "true_step_tasks",
    lambda v: TaskStructureDisplay.from_estimator(identifier(), true_step_tasks=v),
    {"transposed": np.ones((2, 4)), "of segments": np.ones((2, 2)), "text": "truth"},
)

# ------------------------------------------------------------------ a single sequence

LEGAL = ("nan", "None inside", "a step more", "a task less")
VALUES = {"None": None} | {name: v for name, v in LIKE_STEPS.items() if name not in LEGAL}
refusals.add("TaskTimelineDisplay", "values", TaskTimelineDisplay, VALUES)
for argument in ("steps", "true_steps"):
    refusals.add(
        "TaskTimelineDisplay",
        argument,
        lambda v, argument=argument: TaskTimelineDisplay(SQUARE, **{argument: v}),
        LIKE_STEPS,
    )
refusals.add(
    "TaskTimelineDisplay", "task_names", lambda v: TaskTimelineDisplay(SQUARE, task_names=v), NAMES
)
refusals.add(
    "TaskTimelineDisplay",
    "limit",
    lambda v: TaskTimelineDisplay(SQUARE, limit=v).plot(),
    [0, -1.0, NAN, INF, "1", [1.0, 2.0], SQUARE, 1j, {}],
)
refusals.add(
    "TaskTimelineDisplay.from_predictions",
    "probabilities",
    TaskTimelineDisplay.from_predictions,
    VALUES | {"above one": 1.1 * SQUARE, "negative": -SQUARE, "logits": 5 * SQUARE - 2},
)
for argument in ("steps", "true_steps"):
    refusals.add(
        "TaskTimelineDisplay.from_predictions",
        argument,
        lambda v, argument=argument: TaskTimelineDisplay.from_predictions(SQUARE, **{argument: v}),
        LIKE_STEPS,
    )
refusals.add(
    "TaskTimelineDisplay.from_estimator",
    "sequence",
    lambda v: TaskTimelineDisplay.from_estimator(localizer(), v),
    {
        "None": None,
        "number": 1.0,
        "text": "sequence",
        "several": X,
        "list of one": [ONE],
        "vector": ONE[:, 0],
        "no steps": ONE[:0],
        "no features": ONE[:, :0],
        "fewer features": ONE[:, :1],
        "more features": np.tile(ONE, 2),
        "nan": changed(ONE, (1, 1), NAN),
        "shorter than filled": changed(ONE, 3, NAN),
        "inf": changed(ONE, (1, 1), INF),
        "words": np.full((4, 2), "word"),
        "None inside": changed(ONE, (1, 1), None, object),
        "complex": ONE + 1j,
        "dates": np.zeros((4, 2), "datetime64[s]"),
        "ragged": [[1.0], [1.0, 2.0]],
        "sparse": csr_array(ONE),
        "dict": {0: ONE},
        "generator": (step for step in ONE),
        "table with words": pd.DataFrame(ONE, columns=["a", "b"]).assign(a="word"),
    },
)
refusals.add(
    "TaskTimelineDisplay.from_estimator",
    "true_steps",
    lambda v: TaskTimelineDisplay.from_estimator(localizer(), ONE, v),
    {
        "transposed": np.ones((2, 4)),
        "one task": np.ones(4, bool),
        "text": "steps",
        "nan": NAN * ONE,
    },
)
refusals.add(
    "TaskTimelineDisplay.from_estimator",
    "localizer",
    lambda make: TaskTimelineDisplay.from_estimator(make(), ONE),
    NO_FINDING | {"identifier": identifier},
)

# ------------------------------------------------------------------ pairs of segments

PAIRS = np.ones((3, 3, 2))
FOUND = np.ones((3, 2))
OF_PAIRS = {
    "None": None,
    "number": 1.0,
    "text": "pairs",
    "one task": PAIRS[:, :, 0],
    "two dimensions": FOUND,
    "a segment less": PAIRS[1:, 1:],
    "a task more": np.ones((3, 3, 3)),
    "tasks first": np.ones((2, 3, 3)),
    "empty": PAIRS[:0],
    "words": np.full((3, 3, 2), "word"),
    "complex": PAIRS + 1j,
    "dict": {0: 1.0},
    "ragged": [[1.0], [1.0, 2.0]],
    "dates": np.zeros((3, 3, 2), "datetime64[s]"),
    "sparse": csr_array(FOUND),
    "generator": (row for row in PAIRS),
    "inf": changed(PAIRS, (0, 1, 0), INF),
    "negative": -PAIRS,
}
refusals.add(
    "PairEvidenceDisplay", "scores", lambda v: PairEvidenceDisplay(v, PAIRS, FOUND), OF_PAIRS
)
refusals.add(
    "PairEvidenceDisplay",
    "significant",
    lambda v: PairEvidenceDisplay(PAIRS, v, FOUND),
    OF_PAIRS
    | {
        "nan": changed(PAIRS, (0, 1, 0), NAN),
        "None inside": changed(PAIRS, (0, 1, 0), None, object),
        "p-values": 0.3 * PAIRS,
    },
)
refusals.add(
    "PairEvidenceDisplay",
    "structure",
    lambda v: PairEvidenceDisplay(PAIRS, PAIRS, v),
    {name: v for name, v in WEIGHTS.items() if name != "nan"}
    | {"nan": changed(FOUND, (0, 0), NAN)},
)
refusals.add(
    "PairEvidenceDisplay",
    "task_names",
    lambda v: PairEvidenceDisplay(PAIRS, PAIRS, FOUND, task_names=v),
    NAMES,
)
refusals.add(
    "PairEvidenceDisplay.plot",
    "task",
    lambda v: PairEvidenceDisplay(PAIRS, PAIRS, FOUND).plot(task=v),
    [2, -1, "other", None, 0.5, [0]],
)


@cache
def of_pairs(segment_length=2):
    return TaskStructureIdentifier(segment_length, criterion="collider").fit(X, Y)


refusals.add(
    "PairEvidenceDisplay.from_estimator",
    "task",
    lambda v: PairEvidenceDisplay.from_estimator(of_pairs(), task=v),
    [2, "other", None],
)
refusals.add(
    "PairEvidenceDisplay.from_estimator",
    "criterion",
    lambda make: PairEvidenceDisplay.from_estimator(make()),
    {"direct": identifier},
)
refusals.add(
    "PairEvidenceDisplay.from_estimator",
    "segments_",
    lambda length: PairEvidenceDisplay.from_estimator(of_pairs(length)),
    {"one segment": 4},
)
refusals.add(
    "PairEvidenceDisplay.from_estimator",
    "X",
    lambda v: PairEvidenceDisplay.from_estimator(of_selection(), v),
    {
        "None": None,
        "text": "X",
        "fewer steps": SELECTED[:, :3],
        "more features": np.tile(SELECTED, 2),
        "nan": changed(SELECTED, (3, 1, 0), NAN),
        "a missing step": changed(SELECTED, (3, 1), NAN),
        "inf": changed(SELECTED, (3, 1, 0), INF),
        "none": SELECTED[:0],
        "words": np.full(SELECTED.shape, "word"),
    },
)
refusals.add(
    "PairEvidenceDisplay.from_estimator",
    "identifier",
    lambda make: PairEvidenceDisplay.from_estimator(make()),
    NO_FINDING | {"localizer": localizer, "pipeline": pipeline},
)


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("call", "mistakes", "argument"), refusals.cases)
def test_is_refused(call, mistakes, argument):
    check_refusals(call, mistakes, argument)
