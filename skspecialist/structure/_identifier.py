"""Task structure of aligned sequences."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from .._base.estimator import all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.tasks import TaskTargets
from .._stats.moments import FoldedMoments, fold_dask, is_dask
from ..exceptions import warn
from ..independence._base import BaseIndependenceTest, IndependenceResult, ResultFlag
from ._aligned import AlignedStructureMixin
from ._criteria import CRITERIA, BaseCriterion, CriterionResult, Gain, configured_test
from ._segments import SegmentedData, at_mean, make_segments, validate_segments

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TaskStructureIdentifier"]

# Range of segment_length="auto", and folds that choose it.
LONGEST_SEGMENT, N_SPLITS = 10, 5
# Fewer sequences with all steps of a test trigger a warning: the p-values of the default tests
# then rest on normality.
FEW_SEQUENCES = 50


class TaskStructureIdentifier(AlignedStructureMixin, BaseEstimator):
    """Identify the time steps of aligned sequences that belong to each task.

    Time is divided into segments, and step ``t`` means the same in every sequence. A segment
    is relevant to a task if an action taken in it influences the task. Three criteria
    identify the relevant segments, all valid under the Markov property and faithfulness:

    - ``"direct"``: a segment and a task are dependent given the *band*, the steps just
      before and after the tested steps of the segment, or given all other steps. One test
      of conditional independence per segment and task.
    - ``"collider"``: two segments are both relevant to a task if and only if they are
      dependent given the band of both *and the task*: a task is a collider, and
      conditioning on it opens the path between the actions that point into it (Theorem 1
      of [1]_). It needs the square of the number of tests, relies on weaker, second-order
      dependence, and cannot find a task with a single segment. It is the choice if the
      values of a task cannot be compared between sequences, but its presence can.
    - ``"selection"``: for tasks that are not observed but are the reason why the sequences
      were recorded, such as demonstrations that succeeded. Each task then joins its
      segments to a clique of partial correlations beyond those of the chain, and all
      cliques are found at once in the covariance of the states. Without such a selection,
      tasks that are not observed cannot be detected.

    Parameters
    ----------
    segment_length : int, "auto" or array-like of int of shape (n_segments, 2), default=2
        Steps in a segment; the last segment has the remaining steps. Two are the fewest
        that separate a segment's own actions from the action before it. "auto" chooses the
        length, up to ten and to half of the steps, whose structure predicts held-out folds
        best. An array has the first step of each segment and the step after its last;
        steps in none of the segments belong to no task.
    criterion : {"auto", "direct", "collider", "selection"} or BaseCriterion, default="auto"
        Criterion. A string stands for :class:`~skspecialist.structure.Direct`,
        :class:`~skspecialist.structure.Collider` or
        :class:`~skspecialist.structure.Selection` with default parameters. "auto" is
        "direct" with ``y``, as it is more powerful than "collider", and "selection"
        without.
    segment_steps : {"auto", "interior", "all", "last"}, default="auto"
        Steps of a segment that enter its tests.

        - "auto": "all" if every segment has one step, and "interior" otherwise.
        - "interior": all but the first, whose state may be driven by the action of
          the previous segment. Valid whenever the model is.
        - "all": all steps. More powerful for short segments, but valid only if actions
          do not drive the next state or are among the features; otherwise segments that
          follow a relevant segment are found as well.
        - "last": the last step, as in [1]_. It is "interior" with the criterion
          "selection".

        Segments of one step have one step to test, whatever the value is.
    conditioning : {"auto", "band", "all"}, default="auto"
        Steps that the tests condition on: the band, or all steps that do not enter the
        test. All steps are as valid and leave less of the task unexplained, which finds
        weaker segments in fewer sequences. "auto" is "all" with the criterion "direct",
        from five sequences per column of ``X``, for tests from one covariance, complete
        sequences and features that are not collinear, and "band" otherwise. The criterion
        "collider" conditions on the band, and "selection" on all steps.
    independence_test : {"auto", "cmi", "fisher_z", "gcm", "kci", "rcit", "stratified", \
            "wilks"} or BaseIndependenceTest, default="auto"
        Conditional independence test. "auto" is "fisher_z" for one column against one
        column, and "wilks" otherwise. Without effect with the criterion "selection".
    alpha : float, default=0.05
        Significance level, in (0, 1). With "bh" it bounds the false discovery rate among
        the segments of a task, and for a task without relevant segments the probability
        of any discovery. Without effect with the criterion "selection".
    correction : {"bh", "by", "none"}, default="bh"
        Correction for multiple testing: Benjamini-Hochberg, Benjamini-Yekutieli (valid
        under any dependence), or none. Each task is a family of its own, so that its
        structure does not depend on the other tasks. Without effect with the criterion
        "selection".
    min_effect_size : float, default=0.0
        Smallest (multiple, partial) correlation of a relevant segment, in [0, 1]. With very
        many sequences, negligible effects are significant as well. The sample correlation
        of p irrelevant columns is about the square root of p over the number of sequences,
        so that a threshold below has no effect.
    n_subsamples : int, default=None
        Number of random halves of the sequences in which the search is repeated for
        ``selection_frequency_`` (stability selection). None is 20 with the criterion
        "selection", which has no p-values, and 0 otherwise.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes each column for a step.
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
        sequences, or outside of the segments: for them, nothing was tested, which is not
        evidence for irrelevance. With the criterion "selection", the steps of all segments
        enter.
    conditioning_ : {"all", "band"}
        Steps that the tests conditioned on: all others, or those around the segments.
    statistics_, pvalues_, adjusted_pvalues_, effect_sizes_ : ndarray of shape \
            (n_segments, n_tasks)
        Evidence for each segment and task: the statistic of the test (aggregated over pairs
        with the criterion "collider"), its p-value, the p-value adjusted for multiple
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
    The default tests, and the criterion "selection", are for linear relations between
    jointly Gaussian variables; nonlinear relations need a nonlinear test. Tests of a
    constant feature are degenerate and have a p-value of 1. A test uses the sequences that
    have all of its steps, which is valid if steps are missing for reasons that are
    independent of their values.

    References
    ----------
    .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> identifier = TaskStructureIdentifier(alpha=0.01).fit(data.X, data.y)
    >>> bool((identifier.structure_ == data.structure).all())
    True
    >>> identifier.transform(data.X).shape
    (2000, 8, 1)
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
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "correction": [StrOptions({"bh", "by", "none"})],
        "min_effect_size": [Interval(Real, 0, 1, closed="both")],
        "n_subsamples": [Interval(Integral, 0, None, closed="left"), None],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    criterion_: BaseCriterion
    n_samples_seen_: int
    _targets: TaskTargets | None
    _folded: FoldedMoments
    _gain: Gain

    def __init__(
        self,
        segment_length: int | str | ArrayLike = 2,
        *,
        criterion: str | BaseCriterion = "auto",
        segment_steps: str = "auto",
        conditioning: str = "auto",
        independence_test: str | BaseIndependenceTest = "auto",
        alpha: float = 0.05,
        correction: str = "bh",
        min_effect_size: float = 0.0,
        n_subsamples: int | None = None,
        n_timesteps: int | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.segment_length = segment_length
        self.criterion = criterion
        self.segment_steps = segment_steps
        self.conditioning = conditioning
        self.independence_test = independence_test
        self.alpha = alpha
        self.correction = correction
        self.min_effect_size = min_effect_size
        self.n_subsamples = n_subsamples
        self.n_timesteps = n_timesteps
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Identify the structure.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            Sequences; missing steps, such as those after the end of shorter sequences,
            are NaN. The columns of a 2-D ``X`` are the steps in time order. A memory map
            may be larger than the memory, and the statistics of a Dask array are computed
            by its workers.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Value of each task in each sequence. Columns of floats are continuous,
            columns of integers, booleans or strings are class labels. None if all
            sequences were recorded because their tasks succeeded.

        Returns
        -------
        self : TaskStructureIdentifier
            Fitted.

        Raises
        ------
        ValueError
            If ``y`` is missing and the criterion needs it, ``X`` has infinite or ``y``
            infinite or missing values, a task is constant, there are fewer steps than a
            segment has, or too few sequences for every test, or if ``conditioning``
            contradicts the criterion.
        """
        self.__dict__.pop("_folded", None)
        self.criterion_ = self._resolve_criterion(y)
        data = self._read_dask(X, y) if is_dask(X) else self._read(X, y)
        result = self._find(data)
        _raise_if_too_few(result.tests, data.moments.n)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike | None = None, *, classes: list | None = None
    ) -> Self:
        """Identify the structure of all sequences of this and the previous calls.

        Only their statistics are kept, so that memory does not grow. The result is that of
        one :meth:`fit` with all of them. A call of :meth:`fit` in between resets it.

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
        self._find(self._read_batch(X, y, classes))
        return self

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Return the held-out log-likelihood gain of the structure, in nats per sequence.

        With observed tasks, each is predicted from its steps (and the step after each
        run of them) by a Gaussian linear model with a ridge penalty, and compared with
        its mean. Indicators of class labels are treated alike, and missing steps are
        imputed by their mean. The coefficients are estimated from a tenth of the sequences
        of ``fit`` (more if these are few), so that superfluous steps lower the score.
        With tasks that are not observed, the density of the states under the tasks found
        is compared with that of a chain without tasks.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Held-out sequences.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Their tasks; ignored if the tasks were not observed in ``fit``.

        Returns
        -------
        score : float
            Mean log-likelihood gain per sequence, summed over tasks; 0 for an empty
            structure.

        Raises
        ------
        ValueError
            If ``y`` has class labels that were not seen in ``fit``.
        """
        X = self._validate(X)
        # Imputed by the means of fit, so that the score of a sequence is its own.
        filled = at_mean(X.reshape(len(X), -1), self._means)
        moments = FoldedMoments.from_data(filled, self._task_columns(y, X)).total
        return self._gain.gain(moments)

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
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas.") from error
        n_segments = len(self.segments_)
        columns = {
            "relevant": self.structure_,
            "effect_size": self.effect_sizes_,
            "statistic": self.statistics_,
            "pvalue": self.pvalues_,
            "adjusted_pvalue": self.adjusted_pvalues_,
            "n_sequences": self.n_sequences_,
            "selection_frequency": self.selection_frequency_,
        }
        places = {
            "task": np.repeat(self.task_names_, n_segments),
            "segment": np.tile(np.arange(n_segments), self.n_tasks_),
            "start": np.tile(self.segments_[:, 0], self.n_tasks_),
            "stop": np.tile(self.segments_[:, 1], self.n_tasks_),
        }
        return pd.DataFrame(places | {name: values.T.ravel() for name, values in columns.items()})

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

    def _read(self, X: Any, y: Any) -> SegmentedData:
        """Validate sequences and tasks that are given at once."""
        X = self._validate(X, n_timesteps=self.n_timesteps, reset=True, ensure_min_samples=2)
        observed = self.criterion_.needs_tasks
        self._targets = TaskTargets.for_samples(y, X, estimator=self) if observed else None
        segments = self._make_segments(X.shape[1])
        return SegmentedData.from_arrays(X, self._task_columns(y, X), self._targets, segments)

    def _read_dask(self, X: Any, y: Any) -> SegmentedData:
        """Validate Dask arrays, and compute their statistics block by block."""
        observed = self.criterion_.needs_tasks
        if observed and y is None:
            raise TaskTargets.missing(self)
        # The workers validate the values; zeros have the same shape and feature names.
        zeros = np.zeros((1, *X.shape[1:]))
        shape = self._validate(zeros, n_timesteps=self.n_timesteps, reset=True).shape[1:]
        segments = self._make_segments(shape[0])
        folded, self._targets = fold_dask(X, y if observed else None)
        return SegmentedData.from_statistics(folded, shape, self._targets, segments)

    def _read_batch(self, X: Any, y: Any, classes: Any) -> SegmentedData:
        """Validate a batch, and merge its statistics with those of the previous ones."""
        first = not hasattr(self, "_folded")
        X = self._validate(X, n_timesteps=self.n_timesteps, reset=first)
        if np.isnan(X).any():
            raise ValueError(
                "Input X contains NaN: the statistics that partial_fit keeps need complete "
                "sequences. Use fit, which supports missing steps, or drop these sequences."
            )
        if first:
            self.criterion_ = self._resolve_criterion(y)
            observed = self.criterion_.needs_tasks
            self._targets = TaskTargets.first_of_many(y, classes, self) if observed else None
        n_before = 0 if first else self.n_samples_seen_
        folded = FoldedMoments.from_data(X.reshape(len(X), -1), self._task_columns(y, X), n_before)
        self._folded = folded if first else self._folded.merge(folded)
        segments = self._make_segments(X.shape[1])
        return SegmentedData.from_statistics(self._folded, X.shape[1:], self._targets, segments)

    def _make_segments(self, n_timesteps: int) -> np.ndarray:
        if isinstance(self.segment_length, Integral):
            return make_segments(n_timesteps, int(self.segment_length))
        if isinstance(self.segment_length, str):
            # The shortest ones, until the length is chosen.
            return make_segments(n_timesteps, 1)
        return validate_segments(self.segment_length, n_timesteps)

    def _task_columns(self, y: Any, X: np.ndarray) -> np.ndarray:
        """Return the columns of the tasks, shape (n_sequences, n_columns)."""
        if self._targets is None:
            return np.empty((len(X), 0))
        if y is None:
            raise TaskTargets.missing(self)
        self._targets.split(y, like=X)
        return self._targets.to_columns(y)[0]

    def _find(self, data: SegmentedData) -> CriterionResult:
        """Find the structure, from the choice of the segments to the fitted attributes."""
        self._check_combinations()
        if isinstance(self.segment_length, str):
            data = data.with_segments(self._choose_segments(data))
        self._check_segment_steps(data)
        result = self.criterion_.find(data, self)
        self._warn_of_weak_evidence(data, result)
        frequency = self._selection_frequency(data, result)
        self._set_result(data, result, frequency)
        return result

    def _check_combinations(self) -> None:
        """Raise for parameters that contradict the criterion, and warn of ignored ones."""
        criterion, test = self.criterion_, configured_test(self)
        criterion._validate_params()
        if self.conditioning not in criterion.conditionings:
            raise ValueError(
                f"conditioning={self.conditioning!r} contradicts criterion={criterion!r}, whose "
                f"tests condition on {' or '.join(criterion.conditionings[1:])!r} steps: use "
                "conditioning='auto'."
            )
        defaults = type(self)().get_params(deep=False)
        for name in criterion.ignored:
            if getattr(self, name) != defaults[name]:
                warn(
                    f"{name}={getattr(self, name)!r} has no effect with criterion={criterion!r}, "
                    "which performs no tests."
                )
        takes_jobs = test is not None and "n_jobs" in test.get_params(deep=False)
        if effective_n_jobs(self.n_jobs) > 1 and not takes_jobs:
            warn(
                f"n_jobs={self.n_jobs} has no effect with criterion={criterion!r} and "
                f"independence_test={self.independence_test!r}, which run in the threads of the "
                "linear algebra."
            )

    def _check_segment_steps(self, data: SegmentedData) -> None:
        """Warn of a value of segment_steps that is equivalent to another one."""
        if self.segment_steps not in ("interior", "last"):
            return
        # The criterion "selection" distinguishes the steps between segments as well.
        one_choice = self.criterion_.needs_tasks or len(data.segments) == data.n_timesteps
        if np.diff(data.segments).max() == 1 and one_choice:
            warn(
                f"segment_steps={self.segment_steps!r} has no effect: every segment has one step, "
                "which enters its tests."
            )
        elif self.segment_steps == "last" and not self.criterion_.needs_tasks:
            warn(
                f"segment_steps='last' has no effect with criterion={self.criterion_!r}, whose "
                "evidence are all steps of a segment but the first, as with 'interior'."
            )

    def _choose_segments(self, data: SegmentedData) -> np.ndarray:
        """Return the segments of the length whose structure predicts held-out folds best."""
        longest = max(min(LONGEST_SEGMENT, data.n_timesteps // 2), 1)
        candidates = [make_segments(data.n_timesteps, length) for length in range(1, longest + 1)]
        gains = []
        for segments in tqdm(
            candidates, desc="segment lengths", disable=not self.verbose, leave=False
        ):
            candidate = data.with_segments(segments)
            gains.append(np.mean(self._held_out_gains(candidate)))
        return candidates[int(np.argmax(gains))]

    def _held_out_gains(self, data: SegmentedData) -> list[float]:
        """Return the gain on each held-out fold of the structure of the others."""
        gains = []
        for training_folds, held_out in data.folded.splits(N_SPLITS):
            training = data.subset(training_folds)
            result = self.criterion_.find(training, self)
            gains.append(self.criterion_.gain(training, result).gain(held_out))
        return gains

    def _warn_of_weak_evidence(self, data: SegmentedData, result: CriterionResult) -> None:
        few = result.n_sequences < FEW_SEQUENCES
        if data.has_missing and few.any():
            warn(
                f"Steps are missing: the tests of {few.any(axis=1).sum()} of "
                f"{len(data.segments)} segments use fewer than {FEW_SEQUENCES} sequences "
                f"(fewest: {result.n_sequences.min()})."
            )
        if not self.criterion_.needs_tasks and not result.structure.any():
            warn(
                "No task was found. Tasks that are neither observed nor the reason why the "
                "sequences were recorded cannot be detected without y: pass y, or only sequences "
                "whose tasks succeeded."
            )

    def _selection_frequency(self, data: SegmentedData, result: CriterionResult) -> np.ndarray:
        n_subsamples = self.n_subsamples
        if n_subsamples is None:
            n_subsamples = self.criterion_.default_n_subsamples
        if n_subsamples == 0:
            return np.full(result.structure.shape, np.nan)
        return self.criterion_.selection_frequency(data, result, self, n_subsamples)

    def _set_result(
        self, data: SegmentedData, result: CriterionResult, frequency: np.ndarray
    ) -> None:
        """Set the fitted attributes."""
        self.statistics_, self.pvalues_ = result.statistics, result.pvalues
        self.adjusted_pvalues_ = result.adjusted_pvalues
        self.effect_sizes_, self.n_sequences_ = result.effect_sizes, result.n_sequences
        self.test_result_, self.pairs_ = result.tests, result.pairs
        self.tested_, self.conditioning_ = result.tested, result.conditioning
        self.selection_frequency_ = frequency
        self.n_samples_seen_ = data.moments.n
        self._means = data.moments.mean[: self.n_features_in_]
        self._gain = self.criterion_.gain(data, result)
        names = None if self._targets is None else self._targets.names
        self._set_structure(result.structure, data.segments, data.n_timesteps, names)


def _raise_if_too_few(tests: IndependenceResult | None, n_sequences: int) -> None:
    if tests is None or not tests.flag.size:
        return
    if (tests.flag & ResultFlag.TOO_FEW_SAMPLES).all():
        raise ValueError(
            f"{n_sequences} sequences are too few for every test, or not enough of them are "
            "complete: use more sequences, fewer features (reduce them first) or "
            "segment_steps='last'."
        )
