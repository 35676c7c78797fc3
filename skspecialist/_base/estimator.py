"""What all estimators of the library have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from sklearn.utils import Tags

from .doc_links import DocLinkMixin

__all__ = ["TaskEstimatorMixin", "all_or_nothing"]


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


class TaskEstimatorMixin(DocLinkMixin):
    """Tags and page of an estimator of sequences and tasks."""

    def __sklearn_tags__(self) -> Tags:
        """Tasks are required, there may be several, and sequences may have 3 dimensions."""
        tags: Tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
