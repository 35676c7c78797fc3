"""Monitors and updates: levels, planted changes, and estimators that follow a change."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression, Ridge

from skspecialist import SpecialistPipeline, TaskStructureIdentifier


def draw(rng, n, slope=1.0, shift=0.0):
    """Return sequences, an amount of steps 1 and 2, and a label of step 3."""
    X = rng.normal(size=(n, 4, 2))
    X[:, 0, 1] += shift
    amount = X[:, 1, 0] + slope * X[:, 2, 0] + 0.5 * rng.standard_t(4, size=n)
    return X, pd.DataFrame({"amount": amount, "label": X[:, 3, 1] + rng.normal(size=n) > 0})


@pytest.fixture(scope="module")
def pipeline():
    pipeline = SpecialistPipeline(
        structure=TaskStructureIdentifier(1),
        estimator=(Ridge(), LogisticRegression()),
        candidates=["generalist", "steps"],
        random_state=0,
    )
    return pipeline.fit(*draw(np.random.default_rng(0), 200))


def moved(report):
    return {(row["kind"], row["task"], row["part"]) for row in report.rows if row["moved"]}


@pytest.mark.slow
def test_false_alarms_of_quiet_batches(pipeline):
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(50):
        monitor = pipeline.monitor(*draw(rng, 100))
        alarms += sum(monitor.test(*draw(rng, 30)).alarm for _ in range(4))
    assert alarms <= binom.ppf(0.999, 200, 0.05)


def test_planted_changes_are_found_where_they_are(pipeline):
    rng = np.random.default_rng(2)
    monitor = pipeline.monitor(*draw(rng, 200), alpha=0.01)
    assert not monitor.test(*draw(rng, 100)).alarm
    assert moved(monitor.test(draw(rng, 100, shift=1.0)[0])) == {("inputs", None, "step0")}
    report = monitor.test(*draw(rng, 100, slope=-0.5))
    assert ("relation", "amount", "step2") in moved(report)
    assert {task for _, task, _ in moved(report)} == {"amount"}
    assert "relation of 'amount', step2" in str(report)
    assert len(report.to_frame()) == 4 + 2 * 5


def test_order_and_units_change_nothing(pipeline):
    rng = np.random.default_rng(3)
    X, y = draw(rng, 60)
    monitor = pipeline.monitor(*draw(rng, 100))
    order = rng.permutation(60)
    pairs = zip(monitor.test(X, y).rows, monitor.test(X[order], y.iloc[order]).rows, strict=True)
    for row, other in pairs:
        assert row["pvalue"] == pytest.approx(other["pvalue"], rel=1e-9)


def test_levels_of_all_batches_sum_to_alpha(pipeline):
    rng = np.random.default_rng(4)
    monitor = pipeline.monitor(draw(rng, 50)[0], anytime=True)
    levels = [monitor.test(draw(rng, 20)[0]).level for _ in range(3)]
    assert levels == pytest.approx([0.05 / 2, 0.05 / 6, 0.05 / 12])
    with pytest.raises(ValueError, match="reference with tasks"):
        monitor.test(*draw(rng, 20))
    with pytest.raises(ValueError, match="at least 8 sequences, got 5"):
        monitor.test(draw(rng, 5)[0])


def test_update_follows_a_change_and_keeps_what_did_not_change():
    rng = np.random.default_rng(5)
    pipeline = SpecialistPipeline(
        estimator=(Ridge(), LogisticRegression()), strategy="generalist", random_state=0
    ).fit(*draw(rng, 200))
    X, y = draw(rng, 400)
    before = pipeline.score(X, y)
    weights = pipeline.update(*draw(rng, 20)).update_weights_
    assert pipeline.score(X, y) > before - 0.05
    X_new, y_new = draw(rng, 400, slope=-1.0)
    before = pipeline.score(X_new, y_new)
    pipeline.update(*draw(rng, 200, slope=-1.0))
    assert pipeline.update_weights_[0] > 0.8 > weights[0]
    assert pipeline.score(X_new, y_new) > before + 0.3
    assert pipeline.transform(X).shape == (400, 8)
