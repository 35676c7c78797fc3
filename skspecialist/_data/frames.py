"""Sequences from a DataFrame with one row per step."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from numbers import Integral
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from sklearn.utils import Bunch

from ..exceptions import warn
from .validation import is_missing, refuse_dates

__all__ = ["sequences_from_frame"]


# Share of the cells without a row above which times are rarely those of shared steps.
MOSTLY_EMPTY = 0.5


def sequences_from_frame(
    frame: Any,
    *,
    sequence: str,
    step: str,
    features: Sequence[str] | None = None,
    align: str | int = "values",
) -> Bunch:
    """Convert a DataFrame in long format to aligned sequences.

    A row holds the features of one step of one sequence. Steps that a sequence does not
    have, in the middle or because it ends earlier, become NaN.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame or another eager DataFrame that narwhals supports
        Data in long format, rows in any order. Named levels of the index of a pandas
        DataFrame are columns too.
    sequence : str
        Name of the column that identifies the sequence of a row.
    step : str
        Name of the column that identifies the step: numbers, dates or other values that can
        be sorted and, with ``align="values"``, have the same meaning in all sequences.
    features : sequence of str, default=None
        Names of the columns with features. None takes all other columns.
    align : {"values", "order"} or int, default="values"
        Steps that are the same in all sequences: those of equal values; the first, second, ...
        of each sequence ("order"), for times that are irregular; or those of one of so many
        intervals of equal width between the smallest and the largest value, in which the
        features of a sequence are averaged.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        X : ndarray of shape (n_sequences, n_timesteps, n_features), float64
            The sequences, NaN where a row is missing.
        sequences : ndarray of shape (n_sequences,)
            Values of the column ``sequence``, sorted: the order of ``y``.
        steps : ndarray of shape (n_timesteps,)
            Values of the column ``step``, sorted; numbers from 0 with ``align="order"``, and the
            lower ends of the intervals if these are given.
        features : list of str
            Names of the features.

    Raises
    ------
    ValueError or TypeError
        If ``frame`` is not a DataFrame, a column is missing, duplicated or not numeric, there
        are no rows or features, a sequence or step is missing in a row, a step of a sequence
        is in several rows, or ``align`` does not fit the values of ``step``.

    Warns
    -----
    SpecialistWarning
        If most of the steps are in a single sequence, and most of ``X`` is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> from skspecialist import sequences_from_frame
    >>> frame = pd.DataFrame(
    ...     {"visit": [1, 2, 1], "patient": ["b", "b", "a"], "pulse": [60.0, 64.0, 71.0]}
    ... )
    >>> data = sequences_from_frame(frame, sequence="patient", step="visit")
    >>> data.sequences.tolist(), data.X[:, :, 0].tolist()
    (['a', 'b'], [[71.0, nan], [60.0, 64.0]])
    """
    is_name = isinstance(align, str) and align in ("values", "order")
    if not is_name and not (isinstance(align, Integral) and align > 0):
        raise ValueError(
            f"align must be 'values', 'order' or a positive number of intervals, got {align!r}."
        )
    table, features = _checked_table(frame, sequence, step, features)
    rows, sequences = _number(table[sequence].to_numpy(), sequence)
    times = table[step].to_numpy()
    places, steps = _number(times, step)
    if isinstance(align, Integral):
        places, steps = _intervals(times, step, int(align))
    else:
        _check_single_rows(rows * len(steps) + places, (sequence, sequences), (step, steps))
    if align == "order":
        places, steps = _ranks(rows, places)
    elif align == "values":
        _warn_if_irregular(places, len(sequences), step)
    sums = np.zeros((len(sequences), len(steps), len(features)))
    n_values = np.zeros(sums.shape)
    for j, name in enumerate(features):
        values = _as_floats(table[name].to_numpy(), name)
        present = ~np.isnan(values)
        where = rows[present], places[present], j
        np.add.at(sums, where, values[present])
        np.add.at(n_values, where, 1)
    # One row per step, so that sums are values, unless several are in an interval.
    X = np.full(sums.shape, np.nan)
    np.divide(sums, n_values, out=X, where=n_values > 0)
    return Bunch(X=X, sequences=sequences, steps=steps, features=features)


def _checked_table(
    frame: Any, sequence: str, step: str, features: Sequence[str] | None
) -> tuple[nw.DataFrame, list[str]]:
    """Return the table, levels of its index as columns, and the names of the features."""
    levels = getattr(getattr(frame, "index", None), "names", None) or []
    if used := [name for name in levels if name is not None and name in [sequence, step]]:
        frame = frame.reset_index(level=used)
    try:
        table = nw.from_native(frame, eager_only=True)
        columns = list(table.columns)
    except DuplicateError as error:
        raise ValueError(f"The columns of frame must have unique names: {error}") from error
    except TypeError as error:
        raise TypeError(
            f"frame must be a DataFrame, such as of pandas or polars, got {type(frame).__name__}."
        ) from error
    if features is None:
        features = [column for column in columns if column not in (sequence, step)]
    if isinstance(features, str) or not isinstance(features, Iterable):
        raise TypeError(f"features must be names of columns, got {features!r}.")
    features = list(features)
    for argument, names in (("sequence", [sequence]), ("step", [step]), ("features", features)):
        if absent := [name for name in names if name not in columns]:
            raise ValueError(f"frame has no column {absent} ({argument}); it has {columns}.")
    if not features or not len(table):
        raise ValueError("frame must have rows, and columns of features besides sequence and step.")
    named = [sequence, step, *features]
    if len(set(named)) < len(named):
        raise ValueError(f"sequence, step and features must be different columns, got {named}.")
    return table, features


def _check_single_rows(
    cells: np.ndarray, sequence: tuple[str, np.ndarray], step: tuple[str, np.ndarray]
) -> None:
    """Raise if a step of a sequence, a cell by its number, is in several rows."""
    found, counts = np.unique(cells, return_counts=True)
    if (counts > 1).any():
        row, place = divmod(int(found[counts.argmax()]), len(step[1]))
        raise ValueError(
            f"Step {step[0]}={step[1][place]!r} of sequence {sequence[0]}={sequence[1][row]!r} is "
            f"in {counts.max()} rows: each step of a sequence must be in one row."
        )


def _intervals(times: np.ndarray, name: str, n_intervals: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of each time, and the lower ends of the intervals."""
    if times.dtype.kind not in "iufM":
        raise ValueError(
            f"align={n_intervals} divides numbers or dates into intervals, but the values of "
            f"{name} are neither: use align='order'."
        )
    first, width = times.min(), (times.max() - times.min()) / n_intervals
    steps = first + np.arange(n_intervals) * width
    return np.searchsorted(steps, times, side="right") - 1, steps


