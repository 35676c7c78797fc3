"""Which time steps belong to which task, for aligned sequences."""

from __future__ import annotations

from dataclasses import fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._stats.moments import FoldedMoments, is_dask
from ..independence._base import BaseIndependenceTest, IndependenceResult, ResultFlag
from ._reading import SequenceReaderMixin
from ._search import Finding, Search
from ._segmented import SegmentedData, at_mean
from .aggregation.base import BaseAggregation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TaskStructureIdentifier"]


class TaskStructureIdentifier(SequenceReaderMixin, BaseEstimator):
    """Find which time steps of aligned sequences belong to which task.

    Time is cut into segments. Step ``t`` means the same in every sequence. A segment is
    relevant to a task if an action taken in it influences the task. Three criteria find
    it, all valid under the Markov property and faithfulness:

    - ``"direct"``: the segment and the task are dependent given the *band*, the states
      just before and after the segment's evidence, or given all other steps. One test
      of conditional independence for every segment and task.
    - ``"collider"``: two segments are both relevant to a task iff they are dependent
      given the band of both *and the task*: a task is a collider, and conditioning on
      it opens the path between the actions that point into it. Theorem 1 of [1]_. It
      needs the square of the number of tests, rests on weaker, second-order
      dependence, and cannot see a task with one segment; it is the choice where the
      task's own value is not comparable between sequences but its presence is.
    - ``"selection"``: for tasks that are not observed but the reason why the sequences
      were recorded, as of demonstrations that succeeded. Every task then joins its
      segments to a clique of partial correlations beyond the chain's, and all cliques
      are found at once in the covariance of the states. Without such a selection,
      tasks that are not observed leave no trace.

    Parameters
    ----------
    segment_length : int or "auto", default=2
        Steps in a segment; two are the fewest that separate a segment's own actions
        from the action before it. The last segment has what remains. "auto" takes the
        length, up to ten and to half of the steps, whose structure predicts held-out
        folds best.
    criterion : {"auto", "direct", "collider", "selection"}, default="auto"
        "auto" is "direct" where ``y`` is given, the stronger of the two that need it,
        and "selection" where it is not.
    segment_steps : {"interior", "all", "last"}, default="interior"
        Which steps speak for a segment.

        - "interior": all but the first, whose state may be driven by the action of
          the segment before. Valid wherever the model is. A segment of one step has
          only this step.
        - "all": all of them. Stronger for short segments, but valid only if
          actions do not drive the next state or are among the features; otherwise
          segments that follow a task's segment are wrongly joined to it.
        - "last": the last one, as in [1]_.
    conditioning : {"auto", "band", "all"}, default="auto"
        What the direct criterion conditions on: the band, which suffices, or all steps
        that are not the segment's evidence. All steps are as valid and leave less of
        the task unexplained, which finds weaker segments in fewer sequences. "auto" is
        "all" from five sequences for each column of ``X`` on, with tests from one
        covariance, complete sequences and no collinear features, and "band" otherwise.
    independence_test : {"auto", "fisher_z", "wilks"} or BaseIndependenceTest, \
            default="auto"
        The test. "auto" is "fisher_z" where one column is tested against one, "wilks"
        otherwise.
    aggregation : {"rank_one", "simes", "cauchy", "any"} or BaseAggregation, \
            default="rank_one"
        How the collider criterion pools the pairs of a task into a test of each
        segment: see :mod:`skspecialist.structure.aggregation`. "any" is the published rule.
    alpha : float, default=0.05
        Level, in (0, 1). With "bh", of the segments said to belong to a task at most
        this share is wrong on average, and a task that touches nothing stays empty
        with probability ``1 - alpha``.
    correction : {"bh", "by", "none"}, default="bh"
        Adjustment for the number of tests of a task: Benjamini-Hochberg,
        Benjamini-Yekutieli (valid under any dependence), or none. Every task is a
        family of its own, so that what is found for one does not hang on the others.
    min_effect_size : float, default=0.0
        Smallest (multiple, partial) correlation that counts, in [0, 1]. With very many
        sequences negligible effects are significant too. It is a sample correlation: of
        p columns with nothing it is about the square root of p over the number of
        sequences, so that a threshold below that filters nothing.
    n_tasks : int, default=None
        Number of tasks, where these are not observed. None finds it.
    segments : array-like of int of shape (n_segments, 2), default=None
        First step of each segment and the step after its last, in place of segments of
        equal length. Steps that are left out belong to no task.
    n_subsamples : int, default=None
        Number of random halves of the sequences on which the search is repeated for
        ``selection_frequency_``. None is 20 with "selection", which has no p-values,
        and 0 otherwise.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column for a step.
    n_jobs : int, default=None
        Workers, as in joblib, for tests that take any and have no number of their own.
    random_state : int, RandomState instance or None, default=None
        Seed of the halves, of the starts of "selection", and of tests that are random
        and that this is not None for.
    verbose : int, default=0
        Whether to show the progress of what takes long.

    Attributes
    ----------
    criterion_ : str
        The criterion that was used.
    segments_ : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    structure_ : ndarray of bool of shape (n_segments, n_tasks)
        Which segments each task has.
    step_mask_ : ndarray of bool of shape (n_timesteps, n_tasks)
        The same for steps.
    support_ : ndarray of bool of shape (n_timesteps,)
        Steps of any task.
    statistics_, pvalues_, adjusted_pvalues_, effect_sizes_ : ndarray of shape \
            (n_segments, n_tasks)
        Evidence for each segment and task: the statistic of the test (pooled for the
        collider criterion), its p-value, the p-value adjusted for multiplicity, and the
        strength of the dependence as a correlation (of the strongest pair). The first
        three are NaN with "selection".
    n_sequences_ : ndarray of int of shape (n_segments, n_tasks)
        Sequences that have all steps of the test (the fewest of the segment's pairs).
    selection_frequency_ : ndarray of shape (n_segments, n_tasks)
        Share of random halves of the sequences in which the segment was found for the
        task; NaN without ``n_subsamples``.
    n_samples_seen_ : int
        Number of sequences.
    test_result_ : IndependenceResult or None
        All tests as they came: of shape (n_segments, n_tasks), or (n_pairs, n_tasks)
        for the collider criterion; None with "selection".
    pairs_ : ndarray of int of shape (n_pairs, 2) or None
        The segments of each pair, with the collider criterion.
    n_tasks_ : int
        Number of tasks.
    task_names_ : list of str
        Their names: column names of a DataFrame ``y``, or task0, task1, ...
    n_timesteps_ : int
        Number of steps.
    n_features_in_ : int
        Number of columns of the flat sequences: steps times features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where ``X`` had names.

    See Also
    --------
    SpecialistPipeline : Structure, encoder and estimator in one object.
    sequences_needed : How many sequences find a segment of a given strength.

    Notes
    -----
    The default tests, and "selection", are for linear relations between jointly Gaussian
    variables; nonlinear chains need a test that is not. Tests of a constant feature are
    degenerate and count as no evidence. A test uses the sequences that have all of its
    steps, which is right where steps are missing for reasons that have nothing to do
    with what would have been seen.

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
        "segment_length": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "criterion": [StrOptions({"auto", "direct", "collider", "selection"})],
        "segment_steps": [StrOptions({"interior", "all", "last"})],
        "conditioning": [StrOptions({"auto", "band", "all"})],
        "independence_test": [str, BaseIndependenceTest],
        "aggregation": [str, BaseAggregation],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "correction": [StrOptions({"bh", "by", "none"})],
        "min_effect_size": [Interval(Real, 0, 1, closed="both")],
        "n_tasks": [Interval(Integral, 1, None, closed="left"), None],
        "segments": ["array-like", None],
        "n_subsamples": [Interval(Integral, 0, None, closed="left"), None],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        segment_length: int | str = 2,
        *,
        criterion: str = "auto",
        segment_steps: str = "interior",
        conditioning: str = "auto",
        independence_test: str | BaseIndependenceTest = "auto",
        aggregation: str | BaseAggregation = "rank_one",
        alpha: float = 0.05,
        correction: str = "bh",
        min_effect_size: float = 0.0,
        n_tasks: int | None = None,
        segments: ArrayLike | None = None,
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
        self.aggregation = aggregation
        self.alpha = alpha
        self.correction = correction
        self.min_effect_size = min_effect_size
        self.n_tasks = n_tasks
        self.segments = segments
        self.n_subsamples = n_subsamples
        self.n_timesteps = n_timesteps
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Find the structure.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            Sequences; missing steps, as at the ends of shorter sequences, are NaN. The
            columns of a 2-D ``X`` are the steps in time order. A memory map may be
            larger than the memory, and the statistics of a Dask array are computed
            where its blocks are.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Value of each task in each sequence. Columns of floats are continuous,
            columns of integers, booleans or strings are class labels. None where all
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
            segment has, or too few sequences for every test.
        """
        self.__dict__.pop("_folded", None)
        self.criterion_ = self._criterion_for(y)
        problem = self._read_dask(X, y) if is_dask(X) else self._read(X, y)
        finding = self._search(problem)
        _refuse_too_few(finding.evidence.tests, problem.moments.n)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike | None = None, *, classes: list | None = None
    ) -> Self:
        """Find the structure in all sequences of this and the earlier calls.

        Only their statistics are kept, so that memory does not grow; the answer is that
        of one :meth:`fit` to all of them. A call of :meth:`fit` in between starts anew.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            More sequences, without missing steps.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Their tasks.
        classes : list, default=None
            All class labels of the task or, with a 2-D ``y``, a list of them for each
            task with None for the continuous ones. Needed in the first call if its
            ``y`` has not all of them.

        Returns
        -------
        self : TaskStructureIdentifier
            Fitted.

        Raises
        ------
        ValueError
            As :meth:`fit`, and if ``X`` has missing values or ``y`` new class labels.
        """
        self._search(self._read_more(X, y, classes))
        return self

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Return what the structure says about new sequences, in nats.

        With observed tasks: each is predicted from its steps (and the step after each
        run of them) by a Gaussian linear model with a ridge penalty, and compared with
        its mean; indicators of class labels are treated alike, missing steps are at
        their mean. The coefficients come from a tenth of the sequences of ``fit`` (more
        where these are few), so that superfluous steps cost visibly. With tasks that
        are not observed: the density of the states under the tasks found, compared with
        that of a chain without tasks.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences that ``fit`` did not see.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Their tasks; not used where these were not observed in ``fit``.

        Returns
        -------
        score : float
            Mean log-likelihood gained per sequence, summed over tasks; 0 for an empty
            structure.

        Raises
        ------
        ValueError
            If ``y`` has class labels that ``fit`` did not see.
        """
        X = self._validate(X)
        filled = at_mean(X.reshape(len(X), -1), self._means)
        moments = FoldedMoments.from_data(filled, self._task_data(y, X)).total
        return self._gain.gain(moments)

    def to_frame(self) -> pd.DataFrame:
        """Return the evidence as a table, a row for each segment and task.

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
        """Steps may be missing, and tasks unobserved."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = self.criterion in ("direct", "collider")
        return tags

    def _search(self, problem: SegmentedData) -> Finding:
        settings = {field.name: getattr(self, field.name) for field in fields(Search)}
        finding = Search(**settings | {"criterion": self.criterion_}).run(problem)
        evidence = finding.evidence
        self.statistics_, self.pvalues_ = evidence.statistics, evidence.pvalues
        self.adjusted_pvalues_ = evidence.adjusted_pvalues
        self.effect_sizes_, self.n_sequences_ = evidence.effect_sizes, evidence.n_sequences
        self.test_result_, self.pairs_ = evidence.tests, evidence.pairs
        self.selection_frequency_ = finding.frequency
        self.n_samples_seen_ = problem.moments.n
        self._means = problem.moments.mean[: self.n_features_in_]
        self._gain = finding.gain
        names = None if self._targets is None else self._targets.names
        self._set_structure(finding.structure, finding.segments, problem.n_timesteps, names)
        return finding


def _refuse_too_few(tests: IndependenceResult | None, n_sequences: int) -> None:
    if tests is None or not tests.flag.size:
        return
    if (tests.flag & ResultFlag.TOO_FEW_SAMPLES).all():
        raise ValueError(
            f"{n_sequences} sequences are too few for every test, or lack its steps: give more "
            "sequences, fewer features (reduce them first) or segment_steps='last'."
        )
