"""Base classes of the estimators and of their exchangeable parts, and their callbacks."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags

from .sklearn_compat import wrap_output

__all__ = [
    "NO_CALLBACKS",
    "Part",
    "ReferenceMixin",
    "SequenceMixin",
    "TaskContext",
    "TaskEstimatorMixin",
    "all_or_nothing",
    "callback_context",
    "check_same_order",
    "fill_docstring",
    "pinned_settings",
    "rows_matched",
]


def all_or_nothing(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``fit`` so that an error leaves the estimator as it was before.

    It runs with the default output of transformers, and the default type and device of torch,
    whatever is set globally: parts read each other's arrays. Its arguments have the same rows.
    """

    @rows_matched
    @functools.wraps(fit)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            with pinned_settings():
                return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return guarded


def rows_matched(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method so that its arguments have one row per sample, in the order of ``X``.

    Rows are matched by position: tables of pandas whose indexes have the same labels in another
    order are an error. A list of one array per task becomes columns.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def matched(*args: Any, **kwargs: Any) -> Any:
        try:
            call = signature.bind(*args, **kwargs)
        except TypeError:
            return method(*args, **kwargs)  # which raises the usual error
        given = call.arguments
        check_same_order(**{name: v for name, v in given.items() if name != "self"})
        if isinstance(given.get("y"), list | tuple):
            given["y"] = _columns_of_tasks(given["y"], given.get("X"), given.get("groups"))
        return method(*call.args, **call.kwargs)

    return matched


def check_same_order(**arguments: Any) -> None:
    """Raise an error for tables whose indexes have the same labels in another order."""
    reference: Any = None
    for name, values in arguments.items():
        parts = [values]
        if isinstance(values, Mapping):
            parts = list(values.values())
        elif isinstance(values, list | tuple) and name != "X":
            parts = list(values)
        for part in parts:
            if not hasattr(part, "iloc"):
                continue
            index = part.index
            if name == "X":
                index = _sequence_index(index)
            if reference is None:
                reference, first = index, name
            elif (
                len(index) == len(reference)
                and not index.equals(reference)
                and index.is_unique
                and index.isin(reference).all()
            ):
                raise ValueError(
                    f"{name} has the index of {first} in another order, but rows are matched by "
                    f"their position: pass {name}.loc[{first}.index], or drop the index "
                    "(reset_index(drop=True)) if the rows are in the same order."
                )


def _sequence_index(index: Any) -> Any:
    """Return the index of the sequences in a table of pandas, whose rows may be their steps."""
    if index.nlevels != 2 or not (labels := index.get_level_values(0)).has_duplicates:
        return index
    return labels.unique().sort_values()


def _columns_of_tasks(y: Any, X: Any, groups: Any) -> Any:
    """Return a list of one array per task as a table or an array, anything else as it is."""
    shapes: set[Any] = {getattr(part, "shape", ()) for part in y}
    if len(shapes) != 1 or len(shape := tuple(shapes.pop())) != 1 or not hasattr(X, "__len__"):
        return y
    n_samples = {len(_sequence_index(X.index) if hasattr(X, "iloc") else X)}
    if groups is not None:  # which may be those of the steps of sequences
        n_samples.add(len(set(np.ravel(groups).tolist())))
    if shape[0] not in n_samples or shape[0] == 1:
        return y
    if len(y) in n_samples:
        raise ValueError(
            f"y is a list of {len(y)} arrays of {shape[0]} values, which may be rows or tasks: "
            "pass an array of shape (n_samples, n_tasks), as by np.column_stack."
        )
    names = [getattr(part, "name", None) for part in y]
    if all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names):
        return dict(zip(names, y, strict=True))
    if len({(type(part), str(part.dtype)) for part in y}) == 1 and type(y[0]) is np.ndarray:
        return np.column_stack(y)
    # Columns of different types keep them among objects.
    values = [part.tolist() if hasattr(part, "tolist") else part.to_list() for part in y]
    return np.array(values, dtype=object).T


