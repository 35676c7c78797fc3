"""Fitted estimators in files that are safe to load."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

__all__ = ["trusted_types"]

PACKAGE = __name__.partition(".")[0]


def trusted_types(file: Any) -> list[str]:
    """Return the types in a skops file that are classes of this package.

    What ``skops.io.load`` asks for as ``trusted``. Types of scikit-learn and NumPy it knows
    itself, and of any other type it says that it does not trust it.

    Parameters
    ----------
    file : path-like
        What ``skops.io.dump`` wrote.

    Returns
    -------
    types : list of str
        Their names; nothing is loaded from the file.

    Raises
    ------
    ImportError
        If skops is not installed.

    Examples
    --------
    >>> import skops.io
    >>> from tempfile import TemporaryDirectory
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.saving import trusted_types
    >>> with TemporaryDirectory() as folder:
    ...     path = f"{folder}/structure.skops"
    ...     skops.io.dump(TaskStructureIdentifier(segment_length=4), path)
    ...     skops.io.load(path, trusted=trusted_types(path))
    TaskStructureIdentifier(segment_length=4)
    """
    from skops.io import get_untrusted_types

    return [name for name in get_untrusted_types(file=file) if _is_ours(name)]


def _is_ours(name: str) -> bool:
    """Return whether a name is that of a class defined here, and not only imported here."""
    module_name, _, class_name = name.rpartition(".")
    if module_name.partition(".")[0] != PACKAGE:
        return False
    try:
        found = getattr(import_module(module_name), class_name, None)
    except ImportError:
        return False
    return inspect.isclass(found) and found.__module__ == module_name
