"""Task values: continuous or class labels, one column a task."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.metrics import r2_score

from ..exceptions import SpecialistWarning, warn
from .task_columns import (
    TableForm,
    as_floats,
    class_labels,
    of_kind,
    read_tasks,
    resolve_kinds,
    split_columns,
    warn_if_ambiguous,
)
from .validation import check_same_length, is_missing
from .weights import validate_sample_weight

__all__ = ["Task", "TaskTargets", "kinds_are_known", "pad_columns"]


@dataclass(frozen=True, eq=False)
class Task:
    """One task: its name, and how its values become numbers.

    Attributes
    ----------
    name : str
        Name of the column of ``y``.
    classes : ndarray or None
        Sorted class labels; None for an amount.
    mean, scale : float
        Mean and standard deviation of an amount.
    is_constant : bool
        Whether fewer than two different values were given, so that nothing can be learned.
    """

    name: str
    classes: np.ndarray | None = None
    mean: float = 0.0
    scale: float = 1.0
    is_constant: bool = False

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
        if self.is_constant:
            return 0
        return 1 if self.classes is None else len(self.classes) - 1

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
        values = values.astype(object)
        values[unseen] = None
        return values

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Undo :meth:`encode`."""
        if self.classes is None:
            return codes * self.scale + self.mean
        return self.classes[codes]

    def constant(self, n_samples: int) -> np.ndarray:
        """Return the prediction of a task without two values: the one that it has, if any."""
        if self.classes is None:
            return np.full(n_samples, self.mean)
        return np.repeat(self.classes[:1], n_samples)

    def score(
        self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None = None
    ) -> float:
        """Return R2, or the accuracy where the values are class labels; missing do not count.

        NaN without a value, or without a prediction.
        """
        present = ~is_missing(truth) & ~is_missing(prediction)
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
        For each task all of its class labels, or None where it is continuous. Without
        it, labels, means and scales are learned from ``y``, where no task may be
        constant; with it ``y`` is taken for a first part of the data, and continuous
        values stay in their own units.
    allow_missing : bool, default=False
        Whether NaN, or None among labels, is a value that is missing, rather than an error;
        and a task without two different values a warning, if others have them.
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
        columns, names, self.is_1d = split_columns(y, allow_missing)
        self.table = TableForm.of(read_tasks(y))
        if classes is None:
            counts = [None] * len(columns) if weights is None else list(weights.T)
            kinds = resolve_kinds(task_types, names)
            known = zip(columns, names, counts, kinds, strict=True)
            self.tasks = [_learn_task(*column) for column in known]
            self._check_constant(allow_missing)
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

    def _check_constant(self, allowed: bool) -> None:
        """Raise if no task can be learned, and warn of single ones."""
        constant = [task for task in self.tasks if task.is_constant]
        if constant and (not allowed or len(constant) == len(self)):
            raise ValueError(f"{_what_is_constant(constant[0])}: nothing can be learned.")
        for task in constant:
            warn(
                f"{_what_is_constant(task)}: nothing is learned for it, and the other tasks are "
                "fitted without it."
            )

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
        ends = np.cumsum([task.n_columns for task in self.tasks])
        return [
            np.arange(end - task.n_columns, end) for end, task in zip(ends, self.tasks, strict=True)
        ]

    def to_columns(self, y: Any, *, held_out: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return ``y`` as float columns, and the columns that belong to each task.

        Class labels become indicators of all classes but the first; missing values are NaN.
        """
        blocks = []
        for task, codes in zip(self.tasks, self.encode(y, held_out=held_out), strict=True):
            if task.is_constant:
                continue
            columns = codes[:, None].astype(float)
            if task.classes is not None:
                found = (columns == np.arange(1, task.n_classes)).astype(float)
                columns = np.where(np.isnan(columns), np.nan, found)
            blocks.append(columns)
        return np.hstack(blocks), self.groups

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
        """Return predictions from the outputs of the tasks that were learned.

        Standardized values, or scores of the classes of shape (n_samples, n_classes). The rest
        is as in :meth:`join`.
        """
        rest = iter(outputs)
        columns = []
        for task in self.tasks:
            if task.is_constant:
                columns.append(task.constant(n_samples))
                continue
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
        kinds = {column.dtype.kind for column in columns}
        dtype = None if len(kinds) == 1 else object
        return np.column_stack([column.astype(dtype or column.dtype) for column in columns])

    def score(self, y: Any, prediction: Any, sample_weight: Any = None) -> float:
        """Return the mean over tasks of R2 (continuous) or accuracy (class labels).

        Tasks without a value in ``y`` do not count.
        """
        truths = self.split(y, like=prediction)
        columns = [prediction] if self.is_1d else split_columns(prediction, True)[0]
        weights: list[Any] = [None] * len(self)
        if sample_weight is not None:
            shape = (len(prediction), len(self))
            weights = list(validate_sample_weight(sample_weight, shape).T)
        scores = [
            task.score(truth, column, weight)
            for task, truth, column, weight in zip(
                self.tasks, truths, columns, weights, strict=True
            )
        ]
        found = [score for score in scores if not np.isnan(score)]
        return float(np.mean(found)) if found else float("nan")

    @staticmethod
    def columns(y: Any) -> list[np.ndarray]:
        """Return the values of each task in ``y``, which may be missing."""
        return split_columns(y, allow_missing=True)[0]

    @staticmethod
    def labels(y: Any, task_types: Any = None) -> list[np.ndarray | None]:
        """Return the class labels of each task in ``y``, None where it is continuous."""
        columns, names, _ = split_columns(y)
        kinds = resolve_kinds(task_types, names)
        columns = [of_kind(*column) for column in zip(columns, kinds, names, strict=True)]
        return [
            None if values.dtype.kind == "f" else class_labels(values, name)
            for values, name in zip(columns, names, strict=True)
        ]

    @classmethod
    def for_samples(cls, y: Any, X: Any, *, estimator: Any, **options: Any) -> Self:
        """Build from the ``y`` of a ``fit``, which must be there and as long as ``X``."""
        if y is None:
            raise cls.missing(estimator)
        check_same_length(X=X, y=split_columns(y, allow_missing=True)[0][0])
        return cls(y, **options)

    @classmethod
    def first_of_many(cls, y: Any, classes: Any, estimator: Any) -> Self:
        """Build from the ``y`` of a first ``partial_fit``, and the class labels to expect."""
        if y is None:
            raise cls.missing(estimator)
        if classes is None:
            classes = cls.labels(y, getattr(estimator, "task_types", None))
        elif np.ndim(y) == 1:
            classes = [classes]
        return cls(y, classes=classes)

    @staticmethod
    def missing(estimator: Any) -> ValueError:
        """Return the error for a missing ``y``."""
        return ValueError(
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


@contextmanager
def kinds_are_known() -> Iterator[None]:
    """Silence warnings of ambiguous columns in parts, whose ``y`` was read already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Task .* is read as", SpecialistWarning)
        yield


def _named_task(name: str, labels: Any, *, argument: str = "y") -> Task:
    """Return a task of the given class labels, or a continuous one for None."""
    if labels is None:
        return Task(name)
    classes = class_labels(labels, name, argument)
    if len(classes) < 2:
        where = "" if argument == "y" else f" in {argument}"
        raise ValueError(f"Task {name!r} of y has one class only{where}: nothing can be learned.")
    return Task(name, classes=classes)


def _learn_task(
    values: np.ndarray, name: str, weights: np.ndarray | None = None, kind: str | None = None
) -> Task:
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
    if scale <= 1e-12 * abs(mean) or scale == 0.0:
        return Task(name, mean=mean, is_constant=True)
    return Task(name, mean=mean, scale=scale)


def _what_is_constant(task: Task) -> str:
    if task.classes is not None:
        return f"Task {task.name!r} of y has one class only"
    if np.isnan(task.mean):
        return f"Task {task.name!r} of y has no value (all are missing, or of weight zero)"
    return f"Task {task.name!r} of y is constant"
