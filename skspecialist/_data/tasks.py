"""Task values: continuous or class labels, one column a task."""

from __future__ import annotations

import copy
import numbers
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils.validation import assert_all_finite, column_or_1d

from ..exceptions import SpecialistWarning, warn
from .validation import as_array, check_numbers, check_same_length, is_missing, refuse_huge

__all__ = ["Task", "TaskTargets", "kinds_are_known", "pad_columns"]

# Kinds of tasks, as the parameter ``task_types`` has them.
KINDS = ("amount", "label")
# Integers with more distinct values are rarely class labels: ten digits are, and the days of a
# month are not.
MANY_LABELS = 20
# Larger floats do not have all integers.
MAX_INTEGER = 2.0**53


@dataclass(frozen=True, eq=False)
class Task:
    """One task: its name, and how its values become numbers."""

    name: str
    classes: np.ndarray | None = None
    mean: float = 0.0
    scale: float = 1.0

    @property
    def is_classification(self) -> bool:
        """Whether the values are class labels."""
        return self.classes is not None

    @property
    def n_classes(self) -> int:
        """Number of classes, 0 for a continuous task."""
        return 0 if self.classes is None else len(self.classes)

    @property
    def n_columns(self) -> int:
        """Number of columns that stand for it: one, or one less than there are classes."""
        return 1 if self.classes is None else len(self.classes) - 1

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return class indices (int64) or standardized values (float64), shape (n,).

        Missing values are NaN, and class indices beside them floats.
        """
        if self.classes is None:
            return (_as_floats(values) - self.mean) / self.scale
        if (missing := is_missing(values)).any():
            codes = np.full(len(values), np.nan)
            codes[~missing] = self.encode(values[~missing])
            return codes
        try:
            codes = np.searchsorted(self.classes, values).clip(max=len(self.classes) - 1)
        except TypeError as error:
            raise TypeError(
                f"The labels of task {self.name!r} in y are of another type than in fit."
            ) from error
        unseen = self.classes[codes] != values
        if unseen.any():
            raise ValueError(
                f"y contains labels of task {self.name!r} that were not seen in fit, or not named "
                f"in the first call of partial_fit: {np.unique(values[unseen]).tolist()}."
            )
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Undo :meth:`encode`."""
        if self.classes is None:
            return codes * self.scale + self.mean
        return self.classes[codes]

    def score(
        self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None = None
    ) -> float:
        """Return R2, or the accuracy where the values are class labels; missing do not count."""
        present = ~is_missing(truth)
        if weights is not None:
            present &= weights > 0
            weights = weights[present]
        truth, prediction = truth[present], prediction[present]
        if not present.any():
            return float("nan")
        if self.is_classification:
            # Not accuracy_score, which refuses labels in an array of objects.
            return float(np.average(truth == prediction, weights=weights))
        if len(truth) < 2:
            return float("nan")  # as scikit-learn's r2_score, without its warning
        return float(r2_score(_as_floats(truth), prediction.astype(float), sample_weight=weights))


