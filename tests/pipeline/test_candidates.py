"""Candidates and estimators that a user gives to the pipeline."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, QuantileRegressor, Ridge
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsRegressor

from skspecialist import SparseSpecialistEncoder, SpecialistClassifier, SpecialistPipeline
from skspecialist.exceptions import SpecialistWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 4, 2))
AMOUNT = np.sign(X[:, 1, 0]) * np.sign(X[:, 1, 1]) + 0.1 * RNG.normal(size=160)
LABEL = np.where(X[:, 2, 0] > 0, "up", "down")
BOTH = {"amount": AMOUNT, "label": LABEL}
FOREST = RandomForestRegressor(5)


def fit(y=AMOUNT, **params):
    return SpecialistPipeline(**({"cv": 2, "random_state": 0} | params)).fit(X, y)


def compared(pipeline):
    return set(pipeline.candidates_["candidate"])


def test_names_select_what_is_compared():
    assert compared(fit(candidates=["steps"])) == {"generalist", "null", "steps"}


def test_a_candidate_is_added_to_all_others():
    everything = fit(candidates=["auto", ("forest", FOREST, "steps")], strategy="best")
    assert compared(everything) > {"generalist", "null", "kernel", "forest"}
    # A product of signs is what trees find and smooth functions do not.
    assert everything.predicted_from_ == ["forest"]
    assert everything.use_specialist_.all()
    assert everything.n_features_used_ == 2


def test_a_task_without_steps_is_not_specialized_by_a_sum_over_all_of_them():
    fitted = fit(RNG.permutation(AMOUNT), candidates=["steps", "steps_kernel"])
    assert not fitted.step_mask_.any()
    assert not fitted.use_specialist_.any()
    assert fitted.fallback_reason_ == ["no time step of this task was found"]


def test_splits_may_be_an_iterator():
    folds = KFold(2).split(X)
    assert compared(fit(candidates=["steps"], cv=folds)) == {"generalist", "null", "steps"}


def test_the_quantile_of_the_estimator_is_that_of_the_comparison():
    head = QuantileRegressor(quantile=0.9, alpha=0.0)
    fitted = fit(estimator=head, loss="pinball", candidates=["steps"])
    losses = fitted.candidates_.set_index("candidate")["loss"]
    evidence = fitted._models[0].decision.evidence
    errors = (evidence.truth - evidence.scores["steps"][:, 0]) / evidence.task.scale
    assert np.isclose(losses["steps"], np.maximum(0.9 * errors, -0.1 * errors).mean())


def test_a_candidate_that_reads_everything_is_not_a_specialist():
    fitted = fit(candidates=[("forest", FOREST)], strategy="best")
    assert not fitted.use_specialist_.any()


def test_without_latents_the_encoder_is_not_trained():
    assert fit(candidates=["steps", "kernel"]).encoder_ is None
    with pytest.warns(SpecialistWarning, match="encoder has no effect"):
        fit(candidates=["steps"], encoder=SparseSpecialistEncoder())


def test_a_pair_serves_both_kinds():
    pd = pytest.importorskip("pandas")
    pair = (Ridge(), LogisticRegression())
    forests = (FOREST, RandomForestClassifier(5))
    fitted = fit(
        pd.DataFrame(BOTH), estimator=pair, candidates=["steps", ("forest", forests, "steps")]
    )
    table = fitted.candidates_
    assert set(table.loc[table["task"] == "label", "candidate"]) == compared(fitted)
    assert_array_equal(fitted.predict(X).shape, (160, 2))


@pytest.mark.slow
def test_an_estimator_by_name_of_the_task():
    pd = pytest.importorskip("pandas")
    neighbors = {"amount": KNeighborsRegressor()}
    fitted = fit(pd.DataFrame(BOTH), candidates=["steps", ("neighbors", neighbors, "steps")])
    table = fitted.candidates_
    assert "neighbors" in set(table.loc[table["task"] == "amount", "candidate"])
    assert "neighbors" not in set(table.loc[table["task"] == "label", "candidate"])
    # Heads of the other tasks stay the default ones.
    other = fit(pd.DataFrame(BOTH), candidates=["steps"], estimator={"amount": Ridge()})
    default = fit(pd.DataFrame(BOTH), candidates=["steps"])
    assert_array_equal(other.predict(X)["label"], default.predict(X)["label"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"candidates": ["forest"]}, "candidates=.*'forest'.* not known"),
        ({"candidates": [("steps", FOREST)]}, "candidates must have names"),
        ({"candidates": [("forest", FOREST, "columns")]}, "candidates must have names"),
        ({"candidates": [FOREST]}, "candidates must have names"),
        ({"candidates": [("forest", FOREST), ("forest", Ridge())]}, "must have different names"),
        ({"estimator": (Ridge(),)}, "estimator must be one estimator, a pair"),
        ({"estimator": {"other": Ridge()}}, "estimator has estimators of .*'other'"),
    ],
)
def test_bad_candidates_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        fit(**params)


@pytest.mark.slow
def test_a_classifier_takes_them_too():
    fitted = SpecialistClassifier(
        candidates=["auto", ("forest", RandomForestClassifier(20), "steps")], cv=2, random_state=0
    ).fit(X, LABEL)
    assert fitted.score(X, LABEL) > 0.9


@pytest.mark.filterwarnings("ignore:No latent lowers|The fit was too short|The tasks use")
def test_a_specialist_is_read_whatever_is_compared():
    params = {"strategy": "specialist", "cv": 3, "encoder": SparseSpecialistEncoder(max_epochs=2)}
    with pytest.warns(SpecialistWarning, match="candidates has no effect"):
        fitted = fit(candidates=["pooled"], **params)
    assert fitted.use_specialist_.all()
