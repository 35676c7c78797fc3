"""What every ``fit`` of the library does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["all_or_nothing"]


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