@contextmanager
def pinned_settings() -> Iterator[None]:
    """Run with the default settings of scikit-learn's transformers and, if imported, of torch.

    Of torch: its number type and device, gradients, and full precision (no autocast).
    """
    with ExitStack() as stack:
        stack.enter_context(config_context(transform_output="default"))
        # Before its first import torch has its defaults.
        if (torch := sys.modules.get("torch")) is not None:
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
            # A context of a device intercepts every call of torch, half of the time of small ones.
            if torch.empty(0).device.type != "cpu":
                stack.enter_context(torch.device("cpu"))
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _reference_page(estimator: Any) -> dict[str, str]:
    """Return the name under which the API reference lists the class of an estimator."""
    folders = type(estimator).__module__.split(".")
    packages = [".".join(folders[:depth]) for depth in range(1, len(folders) + 1)]
    name = type(estimator).__name__
    # The reference lists a class in the outermost package that exports it.
    exporting = (p for p in packages if name in getattr(sys.modules[p], "__all__", ()))
    return {"page": f"{next(exporting, packages[-1])}.{name}"}


def fill_docstring(*docs: dict[str, str]) -> Callable[[type], type]:
    """Return a class decorator that fills ``{name}`` lines of the docstring.

    Parameters
    ----------
    *docs : dict of {str: str}
        Entries by name.
    """
    entries = {name: text for part in docs for name, text in part.items()}

    def entry(match: re.Match[str]) -> str:
        return textwrap.indent(textwrap.dedent(entries[match[2]]).strip(), match[1])

    def decorate(cls: type) -> type:
        if cls.__doc__ is not None:  # python -OO removes docstrings
            cls.__doc__ = re.sub(r"^( *)\{(\w+)\}$", entry, cls.__doc__, flags=re.MULTILINE)
        return cls

    return decorate


class ReferenceMixin:
    """Link from the HTML representation of an estimator to its page of the API reference."""

    _doc_link_module = "skspecialist"
    _doc_link_template = "https://skspecialist.readthedocs.io/en/latest/generated/{page}.html"
    _doc_link_url_param_generator = _reference_page


