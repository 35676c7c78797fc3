"""Base class of the baselines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from .._base.estimator import all_or_nothing
from .._base.sklearn_compat import Interval, fit_context
from .._data.tasks import TaskTargets, pad_columns
from ..independence._base import IndependenceResult
from ..independence._gaussian import Wilks
from ..independence._moments import Moments
from ..structure._segments import AlignedStructureMixin, evidence_blocks, make_segments, to_columns

__all__ = ["BaseBaseline", "StructureProblem", "import_extra"]


# Attributes of all baselines, inserted into their docstrings.
STRUCTURE_ATTRIBUTES = """\
    segments_ : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    structure_ : ndarray of bool of shape (n_segments, n_tasks)
        Whether each segment belongs to each task.
    step_mask_ : ndarray of bool of shape (n_timesteps, n_tasks)
        Whether each step belongs to each task.
    support_ : ndarray of bool of shape (n_timesteps,)
        Steps that belong to any task.
    n_tasks_ : int
        Number of tasks.
    task_names_ : list of str
        Names of the tasks: columns of a DataFrame ``y``, or task0, task1, ...
    n_timesteps_ : int
        Number of steps.
    n_features_in_ : int
        Number of columns of the flat sequences: steps times features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where ``X`` had names."""


@dataclass(frozen=True)
class StructureProblem:
    """Standardized data of a baseline.

    Attributes
    ----------
    X : ndarray of float64 of shape (n_sequences, n_timesteps, n_features)
        Sequences, each column with mean 0 and variance 1; a constant column is 0.
    tasks : ndarray of float64 of shape (n_sequences, n_columns)
        Tasks, standardized; class labels are indicators. No columns without ``y``.
    groups : list of ndarray of int
        Columns of each task.
    segments : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    """

    X: np.ndarray
    tasks: np.ndarray
    groups: list[np.ndarray]
    segments: np.ndarray

    def flat(self) -> np.ndarray:
        """Return the sequences, one per row."""
        return self.X.reshape(len(self.X), -1)

    def associations(self) -> IndependenceResult:
        """Test each segment against each task: shape (n_segments, n_tasks)."""
        data = np.hstack([self.flat(), self.tasks])
        tasks = pad_columns(self.groups, data.shape[1] - self.tasks.shape[1])
        steps, _ = evidence_blocks(self.segments, self.X.shape[1], "all")
        segments = to_columns(steps, self.X.shape[2])
        i, j = np.indices((len(segments), len(tasks))).reshape(2, -1)
        tests = Wilks().test_many(Moments.from_data(data), segments[i], tasks[j])
        return tests.reshape(len(segments), len(tasks))

    def any_of_segment(self, steps: np.ndarray) -> np.ndarray:
        """Return for each segment whether any of its steps (first axis) is true."""
        return np.logical_or.reduceat(steps, self.segments[:, 0], axis=0)

    def any_of_task(self, columns: np.ndarray) -> np.ndarray:
        """Return for each task whether any of its columns (last axis) is true."""
        return np.stack([columns[..., group].any(axis=-1) for group in self.groups], axis=-1)


class BaseBaseline(AlignedStructureMixin, BaseEstimator, ABC):
    """Base of all baselines.

    A new baseline is one file of this folder with a subclass that implements
    :meth:`_find_structure`, and whose tags state whether ``y`` is required. In its
    docstring, ``{structure_attributes}`` stands for the attributes that all have.
    """

    _parameter_constraints: dict = {
        "segment_length": [Interval(Integral, 1, None, closed="left")],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
    }

    segment_length: int
    n_timesteps: int | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Complete the docstring."""
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            cls.__doc__ = cls.__doc__.replace("    {structure_attributes}", STRUCTURE_ATTRIBUTES)

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Find which segments belong to which task.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Aligned sequences; the columns of a 2-D ``X`` are steps in time order.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Tasks. Columns of floats are continuous, columns of integers, booleans or
            strings are class labels. None only where the class allows it.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError
            If ``y`` is missing and needed, ``X`` or ``y`` have NaN or infinite values, a
            task is constant, or there are fewer steps than a segment has.
        ImportError
            If the baseline needs a library that is not installed.
        """
        X = self._validate(X, n_timesteps=self.n_timesteps, reset=True, ensure_min_samples=2)
        segments = make_segments(X.shape[1], self.segment_length)
        tasks, groups, names = np.empty((len(X), 0)), list[np.ndarray](), None
        if y is not None or get_tags(self).target_tags.required:
            targets = TaskTargets.for_samples(y, X, estimator=self)
            (tasks, groups), names = targets.to_columns(y), targets.names
        problem = StructureProblem(_standardize(X), _standardize(tasks), groups, segments)
        structure = self._find_structure(problem)
        self._set_structure(structure, segments, X.shape[1], names)
        return self

    @abstractmethod
    def _find_structure(self, problem: StructureProblem) -> np.ndarray:
        """Return which segments each task has, bool of shape (n_segments, n_tasks)."""


def import_extra(module: str, owner: object) -> Any:
    """Import a module of an optional library, or raise an error that names the extra."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{type(owner).__name__} needs {module.partition('.')[0]}: "
            'pip install "skspecialist[baselines]".'
        ) from error


def _standardize(columns: np.ndarray) -> np.ndarray:
    columns = columns.astype(np.float64)
    mean, scale = columns.mean(axis=0), columns.std(axis=0)
    constant = scale <= 1e-12 * np.abs(mean)
    return np.where(constant, 0.0, columns - mean) / np.where(constant, 1.0, scale)
