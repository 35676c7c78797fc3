"""Which latents each task uses."""

from __future__ import annotations

import copy
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from .exceptions import SpecialistWarning
from .fitting import TaskEstimatorMixin, all_or_nothing
from .networks import (
    BasePenalty,
    Settings,
    StepData,
    decode,
    encode,
    fit_specialist,
    predict_tasks,
    seeded,
)
from .sequences import validate_steps
from .step_tasks import as_sequences, validate_step_tasks
from .targets import TaskTargets

__all__ = ["SparseSpecialistEncoder"]

MAX_COMPONENTS = 10


class SparseSpecialistEncoder(
    TaskEstimatorMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Learn latents of which a sparse mask says which task uses which.

    An autoencoder with one small head for each task. The decoder reads all latents, the
    heads only those that a non-negative mask between tasks and latents lets through
    [1]_. The latents that some task uses are then identified as a block, apart from
    everything else in the data: provided that there are at least as many task outputs as
    such latents, or the encoder may hand over the task functions themselves.

    ``fit`` takes three steps. (1) *How many*: encoders to 1, 2, 3, ... latents learn the
    tasks, all at once on shared hidden layers, and the smallest number is taken that no
    larger one beats by ``sparsity`` in held-out task loss for each further latent (and one
    standard error); it is confirmed by training the whole autoencoder with one latent less.
    A mask alone often keeps one latent too many, which then carries what no task uses.
    (2) *Which*: autoencoder and heads, which may read that many latents, with the penalty
    on the mask after a dense first third of the epochs; a proximal step in the metric of
    Adam [2]_ sets entries to exactly zero. (3) *Refit*: the heads again, without penalty,
    on the latents they kept.

    Parameters
    ----------
    n_components : int, default=None
        Number of latents. None is the number of features, at most 10: more latents
        than features are of no use, few suffice most tasks, and the time for the first step
        grows with their square.
    sparsity : float, default=0.01
        Price of a latent, in units of the task loss (the mean over tasks of what ``1 - R2``
        is for a continuous one; knowing nothing costs 1): a latent is kept if it lowers the
        held-out loss by more. Also the weight of ``penalty``. In trials a superfluous latent
        gained about 0.002, and a relevant one at least 0.03. 0 is dense: no first step, no
        penalty. Above 1 nothing is kept.
    penalty : {"l1"} or instance of a penalty, default="l1"
        Penalty on the mask; "l1" is ``L1()``, a sparse group lasso.
    beta : float, default=0.0
        Weight of the divergence of the latents from a standard normal distribution, as in
        a variational autoencoder. The default is a deterministic autoencoder, which
        reconstructs best.
    heads : {"mlp", "linear"}, default="mlp"
        Whether a head is a network of two hidden layers of 64 units, or linear in the
        latents.
    hidden_layer_sizes : tuple of int, default=(128, 128)
        Hidden layers of the encoder; those of the decoder are the reverse.
    max_epochs : int, default=None
        Epochs of the first step and of the second; the third takes a third of them. None is
        as many as make about 2,500 updates, within 10 and 500.
    batch_size : int, default=256
        Number of steps in a batch; whole sequences, at least 16 of them.
    lr : float, default=0.03
        Largest learning rate of a one-cycle schedule, which makes so large a rate safe. A
        smaller one is stuck more often with a latent too many.
    refit : bool, default=True
        Whether to take the third step.
    early_stopping : bool, default=False
        Whether to hold out a part of the data in the second and third step too, stop
        when its loss no longer falls, and go back to the best epoch. By default all data
        are learned from.
    validation_fraction : float, default=0.1
        Part of the samples that is held out.
    callbacks : list of skorch callbacks, default=None
        Further callbacks for the second step.
    device : str, default="cpu"
        Where to train. The fitted networks are on the CPU.
    warm_start : bool, default=False
        Whether the second step starts from the networks and the number of latents of the
        previous fit, without a first step. The data must have the same features and tasks.
    random_state : int, RandomState instance or None, default=None
        Initial weights, batches and held-out samples. The same integer gives the same
        numbers; torch's global generator is not touched.
    verbose : int, default=0
        Whether skorch prints a line for each epoch.

    Attributes
    ----------
    mask_ : ndarray of shape (n_tasks, n_components), float64
        How much each task uses each latent; exact zeros. Within the latents that are kept
        the mask depends on the coordinates that the encoder chose, which are not unique.
    support_ : ndarray of shape (n_components,), bool
        Latents that some task uses.
    n_components_ : int
        Number of latents.
    width_losses_ : ndarray of shape (n_components + 1,), float64, or None
        Held-out task loss with 0, 1, ... latents. None without the first step.
    history_ : list of dict
        Losses of each epoch of each step (``phase`` is "width", "sparse" or "refit").
    n_iter_ : int
        Number of epochs of the second step.
    tasks_ : TaskTargets
        The tasks of ``y``.
    step_tasks_ : ndarray of shape (n_timesteps, n_tasks) or None
        Weights of the steps where they are the same for all sequences.
    net_ : skorch.NeuralNet
        The trained net of the second step; its module has the heads of the third.
    n_features_in_ : int
        Number of features of a step.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if ``X`` had string column names.

    References
    ----------
    .. [1] Zheng, Feng, Li, Xie, Murphy and Zhang, From generalist to specialist
       representation, ICML 2026, arXiv:2605.12733.
    .. [2] Yun, Lozano and Yang, Adaptive proximal gradient methods for structured neural
       networks, NeurIPS 2021.

    Examples
    --------
    >>> from skspecialist.datasets import make_specialist_latents
    >>> from skspecialist.encoder import SparseSpecialistEncoder
    >>> data = make_specialist_latents(n_samples=300, random_state=0)
    >>> encoder = SparseSpecialistEncoder(max_epochs=3, random_state=0)
    >>> encoder.fit(data.X, data.y).latents(data.X).shape
    (300, 6)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "sparsity": [Interval(Real, 0, None, closed="left")],
        "penalty": [str, BasePenalty],
        "beta": [Interval(Real, 0, None, closed="left")],
        "heads": [StrOptions({"mlp", "linear"})],
        "hidden_layer_sizes": [tuple, list],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "refit": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "callbacks": [list, None],
        "device": [str],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        sparsity: float = 0.01,
        penalty: str | BasePenalty = "l1",
        beta: float = 0.0,
        heads: str = "mlp",
        hidden_layer_sizes: tuple[int, ...] = (128, 128),
        max_epochs: int | None = None,
        batch_size: int = 256,
        lr: float = 0.03,
        refit: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        callbacks: list[Any] | None = None,
        device: str = "cpu",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.sparsity = sparsity
        self.penalty = penalty
        self.beta = beta
        self.heads = heads
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.refit = refit
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: Any, y: Any = None, step_tasks: Any = None) -> Self:
        """Learn latents and mask.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Single steps, or sequences of them.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            A row for each row, or sequence, of ``X``. Columns of floats are continuous
            tasks, all others class labels; a DataFrame may have both.
        step_tasks : array-like of shape (n_timesteps, n_tasks) or \
                (n_sequences, n_timesteps, n_tasks), default=None
            Non-negative weights: the steps over which a task's head is summed. None is
            all of them. A task without any step uses no latent and predicts its mean, or
            its most frequent class. Only for sequences.

        Returns
        -------
        self : SparseSpecialistEncoder
            Fitted. A fit that fails leaves the estimator as it was.

        Raises
        ------
        ValueError
            If an array has a wrong shape, is not finite, or a task is constant.

        Warns
        -----
        SpecialistWarning
            If no latent is kept, or if the tasks may need more than ``n_components``.
        """
        X = validate_steps(self, X, ensure_min_samples=2)
        tasks = TaskTargets.for_samples(y, X, estimator=self)
        weights = validate_step_tasks(step_tasks, X, len(tasks))
        self._scaler = StandardScaler().fit(X.reshape(-1, X.shape[-1]).astype(np.float64))
        data = StepData.from_arrays(as_sequences(self._scale(X)), weights, tasks.encode(y))
        settings = self._settings(X, tasks)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        previous = getattr(self, "net_", None) if self.warm_start else None
        start = None if previous is None else previous.module_
        with seeded(seed, self.device):
            self.net_, self.history_, self.width_losses_ = fit_specialist(data, settings, start)
        self.n_iter_ = len(self.net_.history)
        self.mask_ = self.net_.module_.task_mask().detach().numpy().copy()
        self.support_ = self.mask_.any(axis=0)
        self.n_components_ = settings.n_components
        self._n_features_out = int(self.support_.sum())
        self.tasks_ = tasks
        self.step_tasks_ = weights[0] if weights.strides[0] == 0 else None
        self._weights_given = step_tasks is not None
        self._warn_about_support()
        return self

    def _settings(self, X: np.ndarray, tasks: TaskTargets) -> Settings:
        n_components = self.n_components
        if not all(isinstance(size, Integral) and size > 0 for size in self.hidden_layer_sizes):
            raise ValueError(
                f"hidden_layer_sizes must be positive integers, got {self.hidden_layer_sizes!r}."
            )
        return Settings(
            n_components=min(X.shape[-1], MAX_COMPONENTS) if n_components is None else n_components,
            sparsity=self.sparsity,
            penalty=BasePenalty.resolve(self.penalty, argument="penalty"),
            beta=self.beta,
            linear_heads=self.heads == "linear",
            hidden=tuple(self.hidden_layer_sizes),
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            refit=self.refit,
            early_stopping=self.early_stopping,
            validation_fraction=self.validation_fraction,
            callbacks=copy.deepcopy(self.callbacks or []),
            device=self.device,
            verbose=self.verbose,
            n_classes=[task.n_classes for task in tasks.tasks],
        )

    def _scale(self, X: np.ndarray) -> np.ndarray:
        """Standardise in double precision: single would lose small changes of large numbers."""
        rows = X.reshape(-1, X.shape[-1]).astype(np.float64)
        return self._scaler.transform(rows).reshape(X.shape)

    def _warn_about_support(self) -> None:
        if not self.support_.any():
            warnings.warn(
                f"No latent lowers the held-out task loss by more than sparsity={self.sparsity}: "
                "the support is empty, and the tasks predict their means or most frequent "
                "classes. A lower sparsity or more samples may find more.",
                SpecialistWarning,
                stacklevel=3,
            )
        elif self.sparsity > 0 and self.n_components_ < self.n_features_in_ and self.support_.all():
            warnings.warn(
                f"The tasks use all {self.n_components_} latents and may need more: raise "
                "n_components.",
                SpecialistWarning,
                stacklevel=3,
            )

    def latents(self, X: Any) -> np.ndarray:
        """Return all latents, of zero mean and unit variance over the training data.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Single steps, or sequences of them.

        Returns
        -------
        latents : ndarray of shape (..., n_components)
            In the dtype of ``X`` (float32 or float64).
        """
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        return encode(self.net_.module_, self._scale(X)).astype(X.dtype, copy=False)

    def transform(self, X: Any) -> np.ndarray:
        """Return the latents that some task uses.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Single steps, or sequences of them.

        Returns
        -------
        latents : ndarray of shape (..., n_support)
            In the dtype of ``X`` (float32 or float64).
        """
        return self.latents(X)[..., self.support_]

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode the latents that some task uses, all others at their mean.

        Parameters
        ----------
        X : array-like of shape (..., n_support)
            Latents as :meth:`transform` returns them, of steps or of sequences.

        Returns
        -------
        features : ndarray of shape (..., n_features)
            Reconstructed features.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32], allow_nd=True, ensure_min_features=0)
        if X.shape[-1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[-1]} latents, but {self._n_features_out} are in the support."
            )
        latents = np.zeros((*X.shape[:-1], self.n_components_))
        latents[..., self.support_] = X
        rows = decode(self.net_.module_, latents.reshape(-1, self.n_components_))
        features = self._scaler.inverse_transform(rows).reshape(*X.shape[:-1], -1)
        return features.astype(X.dtype, copy=False)

    def predict(self, X: Any, step_tasks: Any = None) -> np.ndarray:
        """Predict the tasks.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Sequences, or rows that are one step of every task each.
        step_tasks : array-like of shape (n_timesteps, n_tasks) or \
                (n_sequences, n_timesteps, n_tasks), default=None
            Weights of the steps. None is those of ``fit``, if they were the same for all
            sequences.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_tasks)
            Values and class labels, as ``y`` was in ``fit``.

        Raises
        ------
        ValueError
            If ``step_tasks`` is needed, or does not fit ``X``.
        """
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        if step_tasks is None and X.ndim == 3 and self._weights_given:
            step_tasks = self._remembered_step_tasks(X.shape[1])
        weights = validate_step_tasks(step_tasks, X, len(self.tasks_))
        codes = predict_tasks(self.net_.module_, as_sequences(self._scale(X)), weights)
        columns = [
            task.decode(column) for task, column in zip(self.tasks_.tasks, codes, strict=True)
        ]
        return self.tasks_.join(columns)

    def _remembered_step_tasks(self, n_timesteps: int) -> np.ndarray:
        if self.step_tasks_ is None:
            raise ValueError("fit had step_tasks for each sequence: pass those of X as well.")
        if len(self.step_tasks_) != n_timesteps:
            raise ValueError(
                f"X has {n_timesteps} steps, but the step_tasks of fit {len(self.step_tasks_)}: "
                "pass those of X."
            )
        return self.step_tasks_

    def score(self, X: Any, y: Any, step_tasks: Any = None) -> float:
        """Return the mean over tasks of R2, or of accuracy where y has class labels.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            As for :meth:`predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True values.
        step_tasks : array-like, default=None
            As for :meth:`predict`.

        Returns
        -------
        score : float
            At most 1.
        """
        check_is_fitted(self)
        return self.tasks_.score(y, self.predict(X, step_tasks))
