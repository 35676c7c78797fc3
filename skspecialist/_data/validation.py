"""Input validation, with errors that name the argument."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.model_selection import check_cv
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

__all__ = [
    "FLOATS",
    "as_array",
    "check_callbacks",
    "check_convertible",
    "check_labels",
    "check_layer_sizes",
    "check_numbers",
    "check_same_length",
    "is_missing",
    "n_dimensions",
    "refuse_dates",
    "refuse_huge",
    "split_indices",
    "unstack_steps",
    "validate_sequences",
    "validate_steps",
]

FLOATS = [np.float64, np.float32]
LARGEST = 1e150  # sums of squares of numbers up to this size are finite


def _from_other_library(values: Any) -> Any:
    """Return tensors of torch without gradient, masked numbers as NaN, tables of pyarrow."""
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        values = values.detach().cpu()
        # NumPy has no numbers of 16 bits with the range of 32.
        return values.float() if str(values.dtype) == "torch.bfloat16" else values
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "biuf":
        if not np.ma.getmaskarray(values).any():
            return values.data
        dtype = np.result_type(values.dtype, np.float32)
        return np.where(np.ma.getmaskarray(values), np.nan, values.data).astype(dtype)
    if type(values).__module__.partition(".")[0] == "pyarrow" and hasattr(values, "to_pandas"):
        return values.to_pandas()
    return values


def as_array(values: Any, argument: str, dtype: Any = None) -> np.ndarray:
    """Return an array, or raise an error that names the argument.

    Tensors of torch lose their gradient, and masked numbers become NaN.

    Parameters
    ----------
    values : array-like
        Value of the argument.
    argument : str
        Name of the argument.
    dtype : dtype, default=None
        Type of the elements. None keeps it.

    Returns
    -------
    array : ndarray
        The same values.

    Raises
    ------
    ValueError or TypeError
        If they are ragged, or cannot be converted.
    """
    try:
        return np.asarray(_from_other_library(values), dtype=dtype)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        content = "" if dtype is None else " of numbers"
        advice = " Pad shorter ones with NaN." if "inhomogeneous" in str(error) else ""
        raise kind(f"{argument} must be an array{content}: {error}{advice}") from None


def refuse_dates(values: Any, argument: str) -> None:
    """Raise an error for dates and durations, which numpy would convert to numbers.

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
    """Raise an error for numbers whose squares are infinite in double precision.

    Parameters
    ----------
    array : ndarray
        Numbers; NaN is ignored.
    argument : str
        Its name.

    Raises
    ------
    ValueError
        If one is larger than 1e150 in absolute value.
    """
    if array.dtype != np.float64 or not array.size:
        return
    largest = max(np.fmax.reduce(array, axis=None), -np.fmin.reduce(array, axis=None))
    if largest > LARGEST:
        raise ValueError(
            f"{argument} has values of size {largest:.3g}, but their squares must be finite: "
            "rescale them."
        )


def check_convertible(
    values: Any,
    argument: str,
    *,
    ensure_2d: bool = True,
    allow_nd: bool = False,
    ensure_min_samples: int = 1,
    ensure_min_features: int = 1,
    **other_checks: Any,
) -> Any:
    """Check what scikit-learn's own check would refuse without naming the argument.

    Returns a DataFrame as it is, and anything else as an array.
    """
    values = _from_other_library(values)
    refuse_dates(values, argument)
    if issparse(values):
        raise TypeError(f"{argument} must be dense, got a sparse {type(values).__name__}.")
    array = as_array(values, argument)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {argument} must be real.")
    if array.dtype.kind == "V":
        raise TypeError(f"{argument} must hold numbers, got records.")
    if array.dtype.kind in "OSU":
        flat = array.ravel()
        as_array(flat[~is_missing(flat)], argument, dtype=np.float64)
    fewest = 2 if ensure_2d else int(not allow_nd)
    if array.ndim < fewest or (array.ndim > 2 and not allow_nd):
        raise ValueError(
            f"Expected 2D array for {argument}, got shape {array.shape}. Reshape your data with "
            "array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) if it is a "
            "single sample."
        )
    if array.ndim and len(array) < ensure_min_samples:
        raise ValueError(
            f"{argument} has {len(array)} sample(s) (shape={array.shape}) while a minimum of "
            f"{ensure_min_samples} is required."
        )
    if array.ndim == 2 and array.shape[1] < ensure_min_features:
        raise ValueError(
            f"{argument} has {array.shape[1]} feature(s) (shape={array.shape}) while a minimum of "
            f"{ensure_min_features} is required."
        )
    return values if hasattr(values, "columns") else array