class TaskTargets:
    """The tasks of ``y``, and the way between ``y`` and numbers.

    A column of floats is an amount (a continuous task). Everything else (integers, booleans,
    strings) is a column of class labels. The type of the values that are there decides:
    integers beside missing values, in a nullable column or in an array of objects, are labels
    too, so that missing values and folds of the data do not change the kind of a task.
    ``task_types`` overrides the rule. Columns that are often meant otherwise, floats that are
    all 0 or 1 and integers of more than 20 values, warn of how they were read.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Task values.
    classes : list of (array-like or None), default=None
        For each task all of its class labels, or None where it is continuous. Without
        it, labels, means and scales are learned from ``y``, where no task may be
        constant; with it ``y`` is taken for a first part of the data, and continuous
        values stay in their own units.
    allow_missing : bool, default=False
        Whether NaN, or None among labels, is a value that is missing, rather than an error.
    weights : ndarray of shape (n_samples, n_tasks), default=None
        How much a value counts in the means and scales; zero is as if it were missing.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kind of all tasks, of each task (None: by the rule), or of some tasks by name.

    Attributes
    ----------
    tasks : list of Task
        One for each column of ``y``, with ``name``, ``classes`` (None for an amount),
        ``is_classification``, ``n_classes``, ``mean`` and ``scale``.
    names : list of str
        Names of the tasks: those of the columns of a table, or "task0", "task1", ...
    is_1d : bool
        Whether ``y`` had one dimension, as predictions then have.
    """

    def __init__(
        self,
        y: Any,
        *,
        classes: list | None = None,
        allow_missing: bool = False,
        weights: np.ndarray | None = None,
        task_types: Any = None,
    ) -> None:
        self.allow_missing = allow_missing
        columns, names, self.is_1d = _split_columns(y, allow_missing)
        if classes is None:
            counts = [None] * len(columns) if weights is None else list(weights.T)
            kinds = _resolve_kinds(task_types, names)
            known = zip(columns, names, counts, kinds, strict=True)
            self.tasks = [_learn_task(*column) for column in known]
            return
        if not isinstance(classes, Sequence | np.ndarray) or len(classes) != len(columns):
            raise ValueError(
                f"classes must list the labels of each of the {len(columns)} tasks of y, got "
                f"{classes!r}."
            )
        self.tasks = [
            _named_task(name, labels, argument="classes")
            for name, labels in zip(names, classes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.tasks)

    def __repr__(self) -> str:
        kinds = [
            f"{task.name}: amount" if task.classes is None else f"{task.name}: {task.classes}"
            for task in self.tasks
        ]
        return f"TaskTargets({', '.join(kinds)})"

    def __add__(self, other: TaskTargets) -> TaskTargets:
        """Return the tasks of both; a name that is taken becomes one by number."""
        both = copy.copy(self)
        names = set(self.names)
        further = [
            replace(task, name=f"task{len(self) + i}") if task.name in names else task
            for i, task in enumerate(other.tasks)
        ]
        both.tasks, both.is_1d = [*self.tasks, *further], False
        return both

    @property
    def names(self) -> list[str]:
        """Names of the tasks."""
        return [task.name for task in self.tasks]

    def split(self, y: Any, *, like: Any = None) -> list[np.ndarray]:
        """Return the columns of a ``y`` that must have the tasks of the fitted one."""
        columns, _, _ = _split_columns(y, self.allow_missing)
        if len(columns) != len(self):
            raise ValueError(f"y has {len(columns)} tasks, but fit saw {len(self)}.")
        if like is not None:
            check_same_length(X=like, y=columns[0])
        return [
            _of_kind(values, "label" if task.is_classification else "amount", task.name)
            for task, values in zip(self.tasks, columns, strict=True)
        ]

    def with_kinds(self, y: Any) -> Any:
        """Return ``y`` with amounts as floats and labels as other types.

        An estimator that reads it by the rule finds the kinds of these tasks.
        """
        given, values = _split_columns(y, self.allow_missing)[0], self.split(y)
        if all(old is new for old, new in zip(given, values, strict=True)):
            return y
        if hasattr(y, "isetitem"):
            y = y.copy()
            for j, column in enumerate(values):
                y.isetitem(j, column)
            return y
        if self.is_1d:
            return values[0]
        columns = [column.astype(object) for column in values]
        return np.column_stack(columns if len({v.dtype for v in values}) > 1 else values)

    def encode(self, y: Any) -> list[np.ndarray]:
        """Return a list of ``(n_samples,)`` arrays: class indices or standardized values."""
        return [task.encode(values) for task, values in zip(self.tasks, self.split(y), strict=True)]

    @property
    def groups(self) -> list[np.ndarray]:
        """Where :meth:`to_columns` has each task."""
        ends = np.cumsum([task.n_columns for task in self.tasks])
        return [
            np.arange(end - task.n_columns, end) for end, task in zip(ends, self.tasks, strict=True)
        ]

    def to_columns(self, y: Any) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return ``y`` as float columns, and the columns that belong to each task.

        Class labels become indicators of all classes but the first.
        """
        blocks = [
            codes[:, None]
            if task.classes is None
            else (codes[:, None] == np.arange(1, task.n_classes)).astype(float)
            for task, codes in zip(self.tasks, self.encode(y), strict=True)
        ]
        return np.hstack(blocks), self.groups

    def join(self, columns: list[np.ndarray]) -> np.ndarray:
        """Return predictions, one array a task, in the form that ``y`` had."""
        if self.is_1d:
            return columns[0]
        kinds = {column.dtype.kind for column in columns}
        dtype = None if len(kinds) == 1 else object
        return np.column_stack([column.astype(dtype or column.dtype) for column in columns])

    def score(self, y: Any, prediction: np.ndarray, sample_weight: Any = None) -> float:
        """Return the mean over tasks of R2 (continuous) or accuracy (class labels)."""
        truths = self.split(y, like=prediction)
        columns = [prediction] if self.is_1d else list(prediction.T)
        weights = None
        if sample_weight is not None:
            weights = check_numbers(
                sample_weight, "sample_weight", ensure_2d=False, ensure_non_negative=True
            )
            check_same_length(X=prediction, sample_weight=weights)
            weights = column_or_1d(weights)
        scores = [
            task.score(truth, column, weights)
            for task, truth, column in zip(self.tasks, truths, columns, strict=True)
        ]
        return float(np.mean(scores))

    @staticmethod
    def columns(y: Any) -> list[np.ndarray]:
        """Return the values of each task in ``y``, which may be missing."""
        return _split_columns(y, allow_missing=True)[0]

    @staticmethod
    def labels(y: Any) -> list[np.ndarray | None]:
        """Return the class labels of each task in ``y``, None where it is continuous."""
        columns, names, _ = _split_columns(y)
        return [
            None if values.dtype.kind == "f" else _classes(values, name)
            for values, name in zip(columns, names, strict=True)
        ]

    @classmethod
    def for_samples(cls, y: Any, X: Any, *, estimator: Any, **options: Any) -> Self:
        """Build from the ``y`` of a ``fit``, which must be there and as long as ``X``."""
        if y is None:
            raise cls.missing(estimator)
        check_same_length(X=X, y=_split_columns(y, allow_missing=True)[0][0])
        return cls(y, **options)

    @classmethod
    def first_of_many(cls, y: Any, classes: Any, estimator: Any) -> Self:
        """Build from the ``y`` of a first ``partial_fit``, and the class labels to expect."""
        if y is None:
            raise cls.missing(estimator)
        if classes is None:
            classes = cls.labels(y)
        elif np.ndim(y) == 1:
            classes = [classes]
        return cls(y, classes=classes)

    @staticmethod
    def missing(estimator: Any) -> ValueError:
        """Return the error for a missing ``y``."""
        return ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )


def pad_columns(groups: list[np.ndarray], first: int) -> np.ndarray:
    """Return the columns of each group in a row, counted from ``first``, -1 for none."""
    padded = np.full((len(groups), max(map(len, groups), default=0)), -1)
    for row, group in zip(padded, groups, strict=True):
        row[: len(group)] = first + group
    return padded


def _split_columns(y: Any, allow_missing: bool = False) -> tuple[list[np.ndarray], list[str], bool]:
    is_table = hasattr(y, "columns")
    array = y if is_table else as_array(_keep_types(y), "y")
    if len(array.shape) not in (1, 2) or 0 in array.shape:
        raise ValueError(
            "y must have shape (n_samples,) or (n_samples, n_tasks) and not be empty, "
            f"got shape {tuple(array.shape)}."
        )
    if is_table:
        # Tables of pandas have the columns of any name here, those of polars do without.
        cells = getattr(y, "iloc", y)
        columns = [np.asarray(_keep_types(cells[:, j])) for j in range(y.shape[1])]
        names, is_1d = [str(name) for name in y.columns], False
    else:
        is_1d = array.ndim == 1
        columns = [array] if is_1d else list(array.T)
        names = [f"task{j}" for j in range(len(columns))]
    return [_check_column(column, allow_missing) for column in columns], names, is_1d


def _keep_types(column: Any) -> Any:
    """Return a column with missing values as objects: as numbers, integers become floats."""
    if getattr(column, "null_count", None) is not None and column.null_count():  # polars
        return np.array(column.to_list(), dtype=object)
    is_extension = hasattr(column, "isna") and not isinstance(column.dtype, np.dtype)
    return column.astype(object) if is_extension and column.isna().any() else column


def _resolve_kinds(task_types: Any, names: list[str]) -> list[str | None]:
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


def _of_kind(values: np.ndarray, kind: str | None, name: str) -> np.ndarray:
    """Return amounts as floats, and labels as integers where they came as whole floats."""
    is_float = values.dtype.kind == "f"
    if kind is None or is_float == (kind == "amount"):
        return values
    missing = is_missing(values)
    if kind == "amount":
        floats = np.full(len(values), np.nan)
        try:
            floats[~missing] = values[~missing].astype(float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Task {name!r} of y is an amount, but it has {error}.") from error
        return floats
    present = values[~missing]
    if (present != np.round(present)).any() or (np.abs(present) > MAX_INTEGER).any():
        return values
    if not missing.any():
        return values.astype(np.int64)
    labels = np.full(len(values), None)
    labels[~missing] = present.astype(np.int64)
    return labels


@contextmanager
def kinds_are_known() -> Iterator[None]:
    """Silence warnings of ambiguous columns in parts, whose ``y`` was read already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Task .* is read as", SpecialistWarning)
        yield


def _warn_if_ambiguous(values: np.ndarray, name: str) -> None:
    """Warn of the columns that are often of the other kind."""
    if values.dtype.kind == "f":
        if np.array_equal(np.unique(values), (0.0, 1.0)):
            warn(
                f"Task {name!r} of y, floats that are all 0 or 1, is read as an amount: write "
                "integers, or task_types='label' where it is a parameter, for class labels."
            )
    elif values.dtype.kind in "iu" and (n_labels := len(np.unique(values))) > MANY_LABELS:
        warn(
            f"Task {name!r} of y, integers of {n_labels} different values, is read as class "
            "labels: write y.astype(float), or task_types='amount' where it is a parameter, for "
            "an amount."
        )


def _check_column(values: np.ndarray, allow_missing: bool) -> np.ndarray:
    if values.dtype.kind == "c":
        raise ValueError("Complex data not supported in y.")
    if values.dtype.kind == "S":
        raise TypeError("y holds bytes: turn them into strings, as with y.astype(str).")
    if values.dtype == object:
        if not all(isinstance(value, Hashable) for value in values):
            raise TypeError("y has lists, dicts or other collections where labels should be.")
        missing = is_missing(values) if allow_missing else np.zeros(len(values), dtype=bool)
        if all(
            isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral)
            for value in values[~missing]
        ):
            values = np.where(missing, np.nan, values).astype(float)
        elif all(isinstance(value, numbers.Integral | np.bool_) for value in values):
            values = np.asarray(values.tolist())  # pandas' nullable types come as objects
    if allow_missing:
        if values.dtype.kind == "f" and np.isinf(values).any():
            raise ValueError("Input y contains infinity.")
        return values
    if values.dtype.kind in "OmM" and is_missing(values).any():
        raise ValueError("Input y contains missing values (None, NaN or NaT).")
    if values.dtype.kind == "f":
        assert_all_finite(values, input_name="y")
    return values