def _in_a_container(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method whose output becomes a table where that is set, unless it is 3-D."""

    @functools.wraps(method)
    def contained(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        output = method(self, X, *args, **kwargs)
        is_3d = getattr(output, "ndim", 2) == 3
        return output if is_3d else wrap_output("transform", output, X, self)

    return contained


class SequenceMixin(ReferenceMixin):
    """Tags and output of an estimator whose samples may be sequences."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Leave sequences of three dimensions out of ``set_output``; match the rows of a score."""
        super().__init_subclass__(**kwargs)
        if "score" in vars(cls):
            cls.score = rows_matched(cls.score)  # type: ignore[attr-defined]
        for name in ("transform", "fit_transform"):
            plain = getattr(getattr(cls, name, None), "__wrapped__", None)
            if plain is not None and ("transform" in vars(cls) or name in vars(cls)):
                setattr(cls, name, _in_a_container(plain))

    def __sklearn_tags__(self) -> Tags:
        """Return tags: X may be 3-D, and a transformer keeps its dtype."""
        tags: Tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.three_d_array = True
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class TaskEstimatorMixin(SequenceMixin):
    """Tags and parameters of an estimator of sequences and tasks."""

    def __sklearn_tags__(self) -> Tags:
        """Return tags: tasks are required, and there may be several."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = tags.target_tags.multi_output = True
        return tags

    def set_params(self, **params: Any) -> Self:
        """Set parameters, of this estimator or of one that is a parameter.

        Parameters
        ----------
        **params : dict
            Values by name; ``part__name`` is the parameter ``name`` of the estimator ``part``.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If a parameter is unknown, or ``part`` is None or another value without parameters.
        """
        for name in params:
            part, nested, _ = name.partition("__")
            value = params.get(part, getattr(self, part, self))
            if nested and not hasattr(value, "set_params"):
                raise ValueError(
                    f"{name} is a parameter of {part}, which is {value!r}: set {part} to an "
                    f"estimator first, such as {type(self).__name__}({part}=...)."
                )
        return super().set_params(**params)  # type: ignore[misc]


class Part(ReferenceMixin, BaseEstimator):
    """Base of the exchangeable parts: independence tests, aggregations, penalties.

    The base class of each kind names the dictionary of its short names, where a new part
    gets one line. Parts are scikit-learn estimators, so that ``clone``, ``set_params`` and
    grids over ``independence_test__...`` work.

    Examples
    --------
    >>> from skspecialist.independence import BaseIndependenceTest
    >>> BaseIndependenceTest.resolve("fisher_z", argument="independence_test")
    FisherZ()
    """

    #: Address, "package:NAME", of the dictionary from short names to classes. It is looked
    #: up when a name is resolved: the package imports the module of the base class.
    _registry: ClassVar[str]

    @classmethod
    def resolve(cls, part: str | Self, *, argument: str, also: Sequence[str] = ()) -> Self:
        """Return an unfitted part for a short name or an instance.

        Parameters
        ----------
        part : str or instance of this kind
            Value of the parameter.
        argument : str
            Name of the parameter, for the error message.
        also : sequence of str, default=()
            Further values of the parameter, for the error message.

        Returns
        -------
        part : instance of this kind
            A new instance with default parameters, or a clone of the one given.

        Raises
        ------
        ValueError
            If the string is not the short name of a part.
        TypeError
            If it is neither a string nor an instance of this kind.
        """
        if isinstance(part, cls):
            return clone(part)
        if not isinstance(part, str):
            raise TypeError(
                f"{argument} must be a string or an instance of {cls.__name__}, got {part!r}."
            )
        classes = resolve_name(cls._registry)
        if part not in classes:
            raise ValueError(
                f"{argument}={part!r} is not known; use one of "
                f"{sorted([*also, *classes])} "
                f"or an instance of {cls.__name__}."
            )
        return classes[part]()


@dataclass(frozen=True)
class TaskContext:
    """A task of a fit, as the callbacks of scikit-learn see it: the fit, a stage, an epoch.

    Attributes
    ----------
    estimator : estimator or None
        The estimator that is fitted.
    context : CallbackContext or None
        The context of the task in scikit-learn. None without callbacks, as in scikit-learn
        before version 1.9.
    """

    estimator: Any
    context: Any

    @contextmanager
    def subtask(
        self, name: str, n_subtasks: int | None = 0, part: Any = None
    ) -> Iterator[TaskContext]:
        """Call the callbacks at the beginning of a subtask and, unless it fails, at its end.

        Parameters
        ----------
        name : str
            Name of the subtask.
        n_subtasks : int or None, default=0
            Number of its own subtasks, None if that is unknown.
        part : estimator or None, default=None
            Estimator that is fitted meanwhile. It gets the callbacks that propagate, if it
            supports callbacks.

        Yields
        ------
        context : TaskContext
            Context of the subtask.
        """
        if self.context is None:
            yield self
            return
        context = self.context.subcontext(name, max_subtasks=n_subtasks)
        propagates = hasattr(part, "set_callbacks")
        with context.propagate_callback_context(part) if propagates else nullcontext():
            context.call_on_fit_task_begin(estimator=self.estimator)
            yield TaskContext(self.estimator, context)
            context.call_on_fit_task_end(estimator=self.estimator)


NO_CALLBACKS = TaskContext(None, None)


@contextmanager
def callback_context(
    estimator: Any, X: Any, y: Any, *, name: str = "fit", n_subtasks: int | None = None
) -> Iterator[TaskContext]:
    """Call the callbacks at the beginning of a fit and, unless it fails, at its end.

    The context lasts until the ``fit_context`` around the fit, which must be within
    ``all_or_nothing``, calls the teardown of the callbacks.

    Parameters
    ----------
    estimator : estimator
        With a ``CallbackSupportMixin``.
    X, y : array-like
        Data that callbacks may ask for.
    name : str, default="fit"
        Name of the task.
    n_subtasks : int or None, default=None
        Number of its subtasks, None if that is unknown.

    Yields
    ------
    context : TaskContext
        Context of the fit.
    """
    if not hasattr(estimator, "_init_callback_context"):
        yield NO_CALLBACKS
        return
    context = estimator._init_callback_context(task_name=name, max_subtasks=n_subtasks)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    yield TaskContext(estimator, context)
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y, reconstruction_attributes={})
