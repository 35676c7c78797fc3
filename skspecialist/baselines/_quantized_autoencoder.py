"""Autoencoder with quantized latents, for latents that each follow one factor."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from .._base.estimator import all_or_nothing
from .._base.sklearn_compat import Interval, fit_context
from .._data.validation import check_layer_sizes
from ..networks.layers import ArrayModule, GroupedMLP
from ._sparse_autoencoder import BaseAutoencoder

__all__ = ["QuantizedAutoencoder"]


class QuantizedAutoencoder(BaseAutoencoder):
    r"""Autoencoder whose latents take few learned values each.

    Each latent is replaced by the nearest of its own ``n_values`` learned scalars before it is
    decoded, and gradients pass through the replacement as if there were none [1]_. Together with
    strong weight decay this favors codes in which a value means the same whatever the other
    latents are: latents that follow one factor of the data each
    (:func:`~skspecialist.metrics.infomec` measures it where the factors are known). It needs no
    tasks, from which :class:`~skspecialist.SparseSpecialistEncoder` learns its latents.

    Parameters
    ----------
    n_components : int, default=10
        Number of latents; in [1]_ twice the number of factors. Superfluous ones can stay constant.
    n_values : int or None, default=10
        Number of values of a latent. None is an autoencoder without quantization.
    quantization_weight : float, default=0.01
        Weight of the squared distance between a latent and its nearest value, relative to the
        reconstruction error of a feature in units of the mean variance. In [1]_ it is the weight of
        both terms, the one that moves values and the one that commits latents to them.
    weight_decay : float, default=3.0
        Decay of the weights of encoder and decoder, times the learning rate. Summed over the
        updates for 3,000 samples the default is that of [1]_, 20.
    hidden_layer_sizes : tuple of int, default=(128, 128)
        Hidden layers of the encoder; those of the decoder are the reverse.
    max_epochs : int, default=None
        Number of epochs. None is as many as make 25 updates times the root of the number of
        samples: 2,500 at 10,000.
    batch_size : int, default=128
        Number of samples in a batch.
    learning_rate : float, default=0.01
        Largest learning rate of a one-cycle schedule.
    device : str or torch.device, default="cpu"
        Device of the training. The fitted network is on the CPU.
    random_state : int, RandomState instance or None, default=None
        Initial weights and batches. The same integer gives the same numbers.

    Attributes
    ----------
    values_ : ndarray of shape (n_components, n_values), float64, or None
        Values of each latent, in increasing order.
    n_iter_ : int
        Number of epochs.
    module_ : torch.nn.Module
        The trained network.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    SparseAutoencoder : Many atoms, of which each sample uses few.
    skspecialist.metrics.infomec : Whether latents are about one factor.

    References
    ----------
    .. [1] Hsu, Dorrell, Whittington, Wu and Finn, Disentanglement via latent
       quantization, NeurIPS 2023, arXiv:2305.18378.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.baselines import QuantizedAutoencoder
    >>> from skspecialist.datasets import make_shape_factors
    >>> X = make_shape_factors(200, random_state=0).X
    >>> latents = QuantizedAutoencoder(4, n_values=3, max_epochs=2, random_state=0).fit_transform(X)
    >>> latents.shape, max(len(np.unique(latent)) for latent in latents.T) <= 3
    ((200, 4), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_values": [Interval(Integral, 2, None, closed="left"), None],
        "quantization_weight": [Interval(Real, 0, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "hidden_layer_sizes": [tuple, list],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int = 10,
        *,
        n_values: int | None = 10,
        quantization_weight: float = 0.01,
        weight_decay: float = 3.0,
        hidden_layer_sizes: tuple[int, ...] = (128, 128),
        max_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 0.01,
        device: str | torch.device = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_values = n_values
        self.quantization_weight = quantization_weight
        self.weight_decay = weight_decay
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Train encoder, values and decoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            Samples, or sequences whose steps are the samples.
        y : None
            Ignored.

        Returns
        -------
        self : QuantizedAutoencoder
            Fitted.

        Raises
        ------
        ValueError
            If ``X`` has NaN or infinite values or fewer than two samples, a hidden layer has no
            unit, or the device does not exist.
        """
        _, rows = self._rows(X, ensure_min_samples=2)
        hidden = check_layer_sizes(self.hidden_layer_sizes)
        sizes = [rows.shape[1], *hidden, int(self.n_components)]
        self._train(
            rows,
            lambda: QuantizedNetwork(
                sizes, self.n_values, float(self.quantization_weight), float(self.weight_decay)
            ),
        )
        self.values_ = None
        if self.n_values is not None:
            self.values_ = np.sort(self.module_.codebook.detach().numpy(), axis=1)
        return self

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components)


class QuantizedNetwork(ArrayModule):
    """Network of an autoencoder with quantized latents.

    Parameters
    ----------
    sizes : list of int
        Features, hidden units of each layer of the encoder, latents.
    n_values : int or None
        Number of values of a latent.
    quantization_weight, weight_decay : float
        See :class:`QuantizedAutoencoder`.
    """

    loss_names = ("reconstruction_loss", "quantization_loss")
    undecayed = ("bias", "codebook")

    def __init__(
        self,
        sizes: list[int],
        n_values: int | None,
        quantization_weight: float,
        weight_decay: float,
    ) -> None:
        super().__init__()
        self.quantization_weight, self.weight_decay = quantization_weight, weight_decay
        self.encoder, self.decoder = GroupedMLP(sizes, 1), GroupedMLP(sizes[::-1], 1)
        self.register_parameter("codebook", None)
        if n_values is not None:
            # Evenly over an interval of length 1, as in the code of [1].
            values = torch.linspace(-0.5, 0.5, n_values).expand(sizes[-1], n_values)
            self.codebook = nn.Parameter(values.clone())

    def encode(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the latents, and their values before the quantization."""
        latents = self.encoder(rows)[0]
        if self.codebook is None:
            return latents, latents
        nearest = (latents[:, :, None] - self.codebook).abs().argmin(dim=2)
        return self.codebook.T.gather(0, nearest), latents

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the rows that latents reconstruct."""
        return self.decoder(latents)[0]

    def forward(self, X: torch.Tensor, step_weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the errors of reconstruction, and those of the quantization."""
        rows = X.flatten(0, 1)
        quantized, latents = self.encode(rows)
        rounding = quantized - latents
        # Straight-through: the value of the quantized latents, the gradient of the others.
        return {
            "errors": self.decode(latents + rounding.detach()) - rows,
            "rounding": rounding,
        }

    def losses(
        self, forward: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the objective."""
        # With equal weights the two terms of [1], equation 4, of which one moves the values and
        # the other the latents, have the gradient of one squared distance.
        rounding = self.quantization_weight * forward["rounding"].square().mean()
        return {
            "reconstruction_loss": forward["errors"].square().mean(),
            "quantization_loss": rounding,
        }
