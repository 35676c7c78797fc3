"""Exchangeable parts: an estimator, or the short string that stands for it."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, clone

from .doc_links import DocLinkMixin


class Part(DocLinkMixin, BaseEstimator):
    """Base of every exchangeable part (independence test, aggregation, penalty).

    A direct subclass opens a *kind* of part and names it; a subclass of that with
    ``short_name`` can be asked for by this string wherever the kind is a parameter.
    Parts are scikit-learn estimators, so ``clone``, ``set_params`` and grids over
    ``independence_test__...`` work.

    Examples
    --------
    >>> from skspecialist.independence import BaseIndependenceTest, FisherZ
    >>> BaseIndependenceTest.resolve("fisher_z", argument="independence_test")
    FisherZ()
    """

    _kinds: ClassVar[dict[str, type]]
    _room: ClassVar[str | None] = None

    def __init_subclass__(
        cls, *, short_name: str | None = None, room: str | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if Part in cls.__bases__:
            cls._kinds, cls._room = {}, room
        if short_name is not None:
            cls._kinds[short_name] = cls

    @classmethod
    def resolve(cls, part: str | Self, *, argument: str) -> Self:
        """Return an unfitted part for a short string or an instance.

        Parameters
        ----------
        part : str or instance of this kind
            What the user gave.
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
        if part not in cls._kinds and cls._room is not None and part.isidentifier():
            # The short name is the file's name: a part is loaded when first asked for.
            module = f"{cls._room}.{part}"
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
        if part not in cls._kinds:
            raise ValueError(
                f"{argument}={part!r} is not known; use one of {sorted(cls._kinds)} "
                f"or an instance of {cls.__name__}."
            )
        return cls._kinds[part]()
