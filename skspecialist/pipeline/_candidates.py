"""Candidates of a task: ordinary estimators on columns of the representation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from .._data.tasks import Task, TaskTargets
from ..exceptions import warn
from ._heads import KernelMean, column_head, kernel_head
from ._representation import Representation

__all__ = [
    "BUILT_IN",
    "Candidate",
    "StepMoments",
    "check_candidates",
    "clone_with_seed",
    "fit_estimator",
    "null_estimator",
    "pinball_quantile",
    "predict_scores",
    "reads_latents",
    "shared_if_stateless",
    "task_candidates",
    "warn_of_ignored_parameters",
]

# Candidates of every pipeline, where they apply; they read all of the generalist or nothing,
# the steps of a task, or its latents.
BUILT_IN = (
    "generalist",
    "null",
    "pooled",
    "kernel",
    "steps",
    "steps_mean",
    "steps_kernel",
    "latents",
    "latents_kernel",
    "generalist+latents",
)

# Parts of the representation that a candidate may read.
PARTS = ("generalist", "steps", "latents")


# Parameters that each strategy ignores.
IGNORED = {
    "stack": (),
    "best": (),
    "specialist": ("candidates", "cv", "loss"),
    "generalist": ("structure", "encoder", "candidates", "task_features", "cv", "loss"),
}


class StepMoments(TransformerMixin, BaseEstimator):
    """Mean, last and largest value of every column over the steps of a sequence.

    Parameters
    ----------
    n_timesteps : int
        Number of steps of a row.
    statistics : tuple of {"mean", "last", "max"}, default=("mean",)
        Statistics of each column, in this order.
    """

    _REDUCE = {
        "mean": lambda steps: steps.mean(axis=1),
        "last": lambda steps: steps[:, -1],
        "max": lambda steps: steps.max(axis=1),
    }

    def __init__(self, n_timesteps: int, statistics: tuple[str, ...] = ("mean",)) -> None:
        self.n_timesteps = n_timesteps
        self.statistics = statistics

    def fit(self, X: np.ndarray, y: Any = None) -> Self:
        """Do nothing: nothing is estimated."""
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the statistics, shape (n_sequences, n_statistics * n_features)."""
        steps = X.reshape(len(X), self.n_timesteps, -1)
        return np.hstack([self._REDUCE[name](steps) for name in self.statistics])


@dataclass(frozen=True)
class Candidate:
    """Columns and unfitted estimator that may predict a task.

    Attributes
    ----------
    name : str
        Name, as in ``SpecialistPipeline.weights_``.
    columns : ndarray of int
        Columns of the representation.
    estimator : estimator
        Unfitted.
    reads : {"generalist", "steps", "latents"}
        Part of the representation that the columns are of; not the whole generalist for a
        specialist.
    is_curved : bool, default=False
        Whether the estimator is a smooth function that is not linear.
    is_pooled : bool, default=False
        Whether it reads a mean or sum over the steps of the task, over all if it has none.
    """

    name: str
    columns: np.ndarray
    estimator: Any
    reads: str = "generalist"
    is_curved: bool = False
    is_pooled: bool = False


def task_candidates(
    representation: Representation, index: int, task: Task, *, estimator: Any, selected: Any
) -> list[Candidate]:
    """Return the candidates of a task: the generalist, then those that are available.

    Parameters
    ----------
    representation : Representation
        Fitted.
    index : int
        Index of the task in the representation.
    task : Task
        The task.
    estimator, selected : object
        Parameters ``estimator`` and ``candidates`` of :class:`SpecialistPipeline`.
    """
    columns = {
        "generalist": np.arange(representation.n_generalist),
        **representation.columns[index],
    }
    candidates = _built_in(representation, columns, task, estimator_of(estimator, task))
    if isinstance(selected, str):
        return candidates
    names = {entry for entry in selected if isinstance(entry, str)}
    if "auto" not in names:
        # The generalist and the null model are what the others are compared with.
        candidates = [c for c in candidates if c.name in {"generalist", "null", *names}]
    for name, given, *reads in (entry for entry in selected if not isinstance(entry, str)):
        part = reads[0] if reads else "generalist"
        own = estimator_of(given, task)
        if own is not None and part in columns:
            candidates.append(Candidate(name, columns[part], own, part))
    return candidates


