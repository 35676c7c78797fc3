"""Fits, decisions and predictions that the pipelines of all kinds of tasks share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from .._base.estimator import TaskContext, TaskEstimatorMixin, all_or_nothing, callback_context
from .._base.sklearn_compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)
from .._data.tasks import TaskTargets, require_tasks
from ..encoder._encoder import SparseSpecialistEncoder
from ..encoder._selector import SparseMultiTaskSelector
from ..exceptions import SpecialistWarning
from ..structure._identifier import TaskStructureIdentifier
from ._blocks import in_blocks, refit_ridges
from ._candidates import (
    check_candidates,
    clone_with_seed,
    reads_latents,
    shared_if_stateless,
    task_candidates,
    warn_of_ignored_parameters,
)
from ._comparison import NewRepresentation
from ._decision import TaskModel, fit_tasks
from ._monitor import MonitorMixin
from ._representation import Representation, Stage, features_of
from ._sequences import (
    LabeledSequences,
    Split,
    merge_sequences,
    read_sequences,
    split_sequences,
    take_sample,
    weigh_classes,
)

__all__ = ["BaseSpecialist"]

# Stages of each fit to all sequences or to some of them.
STAGES = ("generalist", "structure", "encoder", "estimators")
# Parameters of the encoder that the mask of tasks added later is learned with.
FOR_ADDED_TASKS = ("heads", "batch_size", "learning_rate", "device", "checkpoint_dir")


class BaseSpecialist(
    MonitorMixin, CallbackSupportMixin, TaskEstimatorMixin, TransformerMixin, BaseEstimator
):
    """Base of the pipelines, which differ in the kinds of their tasks."""

    # Parameters of the pipeline of all kinds, and of that of class labels.
    task_types: Any = None
    class_weight: Any = None

    _parameter_constraints: dict = {
        "generalist": [HasMethods(["fit", "transform"]), None],
        "structure": [HasMethods(["fit", "step_weights"]), None],
        "encoder": [HasMethods(["fit", "latents"]), None],
        "estimator": [HasMethods(["fit", "predict"]), tuple, list, dict, None],
        "candidates": [StrOptions({"auto"}), list, tuple],
        "strategy": [StrOptions({"stack", "best", "specialist", "generalist"})],
        "task_features": [StrOptions({"structure", "all"})],
        "cv": [tuple, "array-like", "cv_object"],
        "loss": [StrOptions({"auto", "huber", "pinball"}), callable],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
        "max_samples": [StrOptions({"auto"}), Interval(Integral, 2, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        generalist: Any = None,
        structure: Any = None,
        encoder: Any = None,
        estimator: Any = None,
        *,
        candidates: Any = "auto",
        strategy: str = "stack",
        task_features: str = "structure",
        cv: Any = 3,
        loss: str | Callable[..., Any] = "auto",
        n_timesteps: int | None = None,
        max_samples: Any = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.generalist = generalist
        self.structure = structure
        self.encoder = encoder
        self.estimator = estimator
        self.candidates = candidates
        self.strategy = strategy
        self.task_features = task_features
        self.cv = cv
        self.loss = loss
        self.n_timesteps = n_timesteps
        self.max_samples = max_samples
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        groups: Any = None,
        environments: Any = None,
        sample_weight: Any = None,
        nuisance: Any = None,
    ) -> Self:
        """Fit the parts, and choose the candidate that predicts each task.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            Sequences. The columns of a 2-D ``X`` are the steps in time order. Shorter
            sequences, in a list of 2-D arrays or with NaN after their end, are read by the
            estimators with their steps repeated. NaN elsewhere is for a generalist that
            fills it in, or for an estimator that supports it.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Value of each task in each sequence. Columns of floats are continuous,
            columns of integers, booleans or strings are class labels, unless ``task_types``
            is given. A task is learned from the sequences of which it is known; one of a
            single value is predicted by it, with a warning.
        groups : array-like of shape (n_sequences,), default=None
            Groups of dependent sequences, such as those of a person: a split does not divide
            them, and the standard error is one over groups.
        environments : array-like of shape (n_sequences,), default=None
            Place or time of the recording of each sequence, at least two different values.
            Of a task's latents only those are kept whose relation to the task is the same in
            all environments, and candidates are compared on environments that their
            estimators were not fitted to.
        sample_weight : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Weights of the sequences, or of their values in each task, in the encoder, in the
            estimators and in their comparison. An integer weight is equivalent to as many
            repetitions, and zero to absence; tests of the structure take importance weights.
        nuisance : array-like of shape (n_sequences,) or (n_sequences, n_nuisances), default=None
            Amounts or labels, such as speaker and site, that predictions should not rest on:
            directions of the generalist that linear models read them from are erased
            (:class:`NuisanceRemover`). ``predict`` needs none. Values may be missing.

        Returns
        -------
        self : object
            Fitted pipeline.

        Raises
        ------
        ValueError
            If ``y`` is missing, ``X`` or ``y`` has infinite values, or ``X`` NaN that no part
            takes, all tasks are constant, there is one environment only, a part raises it, or
            the encoder has a ``checkpoint_dir`` and ``random_state`` is not an integer.

        Warns
        -----
        SpecialistWarning
            If a parameter has no effect with this ``strategy``, or with these tasks; or if a
            task has one class or value only in a training fold, and is predicted by the null
            model.
        """
        labels = {"groups": groups, "environments": environments, "nuisance": nuisance}
        is_sample, (used, *given) = take_sample(self, X, y, labels, sample_weight)
        used = read_sequences(self, used, self.n_timesteps, keeps_nan=self._keeps_nan)
        data, cv = self._labeled(used, given, self.task_types)
        n_timesteps, tasks = data.X.shape[1], data.tasks
        check_candidates(self.estimator, self.candidates, tasks.names)
        warn_of_ignored_parameters(self, tasks)
        seeds, splits = self._draw(data, cv)
        with self._stages(data, "fit", 1 + len(splits)) as stage:
            new_representation = partial(
                self._new_representation, n_timesteps, shared_if_stateless(self.generalist)
            )
            representation, models = self._learn(data, new_representation, stage, seeds, splits)
            self._representation = representation
            self.generalist_ = representation.generalist
            self.structure_, self.encoder_ = representation.structure, representation.encoder_
            self.n_generalist_features_ = representation.n_generalist
            self.n_timesteps_ = n_timesteps
            self.tasks_ = tasks
            self.step_mask_, self.mask_ = representation.steps, representation.mask
            self._set_models(models)
            self.nuisance_remover_ = representation.remover
            self.nuisance_scores_ = representation.nuisance_scores(data)
        if is_sample:
            refit_ridges(self, X, y, sample_weight)
        return self

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def add_task(
        self,
        X: ArrayLike,
        y: Any,
        groups: Any = None,
        environments: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Add tasks to a fitted pipeline, whose earlier predictions do not change.

        Only the steps of the new tasks, their rows of the mask and their estimators are
        learned, and their candidates are compared as in :meth:`fit`. The latents remain those
        that the earlier tasks and reconstruction required: a task that needs others is
        predicted from the generalist.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`; the same or others.
        y : array-like of shape (n_sequences,) or (n_sequences, n_new_tasks)
            Values of the new tasks, of the kind ``task_types`` if that is a single one.
        groups, environments, sample_weight : array-like of shape (n_sequences,), default=None
            As in :meth:`fit`.

        Returns
        -------
        self : object
            Pipeline with the new tasks after the earlier ones: attributes and predictions
            have one entry or column per task.

        Raises
        ------
        ValueError
            As in :meth:`fit`, or if the steps of the tasks differ between sequences.
        """
        X = self._validate(X)
        kinds = self.task_types if isinstance(self.task_types, str) else None
        labels = {"groups": groups, "environments": environments}
        data, cv = self._labeled(X, (y, labels, sample_weight, self.cv), kinds)
        tasks = data.tasks
        if not self._representation.aligned:
            raise ValueError(
                "add_task needs a structure that is the same in all sequences: fit a pipeline of "
                "all tasks."
            )
        seeds, splits = self._draw(data, cv)
        with self._stages(data, "add_task", 1 + len(splits)) as stage:
            reads = self._representation
            representation, models = self._learn(
                data, self._extended_representation, stage, seeds, splits, reads
            )
            self.tasks_ = self.tasks_ + tasks
            self.step_mask_ = np.hstack([self.step_mask_, representation.steps])
            self.mask_ = np.vstack([self.mask_, representation.mask])
            self._set_models([*self._models, *models])
            # Latents that only the new tasks use are computed from now on. The last statement,
            # since the models share the representation.
            reads.mask = self.mask_
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the features that the tasks are predicted from.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n_sequences, n_features_out)
            Latents, or generalist, at the steps of the specialized tasks; all of the
            generalist if one of the tasks is predicted from it.
        """
        parts = []
        for block in map(self._validate, in_blocks(X)):
            features = features_of(block)(self._representation)
            parts.append(features[:, self._kept].astype(block.dtype, copy=False))
        return np.concatenate(parts)

    def predict(self, X: ArrayLike) -> Any:
        """Predict every task.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        y : ndarray or DataFrame of shape (n_sequences,) or (n_sequences, n_tasks)
            Predictions, in the form of the ``y`` of :meth:`fit`: a table with the types of its
            columns, or an array, of dtype object for continuous tasks beside class labels.
        """
        predicted = self._of_models("predict", X)
        return self.tasks_.join(predicted, X)

    @available_if(lambda self: self.task_types != "amount")
    def predict_proba(self, X: ArrayLike) -> Any:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_sequences, n_classes) or list of ndarray
            Classes in the order of ``tasks_``; one array per task if ``y`` had several
            columns.

        Raises
        ------
        ValueError
            If a task is continuous.
        """
        check_is_fitted(self)
        if amounts := [t.name for t in self.tasks_.tasks if not t.is_classification]:
            raise ValueError(f"{amounts} are continuous: use SpecialistClassifier for the labels.")
        probabilities = self._of_models("scores", X)
        return probabilities[0] if self.tasks_.is_1d else probabilities

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean over tasks of R2 (continuous) or accuracy (class labels).

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Values of the tasks.
        sample_weight : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Weights of the sequences, or of their values in each task; None is equal weights.

        Returns
        -------
        score : float
            Mean of the scores of the tasks, at most 1.
        """
        return self.tasks_.score(y, self.predict(X), sample_weight)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features of :meth:`transform`.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str
            Names such as step3_latent0 and step3_generalist5.
        """
        check_is_fitted(self)
        return self._representation.feature_names()[self._kept]

    def _of_models(self, method: str, X: ArrayLike) -> list[np.ndarray]:
        """Return the results of a method of each model."""
        blocks = [
            [getattr(model, method)(features) for model in self._models]
            for features in map(features_of, map(self._validate, in_blocks(X)))
        ]
        return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]

    def _validate(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        return read_sequences(self, X, self.n_timesteps_, False, keeps_nan=self._keeps_nan)

    @property
    def _keeps_nan(self) -> bool:
        """True if sequences with NaN go to an estimator that was given."""
        return self.strategy == "generalist" and self.estimator is not None

    def _labeled(self, X: np.ndarray, given: Any, task_types: Any) -> tuple[LabeledSequences, Any]:
        """Return the sequences with their tasks and weights, and the splits of these."""
        y, labels, sample_weight, cv = given
        require_tasks(y, self)
        if self.class_weight is not None:
            sample_weight = weigh_classes(self.class_weight, y, sample_weight)
        X, y, labels, weights, cv = merge_sequences(X, y, labels, sample_weight, cv)
        tasks = TaskTargets(y, allow_missing=True, weights=weights, task_types=task_types)
        return LabeledSequences.validated(X, y, tasks, weights, **labels), cv

    def _draw(self, data: LabeledSequences, cv: Any) -> tuple[np.ndarray, list[Split]]:
        """Return seeds of the comparison and of the final fit, and the splits of the former."""
        saves = getattr(self.encoder, "checkpoint_dir", None) is not None
        if saves and self.strategy != "generalist" and not isinstance(self.random_state, Integral):
            raise ValueError(
                "random_state of the pipeline must be an integer for an encoder with "
                f"checkpoint_dir, got {self.random_state!r}: checkpoints are those of one seed."
            )
        # Two seeds, whatever the number of splits.
        seeds = check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=2)
        compares = self.strategy in ("stack", "best")
        return seeds, split_sequences(cv, data, seeds[0]) if compares else []

    def _learn(
        self,
        data: LabeledSequences,
        new_representation: NewRepresentation,
        stage: Stage,
        seeds: np.ndarray,
        splits: list[Split],
        reads: Representation | None = None,
    ) -> tuple[Representation, list[TaskModel]]:
        selected = self.candidates if splits else "auto"
        return fit_tasks(
            data,
            new_representation,
            stage,
            seeds,
            strategy=self.strategy,
            splits=splits,
            loss=self.loss,
            new_candidates=partial(task_candidates, estimator=self.estimator, selected=selected),
            encode=reads_latents(self.candidates) and (None if self.encoder is None else True),
            reads=reads,
        )

    def _new_representation(
        self, n_timesteps: int, new_generalist: Callable[[int], Any], seed: int
    ) -> Representation:
        """Return a representation with unfitted parts."""
        structure = self.structure
        # A single step belongs to every task: the structure is known.
        if structure is None and n_timesteps > 1:
            structure = TaskStructureIdentifier()
        uses_parts = self.strategy != "generalist"
        return Representation(
            new_generalist(seed),
            clone_with_seed(structure, seed) if uses_parts else None,
            clone_with_seed(self._encoder_or_default(), seed) if uses_parts else None,
            share_features=self.task_features == "all",
            repeats_steps=not self._keeps_nan,
        )

    def _extended_representation(self, seed: int) -> Representation:
        """Return a representation of further tasks: fitted generalist and encoder, new masks."""
        fitted = self._representation
        given = self._encoder_or_default().get_params(deep=False)
        params = {name: value for name, value in given.items() if name in FOR_ADDED_TASKS}
        selector = SparseMultiTaskSelector(**params)
        return Representation(
            fitted.generalist,
            clone_with_seed(self.structure_, seed),
            fitted.encoder_,
            share_features=fitted.share_features,
            selector=clone_with_seed(selector, seed),
            remover=fitted.remover,
        )

    def _encoder_or_default(self) -> Any:
        return SparseSpecialistEncoder(heads="linear") if self.encoder is None else self.encoder

    def _set_models(self, models: list[TaskModel]) -> None:
        self._models = models
        # Columns of the representation that transform returns: those of any task.
        self._kept = np.unique(np.concatenate([model.columns for model in models]))
        self.n_features_used_ = np.array([len(model.columns) for model in models])
        decisions = [model.decision for model in models]
        self.weights_ = [dict(decision.weights) for decision in decisions]
        self.predicted_from_ = [max(weights, key=weights.__getitem__) for weights in self.weights_]
        self.fallback_reason_ = [decision.reason for decision in decisions]
        self.use_specialist_ = np.array([reason is None for reason in self.fallback_reason_])
        self.validation_gain_ = np.array([decision.gain for decision in decisions])
        self.validation_gain_se_ = np.array([decision.standard_error for decision in decisions])

    @contextmanager
    def _stages(self, data: LabeledSequences, name: str, n_fits: int) -> Iterator[Stage]:
        """Report a fit, and each of its stages, to callbacks and to the progress bar."""
        total = n_fits * len(STAGES)
        with (
            callback_context(self, data.X, data.y, name=name, n_subtasks=total) as task,
            tqdm(total=total, desc=type(self).__name__, disable=not self.verbose) as bar,
            warnings.catch_warnings(),
        ):
            # The parts read the tasks again.
            warnings.filterwarnings("ignore", "Task .* is read as", SpecialistWarning)
            yield partial(_report_stage, task, bar)


@contextmanager
def _report_stage(task: TaskContext, bar: tqdm, name: str, part: Any = None) -> Iterator[None]:
    with task.subtask(name, part=part):
        yield
    # Not reached by a stage that fails, which is not counted then.
    bar.set_postfix_str(name, refresh=False)
    bar.update()
