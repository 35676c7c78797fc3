"""Cases of text: tasks are functions of the properties of their steps."""

import numpy as np
import pandas as pd
import pytest

from skspecialist.datasets import load_text_cases

HALVES = {half: load_text_cases(subset=half, as_frame=True) for half in ("train", "test")}


@pytest.mark.parametrize("half", HALVES)
def test_tasks_depend_on_the_properties_of_their_steps(half):
    cases = HALVES[half]
    steps = dict(zip(cases.target_names, cases.step_weights.T, strict=True))
    value = {
        "satisfaction": cases.sentiment,
        "escalate": -cases.sentiment,
        "social": cases.source == "tweet",
        "press": cases.source == "newspaper",
    }
    for task, factor in value.items():
        target = cases.target[task]
        target = target if target.dtype.kind == "f" else target == target.max()
        inside = np.corrcoef(target, factor[:, steps[task]].mean(axis=1))[0, 1]
        outside = np.corrcoef(target, factor[:, ~steps[task]].mean(axis=1))[0, 1]
        assert inside > 0.5
        assert abs(outside) < 0.1
    assert not steps["lottery"].any()


def test_forms_agree_and_halves_share_no_snippet():
    X, y = load_text_cases(return_X_y=True)
    cases = HALVES["train"]
    assert X.shape == (*cases.source.shape, len(cases.feature_names))
    assert X.dtype == np.float32
    pd.testing.assert_frame_equal(
        pd.DataFrame(y, columns=cases.target_names).astype(cases.target.dtypes), cases.target
    )
    assert not set(cases.snippets.ravel()) & set(HALVES["test"].snippets.ravel())
