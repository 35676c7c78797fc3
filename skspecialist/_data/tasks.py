"""Task values: amounts or class labels, one column per task."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils.validation import assert_all_finite

from ..exceptions import warn
from . import task_tables
from .task_tables import TableForm
from .validation import as_array, check_same_length, is_missing, refuse_huge
from .weights import validate_sample_weight

__all__ = ["Task", "TaskTargets", "of_kind", "pad_columns", "read_tasks", "split_columns"]

# Integers with more distinct values are rarely class labels: ten digits are, and the days of a
# month are not.
MANY_LABELS = 20


def read_tasks(y: Any) -> Any:
    """Return ``y`` as a table or an array whose rows can be selected."""
    return y if _is_plain(y) else task_tables.read_tasks(y)


def split_columns(y: Any, allow_missing: bool = False) -> tuple[list[np.ndarray], list[str], bool]:
    """Return the values of each task in ``y``, the names of the tasks, and whether ``y`` is 1-D."""
    y = read_tasks(y)
    name, is_table = getattr(y, "name", None), hasattr(y, "columns")
    if not is_table and not _is_plain(y):
        y = as_array(task_tables.keep_types(y), "y")
    is_1d = len(y.shape) == 1
    if len(y.shape) not in (1, 2) or 0 in y.shape:
        raise ValueError(
            "y must have shape (n_samples,) or (n_samples, n_tasks) and not be empty, "
            f"got shape {tuple(y.shape)}."
        )
    if is_table:
        columns, names = task_tables.table_columns(y), list(map(str, y.columns))
    else:
        columns = [y] if is_1d else list(y.T)
        names = [f"task{j}" for j in range(len(columns))]
        if is_1d and isinstance(name, str) and name:  # a series
            names = [name]
    return [_check_column(column, allow_missing) for column in columns], names, is_1d


def _is_plain(y: Any) -> bool:
    return type(y) is np.ndarray and y.dtype.names is None


def of_kind(values: np.ndarray, kind: str | None, name: str) -> np.ndarray:
    """Return amounts as floats, and labels as integers where they came as whole floats."""
    is_float = values.dtype.kind == "f"
    if kind is None or is_float == (kind == "amount"):
        return values
    return task_tables.convert(values, kind, name)


def warn_if_ambiguous(values: np.ndarray, name: str) -> None:
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
    if values.dtype.kind == "T":  # strings of any length
        values = values.astype(object)
    if values.dtype == object:
        values = task_tables.parse_objects(values, allow_missing)
    if not allow_missing and values.dtype.kind in "OmM" and is_missing(values).any():
        raise ValueError("Input y contains missing values (None, NaN or NaT).")
    if values.dtype.kind == "f":
        assert_all_finite(values, allow_nan=allow_missing, input_name="y")
    return values


def class_labels(labels: Any, name: str, argument: str = "y") -> np.ndarray:
    labels = as_array(labels, argument)
    if labels.dtype == object and all(isinstance(v, numbers.Integral | np.bool_) for v in labels):
        labels = np.asarray(labels.tolist())  # integers that stood beside missing values
    try:
        return np.unique(labels)
    except TypeError as error:
        raise TypeError(f"The labels of task {name!r} in {argument} are of mixed types.") from error


def as_floats(values: np.ndarray) -> np.ndarray:
    floats = as_array(values, "y", dtype=float)
    refuse_huge(floats, "y")
    return floats


@dataclass(frozen=True, eq=False)
class Task:
    """One task: its name, its sorted classes or the mean and scale of its amounts."""

    name: str
    classes: np.ndarray | None = None  # of an amount
    mean: float = 0.0
    scale: float = 1.0
    is_constant: bool = False  # fewer than two different values: nothing can be learned

    @property
    def is_classification(self) -> bool:
        """Whether the values are class labels."""
        return self.classes is not None

    @property
    def n_classes(self) -> int:
        """Number of classes, 0 for a continuous task."""
        return 0 if self.classes is None else len(self.classes)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return class indices (int64) or standardized values (float64), shape (n,).

        Missing values are NaN, and class indices beside them floats.
        """
        if self.is_constant:
            return np.full(len(values), np.nan)
        if self.classes is None:
            return (as_floats(values) - self.mean) / self.scale
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

    def without_unseen(self, values: np.ndarray) -> np.ndarray:
        """Return held-out values, with a warning where labels are not among the classes.

        These are missing values then, unless all are: that is not the same task.
        """
        if self.classes is None or self.is_constant:
            return values
        known, missing = set(self.classes.tolist()), is_missing(values)
        unseen = np.array([label not in known for label in values.tolist()]) & ~missing
        if not unseen.any() or (unseen | missing).all():
            return values
        warn(
            f"Task {self.name!r} of y has labels that were not seen in fit, "
            f"{np.unique(values[unseen]).tolist()}: these samples do not count for it."
        )
        return _without(values, unseen)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Undo :meth:`encode`."""
        if self.classes is None:
            return codes * self.scale + self.mean
        return self.classes[codes]

    def score(
        self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None = None
    ) -> float:
        """Return R2 or the accuracy of the values that are not missing, NaN without one."""
        present = ~is_missing(truth) & ~is_missing(prediction)
        if weights is not None:
            present &= weights > 0
            weights = weights[present]
        truth, prediction = truth[present], prediction[present]
        if len(truth) < (1 if self.is_classification else 2):
            return float("nan")  # as scikit-learn's r2_score, without its warning
        if self.classes is not None:
            if unseen := set(truth.tolist()) - set(self.classes.tolist()):
                warn(
                    f"Task {self.name!r} of y has labels that were not seen in fit, "
                    f"{sorted(unseen, key=str)}, and count as errors. Rows in the order of their "
                    "class need folds that are stratified or shuffled, such as StratifiedKFold()."
                )
            # Not accuracy_score, which refuses labels in an array of objects.
            return float(np.average(truth == prediction, weights=weights))
        return float(r2_score(as_floats(truth), prediction.astype(float), sample_weight=weights))


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
        For each task all of its class labels, or None where it is an amount. Without it, labels,
        means and scales are learned from ``y``; with it, ``y`` is a first part of the data, and
        amounts stay in their own units.
    allow_missing : bool, default=False
        Whether NaN, or None among labels, is a value that is missing, rather than an error;
        and a task without two different values a warning, if others have them.
    weights : ndarray of shape (n_samples, n_tasks), default=None
        How much a value counts in the means and scales; zero is as if it were missing.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kind of all tasks, of each task (None: by the rule), or of some tasks by name.
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
        columns, names, self.is_1d = split_columns(y, allow_missing)
        self.table = None if _is_plain(y) else TableForm.of(read_tasks(y))
        if classes is None:
            kinds: Any = [None] * len(columns)
            counts: Any = kinds
            if task_types is not None:
                kinds = task_tables.resolve_kinds(task_types, names)
            if weights is not None:
                counts = list(weights.T)
            given = zip(columns, names, counts, kinds, strict=True)
            self.tasks = [_learn_task(*column) for column in given]
            constant = [task for task in self.tasks if task.is_constant]
            if constant and (not allow_missing or len(constant) == len(self)):
                raise ValueError(f"{_reason_constant(constant[0])}: nothing can be learned.")
            for task in constant:
                warn(
                    f"{_reason_constant(task)}: nothing is learned for it, and the other tasks are "
                    "fitted without it."
                )
            return
        if not isinstance(classes, Sequence | np.ndarray) or len(classes) != len(columns):
            raise ValueError(
                f"classes must list the labels of each of the {len(columns)} tasks of y, got "
                f"{classes!r}."
            )
        self.tasks = []
        for name, labels in zip(names, classes, strict=True):
            known = None if labels is None else class_labels(labels, name, "classes")
            if known is not None and len(known) < 2:
                raise ValueError(
                    f"Task {name!r} of y has one class only in classes: nothing can be learned."
                )
            self.tasks.append(Task(name, classes=known))

    def __len__(self) -> int:
        return len(self.tasks)

    def __repr__(self) -> str:
        kinds = ("amount" if task.classes is None else task.classes for task in self.tasks)
        return f"TaskTargets({', '.join(map('{}: {}'.format, self.names, kinds))})"

    def __add__(self, other: TaskTargets) -> TaskTargets:
        """Return the tasks of both; a name that is taken becomes one by number."""
        both = copy.copy(self)
        names = set(self.names)
        further = [
            replace(task, name=f"task{len(self) + i}") if task.name in names else task
            for i, task in enumerate(other.tasks)
        ]
        both.tasks, both.is_1d = [*self.tasks, *further], False
        if self.table is not None:
            dtypes = [None] * len(further) if other.table is None else other.table.dtypes
            labels = [*self.table.names, *(task.name for task in further)]
            both.table = replace(self.table, names=labels, dtypes=self.table.dtypes + dtypes)
        return both

    @property
    def names(self) -> list[str]:
        """Names of the tasks."""
        return [task.name for task in self.tasks]

    def split(self, y: Any, *, like: Any = None) -> list[np.ndarray]:
        """Return the columns of a ``y`` that must have the tasks of the fitted one."""
        columns, _, _ = split_columns(y, self.allow_missing)
        if len(columns) != len(self):
            raise ValueError(f"y has {len(columns)} tasks, but fit saw {len(self)}.")
        if like is not None:
            check_same_length(X=like, y=columns[0])
        return [
            of_kind(values, "label" if task.is_classification else "amount", task.name)
            for task, values in zip(self.tasks, columns, strict=True)
        ]

    def with_kinds(self, y: Any, absent: np.ndarray | None = None) -> Any:
        """Return ``y`` with amounts as floats and labels as other types.

        An estimator that reads it by the rule finds the kinds of these tasks. Values that are
        ``absent``, of shape (n_samples, n_tasks), are missing.
        """
        y = read_tasks(y)
        given, values = split_columns(y, self.allow_missing)[0], self.split(y)
        if absent is not None and absent.any():
            values = [_without(column, rows) for column, rows in zip(values, absent.T, strict=True)]
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

    def encode(self, y: Any, *, held_out: bool = False) -> list[np.ndarray]:
        """Return a list of ``(n_samples,)`` arrays: class indices or standardized values.

        In held-out samples, labels that were not seen in fit are missing, with a warning.
        """
        columns = self.split(y)
        if held_out:
            columns = [t.without_unseen(v) for t, v in zip(self.tasks, columns, strict=True)]
        return [task.encode(values) for task, values in zip(self.tasks, columns, strict=True)]

    @property
    def groups(self) -> list[np.ndarray]:
        """Where :meth:`to_columns` has each task."""
        # One column per amount, and one less than there are classes per task of labels.
        sizes = [0 if task.is_constant else max(task.n_classes - 1, 1) for task in self.tasks]
        return np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])

    def to_columns(self, y: Any, *, held_out: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return ``y`` as float columns, and the columns that belong to each task.

        Class labels become indicators of all classes but the first; missing values are NaN.
        """
        return np.hstack(self.column_blocks(y, 1, held_out=held_out)), self.groups

    def column_blocks(
        self, y: Any, first_class: int = 0, *, held_out: bool = False
    ) -> list[np.ndarray]:
        """Return the float columns of each task, indicators of classes from the first one on."""
        blocks = []
        for task, codes in zip(self.tasks, self.encode(y, held_out=held_out), strict=True):
            if task.is_constant:
                continue
            columns = codes[:, None].astype(float)
            if task.classes is not None:
                found = (columns == np.arange(first_class, task.n_classes)).astype(float)
                columns = np.where(np.isnan(columns), np.nan, found)
            blocks.append(columns)
        return blocks

    @property
    def learned(self) -> np.ndarray:
        """Tasks of which something can be learned, shape (n_tasks,), bool."""
        return np.array([not task.is_constant for task in self.tasks])

    def place(self, rows: np.ndarray) -> np.ndarray:
        """Return one row per task, from those of the tasks that were learned; else zeros."""
        placed = np.zeros((len(self), *rows.shape[1:]), dtype=rows.dtype)
        placed[self.learned] = rows
        return placed

    def decode(self, outputs: Sequence[np.ndarray], n_samples: int, like: Any = None) -> Any:
        """Return predictions from standardized values, or scores (n_samples, n_classes) of classes.

        These are of the tasks that were learned; the others have the one value that they have.
        """
        rest, columns = iter(outputs), []
        for task in self.tasks:
            if task.is_constant:
                value = [task.mean] if task.classes is None else task.classes[:1]
                columns.append(np.repeat(value, n_samples))
            else:
                output = next(rest)
                columns.append(task.decode(output if output.ndim == 1 else output.argmax(axis=1)))
        return self.join(columns, like)

    def join(self, columns: list[np.ndarray], like: Any = None) -> Any:
        """Return predictions in the form of ``y``; those of a table have the index of ``like``."""
        if self.is_1d:
            return columns[0]
        if self.table is not None:
            labels = [task.is_classification for task in self.tasks]
            return self.table.build(columns, labels, like.index if hasattr(like, "iloc") else None)
        if len({column.dtype.kind for column in columns}) > 1:
            columns = [column.astype(object) for column in columns]
        return np.column_stack(columns)

    def score(self, y: Any, prediction: Any, sample_weight: Any = None) -> float:
        """Return the mean over tasks of R2 (continuous) or accuracy (class labels).

        Tasks without a value in ``y`` do not count.
        """
        truths = self.split(y, like=prediction)
        columns = [prediction] if self.is_1d else split_columns(prediction, True)[0]
        weights: Any = [None] * len(self)
        if sample_weight is not None:
            weights = validate_sample_weight(sample_weight, (len(prediction), len(self))).T
        scores = list(map(Task.score, self.tasks, truths, columns, weights))
        found = [score for score in scores if not np.isnan(score)]
        return float(np.mean(found)) if found else float("nan")

    @classmethod
    def for_samples(cls, y: Any, X: Any, *, estimator: Any, **options: Any) -> Self:
        """Build from the ``y`` of a ``fit``, which must be there and as long as ``X``."""
        require_tasks(y, estimator)
        y = read_tasks(y)
        check_same_length(X=X, y=y if hasattr(y, "__len__") else as_array(y, "y"))
        return cls(y, **options)


