"""Displays refuse what cannot be drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skspecialist.inspection import (
    AttributionDisplay,
    FeatureGroupDisplay,
    LatentTraversalDisplay,
    MaskDisplay,
    PairEvidenceDisplay,
    SequenceDisplay,
    SparsityPathDisplay,
    SpecialistGainDisplay,
    TaskStructureDisplay,
    TaskTimelineDisplay,
)
from tests.refusals._drawings import NAMES, SQUARE, WEIGHTS
from tests.refusals._estimators import INF, NAN
from tests.refusals._refusals import Refusals, check_refusals

refusals = Refusals()

refusals.add("MaskDisplay", "mask", MaskDisplay, WEIGHTS)
refusals.add("MaskDisplay", "task_names", lambda v: MaskDisplay(SQUARE, task_names=v), NAMES)
refusals.add("MaskDisplay", "latent_names", lambda v: MaskDisplay(SQUARE, latent_names=v), NAMES)
refusals.add("FeatureGroupDisplay", "scores", FeatureGroupDisplay, ["a", SQUARE, [], {0: 1}])
STATES = np.ones((2, 3, 4))
refusals.add(
    "SequenceDisplay",
    "sequences",
    lambda v: SequenceDisplay(v, SQUARE),
    {name: v for name, v in WEIGHTS.items() if name != "three dimensions"} | {"inf": STATES * INF},
)
refusals.add(
    "SequenceDisplay",
    "step_weights",
    lambda v: SequenceDisplay(STATES, v),
    WEIGHTS | {"more steps": np.ones((4, 2)), "more sequences": np.ones((3, 3, 2))},
)
refusals.add(
    "SequenceDisplay",
    "image_shape",
    lambda v: SequenceDisplay(STATES, SQUARE, image_shape=v),
    [(2, 3), (4,), 4, "2x2", (2.0, 2.0), (-2, -2), (2, 2, 1), (None, 4)],
)
refusals.add(
    "SequenceDisplay.plot",
    "task",
    lambda v: SequenceDisplay(STATES, SQUARE).plot(task=v),
    [3, -1, "other", None, 0.5, [0]],
)
refusals.add(
    "LatentTraversalDisplay", "features", lambda v: LatentTraversalDisplay(v, [0, 1]), WEIGHTS
)
refusals.add(
    "LatentTraversalDisplay",
    "values",
    lambda v: LatentTraversalDisplay(STATES, v),
    [[0, 1], [0, 1, NAN], 3, "abc", ["a", "b", "c"], None, [[0, 1, 2]], {0: 1}, [0, 1, 2j]],
)
refusals.add(
    "LatentTraversalDisplay",
    "image_shape",
    lambda v: LatentTraversalDisplay(STATES, [0, 1, 2], image_shape=v),
    [(2, 3), (4,), 4, "2x2", (-2, -2)],
)
PATH = [[0.9], [0.5], [0.1]]
path = {"scores_path": PATH, "n_active_path": [3, 2, 1], "best_index": 0}
for argument, values in {
    "scores_path": [[0.1, 0.2], [[0.1]], [[NAN]] * 3, "path", None, [["a"]] * 3, []],
    "n_active_path": [[3, 2], [3, 2, NAN], [1, 2, 3], [3, 3, 3], None, "abc", ["a", "b", "c"]],
    "best_index": [3, -1, None, "first", NAN, 0.5],
    "sparsity_path": [[0, 1], [0, 0.5, 2], [0.2, 0.1, 0], [NAN] * 3, "abc", [-1, 0, 1]],
    "tolerance": [-0.1, 1.1, NAN, "a", None],
}.items():
    refusals.add(
        "SparsityPathDisplay",
        argument,
        lambda v, argument=argument: SparsityPathDisplay(**(path | {argument: v})),
        values,
    )
gains = {"gain": [0.1, 0.2], "gain_se": [0.1, 0.1]}
for argument, values in {
    "gain": [[], 0.1, [[0.1]], "ab", ["a", "b"], None, {0: 1}, [INF, 0.1]],
    "gain_se": [[0.1], 0.1, ["a", "b"], None, [-0.1, 0.1], [[0.1, 0.1]]],
    "use_specialist": [[True], [[True, False]], "yes", True, ["a", "b"]],
    "reasons": [["a"], "abc", 3, ["a"] * 3],
    "task_names": [["a"], 3, "abc"],
}.items():
    refusals.add(
        "SpecialistGainDisplay",
        argument,
        lambda v, argument=argument: SpecialistGainDisplay(**(gains | {argument: v})),
        values,
    )

refusals.add("AttributionDisplay", "contributions", AttributionDisplay, WEIGHTS)
for argument, values in {
    "base": [[0.1], 0.1, "ab", [[0.1] * 3], [NAN, 0.1, 0.1]],
    "scale": [[0.1], 0.1, "ab", [INF, 0.1, 0.1]],
    "part_names": NAMES,
    "task_names": NAMES,
    "class_names": [["a"], ["a"] * 4],
}.items():
    refusals.add(
        "AttributionDisplay",
        argument,
        lambda v, argument=argument: AttributionDisplay(SQUARE, **{argument: v}),
        values,
    )

# ------------------------------------------------------------------ axes

PAIRS = np.ones((3, 3, 2))
for display in (
    FeatureGroupDisplay([1.0]),
    MaskDisplay(SQUARE),
    SequenceDisplay(STATES, SQUARE),
    SpecialistGainDisplay(**gains),
    TaskStructureDisplay(SQUARE, confidence=SQUARE),
    TaskTimelineDisplay(SQUARE),
    AttributionDisplay(SQUARE),
    PairEvidenceDisplay(PAIRS, PAIRS, PAIRS[0]),
):
    refusals.add(
        type(display).__name__,
        "ax",
        lambda ax, display=display: display.plot(ax=ax),
        ["axes", 111, plt.Axes, np.empty(2, dtype=object), []],
    )


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("call", "mistakes", "argument"), refusals.cases)
def test_is_refused(call, mistakes, argument):
    check_refusals(call, mistakes, argument)
