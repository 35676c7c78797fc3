"""Sequences, weights and splits as the pipelines read them."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from .._base.sklearn_compat import safe_indexing
from .._data.ragged import after_the_end, pad_list
from .._data.task_columns import read_tasks
from .._data.tasks import TaskTargets
from .._data.validation import (
    check_labels,
    check_same_length,
    n_dimensions,
    split_indices,
    validate_sequences,
)
from .._data.weights import merge_samples, validate_sample_weight

__all__ = ["clone_with_seed", "fit_weighted", "is_fractions", "merge_sequences", "read_sequences"]


def read_sequences(
    pipeline: Any, X: Any, n_timesteps: int | None, reset: bool = True, *, keeps_nan: bool
) -> np.ndarray:
    """Validate sequences, of which steps after the end of shorter ones are NaN."""
    X = pad_list(X, None if reset else n_timesteps)
    is_flat = n_dimensions(X) != 3
    checks: dict[str, Any] = {"ensure_all_finite": "allow-nan"}
    if reset:
        checks["ensure_min_samples"] = 2
    X = validate_sequences(pipeline, X, n_timesteps=n_timesteps, reset=reset, **checks)
    # The sum is NaN if any value is, and needs no array of the size of X.
    if np.isnan(X.sum()) and pipeline.generalist is None and not keeps_nan:
        ended = after_the_end(X)
        if is_flat or ended.all(axis=1).any() or np.isnan(X[~ended]).any():
            raise ValueError(
                "Input X contains NaN, before the end of a sequence or in columns. Fill it in "
                "with an imputer as generalist, such as make_pipeline(SimpleImputer(), "
                "StandardScaler()), or use an estimator that supports it with "
                "strategy='generalist'."
            )
    return X


def is_fractions(cv: Any) -> bool:
    """Return whether ``cv`` is a sequence of fractions."""
    return isinstance(cv, (tuple, list, np.ndarray)) and all(isinstance(s, Real) for s in cv)


def merge_sequences(
    X: np.ndarray, y: Any, labels: dict[str, Any], sample_weight: Any, cv: Any
) -> tuple[np.ndarray, Any, dict[str, Any], np.ndarray | None, Any]:
    """Return one sequence for all that are equal, with the sum of their weights.

    An integer weight is then equivalent to as many repetitions, and zero to absence.

    Parameters
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features)
        Sequences.
    y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
        Their tasks.
    labels : dict of {str: array-like of shape (n_sequences,) or None}
        Groups and environments: sequences of different ones are never merged.
    sample_weight : array-like of shape (n_sequences,) or (n_sequences, n_tasks) or None
        Weights of the sequences, or of their values in each task.
    cv : int, fractions, splitter or iterable
        Splits, which are made before sequences are merged if they are not random.

    Returns
    -------
    X, y, labels : object
        Those of the merged sequences.
    weights : ndarray of shape (n_merged, n_tasks) or None
        Their weights, of maximum 1 in each task; None if all are equal.
    cv : object
        The splits of the merged sequences.
    """
    y = read_tasks(y)
    columns = TaskTargets.columns(y)
    check_same_length(X=X, y=columns[0], **labels)
    weights = validate_sample_weight(sample_weight, (len(X), len(columns)))
    kept_apart = [check_labels(v, name) for name, v in labels.items() if v is not None]
    splits = None
    if not isinstance(cv, Integral) and not is_fractions(cv):
        groups = labels.get("groups")
        splits = list(split_indices(cv, X, y, groups))
        sides = np.zeros((len(X), 2 * len(splits)), dtype=bool)
        for k, (train, test) in enumerate(splits):
            sides[train, 2 * k] = sides[test, 2 * k + 1] = True
        kept_apart.append(np.unique(sides, axis=0, return_inverse=True)[1].ravel())
    index, merged = merge_samples(weights, [X], columns, kept_apart)
    if np.array_equal(index, np.arange(len(X))):
        equal = np.all(merged == merged[:1, :1])
        return X, y, labels, None if equal else merged, cv if splits is None else splits
    labels = {name: None if v is None else safe_indexing(v, index) for name, v in labels.items()}
    if splits is not None:
        cv = [tuple(np.flatnonzero(np.isin(index, side)) for side in split) for split in splits]
    return X[index], safe_indexing(y, index), labels, merged, cv


def clone_with_seed(part: Any, seed: int) -> Any:
    """Return a clone, with a seed for every ``random_state`` that is None."""
    if part is None:
        return None
    part = clone(part)
    seeds = {
        name: seed
        for name, value in part.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    }
    if seeds:  # a frozen estimator has no parameters to set
        part.set_params(**seeds)
    return part


def fit_weighted(estimator: Any, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Any:
    """Fit an estimator with weights, which go to all steps of a pipeline that take them.

    Raises
    ------
    TypeError
        If the estimator, or the last step of a pipeline, takes no weights.
    """
    if weights is None:
        return estimator.fit(X, y)
    last = estimator
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    if not has_fit_parameter(last, "sample_weight"):
        raise TypeError(
            "sample_weight needs an estimator whose fit has a parameter of this name, but "
            f"{type(last).__name__} has none."
        )
    return estimator.fit(X, y, **dict.fromkeys(_weight_parameters(estimator), weights))


def _weight_parameters(estimator: Any) -> list[str]:
    """Return the names under which ``fit`` takes the weights, of steps of pipelines too."""
    if isinstance(estimator, Pipeline):
        return [f"{n}__{own}" for n, step in estimator.steps for own in _weight_parameters(step)]
    takes = hasattr(estimator, "fit") and has_fit_parameter(estimator, "sample_weight")
    return ["sample_weight"] if takes else []
