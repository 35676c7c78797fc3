"""Checks of arguments, whose errors name the argument whoever finds them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import column_or_1d

from .._base.sklearn_compat import num_samples

__all__ = [
    "UNREADABLE",
    "check_callbacks",
    "check_labels",
    "check_layer_sizes",
    "check_numbers",
    "check_same_length",
    "is_missing",
    "naming",
    "refuse_dates",
    "refuse_huge",
]

LARGEST = 1e150  # sums of squares of as large numbers are finite
# What comes of reading a file that holds something else.
UNREADABLE = (AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError)


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Have the errors of what is within name an argument.

    scikit-learn and numpy say what is wrong with a value, but often not with which.

    Parameters
    ----------
    argument : str
        The argument that the block checks.

    Raises
    ------
    ValueError or TypeError
        In place of an error that does not name the argument.
    """
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        named = re.search(rf"(?<!\w){re.escape(argument)}(?!\w)", str(error))
        if named and isinstance(error, kind):
            raise
        raise kind(f"{argument} is not valid: {error}") from None


def refuse_dates(values: Any, argument: str) -> None:
    """Refuse dates and durations, which numpy would take for numbers.

    Parameters
    ----------
    values : object
        An array, a table, or anything else.
    argument : str
        Its name.

    Raises
    ------
    TypeError
        If an array or a column of a pandas table holds dates.
    """
    dtypes = [values.dtype] if hasattr(values, "dtype") else getattr(values, "dtypes", [])
    if any(getattr(dtype, "kind", "") in ("m", "M") for dtype in dtypes):
        raise TypeError(
            f"{argument} holds dates or durations: turn them into numbers, such as seconds since "
            "an event."
        )


def refuse_huge(array: np.ndarray, argument: str) -> None:
    """Refuse numbers whose squares are infinite in double precision.

    Parameters
    ----------
    array : ndarray
        Numbers; NaN is none.
    argument : str
        Its name.

    Raises
    ------
    ValueError
        If one is larger than 1e150 in size.
    """
    if array.dtype != np.float64 or not array.size:
        return
    largest = max(np.fmax.reduce(array, axis=None), -np.fmin.reduce(array, axis=None))
    if largest > LARGEST:
        raise ValueError(
            f"{argument} has values of size {largest:.3g}, but their squares must be finite: "
            "rescale them."
        )


def check_numbers(values: Any, argument: str, **checks: Any) -> np.ndarray:
    """Return an array of finite float64 numbers.

    Parameters
    ----------
    values : array-like
        What was given.
    argument : str
        Its name.
    **checks : dict
        Passed on to :func:`sklearn.utils.check_array`.

    Returns
    -------
    array : ndarray
        With two dimensions, unless ``checks`` say otherwise.

    Raises
    ------
    ValueError or TypeError
        If they are no such numbers.
    """
    refuse_dates(values, argument)
    with naming(argument):
        return check_array(values, **({"dtype": np.float64, "input_name": argument} | checks))


def check_same_length(**arguments: Any) -> None:
    """Check that arguments, but those that are None, have as many samples.

    Parameters
    ----------
    **arguments : array-like
        The arguments by name.

    Raises
    ------
    ValueError or TypeError
        If their numbers differ, or one has no length.
    """
    lengths = {}
    for argument, values in arguments.items():
        if values is not None:
            with naming(argument):
                lengths[argument] = num_samples(values)
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"{' and '.join(lengths)} have inconsistent numbers of samples: "
            f"{list(lengths.values())}."
        )


def is_missing(values: np.ndarray) -> np.ndarray:
    """Return where values are NaN, NaT, or None and pandas' NA among objects.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Numbers, dates, labels or objects.

    Returns
    -------
    missing : ndarray of bool of shape (n_values,)
        Where they are missing.
    """
    if values.dtype.kind == "O":
        # NA is neither equal nor unequal to itself.
        return np.array(
            [v is None or not isinstance(v == v, (bool, np.bool_)) or v != v for v in values],
            dtype=bool,
        )
    if values.dtype.kind in "mM":
        return np.isnat(values)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def check_labels(values: Any, argument: str) -> np.ndarray:
    """Number labels, such as groups, in their order.

    Parameters
    ----------
    values : array-like of shape (n_values,)
        Labels that can be sorted.
    argument : str
        Their name.

    Returns
    -------
    codes : ndarray of int of shape (n_values,)
        The place of each among the different ones.

    Raises
    ------
    ValueError or TypeError
        If some are missing, or of types that cannot be compared.
    """
    with naming(argument):
        labels = column_or_1d(values)
        if is_missing(labels).any():
            raise ValueError(f"{argument} has missing values (None, NaN or NaT).")
        return np.unique(labels, return_inverse=True)[1]


def check_callbacks(callbacks: list[Any] | None) -> list[Any]:
    """Return copies of callbacks, so that a fit does not change those of another.

    Parameters
    ----------
    callbacks : list or None
        Callbacks of skorch, their classes, or pairs of a name and one of these.

    Returns
    -------
    callbacks : list
        The same.

    Raises
    ------
    TypeError
        If one of them is no callback.
    """
    for callback in callbacks or []:
        if not hasattr(callback[-1] if isinstance(callback, tuple) else callback, "on_epoch_end"):
            raise TypeError(
                "callbacks must be callbacks of skorch, their classes, or pairs (name, callback); "
                f"got {callback!r}."
            )
    return copy.deepcopy(callbacks or [])


def check_layer_sizes(sizes: Any, *, or_none: bool = False) -> tuple[int, ...] | None:
    """Return the widths of hidden layers.

    Parameters
    ----------
    sizes : sequence of int or None
        What was given as ``hidden_layer_sizes``.
    or_none : bool, default=False
        Whether None is a value, which is returned as it is.

    Raises
    ------
    ValueError
        If they are no positive integers.
    """
    if or_none and sizes is None:
        return None
    if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must be positive integers{' or None' if or_none else ''}, "
            f"got {sizes!r}."
        )
    return tuple(sizes)