def require_tasks(y: Any, estimator: Any) -> None:
    """Raise if ``y`` is not given."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )


def _without(values: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Return values that are missing where they are absent."""
    if values.dtype.kind == "f":
        return np.where(absent, np.nan, values)
    values = values.astype(object)
    values[absent] = None
    return values


def pad_columns(groups: Sequence[np.ndarray], first: int) -> np.ndarray:
    """Return the columns of each group in a row, counted from ``first``, -1 for none."""
    padded = np.full((len(groups), max(map(len, groups), default=0)), -1)
    for row, group in zip(padded, groups, strict=True):
        row[: len(group)] = first + group
    return padded


def _learn_task(values: np.ndarray, name: str, weights: Any, kind: str | None) -> Task:
    values = of_kind(values, kind, name)
    if kind == "label" and values.dtype.kind == "f" and not np.isnan(values).all():
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
        return Task(name, mean=np.nan, is_constant=True)
    if kind is None:
        warn_if_ambiguous(values, name)
    if values.dtype.kind != "f":
        classes = class_labels(values, name)
        return Task(name, classes=classes, is_constant=len(classes) < 2)
    floats = as_floats(values)
    mean = float(np.average(floats, weights=weights))
    scale = float(np.average((floats - mean) ** 2, weights=weights)) ** 0.5
    is_constant = scale <= 1e-12 * abs(mean)
    return Task(name, mean=mean, scale=1.0 if is_constant else scale, is_constant=is_constant)


def _reason_constant(task: Task) -> str:
    if task.classes is not None:
        return f"Task {task.name!r} of y has one class only"
    if np.isnan(task.mean):
        return f"Task {task.name!r} of y has no value (all are missing, or of weight zero)"
    return f"Task {task.name!r} of y is constant"
