"""Each diagnostic keeps its level where assumptions hold, and rejects in a world of its own."""

import warnings

import numpy as np
import pytest
from scipy.stats import binom

from skspecialist.exceptions import SpecialistWarning
from skspecialist.structure import check_assumptions

N, T = 300, 8
NAMES = (
    *("curvature", "measurement error", "smoothing", "moving variance"),
    *("heavy tails", "drift", "trait", "repeated items"),
)


def world(kind, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, T, 1))
    for t in range(1, T):
        X[:, t] += 0.6 * X[:, t - 1]
    y = X[:, 2, 0] + rng.normal(size=N)
    if kind == "curvature":
        y = X[:, 2, 0] ** 2 + rng.normal(size=N)
    elif kind == "measurement error":
        X += 0.7 * rng.normal(size=X.shape)
    elif kind == "smoothing":
        X[:, 1:-1] = (X[:, :-2] + X[:, 1:-1] + X[:, 2:]) / 3
    elif kind == "moving variance":
        scale = np.exp(0.7 * rng.normal(size=N))
        X, y = X * scale[:, None, None], y * scale
    elif kind == "heavy tails":
        y += rng.standard_cauchy(N)
    elif kind == "drift":
        X += np.linspace(0, 1.5, N)[:, None, None]
    elif kind == "trait":
        X += rng.normal(size=(N, 1, 1))
    elif kind == "repeated items":
        X[:3] = X[3:6] + 0.001 * rng.normal(size=(3, T, 1))
    return X, y


def rejected(X, y, groups=None, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)
        table = check_assumptions(X, y, groups, **params)
    return (table["verdict"] == "violated").to_numpy(), table


@pytest.mark.parametrize("kind", NAMES)
def test_every_diagnostic_rejects_in_its_own_world(kind):
    pytest.importorskip("pandas")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = check_assumptions(*world(kind))
    assert {warning.category for warning in caught} == {SpecialistWarning}
    assert len(caught) == (table["verdict"] == "violated").sum()
    assert tuple(table["name"]) == NAMES
    row = table.set_index("name").loc[kind]
    assert row["verdict"] == "violated"
    assert row["pvalue"] < 1e-3
    assert row["advice"]


def test_diagnostics_keep_their_level():
    pytest.importorskip("pandas")
    counts = sum(rejected(*world("clean", seed), alpha=0.05)[0] * 1 for seed in range(20))
    assert (counts <= binom.ppf(0.9999, 20, 0.05)).all()


def test_within_groups_a_trait_of_the_group_is_not_one_of_the_sequence():
    pytest.importorskip("pandas")
    X, y = world("clean")
    groups = np.arange(N) % 20
    trait = np.random.default_rng(1).normal(size=20)[groups]
    ungrouped = rejected(X + trait[:, None, None], y)[0]
    assert ungrouped[NAMES.index("trait")]
    # The second task does not vary within groups, and nothing of it is diagnosed.
    within = rejected(X + trait[:, None, None], np.stack([y, trait], axis=1), groups)[0]
    assert not within.any()


def test_missing_steps_missing_tasks_labels_and_flat_sequences():
    pytest.importorskip("pandas")
    X, y = world("clean")
    expected = rejected(X, y)[1]
    flat = rejected(X.reshape(N, -1), y)[1]
    assert flat.equals(expected)
    X[3, 2], y[5] = np.nan, np.nan
    assert np.isfinite(rejected(X, y)[1]["pvalue"]).all()
    labels = np.where(X[:, 1, 0] > 0, "up", "down")
    assert np.isfinite(rejected(np.nan_to_num(X), labels)[1]["pvalue"]).all()


def test_constant_features_and_few_sequences():
    pytest.importorskip("pandas")
    X, y = world("clean")
    with pytest.raises(ValueError, match="features that change"):
        check_assumptions(np.zeros_like(X), y)
    with pytest.raises(ValueError, match="at least 20"):
        check_assumptions(X[:10], y[:10])
