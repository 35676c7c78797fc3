"""Structure, encoder and estimator in one object that knows when to leave things alone."""

from __future__ import annotations

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import sem
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone, is_regressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from .encoder import SparseSpecialistEncoder
from .exceptions import SpecialistWarning
from .fitting import TaskEstimatorMixin, all_or_nothing
from .representation import Representation
from .sequences import validate_sequences
from .structure import TaskStructureIdentifier
from .targets import Task, TaskTargets

__all__ = ["SpecialistPipeline"]

# What fitting passes through, for the progress bar.
STAGES = ("generalist", "structure", "encoder", "estimators")


class SpecialistPipeline(TaskEstimatorMixin, TransformerMixin, BaseEstimator):
    """Predict several tasks from what each of them uses, where that helps.

    Four parts work one after the other: the *generalist* represents each step, the
    *structure* finds the steps of each task, the *encoder* finds the latents that each
    task uses, and an *estimator* for each task predicts it from its own latents at its
    own steps. Beside it, an estimator of the same kind predicts each task from all of
    the generalist. A part of the sequences that nothing else sees decides, task by task,
    which of the two is used; everything is then fitted again on all of the data.

    Parameters
    ----------
    generalist : transformer or None, default=None
        Represents single steps: is fitted to, and transforms, arrays of shape
        (n_steps, n_features). None takes the features as they are. Wrap a fitted one
        in :class:`sklearn.frozen.FrozenEstimator` to keep it.
    structure : estimator or None, default=None
        Answers ``task_steps``. None is :class:`TaskStructureIdentifier` with its
        defaults.
    encoder : estimator or None, default=None
        Finds each task's latents. None is :class:`SparseSpecialistEncoder` with
        ``heads="linear"``, so that the latents are what a linear estimator can read.
    estimator : estimator or None, default=None
        Predicts one task; is cloned for each, so that with one of your own all tasks
        must be of its kind. None is
        :class:`~sklearn.linear_model.RidgeCV` for continuous tasks and
        :class:`~sklearn.linear_model.LogisticRegression` for class labels, on
        standardised features.
    specialise : {"auto", "always", "never"}, default="auto"
        Whether tasks are predicted from the specialist representation: where it helps,
        wherever the structure and the encoder found something, or nowhere.
    validation_fraction : float, default=0.25
        Share of the sequences that decides, with "auto".
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column for a step.
    random_state : int, RandomState instance or None, default=None
        Seed of the split, and of the parts whose own ``random_state`` is None.
    verbose : int, default=0
        Whether to show a progress bar over the stages.

    Attributes
    ----------
    generalist_, structure_, encoder_ : estimator or None
        The fitted parts. ``generalist_`` is None if none was given, the other two are
        None where they were not needed: with ``specialise="never"``, and the encoder
        also if no task is specialised.
    estimators_ : list of estimator
        The fitted estimator of each task.
    use_specialist_ : ndarray of bool of shape (n_tasks,)
        Which tasks are predicted from the specialist representation.
    validation_gain_, validation_gain_se_ : ndarray of shape (n_tasks,)
        Mean loss of the generalist minus that of the specialist on the sequences that
        decided, and its standard error: squared error in units of the task's variance,
        log loss for class labels. NaN where nothing was compared.
    fallback_reason_ : list of (str or None)
        Why a task is predicted from the generalist, in words.
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
    A task is specialised with "auto" if its gain is larger than one standard error: the
    larger, better known representation has the benefit of the doubt.

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
    ...     encoder=SparseSpecialistEncoder(heads="linear", max_epochs=20),
    ...     random_state=0,
    ... ).fit(data.X, data.y)
    >>> pipeline.predict(data.X).shape
    (300, 2)
    """

    _parameter_constraints: dict = {
        "generalist": [HasMethods(["fit", "transform"]), None],
        "structure": [HasMethods(["fit", "task_steps"]), None],
        "encoder": [HasMethods(["fit", "latents"]), None],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "specialise": [StrOptions({"auto", "always", "never"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
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
        specialise: str = "auto",
        validation_fraction: float = 0.25,
        n_timesteps: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.generalist = generalist
        self.structure = structure
        self.encoder = encoder
        self.estimator = estimator
        self.specialise = specialise
        self.validation_fraction = validation_fraction
        self.n_timesteps = n_timesteps
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit the parts and decide for each task.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            Sequences. The columns of a 2-D ``X`` are the steps in time order.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Value of each task in each sequence. Columns of floats are continuous,
            columns of integers, booleans or strings are class labels.

        Returns
        -------
        self : SpecialistPipeline
            Fitted.

        Raises
        ------
        ValueError
            If ``y`` is missing, ``X`` or ``y`` have NaN or infinite values, a task is
            constant, or a part refuses the data.
        """
        X = validate_sequences(self, X, n_timesteps=self.n_timesteps, ensure_min_samples=2)
        tasks = TaskTargets.for_samples(y, X, estimator=self)
        random_state = check_random_state(self.random_state)
        seeds = random_state.randint(np.iinfo(np.int32).max, size=2)
        self.validation_gain_ = np.full(len(tasks), np.nan)
        self.validation_gain_se_ = np.full(len(tasks), np.nan)
        n_fits = 2 if self.specialise == "auto" else 1
        with tqdm(
            total=n_fits * len(STAGES), desc=type(self).__name__, disable=not self.verbose
        ) as bar:
            reasons = self._decide(X, y, tasks, seeds[0], bar)
            encode = any(reason is None for reason in reasons)
            representation = self._fit_representation(X, y, len(tasks), seeds[1], bar, encode)
            reasons = [a or b for a, b in zip(reasons, representation.missing, strict=True)]
            columns = [
                special if reason is None else np.arange(representation.n_generalist)
                for special, reason in zip(representation.specialist_columns, reasons, strict=True)
            ]
            features = representation.features(X)
            self.estimators_ = [
                self._fit_estimator(task, features[:, subset], values, seeds[1])
                for task, subset, values in zip(tasks.tasks, columns, tasks.split(y), strict=True)
            ]
            _advance(bar, "estimators")
        self._columns, self._kept = columns, np.unique(np.concatenate(columns))
        self._representation = representation
        self.generalist_ = representation.generalist
        self.structure_, self.encoder_ = representation.structure, representation.encoder
        self.fallback_reason_ = reasons
        self.use_specialist_ = np.array([reason is None for reason in reasons])
        self.n_features_used_ = np.array([len(subset) for subset in columns])
        self.n_generalist_features_ = representation.n_generalist
        self.tasks_, self.n_timesteps_ = tasks, X.shape[1]
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
            Latents at the steps of the specialised tasks; all of the generalist as well
            if a task is predicted from it.
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
        features = self._representation.features(X)
        return self.tasks_.join(
            [
                estimator.predict(features[:, columns])
                for estimator, columns in zip(self.estimators_, self._columns, strict=True)
            ]
        )

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
        return self._representation.feature_names(self.n_timesteps_)[self._kept]

    def _validate(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        return validate_sequences(self, X, n_timesteps=self.n_timesteps_, reset=False)

    def _decide(
        self, X: np.ndarray, y: Any, tasks: TaskTargets, seed: int, bar: tqdm
    ) -> list[str | None]:
        """Return for each task why it must be predicted from the generalist, or None.

        With "auto", both representations are compared on sequences that no part has seen.
        """
        if self.specialise != "auto":
            return ["specialise='never'" if self.specialise == "never" else None] * len(tasks)
        X_fit, X_test, y_fit, y_test = train_test_split(
            X, y, test_size=self.validation_fraction, random_state=seed
        )
        values, truths = tasks.split(y_fit), tasks.split(y_test)
        for task, column in zip(tasks.tasks, values, strict=True):
            if task.is_classification and len(np.unique(column)) < 2:
                raise ValueError(
                    f"A class of task {task.name!r} is too rare to hold some sequences out: "
                    "what is left has one class only. Use specialise='always' or 'never', or "
                    "another validation_fraction."
                )
        representation = self._fit_representation(X_fit, y_fit, len(tasks), seed, bar)
        fit, test = representation.features(X_fit), representation.features(X_test)
        generalist = np.arange(representation.n_generalist)
        reasons = representation.missing
        for i in np.flatnonzero([reason is None for reason in reasons]):
            losses = []
            for subset in (generalist, representation.specialist_columns[i]):
                estimator = self._fit_estimator(tasks.tasks[i], fit[:, subset], values[i], seed)
                losses.append(_loss(tasks.tasks[i], estimator, test[:, subset], truths[i]))
            gain = losses[0] - losses[1]
            self.validation_gain_[i] = gain.mean()
            self.validation_gain_se_[i] = sem(gain)
            if not self.validation_gain_[i] > self.validation_gain_se_[i]:
                reasons[i] = (
                    f"the gain of {self.validation_gain_[i]:.3g} in held-out loss is not larger "
                    f"than its standard error of {self.validation_gain_se_[i]:.3g}"
                )
        _advance(bar, "estimators")
        return reasons

    def _fit_representation(
        self,
        X: np.ndarray,
        y: Any,
        n_tasks: int,
        seed: int,
        bar: tqdm,
        encode: bool = True,
    ) -> Representation:
        structure = TaskStructureIdentifier() if self.structure is None else self.structure
        encoder = SparseSpecialistEncoder(heads="linear") if self.encoder is None else self.encoder
        representation = Representation(
            _prepare(self.generalist, seed),
            _prepare(structure, seed) if self.specialise != "never" else None,
            _prepare(encoder, seed) if encode else None,
        )
        return representation.fit(X, y, n_tasks, done=partial(_advance, bar))

    def _fit_estimator(
        self, task: Task, features: np.ndarray, values: np.ndarray, seed: int
    ) -> Any:
        estimator = self.estimator
        if estimator is None:
            estimator = make_pipeline(
                StandardScaler(),
                LogisticRegression(max_iter=1000)
                if task.is_classification
                else RidgeCV(alphas=np.logspace(-2, 5, 15)),
            )
        elif task.is_classification and is_regressor(estimator):
            warnings.warn(
                f"Task {task.name!r} has class labels, but the estimator is a regressor: write "
                "y.astype(float) if they are amounts.",
                SpecialistWarning,
                stacklevel=4,
            )
        return _prepare(estimator, seed).fit(features, values)


def _prepare(part: Any, seed: int) -> Any:
    """Return a clone whose open random states are set."""
    if part is None:
        return None
    part = clone(part)
    seeds = {
        name: seed
        for name, value in part.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    }
    if seeds:
        part.set_params(**seeds)
    return part


def _loss(task: Task, estimator: Any, features: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the loss of each sample: log loss, or squared error in units of the variance."""
    if not task.is_classification:
        return ((estimator.predict(features) - truth) / task.scale) ** 2
    if not hasattr(estimator, "predict_proba"):
        return (estimator.predict(features) != truth).astype(float)
    probabilities = np.zeros((len(truth), task.n_classes))
    # A class may be missing from the part of the data that the estimator saw.
    probabilities[:, task.encode(estimator.classes_)] = estimator.predict_proba(features)
    chosen = probabilities[np.arange(len(truth)), task.encode(truth)]
    return -np.log(np.maximum(chosen, np.finfo(float).eps))


def _advance(bar: tqdm, stage: str) -> None:
    bar.set_postfix_str(stage, refresh=False)
    bar.update()