def _ranks(rows: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each step within its sequence, and all ranks."""
    order = np.lexsort([places, rows])
    lengths = np.bincount(rows)
    ranks = np.empty(len(rows), dtype=int)
    ranks[order] = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return ranks, np.arange(lengths.max())


def _warn_if_irregular(places: np.ndarray, n_sequences: int, name: str) -> None:
    counts = np.bincount(places)
    missing = 1 - len(places) / (n_sequences * len(counts))
    if n_sequences > 1 and missing > MOSTLY_EMPTY and np.mean(counts == 1) > MOSTLY_EMPTY:
        warn(
            f"Column {name} has {len(counts)} different values, most of them in one sequence "
            f"only, so that {missing:.0%} of X is missing. Where equal values do not mean the "
            "same step, use align='order', or a number of intervals."
        )


def _number(values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each row's value among the sorted values, and these."""
    if not all(isinstance(value, Hashable) for value in values):
        raise TypeError(f"The values of {name} must be hashable, got lists or other collections.")
    if missing := int(is_missing(values).sum()):
        raise ValueError(f"Column {name} has {missing} missing values.")
    try:
        found, numbers = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"The values of {name} cannot be sorted: {error}.") from error
    return numbers, found


def _as_floats(values: np.ndarray, name: str) -> np.ndarray:
    refuse_dates(values, name)
    try:
        if values.dtype.kind == "c":
            raise TypeError("complex numbers")
        return values.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The feature {name!r} is not numeric ({error}): encode it, or list the numeric "
            "columns in features."
        ) from error
