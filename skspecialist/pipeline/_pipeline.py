"""Structure, encoder and estimator in one object that knows when to leave things alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from .._base.callbacks import CallbackSupportMixin, fit_task
from .._base.estimator import TaskEstimatorMixin, all_or_nothing
from .._base.sklearn_compat import HasMethods, Interval, StrOptions, fit_context
from .._data.sequences import validate_sequences
from .._data.tasks import TaskTargets
from ..encoder._encoder import SparseSpecialistEncoder
from ..structure._identifier import TaskStructureIdentifier
from ._decision import n_splits
from ._estimators import prepare
from ._learning import STAGES, Learner, TaskModels
from ._representation import AddedTasks, Representation
from ._sample import Sample

__all__ = ["SpecialistPipeline"]

# Parameters of the encoder that also say how the mask of later tasks is learned.
FOR_ADDED_TASKS = ("heads", "batch_size", "learning_rate", "device", "checkpoint_dir")


class SpecialistPipeline(CallbackSupportMixin, TaskEstimatorMixin, TransformerMixin, BaseEstimator):
    """Predict several tasks from what each of them uses, where that helps.

    Four parts work one after the other: the *generalist* represents each step, the
    *structure* finds the steps of each task, the *encoder* finds the latents that each
    task uses, and an *estimator* for each task predicts it from its own latents at its
    own steps. Beside it, estimators of the same kind predict each task from the generalist at
    its steps, and from all of the generalist. Sequences that nothing else sees decide, task by
    task, which is used; everything is then fitted again on all of the data.

    Parameters
    ----------
    generalist : transformer or None, default=None
        Represents single steps: is fitted to, and transforms, arrays of shape
        (n_steps, n_features). None takes the features as they are. Wrap a fitted one
        in :class:`sklearn.frozen.FrozenEstimator` to keep it.
    structure : estimator or None, default=None
        Answers ``step_weights``. None is :class:`TaskStructureIdentifier` with its
        defaults; where sequences have one step, that step serves every task. With
        :class:`TaskLocalizer`, for sequences that do not align, a task is read from means
        over its steps in each sequence, and from how many these are.
    encoder : estimator or None, default=None
        Finds each task's latents. None is :class:`SparseSpecialistEncoder` with
        ``heads="linear"``, so that the latents are what a linear estimator can read.
    estimator : estimator or None, default=None
        Predicts one task; is cloned for each, so that with one of your own all tasks
        must be of its kind. None is
        :class:`~sklearn.linear_model.RidgeCV` for continuous tasks and
        :class:`~sklearn.linear_model.LogisticRegression` for class labels, on
        standardized features.
    strategy : {"best", "specialist", "generalist"}, default="best"
        Whether tasks are specialized: where it helps; wherever latents, or else steps, were
        found; or nowhere.
    task_features : {"structure", "all"}, default="structure"
        Whether a task reads its own latents at its own steps only, or all that some task
        reads: for comparison, or where tasks are known to share everything.
    cv : int, sequence of float, splitter or iterable, default=3
        Which sequences see what, with "best". A number of folds, or whatever scikit-learn's
        ``cv`` takes: each sequence decides once, in the fold that holds it out. Fractions are
        one random draw, with fewer fits and, of a few hundred sequences, a noisy decision:
        of two, the first part fits and the second decides; of three, such as
        (0.6, 0.2, 0.2), the first fits the representation, estimators see the second too, so
        that they do not trust latents on the sequences alone that these were learned from,
        and the third decides.
    loss : {"auto", "huber", "pinball"} or callable, default="auto"
        What decides. "auto" is the squared error, and the log loss for class labels.
        "huber" counts large errors less, "pinball" is that of the estimator's
        ``quantile`` (the median if it has none), both for continuous tasks. A callable
        takes truth and prediction and returns one loss for each sequence.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column for a step.
    random_state : int, RandomState instance or None, default=None
        Seed of the split, and of the parts whose own ``random_state`` is None. An encoder with
        ``checkpoint_dir`` needs an integer here, or it would never go on from what it saved.
    verbose : int, default=0
        Whether to show a progress bar over the stages.

    Attributes
    ----------
    generalist_, structure_, encoder_ : estimator or None
        The fitted parts. ``generalist_`` is None if none was given, the other two are
        None where they were not needed: with ``strategy="generalist"``, and the encoder
        also if no task is predicted from latents.
    estimators_ : list of estimator
        The fitted estimator of each task.
    use_specialist_ : ndarray of bool of shape (n_tasks,)
        Which tasks are specialized.
    predicted_from_ : list of {"latents", "steps", "generalist"}
        What each task is predicted from: its latents at its steps, the generalist at its
        steps, or all of the generalist.
    validation_gain_, validation_gain_se_ : ndarray of shape (n_tasks,)
        Mean loss of the generalist minus that of the specialist on the sequences that
        decided, and its standard error (over groups, where they are given): squared
        error in units of the task's variance, log loss for class labels. NaN where
        nothing was compared.
    fallback_reason_ : list of (str or None)
        Why a task is predicted from the generalist, in words.
    step_mask_ : ndarray of bool of shape (n_timesteps, n_tasks)
        Steps that the structure found for each task.
    mask_ : ndarray of shape (n_tasks, n_latents)
        How much each task uses each latent of ``encoder_``; no latents without one.
    n_features_used_ : ndarray of int of shape (n_tasks,)
        Number of features that each task's estimator reads.
    n_generalist_features_ : int
        Number of features of the generalist: steps times features of a step.
    tasks_ : TaskTargets
        Names and kinds of the tasks.
    n_timesteps_ : int
        Number of steps.
    n_features_in_ : int
        Number of columns of the flat sequences: steps times features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where ``X`` had names.

    See Also
    --------
    TaskStructureIdentifier : The default structure.
    SparseSpecialistEncoder : The default encoder.

    Notes
    -----
    With "best" the rule is that of one standard error: a task is specialized unless that adds
    more to the held-out loss than the standard error of the difference, or more than one per
    cent of the loss that the generalist saves. Of its latents and its steps the one with less
    loss is used. A log loss is that at the temperature of the least: predictions are labels,
    and how sure an estimator is of them does not count.

    References
    ----------
    .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from skspecialist import SparseSpecialistEncoder, SpecialistPipeline
    >>> from skspecialist.datasets import make_digit_sequences
    >>> data = make_digit_sequences(300, n_timesteps=8, n_tasks=2, random_state=0)
    >>> pipeline = SpecialistPipeline(
    ...     generalist=PCA(10),
    ...     encoder=SparseSpecialistEncoder(heads="linear", max_epochs=10),
    ...     cv=2,
    ...     random_state=0,
    ... ).fit(data.X, data.y)
    >>> pipeline.predict(data.X).shape
    (300, 2)
    """

    _parameter_constraints: dict = {
        "generalist": [HasMethods(["fit", "transform"]), None],
        "structure": [HasMethods(["fit", "step_weights"]), None],
        "encoder": [HasMethods(["fit", "latents"]), None],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "strategy": [StrOptions({"best", "specialist", "generalist"})],
        "task_features": [StrOptions({"structure", "all"})],
        "cv": [tuple, "array-like", "cv_object"],
        "loss": [StrOptions({"auto", "huber", "pinball"}), callable],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
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
        strategy: str = "best",
        task_features: str = "structure",
        cv: Any = 3,
        loss: str | Callable[..., Any] = "auto",
        n_timesteps: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.generalist = generalist
        self.structure = structure
        self.encoder = encoder
        self.estimator = estimator
        self.strategy = strategy
        self.task_features = task_features
        self.cv = cv
        self.loss = loss
        self.n_timesteps = n_timesteps
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: Any = None, groups: Any = None, environments: Any = None
    ) -> Self:
        """Fit the parts and decide for each task.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            Sequences. The columns of a 2-D ``X`` are the steps in time order.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Value of each task in each sequence. Columns of floats are continuous,
            columns of integers, booleans or strings are class labels.
        groups : array-like of shape (n_sequences,), default=None
            Sequences of one group, such as those of a person, are never torn apart by the
            split, and count as one in the standard error.
        environments : array-like of shape (n_sequences,), default=None
            Where or when each sequence was recorded, two or more different values. Of a
            task's latents only those are kept whose relation to the task is the same in all
            environments, and estimators decide on environments that they were not fitted to.

        Returns
        -------
        self : SpecialistPipeline
            Fitted.

        Raises
        ------
        ValueError
            If ``y`` is missing, ``X`` or ``y`` have NaN or infinite values, a task is
            constant, there is one environment only, a part refuses the data, or the encoder
            has a ``checkpoint_dir`` and ``random_state`` is no integer.
        """
        X = validate_sequences(self, X, n_timesteps=self.n_timesteps, ensure_min_samples=2)
        tasks = TaskTargets.for_samples(y, X, estimator=self)
        sample = Sample.build(X, y, tasks, groups=groups, environments=environments)
        with self._learner(sample, "fit") as learner:
            representation, models = learner.learn(
                sample, partial(self._new_representation, X.shape[1])
            )
            self._representation = representation
            self.generalist_ = representation.generalist
            self.structure_, self.encoder_ = representation.structure, representation.encoder
            self.n_generalist_features_ = representation.n_generalist
            self.n_timesteps_ = X.shape[1]
            self._publish(models)
        return self

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def add_task(self, X: ArrayLike, y: Any, groups: Any = None, environments: Any = None) -> Self:
        """Add tasks to a fitted pipeline, which otherwise stays as it is.

        Only the steps of the new tasks, their rows of the mask and their estimators are
        learned, and whether to specialize them is decided as in :meth:`fit`. No earlier
        prediction changes. The latents stay those that the earlier tasks and reconstruction
        asked for: a task that they do not serve is predicted from the generalist.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences, those of :meth:`fit` or others.
        y : array-like of shape (n_sequences,) or (n_sequences, n_new_tasks)
            Values of the new tasks.
        groups, environments : array-like of shape (n_sequences,), default=None
            As in :meth:`fit`.

        Returns
        -------
        self : SpecialistPipeline
            With the new tasks after the earlier ones, in attributes and predictions, which
            have a column for each task from now on.

        Raises
        ------
        ValueError
            As in :meth:`fit`.
        """
        X = self._validate(X)
        tasks = TaskTargets.for_samples(y, X, estimator=self)
        sample = Sample.build(X, y, tasks, groups=groups, environments=environments)
        with self._learner(sample, "add_task") as learner:
            _, models = learner.learn(sample, self._new_tasks)
            self._publish(self._models + models)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the features that some task's estimator reads.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences.

        Returns
        -------
        features : ndarray of shape (n_sequences, n_features_out)
            Latents, or generalist, at the steps of the specialized tasks; all of the
            generalist as well if a task is predicted from it.
        """
        X = self._validate(X)
        return self._representation.features(X)[:, self._kept].astype(X.dtype, copy=False)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict every task.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences.

        Returns
        -------
        y : ndarray of shape (n_sequences,) or (n_sequences, n_tasks)
            Predictions, in the form that ``y`` had; of dtype object if there are
            continuous tasks and class labels.
        """
        X = self._validate(X)
        return self.tasks_.join(self._models.predict(self._representation.features(X)))

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return the mean over tasks of R2 (continuous) or accuracy (class labels).

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Their tasks.

        Returns
        -------
        score : float
            At most 1.
        """
        prediction = self.predict(X)
        return self.tasks_.score(y, prediction)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features of :meth:`transform`.

        Parameters
        ----------
        input_features : None
            Not used; the features are new ones.

        Returns
        -------
        names : ndarray of str
            Such as step3_latent0 and step3_generalist5.
        """
        check_is_fitted(self)
        return self._representation.feature_names()[self._kept]

    def _validate(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        return validate_sequences(self, X, n_timesteps=self.n_timesteps_, reset=False)

    @contextmanager
    def _learner(self, sample: Sample, name: str) -> Iterator[Learner]:
        """Give what learns, and tells how far it is."""
        self._check_seed()
        seeds = check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=2)
        n_fits = 1 + (n_splits(self.cv, sample) if self.strategy == "best" else 0)
        total = n_fits * len(STAGES)
        with (
            fit_task(self, sample.X, sample.y, name=name, n_subtasks=total) as task,
            tqdm(total=total, desc=type(self).__name__, disable=not self.verbose) as bar,
        ):

            @contextmanager
            def stage(name: str, part: Any = None) -> Iterator[None]:
                with task(name, part=part):
                    yield
                bar.set_postfix_str(name, refresh=False)
                bar.update()

            yield Learner(self.strategy, self.cv, self.loss, self.estimator, seeds, stage)

    def _check_seed(self) -> None:
        saves = getattr(self.encoder, "checkpoint_dir", None) is not None
        if saves and self.strategy != "generalist" and not isinstance(self.random_state, Integral):
            raise ValueError(
                "With checkpoint_dir the encoder goes on with the same splits and seeds: "
                f"random_state of the pipeline must be an integer, got {self.random_state!r}."
            )

    def _publish(self, models: TaskModels) -> None:
        """Set the attributes of the tasks."""
        self._models = models
        self._kept = np.unique(np.concatenate(models.columns))
        self.tasks_, self.estimators_ = models.tasks, models.estimators
        self.step_mask_, self.mask_ = models.steps, models.mask
        self.n_features_used_ = np.array([len(columns) for columns in models.columns])
        decision = models.decision
        self.fallback_reason_ = decision.reasons
        self.predicted_from_ = decision.kinds
        self.use_specialist_ = np.array([kind != "generalist" for kind in decision.kinds])
        self.validation_gain_, self.validation_gain_se_ = decision.gains, decision.errors

    def _given_encoder(self) -> Any:
        """Return the unfitted encoder, or the default one."""
        return SparseSpecialistEncoder(heads="linear") if self.encoder is None else self.encoder

    def _new_representation(self, n_timesteps: int, seed: int, encode: bool) -> Representation:
        """Return unfitted parts."""
        structure = self.structure
        if structure is None and n_timesteps > 1:
            structure = TaskStructureIdentifier()
        return Representation(
            prepare(self.generalist, seed),
            prepare(structure, seed) if self.strategy != "generalist" else None,
            prepare(self._given_encoder(), seed) if encode else None,
            dense=self.task_features == "all",
        )

    def _new_tasks(self, seed: int, encode: bool) -> AddedTasks:
        """Return the fitted parts with an unfitted structure, and mask, of further tasks."""
        given = self._given_encoder().get_params(deep=False)
        params = {name: value for name, value in given.items() if name in FOR_ADDED_TASKS}
        rows = SparseSpecialistEncoder(hidden_layer_sizes=None, **params)
        structure = prepare(self.structure_, seed)
        return AddedTasks(self._representation, structure, prepare(rows, seed))
