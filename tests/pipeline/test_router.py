"""Routing between the specialists of domains."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge

from skspecialist import SpecialistRouter

MEANS = 5 * np.eye(3, 5)
SLOPES = np.random.default_rng(1).normal(size=(3, 5))


def draw(n_samples, seed=0, domains="abc"):
    rng = np.random.default_rng(seed)
    domain = rng.choice(list(domains), size=n_samples)
    codes = np.searchsorted(list("abc"), domain)
    X = MEANS[codes] + rng.normal(size=(n_samples, 5))
    y = ((X - MEANS[codes]) * SLOPES[codes]).sum(axis=1) + 0.3 * rng.normal(size=n_samples)
    return X, y, domain


X, Y, DOMAIN = draw(360)
X_TEST, Y_TEST, DOMAIN_TEST = draw(600, seed=1)


def router(gate="learned", estimator=None, **params):
    return SpecialistRouter(estimator or Ridge(), gate=gate, random_state=0, **params)


@pytest.mark.parametrize("gate", ["learned", "prototype"])
def test_routing_is_as_good_as_given_domains_and_falls_back_elsewhere(gate):
    fitted = router(gate).fit(X, Y, domains=DOMAIN)
    models = [Ridge().fit(X[DOMAIN == d], Y[DOMAIN == d]) for d in "abc"]
    given = np.select([DOMAIN_TEST == d for d in "abc"], [m.predict(X_TEST) for m in models])
    pooled = Ridge().fit(X, Y)
    losses = [((Y_TEST - p) ** 2).mean() for p in (fitted.predict(X_TEST), given)]
    assert losses[0] < losses[1] + 0.05 * (((Y_TEST - pooled.predict(X_TEST)) ** 2).mean())
    assert fitted.shares_.min() > 0.9
    # Few samples of known domains are rejected, and those of an unknown one predicted pooled.
    assert (~fitted.gate_weights(X_TEST).any(axis=1)).mean() < 0.03
    far = X_TEST - 10
    assert_array_equal(fitted.predict(far), pooled.predict(far))


def test_one_relation_is_predicted_by_the_pooled_model():
    y = X @ SLOPES[0] + np.random.default_rng(0).normal(size=len(X))
    fitted = router("prototype").fit(X, y, domains=DOMAIN)
    assert fitted.reasons_[0].startswith("the pooled model is used")
    assert_array_equal(fitted.predict(X_TEST), Ridge().fit(X, y).predict(X_TEST))


@pytest.mark.parametrize(
    "gate", [pytest.param("learned", marks=pytest.mark.slow), "prototype", "uniform"]
)
def test_a_further_specialist_leaves_the_others_bit_equal(gate):
    two = DOMAIN != "c"
    fitted = router(gate, top_k=1).fit(X[two], Y[two], domains=DOMAIN[two])
    specialists, before = fitted.specialists_, fitted.predict(X_TEST)
    routed = fitted.gate_weights(X_TEST)
    fitted.add_specialist("c", Ridge(), X[~two], Y[~two])
    assert all(fitted.specialists_[d] is specialists[d] for d in "ab")
    same = (fitted.gate_weights(X_TEST)[:, :2] == routed).all(axis=1) & routed.any(axis=1)
    assert same.mean() > 0.6
    assert_array_equal(fitted.predict(X_TEST)[same], before[same])
    if gate != "uniform":
        whole = router(gate, top_k=1).fit(X, Y, domains=DOMAIN)
        assert fitted.score(X_TEST, Y_TEST) > whole.score(X_TEST, Y_TEST) - 0.02
    with pytest.raises(ValueError, match="'c' is a specialist already"):
        fitted.add_specialist("c", Ridge(), X, Y)


def test_prototypes_are_linear_discriminant_analysis():
    many, y, domain = draw(2000)
    weights = router("prototype", alpha=0.0, cv=2).fit(many / 2, y, domains=domain)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(many / 2, domain)
    overlapping = X_TEST / 4  # where probabilities are not 0 or 1
    found = weights.gate_weights(overlapping)
    assert_allclose(found, reference.predict_proba(overlapping), atol=0.03)


def test_loads_are_balanced_and_the_order_of_specialists_does_not_matter():
    rows = np.flatnonzero((DOMAIN != "a") | (np.arange(len(X)) % 4 == 0))
    weights = []
    for order in ("abc", "cab"):
        fitted = router("prototype", [(d, Ridge()) for d in order], balance=1.0, alpha=0.0)
        fitted.fit(X[rows] / 2, Y[rows], domains=DOMAIN[rows])
        assert_allclose(fitted.loads_, 1 / 3, atol=1e-6)
        weights.append(fitted.gate_weights(X_TEST))
    assert_array_equal(*weights)


def test_several_tasks_sequences_and_missing_labels():
    y = pd.DataFrame({"first": np.where(Y > 0, "yes", "no"), "second": np.where(X[:, 4] > 0, 1, 2)})
    y.loc[::7, "first"] = None
    estimator = LogisticRegression()
    fitted = router("prototype", estimator).fit(np.stack([X, X], axis=1), y, domains=DOMAIN)
    predicted = fitted.predict(np.stack([X_TEST, X_TEST], axis=1))
    assert list(predicted) == ["first", "second"]
    assert (predicted["first"] == np.where(Y_TEST > 0, "yes", "no")).mean() > 0.85
    assert [len(p[0]) for p in fitted.predict_proba(np.stack([X, X], axis=1))] == [2, 2]


def test_domains_are_those_of_the_specialists():
    with pytest.raises(ValueError, match="domains has the values"):
        router(estimator=[("a", Ridge()), ("z", Ridge())]).fit(X, Y, domains=DOMAIN)
    with pytest.raises(ValueError, match="fit needs domains"):
        router().fit(X, Y)
    clustered = router("prototype", [(d, Ridge()) for d in "xyz"]).fit(X, Y)
    assert clustered.score(X_TEST, Y_TEST) > 0.8