def check_numbers(
    values: Any, argument: str, *, ensure_non_negative: bool = False, **checks: Any
) -> np.ndarray:
    """Return an array of finite float64 numbers.

    Parameters
    ----------
    values : array-like
        Value of the argument.
    argument : str
        Name of the argument.
    ensure_non_negative : bool, default=False
        Whether negative numbers are an error.
    **checks : dict
        Passed on to :func:`sklearn.utils.check_array`.

    Returns
    -------
    array : ndarray
        With two dimensions, unless ``checks`` allow others.

    Raises
    ------
    ValueError or TypeError
        If they are not such numbers.
    """
    values = check_convertible(values, argument, **checks)
    array = check_array(values, **({"dtype": np.float64, "input_name": argument} | checks))
    if ensure_non_negative and (array < 0).any():
        raise ValueError(f"Negative values in data passed to {argument}, such as {array.min()}.")
    return array


def check_same_length(**arguments: Any) -> None:
    """Check that arguments, but those that are None, have the same number of samples.

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
            shape = getattr(values, "shape", None)
            if not hasattr(values, "__len__") or shape == ():
                raise TypeError(
                    f"{argument} must be array-like with one entry per sample, got {values!r}."
                )
            # The length of sparse matrices is not defined.
            lengths[argument] = shape[0] if shape else len(values)
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
        if set(map(type, values)) <= {str, int, bool}:  # many values have few types
            return np.zeros(len(values), dtype=bool)
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
    labels = as_array(values, argument)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.ravel()
    if labels.ndim != 1:
        raise ValueError(f"{argument} must have one dimension, got shape {labels.shape}.")
    if is_missing(labels).any():
        raise ValueError(f"{argument} has missing values (None, NaN or NaT).")
    try:
        return np.unique(labels, return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(f"{argument} must hold labels that can be sorted: {error}") from None


def split_indices(cv: Any, X: Any, y: Any, groups: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the training and test indices of a splitter, an iterable or a number of folds.

    Parameters
    ----------
    cv : int, splitter or iterable
        Value of the argument.
    X, y, groups : array-like or None
        Passed on to the splitter.

    Yields
    ------
    train, test : ndarray of int
        Indices of samples.

    Raises
    ------
    ValueError
        If it cannot split the data.
    """
    try:
        yield from list(check_cv(cv).split(X, y, groups))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{cv=!r} cannot split the data: {error}") from error


def unstack_steps(X: Any) -> Any:
    """Return a table whose rows have two index levels, sequence and step, as a 3-D array.

    Both in the order of their labels, NaN where a row is missing; all else is returned as it is.
    """
    index: Any = getattr(X, "index", None)
    if getattr(index, "nlevels", 1) != 2 or not hasattr(X, "columns"):
        return X
    sequence, step = (check_labels(index.get_level_values(k), f"level {k} of X") for k in (0, 1))
    shape = sequence.max() + 1, step.max() + 1
    if shape[0] == len(X) and shape[1] > 1:
        return X  # each row is a sequence of its own
    values = as_array(check_convertible(X, "X"), "X", dtype=np.float64)
    if len(np.unique(sequence * shape[1] + step)) < len(values):
        raise ValueError("X has several rows with the same index (sequence, step).")
    unstacked = np.full((*shape, values.shape[1]), np.nan)
    unstacked[sequence, step] = values
    return unstacked


def n_dimensions(X: Any) -> int:
    """Return the number of dimensions of an array-like."""
    return X.ndim if hasattr(X, "ndim") else as_array(X, "X").ndim


