"""Reports of fitted pipelines, and contributions to predictions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer

from skspecialist import SpecialistClassifier, SpecialistPipeline, TaskLocalizer
from skspecialist.inspection import AttributionDisplay

RNG = np.random.default_rng(0)
X = RNG.normal([1.0, 0.0], size=(200, 4, 2))
Y = np.column_stack([X[:, 1, 0] - X[:, 2, 1], np.abs(X[:, 3, 0])]) + 0.1 * RNG.normal(size=(200, 2))


def fit(estimator=SpecialistPipeline, y=Y, **params):
    params = {"candidates": ["steps", "steps_kernel"], "cv": 2, "random_state": 0} | params
    return estimator(**params).fit(X, y)


@pytest.fixture(scope="module")
def fitted():
    return fit()


@pytest.mark.parametrize("by", ["steps", "columns"])
def test_contributions_add_up_to_amounts(fitted, by):
    explanation = fitted.explain(X[:20], by=by, n_permutations=2)
    sums = [part.sum(axis=1) for part in explanation.contributions]
    total = np.hstack(explanation.base) + np.hstack(sums)
    assert_allclose(total, fitted.predict(X[:20]), atol=1e-6)


def test_contributions_add_up_to_probabilities():
    classifier = fit(SpecialistClassifier, np.where(Y[:, 0] > 0, "up", "down"))
    explanation = classifier.explain(X[:8], n_permutations=2)
    total = explanation.base[0] + explanation.contributions[0].sum(axis=1)
    assert_allclose(total, classifier.predict_proba(X[:8]), atol=1e-6)
    # Of two classes the probabilities are opposite: the table has that of the second.
    frame = explanation.to_frame(3)
    assert frame.columns.tolist() == ["task0 = up"]
    assert_allclose(frame["task0 = up"], -explanation.contributions[0][3, :, 0], atol=1e-12)


def test_a_single_sequence_is_explained_as_among_others(fitted):
    of_all = fitted.explain(X[:5], n_permutations=2).to_frame(3)
    assert_allclose(fitted.explain(X[3], n_permutations=2).to_frame(), of_all, atol=1e-9)


def test_the_generalist_runs_once_for_all_parts():
    class Counting(FunctionTransformer):
        n_calls = 0

        def transform(self, X):
            Counting.n_calls += 1
            return super().transform(X)

    model = SpecialistPipeline(Counting(), strategy="generalist").fit(X, Y)
    before = Counting.n_calls
    model.explain(X[:3])
    assert Counting.n_calls == before + 1


def test_contributions_of_latents():
    model = fit(candidates=["latents", "steps_kernel"], encoder=FirstColumns(), cv=2)
    explanation = model.explain(X[:5], by="latents", n_permutations=1)
    assert explanation.part_names == ["generalist", "latent0", "latent1", "latents of folds"]
    assert_allclose(np.hstack(explanation.predictions), model.predict(X[:5]), atol=1e-6)
    # Without a comparison there are no fits of folds: latents are all that is read.
    model = fit(strategy="specialist", encoder=FirstColumns(), candidates="auto", cv=3)
    frame = model.explain(X[:5], by="latents", n_permutations=1).to_frame(None)
    assert list(frame.index.get_level_values("part")[:3]) == ["generalist", "latent0", "latent1"]
    assert_allclose(frame.xs("generalist", level="part"), 0, atol=1e-9)
    with pytest.raises(ValueError, match="encoder_ is None"):
        SpecialistPipeline(strategy="generalist").fit(X, Y).explain(X[:5], by="latents")


class FirstColumns(BaseEstimator):
    """The columns as latents, of which every task uses all."""

    def fit(self, X, y, step_weights=None):
        self.mask_ = np.ones((np.shape(y)[1], X.shape[-1]))
        return self

    def latents(self, X):
        return X


def test_contributions_to_a_linear_model_are_its_terms():
    model = SpecialistPipeline(strategy="generalist", estimator=LinearRegression()).fit(X, Y)
    terms = LinearRegression().fit(X.reshape(200, -1), Y).coef_.reshape(2, 4, 2)
    expected = np.einsum("ktj,itj->itk", terms, X - X.mean(axis=0))
    explanation = model.explain(X[:20], n_permutations=1)
    assert_allclose(np.dstack([c[:, :, 0] for c in explanation.contributions]), expected[:20])


def test_steps_that_are_not_read_contribute_nothing():
    model = fit(y=Y[:, 1], strategy="best", candidates=["steps_kernel"])
    assert model.predicted_from_ == ["steps_kernel"]
    (contributions,) = model.explain(X[:20], n_permutations=1).contributions
    assert_allclose(contributions[:, :3], 0, atol=1e-6)
    assert np.abs(contributions[:, 3]).min() > 0


def test_a_report_names_steps_with_p_values_and_losses(fitted):
    report = fitted.report()
    frame = report.to_frame()
    assert frame.loc["task0", "steps"] == [1, 2]
    assert max(frame.loc["task0", "pvalues"]) < 0.05
    assert (frame["loss"] < frame["generalist_loss"] + 0.01).all()
    assert frame.loc["task1", "predicted_from"] == "steps_kernel"
    text = str(report)
    assert "Task 'task0' (amount): depends on 2 steps: 1 (p = " in text
    assert "held-out loss" in text
    assert "task1" in report._repr_html_()


def test_a_report_gives_the_reason_of_a_fallback():
    report = fit(y=RNG.normal(size=200)).report()
    assert "is not specialized: no time step of this task was found" in str(report)


def test_a_report_without_a_comparison():
    frame = SpecialistPipeline(strategy="generalist").fit(X, Y).report().to_frame()
    assert frame["loss"].isna().all()


@pytest.mark.filterwarnings("ignore:Task")
def test_pvalues_belong_to_their_task_beside_a_constant_one(fitted):
    constant = np.column_stack([np.ones(len(Y)), Y])
    rows = fit(y=constant).report().to_frame()
    assert rows["pvalues"].tolist()[1:] == fitted.report().to_frame()["pvalues"].tolist()


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(
    "structure",
    [None, pytest.param(TaskLocalizer(2, max_epochs=2, random_state=0), marks=pytest.mark.slow)],
)
def test_steps_after_the_end_of_a_sequence_contribute_nothing(structure):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(length, 2)) for length in rng.integers(3, 6, size=60)]
    y = np.array([steps[:, 0].sum() for steps in X])
    candidates = ["steps_mean", "steps"]
    model = SpecialistPipeline(structure=structure, candidates=candidates, cv=2, random_state=0)
    model.fit(X, y)
    for by in ("steps", "columns"):
        explanation = model.explain(X[:5], by=by)
        assert_allclose(explanation.predictions[0][:, 0], model.predict(X[:5]))
    steps = model.explain(X[:5])
    for part, sequence in zip(steps.contributions[0], X, strict=False):
        assert_allclose(part[len(sequence) :], 0, atol=1e-12)
    short = min(X[:5], key=len)
    assert_allclose(model.explain(short).predictions[0][0], model.predict([short]))
    AttributionDisplay.from_explanation(steps, sequence=1)
    names = list("abcde"[: len(short)])
    display = AttributionDisplay.from_estimator(model, [short], part_names=names)
    assert display.part_names[: len(short)] == names
    assert len(display.part_names) == 5
