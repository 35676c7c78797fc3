"""Tasks from tables, objects and other libraries, and their kinds by name."""

from __future__ import annotations

import numbers
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse

from .validation import as_array, is_missing

__all__ = [
    "TableForm",
    "convert",
    "keep_types",
    "parse_objects",
    "read_tasks",
    "resolve_kinds",
    "table_columns",
]

# Kinds of tasks, as the parameter ``task_types`` has them.
KINDS = ("amount", "label")
# Larger floats do not have all integers.
MAX_INTEGER = 2.0**53


def read_tasks(y: Any) -> Any:
    """Return ``y`` as a table or an array whose rows can be selected.

    Sparse matrices and tensors become arrays, masked entries missing, and dictionaries of
    columns, structured arrays and tables of pyarrow tables of pandas.

    Raises
    ------
    TypeError
        If pandas is needed and not installed.
    """
    if issparse(y):
        return y.toarray()
    if hasattr(y, "detach"):
        return as_array(y, "y")
    if isinstance(y, np.ma.MaskedArray) and y.dtype.names is None:
        if y.dtype.kind == "f":
            return y.filled(np.nan)
        values = np.array(y.data, dtype=object)
        values[np.ma.getmaskarray(y)] = None
        return values
    if type(y).__module__.partition(".")[0] == "pyarrow" and hasattr(y, "to_pandas"):
        # Integers beside nulls would become floats, which are amounts.
        return y.to_pandas(integer_object_nulls=True)
    names = getattr(getattr(y, "dtype", None), "names", None) or ()
    if not isinstance(y, Mapping) and not names:
        return y
    try:
        import pandas as pd
    except ImportError:
        raise TypeError(
            f"y must be an array or a DataFrame where pandas is not installed, got a "
            f"{type(y).__name__} of columns."
        ) from None
    columns = y if isinstance(y, Mapping) else {name: y[name] for name in names}
    try:
        return pd.DataFrame({name: read_tasks(column) for name, column in columns.items()})
    except ValueError as error:
        raise ValueError(f"y must have one value per sample in each column: {error}") from error


def keep_types(column: Any) -> Any:
    """Return a column with missing values as objects: as numbers, integers become floats."""
    if getattr(column, "null_count", None) is not None and column.null_count():  # polars
        return np.array(column.to_list(), dtype=object)
    is_extension = hasattr(column, "isna") and not isinstance(column.dtype, np.dtype)
    return column.astype(object) if is_extension and column.isna().any() else column


def resolve_kinds(task_types: Any, names: list[str]) -> list[str | None]:
    """Return the kind of each task that ``task_types`` gives, or None."""
    if task_types is None or isinstance(task_types, str):
        kinds = [task_types] * len(names)
    elif isinstance(task_types, Mapping):
        if unknown := sorted(set(task_types) - set(names), key=str):
            raise ValueError(f"task_types names {unknown}, but y has the tasks {names}.")
        kinds = [task_types.get(name) for name in names]
    else:
        kinds = list(task_types)
        if len(kinds) != len(names):
            raise ValueError(f"task_types has {len(kinds)} entries, but y has {len(names)} tasks.")
    for kind in kinds:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"task_types must be 'amount' or 'label' for a task, got {kind!r}.")
    return kinds


def convert(values: np.ndarray, kind: str, name: str) -> np.ndarray:
    """Return amounts as floats, and labels as integers where all are whole floats."""
    missing = is_missing(values)
    if kind == "amount":
        floats = np.full(len(values), np.nan)
        try:
            floats[~missing] = values[~missing].astype(float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Task {name!r} of y must have numbers, as an amount, got {values[~missing][0]!r}."
            ) from error
        return floats
    present = values[~missing]
    if (present != np.round(present)).any() or (np.abs(present) > MAX_INTEGER).any():
        return values
    if not missing.any():
        return values.astype(np.int64)
    labels = np.full(len(values), None)
    labels[~missing] = present.astype(np.int64)
    return labels


def table_columns(y: Any) -> list[np.ndarray]:
    """Return the values of the columns of a table."""
    # Tables of pandas have the columns of any name here, those of polars do without.
    cells = getattr(y, "iloc", y)
    return [np.asarray(keep_types(cells[:, j])) for j in range(y.shape[1])]


def parse_objects(values: np.ndarray, allow_missing: bool) -> np.ndarray:
    """Return a column of objects as numbers where all, but missing ones, are of one kind."""
    kinds = set(map(type, values))  # many values have few types
    if not all(issubclass(kind, Hashable) for kind in kinds):
        raise TypeError("y has lists, dicts or other collections where labels should be.")
    missing = is_missing(values) if allow_missing else np.zeros(len(values), dtype=bool)
    present = set(map(type, values[~missing]))
    reals = [k for k in present if issubclass(k, numbers.Real | Decimal)]
    if len(reals) == len(present) and not any(issubclass(k, numbers.Integral) for k in reals):
        return np.where(missing, np.nan, values).astype(float)
    if all(issubclass(kind, numbers.Integral | np.bool_) for kind in kinds):
        return np.asarray(values.tolist())  # pandas' nullable types come as objects
    return values


@dataclass(frozen=True)
class TableForm:
    """Columns of a table of tasks, in whose form predictions are returned.

    Attributes
    ----------
    library : {"pandas", "polars"}
        Library of the table.
    names : list
        Labels of the columns.
    dtypes : list
        Their types as plain values, which any file can hold: a name, or a list of the name, the
        categories and whether they are ordered.
    """

    library: str
    names: list[Any]
    dtypes: list[Any]

    @classmethod
    def of(cls, y: Any) -> Self | None:
        """Return the form of a table, None for anything else."""
        library = type(y).__module__.partition(".")[0]
        if library not in ("pandas", "polars") or not hasattr(y, "columns"):
            return None
        return cls(library, list(y.columns), list(map(_describe_dtype, y.dtypes)))

    def build(self, columns: list[np.ndarray], are_labels: list[bool], index: Any = None) -> Any:
        """Return a table. Amounts that were integers are floats, since means are not integers."""
        series = import_module(self.library).Series
        cast = "cast" if self.library == "polars" else "astype"
        table = {}
        for place, (values, dtype, is_label) in enumerate(
            zip(columns, self.dtypes, are_labels, strict=True)
        ):
            column = series(values.tolist() if values.dtype == object else values)
            keeps = dtype is not None and (is_label or "float" in str(dtype).lower())
            table[str(place)] = (
                getattr(column, cast)(_find_dtype(self.library, dtype)) if keeps else column
            )
        frame = import_module(self.library).DataFrame(table)
        frame.columns = self.names
        if index is not None and self.library == "pandas":
            frame.index = index
        return frame


def _describe_dtype(dtype: Any) -> Any:
    """Return the name of the type of a column, with categories where it has some."""
    categories = getattr(dtype, "categories", None)
    if categories is None or str(dtype) == "Categorical":  # polars infers those
        return str(dtype).partition("(")[0]
    name = "category" if hasattr(dtype, "ordered") else "Enum"
    return [name, list(categories), bool(getattr(dtype, "ordered", True))]


def _find_dtype(library: str, description: Any) -> Any:
    """Return the type that a description names."""
    module = import_module(library)
    if not isinstance(description, list):
        return description if library == "pandas" else getattr(module, description)
    name, categories, ordered = description
    return (
        module.Enum(categories) if name == "Enum" else module.CategoricalDtype(categories, ordered)
    )
