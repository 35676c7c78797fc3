"""Sparse autoencoders: dictionaries of which each sample uses few atoms."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional

from .._base.estimator import SequenceMixin, all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.validation import FLOATS, check_numbers, validate_steps
from ..exceptions import warn
from ..networks.layers import CHUNK, ArrayModule, to_double
from ..networks.training import StepData, Trainer, one_thread, seeded

__all__ = ["BaseAutoencoder", "SparseAutoencoder"]

REVIVAL_WEIGHT = 1 / 32  # of the auxiliary loss, from [2], appendix A.2
# Of the logarithm of the weight of the L1 norm, per update and factor e of too many atoms: the
# weight changes tenfold in a hundred updates, slowly beside the codes and fast beside a training.
CONTROL_RATE = 0.02


class BaseAutoencoder(
    SequenceMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Base of the autoencoders: a network with ``encode`` and ``decode`` on centered rows.

    All features have one unit, so that rates and weights suit any data.
    """

    _code_unit = 1.0  # in which codes are given

    def _rows(self, X: ArrayLike, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples, and all steps of them as rows in double precision."""
        X = validate_steps(self, X, **options)
        return X, X.reshape(-1, X.shape[-1]).astype(np.float64)

    def _train(self, rows: np.ndarray, build: Callable[[], ArrayModule]) -> None:
        """Train the network that ``build`` returns, and set the attributes of its training."""
        self._mean = rows.mean(axis=0)
        self._unit = float(np.sqrt(np.mean((rows - self._mean) ** 2))) or 1.0
        ones = np.broadcast_to(np.float32(1), (len(rows), 1, 1))
        scaled = (rows - self._mean) / self._unit
        data = StepData.from_arrays(scaled[:, None], ones, [np.zeros(len(rows))])
        trainer = Trainer(
            self.learning_rate, self.max_epochs, self.batch_size, device=str(self.device)
        )
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        with seeded(seed, str(self.device)):
            net = trainer.train(build(), data)
        self.module_, self.n_iter_ = net.module_.double().eval(), len(net.history)

    @one_thread()
    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            Samples, or sequences of them.

        Returns
        -------
        codes : ndarray of shape (..., n_components)
            In the dtype of ``X``.
        """
        check_is_fitted(self)
        X, rows = self._rows(X, reset=False)
        scaled = to_double((rows - self._mean) / self._unit)
        with torch.no_grad():
            chunks = [self.module_.encode(chunk)[0] for chunk in scaled.split(CHUNK)]
        codes = self._code_unit * torch.cat(chunks).numpy()
        return codes.reshape(*X.shape[:-1], -1).astype(X.dtype, copy=False)

    @one_thread()
    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Return the samples that codes reconstruct.

        Parameters
        ----------
        X : array-like of shape (..., n_components)
            Codes.

        Returns
        -------
        samples : ndarray of shape (..., n_features)
            Reconstructed samples.
        """
        check_is_fitted(self)
        X = check_numbers(X, "X", dtype=FLOATS, allow_nd=True)
        if X.shape[-1] != self._n_features_out:
            raise ValueError(f"X has {X.shape[-1]} columns, codes have {self._n_features_out}.")
        codes = to_double(X).reshape(-1, X.shape[-1]) / self._code_unit
        with torch.no_grad():
            rows = torch.cat([self.module_.decode(chunk) for chunk in codes.split(CHUNK)]).numpy()
        samples = (self._mean + self._unit * rows).reshape(*X.shape[:-1], -1)
        return np.asarray(samples.astype(X.dtype, copy=False))

    @property
    def _n_features_out(self) -> int:
        raise NotImplementedError


class SparseAutoencoder(BaseAutoencoder):
    r"""Sparse autoencoder: non-negative codes of few atoms of a learned dictionary.

    A sample x is reconstructed as :math:`\hat x = b + D^T z` from a sparse code
    :math:`z \ge 0` of atoms of unit norm, the rows of D. The code is read from x by one layer and
    an activation [1]_ [2]_, or by pursuit [3]_; encoder and dictionary minimize the squared error
    by gradient descent. It needs no tasks: each *sample* uses few of many atoms, whereas in
    :class:`~skspecialist.SparseSpecialistEncoder` each *task* uses few latents.

    Atoms that no sample of a whole epoch used would have no gradient, and stay unused. An auxiliary
    loss has those that fit best reconstruct the errors of the others, and so revives them [2]_.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms. None is twice the number of features.
    activation : {"topk", "relu", "matching_pursuit"}, default="topk"
        "topk" keeps the largest entries of a linear layer [2]_. "relu" keeps the positive ones,
        whose L1 norm is penalized [1]_; samples then differ in their number of atoms.
        "matching_pursuit" has no layer: it takes one atom after the other, the one with the
        largest inner product with the rest of the sample [3]_. It is the most accurate, and the
        slowest by the number of atoms of a sample.
    n_nonzero_coefs : int, default=None
        Number of atoms of a sample: for "relu" on average, and the weight of the L1 norm is adapted
        to it while training; otherwise at most. None is a tenth of the features, as for
        :class:`~sklearn.decomposition.DictionaryLearning`.
    max_epochs : int, default=None
        Number of epochs. None is as many as make 25 updates times the root of the number of
        samples: 2,500 at 10,000.
    batch_size : int, default=128
        Number of samples in a batch.
    learning_rate : float, default=0.03
        Largest learning rate of a one-cycle schedule, with which so large a rate is safe.
    device : str or torch.device, default="cpu"
        Device of the training. The fitted network is on the CPU.
    random_state : int, RandomState instance or None, default=None
        Initial atoms and batches. The same integer gives the same numbers.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features_in_), float64
        The atoms, of unit norm.
    intercept_ : ndarray of shape (n_features_in_,), float64
        Reconstruction of a code of zeros.
    n_components_ : int
        Number of atoms.
    n_nonzero_coefs_ : int
        Number of atoms of a sample.
    alpha_ : float
        Weight of the L1 norm at the end of training, relative to half the squared error as in
        :class:`~sklearn.linear_model.Lasso`, up to the unit of ``X``; 0 unless "relu".
    dead_ : ndarray of shape (n_components,), bool
        Atoms that no sample of ``fit`` uses.
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
    sklearn.decomposition.DictionaryLearning : Codes by convex or greedy optimization.
    skspecialist.SparseSpecialistEncoder : Few latents, of which each task uses few.

    References
    ----------
    .. [1] Bricken and others, Towards monosemanticity: decomposing language models with
       dictionary learning, Transformer Circuits Thread, 2023.
    .. [2] Gao, la Tour, Tillman, Goh, Troll, Radford, Sutskever, Leike and Wu, Scaling and
       evaluating sparse autoencoders, ICLR 2025, arXiv:2406.04093.
    .. [3] Costa, Fel, Lubana, Tolooshams and Ba, From flat to hierarchical: extracting sparse
       representations with matching pursuit, NeurIPS 2025, arXiv:2506.03093.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skspecialist.baselines import SparseAutoencoder
    >>> X = load_digits().data
    >>> model = SparseAutoencoder(32, n_nonzero_coefs=4, max_epochs=2, random_state=0).fit(X)
    >>> codes = model.transform(X)
    >>> codes.shape, int((codes != 0).sum(axis=1).max())
    ((1797, 32), 4)
    >>> model.inverse_transform(codes).shape
    (1797, 64)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "activation": [StrOptions({"topk", "relu", "matching_pursuit"})],
        "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        activation: str = "topk",
        n_nonzero_coefs: int | None = None,
        max_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        device: str | torch.device = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.activation = activation
        self.n_nonzero_coefs = n_nonzero_coefs
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the dictionary.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_sequences, n_timesteps, n_features)
            Samples, or sequences whose steps are the samples.
        y : None
            Ignored.

        Returns
        -------
        self : SparseAutoencoder
            Fitted.

        Raises
        ------
        ValueError
            If ``X`` has NaN or infinite values or fewer than two samples, ``n_nonzero_coefs``
            exceeds the number of atoms, or the device does not exist.

        Warns
        -----
        SpecialistWarning
            If no sample uses some of the atoms.
        """
        _, rows = self._rows(X, ensure_min_samples=2)
        n_features = rows.shape[1]
        self.n_components_ = int(self.n_components or 2 * n_features)
        self.n_nonzero_coefs_ = int(self.n_nonzero_coefs or max(1, n_features // 10))
        if self.n_nonzero_coefs_ > self.n_components_:
            raise ValueError(
                f"n_nonzero_coefs={self.n_nonzero_coefs_} exceeds the number of atoms, "
                f"n_components={self.n_components_}."
            )
        sizes = n_features, self.n_components_, self.n_nonzero_coefs_
        self._train(rows, lambda: DictionaryNetwork(*sizes, self.activation, len(rows)))
        self._code_unit = self._unit
        with torch.no_grad():
            self.components_ = self.module_.atoms().numpy()
        self.intercept_ = self._mean + self._unit * self.module_.offset.detach().numpy()
        self.alpha_ = float(self.module_.log_alpha.exp()) if self.activation == "relu" else 0.0
        self.dead_ = ~self.transform(rows).any(axis=0)
        if self.dead_.any():
            warn(
                f"{self.dead_.sum()} of {self.n_components_} atoms are in no sample: lower "
                "n_components, or raise max_epochs."
            )
        return self

    @property
    def _n_features_out(self) -> int:
        return self.n_components_


class DictionaryNetwork(ArrayModule):
    """Network of a sparse autoencoder.

    Parameters
    ----------
    n_features, n_atoms : int
        Number of features and of atoms.
    n_active : int
        Number of atoms of a sample.
    activation : str
        See :class:`SparseAutoencoder`.
    patience : int
        Number of samples after which an atom that none of them used is dead.
    """

    loss_names = ("reconstruction_loss", "sparsity_loss", "revival_loss")
    idle: torch.Tensor
    log_alpha: torch.Tensor

    def __init__(
        self, n_features: int, n_atoms: int, n_active: int, activation: str, patience: int
    ) -> None:
        super().__init__()
        self.n_active, self.activation, self.patience = n_active, activation, patience
        self.dictionary = nn.Parameter(functional.normalize(torch.randn(n_atoms, n_features)))
        self.offset = nn.Parameter(torch.zeros(n_features))
        if activation != "matching_pursuit":
            # The encoder begins as the transpose of the decoder [2], which avoids dead atoms.
            self.weight = nn.Parameter(self.dictionary.detach().clone())
            self.bias = nn.Parameter(torch.zeros(n_atoms))
        self.register_buffer("idle", torch.zeros(n_atoms))  # samples since it was last used
        self.register_buffer("log_alpha", torch.tensor(0.1).log())

    def atoms(self) -> torch.Tensor:
        """Return the atoms (n_atoms, n_features), of unit norm."""
        return functional.normalize(self.dictionary)

    def encode(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the codes of rows, and the errors of their reconstruction."""
        atoms, left = self.atoms(), rows - self.offset
        if self.activation == "matching_pursuit":
            codes = rows.new_zeros(len(rows), len(atoms))
            for _ in range(self.n_active):
                products, chosen = (left @ atoms.T).max(dim=1, keepdim=True)
                products = products.relu()
                codes = codes.scatter_add(1, chosen, products)
                left = left - products * atoms[chosen[:, 0]]
            return codes, left
        codes = functional.linear(left, self.weight, self.bias).relu()
        if self.activation == "topk":
            largest = codes.topk(self.n_active, dim=1)
            codes = torch.zeros_like(codes).scatter(1, largest.indices, largest.values)
        return codes, left - codes @ atoms

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the rows that codes reconstruct."""
        return self.offset + codes @ self.atoms()

    def forward(self, X: torch.Tensor, step_weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return codes and errors of a batch, and the part of these that dead atoms leave."""
        rows = X.flatten(0, 1)
        codes, errors = self.encode(rows)
        result = {"codes": codes, "errors": errors}
        if not self.training:
            return result
        with torch.no_grad():
            used = codes > 0
            self.idle.add_(len(rows)).mul_(~used.any(dim=0))
            # Integral control of the mean number of atoms.
            excess = used.sum(dim=1).float().mean().clamp(min=0.1) / self.n_active
            self.log_alpha.add_(CONTROL_RATE * excess.log().clamp(-1, 1))
        dead = (self.idle > self.patience).nonzero()[:, 0]
        if len(dead):
            result["left"] = errors.detach() - self._revive(rows, errors.detach(), dead)
        return result

    def _revive(self, rows: torch.Tensor, errors: torch.Tensor, dead: torch.Tensor) -> torch.Tensor:
        """Return reconstructions of the errors by those dead atoms that fit best."""
        atoms = self.atoms()[dead]
        if self.activation == "matching_pursuit":
            products = errors @ atoms.T
        else:
            left = rows - self.offset.detach()
            products = functional.linear(left, self.weight[dead], self.bias[dead])
        # Half as many as there are features [2].
        largest = products.topk(min(len(dead), max(1, rows.shape[1] // 2)), dim=1)
        return torch.zeros_like(products).scatter(1, largest.indices, largest.values) @ atoms

    def losses(
        self, forward: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the objective."""
        parts = {"reconstruction_loss": forward["errors"].square().mean()}
        if self.activation == "relu":
            # Atoms of unit norm: the norm cannot be lowered by longer atoms.
            share = 2 * self.log_alpha.exp() / forward["errors"].shape[1]
            parts["sparsity_loss"] = share * forward["codes"].sum(dim=1).mean()
        if "left" in forward:
            parts["revival_loss"] = REVIVAL_WEIGHT * forward["left"].square().mean()
        return parts
