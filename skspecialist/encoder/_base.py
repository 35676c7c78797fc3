"""Base class of the sparse encoders and selectors: the fit, the predictions, shared parameters."""

from __future__ import annotations

import os
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import TaskEstimatorMixin, all_or_nothing, callback_context, pinned_settings
from .._base.sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
    safe_indexing,
)
from .._data.tasks import TaskTargets, read_tasks, require_tasks, split_columns
from .._data.validation import check_callbacks, check_same_length, validate_steps
from .._data.weights import (
    as_sequences,
    merge_samples,
    validate_sample_weight,
    validate_step_weights,
    validate_task_weight,
    weights_of_tasks,
)
from ..exceptions import warn
from ..networks.checkpoint import Checkpoints
from ..networks.layers import Bottlenecks
from ..networks.net import SpecialistNet
from ..networks.penalties import BasePenalty
from ..networks.training import NO_FOLD, StepData, Trainer, seeded
from ._diagnostics import diagnose
from ._nuisance import NuisanceRemover, read_nuisance
from ._training import (
    Build,
    SpecialistAutoencoder,
    build_bottlenecks,
    encode,
    noise_of,
    predict_tasks,
    train_bottlenecks,
)

__all__ = ["BaseSparseSpecialist"]

# Part of its way to zero by which the penalty must be able to move an entry. An entry begins
# at width**-0.5; half of it is enough, since those that tasks do not use are smaller by then.
ENOUGH_TRAVEL = 0.5
# Standard deviations beyond the range seen in training at which features are clipped: values
# near it are extrapolated, as by any network.
MARGIN = 1.0
# Parameters that the data of a fit contain, or that change no fit.
IN_THE_DATA = {"callbacks", "cv", "task_types", "task_weight", "validation_fraction", "warm_start"}