def validate_sequences(
    estimator: Any, X: Any, *, n_timesteps: int | None = None, reset: bool = True, **checks: Any
) -> np.ndarray:
    """Validate sequences for an estimator whose features are (step, feature) pairs.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` (steps times features) and, where there are names,
        ``feature_names_in_`` when ``reset`` is True; is checked against otherwise.
    X : array-like of shape (n_sequences, n_timesteps, n_features) or \
            (n_sequences, n_timesteps * n_features)
        The sequences. The columns of a flat ``X`` are the steps in time order; the rows of a
        table of pandas with two index levels are the steps of sequences.
    n_timesteps : int, default=None
        Number of steps. None takes it from a 3-D ``X``; the columns of a flat ``X``
        are then one step each.
    reset : bool, default=True
        Whether this is ``fit``.
    **checks : dict
        Passed on to :func:`sklearn.utils.validation.validate_data`.

    Returns
    -------
    X : ndarray of shape (n_sequences, n_timesteps, n_features)
        float64, or float32 where the input was.

    Raises
    ------
    ValueError or TypeError
        If ``X`` does not hold numbers, or the number of steps does not fit the array.
    """
    X = unstack_steps(X)
    if n_dimensions(X) == 3:
        X = as_array(X, "X")
        if n_timesteps is not None and X.shape[1] != n_timesteps:
            raise ValueError(
                f"X has {X.shape[1]} time steps per sequence, but {type(estimator).__name__} "
                f"expects n_timesteps={n_timesteps}: cut longer ones, pass shorter ones as a list."
            )
        n_timesteps = X.shape[1]
        X = X.reshape(len(X), X.shape[1] * X.shape[2])
    X = _validate_table(estimator, X, reset, checks)
    n_timesteps = X.shape[1] if n_timesteps is None else n_timesteps
    if X.shape[1] % n_timesteps:
        raise ValueError(
            f"The columns of a 2-D X are n_timesteps equal blocks, but n_features={X.shape[1]} "
            f"columns cannot be cut into n_timesteps={n_timesteps} blocks."
        )
    return X.reshape(len(X), n_timesteps, -1)


def _validate_table(estimator: Any, X: Any, reset: bool, checks: dict[str, Any]) -> np.ndarray:
    X = check_convertible(X, "X", **checks)
    if hasattr(X, "columns") and len(set(X.columns)) < X.shape[1]:
        raise ValueError(f"X must have columns of different names, got {list(X.columns)}.")
    if hasattr(X, "columns") and (array := np.asarray(X)).dtype in FLOATS:
        validate_data(estimator, X, reset=reset, skip_check_array=True)  # the names of columns
        X = check_array(array, dtype=FLOATS, input_name="X", estimator=estimator, **checks)
    else:
        X = validate_data(estimator, X, reset=reset, **({"dtype": FLOATS} | checks))
    refuse_huge(X, "X")
    return np.asarray(X)


def validate_steps(estimator: Any, X: Any, *, reset: bool = True, **checks: Any) -> np.ndarray:
    """Validate steps for an estimator that treats every step alike.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` (the features of one step) when ``reset`` is True.
    X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
        Single steps, or sequences of them.
    reset : bool, default=True
        Whether this is ``fit``.
    **checks : dict
        Passed on to :func:`sklearn.utils.validation.validate_data`.

    Returns
    -------
    X : ndarray of the same shape
        float64, or float32 where the input was.

    Raises
    ------
    ValueError or TypeError
        If ``X`` does not hold numbers, or other features than in ``fit``.
    """
    shape = None
    if n_dimensions(X) == 3:
        X = as_array(X, "X")
        shape = X.shape
        X = X.reshape(shape[0] * shape[1], shape[2])
    try:
        X = _validate_table(estimator, X, reset, checks)
    except ValueError as error:
        if shape is not None and "contains NaN" in str(error):
            advice = "TaskLocalizer and SpecialistPipeline take sequences of unequal lengths."
            raise ValueError(f"{error} {advice}") from None
        raise
    return X if shape is None else X.reshape(shape)


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
        If one of them is not a callback.
    """
    for callback in callbacks or []:
        if not hasattr(callback[-1] if isinstance(callback, tuple) else callback, "on_epoch_end"):
            raise TypeError(
                "callbacks must be callbacks of skorch, their classes, or pairs (name, callback); "
                f"got {callback!r}."
            )
    return copy.deepcopy(callbacks or [])


def check_layer_sizes(sizes: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers.

    Parameters
    ----------
    sizes : sequence of int
        Value of ``hidden_layer_sizes``.

    Raises
    ------
    ValueError
        If they are not positive integers.
    """
    if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be positive integers, got {sizes!r}.")
    return tuple(sizes)