def reads_latents(selected: Any) -> bool:
    """Return whether a candidate may read latents, given the parameter ``candidates``."""
    if isinstance(selected, str):
        return True
    names = {"auto", "latents", "latents_kernel", "generalist+latents"}
    return any(e in names if isinstance(e, str) else e[-1] == "latents" for e in selected)


def estimator_of(given: Any, task: Task) -> Any:
    """Return the estimator of a task: of one for all, a pair by kind, or a dictionary by name."""
    if isinstance(given, dict):
        return given.get(task.name)
    if isinstance(given, tuple | list):
        return given[int(task.is_classification)]
    return given


def check_candidates(estimator: Any, selected: Any, names: list[str]) -> None:
    """Check the parameters ``estimator`` and ``candidates``, given the names of the tasks.

    Raises
    ------
    ValueError
        If an estimator is given for a task that does not exist, or not for both kinds, or a
        candidate is not known.
    """
    entries = [] if isinstance(selected, str) else list(selected)
    named = [entry for entry in entries if not isinstance(entry, str)]
    for entry in named:
        is_triple = isinstance(entry, tuple | list) and len(entry) in (2, 3)
        if (
            not is_triple
            or entry[0] in BUILT_IN
            or tuple(entry[2:]) not in ((), *[(p,) for p in PARTS])
        ):
            raise ValueError(
                "candidates must have names of the built-in ones, or tuples of a new name, an "
                f"estimator and, optionally, one of {list(PARTS)}; got {entry!r}."
            )
    new_names = [entry[0] for entry in named]
    if len(set(new_names)) < len(new_names):
        raise ValueError(f"candidates must have different names, got {new_names}.")
    unknown = {e for e in entries if isinstance(e, str)} - {"auto", *BUILT_IN}
    if unknown:
        raise ValueError(
            f"candidates={sorted(unknown)} are not known; use 'auto' and {list(BUILT_IN)}."
        )
    for argument, given in [("estimator", estimator), *(("candidates", e[1]) for e in named)]:
        if isinstance(given, dict) and not set(given) <= set(names):
            raise ValueError(
                f"{argument} has estimators of {sorted(map(str, set(given) - set(names)))}, but "
                f"the tasks are {names}."
            )
        if isinstance(given, tuple | list) and len(given) != 2:
            raise ValueError(
                f"{argument} must be one estimator, a pair (regressor, classifier), or a "
                f"dictionary by task; got {len(given)} of them."
            )


def _built_in(
    representation: Representation, parts: dict[str, np.ndarray], task: Task, estimator: Any
) -> list[Candidate]:
    everything = parts["generalist"]
    head, smooth = estimator, estimator
    if estimator is None:
        head, smooth = column_head(task.is_classification), kernel_head(task.is_classification)
    n_timesteps = len(representation.steps)
    candidates = [Candidate(name, columns, head, name) for name, columns in parts.items()]
    candidates.insert(1, Candidate("null", np.arange(0), null_estimator(task)))
    if "latents" in parts:
        both = np.append(everything, parts["latents"])
        candidates.append(Candidate("generalist+latents", both, head, "latents"))
    if representation.selects_stable:
        # Means and kernels mix stable columns with others.
        return candidates
    kernel = make_pipeline(KernelMean(1), smooth)
    candidates.append(Candidate("kernel", everything, kernel, is_curved=True))
    if "latents" in parts:
        latents = parts["latents"]
        candidates.append(Candidate("latents_kernel", latents, kernel, "latents", is_curved=True))
    if n_timesteps == 1:
        return candidates
    statistics = ("mean", "last", "max")
    pooled = make_pipeline(StepMoments(n_timesteps, statistics), head)
    candidates.append(Candidate("pooled", everything, pooled))
    if representation.aligned:
        # Without a step of its own a task is a sum over all steps.
        reads = "steps" if "steps" in parts else "generalist"
        own = parts[reads]
        n_steps = len(own) * n_timesteps // representation.n_generalist
        mean = make_pipeline(StepMoments(n_steps), head)
        own_kernel = make_pipeline(KernelMean(n_steps), smooth)
        candidates += [
            *([Candidate("steps_mean", own, mean, reads, is_pooled=True)] if n_steps > 1 else []),
            Candidate("steps_kernel", own, own_kernel, reads, is_curved=True, is_pooled=True),
        ]
    return candidates