class BaseSparseSpecialist(
    CallbackSupportMixin, TaskEstimatorMixin, TransformerMixin, BaseEstimator
):
    """Base of the encoders and selectors; see :class:`SparseSpecialistEncoder`.

    A subclass decides about the latents: ``_count_latents`` (their number), ``_hidden`` (the
    layers of the encoder), ``_noises``, ``_default_penalty`` and ``_learn`` (the trainings); a
    mixin about the samples that the search holds out.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "penalty": [str, BasePenalty],
        "heads": [StrOptions({"mlp", "linear"})],
        "task_types": [StrOptions({"amount", "label"}), list, tuple, dict, None],
        "task_weight": ["array-like", None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "callbacks": [list, None],
        "device": [str, torch.device],
        "checkpoint_dir": [str, os.PathLike, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        step_weights: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        nuisance: Any = None,
    ) -> Self:
        """Learn latents, mask and heads.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Single steps, or sequences of them.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Tasks of each row, or sequence, of ``X``: amounts in columns of floats, class labels
            in all others. NaN, or None among labels, is a missing value: that sample does not
            count for that task. A task of one value is not
            learned, with a warning, and is predicted by it; the others are as if without it.
        step_weights : array-like of shape (n_timesteps, n_tasks) or \
                (n_sequences, n_timesteps, n_tasks), default=None
            Non-negative weights of the steps over which the head of a task is summed. None is
            all steps. With one row per step they are the same in all sequences, and the
            importance of each step is learned as well, so that a wrong step does little harm.
            A task without any step uses no latent and predicts its mean, or its most
            frequent class. Only for sequences.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), default=None
            Weights of the samples, or of their values in each task. An integer weight is
            equivalent to as many repetitions, and zero to absence. A sample counts as much for
            scale and reconstruction as for the task in which its weight is largest.
        groups : array-like of shape (n_samples,), default=None
            Samples of one group are held out together.
        nuisance : array-like of shape (n_samples,) or (n_samples, n_nuisances), default=None
            Amounts or labels, such as speaker and site, that latents should not contain:
            directions of the features that linear models read them from are erased
            (:class:`NuisanceRemover`). ``predict`` needs none. Values may be missing.

        Returns
        -------
        self : object
            The fitted estimator. A fit that fails leaves the estimator as it was.

        Raises
        ------
        ValueError
            If an array has a wrong shape, ``X`` is not finite, all tasks are constant, or
            ``checkpoint_dir`` cannot be used or has a damaged file of this fit.

        Warns
        -----
        SpecialistWarning
            If no latent is kept, or as many as the tasks have outputs, if the fit was too
            short for exact zeros, or if a task, learned again, is still predicted clearly worse
            than by ridge regression.
        """
        with callback_context(self, X, y) as task:
            rng = check_random_state(self.random_state)
            data = self._prepare(X, y, step_weights, sample_weight, groups, nuisance, rng)
            build = partial(
                build_bottlenecks,
                data,
                n_classes=self._n_classes,
                hidden=self._hidden(),
                linear_heads=self.heads == "linear",
                penalty=self._resolve_penalty(),
                learn_steps=self._learns_steps,
            )
            seed = rng.randint(2**31 - 1)
            trainer = Trainer(
                learning_rate=self.learning_rate,
                max_epochs=self.max_epochs,
                batch_size=self.batch_size,
                early_stopping=self.early_stopping,
                device=str(self.device),
                verbose=self.verbose,
                task=task,
                checkpoints=self._open_checkpoints(data, build, seed),
            )
            self.history_: list[dict[str, Any]] = []
            with seeded(seed, str(self.device)):
                self._learn(data, trainer, build)
        self.nuisance_scores_: list[dict[str, Any]] = []
        if self.nuisance_remover_ is not None:
            X = validate_steps(self, X, reset=False)
            latents, steps = self.transform(X), self.step_mask_
            self.nuisance_scores_ = self.nuisance_remover_._compare(X, nuisance, y, latents, steps)
        return self

    def _prepare(
        self,
        X: Any,
        y: Any,
        step_weights: Any,
        sample_weight: Any,
        groups: Any,
        nuisance: Any,
        rng: np.random.RandomState,
    ) -> StepData:
        """Validate the data; set tasks, scaler and number of latents; return training data."""
        X = validate_steps(self, X, ensure_min_samples=2)
        require_tasks(y, self)
        y = read_tasks(y)
        columns = split_columns(y, allow_missing=True)[0]
        check_same_length(X=X, y=columns[0], groups=groups)
        counts = validate_sample_weight(sample_weight, (len(X), len(columns)))
        task_weight = validate_task_weight(self.task_weight, len(columns))
        weights = validate_step_weights(step_weights, X, len(columns))
        is_shared = weights.strides[0] == 0  # the same steps in all sequences
        groups = None if groups is None else np.asarray(groups)
        folds = self._given_folds(X, y, groups)

        # Equal samples become one, with the sum of their weights.
        labels = [part for part in (folds, groups) if part is not None]
        if nuisance is not None:
            nuisance = read_nuisance(nuisance, X, self)
            labels += split_columns(nuisance, True)[0]
        arrays = [X] if is_shared else [X, weights]
        index, counts, _ = merge_samples(counts, arrays, columns, labels)
        if not np.array_equal(index, np.arange(len(X))):
            X, y = X[index], safe_indexing(y, index)
            folds, groups = (None if part is None else part[index] for part in (folds, groups))
            nuisance = None if nuisance is None else safe_indexing(nuisance, index)
            weights = weights[: len(X)] if is_shared else weights[index]

        self.tasks_ = TaskTargets(y, allow_missing=True, weights=counts, task_types=self.task_types)
        learned = self.tasks_.learned  # these are fitted as if without the constant tasks
        self._n_classes = [t.n_classes for t in self.tasks_.tasks if not t.is_constant]
        if folds is None:
            folds = self._draw_folds(len(X), groups, rng)
        # Folds without any sample left are left out of the numbering.
        folds = np.where(folds < 0, NO_FOLD, np.searchsorted(np.unique(folds[folds >= 0]), folds))

        counts = counts[:, learned]
        scaled, row_weights = self._fit_scale(X, nuisance, counts)
        self._learns_steps = np.ndim(step_weights) == 2 and X.ndim == 3 and X.shape[1] > 1
        self._weights_given = step_weights is not None
        self.step_mask_ = weights[0] if is_shared else None
        if not learned.all():
            task_weight = validate_task_weight(task_weight[learned], len(self._n_classes))
        return StepData.from_arrays(
            scaled,
            weights_of_tasks(weights, learned),
            [codes for codes, known in zip(self.tasks_.encode(y), learned, strict=True) if known],
            counts,
            task_weight,
            folds,
            row_weights,
        )

    def _fit_scale(self, X: np.ndarray, nuisance: Any, counts: np.ndarray) -> tuple[Any, Any]:
        """Return the features that the networks take, and their weights, None if all are equal."""
        # The features count as the value of the task in which the weight is largest.
        rows = counts.max(axis=1) / counts.max(axis=1).mean()
        is_weighted = not np.all(rows == rows[0])
        per_step = np.repeat(rows, X[0].size // X.shape[-1]) if is_weighted else None
        remover = None if nuisance is None else NuisanceRemover()._learn(X, nuisance, rows)
        self.nuisance_remover_ = remover
        self._scaler = StandardScaler().fit(self._rows(X), sample_weight=per_step)
        self._bounds = None
        scaled = as_sequences(self._scale(X))
        self._bounds = np.array([scaled.min((0, 1)) - MARGIN, scaled.max((0, 1)) + MARGIN])
        self._n_latents = self._count_latents(scaled, per_step)
        return scaled, rows if is_weighted else None

    def _scale(self, X: np.ndarray) -> np.ndarray:
        """Standardize in double precision: single would lose small changes of large numbers.

        Values far from all training data are clipped. A column that hardly varied in training
        can otherwise be millions of its standard deviations away, and decide every prediction.
        """
        with pinned_settings():
            scaled = self._scaler.transform(self._rows(X))
        if self._bounds is not None:
            scaled = scaled.clip(*self._bounds)
        return np.asarray(scaled.reshape(*X.shape[:-1], -1))

    def _rows(self, X: np.ndarray) -> np.ndarray:
        """Return the steps in double precision, without the nuisances."""
        rows = X.reshape(-1, X.shape[-1]).astype(np.float64)
        return rows if self.nuisance_remover_ is None else self.nuisance_remover_._erase(rows)

    def _resolve_penalty(self) -> BasePenalty:
        is_auto = isinstance(self.penalty, str) and self.penalty == "auto"
        penalty = self._default_penalty if is_auto else self.penalty
        part = BasePenalty.resolve(penalty, argument="penalty")
        part._validate_params()
        return part

    def _open_checkpoints(self, data: StepData, build: Any, seed: int) -> Checkpoints | None:
        """Return the files of the fit, or None."""
        if self.checkpoint_dir is None:
            return None
        if self.callbacks:
            raise ValueError(
                "checkpoint_dir and callbacks exclude each other, because the state of a callback "
                "is not saved: set one of them to None."
            )
        options = {**build.keywords, "n_latents": self._n_latents}
        if given := getattr(self, "_given", None):
            options["given"] = str(given)
        return Checkpoints(self, data, seed, self._previous(), IN_THE_DATA, **options)

    def _previous(self) -> SpecialistAutoencoder | None:
        """Return the networks of the previous fit, to start from."""
        return None

    @property
    def _n_outputs(self) -> int:
        """Number of values that the tasks consist of."""
        return sum(max(1, count - 1) for count in self._n_classes)

    def _learn(self, data: StepData, trainer: Trainer, build: Build) -> None:
        """Train all networks, and set the attributes."""
        raise NotImplementedError

    def _record(self, phase: str, *nets: SpecialistNet) -> None:
        """Add the losses of each epoch to the history, without those of each batch."""
        for net in nets:
            for row in net.history:
                losses = {key: float(row[key]) for key in sorted(row) if key.endswith("_loss")}
                self.history_.append({"phase": phase, "epoch": row["epoch"]} | losses)

    def _train(
        self,
        data: StepData,
        trainer: Trainer,
        build: Build,
        width: int,
        start: Bottlenecks | None,
        *,
        sparsity: float,
        share: float,
        noise: float = 0.0,
    ) -> Bottlenecks:
        """Train the bottleneck of all samples with the penalty, for a share of the epochs."""
        own = noise if start is None else noise_of(start)
        module = build([width], sparsity=[sparsity], noise=own)
        net = train_bottlenecks(
            data,
            trainer,
            module,
            start=start,
            share=share,
            may_stop_early=True,
            callbacks=check_callbacks(self.callbacks),
        )
        self._record("sparse", net)
        self.n_iter_ = len(net.history)
        if sparsity > 0 and width > 0 and net.travel_ <= ENOUGH_TRAVEL * width**-0.5:
            warn(
                "The fit was too short for the penalty to take an entry of the mask to zero: "
                "the mask may look denser than it is. Raise max_epochs."
            )
        return net.module_

    def _publish(self, module: SpecialistAutoencoder) -> None:
        """Set the attributes of the fitted networks."""
        self.module_ = module.double().eval()
        self.mask_ = self.tasks_.place(module.task_mask().detach().numpy())
        self.support_ = np.any(self.mask_, axis=0)
        self._n_features_out = int(self.support_.sum())
        self.step_weights_ = None
        if self._learns_steps:
            importance = module.bottleneck.heads.step_importance()[0].detach().numpy()
            self.step_weights_ = np.asarray(self.step_mask_ * self.tasks_.place(importance).T)
        if self._n_features_out == 0:
            warn(
                "No latent lowers the held-out task loss: the support is empty, and the tasks "
                "predict their means or most frequent classes. More samples may find some."
            )

    def latents(self, X: Any) -> np.ndarray:
        """Return all latents, of zero mean and unit variance over the training data.

        Those of an encoder that no task uses are trained with its decoder (``decoder``).

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
        return encode(self._with_other_latents(), self._scale(X)).astype(X.dtype, copy=False)

    def _with_other_latents(self) -> SpecialistAutoencoder:
        """Return the networks, with the latents that no task uses."""
        return self.module_

    def diagnose(self, X: Any) -> Bunch:
        """Check a fit without the true latents.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            At least 20 steps, preferably of held-out data; the first 2,000 are used.

        Returns
        -------
        diagnostics : :class:`~sklearn.utils.Bunch`
            With the keys

            use : ndarray of shape (n_support,), float64
                Mean absolute slope of the task that uses a kept latent most, in standard
                deviations (or logits) per standard deviation.
            unused : ndarray of int
                Kept latents with less than a hundredth of the largest ``use``.
            jacobian_rank : int
                Rank of the slopes of all tasks over all steps. The theory requires that it
                equals the size of the support ("sufficient nonlinearity"): otherwise the tasks
                depend only on as many combinations of the kept latents.
            duplicates : list of (int, int)
                Pairs of kept latents of which each predicts 95 % of the variance of the other.
            leakage : ndarray of shape (n_components - n_support,), float64
                Share of the variance of each other latent that the kept ones predict. High
                values mean that both contain the same: by a dependence in the data, or because
                ``independence_weight`` is too low.
        """
        latents = self.latents(X)
        rows = latents.reshape(-1, latents.shape[-1]).astype(np.float64)
        return diagnose(self.module_, rows, np.asarray(self.support_))

    def predict(self, X: Any, step_weights: Any = None) -> np.ndarray:
        """Predict the tasks.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Sequences, or rows that are one step of every task.
        step_weights : array-like of shape (n_timesteps, n_tasks) or \
                (n_sequences, n_timesteps, n_tasks), default=None
            Weights of the steps. None is those of ``fit``, if they were the same for all
            sequences.

        Returns
        -------
        y : ndarray or DataFrame of shape (n_samples,) or (n_samples, n_tasks)
            Values and class labels, as ``y`` was in ``fit``: a table if that was one.

        Raises
        ------
        ValueError
            If ``step_weights`` is needed, or does not fit ``X``.
        """
        check_is_fitted(self)
        given, X = X, validate_steps(self, X, reset=False)
        if step_weights is None and X.ndim == 3 and self._weights_given:
            step_weights = self._fitted_step_mask(X.shape[1])
        weights = validate_step_weights(step_weights, X, len(self.tasks_))
        n_learned = weights.shape[1] if self.step_weights_ is None else len(self.step_weights_)
        if weights.shape[1] not in (1, n_learned):
            raise ValueError(
                f"X has {weights.shape[1]} steps, but fit learned the importance of each of "
                f"{n_learned} steps: pass as many."
            )
        weights = weights_of_tasks(weights, self.tasks_.learned)
        scaled = as_sequences(self._scale(X))
        return self.tasks_.decode(predict_tasks(self.module_, scaled, weights), len(X), given)

    def _fitted_step_mask(self, n_timesteps: int) -> np.ndarray:
        if self.step_mask_ is None:
            raise ValueError("fit had step_weights for each sequence: pass those of X as well.")
        if len(self.step_mask_) != n_timesteps:
            raise ValueError(
                f"X has {n_timesteps} steps, but the step_weights of fit {len(self.step_mask_)}: "
                "pass as many, or single steps with their own."
            )
        return self.step_mask_

    def score(self, X: Any, y: Any, step_weights: Any = None, sample_weight: Any = None) -> float:
        """Return the mean over tasks of R2, or of accuracy where y has class labels.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            As for :meth:`predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True values.
        step_weights : array-like, default=None
            As for :meth:`predict`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. None is equal weights.

        Returns
        -------
        score : float
            At most 1.
        """
        check_is_fitted(self)
        return self.tasks_.score(y, self.predict(X, step_weights), sample_weight)
