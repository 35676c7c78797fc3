"""Warnings name the line of the caller, through every layer of the library."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import (
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
    TaskLocalizer,
    TaskStructureIdentifier,
)
from skspecialist.exceptions import SpecialistWarning
from skspecialist.independence import KCI

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4, 2))
Y = X[:, 1] + 0.3 * RNG.normal(size=(60, 2))
LABELS = (Y > 0).astype(int)
NOISE = RNG.normal(size=(60, 2))
SMALL = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}

few = X.copy()
few[20:, 3] = np.nan
localizer = TaskLocalizer(2, cv=2, alpha=0.01, **SMALL)
generalist = SpecialistPipeline(estimator=Ridge(), strategy="generalist")

CALLS = {
    "steps of few sequences": lambda: TaskStructureIdentifier().fit(few, Y),
    "no tasks under selection": lambda: TaskStructureIdentifier(n_subsamples=0).fit(X),
    "no pair of segments": lambda: TaskStructureIdentifier(4, criterion="collider").fit(X, Y),
    "empty structure": lambda: TaskStructureIdentifier().fit(X, NOISE).transform(X),
    "empty support": lambda: SparseSpecialistEncoder(2, **SMALL).fit(X, NOISE),
    "empty support, cross-validated": lambda: SparseSpecialistEncoderCV(2, cv=2, **SMALL).fit(
        X, NOISE
    ),
    "nothing to localize": lambda: clone(localizer).set_params(sparsity=100.0).fit(X, NOISE > 0),
    "infinite thresholds": lambda: localizer.fit(X, NOISE > 0).predict(X),
    "a regressor of labels": lambda: generalist.fit(X, LABELS),
    "inside a pipeline": lambda: make_pipeline(StandardScaler(), generalist).fit(X[:, 0], LABELS),
    "inside cross-validation": lambda: cross_val_score(generalist, X, LABELS, cv=2),
    "slow tests": lambda: KCI(max_samples=10**6)._check_size(5000, 100),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_file_of_the_caller_is_named(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[name]()
    ours = [warning for warning in caught if issubclass(warning.category, SpecialistWarning)]
    assert ours, name
    assert {warning.filename for warning in ours} == {__file__}
