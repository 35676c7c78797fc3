"""How far a fit is, told to the callbacks of scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from .sklearn_compat import CallbackSupportMixin

__all__ = ["CallbackSupportMixin", "Task", "fit_task"]


@dataclass(frozen=True)
class Task:
    """A task of a fit; calling it opens a part of it.

    Attributes
    ----------
    estimator : estimator
        What is fitted.
    context : CallbackContext or None
        Where scikit-learn is at. None before version 1.9: then nobody is told.
    """

    estimator: Any
    context: Any

    @contextmanager
    def __call__(self, name: str, n_subtasks: int | None = 0, part: Any = None) -> Iterator[Task]:
        """Tell that a part of the task begins and, unless it fails, that it ends.

        Parameters
        ----------
        name : str
            Of the part.
        n_subtasks : int or None, default=0
            Number of parts that it has in turn, None if that is not known.
        part : estimator or None, default=None
            What is fitted meanwhile, and goes on telling if it supports callbacks.

        Yields
        ------
        task : Task
            The part.
        """
        if self.context is None:
            yield self
            return
        context = self.context.subcontext(name, max_subtasks=n_subtasks)
        tells = hasattr(part, "set_callbacks")
        with context.propagate_callback_context(part) if tells else nullcontext():
            context.call_on_fit_task_begin(estimator=self.estimator)
            yield Task(self.estimator, context)
            context.call_on_fit_task_end(estimator=self.estimator)


@contextmanager
def fit_task(
    estimator: Any, X: Any, y: Any, *, name: str = "fit", n_subtasks: int | None = None
) -> Iterator[Task]:
    """Tell that a fit begins and, unless it fails, that it ends.

    The context lasts until the ``fit_context`` around the fit, which must be within
    ``all_or_nothing``, calls the teardown of the callbacks.

    Parameters
    ----------
    estimator : estimator
        With a :class:`CallbackSupportMixin`.
    X, y : array-like
        For callbacks that ask for them.
    name : str, default="fit"
        Of the task.
    n_subtasks : int or None, default=None
        Number of its parts, None if that is not known.

    Yields
    ------
    task : Task
        The fit.
    """
    if not hasattr(estimator, "_init_callback_context"):
        yield Task(estimator, None)
        return
    context = estimator._init_callback_context(task_name=name, max_subtasks=n_subtasks)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    yield Task(estimator, context)
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y, reconstruction_attributes={})
