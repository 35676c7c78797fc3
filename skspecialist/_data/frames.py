"""Sequences from a DataFrame with one row per step."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from sklearn.utils import Bunch

from .validation import is_missing, refuse_dates

__all__ = ["sequences_from_frame"]


def sequences_from_frame(
    frame: Any, *, sequence: str, step: str, features: Sequence[str] | None = None
) -> Bunch:
    """Convert a DataFrame in long format to aligned sequences.

    A row holds the features of one step of one sequence. Steps that a sequence does not
    have, in the middle or because it ends earlier, become NaN.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame or another eager DataFrame that narwhals supports
        Data in long format, rows in any order.
    sequence : str
        Name of the column that identifies the sequence of a row.
    step : str
        Name of the column that identifies the step: numbers, dates or other values that can
        be sorted and have the same meaning in all sequences.
    features : sequence of str, default=None
        Names of the columns with features. None takes all other columns.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        X : ndarray of shape (n_sequences, n_timesteps, n_features), float64
            The sequences, NaN where a row is missing.
        sequences : ndarray of shape (n_sequences,)
            Values of the column ``sequence``, sorted: the order of ``y``.
        steps : ndarray of shape (n_timesteps,)
            Values of the column ``step``, sorted.
        features : list of str
            Names of the features.

    Raises
    ------
    ValueError or TypeError
        If ``frame`` is not a DataFrame, a column is missing, duplicated or not numeric, there
        are no rows or features, a sequence or step is missing in a row, or a step of a sequence
        is in several rows.

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
    rows, sequences = _number(table[sequence].to_numpy(), sequence)
    places, steps = _number(table[step].to_numpy(), step)
    cells, counts = np.unique(rows * len(steps) + places, return_counts=True)
    if (counts > 1).any():
        row, place = divmod(int(cells[counts.argmax()]), len(steps))
        raise ValueError(
            f"Step {step}={steps[place]!r} of sequence {sequence}={sequences[row]!r} is in "
            f"{counts.max()} rows: each step of a sequence must be in one row."
        )
    X = np.full((len(sequences), len(steps), len(features)), np.nan)
    for j, name in enumerate(features):
        X[rows, places, j] = _as_floats(table[name].to_numpy(), name)
    return Bunch(X=X, sequences=sequences, steps=steps, features=features)


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
