"""Laws that hold for any shape, scale, layout, type and order of the input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist import (
    SparseSpecialistEncoder,
    SpecialistPipeline,
    TaskStructureIdentifier,
    sequences_from_frame,
)
from skspecialist.independence import GCM, FisherZ, Wilks
from skspecialist.independence._moments import Moments

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

few = settings(max_examples=6, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)
criteria = st.sampled_from(["direct", "collider"])
exponents = st.integers(-8, 8)


def draw_sequences(seed, n_sequences=60, n_timesteps=5, n_features=2, n_tasks=2):
    """Return sequences, and tasks that depend on their second step."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_sequences, n_timesteps, n_features))
    weights = rng.normal(size=(n_features, n_tasks))
    return X, X[:, 1] @ weights + 0.5 * rng.normal(size=(n_sequences, n_tasks))


def identify(X, y, **params):
    return TaskStructureIdentifier(1, **params).fit(X, y)


def assert_same_answer(found, expected, rtol=1e-6):
    assert_allclose(found.pvalues_, expected.pvalues_, rtol=rtol, atol=1e-12)
    assert_allclose(found.effect_sizes_, expected.effect_sizes_, rtol=rtol, atol=1e-7)
    assert_array_equal(found.structure_, expected.structure_)


# ------------------------------------------------------------------ shapes, scales, types


