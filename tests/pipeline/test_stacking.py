"""Combinations of candidates: never worse out of fold, calibrated, and readable."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss

from skspecialist import SpecialistPipeline, TaskStructureIdentifier
from skspecialist.pipeline._candidates import StepMoments
from skspecialist.pipeline._heads import KernelMean, RidgeTunedLogisticRegression

ONE_STEP = TaskStructureIdentifier(1)


def sums(n=400, seed=0, kind="amount"):
    """Sequences whose task is a sum of one curved function over two of six steps."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6, 3))
    y = (X[:, [1, 4], 0] + np.abs(X[:, [1, 4], 1])).sum(axis=1) + 0.3 * rng.normal(size=n)
    return X, y if kind == "amount" else np.where(y > 1.6, "high", "low")


def pipeline(**params):
    return SpecialistPipeline(structure=ONE_STEP, **({"cv": 2, "random_state": 0} | params))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_the_default_encoder_is_trained_for_a_curved_task():
    fitted = pipeline(encoder=None, strategy="best").fit(*sums())
    assert "latents" in set(fitted.candidates_["candidate"])


def test_mean_features_are_those_of_the_mean_kernel():
    # With every step as a landmark the Nystroem features reproduce the set kernel exactly.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3 * 2)), rng.normal(size=30)
    features = KernelMean(3, n_components=90, random_state=0)
    found = features.fit_transform(X, y)
    scaled = features.landmarks_.scaler.transform(X.reshape(-1, 2)).reshape(30, 3, 2)
    distances = ((scaled[:, None, :, None] - scaled[None, :, None, :]) ** 2).sum(axis=-1)
    kernel = np.exp(-features.landmarks_.gamma * distances)
    weights = features.step_weights_
    expected = np.einsum("t,ijtu,u->ij", weights, kernel, weights)
    np.testing.assert_allclose(features.transform(X), found, atol=1e-9)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-6)


def test_kernel_features_are_constant_beyond_the_range_of_the_data():
    X = np.round(np.random.default_rng(0).normal(size=(60, 2)), 1)
    features = KernelMean(1, random_state=0).fit(X, X[:, 0] ** 2)
    beyond = np.array([[9.0, 0.0], [0.0, -9.0]])
    bounds = beyond.clip(X.min(axis=0), X.max(axis=0))
    assert_array_equal(features.transform(beyond), features.transform(bounds))


def test_landmarks_become_more_where_they_help():
    rng = np.random.default_rng(0)
    X, noise = rng.uniform(-1, 1, size=(400, 2)), 0.01 * rng.normal(size=400)
    smooth, wavy = X[:, 0] ** 2 + noise, np.sin(12 * X[:, 0]) * np.sin(12 * X[:, 1]) + noise
    few, many = (
        len(KernelMean(1, random_state=0).fit(X, y).landmarks_.rows) for y in (smooth, wavy)
    )
    assert few < many


@pytest.mark.parametrize("kind", ["amount", "label"])
def test_steps_of_a_sum_are_weighed(kind):
    X, y = sums(400, kind=kind)
    features = KernelMean(6, random_state=0).fit(X.reshape(400, -1), y)
    assert features.step_weights_[[1, 4]].min() > 0.3
    assert np.delete(features.step_weights_, [1, 4]).max() < 0.1


def test_moments_of_steps():
    X = np.arange(24.0).reshape(2, 4, 3)
    found = StepMoments(4, ("mean", "last", "max")).fit_transform(X.reshape(2, -1))
    np.testing.assert_allclose(found, np.hstack([X.mean(axis=1), X[:, -1], X.max(axis=1)]))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_strength_of_a_ridge_suits_a_logistic_regression(n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60))
    y = np.argmax(X[:, :n_classes] + rng.gumbel(size=(300, n_classes)), axis=1)
    tuned = RidgeTunedLogisticRegression().fit(X[:200], y[:200])
    loss = log_loss(y[200:], tuned.predict_proba(X[200:]))
    losses = []
    for C in np.logspace(-4, 2, 13):
        other = clone(tuned.logistic_).set_params(C=C).fit(X[:200], y[:200])
        losses.append(log_loss(y[200:], other.predict_proba(X[200:])))
    assert loss < min(losses) + 0.05


def test_ordered_classes_along_one_column():
    # The indicator of the middle class is not linear: a ridge regression shrinks it away.
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 30)
    X = 4.0 * (y[:, None] - 1) * [1, 0, 0, 0, 0] + rng.normal(size=(90, 5))
    assert RidgeTunedLogisticRegression().fit(X, y).score(X, y) > 0.9


def test_a_sum_over_steps_is_found_and_beats_the_generalist():
    X, y = sums(300)
    fitted = pipeline(strategy="best").set_params(encoder=NoLatents()).fit(X[:200], y[:200])
    assert fitted.predicted_from_ == ["steps_kernel"]
    stacked = clone(fitted).set_params(strategy="stack").fit(X[:200], y[:200])
    generalist = SpecialistPipeline(strategy="generalist", random_state=0).fit(X[:200], y[:200])
    assert stacked.score(X[200:], y[200:]) > generalist.score(X[200:], y[200:]) + 0.2
    assert stacked.weights_[0]["steps_kernel"] > 0.5
    assert sum(stacked.weights_[0].values()) == pytest.approx(1.0)
    table = stacked.candidates_.set_index("candidate")
    assert table["loss"].idxmin() == "steps_kernel"
    assert table.loc["generalist", "difference"] == 0
    # Those far behind in the first fold are not fitted in the others, and have no loss.
    dropped = table["loss"].isna()
    assert dropped.any()
    assert not table.loc[dropped, "weight"].any()
    table = table[~dropped]
    np.testing.assert_allclose(
        table["loss"] + table["difference"], table.loc["generalist", "loss"], rtol=1e-9
    )


@pytest.mark.slow
def test_probabilities_of_a_mixture():
    X, y = sums(400, kind="labels")
    fitted = pipeline(encoder=NoLatents()).fit(X[:300], y[:300])
    found = fitted.predict_proba(X[300:])
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_array_equal(
        fitted.predict(X[300:]), fitted.tasks_.tasks[0].classes[found.argmax(axis=1)]
    )
    shares = np.tile(np.unique(y[:300], return_counts=True)[1] / 300, (100, 1))
    assert log_loss(y[300:], found) < 0.7 * log_loss(y[300:], shares)
    with pytest.raises(ValueError, match=r"'task0'.*continuous"):
        pipeline(encoder=NoLatents()).fit(*sums(60)).predict_proba(X)


@pytest.mark.slow
def test_noise_costs_next_to_nothing():
    # A task of nothing: the combination is nearly the null model.
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(1200, 4, 3)), rng.normal(size=(1200, 2))
    fitted = pipeline(encoder=NoLatents()).fit(X[:200], y[:200])
    assert fitted.score(X[200:], y[200:]) > -0.08


class NoLatents:
    """An encoder that never finds a latent."""

    def get_params(self, deep=True):
        return {}

    def set_params(self, **params):
        return self

    def fit(self, X, y, step_weights=None):
        self.mask_ = np.zeros((np.ndim(y) if np.ndim(y) == 1 else np.shape(y)[1], 0))
        return self

    def latents(self, X):
        return X[..., :0]
