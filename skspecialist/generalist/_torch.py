"""A torch module of the user's own as the generalist."""

from __future__ import annotations

import copy
from collections.abc import Callable
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import ReferenceMixin, all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.sequences import validate_steps
from ._hidden_states import HiddenStates

__all__ = ["TorchGeneralist"]

# Enough to see whether the first axis of what comes out is that of the rows.
N_TRIED = 2


class TorchGeneralist(
    ReferenceMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Represent steps by the hidden states of a torch module that is already trained.

    The module is used, not trained: ``fit`` learns nothing, no gradient is computed, and
    the mode of each of its parts, its device and torch's random generator are afterwards
    what they were. Clones share the module.

    Parameters
    ----------
    module : torch.nn.Module or callable
        Takes a batch of steps, and gives something with the steps on the first axis. A
        method of a module (``model.encode_image``) or a partial of one is treated as the
        module; any other callable is called as it is.
    layer : str, default=None
        Name of the part of the module whose output is taken, as in
        :meth:`torch.nn.Module.named_modules`. None takes what the module returns. If a
        layer runs several times, its last output counts.
    pooling : {"mean", "first", "last"} or callable, default=None
        How the tokens of a step become one vector. Outputs of three axes are
        (n_steps, n_tokens, n_features); of more, (n_steps, n_channels, positions ...). Where
        the module is given an ``attention_mask``, tokens that it masks do not count.
        None flattens what there is. A callable takes the whole output, whatever it is,
        and returns a tensor of shape (n_steps, n_features).
    input_shape : tuple of int, default=None
        Shape of one step, such as (1, 8, 8), for modules that do not take vectors.
    preprocess : callable, default=None
        Takes a batch of steps, a tensor in the dtype of ``X`` on the CPU, of ``input_shape``
        if given; returns what the module takes: a mapping becomes keyword arguments, a
        tuple positional ones, anything else the only argument.
    batch_size : int, default=256
        Steps that go through the module at a time. Smaller takes less memory.
    device : str, default=None
        Where the module works, such as "cuda"; it is moved back afterwards. None leaves it
        where it is, which saves the moves if it already is on the right device, and is
        the only choice for one that is spread over several.
    verbose : int, default=0
        Whether to show a progress bar over the batches.

    Attributes
    ----------
    n_features_out_ : int
        Number of features of a represented step.
    n_features_in_ : int
        Number of features of a step.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    SpecialistPipeline : Takes this as its ``generalist``.
    sklearn.frozen.FrozenEstimator : Keeps a fitted scikit-learn transformer as it is.

    Notes
    -----
    Of what a module or layer gives, a tensor is taken as it is, of a tuple or list the first
    tensor, of a mapping its only value or its ``last_hidden_state``. Anything else needs
    a callable as ``pooling``.

    Inputs in floating point are converted to the dtype of the module's weights, hidden
    states to that of ``X``. A module that draws random numbers draws the same ones in
    every call.

    Calls from several threads wait for each other, because mode and device of a module
    belong to all of them. Do not train a module in one thread and use it here in another.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skspecialist import TorchGeneralist
    >>> _ = torch.manual_seed(0)
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(6, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)
    ... )
    >>> steps = np.random.default_rng(0).normal(size=(100, 6))
    >>> TorchGeneralist(module).fit_transform(steps).shape
    (100, 2)
    >>> TorchGeneralist(module, layer="1").fit_transform(steps).shape
    (100, 32)
    """

    _parameter_constraints: dict = {
        "module": [callable],
        "layer": [str, None],
        "pooling": [StrOptions({"mean", "first", "last"}), callable, None],
        "input_shape": [tuple, None],
        "preprocess": [callable, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        module: Callable[..., Any],
        *,
        layer: str | None = None,
        pooling: str | Callable[[Any], Any] | None = None,
        input_shape: tuple[int, ...] | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        batch_size: int = 256,
        device: str | None = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.layer = layer
        self.pooling = pooling
        self.input_shape = input_shape
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Try the module on two steps; nothing is learned.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Steps, or sequences of them.
        y : None
            Not used.

        Returns
        -------
        self : TorchGeneralist
            Fitted.

        Raises
        ------
        ValueError
            If ``X`` has NaN or infinite values, the module does not take the steps, there is
            no such layer or device, or what comes out has NaN or infinite values, another
            number of rows, or no tensor that is clearly meant.
        """
        X = validate_steps(self, X)
        steps = X.reshape(-1, X.shape[-1])[:N_TRIED]
        try:
            self.n_features_out_ = self._hidden_states().n_features(steps)
        except (RuntimeError, TypeError, LookupError, AttributeError, AssertionError) as error:
            raise ValueError(
                f"module does not work on steps of {X.shape[-1]} features, or one of "
                "input_shape, preprocess and pooling does not fit it. "
                f"{type(error).__name__}: {error}"
            ) from error
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the hidden states of each step.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Steps, or sequences of them.

        Returns
        -------
        states : ndarray of shape (n_steps, n_features_out) or \
                (n_sequences, n_timesteps, n_features_out)
            In the dtype of ``X``.

        Raises
        ------
        ValueError
            As in :meth:`fit`, or if the module gives another number of features than it did
            there.
        """
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        steps = X.reshape(-1, X.shape[-1])
        states = self._hidden_states().read(steps, self.n_features_out_)
        return states.reshape(*X.shape[:-1], self.n_features_out_)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_out_

    def _hidden_states(self) -> HiddenStates:
        return HiddenStates(**self.get_params(deep=False))

    def __sklearn_clone__(self) -> Self:
        """Share what belongs to somebody else; scikit-learn would copy it."""
        shared = {name: getattr(self, name) for name in ("module", "pooling", "preprocess")}
        empty = copy.copy(self).set_params(**dict.fromkeys(shared))
        twin: Self = super(TorchGeneralist, empty).__sklearn_clone__()
        return twin.set_params(**shared)

    def __sklearn_tags__(self) -> Tags:
        """Sequences may have 3 dimensions."""
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
