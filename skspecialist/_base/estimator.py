"""Base classes of the estimators and of their exchangeable parts."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags

__all__ = ["Part", "ReferenceMixin", "TaskEstimatorMixin", "all_or_nothing"]


def all_or_nothing(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``fit`` so that an error leaves the estimator as it was before."""

    @functools.wraps(fit)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return guarded


def _reference_page(estimator: Any) -> dict[str, str]:
    """Return the name under which the API reference lists the class of an estimator."""
    folders = type(estimator).__module__.split(".")
    packages = [".".join(folders[:depth]) for depth in range(1, len(folders) + 1)]
    name = type(estimator).__name__
    # The reference lists a class in the outermost package that exports it.
    exporting = (p for p in packages if name in getattr(sys.modules[p], "__all__", ()))
    return {"page": f"{next(exporting, packages[-1])}.{name}"}


class ReferenceMixin:
    """Link from the HTML representation of an estimator to its page of the API reference."""

    _doc_link_module = "skspecialist"
    _doc_link_template = "https://skspecialist.readthedocs.io/en/latest/generated/{page}.html"
    _doc_link_url_param_generator = _reference_page


class TaskEstimatorMixin(ReferenceMixin):
    """Tags of an estimator of sequences and tasks."""

    def __sklearn_tags__(self) -> Tags:
        """Return tags: tasks are required, there may be several, and X may be 3-D."""
        tags: Tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


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
    def resolve(cls, part: str | Self, *, argument: str) -> Self:
        """Return an unfitted part for a short name or an instance.

        Parameters
        ----------
        part : str or instance of this kind
            Value of the parameter.
        argument : str
            Name of the parameter, for the error message.

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
                f"{argument}={part!r} is not known; use one of {sorted(classes)} "
                f"or an instance of {cls.__name__}."
            )
        return classes[part]()
