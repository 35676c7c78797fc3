"""Sequences and tasks in the forms in which users have them."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import (
    SparseSpecialistEncoder,
    SpecialistPipeline,
    TaskLocalizer,
    TaskStructureIdentifier,
    sequences_from_frame,
)
from skspecialist.exceptions import SpecialistWarning
from skspecialist.structure import check_assumptions

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6, 4))
Y = np.column_stack([X[:, 1, 0] + X[:, 1, 1] / 2, X[:, 4, 2]]) + 0.3 * RNG.normal(size=(120, 2))
LABELS = Y > 0
LENGTHS = 4 + np.arange(120) % 3


def new_pipeline(**params):
    return SpecialistPipeline(strategy="generalist", random_state=0, **params)


def new_encoder(**params):
    small = {"hidden_layer_sizes": (4,), "input_noise": 0.3, "max_epochs": 1, "random_state": 0}
    return SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, **small | params)


def new_localizer():
    return TaskLocalizer(2, cv=2, hidden_layer_sizes=(4,), max_epochs=2, random_state=0)


TENSORS = {
    "half": (torch.tensor(X).half(), X.astype(np.float16)),
    "bfloat16": (torch.tensor(X).bfloat16(), torch.tensor(X).bfloat16().float().numpy()),
    "requires grad": (torch.tensor(X, requires_grad=True), X),
}


@pytest.mark.parametrize("form", TENSORS)
def test_tensors_of_torch_are_read_as_arrays(form):
    tensor, plain = TENSORS[form]
    one, other = (new_pipeline().fit(x, Y).predict(x) for x in (tensor, plain))
    assert_array_equal(one, other)
    one, other = (TaskStructureIdentifier().fit(x, Y).pvalues_ for x in (tensor, plain))
    assert_array_equal(one, other)
    one, other = (new_encoder().fit(x[:, 1], Y).predict(x[:, 1]) for x in (tensor, plain))
    assert_array_equal(one, other)
    one, other = (new_localizer().fit(list(x), LABELS).thresholds_ for x in (tensor, plain))
    assert_array_equal(one, other)


def test_tasks_may_be_tensors_of_torch():
    plain = torch.tensor(Y).bfloat16().float().numpy()
    for y in (torch.tensor(Y).bfloat16(), torch.tensor(plain, requires_grad=True)):
        one, other = (new_pipeline().fit(X, tasks).predict(X) for tasks in (y, plain))
        assert_array_equal(one, other)


def test_a_device_of_torch_is_as_good_as_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", bool)  # False: "auto" is the CPU
    devices = "cpu", torch.device("cpu"), "auto"
    one, *others = (new_encoder(device=d).fit(X[:, 1], Y).predict(X[:, 1]) for d in devices)
    for other in others:
        assert_array_equal(one, other)
    new_localizer().set_params(device=torch.device("cpu")).fit(X, LABELS)


def test_masked_features_are_missing_steps():
    mask = RNG.random(X.shape) < 0.03
    masked, plain = np.ma.masked_array(X, mask), np.where(mask, np.nan, X)
    one, other = (TaskStructureIdentifier().fit(x, Y).pvalues_ for x in (masked, plain))
    assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"(?s)Input X contains NaN.*imputer.*unequal lengths"):
        new_encoder().fit(masked, Y)


def test_missing_steps_are_allowed_in_the_structure():
    missing = X.copy()
    missing[RNG.random(X.shape) < 0.03] = np.nan
    found = TaskStructureIdentifier().fit(missing, Y)
    assert 60 < found.n_sequences_.min() < 120


def test_an_imputer_in_front_of_the_pipeline_fills_flat_sequences():
    flat = X.reshape(120, -1).copy()
    flat[RNG.random(flat.shape) < 0.03] = np.nan
    filled = make_pipeline(SimpleImputer(), new_pipeline(n_timesteps=6)).fit(flat, Y)
    assert filled.predict(flat).shape == Y.shape


def test_lists_and_padded_arrays_of_unequal_lengths_are_the_same_to_the_localizer():
    ragged = [sequence[:length] for sequence, length in zip(X, LENGTHS, strict=True)]
    padded = np.where(np.arange(6)[:, None] < LENGTHS[:, None, None], X, np.nan)
    one, other = (new_localizer().fit(form, LABELS).thresholds_ for form in (ragged, padded))
    assert_array_equal(one, other)


def test_long_sequences_fit_into_the_memory_of_the_localizer():
    long = RNG.normal(size=(10, 5000, 2)).astype(np.float32)
    labels = np.arange(10) % 2 == 0
    localizer = new_localizer().set_params(max_epochs=1).fit(long, labels)
    assert localizer.contributions(long).shape == (10, 5000, 1)


TABLE = pd.DataFrame(Y, columns=["a", "b"])
MIXED = pd.DataFrame({"task0": Y[:, 0], "task1": LABELS[:, 1]})
MASK = Y > 1.5
# Forms of y beside the same values in an array or in a table.
FORMS = {
    "sparse": (csr_array(LABELS.astype(int)), LABELS.astype(int)),
    "sparse matrix": (csr_matrix(LABELS.astype(int)), LABELS.astype(int)),
    "dictionary": ({"a": Y[:, 0], "b": Y[:, 1]}, TABLE),
    "dictionary of columns": ({"a": TABLE["a"], "b": list(Y[:, 1])}, TABLE),
    "records": (TABLE.to_records(index=False), TABLE),
    "structured array": (np.array(list(map(tuple, Y)), dtype=[("a", "f8"), ("b", "f8")]), TABLE),
    "polars": (pl.DataFrame({"a": Y[:, 0], "b": Y[:, 1]}), TABLE),
    "list of one array per task": ([Y[:, 0], Y[:, 1]], Y),
    "list of one series per task": ([TABLE["a"], TABLE["b"]], TABLE),
    "list of arrays of two types": (
        [Y[:, 0], LABELS[:, 1]],
        MIXED,
    ),
    "list of tensors": (
        [torch.tensor(Y[:, 0]), torch.tensor(LABELS[:, 1])],
        MIXED,
    ),
    "decimals": (np.vectorize(Decimal)(Y), Y),
    "masked": (np.ma.masked_array(Y, MASK), np.where(MASK, np.nan, Y)),
    "masked labels": (
        np.ma.masked_array(LABELS.astype(int), MASK),
        np.where(MASK, None, LABELS.astype(int)),
    ),
}

if hasattr(np.dtypes, "StringDType"):  # numpy 2
    words = np.where(LABELS, "yes", "no")
    FORMS["strings of any length"] = words.astype(np.dtypes.StringDType()), words


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_tasks_is_the_same(form):
    given, plain = FORMS[form]
    structure = TaskStructureIdentifier(independence_test="wilks")
    one, other = (clone(structure).fit(X, y) for y in (given, plain))
    assert_array_equal(one.pvalues_, other.pvalues_)
    assert one.task_names_ == other.task_names_
    assert one.score(X, given) == other.score(X, plain)


@pytest.mark.parametrize(
    "form", ["sparse", "dictionary", "structured array", "polars", "list of one array per task"]
)
def test_every_form_of_tasks_is_the_same_in_the_pipeline(form):
    given, plain = FORMS[form]
    one, other = (new_pipeline().fit(X, y) for y in (given, plain))
    assert_array_equal(one.predict(X), other.predict(X))
    assert one.score(X, given) == other.score(X, plain)


ESTIMATORS = {
    "structure": lambda: TaskStructureIdentifier(n_timesteps=6),
    "encoder": new_encoder,
    "localizer": lambda: new_localizer().set_params(n_timesteps=6),
    "pipeline": lambda: new_pipeline(n_timesteps=6),
}


def test_columns_of_one_name_are_refused_by_name():
    table = pd.DataFrame(X[:, 1], columns=list("abca"))
    with pytest.raises(ValueError, match="X must have columns of different names"):
        new_encoder().fit(table, Y)


def test_tiny_weights_are_equal_to_others():
    weights = RNG.uniform(size=120)
    one, other = (
        TaskStructureIdentifier().fit(X, Y, sample_weight=scale * weights).pvalues_
        for scale in (1, 1e-300)
    )
    assert_allclose(one, other)


def test_a_square_list_of_arrays_is_refused_by_name():
    with pytest.raises(ValueError, match=r"y is a list of 6 arrays of 6 values.*rows or tasks"):
        TaskStructureIdentifier().fit(X[:6], list(RNG.normal(size=(6, 6))))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_tables_in_another_order_are_refused(name):
    flat, shuffled = pd.DataFrame(X.reshape(120, -1)).add_prefix("x"), RNG.permutation(120)
    names = pd.DataFrame(LABELS, columns=["a", "b"])
    fitted = ESTIMATORS[name]().fit(flat, names)
    for y in (names.loc[shuffled], names["a"].loc[shuffled], {"a": names["a"].loc[shuffled]}):
        with pytest.raises(ValueError, match=r"y has the index of X in another order"):
            ESTIMATORS[name]().fit(flat, y)
    with pytest.raises(ValueError, match=r"y has the index of X in another order"):
        fitted.score(flat, names.loc[shuffled])
    weights = pd.Series(np.ones(120)).loc[shuffled]
    with pytest.raises(ValueError, match=r"sample_weight has the index of X in another order"):
        ESTIMATORS[name]().fit(flat, names, sample_weight=weights)
    # Without labels in common rows are matched by position.
    ESTIMATORS[name]().fit(flat, names.set_index(np.arange(120) + 120.5))


def test_tables_of_pyarrow_keep_names_and_kinds():
    pa = pytest.importorskip("pyarrow")
    labels = [None if i % 7 == 0 else int(label) for i, label in enumerate(LABELS[:, 1])]
    table = pa.table({"speed": Y[:, 0], "won": labels})
    plain = pd.DataFrame({"speed": Y[:, 0], "won": pd.Series(labels, dtype=object)})
    one, other = (TaskStructureIdentifier().fit(X, y) for y in (table, plain))
    assert_array_equal(one.pvalues_, other.pvalues_)
    assert one.task_names_ == ["speed", "won"]
    for new in ESTIMATORS.values():
        one, other = (new().fit(X, y) for y in (table, plain))
        assert_array_equal(
            one.step_weights(X) if hasattr(one, "step_weights") else one.predict(X),
            other.step_weights(X) if hasattr(other, "step_weights") else other.predict(X),
        )


def test_a_table_of_tasks_keeps_their_names_and_kinds():
    tasks = pd.DataFrame({"speed": Y[:, 0], "won": LABELS[:, 1].astype(int)})
    rows = pd.DataFrame(X.reshape(120, -1), index=range(7, 127))
    fitted = new_pipeline(n_timesteps=X.shape[1]).fit(rows, tasks)
    predicted = fitted.predict(rows)
    assert predicted.dtypes.equals(tasks.dtypes)
    assert predicted.index.equals(rows.index)
    assert accuracy_score(tasks["won"], predicted["won"]) > 0.5
    assert fitted.add_task(rows, tasks["won"].rename("again")).predict(rows).columns[-1] == "again"


def test_a_generalist_with_names_of_its_own_is_kept_in_the_pipeline():
    pipeline = new_pipeline(generalist=PCA(2)).fit(X, Y)
    assert pipeline.predict(X).shape == Y.shape


TIMES = np.arange(8) + 0.3 * np.random.default_rng(1).random((20, 8))
LONG = pd.DataFrame(
    {
        "person": np.repeat(np.arange(20), 8),
        "time": TIMES.ravel(),
        "pulse": RNG.normal(size=160),
    }
).sample(frac=1, random_state=0)


def test_irregular_times_warn_and_are_aligned_by_order_or_in_intervals():
    expected = LONG.sort_values(["person", "time"])["pulse"].to_numpy().reshape(20, 8, 1)
    with pytest.warns(SpecialistWarning, match=r"time has 160 different values.*use align='order'"):
        data = sequences_from_frame(LONG, sequence="person", step="time")
    assert data.X.shape == (20, 160, 1)
    for align in ("order", 8):
        data = sequences_from_frame(LONG, sequence="person", step="time", align=align)
        assert data.X.shape == (20, 8, 1)
    data = sequences_from_frame(LONG, sequence="person", step="time", align="order")
    assert_array_equal(data.X, expected)
    assert_array_equal(data.steps, np.arange(8))
    halves = sequences_from_frame(LONG, sequence="person", step="time", align=2)
    middle = (TIMES.min() + TIMES.max()) / 2
    for person in range(20):
        late = TIMES[person] >= middle
        means = [expected[person, ~late].mean(), expected[person, late].mean()]
        assert halves.X[person, :, 0] == pytest.approx(means)
    assert halves.steps == pytest.approx([TIMES.min(), middle])


def test_dates_are_divided_into_intervals():
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(LONG["time"], unit="D")
    dated = LONG.assign(time=days)
    data = sequences_from_frame(dated, sequence="person", step="time", align=4)
    expected = sequences_from_frame(LONG, sequence="person", step="time", align=4)
    assert_array_equal(data.X, expected.X)
    assert data.steps[0] == days.min()


def test_levels_of_an_index_are_columns_of_a_frame():
    indexed = LONG.set_index(["person", "time"])
    one, other = (
        sequences_from_frame(frame, sequence="person", step="time", align="order")
        for frame in (indexed, LONG)
    )
    assert_array_equal(one.X, other.X)
    assert one.features == ["pulse"]


RAGGED = [sequence[:length] for sequence, length in zip(X, LENGTHS, strict=True)]
PADDED = np.where(np.arange(6)[:, None] < LENGTHS[:, None, None], X, np.nan)
GAPS = np.where(np.random.default_rng(2).random(X.shape) < 0.03, np.nan, X)


@pytest.mark.parametrize("structure", ["localizer", "default"])
def test_a_pipeline_takes_sequences_of_unequal_lengths(structure):
    structure = new_localizer().set_params(max_epochs=20) if structure == "localizer" else None
    pipeline = SpecialistPipeline(
        structure=structure,
        encoder=new_encoder(input_noise=0.3),
        strategy="specialist",
        random_state=0,
    )
    one, other = (clone(pipeline).fit(form, LABELS) for form in (RAGGED, PADDED))
    assert_array_equal(one.predict(RAGGED), other.predict(PADDED))
    # A sequence is predicted alike whatever the lengths of those beside it.
    assert_array_equal(one.predict(RAGGED[:1]), one.predict(RAGGED)[:1])
    assert one.predict([X[0][:2]]).shape == (1, 2)
    with pytest.raises(ValueError, match="X has a sequence of 9 steps, but the longest of fit"):
        one.predict([np.zeros((9, 4))])
    with pytest.raises(ValueError, match="X contains NaN, before the end of a sequence"):
        one.predict(np.full((1, 6, 4), np.nan))


def test_a_warning_about_few_complete_sequences_names_the_localizer():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 3, 2)), rng.normal(size=80)
    X[:40, 2] = np.nan
    with pytest.warns(SpecialistWarning, match=r"Steps are missing.*use TaskLocalizer"):
        TaskStructureIdentifier().fit(X, y)


def test_a_generalist_may_fill_in_what_is_missing():
    imputer = make_pipeline(SimpleImputer(), StandardScaler())
    pipeline = SpecialistPipeline(
        imputer, encoder=new_encoder(input_noise=0.3), strategy="specialist", random_state=0
    )
    fitted = clone(pipeline).fit(GAPS, Y)
    filled = fitted.generalist_.transform(GAPS.reshape(-1, 4)).reshape(GAPS.shape)
    plain = clone(pipeline).set_params(generalist=None).fit(filled, Y)
    assert_array_equal(fitted.predict(GAPS), plain.predict(filled))
    shorter = [sequence[:length] for sequence, length in zip(GAPS, LENGTHS, strict=True)]
    assert clone(pipeline).fit(shorter, Y).predict(shorter).shape == Y.shape


def test_an_estimator_that_supports_missing_values_reads_them():
    trees = HistGradientBoostingRegressor(max_iter=5, random_state=0)
    fitted = new_pipeline(estimator=trees).fit(GAPS, Y)
    expected = clone(trees).fit(GAPS.reshape(120, -1), Y[:, 0]).predict(GAPS.reshape(120, -1))
    assert_array_equal(fitted.predict(GAPS)[:, 0], expected)
    with pytest.raises(ValueError, match=r"X contains NaN.*imputer as generalist"):
        new_pipeline().fit(GAPS, Y)


def test_rows_of_two_index_levels_are_the_steps_of_sequences():
    rng = np.random.default_rng(0)
    sequences = rng.normal(size=(50, 3, 2))
    y = sequences[:, 1, 0] + 0.2 * rng.normal(size=50)
    index = pd.MultiIndex.from_product([range(50), ["a", "b", "c"]], names=["visit", "step"])
    table = pd.DataFrame(sequences.reshape(-1, 2), index=index, columns=["u", "v"])
    table = table.sample(frac=1, random_state=0)
    for estimator in (TaskStructureIdentifier(), new_localizer(), new_pipeline()):
        one, other = clone(estimator).fit(table, y), clone(estimator).fit(sequences, y)
        method = "step_weights" if hasattr(one, "step_weights") else "predict"
        assert_array_equal(getattr(one, method)(table), getattr(other, method)(sequences))
    # A row less is a missing step.
    sequences[7, 2] = np.nan
    rows = table.drop((7, "c"))
    one, other = (TaskStructureIdentifier().fit(X, y).pvalues_ for X in (rows, sequences))
    assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"several rows with the same index"):
        TaskStructureIdentifier().fit(pd.concat([table, table]), y)


def test_rows_of_tables_are_steps_to_the_encoder():
    steps = X[:, 1]
    index = pd.MultiIndex.from_product([range(60), ["a", "b"]])
    plain = new_encoder().fit(steps, Y).mask_
    for table in (pd.DataFrame(steps), pd.DataFrame(steps, index=index), pl.DataFrame(steps)):
        table.columns = list("abcd")
        assert_array_equal(new_encoder().fit(table, Y).mask_, plain)


def test_lists_of_unequal_lengths_are_refused_by_name():
    with pytest.raises(ValueError, match=r"X must be an array.*Pad shorter ones with NaN"):
        new_encoder().fit(RAGGED, Y)


def test_lists_and_padded_arrays_of_unequal_lengths_are_the_same_to_the_structure():
    one, other = (TaskStructureIdentifier().fit(form, Y) for form in (RAGGED, PADDED))
    assert_array_equal(one.pvalues_, other.pvalues_)
    assert_array_equal(one.transform(RAGGED), other.transform(PADDED))
    assert one.score(RAGGED, Y) == other.score(PADDED, Y)
    one, other = (check_assumptions(form, Y) for form in (RAGGED, PADDED))
    assert_array_equal(one["pvalue"], other["pvalue"])
    with pytest.raises(ValueError, match="7 steps, but the longest of fit had 6"):
        TaskStructureIdentifier().fit(RAGGED, Y).transform([np.zeros((7, 4))])


def test_explanations_by_columns_have_the_names_of_tables_of_steps():
    tables = [pd.DataFrame(sequence, columns=list("abcd")) for sequence in X]
    fitted = new_pipeline().fit(tables, Y)
    stacked = pd.concat(tables[:5], keys=range(5))
    for form in (tables[:5], stacked):
        assert fitted.explain(form, by="columns", n_permutations=1).part_names == list("abcd")


def test_a_parameter_of_a_part_that_is_none_is_named():
    search = GridSearchCV(new_pipeline(structure=None), {"structure__alpha": [0.1, 0.2]}, cv=2)
    with pytest.raises(ValueError, match=r"structure__alpha .* structure, which is None: set"):
        search.fit(X, Y)
    with pytest.raises(ValueError, match=r"criterion__aggregation .* which is 'auto'"):
        TaskStructureIdentifier().set_params(criterion__aggregation="any")
    new_pipeline().set_params(structure=TaskStructureIdentifier(), structure__alpha=0.1)


def test_a_missing_step_is_left_out_by_the_localizer():
    rng = np.random.default_rng(0)
    sequences = rng.normal(size=(30, 4, 2))
    y = sequences[:, 1, 0]
    gap, without = sequences.copy(), list(sequences)
    gap[3, 2] = np.nan
    without[3] = np.delete(sequences[3], 2, axis=0)
    localizer = new_localizer()
    found = clone(localizer).fit(gap, y).contributions(gap)
    expected = clone(localizer).fit(without, y).contributions(without)
    assert np.isnan(found[3, 2]).all()
    assert_allclose(np.delete(found[3], 2, axis=0), expected[3])
    of_list = clone(localizer).fit(list(gap), y).contributions(list(gap))
    assert_array_equal(np.stack(of_list), found)


@pytest.mark.parametrize("conditional", [False, True])
def test_a_missing_value_is_the_mean_of_its_feature_in_the_localizer(conditional):
    localizer = new_localizer().set_params(conditional=conditional)
    fitted = clone(localizer).fit(GAPS, LABELS)
    scores = fitted.contributions(GAPS)
    assert np.isfinite(scores).all()
    if not conditional:
        filled = np.where(np.isnan(GAPS), np.nanmean(GAPS, axis=(0, 1)), GAPS)
        assert_allclose(fitted.contributions(filled), scores)
    flat = clone(localizer).set_params(n_timesteps=6).fit(GAPS.reshape(120, -1), LABELS)
    assert_array_equal(flat.thresholds_, fitted.thresholds_)
    assert_array_equal(flat.contributions(GAPS.reshape(120, -1)), scores)
