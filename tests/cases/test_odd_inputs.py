"""Inputs in every form, drawn at random: each fits or is refused, and the form changes nothing."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from skspecialist import (
    FeatureGroupRanker,
    SparseMultiTaskSelector,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistClassifier,
    SpecialistPipeline,
    SpecialistRegressor,
    TaskLocalizer,
    TaskStructureIdentifier,
)

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

SMALL = {"max_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0}
ARGUMENTS = re.compile(r"\b(X|y|groups|sample_weight)\b")

# ------------------------------------------------------------------ estimators and their answers


def structure(n_timesteps):
    return TaskStructureIdentifier(n_timesteps=n_timesteps)


def encoder(n_timesteps):
    return SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, **SMALL)


def selector(n_timesteps):
    return SparseMultiTaskSelector(max_epochs=1, random_state=0)


def encoder_cv(n_timesteps):
    return SparseSpecialistEncoderCV(2, cv=2, **SMALL)


def ranker(n_timesteps):
    return FeatureGroupRanker(1, n_groups=1, cv=3, random_state=0)


def localizer(n_timesteps):
    return TaskLocalizer(2, cv=2, n_timesteps=n_timesteps, **SMALL)


def pipeline(n_timesteps):
    return SpecialistPipeline(strategy="generalist", n_timesteps=n_timesteps, random_state=0)


def classifier(n_timesteps):
    return SpecialistClassifier(strategy="generalist", n_timesteps=n_timesteps, random_state=0)


def regressor(n_timesteps):
    return SpecialistRegressor(strategy="generalist", n_timesteps=n_timesteps, random_state=0)


# What a fit found, as numbers.
ANSWERS = {
    structure: lambda fitted, X: fitted.pvalues_,
    encoder: lambda fitted, X: fitted.mask_,
    selector: lambda fitted, X: fitted.mask_,
    encoder_cv: lambda fitted, X: fitted.mask_,
    ranker: lambda fitted, X: fitted.scores_,
    localizer: lambda fitted, X: fitted.contributions(X),
    pipeline: lambda fitted, X: numbered(fitted.predict(X)),
    classifier: lambda fitted, X: numbered(fitted.predict(X)),
    regressor: lambda fitted, X: numbered(fitted.predict(X)),
}
OF_STEPS = (encoder, selector, encoder_cv, ranker)  # which read rows as steps


def numbered(values):
    """Return amounts as they are, and labels as numbers."""
    columns = pd.DataFrame(values).astype(object)
    codes = columns.map(lambda v: v if isinstance(v, float) else float(hash(str(v)) % 1000))
    return codes.to_numpy(dtype=float)


# ------------------------------------------------------------------ forms of sequences

ANY_FORM = {
    "array": lambda X: X,
    "Fortran order": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "nested lists": lambda X: X.tolist(),
    "masked": lambda X: np.ma.masked_invalid(X),
    "tensor": torch.tensor,
    "tensor with gradient": lambda X: torch.tensor(X.astype(float), requires_grad=True),
    "objects": lambda X: X.astype(object),
    "list of arrays": list,
    "list of tensors": lambda X: [torch.tensor(part) for part in X],
}
FLAT_FORMS = {
    "flat": lambda X: X.reshape(len(X), -1),
    "pandas": lambda X: pd.DataFrame(X.reshape(len(X), -1)).add_prefix("x"),
    "pandas of two levels": lambda X: pd.DataFrame(
        X.reshape(len(X), -1), index=pd.MultiIndex.from_arrays([np.arange(len(X))] * 2)
    ).add_prefix("x"),
    "polars": lambda X: pl.DataFrame(
        X.reshape(len(X), -1), schema=[f"x{j}" for j in range(X[0].size)]
    ),
}
DTYPES = ["float64", "float32", "float16", "int64", "int8", "bool"]

# ------------------------------------------------------------------ forms of tasks

KINDS = {
    "amount": lambda z: z,
    "single precision": lambda z: z.astype(np.float32),
    "integers": lambda z: (z > 0).astype(int),
    "booleans": lambda z: z > 0,
    "strings": lambda z: np.where(z > 0, "high", "low"),
    "three classes": lambda z: np.digitize(z, [-0.5, 0.5]),
    "counts": lambda z: np.abs(10 * z).astype(int),
    "one value": lambda z: np.zeros_like(z),
    "one class": lambda z: np.full(z.shape, "only"),
}
Y_FORMS = {
    "array": lambda Y: Y,
    "lists": lambda Y: Y.tolist(),
    "objects": lambda Y: Y.astype(object),
    "table": pd.DataFrame,
    "polars": lambda Y: pl.DataFrame(Y, schema=[f"task{j}" for j in range(Y.shape[1])]),
    "dictionary": lambda Y: {f"task{j}": column for j, column in enumerate(Y.T)},
    "records": lambda Y: pd.DataFrame(Y).add_prefix("task").to_records(index=False),
    "first column": lambda Y: Y[:, 0],
    "series": lambda Y: pd.Series(Y[:, 0]),
    "masked": np.ma.masked_array,
    "list of columns": lambda Y: list(Y.T),
}
NUMERIC_Y_FORMS = {"sparse": csr_array, "tensor": torch.tensor}


@st.composite
def inputs(draw):
    """Draw an estimator, X and y in some form, and the same values in plain arrays."""
    new = draw(st.sampled_from(list(ANSWERS)))
    n, T, d, k = (draw(st.integers(*ends)) for ends in ((12, 40), (1, 4), (1, 3), (1, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    # Few bits, so that every type has the same values.
    X = np.round(4 * rng.normal(size=(n, T, d))).clip(-100, 100) / 4
    dtype = draw(st.sampled_from(DTYPES))
    X = (X > 0 if dtype == "bool" else np.round(4 * X) if "int" in dtype else X).astype(dtype)
    gaps = draw(st.sampled_from(["none", "none", "one", "end"]))
    if X.dtype.kind == "f" and gaps != "none":
        X[rng.integers(n), -1 if gaps == "end" else 0] = np.nan
    forms = ANY_FORM if new in OF_STEPS else ANY_FORM | FLAT_FORMS
    form = draw(st.sampled_from(list(forms)))
    Z = rng.normal(size=(n, k))
    y = KINDS[draw(st.sampled_from(list(KINDS)))](Z)
    y_forms = Y_FORMS | NUMERIC_Y_FORMS if y.dtype.kind in "iufb" else Y_FORMS
    missing = draw(st.sampled_from(["none", "none", "some", "all of one", "all"]))
    if missing != "none":
        absent = rng.random(y.shape) < 0.3
        absent[:, :1] |= missing == "all of one"
        absent |= missing == "all"
        empty = np.nan if y.dtype.kind == "f" else None
        y = np.where(absent, empty, y.astype(float if empty is np.nan else object))
        y_forms = {name: y_forms[name] for name in Y_FORMS if name not in ("masked",)}
    if new not in (structure, localizer) and (form.startswith("list of") or form in FLAT_FORMS):
        # NaN after the end of a sequence is a form of arrays of three dimensions.
        X = np.nan_to_num(X)
    y_form = draw(st.sampled_from(list(y_forms)))
    plain_y = y[:, 0] if y_form in ("first column", "series") else y
    plain_X = X.astype(float) if X.dtype != np.float32 or "gradient" in form else X
    if form in ("nested lists", "objects"):
        plain_X = X.astype(float)
    if draw(st.sampled_from([False] * 7 + [True])):
        y, plain_y = y[:-1], plain_y[:-1]
    flat = form in FLAT_FORMS
    return new, (forms[form](X), y_forms[y_form](y), T if flat else None), (plain_X, plain_y)


def outcome(new, X, y, n_timesteps=None):
    """Return a fitted estimator, or the error of a refusal."""
    try:
        return new(n_timesteps).fit(X, y)
    except (ValueError, TypeError) as error:
        return error


def check(drawn):
    new, odd, plain = drawn
    found, expected = outcome(new, *odd), outcome(new, *plain)
    if isinstance(found, Exception):
        assert ARGUMENTS.search(str(found)), repr(found)
        # What is refused in a plain array may have any form, and no form is refused alone.
        assert isinstance(expected, Exception), f"{found!r} of {odd}"
        return
    assert not isinstance(expected, Exception), f"{expected!r}, but not for {odd}"
    pairs = (found, odd[0]), (expected, plain[0])
    one, other = (np.asarray(ANSWERS[new](*pair), dtype=float) for pair in pairs)
    assert_allclose(one, other.reshape(one.shape), rtol=1e-4, atol=1e-5)


OPTIONS = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=15, **OPTIONS)
@given(inputs())
def test_odd_inputs_fit_as_plain_arrays_do_or_are_refused_by_name(drawn):
    check(drawn)


@pytest.mark.slow
@settings(max_examples=300, **OPTIONS)
@given(inputs())
def test_three_hundred_odd_inputs(drawn):
    check(drawn)
