"""Sequences from a table with one row for each step."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from .validation import refuse_dates

__all__ = ["sequences_from_frame"]


def sequences_from_frame(
    frame: Any, *, sequence: str, step: str, features: Sequence[str] | None = None
) -> Bunch:
    """Turn a long table into aligned sequences.

    A row holds the features of one step of one sequence. Steps that a sequence does not
    have, in the middle or because it ends earlier, become NaN.

    Parameters
    ----------
    frame : pandas.DataFrame or polars.DataFrame
        The table, its rows in any order.
    sequence : str
        Name of the column that says which sequence a row belongs to.
    step : str
        Name of the column that says which step it is: numbers, dates or anything else
        that can be sorted and means the same in all sequences.
    features : sequence of str, default=None
        Names of the columns with features. None is all others.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        X : ndarray of shape (n_sequences, n_timesteps, n_features), float64
            The sequences, NaN where a row is missing.
        sequences : ndarray of shape (n_sequences,)
            What the sequences are called, sorted: the order of ``y``.
        steps : ndarray of shape (n_timesteps,)
            What the steps are called, sorted.
        features : list of str
            Names of the features.

    Raises
    ------
    ValueError or TypeError
        If ``frame`` is no table, a column is missing, there twice or not numeric, there are
        no rows or features, a row has no sequence or step, or a sequence has a step twice.

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
    if not hasattr(frame, "columns"):
        raise TypeError(f"frame must be a table of pandas or polars, got {type(frame).__name__}.")
    columns = [str(column) for column in frame.columns]
    if features is None:
        features = [column for column in columns if column not in (sequence, step)]
    if isinstance(features, str) or not isinstance(features, Iterable):
        raise TypeError(f"features must be names of columns, got {features!r}.")
    features = list(features)
    for argument, names in (("sequence", [sequence]), ("step", [step]), ("features", features)):
        if absent := [name for name in names if name not in columns]:
            raise ValueError(
                f"The table has no column {absent} ({argument}); its columns are {columns}."
            )
    if not features or not len(frame):
        raise ValueError(
            "The table needs a row, and a column besides sequence and step for the features."
        )
    named = [sequence, step, *features]
    if any(columns.count(name) > 1 or named.count(name) > 1 for name in named):
        raise ValueError(
            f"sequence, step and features must be different columns with names of their own, got "
            f"{named} out of {columns}."
        )
    rows, sequences = _numbered(frame[sequence], sequence)
    places, steps = _numbered(frame[step], step)
    X = np.full((len(sequences), len(steps), len(features)), np.nan)
    taken, counts = np.unique(rows * len(steps) + places, return_counts=True)
    if (counts > 1).any():
        row, place = divmod(int(taken[counts.argmax()]), len(steps))
        raise ValueError(
            f"{step} {steps[place]!r} of {sequence} {sequences[row]!r} is there "
            f"{counts.max()} times: each step of a sequence needs one row."
        )
    for j, name in enumerate(features):
        X[rows, places, j] = _numeric(frame[name], name)
    return Bunch(X=X, sequences=sequences, steps=steps, features=features)


def _numbered(column: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each row's value among the sorted values, and these."""
    values = np.asarray(column)
    missing = [value is None or value != value for value in values]
    if any(missing):
        raise ValueError(f"{sum(missing)} rows have no {name}.")
    if not all(isinstance(value, Hashable) for value in values):
        raise TypeError(f"The values of {name} are lists, dicts or other collections.")
    try:
        found, numbers = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"The values of {name} cannot be sorted: {error}.") from error
    return numbers, found


def _numeric(column: Any, name: str) -> np.ndarray:
    refuse_dates(column, name)
    try:
        values = np.asarray(column)
        if values.dtype.kind == "c":
            raise TypeError("complex numbers")
        return values.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The feature {name!r} is not numeric ({error}): encode it, or name the "
            "columns that are with features=[...]."
        ) from error
