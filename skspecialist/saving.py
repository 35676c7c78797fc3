"""Skops files of fitted estimators, which are safe to load."""

from __future__ import annotations

import inspect
import os
import zipfile
import zlib
from importlib import import_module
from typing import Any

__all__ = ["trusted_types"]

PACKAGE = __name__.partition(".")[0]
# Errors of reading a file that is damaged or has another format.
REFUSED = (
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def trusted_types(file: Any) -> list[str]:
    """Return the types in a skops file that are classes of this package.

    The list for ``trusted`` of ``skops.io.load``. Types of scikit-learn and NumPy are trusted
    by default, and those of other packages are not among the types returned: skops reports
    them.

    Parameters
    ----------
    file : path-like or binary file object
        File written by ``skops.io.dump``.

    Returns
    -------
    types : list of str
        Their names; nothing is loaded from the file.

    Raises
    ------
    ImportError
        If skops is not installed.
    OSError
        If there is no such file, or it cannot be read.
    ValueError or TypeError
        If this is not a valid skops file, or it is damaged.

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

    if not isinstance(file, str | os.PathLike) and not hasattr(file, "seek"):
        raise TypeError(f"file must be a path or an open file, got {type(file).__name__}.")
    try:
        return [name for name in get_untrusted_types(file=file) if _is_ours(name)]
    except REFUSED as error:
        raise ValueError(f"file={file!r} is no skops file, or is damaged: {error}") from error


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
