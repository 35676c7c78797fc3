"""Hidden states of a trained torch module as the generalist representation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from .._base.estimator import SequenceMixin, all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.validation import validate_steps
from ._modules import (
    as_vectors,
    call,
    clone_sharing,
    find_layer,
    module_at_work,
    owner_of,
    placed,
    shaped,
    watched,
)

__all__ = ["TorchGeneralist"]

# Two rows are enough to detect an output whose first axis is not that of the rows.
N_TRIED = 2


class TorchGeneralist(
    SequenceMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Represent steps by the hidden states of a torch module that is already trained.

    The module is used, not trained: ``fit`` learns nothing, no gradient is computed, and
    the mode of each of its parts, its device and torch's random generator are restored
    afterwards. Clones share the module.

    Parameters
    ----------
    module : torch.nn.Module or callable
        Function of a batch of steps, with the steps on the first axis of its output. A
        method of a module (``model.encode_image``) or a partial of one is treated as the
        module; any other callable is called as it is.
    layers : str or list of str, default=None
        Name of the part of the module whose output is used, as in
        :meth:`torch.nn.Module.named_modules`. Of several parts the outputs are joined, in one
        run of the module. None uses the output of the module. If a layer runs several times,
        its last output is used.
    pooling : {"mean", "first", "last"} or callable, default=None
        Pooling of the tokens of a step to one vector. Outputs of three axes are
        (n_steps, n_tokens, n_features); of more, (n_steps, n_channels, positions ...). Where
        the module is given an ``attention_mask``, masked tokens are left out. None
        flattens the output. A callable takes the whole output, of any type, and returns a
        tensor of shape (n_steps, n_features).
    input_shape : tuple of int, default=None
        Shape of one step, such as (1, 8, 8), for modules that do not take vectors.
    preprocess : callable, default=None
        Function of a batch of steps, a tensor in the dtype of ``X`` on the CPU, of
        ``input_shape`` if given, that returns the arguments of the module: a mapping of
        keyword arguments, a tuple of positional ones, or the only argument.
    batch_size : int, default=256
        Number of steps in one call of the module. Smaller batches take less memory.
    device : str or torch.device, default=None
        Device of the module during a call, such as "cuda"; it is moved back afterwards. "auto"
        is CUDA if available, else the CPU. None
        leaves it on its device, which saves the moves, and is the only choice for a module
        that is spread over several.
    verbose : int, default=0
        Whether to show a progress bar over the batches.

    Attributes
    ----------
    n_features_out_ : int
        Number of features of a represented step.
    feature_groups_ : dict of {str: ndarray of int}
        Columns of each layer, for :class:`FeatureGroupRanker`; "output" without layers.
    n_features_in_ : int
        Number of features of a step.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    SpecialistPipeline : Accepts this as its ``generalist``.
    FeatureGroupRanker : Ranks layers by their use for tasks.
    sklearn.frozen.FrozenEstimator : Keeps a fitted scikit-learn transformer as it is.

    Notes
    -----
    The output of a module or layer may be a tensor, a tuple or list, whose first tensor is
    used, or a mapping, whose only value or ``last_hidden_state`` is used. Any other output
    needs a callable as ``pooling``.

    Inputs in floating point are converted to the dtype of the module's weights, hidden
    states to that of ``X``. A module that draws random numbers draws the same ones in
    every call.

    Calls from several threads wait for each other, because they share mode and device of a
    module. Do not train a module in one thread and use it here in another.

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
    >>> TorchGeneralist(module, layers="1").fit_transform(steps).shape
    (100, 32)
    >>> TorchGeneralist(module, layers=["1", "2"]).fit(steps).get_feature_names_out()[-3:]
    array(['1_31', '2_0', '2_1'], dtype=object)
    """

    _parameter_constraints: dict = {
        "module": [callable],
        "layers": [str, list, None],
        "pooling": [StrOptions({"mean", "first", "last"}), callable, None],
        "input_shape": [tuple, None],
        "preprocess": [callable, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        module: Callable[..., Any],
        *,
        layers: str | list[str] | None = None,
        pooling: str | Callable[[Any], Any] | None = None,
        input_shape: tuple[int, ...] | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.layers = layers
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
            Ignored.

        Returns
        -------
        self : TorchGeneralist
            Fitted.

        Raises
        ------
        ValueError
            If ``X`` has NaN or infinite values, the module fails on the steps, the layer or
            device does not exist, or the output has NaN or infinite values, another number
            of rows, or more than one tensor to choose from.
        """
        X = validate_steps(self, X)
        steps = X.reshape(-1, X.shape[-1])[:N_TRIED]
        try:
            with module_at_work(owner_of(self.module), self._device_name) as place:
                states = self._batch(steps, place)
        except (RuntimeError, TypeError, LookupError, AttributeError, AssertionError) as error:
            raise ValueError(
                f"module does not work on steps of {X.shape[-1]} features, or one of "
                "input_shape, preprocess and pooling does not fit it. "
                f"{type(error).__name__}: {error}"
            ) from error
        ends = np.cumsum([part.shape[1] for part in states.values()])
        columns = np.split(np.arange(ends[-1]), ends[:-1])
        self.feature_groups_ = dict(zip(states, columns, strict=True))
        self.n_features_out_ = int(ends[-1])
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
            As in :meth:`fit`, or if the number of features differs from that in ``fit``.
        """
        if not hasattr(self, "n_features_out_"):  # nothing is learned, and fit may be left out
            self = clone(self).fit(X)
        X = validate_steps(self, X, reset=False)
        steps = X.reshape(-1, X.shape[-1])
        states = np.empty((len(steps), self.n_features_out_), X.dtype)
        starts = tqdm(
            range(0, len(steps), self.batch_size), desc="hidden states", disable=not self.verbose
        )
        with module_at_work(owner_of(self.module), self._device_name) as place:
            for start in starts:
                parts = self._batch(steps[start : start + self.batch_size], place)
                batch = np.hstack(list(parts.values()))
                if batch.shape[1] != self.n_features_out_:
                    raise ValueError(
                        f"module returned {batch.shape[1]} features for each row, but "
                        f"{self.n_features_out_} in fit. If tokens are padded to the longest row "
                        "of a batch, set pooling, or pad to a fixed length."
                    )
                states[start : start + len(batch)] = batch
        return states.reshape(*X.shape[:-1], self.n_features_out_)

    @property
    def _device_name(self) -> str | None:
        return None if self.device is None else str(self.device)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_out_

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features: layer and number where there are several layers.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str of shape (n_features_out_,)
            Such as "blocks.3_17", or "torchgeneralist17".
        """
        if not isinstance(self.layers, list):
            names: np.ndarray = super().get_feature_names_out(input_features)
            return names
        check_is_fitted(self, "feature_groups_")
        sizes = {layer: len(columns) for layer, columns in self.feature_groups_.items()}
        return np.array([f"{k}_{j}" for k, n in sizes.items() for j in range(n)], dtype=object)

    def _batch(self, rows: np.ndarray, place: str) -> dict[str, np.ndarray]:
        """Return the hidden states of one batch by layer, on the device ``place``."""
        inputs = self._inputs(rows, place)
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        layers = [self.layers] if isinstance(self.layers, str) else self.layers or []
        found: dict[str, np.ndarray] = {}

        def keep(name: str, source: str, output: Any) -> None:
            # The last of several runs of a layer replaces the earlier ones.
            found[name] = self._flattened(output, mask, len(rows), source).astype(rows.dtype)

        with ExitStack() as hooks:
            for name in layers:
                layer = find_layer(self.module, name)
                hooks.enter_context(watched(layer, partial(keep, name, f"layer {name!r}")))
            output = call(self.module, inputs)
        if not layers:
            keep("output", "module", output)
        for name in layers or ["output"]:
            if name not in found:
                raise ValueError(f"module did not run its layer {name!r} on these rows.")
            n_bad = np.sum(~np.isfinite(found[name]).all(axis=1))
            if n_bad:
                raise ValueError(
                    f"{'module' if not layers else f'layer {name!r}'} returned NaN or infinite "
                    f"values in {n_bad} of {len(rows)} rows. Numbers overflow easily in half "
                    "precision, or if rows are not scaled as the module expects."
                )
        return {name: found[name] for name in layers or found}

    def _inputs(self, rows: np.ndarray, place: str) -> Any:
        """Return the arguments of the module."""
        batch = torch.from_numpy(rows.copy())  # the module may work in place
        # Modules in half or double precision take no other inputs.
        owner = owner_of(self.module)
        weights = () if owner is None else owner.parameters()
        dtype = next((p.dtype for p in weights if p.is_floating_point()), None)
        return placed(shaped(batch, self.input_shape, self.preprocess), place, dtype)

    def _flattened(
        self, output: Any, mask: torch.Tensor | None, n_rows: int, source: str
    ) -> np.ndarray:
        """Return an output as one vector per row."""
        states = as_vectors(output, self.pooling, mask, n_rows, source).detach()
        # A copy, because later layers may work in place.
        return states.to("cpu", copy=True).numpy()

    def __sklearn_clone__(self) -> Self:
        """Share the module and the callables, which scikit-learn would copy."""
        return clone_sharing(self, "module", "pooling", "preprocess")

    def __sklearn_tags__(self) -> Tags:
        """Return tags: there is nothing to fit."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
