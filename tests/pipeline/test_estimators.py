"""Estimators of single tasks, and their losses."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor, Ridge
from sklearn.metrics import log_loss, mean_pinball_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skspecialist._data.tasks import Task, TaskTargets
from skspecialist._stats.model_comparison import best_sharpness, sample_losses
from skspecialist.pipeline._candidates import fit_estimator, pinball_quantile, predict_scores
from skspecialist.pipeline._comparison import sharpen
from skspecialist.pipeline._heads import column_head

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3))
Y = X @ [3.0, -2.0, 0.0] + RNG.standard_t(3, size=100)
LABELS = np.where(Y > np.quantile(Y, 0.7), "c", np.where(Y > 0, "b", "a"))


def losses_of(loss, task, model, features, truth):
    """Losses of the predictions of a model."""
    scores = predict_scores(model, task, features)
    if scores.shape[1] > 1:
        logits = np.log(np.maximum(scores, np.finfo(float).eps))
        scores = sharpen(scores, best_sharpness(logits, task.encode(truth).astype(int)))
    return sample_losses(loss, task, scores, truth, pinball_quantile(model))


def test_squared_error_of_the_mean_is_one():
    (task,) = TaskTargets(Y).tasks
    losses = losses_of("auto", task, DummyRegressor().fit(X, Y), X, Y)
    assert_allclose(losses.mean(), 1.0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("loss", ["auto", "huber", "pinball"])
def test_losses_do_not_depend_on_units(loss, scale):
    (task,), (scaled,) = TaskTargets(Y).tasks, TaskTargets(Y * scale).tasks
    expected = losses_of(loss, task, LinearRegression().fit(X, Y), X, Y)
    found = losses_of(loss, scaled, LinearRegression().fit(X, Y * scale), X, Y * scale)
    assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_huber_is_half_the_square_of_small_errors_and_linear_in_large_ones():
    task, model = Task("t"), DummyRegressor(strategy="constant", constant=0.0).fit(X, Y)
    losses = losses_of("huber", task, model, np.zeros((3, 3)), np.array([0.5, 10.0, 11.0]))
    assert_allclose(losses[0], 0.125)
    assert_allclose(losses[2] - losses[1], 1.35)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_pinball_is_at_the_estimators_quantile(quantile):
    model = make_pipeline(StandardScaler(), QuantileRegressor(quantile=quantile, alpha=0))
    (task,) = TaskTargets(Y).tasks
    losses = losses_of("pinball", task, model.fit(X, Y), X, Y)
    expected = mean_pinball_loss(Y, model.predict(X), alpha=quantile) / task.scale
    assert_allclose(losses.mean(), expected)


def test_pinball_without_a_quantile_is_half_the_absolute_error():
    (task,) = TaskTargets(Y).tasks
    model = Ridge().fit(X, Y)
    errors = np.abs(Y - model.predict(X)) / task.scale
    assert_allclose(losses_of("pinball", task, model, X, Y), errors / 2)


@pytest.mark.parametrize("loss", ["auto", "huber", "pinball"])
def test_labels_cost_their_log_loss(loss):
    (task,) = TaskTargets(LABELS).tasks
    model = LogisticRegression(C=np.inf).fit(X, LABELS)  # of the least log loss as it is
    losses = losses_of(loss, task, model, X, LABELS)
    assert_allclose(losses.mean(), log_loss(LABELS, model.predict_proba(X)))


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 5.0])
def test_how_sure_an_estimator_is_does_not_count(sharpness):
    (task,) = TaskTargets(LABELS).tasks
    model = LogisticRegression().fit(X, LABELS)
    expected = losses_of("auto", task, model, X, LABELS)
    model.coef_, model.intercept_ = sharpness * model.coef_, sharpness * model.intercept_
    assert_allclose(losses_of("auto", task, model, X, LABELS), expected, atol=1e-3)


def test_labels_without_probabilities_cost_the_entropy_of_their_errors():
    # At the best temperature the predicted class has the probability of a right prediction.
    (task,) = TaskTargets(LABELS).tasks
    model = LinearSVC(random_state=0).fit(X, LABELS)
    wrong = 1 - model.score(X, LABELS)
    expected = -(1 - wrong) * np.log(1 - wrong) - wrong * np.log(wrong / 2)
    assert_allclose(losses_of("auto", task, model, X, LABELS).mean(), expected, rtol=1e-4)


def test_a_class_that_was_not_fitted_costs_much_but_not_infinity():
    (task,) = TaskTargets(LABELS).tasks
    seen = LABELS != "c"
    losses = losses_of("auto", task, LogisticRegression().fit(X[seen], LABELS[seen]), X, LABELS)
    assert np.isfinite(losses).all()
    assert losses[~seen].min() > losses[seen].max()


def test_a_callable():
    (task,) = TaskTargets(Y).tasks
    model = Ridge().fit(X, Y)
    losses = losses_of(lambda truth, found: np.abs(truth - found), task, model, X, Y)
    assert_array_equal(losses, np.abs(Y - model.predict(X)))
    with pytest.raises(ValueError, match=r"shape \(100,\), got \(\)"):
        losses_of(lambda truth, found: 0.0, task, model, X, Y)


def test_the_default_is_for_the_kind_of_task():
    amounts, labels = TaskTargets(Y).tasks[0], TaskTargets(LABELS).tasks[0]
    assert hasattr(fit_estimator(column_head(True), labels, X, LABELS, 0), "predict_proba")
    assert fit_estimator(column_head(False), amounts, X, Y, 0).score(X, Y) > 0.5
