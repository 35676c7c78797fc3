"""Private and version-dependent names of scikit-learn, imported in this file only."""

from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params
from sklearn.utils._set_output import _wrap_data_with_container as wrap_output
from sklearn.utils.metaestimators import _BaseComposition as BaseComposition

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9 has no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Placeholder without ``set_callbacks``."""


__all__ = [
    "BaseComposition",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "fit_context",
    "safe_indexing",
    "validate_params",
    "wrap_output",
]