@few
@given(
    seed=seeds,
    n_timesteps=st.integers(1, 9),
    n_features=st.integers(1, 3),
    n_tasks=st.integers(1, 3),
    segment_length=st.integers(1, 3),
    segment_steps=st.sampled_from(["interior", "all", "last"]),
    criterion=criteria,
)
def test_any_shape_has_an_answer_in_bounds(
    seed, n_timesteps, n_features, n_tasks, segment_length, segment_steps, criterion
):
    X, y = draw_sequences(seed, 40, max(n_timesteps, 2), n_features, n_tasks)
    length = min(segment_length, X.shape[1])
    found = TaskStructureIdentifier(length, segment_steps=segment_steps, criterion=criterion).fit(
        X, y
    )
    shape = (-(-X.shape[1] // length), n_tasks)
    assert found.structure_.shape == found.pvalues_.shape == shape
    assert ((found.pvalues_ >= 0) & (found.pvalues_ <= found.adjusted_pvalues_)).all()
    assert (found.adjusted_pvalues_ <= 1).all()
    assert (np.abs(found.effect_sizes_) <= 1).all()
    assert np.isfinite(found.score(X, y))
    flat = TaskStructureIdentifier(
        length, segment_steps=segment_steps, criterion=criterion, n_timesteps=X.shape[1]
    ).fit(X.reshape(40, -1), y)
    assert_array_equal(flat.pvalues_, found.pvalues_)


@few
@given(
    seed=seeds,
    criterion=criteria,
    scales=st.lists(exponents, min_size=12, max_size=12),
    offsets=st.lists(st.integers(-100, 100), min_size=12, max_size=12),
)
def test_units_of_features_and_tasks_do_not_matter(seed, criterion, scales, offsets):
    X, y = draw_sequences(seed)
    scale, offset = 10.0 ** np.array(scales), np.array(offsets)
    moved = scale[:10].reshape(5, 2) * (X + offset[:10].reshape(5, 2))
    found = identify(moved, scale[10:] * (y + offset[10:]), criterion=criterion)
    assert_same_answer(found, identify(X, y, criterion=criterion))


@few
@given(seed=seeds, dtype=st.sampled_from(["f4", "f2", "i8", "i2", "u1", ">f8", "?"]))
def test_other_dtypes_give_the_answer_of_their_values(seed, dtype):
    X, y = draw_sequences(seed)
    X = X > 0 if dtype == "?" else (20 * X + 100).clip(0, 255)
    X = X.astype(dtype)
    assert_same_answer(identify(X, y), identify(X.astype(float), y))


@few
@given(seed=seeds)
def test_float32_tasks_give_the_answer_of_their_values(seed):
    X, y = draw_sequences(seed)
    y = y.astype(np.float32)
    assert_same_answer(identify(X, y), identify(X, y.astype(float)))


def memory_map(array, folder):
    path = folder / f"{array.ndim}d.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "negative strides": lambda a: a[::-1].copy()[::-1],
    "every other row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "part of a wider array": lambda a: np.concatenate([a, a], axis=-1)[..., : a.shape[-1]],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "read-only": read_only,
    "lists": lambda a: a.tolist(),
    "objects": lambda a: a.astype(object),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "broadcast view": lambda a: np.broadcast_to(a, (1, *a.shape))[0],
}


def small_encoder():
    """Return an encoder that fits in a moment."""
    return SparseSpecialistEncoder(
        2,
        n_relevant=1,
        sparsity=0,
        heads="linear",
        hidden_layer_sizes=(4,),
        max_epochs=2,
        random_state=0,
    )


def answers(X, y):
    """Yield numbers of everything that reads arrays."""
    yield identify(X, y).pvalues_
    yield identify(X, y, criterion="collider").pvalues_
    yield SpecialistPipeline(strategy="generalist").fit(X, y).predict(X)
    encoder = small_encoder().fit(X, y)
    yield encoder.transform(X)
    yield encoder.predict(X)


@pytest.fixture(scope="module")
def example():
    X, y = draw_sequences(0, 40)
    return X, y, list(answers(X, y))


@pytest.mark.parametrize("name", [*LAYOUTS, "memory map"])
def test_layout_in_memory_does_not_matter(name, example, tmp_path):
    X, y, expected = example
    kept = X.copy(), y.copy()
    layout = LAYOUTS.get(name, lambda a: memory_map(a, tmp_path))
    moved = layout(X), layout(y)
    for found, value in zip(answers(*moved), expected, strict=True):
        assert_allclose(np.asarray(found, dtype=float), value, rtol=1e-6, atol=1e-9)
    for before, now, given_ in zip(kept, (X, y), moved, strict=True):
        assert_array_equal(now, before)
        assert_array_equal(np.asarray(given_, dtype=float), before)


@pytest.mark.parametrize("exponent", [-26, 3, 26])
def test_units_do_not_matter_to_the_encoder(exponent):
    X, y = draw_sequences(2, 40)
    encoder = small_encoder()
    expected, mask = encoder.fit(X, y).transform(X), encoder.mask_
    scale = 2.0**exponent  # exact in binary
    found = encoder.fit(scale * X, y / scale)
    assert_allclose(found.transform(scale * X), expected, rtol=1e-5, atol=1e-7)
    assert_allclose(found.mask_, mask, rtol=1e-5)


# ------------------------------------------------------------------ missing steps


@few
@given(seed=seeds, n_lost=st.integers(1, 20))
def test_sequences_without_any_step_do_not_count(seed, n_lost):
    X, y = draw_sequences(seed)
    lost = np.full((n_lost, 5, 2), np.nan)
    extended = identify(np.vstack([X, lost]), np.vstack([y, y[:n_lost]]), conditioning="band")
    assert_same_answer(extended, identify(X, y, conditioning="band"))


@few
@given(seed=seeds, share=st.floats(0.0, 0.3))
def test_missing_steps_leave_answers_in_bounds(seed, share):
    X, y = draw_sequences(seed)
    X[np.random.default_rng(seed).uniform(size=X.shape[:2]) < share] = np.nan
    found = identify(X, y)
    assert ((found.pvalues_ >= 0) & (found.pvalues_ <= 1)).all()
    assert (found.n_sequences_ <= 60).all()
    assert np.isfinite(found.score(X, y))
    kept = found.transform(X)
    assert_array_equal(np.isnan(kept), np.isnan(X)[:, found.support_])


# ------------------------------------------------------------------ labels and tables

LABELS = {
    "integers": lambda y: y,
    "negative integers": lambda y: 3 * y - 7,
    "booleans": lambda y: y == 1,
    "strings": lambda y: np.array(["no", "yes"])[y],
    "objects": lambda y: np.array(["no", "yes"], dtype=object)[y],
    "lists": lambda y: y.tolist(),
    "unsigned": lambda y: y.astype(np.uint8),
    "pandas": pd.Series,
    "pandas strings": lambda y: pd.Series(np.array(["no", "yes"])[y], dtype="string"),
    "pandas categories": lambda y: pd.Series(np.array(["no", "yes"])[y], dtype="category"),
    "pandas nullable": lambda y: pd.Series(y, dtype="Int64"),
    "pandas with an index": lambda y: pd.Series(y, index=np.arange(len(y))[::-1]),
    "polars": pl.Series,
    "polars strings": lambda y: pl.Series(np.array(["no", "yes"])[y].tolist()),
    "polars categories": lambda y: pl.Series(
        np.array(["no", "yes"])[y].tolist(), dtype=pl.Categorical
    ),
    "dates": lambda y: np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")[y],
}


@pytest.fixture(scope="module")
def of_codes():
    """Return sequences, codes of classes, and estimators that are fitted to them."""
    X, y = draw_sequences(0)
    codes = (y[:, 0] > 0).astype(int)
    return X, codes, identify(X, codes), SpecialistPipeline(strategy="generalist").fit(X, codes)


@pytest.mark.parametrize("name", LABELS)
def test_type_of_labels_does_not_matter(name, of_codes):
    X, codes, expected, reference = of_codes
    labels = LABELS[name](codes)
    found = identify(X, labels)
    assert_same_answer(found, expected)
    assert found.score(X, labels) == pytest.approx(expected.score(X, codes))
    predicted = SpecialistPipeline(strategy="generalist").fit(X, labels)
    values = np.unique(np.asarray(labels))
    assert_array_equal(predicted.predict(X), values[reference.predict(X)])
    assert predicted.score(X, labels) == pytest.approx(reference.score(X, codes))


@few
@given(seed=seeds, library=st.sampled_from(["pandas", "polars"]))
def test_tables_give_the_answer_of_arrays(seed, library):
    X, y = draw_sequences(seed)
    new = pd.DataFrame if library == "pandas" else pl.DataFrame
    names = [f"t{t}_{feature}" for t in range(5) for feature in "ab"]
    table = new(dict(zip(names, X.reshape(60, -1).T, strict=True)))
    label = (y[:, 1] > 0).astype(int)
    tasks = new({"reward": y[:, 0], "won": label})
    found = identify(table, tasks, n_timesteps=5, alpha=0.9)
    assert found.task_names_ == ["reward", "won"]
    assert_array_equal(found.feature_names_in_, names)
    for task, values in enumerate([y[:, 0], label]):
        alone = identify(X, values)
        assert_allclose(found.pvalues_[:, task], alone.pvalues_[:, 0], rtol=1e-6, atol=1e-12)
    assert_array_equal(found.transform(table), X[:, found.support_].reshape(60, -1))
    kept = found.set_output(transform=library).transform(table)
    assert isinstance(kept, new)
    assert list(kept.columns) == list(found.get_feature_names_out())
    for name in kept.columns:
        assert_array_equal(kept[name], table[name])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_latents_have_names_in_tables(library):
    X, y = draw_sequences(1)
    table = (pd if library == "pandas" else pl).DataFrame(
        {"speed": X[:, 1, 0], "angle": X[:, 1, 1]}
    )
    encoder = small_encoder().fit(table, y)
    expected = encoder.transform(table)
    latents = encoder.set_output(transform=library).transform(table)
    assert list(latents.columns) == [
        f"sparsespecialistencoder{j}" for j in range(expected.shape[1])
    ]
    assert_array_equal(np.asarray(latents), expected)


@few
@given(seed=seeds, n_sequences=st.integers(1, 6), library=st.sampled_from([pd, pl]))
def test_ragged_tables_become_the_sequences_they_came_from(seed, n_sequences, library):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_sequences, 4, 2))
    for sequence, length in zip(X, rng.integers(1, 5, n_sequences), strict=True):
        sequence[length:] = np.nan
    rows = rng.permutation(np.argwhere(~np.isnan(X[:, :, 0])))
    who, when = rows.T
    table = {"when": when, "a": X[who, when, 0], "who": who, "b": X[who, when, 1]}
    data = sequences_from_frame(library.DataFrame(table), sequence="who", step="when")
    assert_array_equal(data.X, X[:, : data.X.shape[1]])
    assert np.isnan(X[:, data.X.shape[1] :]).all()
    assert_array_equal(data.sequences, np.arange(n_sequences))
    assert data.features == ["a", "b"]


