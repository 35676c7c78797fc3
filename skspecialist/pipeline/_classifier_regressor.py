"""Pipelines of one kind of tasks: a classifier and a regressor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, RegressorMixin

from ._pipeline import SpecialistPipeline

__all__ = ["SpecialistClassifier", "SpecialistRegressor"]

_CONSTRAINTS = {
    name: constraint
    for name, constraint in SpecialistPipeline._parameter_constraints.items()
    if name != "task_types"
}


class SpecialistClassifier(ClassifierMixin, SpecialistPipeline):
    """Pipeline whose tasks are all class labels, as a classifier of scikit-learn.

    Floats that are whole numbers, such as labels of a file in which some were missing, are
    labels too. In all else it is :class:`SpecialistPipeline`, whose parameters, methods and
    attributes it has: with the tags of a classifier, folds of ``cross_val_score`` are
    stratified, and meta-estimators, scorers and displays of scikit-learn accept it.

    Parameters
    ----------
    generalist, structure, encoder : estimator or None, default=None
        Representation of single steps, steps of the tasks, and latents of the tasks.
    estimator : classifier or None, default=None
        Head of every candidate. None is logistic regression.
    strategy : {"stack", "best", "specialist", "generalist"}, default="stack"
        Candidates that predict the tasks.
    task_features : {"structure", "all"}, default="structure"
        Features that a task reads: its own, or those of all tasks.
    cv : int, sequence of float, splitter or iterable, default=3
        Splits for the held-out predictions. A number of folds is stratified.
    loss : "auto" or callable, default="auto"
        Loss of the comparison; "auto" is the log loss.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column as a step.
    random_state : int, RandomState instance or None, default=None
        Seed of the splits, and of the parts whose own ``random_state`` is None.
    verbose : int, default=0
        Whether to show a progress bar over the stages.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        Class labels; one array per task if ``y`` had several columns.

    See Also
    --------
    SpecialistPipeline : Tasks of any kinds, and the other attributes.
    SpecialistRegressor : Continuous tasks.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_val_score
    >>> from skspecialist import SpecialistClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["calm", "alert", "asleep"], 40)
    >>> X = rng.normal(size=(120, 5, 3))
    >>> X[:, 2, 0] += 4 * (y == "alert")
    >>> X[:, 3, 1] += 4 * (y == "asleep")
    >>> classifier = SpecialistClassifier(strategy="generalist")
    >>> bool(cross_val_score(classifier, X, y, cv=3).mean() > 0.8)
    True
    >>> classifier.fit(X, y).predict_proba(X).shape
    (120, 3)
    """

    _parameter_constraints: dict = _CONSTRAINTS

    def __init__(
        self,
        generalist: Any = None,
        structure: Any = None,
        encoder: Any = None,
        estimator: Any = None,
        *,
        strategy: str = "stack",
        task_features: str = "structure",
        cv: Any = 3,
        loss: str | Callable[..., Any] = "auto",
        n_timesteps: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            generalist,
            structure,
            encoder,
            estimator,
            strategy=strategy,
            task_features=task_features,
            cv=cv,
            loss=loss,
            n_timesteps=n_timesteps,
            task_types="label",
            random_state=random_state,
            verbose=verbose,
        )

    @property
    def classes_(self) -> Any:
        """Class labels of the task, or a list of those of each task."""
        classes = [task.classes for task in self.tasks_.tasks]
        return classes[0] if self.tasks_.is_1d else classes

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy, the mean over tasks if there are several.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            True labels.
        sample_weight : array-like of shape (n_sequences,), default=None
            Weights of the sequences; None is equal weights.

        Returns
        -------
        score : float
            Mean accuracy.
        """
        return SpecialistPipeline.score(self, X, y, sample_weight)


class SpecialistRegressor(RegressorMixin, SpecialistPipeline):
    """Pipeline whose tasks are all amounts, as a regressor of scikit-learn.

    Integers, such as counts, are amounts too. In all else it is :class:`SpecialistPipeline`,
    whose parameters, methods and attributes it has, except for probabilities.

    Parameters
    ----------
    generalist, structure, encoder : estimator or None, default=None
        Representation of single steps, steps of the tasks, and latents of the tasks.
    estimator : regressor or None, default=None
        Head of every candidate. None is ridge regression.
    strategy : {"stack", "best", "specialist", "generalist"}, default="stack"
        Candidates that predict the tasks.
    task_features : {"structure", "all"}, default="structure"
        Features that a task reads: its own, or those of all tasks.
    cv : int, sequence of float, splitter or iterable, default=3
        Splits for the held-out predictions.
    loss : {"auto", "huber", "pinball"} or callable, default="auto"
        Loss of the comparison; "auto" is the squared error.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column as a step.
    random_state : int, RandomState instance or None, default=None
        Seed of the splits, and of the parts whose own ``random_state`` is None.
    verbose : int, default=0
        Whether to show a progress bar over the stages.

    See Also
    --------
    SpecialistPipeline : Tasks of any kinds, and the attributes.
    SpecialistClassifier : Class labels.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import SpecialistRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(120, 5, 3))
    >>> counts = rng.poisson(np.exp(X[:, 2, 0]))
    >>> regressor = SpecialistRegressor(strategy="generalist").fit(X, counts)
    >>> regressor.predict(X).dtype
    dtype('float64')
    """

    _parameter_constraints: dict = _CONSTRAINTS

    def __init__(
        self,
        generalist: Any = None,
        structure: Any = None,
        encoder: Any = None,
        estimator: Any = None,
        *,
        strategy: str = "stack",
        task_features: str = "structure",
        cv: Any = 3,
        loss: str | Callable[..., Any] = "auto",
        n_timesteps: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            generalist,
            structure,
            encoder,
            estimator,
            strategy=strategy,
            task_features=task_features,
            cv=cv,
            loss=loss,
            n_timesteps=n_timesteps,
            task_types="amount",
            random_state=random_state,
            verbose=verbose,
        )

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R2, the mean over tasks if there are several.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            True values.
        sample_weight : array-like of shape (n_sequences,), default=None
            Weights of the sequences; None is equal weights.

        Returns
        -------
        score : float
            Mean R2, at most 1.
        """
        return SpecialistPipeline.score(self, X, y, sample_weight)