def _named_task(name: str, labels: Any, *, argument: str = "y") -> Task:
    """Return a task of the given class labels, or a continuous one for None."""
    if labels is None:
        return Task(name)
    classes = _classes(labels, name, argument)
    if len(classes) < 2:
        where = "" if argument == "y" else f" in {argument}"
        raise ValueError(f"Task {name!r} of y has one class only{where}: nothing can be learned.")
    return Task(name, classes=classes)


def _classes(labels: Any, name: str, argument: str = "y") -> np.ndarray:
    labels = as_array(labels, argument)
    if labels.dtype == object and all(isinstance(v, numbers.Integral | np.bool_) for v in labels):
        labels = np.asarray(labels.tolist())  # integers that stood beside missing values
    try:
        return np.unique(labels)
    except TypeError as error:
        raise TypeError(f"The labels of task {name!r} in {argument} are of mixed types.") from error


def _as_floats(values: np.ndarray) -> np.ndarray:
    floats = as_array(values, "y", dtype=float)
    refuse_huge(floats, "y")
    return floats


def _learn_task(
    values: np.ndarray, name: str, weights: np.ndarray | None = None, kind: str | None = None
) -> Task:
    values = _of_kind(values, kind, name)
    if kind == "label" and values.dtype.kind == "f":
        # The first words are those of scikit-learn.
        raise ValueError(
            f"Unknown label type: continuous. Task {name!r} of y has labels that are not whole "
            "numbers: use a regressor, or task_types='amount'."
        )
    present = ~is_missing(values)
    if weights is not None:
        present &= weights > 0
    values, weights = values[present], None if weights is None else weights[present]
    if not len(values):
        raise ValueError(f"Task {name!r} of y has no value: all are missing, or of weight zero.")
    if kind is None:
        _warn_if_ambiguous(values, name)
    if values.dtype.kind != "f":
        return _named_task(name, values)
    floats = _as_floats(values)
    mean = float(np.average(floats, weights=weights))
    scale = float(np.average((floats - mean) ** 2, weights=weights)) ** 0.5
    if scale <= 1e-12 * abs(mean) or scale == 0.0:
        raise ValueError(f"Task {name!r} of y is constant: nothing can be learned.")
    return Task(name, mean=mean, scale=scale)
