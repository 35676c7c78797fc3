"""Pipelines of structure, encoder and estimators that fall back to the generalist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import ClassifierMixin, RegressorMixin

from .._base.estimator import fill_docstring
from .._base.sklearn_compat import StrOptions
from ._base import BaseSpecialist

__all__ = ["SpecialistClassifier", "SpecialistPipeline", "SpecialistRegressor"]

# Sections that the docstrings of all pipelines share.
DOCS = {
    "parameters": """
        generalist : transformer or None, default=None
            Representation of single steps: it is fitted to, and transforms, arrays of shape
            (n_steps, n_features). None uses the features as they are. Wrap a fitted one in
            :class:`sklearn.frozen.FrozenEstimator` to keep it.
        structure : estimator or None, default=None
            Estimator with ``step_weights``. None is :class:`TaskStructureIdentifier` with its
            defaults; where sequences have one step, that step belongs to every task. With
            :class:`TaskLocalizer`, for sequences that do not align, the features of a task are
            means over its steps in each sequence, and the number of these steps.
        encoder : estimator or None, default=None
            Estimator of the latents of each task. None is :class:`SparseSpecialistEncoder` with
            ``heads="linear"``, whose latents a linear estimator can use. It is then trained only
            where a kernel predicts some task better than linear candidates do, since otherwise
            latents are linear functions of columns that are read already; and with
            ``strategy="stack"`` only if, in the first fold, latents lower the held-out loss of
            the combination of some task by more than two standard errors. Its number of
            latents, inputs and noise are searched for in the first fold only.
        estimator : estimator, pair, dict of {str: estimator} or None, default=None
            Head of every built-in candidate, cloned for each: one for all tasks, a pair
            (regressor, classifier), or those of some tasks by name. None is ridge regression
            for continuous tasks, and logistic regression for class labels, with the strength
            of least leave-one-out error.
        candidates : "auto" or list of (str or tuple), default="auto"
            Candidates that are compared. "auto" is all built-in ones, whose names are those
            of ``weights_``. A list selects some by name, in addition to "generalist" and
            "null"; an entry "auto" selects all. A tuple adds one: a new name, an estimator
            (or a pair, or those of some tasks by name), and the columns that it reads:
            "generalist" (all columns of all steps, the default), "steps" (the columns of the
            task's steps), or "latents".
        strategy : {"stack", "best", "specialist", "generalist"}, default="stack"
            Candidates that predict the tasks.

            - "stack": the convex combination of least held-out loss [2]_. Candidates' errors
              differ, so that it is better than the best of them on average.
            - "best": one candidate, chosen by the one-standard-error rule on held-out sequences.
              It is sparser: only its columns are read.
            - "specialist": the latents of the task or, without any, its steps.
            - "generalist": all of the generalist. ``structure``, ``encoder`` and
              ``task_features`` have no effect.

            ``cv`` and ``loss`` have an effect with "stack" and "best" only.
        task_features : {"structure", "all"}, default="structure"
            Features that a task reads: its own latents at its own steps, or those of all tasks,
            for comparison or where tasks are known to share everything.
        cv : int, sequence of float, splitter or iterable, default=3
            Splits for the held-out predictions. A number of folds, or any ``cv`` of
            scikit-learn: each sequence is held out once. Fractions are one random draw, with
            fewer fits and, for a few hundred sequences, a noisy decision: two are the training
            and the validation part; three, such as (0.6, 0.2, 0.2), are those of the
            representation, of the estimators (in addition to the first) and of the validation,
            so that estimators are not fitted only to sequences that the latents were learned
            from.
        loss : {"auto", "huber", "pinball"} or callable, default="auto"
            Loss of the comparison. "auto" is the squared error, and the log loss for class
            labels. "huber" gives less weight to large errors, "pinball" is the loss of the
            estimator's ``quantile`` (the median without one); both are for continuous tasks. A
            callable takes truth and prediction and returns one loss per sequence.
        n_timesteps : int, default=None
            Number of steps of a 2-D ``X``. None takes every column as a step.
        max_samples : "auto", int or None, default="auto"
            Number of random sequences that the parts are fitted to, if there are more. The ridge
            regressions that have weight are then fitted to all sequences, in blocks that fit in
            memory, and predict without those of the folds. "auto" takes all sequences of an array
            in memory and, of a memory map or a Dask array, as many as need 128 MiB in double
            precision, with a warning. None takes all sequences into memory.
        """,
    "seeds": """
        random_state : int, RandomState instance or None, default=None
            Seed of the splits, and of the parts whose own ``random_state`` is None. An encoder
            with ``checkpoint_dir`` requires an integer: checkpoints are those of one seed.
        verbose : int, default=0
            Whether to show a progress bar over the stages.
        """,
    "attributes": """
        generalist_, structure_, encoder_ : estimator or None
            Fitted parts. ``generalist_`` is None if none was given, the other two are
            None where they were not needed: with ``strategy="generalist"``, and the encoder
            also if no task is predicted from latents.
        weights_ : list of dict of {str: float}
            Weights of the candidates of each task, of sum one: "generalist", "pooled" (mean, last
            and largest value over all steps), "kernel" (a smooth function of the whole
            sequence), "null" (the mean or the frequencies of the classes), "steps" (the
            generalist at the task's steps), "steps_mean" (its mean), "steps_kernel" (a sum, with
            non-negative weights, over the task's steps of one smooth function), "latents" (the
            task's latents at its steps), "latents_kernel" (a smooth function of them), and
            "generalist+latents".
        candidates_ : DataFrame
            One row per task and candidate: held-out loss, standard error of its difference from
            the generalist, weight, number of columns, and seconds of its fits. Losses are NaN
            of candidates that only the first fold was fitted to: with ``strategy="stack"`` those
            that lose there to the best one by three standard errors, and have no weight, are
            left out of the others. Empty without a comparison. Needs pandas.
        use_specialist_ : ndarray of bool of shape (n_tasks,)
            Whether a task is specialized: whether a candidate of its own has weight.
        predicted_from_ : list of str
            Candidate of largest weight of each task.
        validation_gain_, validation_gain_se_ : ndarray of shape (n_tasks,)
            Mean held-out loss of the generalist minus that of the combination, and its standard
            error (over groups, where they are given): squared error in units of the task's
            variance, log loss for class labels. With "best", loss of the best candidate that
            reads neither steps nor latents of the task, minus that of the best specialist. NaN
            without a comparison.
        fallback_reason_ : list of (str or None)
            Reason why a task is not specialized; None for specialized tasks.
        nuisance_remover_ : NuisanceRemover or None
            Transformer of the generalist's states, if ``fit`` had nuisances.
        nuisance_scores_ : list of dict
            One entry per nuisance and per task, if ``fit`` had nuisances: ``name``, ``chance``, and
            accuracy or R2 of held-out predictions by ridge regression with kernel functions,
            from the generalist ``before`` and ``after`` the nuisances were erased and, of
            nuisances, from the steps or latents of the specialists (``specialist``).
        step_mask_ : ndarray of bool of shape (n_timesteps, n_tasks)
            Steps that the structure found for each task.
        mask_ : ndarray of shape (n_tasks, n_latents)
            Weights of the latents of ``encoder_`` in the tasks; no latents without one.
        n_features_used_ : ndarray of int of shape (n_tasks,)
            Number of features that each task's estimator reads.
        n_generalist_features_ : int
            Number of features of the generalist: steps times features of a step.
        tasks_ : TaskTargets
            Names and kinds of the tasks: ``tasks_.names``, and ``tasks_.tasks``, a list of objects
            with ``name`` and ``classes`` (None for a continuous task).
        n_timesteps_ : int
            Number of steps.
        n_features_in_ : int
            Number of columns of the flat sequences: steps times features.
        feature_names_in_ : ndarray of str of shape (n_features_in_,)
            Names of the columns, where ``X`` had names.
        """,
    "notes": """
        Weights are non-negative least squares for continuous tasks, and expectation maximization
        of the log loss for class labels, whose probabilities are first calibrated by one
        temperature per candidate. A gain :math:`g` over the generalist, with a standard error
        :math:`s`, is shrunk by the factor :math:`1 - s^2 / g^2`, which gives the rest of the
        weight to the generalist, and all of it where :math:`g` is less than :math:`s` [3]_;
        weights below 0.02 are dropped. Predictions are averaged over the fits of the folds and
        the final one, as in bagging, unless the generalist alone, or the null model alone, has
        weight, or environments are given.

        With "best" a task is specialized by the one-standard-error rule: unless that adds more to
        the held-out loss of the best other candidate than the standard error of the difference,
        or more than one per cent of the loss that this candidate saves compared with the null
        model.
        """,
    "references": """
        .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
           arXiv:2605.12733.
        .. [2] L. Breiman, "Stacked regressions", Machine Learning 24, 1996.
        .. [3] W. James and C. Stein, "Estimation with quadratic loss", Berkeley Symposium on
           Mathematical Statistics and Probability, 1961.
        """,
}


@fill_docstring(DOCS)
class SpecialistPipeline(BaseSpecialist):
    """Predict each task from its own steps and latents, and from the generalist.

    Three parts are fitted in turn: the *generalist* represents each step, the *structure*
    finds the steps of each task, and the *encoder* finds the latents of each task. Several
    *candidates* predict a task from them: from all of the generalist, from its steps, as a
    sum over its steps of one smooth function, or from its latents. Predictions of sequences
    that no part of a candidate was fitted to give each task its combination of candidates;
    the parts are then fitted again to all sequences.

    Parameters
    ----------
    {parameters}
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kinds of the tasks: one for all, one per task, or those of some tasks by name. None
        takes floats for amounts (continuous tasks), and integers, booleans and strings for
        class labels, whether or not values are missing.
    {seeds}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    TaskStructureIdentifier : The default structure.
    SparseSpecialistEncoder : The default encoder.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from skspecialist import SparseSpecialistEncoder, SpecialistPipeline
    >>> from skspecialist.datasets import make_digit_sequences
    >>> data = make_digit_sequences(100, n_timesteps=4, n_tasks=2, random_state=0)
    >>> pipeline = SpecialistPipeline(
    ...     generalist=PCA(10),
    ...     encoder=SparseSpecialistEncoder(4, heads="linear", max_epochs=5),
    ...     cv=2,
    ...     random_state=0,
    ... ).fit(data.X, data.y)
    >>> pipeline.predict(data.X).shape
    (100, 2)
    """

    _parameter_constraints: dict = {
        **BaseSpecialist._parameter_constraints,
        "task_types": [StrOptions({"amount", "label"}), list, tuple, dict, None],
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
        task_types: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            generalist,
            structure,
            encoder,
            estimator,
            candidates=candidates,
            strategy=strategy,
            task_features=task_features,
            cv=cv,
            loss=loss,
            n_timesteps=n_timesteps,
            max_samples=max_samples,
            random_state=random_state,
            verbose=verbose,
        )
        self.task_types = task_types


@fill_docstring(DOCS)
class SpecialistClassifier(ClassifierMixin, BaseSpecialist):
    """Pipeline whose tasks are all class labels, as a classifier of scikit-learn.

    Floats that are whole numbers, such as labels of a file in which some were missing, are
    labels too. In all else it is :class:`SpecialistPipeline`: with the tags of a classifier,
    folds of ``cross_val_score`` are stratified, and meta-estimators, scorers and displays of
    scikit-learn accept it.

    Parameters
    ----------
    {parameters}
    class_weight : "balanced", dict, list or None, default=None
        Weights of the classes, which multiply ``sample_weight`` in the encoder, in the
        estimators and in their comparison: "balanced" is inversely proportional to the
        frequencies, a dictionary has the weights by label (others are one), and a list has one
        entry per task. Probabilities are those of the weighted classes. None is equal weights.
    {seeds}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        Class labels; one array per task if ``y`` had several columns.
    {attributes}

    See Also
    --------
    SpecialistPipeline : Tasks of any kinds.
    SpecialistRegressor : Continuous tasks.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_val_score
    >>> from skspecialist import SpecialistClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["calm", "alert", "asleep"], 40)
    >>> X = rng.normal(size=(120, 5, 3))
    >>> X[:, 2, 0] += 4 * (y == "alert")
    >>> X[:, 3, 1] += 4 * (y == "asleep")
    >>> classifier = SpecialistClassifier(strategy="generalist")
    >>> bool(cross_val_score(classifier, X, y, cv=3).mean() > 0.8)
    True
    >>> classifier.fit(X, y).predict_proba(X).shape
    (120, 3)
    """

    task_types = "label"
    # The mixin's score is for a single task.
    score = BaseSpecialist.score

    _parameter_constraints: dict = {
        **BaseSpecialist._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
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
        class_weight: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            generalist,
            structure,
            encoder,
            estimator,
            candidates=candidates,
            strategy=strategy,
            task_features=task_features,
            cv=cv,
            loss=loss,
            n_timesteps=n_timesteps,
            max_samples=max_samples,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    @property
    def classes_(self) -> Any:
        """Class labels of the task, or a list of those of each task."""
        classes = [task.classes for task in self.tasks_.tasks]
        return classes[0] if self.tasks_.is_1d else classes


@fill_docstring(DOCS)
class SpecialistRegressor(RegressorMixin, BaseSpecialist):
    """Pipeline whose tasks are all amounts, as a regressor of scikit-learn.

    Integers, such as counts, are amounts too. In all else it is :class:`SpecialistPipeline`,
    except for probabilities.

    Parameters
    ----------
    {parameters}
    {seeds}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    SpecialistPipeline : Tasks of any kinds.
    SpecialistClassifier : Class labels.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import SpecialistRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(120, 5, 3))
    >>> counts = rng.poisson(np.exp(X[:, 2, 0]))
    >>> regressor = SpecialistRegressor(strategy="generalist").fit(X, counts)
    >>> regressor.predict(X).dtype
    dtype('float64')
    """

    task_types = "amount"
    # The mixin's score is for a single task.
    score = BaseSpecialist.score
