"""What the encoders have in common: the fit, and what a fitted one can do."""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import TaskEstimatorMixin
from .._base.sklearn_compat import CallbackSupportMixin, Interval, StrOptions
from .._data.sample_weights import validate_weights
from .._data.sequences import FLOATS, validate_steps
from .._data.step_weights import as_sequences, validate_step_weights
from .._data.tasks import TaskTargets
from .._data.validation import check_callbacks, check_layer_sizes, check_numbers
from ..exceptions import warn
from ..networks.data import StepData
from ..networks.inference import decode, encode, predict_tasks
from ._checkpoints import open_checkpoints
from ._diagnostics import diagnose
from ._fit import Fit, fit_specialist
from ._training import Settings, seeded
from .penalties._base import BasePenalty

__all__ = ["BaseSpecialistEncoder"]

EXPLAINED_VARIANCE = 0.999  # by the principal components that n_components=None counts
MAX_COMPONENTS = 32  # it finds at most
NOISES = (0.0, 0.3)  # of the features, that input_noise="auto" tries


class BaseSpecialistEncoder(
    CallbackSupportMixin,
    TaskEstimatorMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base of the encoders; see :class:`SparseSpecialistEncoder`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "penalty": [str, BasePenalty],
        "beta": [Interval(Real, 0, None, closed="left")],
        "independence_weight": [Interval(Real, 0, None, closed="left")],
        "heads": [StrOptions({"mlp", "linear"})],
        "hidden_layer_sizes": [tuple, list, None],
        "whiten": ["boolean"],
        "task_weight": ["array-like", None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "input_noise": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "refit": ["boolean"],
        "early_stopping": ["boolean"],
        "callbacks": [list, None],
        "device": [str],
        "checkpoint_dir": [str, os.PathLike, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _learn(
        self,
        X: Any,
        y: Any,
        step_weights: Any,
        y_weight: Any,
        *,
        hold_out: Callable[..., np.ndarray],
        previous: Any = None,
        **settings: Any,
    ) -> Fit:
        """Fit, set the attributes that all encoders have, and return the rest.

        Parameters
        ----------
        X, y, step_weights, y_weight : array-like
            As ``fit`` has them.
        hold_out : callable
            From ``X``, ``y`` and a random generator to the fold that each sample is held
            out in, -1 for none.
        previous : SpecialistAutoencoder or None, default=None
            Trained networks to go on from.
        **settings : dict
            Entries of :class:`Settings` that are not parameters of all encoders.
        """
        X = validate_steps(self, X, ensure_min_samples=2)
        if y is None:
            raise TaskTargets.missing(self)
        shape = (len(X), TaskTargets.count(y))
        counts, shares = validate_weights(y_weight, self.task_weight, shape)
        tasks = TaskTargets.for_samples(y, X, estimator=self, allow_missing=True, weights=counts)
        weights = validate_step_weights(step_weights, X, len(tasks))
        rng = check_random_state(self.random_state)
        folds = hold_out(X, y, rng)
        self._scaler = self._make_scaler().fit(X.reshape(-1, X.shape[-1]).astype(np.float64))
        scaled = as_sequences(self._scale(X))
        data = StepData.from_arrays(scaled, weights, tasks.encode(y), counts, shares, folds)
        weighs_steps = np.ndim(step_weights) == 2 and X.shape[1] > 1
        plan = self._settings(scaled, tasks, weighs_steps=weighs_steps, **settings)
        seed = rng.randint(2**31 - 1)
        plan.checkpoints = open_checkpoints(self, data, plan, seed, previous)
        with seeded(seed, self.device):
            fit = fit_specialist(data, plan, previous)
        self.module_, self.history_, self.n_iter_ = fit.module, fit.history, fit.n_epochs
        self.input_noise_ = round(float(fit.module.bottleneck.encoders.noise), 6)
        self.inseparable_groups_ = fit.inseparable
        self.mask_ = fit.module.task_mask().detach().numpy().copy()
        self.support_ = np.any(self.mask_, axis=0)
        self.n_components_ = self.mask_.shape[1]
        self._n_features_out = int(self.support_.sum())
        self.tasks_ = tasks
        self.step_mask_ = weights[0] if weights.strides[0] == 0 else None
        self.step_weights_ = self._step_weights() if weighs_steps else None
        self._weights_given = step_weights is not None
        self._warn_about_support(plan, fit.reaches_zero)
        return fit

    def _make_scaler(self) -> Any:
        """Return what the features go through before the networks."""
        if not self.whiten:
            return StandardScaler()
        return make_pipeline(StandardScaler(), PCA(EXPLAINED_VARIANCE, whiten=True))

    def _settings(self, X: np.ndarray, tasks: TaskTargets, **options: Any) -> Settings:
        hidden = check_layer_sizes(self.hidden_layer_sizes, or_none=True)
        settings = Settings(
            n_components=self._count_components(X),
            penalty=self._resolve_penalty(),
            beta=self.beta,
            independence_weight=self.independence_weight,
            linear_heads=self.heads == "linear",
            noises=self._noises(hidden),
            hidden=hidden,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            refit=self.refit,
            early_stopping=self.early_stopping,
            callbacks=check_callbacks(self.callbacks),
            device=self.device,
            verbose=self.verbose,
            n_classes=[task.n_classes for task in tasks.tasks],
            **options,
        )
        if settings.n_relevant is not None and settings.n_relevant > settings.n_components:
            raise ValueError(
                f"n_relevant={settings.n_relevant} exceeds the number of latents, "
                f"{settings.n_components}: raise n_components."
            )
        return settings

    def _noises(self, hidden: Any) -> tuple[float, ...]:
        """Return what the search tries: one noise twice, since training can get stuck."""
        if hidden is None:
            return (0.0,)
        return NOISES if self.input_noise == "auto" else (float(self.input_noise),) * 2

    def _resolve_penalty(self) -> BasePenalty:
        penalty = self.penalty
        if isinstance(penalty, str) and penalty == "auto":
            penalty = "hard_concrete" if self.hidden_layer_sizes is None else "l1"
        part = BasePenalty.resolve(penalty, argument="penalty")
        part._validate_params()
        return part

    def _count_components(self, X: np.ndarray) -> int:
        """Return the number of latents: given, the features, or what their variance needs."""
        n_features = X.shape[-1]
        if self.hidden_layer_sizes is None:
            if self.n_components not in (None, n_features):
                warn(
                    f"n_components={self.n_components} is ignored: with hidden_layer_sizes=None "
                    f"the latents are the {n_features} features."
                )
            if getattr(self, "n_relevant", None) is not None:
                raise ValueError(
                    "With hidden_layer_sizes=None the penalty alone says which latents are "
                    f"relevant: n_relevant must be None, got {self.n_relevant}."
                )
            return n_features
        if self.n_components is not None:
            return self.n_components
        variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(X.reshape(-1, n_features).T)))[::-1]
        needed = np.searchsorted(np.cumsum(variances), EXPLAINED_VARIANCE * variances.sum()) + 1
        return int(
            min(max(needed, getattr(self, "n_relevant", None) or 1), MAX_COMPONENTS, n_features)
        )

    def _scale(self, X: np.ndarray) -> np.ndarray:
        """Standardize in double precision: single would lose small changes of large numbers."""
        rows = X.reshape(-1, X.shape[-1]).astype(np.float64)
        return self._scaler.transform(rows).reshape(*X.shape[:-1], -1)

    def _step_weights(self) -> np.ndarray:
        learned = self.module_.bottleneck.heads.step_importance()[0].detach().numpy()
        return np.asarray(self.step_mask_ * learned.T)

    def _warn_about_support(self, settings: Settings, reaches_zero: bool) -> None:
        n_kept = int(self.support_.sum())
        if not reaches_zero:
            warn(
                "The fit was too short for the penalty to take an entry of the mask to zero: "
                "the mask may look denser than it is. Raise max_epochs."
            )
        if n_kept == 0:
            warn(
                "No latent lowers the held-out task loss: the support is empty, and the tasks "
                "predict their means or most frequent classes. More samples may find some."
            )
        elif self.hidden_layer_sizes is not None and n_kept == settings.n_outputs:
            warn(
                f"The tasks use {n_kept} latents, as many as they have outputs: the encoder may "
                "hand over the tasks' own values instead of the latents behind them. To tell "
                "them apart takes more tasks."
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
        return encode(self.module_, self._scale(X)).astype(X.dtype, copy=False)

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

    def diagnose(self, X: Any) -> Bunch:
        """Check what can be checked without knowing the true latents.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            At least 20 steps, best of held-out data; the first 2,000 are looked at.

        Returns
        -------
        diagnostics : :class:`~sklearn.utils.Bunch`
            With the keys

            use : ndarray of shape (n_support,), float64
                Mean absolute slope of the task that uses a kept latent most, in standard
                deviations (or logits) for a standard deviation.
            unused : ndarray of int
                Kept latents with less than a hundredth of the largest ``use``.
            jacobian_rank : int
                Rank of the slopes of all tasks over all steps. The theory asks for that of the
                support, "sufficient nonlinearity": otherwise the tasks see only so many
                combinations of the kept latents.
            duplicates : list of (int, int)
                Kept latents of which each says 95 % of the other.
            leakage : ndarray of shape (n_components - n_support,), float64
                Share of the variance of each other latent that the kept ones predict. High
                values mean that both speak of the same: by a dependence in the data, or
                because ``independence_weight`` is too low.
        """
        latents = self.latents(X)
        rows = latents.reshape(-1, latents.shape[-1]).astype(np.float64)
        return diagnose(self.module_, rows, np.asarray(self.support_))

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
        X = check_numbers(X, "X", dtype=FLOATS, allow_nd=True, ensure_min_features=0)
        if X.shape[-1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[-1]} latents, but {self._n_features_out} are in the support."
            )
        latents = np.zeros((*X.shape[:-1], self.n_components_))
        latents[..., self.support_] = X
        rows = decode(self.module_, latents.reshape(-1, self.n_components_))
        features = self._scaler.inverse_transform(rows).reshape(*X.shape[:-1], -1)
        return features.astype(X.dtype, copy=False)

    def predict(self, X: Any, step_weights: Any = None) -> np.ndarray:
        """Predict the tasks.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Sequences, or rows that are one step of every task each.
        step_weights : array-like of shape (n_timesteps, n_tasks) or \
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
            If ``step_weights`` is needed, or does not fit ``X``.
        """
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        if step_weights is None and X.ndim == 3 and self._weights_given:
            step_weights = self._remembered_step_tasks(X.shape[1])
        weights = validate_step_weights(step_weights, X, len(self.tasks_))
        n_learned = weights.shape[1] if self.step_weights_ is None else len(self.step_weights_)
        if weights.shape[1] not in (1, n_learned):
            raise ValueError(
                f"X has {weights.shape[1]} steps, but fit learned how much each of {n_learned} "
                "counts: pass as many."
            )
        outputs = predict_tasks(self.module_, as_sequences(self._scale(X)), weights)
        columns = [
            task.decode(column if column.ndim == 1 else column.argmax(axis=1))
            for task, column in zip(self.tasks_.tasks, outputs, strict=True)
        ]
        return self.tasks_.join(columns)

    def _remembered_step_tasks(self, n_timesteps: int) -> np.ndarray:
        if self.step_mask_ is None:
            raise ValueError("fit had step_weights for each sequence: pass those of X as well.")
        if len(self.step_mask_) != n_timesteps:
            raise ValueError(
                f"X has {n_timesteps} steps, but the step_weights of fit {len(self.step_mask_)}: "
                "pass as many, or single steps with their own."
            )
        return self.step_mask_

    def score(self, X: Any, y: Any, step_weights: Any = None) -> float:
        """Return the mean over tasks of R2, or of accuracy where y has class labels.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            As for :meth:`predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True values.
        step_weights : array-like, default=None
            As for :meth:`predict`.

        Returns
        -------
        score : float
            At most 1.
        """
        check_is_fitted(self)
        return self.tasks_.score(y, self.predict(X, step_weights))
