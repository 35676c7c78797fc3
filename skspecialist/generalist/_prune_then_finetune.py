"""Fine-tuning of a pretrained torch module to tasks, after pruning or by masks."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._base.estimator import TaskEstimatorMixin, all_or_nothing, callback_context
from .._base.sklearn_compat import CallbackSupportMixin, Interval, StrOptions, fit_context
from .._data.tasks import TaskTargets, read_tasks, require_tasks, split_columns
from .._data.validation import check_same_length, split_indices, validate_steps
from .._data.weights import validate_sample_weight
from ..exceptions import warn
from ..networks.checkpoint import Checkpoints
from ..networks.training import StepData, Trainer, seeded
from ._adaptation import Adapted, compare, folds_of, merge, n_operations
from ._modules import clone_sharing, n_parameters

__all__ = ["PruneThenFinetune"]

KEEP = {"prune": 0.5, "mask": 0.95, "full": 1.0, "head": 1.0}


class PruneThenFinetune(
    CallbackSupportMixin,
    TaskEstimatorMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Adapt a pretrained torch module to tasks: pruned and fine-tuned, masked, or as a whole.

    A linear head of each task is fitted to the output of the module first [1]_. Then a copy of
    the module is changed by the ``strategy``, and trained together with the heads. It is used
    only if it predicts held-out samples about as well as the heads on the module as it is.

    Parameters
    ----------
    module : torch.nn.Module, default=None
        Function of a batch of samples, with the samples on the first axis of its output and of
        the inputs of its layers. It is copied, and clones of the estimator share it. None takes
        ``X`` itself for the output.
    strategy : {"prune", "mask", "full", "head"}, default="prune"
        "prune" removes the units that the tasks use least and trains all that is left [2]_;
        "mask" trains a binary mask of each weight, and leaves the weights as they are [3]_;
        "full" trains all weights; "head" trains none but the heads.
    keep : float, default=None
        For "prune" the share of the module's parameters that is left, for "mask" that of the
        weights which are not masked in the beginning. None is 0.5 and 0.95; other strategies
        ignore it.
    importance : {"fisher", "magnitude", "activation"}, default="activation"
        Importance of a unit, of which the least per parameter are removed: "activation" is the
        root mean square of the unit in the samples times the norm of the weights that read it
        [5]_, relative to the mean of its layer; "magnitude" this norm alone; "fisher" half of
        the mean squared derivative of the loss by a factor on the unit, the expected rise of
        the loss without it [4]_, which few labels estimate with large errors. For strategy
        "prune".
    granularity : {"auto", "units", "heads", "layers"}, default="auto"
        Kind of the units: "units" are inputs of linear layers and channels of convolutions,
        "heads" those of :class:`torch.nn.MultiheadAttention`, "auto" both. "layers" are whole
        blocks of a sequence or list of modules that return the shape they are given.
    cv : int, splitter, iterable or None, default=3
        Folds of the comparison with the heads alone, for which everything is fitted again in
        each of them. None omits the comparison, and the fit takes a quarter of the time.
    pooling : {"mean", "first", "last"} or callable, default=None
        Pooling of the tokens of a sample, as in :class:`TorchGeneralist`.
    input_shape : tuple of int, default=None
        Shape of a sample that the module takes. None is that of a sample of ``X``.
    preprocess : callable, default=None
        Function of a batch of samples that returns the arguments of the module, as in
        :class:`TorchGeneralist`.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kinds of the tasks: one for all, one per task, or those of some tasks by name. None
        takes floats for amounts (continuous tasks), and integers, booleans and strings for
        class labels, whether or not values are missing.
    max_epochs : int, default=None
        Epochs of a training. None is as many as make 25 updates times the root of the number
        of samples: 250 at 100.
    batch_size : int, default=32
        Number of samples in a batch.
    learning_rate : float, default=0.001
        Largest learning rate of a one-cycle schedule.
    early_stopping : bool, default=False
        Whether each training holds out a tenth of the samples, stops when their loss no longer
        falls, and returns to the best epoch. Few labels are better used for training.
    device : str or torch.device, default="cpu"
        Device of the training, such as "cuda"; "auto" is CUDA if available, else the CPU. The
        fitted network is on the CPU.
    checkpoint_dir : path-like, default=None
        Directory in which the trainings are saved while they run, as in
        :class:`SparseSpecialistEncoder`. It requires an integer ``random_state``.
    random_state : int, RandomState instance or None, default=None
        Seed of folds, masks, dropout and batches.
    verbose : int, default=0
        Whether a line per epoch is printed.

    Attributes
    ----------
    strategy_ : str
        The strategy that is used: "head" if the given one lost the comparison.
    reason_ : str
        Reason for it.
    losses_ : dict of {str: float}
        Mean held-out loss of the heads alone and of the strategy: log loss of calibrated
        probabilities, or squared error in units of the variance.
    masks_ : dict of {str: ndarray of bool}
        For "prune" the units that are left, by the name of the layer that reads them, for
        "mask" the weights that are not set to zero.
    size_, full_size_ : int
        Number of parameters of the module, without those that a mask sets to zero, after and
        before.
    flops_ : int
        Floating-point operations of products and convolutions of ``module_`` for a sample.
    module_ : torch.nn.Module
        The changed module, in double precision. Operations with ``.float()`` are faster.
    network_ : torch.nn.Module
        The module with its heads.
    history_ : list of dict
        Losses of the epochs of the final training.
    n_features_out_ : int
        Number of features that ``transform`` returns.
    n_features_in_ : int
        Number of features of a sample, or of a step of it.

    See Also
    --------
    TorchGeneralist : Hidden states of a module that is not changed.
    SpecialistPipeline : Tasks that depend on some steps of sequences.

    Notes
    -----
    Which layer reads the units of which is found by trial: the output of the module without a
    unit must be that with this unit multiplied by zero. Otherwise, as in residual streams,
    nothing is cut. If nothing can be cut at all, inputs of layers are masked, which has the
    same predictions but takes the same time as before. Units are removed in five rounds,
    and scored again in between, as in [2]_; importance is that for the samples of the tasks, as
    in the task-aware pruning of [6]_.

    References
    ----------
    .. [1] A. Kumar, A. Raghunathan, R. Jones, T. Ma and P. Liang, "Fine-tuning can distort
       pretrained features and underperform out-of-distribution", ICLR 2022.
    .. [2] L. Zhao, Y. Shen, Z. Liu, X. Wang and J. Deng, "Less is more: unlocking specialization
       of time series foundation models via structured pruning", NeurIPS 2025.
    .. [3] M. Zhao, T. Lin, F. Mi, M. Jaggi and H. Schütze, "Masking as an efficient alternative
       to finetuning for pretrained language models", EMNLP 2020.
    .. [4] L. Theis, I. Korshunova, A. Tejani and F. Huszár, "Faster gaze prediction with dense
       networks and Fisher pruning", arXiv:1801.05787, 2018: equation 6.
    .. [5] M. Sun, Z. Liu, A. Bair and J. Z. Kolter, "A simple and effective pruning approach for
       large language models", ICLR 2024: equation 1, summed over the outputs of a layer.
    .. [6] L. V. S. V. D. Prasad, S. Ghosh and S. Umesh, "PADA: pruning assisted domain adaptation
       for self-supervised speech representations", SLT 2022.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from skspecialist import PruneThenFinetune
    >>> X, y = load_digits(n_class=5, return_X_y=True)
    >>> _ = torch.manual_seed(0)
    >>> module = torch.nn.Sequential(  # in place of one that is pretrained
    ...     torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16), torch.nn.ReLU()
    ... )
    >>> pruned = PruneThenFinetune(module, cv=2, learning_rate=0.01, max_epochs=20, random_state=0)
    >>> pruned.fit(X[:150] / 16, y[:150]).score(X[150:] / 16, y[150:]) > 0.9
    True
    >>> {name: (int(kept.sum()), len(kept)) for name, kept in pruned.masks_.items()}
    {'body.2': (36, 64), 'head': (7, 16)}
    """

    _parameter_constraints: dict = {
        "module": [nn.Module, None],
        "strategy": [StrOptions({"prune", "mask", "full", "head"})],
        "keep": [Interval(Real, 0, 1, closed="right"), None],
        "importance": [StrOptions({"fisher", "magnitude", "activation"})],
        "granularity": [StrOptions({"auto", "units", "heads", "layers"})],
        "cv": ["cv_object", None],
        "pooling": [StrOptions({"mean", "first", "last"}), callable, None],
        "input_shape": [tuple, None],
        "preprocess": [callable, None],
        "task_types": [StrOptions({"amount", "label"}), list, tuple, dict, None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "device": [str, torch.device],
        "checkpoint_dir": [str, os.PathLike, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        module: nn.Module | None = None,
        *,
        strategy: str = "prune",
        keep: float | None = None,
        importance: str = "activation",
        granularity: str = "auto",
        cv: Any = 3,
        pooling: str | Callable[[Any], Any] | None = None,
        input_shape: tuple[int, ...] | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        task_types: Any = None,
        max_epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        early_stopping: bool = False,
        device: str | torch.device = "cpu",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.strategy = strategy
        self.keep = keep
        self.importance = importance
        self.granularity = granularity
        self.cv = cv
        self.pooling = pooling
        self.input_shape = input_shape
        self.preprocess = preprocess
        self.task_types = task_types
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None) -> Self:
        """Adapt a copy of the module to the tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_timesteps, n_features)
            Samples, each of which the module takes as a whole.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Tasks: amounts in columns of floats, class labels in all others. NaN, or None among
            labels, is a missing value.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), default=None
            Weights of the samples, or of their values in each task.
        groups : array-like of shape (n_samples,), default=None
            Samples of one group are held out together.

        Returns
        -------
        self : PruneThenFinetune
            Fitted.

        Raises
        ------
        ValueError
            If an array has a wrong shape or is not finite, all tasks are constant, the module
            does not take the samples, or ``checkpoint_dir`` cannot be used.

        Warns
        -----
        SpecialistWarning
            If the strategy loses the comparison with the heads alone, fewer parameters can be
            removed than ``keep`` asks for, or units can only be masked.
        """
        with callback_context(self, X, y) as task:
            rng = check_random_state(self.random_state)
            data, folds = self._prepare(X, y, sample_weight, groups, rng)
            seed = rng.randint(2**31 - 1)
            trainer = Trainer(
                learning_rate=self.learning_rate,
                max_epochs=self.max_epochs,
                batch_size=self.batch_size,
                early_stopping=self.early_stopping,
                device=str(self.device),
                verbose=self.verbose,
                task=task,
                checkpoints=None
                if self.checkpoint_dir is None
                else Checkpoints(self, data, seed, self.module, {"module"}),
            )
            with seeded(seed, str(self.device)):
                self._learn(data, folds, trainer)
        return self

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, groups: Any, rng: np.random.RandomState
    ) -> tuple[StepData, list[tuple[np.ndarray, np.ndarray]]]:
        """Validate the data; set the tasks; return training data, and the folds of the guard."""
        X = validate_steps(self, X, ensure_min_samples=2)
        options: dict[str, Any] = {"allow_missing": True, "task_types": self.task_types}
        require_tasks(y, self)
        y = read_tasks(y)
        columns = split_columns(y, allow_missing=True)[0]
        check_same_length(X=X, y=columns[0], groups=groups)
        counts = validate_sample_weight(sample_weight, (len(X), len(columns)))
        folds = None
        if self.cv is not None and not isinstance(self.cv, Integral):
            folds = list(split_indices(self.cv, X, None, groups))

        X, y, counts, groups, folds = merge(X, y, counts, groups, folds)
        self.tasks_ = tasks = TaskTargets(y, weights=counts, **options)
        self._sample_shape = X.shape[1:]
        codes = [c for c, known in zip(tasks.encode(y), tasks.learned, strict=True) if known]
        data = StepData.from_arrays(
            X.reshape(len(X), 1, -1), np.ones((len(X), 1, 1)), codes, counts[:, tasks.learned]
        )
        if folds is None:
            n_folds = 0 if self.cv is None else int(self.cv)
            folds = folds_of(codes, groups, n_folds, rng.randint(2**31 - 1))
        return data, [] if self.strategy == "head" else folds

    def _built(self) -> Adapted:
        """Return a copy of the module with heads, in single precision."""
        body = nn.Identity() if self.module is None else copy.deepcopy(self.module)
        shape = self.input_shape or self._sample_shape
        n_classes = [t.n_classes for t in self.tasks_.tasks if not t.is_constant]
        return Adapted(
            body.cpu().float().requires_grad_(True), shape, self.preprocess, self.pooling, n_classes
        )

    def _learn(self, data: StepData, folds: list[Any], trainer: Trainer) -> None:
        options: dict[str, Any] = {
            "importance": self.importance,
            "granularity": self.granularity,
            "keep": KEEP[self.strategy] if self.keep is None else self.keep,
        }
        # 1. The strategy, unless the heads alone predict held-out samples better.
        found = compare(self._built, data, folds, trainer, self.strategy, options)
        self.strategy_, self.losses_, self.reason_ = found.strategy, found.losses, found.reason
        if self.strategy_ != self.strategy:
            warn(
                f"strategy={self.strategy!r} predicts held-out samples worse than a linear head on "
                f"the module as it is, which is used instead ({self.reason_})."
            )

        # 2. Its fit to all samples.
        net = self._built()
        self.masks_, self.history_ = net.adapt(data, trainer, strategy=self.strategy_, **options)
        net.sharpen(found.sharpness)
        self.size_, self.full_size_ = n_parameters(net.body), n_parameters(self._built().body)
        self.network_ = net.double().eval()
        self.module_ = net.body
        self.n_features_out_ = net.head.in_features

    def _outputs(self, X: Any, *, features: bool = False) -> tuple[np.ndarray, np.ndarray]:
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        if X.shape[1:] != (shape := self._sample_shape):
            raise ValueError(f"X has samples of shape {X.shape[1:]}, but fit had {shape}.")
        rows = torch.from_numpy(X.reshape(len(X), 1, -1).astype(np.float64))
        with seeded(0, "cpu", limit_threads=False):
            return X, self.network_.run(rows, features=features)

    def transform(self, X: Any) -> np.ndarray:
        """Return the output of the changed module, pooled.

        Parameters
        ----------
        X : array-like
            Samples, as in :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out_)
            In the dtype of ``X``.
        """
        X, features = self._outputs(X, features=True)
        return features.astype(X.dtype, copy=False)

    def _blocks(self, X: Any) -> list[np.ndarray]:
        _, outputs = self._outputs(X)
        sizes = self.network_.n_outputs
        blocks = np.split(outputs, np.cumsum(sizes)[:-1], axis=1)
        pairs = zip(blocks, self.network_.n_classes, strict=True)
        return [block if count else block[:, 0] for block, count in pairs]

    def predict(self, X: Any) -> Any:
        """Predict the tasks.

        Parameters
        ----------
        X : array-like
            Samples, as in :meth:`fit`.

        Returns
        -------
        y : ndarray or DataFrame of shape (n_samples,) or (n_samples, n_tasks)
            In the form of the ``y`` of :meth:`fit`.
        """
        blocks = self._blocks(X)
        return self.tasks_.decode(blocks, len(blocks[0]), X)

    @available_if(lambda self: self.task_types != "amount")
    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like
            Samples, as in :meth:`fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes) or list of ndarray
                Sorted classes; one array per task if ``y`` had several columns.

        Raises
        ------
        ValueError
            If a task is continuous.
        """
        blocks = self._blocks(X)
        if amounts := [t.name for t in self.tasks_.tasks if not t.is_classification]:
            raise ValueError(f"{amounts} are continuous, and have no probabilities of classes.")
        found = iter(softmax(block, axis=1) for block in blocks)
        ones = np.ones((len(blocks[0]), 1))
        tables = [ones if task.is_constant else next(found) for task in self.tasks_.tasks]
        return tables[0] if self.tasks_.is_1d else tables

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the mean over tasks of R2, or of accuracy where y has class labels.

        Parameters
        ----------
        X : array-like
            Samples, as in :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. None is equal weights.

        Returns
        -------
        score : float
            At most 1.
        """
        return self.tasks_.score(y, self.predict(X), sample_weight)

    def report(self) -> Bunch:
        """Return strategy, size, operations and held-out losses.

        Returns
        -------
        report : :class:`~sklearn.utils.Bunch`
            ``strategy``, ``reason``, ``losses``, ``size``, ``flops``, and the shares that the
            last two are of the module as it was, ``size_share`` and ``flops_share``.
        """
        check_is_fitted(self)
        return Bunch(
            strategy=self.strategy_,
            reason=self.reason_,
            losses=self.losses_,
            size=self.size_,
            size_share=self.size_ / max(self.full_size_, 1),
            flops=self.flops_,
            flops_share=self.flops_ / max(n_operations(self._built(), self._sample_shape), 1),
        )

    @property
    def flops_(self) -> int:
        """Floating-point operations of products and convolutions of the module for a sample."""
        check_is_fitted(self)
        return n_operations(self.network_, self._sample_shape)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_out_

    def __sklearn_clone__(self) -> Self:
        """Share the module and the callables, which scikit-learn would copy."""
        return clone_sharing(self, "module", "pooling", "preprocess")