# ------------------------------------------------------------------ orders


@few
@given(seed=seeds, order=st.permutations(range(3)), criterion=criteria)
def test_order_of_tasks_orders_the_answer(seed, order, criterion):
    X, y = draw_sequences(seed, n_tasks=3)
    found, expected = (
        identify(X, y[:, order], criterion=criterion),
        identify(X, y, criterion=criterion),
    )
    assert_allclose(found.pvalues_, expected.pvalues_[:, order], rtol=1e-6, atol=1e-12)
    assert_array_equal(found.structure_, expected.structure_[:, order])


@few
@given(seed=seeds, criterion=criteria)
def test_order_of_sequences_does_not_matter(seed, criterion):
    X, y = draw_sequences(seed)
    order = np.random.default_rng(seed).permutation(60)
    found = identify(X[order], y[order], criterion=criterion)
    assert_same_answer(found, identify(X, y, criterion=criterion))


@few
@given(seed=seeds, order=st.permutations(range(2)))
def test_order_of_features_within_a_step_does_not_matter(seed, order):
    X, y = draw_sequences(seed)
    assert_same_answer(identify(X[:, :, order], y), identify(X, y))


@few
@given(seed=seeds, alpha=st.sampled_from([0.01, 0.5, 0.99]), flat=st.booleans())
def test_kept_steps_come_back_in_their_places(seed, alpha, flat):
    X, y = draw_sequences(seed)
    found = identify(X, y, alpha=alpha)
    given_ = X.reshape(60, -1) if flat else X
    kept = found.transform(given_)
    back = found.inverse_transform(kept)
    assert back.shape == given_.shape
    expected = np.where(found.support_[:, None], X, 0.0).reshape(given_.shape)
    assert_array_equal(back, expected)
    assert_array_equal(found.transform(back), kept)


