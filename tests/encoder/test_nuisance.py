"""Tests of the removal of nuisances."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from skspecialist import (
    NuisanceRemover,
    SparseMultiTaskSelector,
    SparseSpecialistEncoder,
    SpecialistRegressor,
)
from skspecialist.exceptions import SpecialistWarning

RNG = np.random.default_rng(0)
SPEAKER = RNG.choice(["ann", "bob", "eve"], size=240)
CODES = (SPEAKER[:, None] == ["ann", "bob", "eve"]).astype(float)
X = RNG.normal(size=(240, 4, 6))
Y = X[:, 1, 0] + 0.1 * RNG.normal(size=240)
X[:, :, :3] += (CODES @ RNG.normal(size=(3, 3)))[:, None]
X[:, 2, 4] += 2 * CODES[:, 0]  # one step only


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_step_covaries_with_the_nuisance(dtype):
    remover = NuisanceRemover().fit(X.astype(dtype), SPEAKER)
    erased = remover.transform(X.astype(dtype))
    assert erased.dtype == dtype
    covariance = np.einsum("ntd,nk->tdk", erased, CODES - CODES.mean(axis=0)) / len(X)
    assert np.abs(covariance.mean(axis=0)).max() < 1e-6
    assert np.abs(covariance[2]).max() < 0.15  # of noise; 0.4 before
    assert remover.n_erased_ == 3
    (scores,) = remover.scores_
    assert scores["before"] > 0.8 > 0.45 > scores["after"]


def test_the_change_is_the_least_of_all_that_remove_the_covariance():
    rows = X[:, 0]
    erased = NuisanceRemover().fit(rows, SPEAKER).transform(rows)
    change = np.square(erased - rows).mean()
    # Residuals of a regression on the nuisance, which new samples do not have.
    oracle = LinearRegression().fit(CODES, rows).predict(CODES) - rows.mean(axis=0)
    orthogonal = np.linalg.svd(oracle, full_matrices=False)[2][:2]
    projected = rows - (rows - rows.mean(axis=0)) @ orthogonal.T @ orthogonal
    assert np.square(oracle).mean() < change < np.square(projected - rows).mean() * 1.05


def test_nothing_is_erased_for_a_nuisance_that_is_absent():
    absent = np.random.default_rng(1).permutation(SPEAKER)
    remover = NuisanceRemover().fit(X, absent)
    assert remover.n_erased_ == 0
    np.testing.assert_array_equal(remover.transform(X), X)


def test_missing_values_and_curved_amounts_count():
    amount = RNG.normal(size=240)
    rows = X[:, 0].copy()
    rows[:, 5] += amount**2
    table = pd.DataFrame({"speaker": SPEAKER.astype(object), "amount": amount})
    table.loc[:40, "speaker"] = None
    table.loc[200:, "amount"] = np.nan
    remover = NuisanceRemover().fit(rows, nuisance=table)
    erased = remover.transform(rows)
    assert [row["name"] for row in remover.scores_] == ["speaker", "amount"]
    assert np.abs(np.corrcoef(amount[:200] ** 2, erased[:200].T)[0, 1:]).max() < 0.05
    known = (CODES - CODES[41:].mean(axis=0))[41:]
    assert np.abs(known.T @ erased[41:]).max() / 240 < 0.02  # of noise; 0.2 before


@pytest.mark.filterwarnings("ignore:The tasks use")
def test_encoder_and_pipeline_erase_before_they_learn():
    encoder = SparseSpecialistEncoder(
        1, sparsity=0.0, input_noise=0.0, max_epochs=1, hidden_layer_sizes=(4,), random_state=0
    )
    encoder.fit(X, Y, nuisance=SPEAKER)
    by_hand = NuisanceRemover().fit(X, SPEAKER)
    np.testing.assert_allclose(encoder.nuisance_remover_.projection_, by_hand.projection_)
    assert [row["name"] for row in encoder.nuisance_scores_] == ["task0", "task0"]
    plain = SparseSpecialistEncoder(**encoder.get_params()).fit(by_hand.transform(X), Y)
    np.testing.assert_allclose(
        plain.transform(by_hand.transform(X)), encoder.transform(X), atol=1e-4
    )

    pipeline = SpecialistRegressor(strategy="specialist", encoder=encoder, random_state=0)
    pipeline.fit(X, Y, nuisance=pd.Series(SPEAKER, name="speaker"))
    np.testing.assert_allclose(pipeline.predict(X), pipeline.predict(by_hand.transform(X)))
    assert "Nuisance 'speaker'" in str(pipeline.report())
    assert pipeline.fit(X, Y).nuisance_scores_ == []


def test_all_directions_may_be_taken():
    with pytest.warns(SpecialistWarning, match="nothing is left"):
        remover = NuisanceRemover().fit(X[:, 0, :2], SPEAKER)
    assert np.ptp(remover.transform(X[:, 0, :2]), axis=0).max() < 1e-9


@pytest.mark.parametrize(
    ("estimator", "nuisance", "message"),
    [
        (SparseMultiTaskSelector(), SPEAKER, "NuisanceRemover first"),
        (NuisanceRemover(), SPEAKER[:9], "inconsistent numbers of samples"),
    ],
)
def test_errors(estimator, nuisance, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X[:, 0], Y, nuisance=nuisance)
