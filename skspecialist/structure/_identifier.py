"""Task structure of aligned sequences."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.tasks import TaskTargets, split_columns
from .._data.validation import check_labels, check_same_length
from .._data.weights import validate_sample_weight
from ..independence._base import BaseIndependenceTest
from ..independence._moments import FoldedMoments
from ._batches import read_batch, read_dask
from ._criteria import CRITERIA, BaseCriterion, CriterionResult, join_results
from ._evidence import (
    check_combinations,
    check_evidence,
    check_segment_steps,
    evidence_frame,
    is_large,
)
from ._gain import KnownTasks, SegmentedData, TaskGain, choose_segments, task_columns
from ._lifted import lift
from ._segments import AlignedStructureMixin, is_dask, resolve_segments

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TaskStructureIdentifier"]


class TaskStructureIdentifier(AlignedStructureMixin, BaseEstimator):
    """Identify the time steps of aligned sequences that belong to each task.

    Step ``t`` means the same in every sequence. By default, each step is tested for whether
    a task depends on it given all other steps, which needs no assumption about actions that
    are not observed. The setting of [1]_ has longer segments: all steps of a segment serve the
    same tasks, and a segment is relevant to a task if an action taken in it influences the
    task. Three criteria are valid under the Markov property and faithfulness: ``"direct"``
    tests each segment against each task, ``"collider"`` (Theorem 1 of [1]_) tests pairs of
    segments given the task, and ``"selection"`` is for tasks that are not observed but are
    the reason why the sequences were recorded, such as demonstrations that succeeded.

    Parameters
    ----------
    segment_length : int, "auto" or array-like of int of shape (n_segments, 2), default=1
        Steps in a segment; the last segment has the remaining steps. Every step is tested for
        itself by default. The setting of [1]_ needs two or more, the fewest that separate a
        segment's own actions from the action before it. "auto" chooses the shortest length,
        of up to ten and half of the steps, whose structure predicts held-out folds within
        one standard error of the best. An array has the first step of each segment and the
        step after its last; steps in none of the segments belong to no task.
    criterion : {"auto", "direct", "collider", "selection"} or BaseCriterion, default="auto"
        Criterion. A string stands for :class:`~skspecialist.structure.Direct`,
        :class:`~skspecialist.structure.Collider` or
        :class:`~skspecialist.structure.Selection` with default parameters. "auto" is
        "direct" with ``y``, as it is more powerful than "collider", and "selection"
        without.
    segment_steps : {"auto", "interior", "all", "last"}, default="auto"
        Steps of a segment that enter its tests.

        - "auto": "all" if every segment has one step, and "interior" otherwise.
        - "all": all steps. If actions drive the next state and are not among the features,
          the step after a task's segment depends on the task as well, and is found.
        - "interior": all but the first, whose state may be driven by the action of
          the previous segment. Valid whenever the model of [1]_ is.
        - "last": the last step, as in [1]_. It is "interior" with the criterion
          "selection".

        Segments of one step have one step to test, whatever the value is.
    conditioning : {"auto", "band", "all"}, default="auto"
        Steps that the tests condition on: the band, or all steps that do not enter the
        test, which leaves less of the task unexplained. The criterion "collider" conditions
        on the band, and "selection" on all steps. With "direct", "auto" is "all" from 1.4
        sequences per column for robust tests, and the window of the nearest steps below.
        For tests from one covariance it is "all" from five sequences per column, without
        missing steps and collinear features, and "band" otherwise, as for all other tests.
    independence_test : {"auto", "robust", "cmi", "fisher_z", "gcm", "kci", "pcm", \
            "rcit", "stratified", "wilks"} or BaseIndependenceTest, default="auto"
        Conditional independence test. "robust" are score tests of the steps and of curved
        functions of them, valid for variances that change; they take missing steps, wide
        features and groups. They need the criterion "direct", where "auto" makes them unless
        ``conditioning="band"`` or a third of the sequences lack a step. Where the functions of
        all steps exceed 256 MiB, they are sums over complete sequences without groups and
        weights, of up to 5,792 functions. Otherwise "auto" is "fisher_z" for one column against
        one, and "wilks" for more: linear tests, with finite ``test_result_.df``. Without effect
        with the criterion "selection".
    n_components : int, None or "auto", default="auto"
        Principal components of the features of a step that the robust tests use. None is all
        features. "auto" keeps up to eight features, and reduces more of them to a quarter of
        the sequences per step, at most 16. With the criterion "selection", "auto" keeps as many
        as bound the time of a fit: four of 20 steps.
    alpha : float, default=0.05
        Significance level, in (0, 1). With "bh" it bounds the false discovery rate among
        the segments of a task, and for a task without relevant segments the probability
        of any discovery. Without effect with the criterion "selection".
    correction : {"bh", "by", "none"}, default="bh"
        Correction for multiple testing: Benjamini-Hochberg, Benjamini-Yekutieli (valid
        under any dependence), or none. Each task is a family of its own, so that its
        structure does not depend on the others. Without effect with "selection".
    min_effect_size : float, default=0.0
        Smallest (multiple, partial) correlation of a relevant segment, in [0, 1]. With very
        many sequences, negligible effects are significant as well.
    n_subsamples : int, default=None
        Number of random halves of the sequences in which the search is repeated for
        ``selection_frequency_`` (stability selection). None is 20 with the criterion
        "selection", which has no p-values, and 0 otherwise.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes each column for a step.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kinds of the tasks: one for all, one per task, or those of some tasks by name. None
        takes floats for amounts (continuous tasks), and integers, booleans and strings for
        class labels, whether or not values are missing.
    n_jobs : int, default=None
        Number of jobs to run in parallel, for independence tests with a parameter
        ``n_jobs``, which it replaces unless it is None.
    random_state : int, RandomState instance or None, default=None
        Seed of the halves, of the starts of the criterion "selection", and of independence
        tests with a parameter ``random_state``, which it replaces unless it is None. All
        other computations are deterministic.
    verbose : int, default=0
        Verbosity level.

    Attributes
    ----------
    criterion_ : BaseCriterion
        The criterion that was used, such as ``Direct()`` for "auto" with ``y``.
    segments_ : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    structure_ : ndarray of bool of shape (n_segments, n_tasks)
        Whether a segment is relevant to a task.
    step_mask_ : ndarray of bool of shape (n_timesteps, n_tasks)
        Whether a step belongs to a segment that is relevant to a task.
    support_ : ndarray of bool of shape (n_timesteps,)
        Whether a step belongs to any task.
    tested_ : ndarray of bool of shape (n_timesteps, n_tasks)
        Whether a step entered a test for a task. The first steps of segments do not with
        ``segment_steps="interior"``, nor do steps with constant features, in too few
        sequences, or outside of the segments, which is not evidence for irrelevance.
    conditioning_ : {"all", "window", "band"}
        Steps that the tests conditioned on: all others, the nearest ones, or the band.
    statistics_, pvalues_, adjusted_pvalues_, effect_sizes_ : ndarray of shape \
            (n_segments, n_tasks)
        Evidence for each segment and task: the statistic of the test (the normal score of
        the p-value for robust tests), its p-value, the p-value adjusted for multiple
        testing, and the strength of the dependence as a correlation (of the strongest
        pair). The first three are NaN with the criterion "selection".
    n_sequences_ : ndarray of int of shape (n_segments, n_tasks)
        Number of sequences with all steps of the test (of the segment's pair with the
        fewest).
    selection_frequency_ : ndarray of shape (n_segments, n_tasks)
        Fraction of random halves of the sequences in which the segment was found for the
        task; NaN without ``n_subsamples``.
    n_samples_seen_ : int
        Number of sequences.
    test_result_ : IndependenceResult or None
        Results of all tests, of shape (n_segments, n_tasks), or (n_pairs, n_tasks) with
        the criterion "collider"; None with "selection".
    pairs_ : ndarray of int of shape (n_pairs, 2) or None
        The segments of each pair, with the criterion "collider".
    n_tasks_ : int
        Number of tasks.
    task_names_ : list of str
        Names of the tasks: column names of a DataFrame ``y``, or task0, task1, ...
    n_timesteps_ : int
        Number of steps.
    n_features_in_ : int
        Number of columns of the flat sequences: steps times features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, if ``X`` had names.

    See Also
    --------
    SpecialistPipeline : Structure, encoder and estimator in one object.
    sequences_needed : Number of sequences that find a segment of a given strength.

    Notes
    -----
    Steps are assumed to be missing for reasons that are independent of their values. The
    robust tests impute them by a linear prediction from all other steps; other tests use the
    sequences that have all of their steps. Tests of a constant feature are degenerate and
    have a p-value of 1. The tests from one covariance, and the criterion "selection", are for
    linear relations between jointly Gaussian variables.

    References
    ----------
    .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> TaskStructureIdentifier().fit(data.X, data.y).structure_.shape
    (8, 2)

    In the setting of the paper, with segments of two steps:

    >>> identifier = TaskStructureIdentifier(segment_length=2, alpha=0.01).fit(data.X, data.y)
    >>> bool((identifier.structure_ == data.structure).all())
    True
    """

    _parameter_constraints: dict = {
        "segment_length": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            "array-like",
        ],
        "criterion": [StrOptions({"auto", *CRITERIA}), BaseCriterion],
        "segment_steps": [StrOptions({"auto", "interior", "all", "last"})],
        "conditioning": [StrOptions({"auto", "band", "all"})],
        "independence_test": [str, BaseIndependenceTest],
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "correction": [StrOptions({"bh", "by", "none"})],
        "min_effect_size": [Interval(Real, 0, 1, closed="both")],
        "n_subsamples": [Interval(Integral, 0, None, closed="left"), None],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
        "task_types": [StrOptions({"amount", "label"}), list, tuple, dict, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    criterion_: BaseCriterion
    n_samples_seen_: int
    _targets: TaskTargets | None
    _folded: FoldedMoments
    _gains: list[TaskGain]

    def __init__(
        self,
        segment_length: int | str | ArrayLike = 1,
        *,
        criterion: str | BaseCriterion = "auto",
        segment_steps: str = "auto",
        conditioning: str = "auto",
        independence_test: str | BaseIndependenceTest = "auto",
        n_components: int | str | None = "auto",
        alpha: float = 0.05,
        correction: str = "bh",
        min_effect_size: float = 0.0,
        n_subsamples: int | None = None,
        n_timesteps: int | None = None,
        task_types: Any = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.segment_length = segment_length
        self.criterion = criterion
        self.segment_steps = segment_steps
        self.conditioning = conditioning
        self.independence_test = independence_test
        self.n_components = n_components
        self.alpha = alpha
        self.correction = correction
        self.min_effect_size = min_effect_size
        self.n_subsamples = n_subsamples
        self.n_timesteps = n_timesteps
        self.task_types = task_types
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Identify the structure.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            Sequences; missing steps, such as those after the end of shorter sequences,
            are NaN, to which a list of arrays (n_timesteps, n_features) is padded. The columns of
            a 2-D ``X`` are the steps in time order. A memory map may be larger than the memory,
            and the statistics of a Dask array are computed by its workers.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Value of each task in each sequence. Columns of floats are continuous,
            columns of integers, booleans or strings are class labels. A task is tested on the
            sequences of which it is known. None if all sequences were recorded because their
            tasks succeeded.
        groups : array-like of shape (n_sequences,), default=None
            Group of each sequence, such as the subject. The robust tests compare sequences
            within groups; tasks that groups determine are tested on the means of groups,
            from 30 groups on. Other tests take all sequences for independent.
        sample_weight : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Weights of the sequences, or of their values in each task; zero is absence. Integers
            are counts: a weight of two is the sequence twice. Other numbers are importance
            weights, of which only the ratios matter: every sequence remains one observation,
            and there are as many as Kish's effective sample size. None is equal weights.

        Returns
        -------
        self : TaskStructureIdentifier
            Fitted.

        Raises
        ------
        ValueError
            If ``y`` is missing and the criterion needs it, ``X`` or ``y`` have infinite values,
            all tasks are constant, there are fewer steps than a segment has, or too few
            sequences for every test, or if parameters contradict each other.
        """
        for name in ("_folded", "_kept"):
            self.__dict__.pop(name, None)
        self.criterion_ = self._resolve_criterion(y)
        if is_dask(X) and (groups is not None or sample_weight is not None):
            raise ValueError(
                "groups and sample_weight are not supported with Dask arrays, of which only the "
                "covariance is kept: use None, or sequences in memory."
            )
        parts = read_dask(self, X, y) if is_dask(X) else self._read(X, y, groups, sample_weight)
        self._find(parts)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike | None = None, *, classes: list | None = None
    ) -> Self:
        """Identify the structure of all sequences of this and the previous calls.

        Memory does not grow: statistics are kept and, for robust tests, a bounded number of
        sequences. Until these are more, as always for linear tests, the result is that of one
        :meth:`fit`, which resets it, with all. Robust tests then have residuals of the fit to the
        batches before; segments of "auto", or other ones than before, have linear tests.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            More sequences, without missing steps.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Their tasks.
        classes : list, default=None
            All class labels of the task or, with a 2-D ``y``, a list of them for each
            task with None for the continuous ones. Required in the first call if its
            ``y`` lacks some of them.

        Returns
        -------
        self : TaskStructureIdentifier
            Fitted.

        Raises
        ------
        ValueError
            As :meth:`fit`, and if ``X`` has missing values or ``y`` new class labels.
        """
        self._find(read_batch(self, X, y, classes), partial=True)
        return self

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the held-out log-likelihood gain of the structure, in nats per sequence.

        With observed tasks, each is predicted from its steps (and the step after each
        run of them) by a Gaussian linear model with a ridge penalty, and compared with
        its mean. Missing steps are imputed by their mean. The coefficients are estimated from
        a tenth of the sequences of ``fit`` (more if these are few), so that superfluous steps
        lower the score. With tasks that are not observed, the density of the states under the
        tasks found is compared with that of a chain without tasks.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Held-out sequences.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Their tasks; ignored if the tasks were not observed in ``fit``.
        sample_weight : array-like of shape (n_sequences,), default=None
            Weights of the sequences in the mean. None is equal weights.

        Returns
        -------
        score : float
            Mean log-likelihood gain per sequence, summed over tasks; 0 for an empty
            structure.

        Raises
        ------
        ValueError
            If ``y`` has missing values, or class labels that were not seen in ``fit``, only.
        """
        X = self._validate(X)
        tasks = task_columns(self, y, X, held_out=True)
        if tasks.size and np.isnan(tasks).all():
            raise ValueError("y has missing values only: at least one is needed for a score.")
        weights = None
        if sample_weight is not None:
            weights = validate_sample_weight(sample_weight, (len(X), 1))[:, 0]
            X, tasks, weights = X[weights > 0], tasks[weights > 0], weights[weights > 0]
        return sum(gain.score(X.reshape(len(X), -1), tasks, weights) for gain in self._gains)

    def to_frame(self) -> pd.DataFrame:
        """Return the evidence as a table, with one row per segment and task.

        Returns
        -------
        frame : pandas.DataFrame
            Columns ``task``, ``segment``, ``start``, ``stop``, ``relevant``,
            ``effect_size``, ``statistic``, ``pvalue``, ``adjusted_pvalue``,
            ``n_sequences`` and ``selection_frequency``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        check_is_fitted(self)
        return evidence_frame(self)

    def __sklearn_tags__(self) -> Tags:
        """Return tags: steps may be missing, and tasks unobserved."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        named = CRITERIA.get(self.criterion) if isinstance(self.criterion, str) else self.criterion
        tags.target_tags.required = getattr(named, "needs_tasks", False)
        return tags

    def _resolve_criterion(self, y: Any) -> BaseCriterion:
        criterion = self.criterion
        if criterion == "auto":
            criterion = "selection" if y is None else "direct"
        return BaseCriterion.resolve(criterion, argument="criterion")

    def _read(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> list[KnownTasks]:
        """Validate sequences and tasks that are given at once."""
        X = self._validate(X, n_timesteps=self.n_timesteps, reset=True, ensure_min_samples=2)
        self._targets, weights = None, None
        if groups is not None:
            check_same_length(X=X, groups=groups)
            groups = check_labels(groups, "groups")
        observed = self.criterion_.needs_tasks
        if sample_weight is not None:
            values = split_columns(y, allow_missing=True)[0] if observed and y is not None else [y]
            weights = validate_sample_weight(sample_weight, (len(X), len(values)))
        if observed:
            options = {"weights": weights, "task_types": self.task_types, "allow_missing": True}
            self._targets = TaskTargets.for_samples(y, X, estimator=self, **options)
            y = y if weights is None else self._targets.with_kinds(y, weights == 0)
        tasks = task_columns(self, y, X)
        if weights is not None and not (kept := weights.any(axis=1)).all():
            # Folds depend on the place of a sequence: one of weight zero has none.
            X, tasks, weights = X[kept], tasks[kept], weights[kept]
            groups = None if groups is None else groups[kept]
        segments = resolve_segments(self.segment_length, X.shape[1])
        self.n_samples_seen_ = len(X)
        return KnownTasks.split(X, tasks, self._targets, segments, groups, weights)

    def _find(self, parts: list[KnownTasks], *, partial: bool = False) -> None:
        """Find the structure, from the choice of the segments to the fitted attributes."""
        if any(is_large(part.data) for part in parts):
            parts = [replace(part, data=lift(self, part.data)) for part in parts]
        check_combinations(self, parts[0].data)
        if isinstance(self.segment_length, str):
            segments = choose_segments(self, [part.data for part in parts])
            parts = [replace(p, data=p.data.with_segments(segments)) for p in parts]
        check_segment_steps(self, parts[0].data)
        results = [part.find(self) for part in parts]
        result = join_results(results, [part.tasks for part in parts], self._targets)
        check_evidence(parts[0].data, result, self._targets, partial=partial)
        self._gains = [
            TaskGain.fit(part, found, self) for part, found in zip(parts, results, strict=True)
        ]
        self._set_result(parts[0].data, result)

    def _set_result(self, data: SegmentedData, result: CriterionResult) -> None:
        """Set the fitted attributes."""
        self.statistics_, self.pvalues_ = result.statistics, result.pvalues
        self.adjusted_pvalues_ = result.adjusted_pvalues
        self.effect_sizes_, self.n_sequences_ = result.effect_sizes, result.n_sequences
        self.test_result_, self.pairs_ = result.tests, result.pairs
        self.tested_, self.conditioning_ = result.tested, result.conditioning
        self.selection_frequency_ = result.selection_frequency
        names = None if self._targets is None else self._targets.names
        self._set_structure(result.structure, data.segments, data.n_timesteps, names)