# ------------------------------------------------------------------ tests of independence


@few
@given(
    seed=seeds,
    test=st.sampled_from([FisherZ(), Wilks(), GCM()]),
    scales=st.tuples(exponents, exponents, exponents),
    offsets=st.tuples(*[st.integers(-100, 100)] * 3),
)
def test_pvalues_do_not_depend_on_units(seed, test, scales, offsets):
    x, y, z = np.random.default_rng(seed).normal(size=(3, 50))
    y = y + z
    moved = [10.0**s * (v + o) for v, s, o in zip((x, y, z), scales, offsets, strict=True)]
    assert_allclose(test.test(*moved).pvalue, test.test(x, y, z).pvalue, rtol=1e-5, atol=1e-10)


@few
@given(seed=seeds, test=st.sampled_from([FisherZ(), Wilks()]))
def test_the_two_sides_are_alike(seed, test):
    x, y, z = np.random.default_rng(seed).normal(size=(3, 50))
    one, other = test.test(x, y, z), test.test(y, x, z)
    assert_allclose(one.pvalue, other.pvalue, rtol=1e-9)
    assert_allclose(one.effect_size, other.effect_size, rtol=1e-9)
    assert 0 <= one.pvalue <= 1
    assert -1 <= one.effect_size <= 1


@few
@given(seed=seeds, cut=st.integers(1, 49), scale=exponents)
def test_statistics_of_parts_add_up(seed, cut, scale):
    data = 10.0**scale * np.random.default_rng(seed).normal(3.0, size=(50, 3))
    whole = Moments.from_data(data)
    parts = Moments.from_data(data[:cut]).merge(Moments.from_data(data[cut:]))
    assert parts.n == whole.n
    assert_allclose(parts.mean, whole.mean, rtol=1e-9)
    assert_allclose(parts.scatter, whole.scatter, rtol=1e-7, atol=1e-9 * 10.0 ** (2 * scale))
