"""A table of steps becomes sequences, whatever the order of its rows."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skspecialist import TaskStructureIdentifier, sequences_from_frame
from skspecialist.datasets import make_collider_sequences


def long_frame(X):
    n, T, d = X.shape
    frame = pd.DataFrame(X.reshape(-1, d), columns=[f"f{j}" for j in range(d)])
    frame["id"] = np.repeat([f"s{i:04}" for i in range(n)], T)
    frame["t"] = np.tile(pd.date_range("2026-01-01", periods=T), n)
    return frame


@pytest.fixture(scope="module")
def data():
    return make_collider_sequences(300, n_timesteps=6, n_tasks=2, n_features=2, random_state=0)


def test_there_and_back_in_any_order(data):
    frame = long_frame(data.X).sample(frac=1.0, random_state=0)
    table = sequences_from_frame(frame, sequence="id", step="t")
    assert_array_equal(table.X, data.X)
    assert table.features == ["f0", "f1"]
    assert table.sequences[:2].tolist() == ["s0000", "s0001"]
    assert (np.diff(table.steps) > np.timedelta64(0)).all()


def test_rows_that_are_missing_are_missing_steps(data):
    frame = long_frame(data.X)
    kept = frame[np.random.default_rng(0).uniform(size=len(frame)) > 0.1]
    table = sequences_from_frame(kept, sequence="id", step="t", features=["f1"])
    missing = np.isnan(table.X[:, :, 0])
    assert missing.sum() == len(frame) - len(kept)
    assert_array_equal(table.X[:, :, 0][~missing], data.X[:, :, 1][~missing])
    assert TaskStructureIdentifier(2).fit(table.X, data.y).structure_.shape == (3, 2)


def test_polars(data):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {name: column.to_numpy() for name, column in long_frame(data.X).items()}
    )
    assert_array_equal(sequences_from_frame(frame, sequence="id", step="t").X, data.X)


def test_frames_of_all_libraries_agree(data):
    frame = long_frame(data.X).sample(frac=0.9, random_state=0)
    frame["f0"] = frame["f0"].astype("float32")
    frame["f2"] = np.arange(len(frame))
    expected = sequences_from_frame(frame, sequence="id", step="t")
    for convert in (
        lambda f: f.convert_dtypes(),
        lambda f: pytest.importorskip("polars").DataFrame(f.to_dict("list")),
    ):
        found = sequences_from_frame(convert(frame), sequence="id", step="t")
        assert_array_equal(found.X, expected.X)
        assert found.X.dtype == np.float64
        assert found.sequences.tolist() == expected.sequences.tolist()


def test_missing_values_of_nullable_columns_are_nan():
    frame = pd.DataFrame({"id": ["a", "a"], "t": [1, 2], "f": pd.array([3, None], dtype="Int64")})
    table = sequences_from_frame(frame, sequence="id", step="t")
    assert_array_equal(table.X[0, :, 0], [3.0, np.nan])


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda f: f, {"step": "time"}, r"no column \['time'\]"),
        (lambda f: f, {"features": ["f9"]}, r"no column \['f9'\]"),
        (lambda f: f, {"features": []}, "columns of features"),
        (lambda f: f[:0], {}, "must have rows"),
        (lambda f: pd.concat([f, f[:1]]), {}, "id='s0000' is in 2 rows"),
        (lambda f: f.assign(f1="high"), {}, "'f1' is not numeric"),
        (lambda f: f.assign(id=f["id"].where(f.index > 1)), {}, "id has 2 missing values"),
        (lambda f: f.assign(id=f["id"].where(f.index > 1, 3)), {}, "id cannot be sorted"),
    ],
)
def test_bad_tables(data, change, arguments, message):
    with pytest.raises(ValueError, match=message):
        sequences_from_frame(
            change(long_frame(data.X)), **{"sequence": "id", "step": "t"} | arguments
        )
