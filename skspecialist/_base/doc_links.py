"""Where the page of an estimator in the reference is."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, metadata

__all__ = ["DocLinkMixin"]

PACKAGE = "skspecialist"


class DocLinkMixin:
    """Links the HTML of an estimator to its page, where the documentation has an address.

    The address is the one of ``Documentation`` under ``[project.urls]`` in pyproject.toml.
    What scikit-learn asks for is overridden, and not the attributes that it is made of there:
    they cannot say that there is no page.
    """

    def _get_doc_link(self) -> str:
        address, path = documentation_address(), public_path(type(self))
        return f"{address}/generated/{path}.html" if address and path else ""


def documentation_address() -> str | None:
    """Return the address of the documentation, without a slash at its end, or None."""
    try:
        urls = metadata(PACKAGE).get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    named = dict(url.split(", ", maxsplit=1) for url in urls)
    return named["Documentation"].rstrip("/") if "Documentation" in named else None


def public_path(estimator_class: type) -> str | None:
    """Return the path under which the reference has a class, None if it is not ours or hidden.

    It is listed where the package exports it, or else the folder that it is in.
    """
    parts = estimator_class.__module__.split(".")
    if parts[0] != PACKAGE:
        return None
    *folders, module = [".".join(parts[: depth + 1]) for depth in range(1, len(parts))]
    name = estimator_class.__name__
    for place in (PACKAGE, *reversed(folders), module):
        if name in getattr(sys.modules[place], "__all__", ()):
            return f"{place}.{name}"
    return None