def fit_estimator(
    estimator: Any,
    task: Task,
    features: np.ndarray,
    values: np.ndarray,
    seed: int,
    weights: np.ndarray | None = None,
) -> Any:
    """Return a fitted clone of the estimator of one task, of the null model for one value."""
    if task.is_classification and values.dtype == object:
        values = np.asarray(values.tolist())  # labels that stood beside missing ones
    if not len(values):
        # Of a task without any value nothing can be predicted.
        null = null_estimator(task).fit(np.zeros((1, features.shape[1])), np.zeros(1))
        null.constant_ = np.full_like(null.constant_, np.nan)
        return null
    if (values == values[0]).all():
        return fit_weighted(null_estimator(task), features, values, weights)
    if task.is_classification and is_regressor(estimator):
        warn(
            f"Task {task.name!r} has class labels, but the estimator is a regressor: write "
            "y.astype(float) if they are amounts."
        )
    return fit_weighted(clone_with_seed(estimator, seed), features, values, weights)


def null_estimator(task: Task) -> Any:
    """Return the unfitted null model: the mean, or the frequencies of the classes."""
    return DummyClassifier(strategy="prior") if task.is_classification else DummyRegressor()


def predict_scores(estimator: Any, task: Task, features: np.ndarray) -> np.ndarray:
    """Return amounts (n_samples, 1), or probabilities of the classes (n_samples, n_classes).

    A classifier without ``predict_proba`` gives its class the probability 1. A class that is
    missing from the data that the estimator was fitted to has the probability 0.
    """
    if not task.is_classification or is_regressor(estimator):
        return np.asarray(estimator.predict(features), dtype=float).reshape(-1, 1)
    if not hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict(features)[:, None] == task.classes, dtype=float)
    probabilities = np.zeros((len(features), task.n_classes))
    assert task.classes is not None
    found = np.searchsorted(task.classes, estimator.classes_)
    probabilities[:, found] = estimator.predict_proba(features)
    return probabilities


def pinball_quantile(estimator: Any) -> float:
    """Return the ``quantile`` of an estimator or a part of it, the median without one."""
    values = [
        value
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "quantile" and value is not None
    ]
    return float(values[0]) if values else 0.5


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
    # The weights are addressed to the steps: requests of metadata would refuse these names.
    with config_context(enable_metadata_routing=False):
        return estimator.fit(X, y, **dict.fromkeys(_weight_parameters(estimator), weights))


def _weight_parameters(estimator: Any) -> list[str]:
    """Return the names under which ``fit`` takes the weights, of steps of pipelines too."""
    if isinstance(estimator, Pipeline):
        return [f"{n}__{own}" for n, step in estimator.steps for own in _weight_parameters(step)]
    takes = hasattr(estimator, "fit") and has_fit_parameter(estimator, "sample_weight")
    return ["sample_weight"] if takes else []


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


def shared_if_stateless(generalist: Any) -> Callable[[int], Any]:
    """Return a function from a seed to a generalist: one for all fits if it is stateless."""
    is_tagged = hasattr(generalist, "__sklearn_tags__")
    if not is_tagged or get_tags(generalist).requires_fit:
        return partial(clone_with_seed, generalist)
    shared = clone(generalist)
    return lambda seed: shared


def warn_of_ignored_parameters(pipeline: Any, tasks: TaskTargets) -> None:
    """Warn of parameters of a pipeline that have no effect with the others, or these tasks."""
    defaults = inspect.signature(type(pipeline)).parameters
    for name in IGNORED[pipeline.strategy]:
        # Compared by representation, as scikit-learn does for its own: values may be arrays.
        if repr(getattr(pipeline, name)) != repr(defaults[name].default):
            warn(f"{name} has no effect with strategy={pipeline.strategy!r}.")
    compares = pipeline.strategy in ("stack", "best")
    if compares and pipeline.encoder is not None and not reads_latents(pipeline.candidates):
        warn("encoder has no effect with candidates that do not read latents.")
    if pipeline.strategy != "generalist" and pipeline.task_features == "all" and len(tasks) == 1:
        warn("task_features='all' has no effect with a single task.")
    is_continuous_loss = isinstance(pipeline.loss, str) and pipeline.loss != "auto"
    labels_only = all(task.is_classification for task in tasks.tasks)
    if compares and is_continuous_loss and labels_only:
        warn(f"loss={pipeline.loss!r} has no effect: the loss of class labels is the log loss.")
