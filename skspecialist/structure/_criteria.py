"""Criteria that decide which segments are relevant to a task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.utils import check_random_state
from tqdm import tqdm

from .._base.estimator import Part
from .._base.sklearn_compat import Interval
from .._data.tasks import TaskTargets
from ..exceptions import warn
from ..independence._base import IndependenceResult, ResultFlag
from ..independence._moments import FoldedMoments, complementary_halves
from ._evidence import (
    configured_test,
    robust_tests,
    run_tests,
    segments_given_band,
    segments_given_rest,
    uses_robust_tests,
)
from ._gain import Gain, SegmentedData, StructureGain
from ._segments import (
    collider_sets,
    evidence_blocks,
    resolve_segment_steps,
    tested_steps,
    to_columns,
)
from .aggregation import BaseAggregation, to_matrix
from .selection import SelectionModel, resolve_components

__all__ = [
    "CRITERIA",
    "BaseCriterion",
    "Collider",
    "CriterionResult",
    "Direct",
    "Selection",
    "join_results",
    "seed_from",
]


@dataclass(frozen=True)
class CriterionResult:
    """Structure that a criterion found, and the evidence for it.

    Attributes
    ----------
    structure : ndarray of bool of shape (n_segments, n_tasks)
        Relevant segments of each task.
    statistics, pvalues, adjusted_pvalues, effect_sizes : ndarray of shape \
            (n_segments, n_tasks)
        Evidence for each segment and task; NaN where a criterion has none.
    n_sequences : ndarray of int of shape (n_segments, n_tasks)
        Sequences that the test used, or the fewest of any of its pairs.
    tested : ndarray of bool of shape (n_timesteps, n_tasks)
        Steps that entered a test.
    conditioning : {"all", "window", "band"}
        Steps that were conditioned on.
    tests : IndependenceResult or None
        All tests, of shape (n_segments, n_tasks) or (n_pairs, n_tasks).
    pairs : ndarray of shape (n_pairs, 2) or None
        The two segments of each pair.
    model : SelectionModel or None
        Model of the states, if the criterion fits one.
    between_groups : ndarray of bool of shape (n_tasks,) or None
        Tasks that groups determine.
    selection_frequency : ndarray of shape (n_segments, n_tasks) or None
        Share of the half-samples in which a segment is found.
    """

    structure: np.ndarray
    statistics: np.ndarray
    pvalues: np.ndarray
    adjusted_pvalues: np.ndarray
    effect_sizes: np.ndarray
    n_sequences: np.ndarray
    tested: np.ndarray
    conditioning: str
    tests: IndependenceResult | None = None
    pairs: np.ndarray | None = None
    model: SelectionModel | None = None
    between_groups: np.ndarray | None = None
    selection_frequency: np.ndarray | None = None


class BaseCriterion(Part):
    """Base class of the criteria of :class:`TaskStructureIdentifier`.

    A new criterion is a subclass that implements :meth:`find`, and one line in ``CRITERIA``
    that gives it a short name.
    """

    _registry = "skspecialist.structure._criteria:CRITERIA"
    _parameter_constraints: dict = {}

    #: Whether the criterion needs ``y``.
    needs_tasks: ClassVar[bool] = True
    #: Whether the robust score tests of single segments can be made.
    robust: ClassVar[bool] = False
    #: Values of ``conditioning`` that are possible.
    conditionings: ClassVar[tuple[str, ...]] = ("auto", "band", "all")
    #: Parameters of the identifier without effect.
    ignored: ClassVar[tuple[str, ...]] = ()
    #: Value of ``n_subsamples`` that None stands for.
    default_n_subsamples: ClassVar[int] = 0

    @abstractmethod
    def find(self, data: SegmentedData, identifier: Any) -> CriterionResult:
        """Find the relevant segments of each task.

        Parameters
        ----------
        data : SegmentedData
            Sequences, tasks and segments.
        identifier : TaskStructureIdentifier
            Estimator whose parameters apply.

        Returns
        -------
        result : CriterionResult
            Structure and evidence.
        """

    def gain(self, data: SegmentedData, result: CriterionResult) -> Gain:
        """Return the model of the tasks or states whose held-out gain is the score.

        Parameters
        ----------
        data : SegmentedData
            Sequences, tasks and segments.
        result : CriterionResult
            Result for these sequences.

        Returns
        -------
        gain : Gain
            Fitted model.
        """
        return StructureGain(data, result.structure)

    def selection_frequency(
        self, data: SegmentedData, result: CriterionResult, identifier: Any, n_subsamples: int
    ) -> np.ndarray:
        """Return how often each segment is found for each task in half of the sequences.

        Parameters
        ----------
        data : SegmentedData
            Sequences, tasks and segments.
        result : CriterionResult
            Result for all sequences.
        identifier : TaskStructureIdentifier
            Estimator whose parameters apply.
        n_subsamples : int
            Number of halves.

        Returns
        -------
        frequency : ndarray of shape (n_segments, n_tasks)
            Fraction of the halves.
        """
        rng = np.random.default_rng(seed_from(identifier.random_state))
        halves = list(complementary_halves(sorted(data.folded.folds), n_subsamples, rng))
        found = [
            self.find(data.subset(half), identifier).structure
            for half in tqdm(
                halves, desc="half-samples", disable=not identifier.verbose, leave=False
            )
        ]
        return np.mean(found, axis=0)


class Direct(BaseCriterion):
    """Direct criterion: each segment against each task.

    A segment is relevant to a task if the two are dependent given all other steps, or given
    the *band*, the steps just before and after the tested steps of the segment. One
    conditional independence test per segment and task: a robust score test, unless
    ``independence_test`` names another one.

    See Also
    --------
    Collider : Criterion of pairs of segments.
    Selection : Criterion for tasks that are not observed.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.datasets import make_collider_sequences
    >>> from skspecialist.structure import Direct
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> identifier = TaskStructureIdentifier(criterion=Direct()).fit(data.X, data.y)
    >>> identifier.conditioning_
    'all'
    """

    robust = True

    def find(self, data: SegmentedData, identifier: Any) -> CriterionResult:
        """See :meth:`BaseCriterion.find`."""
        steps = resolve_segment_steps(identifier.segment_steps, data.segments)
        blocks, bands = evidence_blocks(data.segments, data.n_timesteps, steps)
        between_groups = None
        if uses_robust_tests(identifier, data):
            tests, conditioning, between_groups = robust_tests(data, blocks, identifier)
        else:
            test, given_rest = configured_test(identifier), None
            if (given := identifier.conditioning) != "band":
                given_rest = segments_given_rest(data, blocks, test, required=given == "all")
            conditioning = "band" if given_rest is None else "all"
            tests = given_rest or segments_given_band(data, blocks, bands, test)
        adjusted = _adjust(tests.pvalue, identifier.correction)
        effect_sizes = np.abs(tests.effect_size)
        return CriterionResult(
            structure=_is_relevant(adjusted, effect_sizes, identifier),
            statistics=tests.statistic,
            pvalues=tests.pvalue,
            adjusted_pvalues=adjusted,
            effect_sizes=effect_sizes,
            n_sequences=np.broadcast_to(tests.n, tests.pvalue.shape).astype(int),
            tested=tested_steps(blocks, tests.informative, data.n_timesteps),
            conditioning=conditioning,
            tests=tests,
            between_groups=between_groups,
        )


class Collider(BaseCriterion):
    """Collider criterion: pairs of segments, given a task.

    Two segments are both relevant to a task if and only if they are dependent given the
    band of both *and the task*: a task is a collider, and conditioning on it opens the
    path between the actions that point into it (Theorem 1 of [1]_). One conditional
    independence test per pair of segments and task, which are aggregated to one test per
    segment and task.

    Parameters
    ----------
    aggregation : {"rank_one", "simes", "cauchy", "any"} or BaseAggregation, \
            default="rank_one"
        Rule that aggregates the pairs of a task to a test of each segment, see
        :mod:`skspecialist.structure.aggregation`. "rank_one" is the most powerful of
        the calibrated rules; "any" is the published one.

    See Also
    --------
    Direct : Criterion of single segments, which is more powerful.
    Selection : Criterion for tasks that are not observed.

    References
    ----------
    .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.datasets import make_collider_sequences
    >>> from skspecialist.structure import Collider
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> identifier = TaskStructureIdentifier(2, criterion=Collider(aggregation="simes"))
    >>> identifier.fit(data.X, data.y).pairs_.shape
    (6, 2)
    """

    _parameter_constraints: dict = {"aggregation": [str, BaseAggregation]}

    conditionings = ("auto", "band")

    def __init__(self, aggregation: str | BaseAggregation = "rank_one") -> None:
        self.aggregation = aggregation

    def find(self, data: SegmentedData, identifier: Any) -> CriterionResult:
        """See :meth:`BaseCriterion.find`."""
        rule = BaseAggregation.resolve(self.aggregation, argument="aggregation")
        n_segments = len(data.segments)
        steps = resolve_segment_steps(identifier.segment_steps, data.segments)
        pairs, x, y, z = collider_sets(data.segments, data.n_timesteps, steps)
        if not len(pairs):
            warn(
                f"criterion='collider' compares pairs of segments, but {n_segments} segments with "
                f"segment_steps={steps!r} have no pair to compare: use criterion='direct'."
            )
        y_columns = to_columns(y, data.n_features)
        test = configured_test(identifier)
        tests = run_tests(data, test, x, y_columns, z, given=data.task_columns)
        statistics, pvalues, adjusted = rule.aggregate(
            tests, pairs, n_segments, lambda p: _adjust(p, identifier.correction)
        )
        # The strength of a segment is that of its strongest pair.
        effect_sizes = to_matrix(np.abs(tests.effect_size), pairs, n_segments, fill=0.0).max(axis=0)
        n_used = np.broadcast_to(tests.n, tests.pvalue.shape)
        fewest = to_matrix(n_used, pairs, n_segments, fill=data.moments.n).min(axis=0)
        return CriterionResult(
            structure=_is_relevant(adjusted, effect_sizes, identifier),
            statistics=statistics,
            pvalues=pvalues,
            adjusted_pvalues=adjusted,
            effect_sizes=effect_sizes,
            n_sequences=fewest.astype(int),
            tested=tested_steps(x, tests.informative, data.n_timesteps)
            | tested_steps(y, tests.informative, data.n_timesteps),
            conditioning="band",
            tests=tests,
            pairs=pairs,
        )


class Selection(BaseCriterion):
    """Selection criterion: tasks that are not observed.

    For sequences that were recorded *because* their tasks succeeded, such as
    demonstrations. Each task then joins its segments to a clique of partial correlations
    beyond those of the chain, and all cliques are found at once in the covariance of the
    states. Without such a selection, tasks that are not observed cannot be detected.

    Parameters
    ----------
    n_tasks : int, default=None
        Maximum number of tasks. None chooses it by the extended Bayesian information
        criterion.

    See Also
    --------
    Direct : Criterion for observed tasks.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.datasets import make_collider_sequences
    >>> from skspecialist.structure import Selection
    >>> data = make_collider_sequences(
    ...     2000, n_timesteps=6, n_tasks=1, selection=True, random_state=1
    ... )
    >>> identifier = TaskStructureIdentifier(
    ...     criterion=Selection(n_tasks=1), n_subsamples=0, random_state=0
    ... )
    >>> identifier.fit(data.X).n_tasks_
    1
    """

    _parameter_constraints: dict = {"n_tasks": [Interval(Integral, 1, None, closed="left"), None]}

    needs_tasks = False
    conditionings = ("auto", "all")
    ignored = ("independence_test", "alpha", "correction", "task_types")
    default_n_subsamples = 20

    def __init__(self, n_tasks: int | None = None) -> None:
        self.n_tasks = n_tasks

    def find(self, data: SegmentedData, identifier: Any) -> CriterionResult:
        """See :meth:`BaseCriterion.find`."""
        if data.has_missing:
            raise ValueError(
                "Input X contains NaN: tasks that are not observed are found in the covariance "
                "of complete sequences. Impute missing steps, or drop these sequences."
            )
        if not isinstance(data.folded, FoldedMoments):
            raise ValueError(
                f"X has {data.n_timesteps} steps of {data.n_features} features, too many for the "
                "covariance of all steps that tasks which are not observed are found in: use "
                "fewer features or steps."
            )
        steps = resolve_segment_steps(identifier.segment_steps, data.segments)
        model = SelectionModel(
            data.segments,
            data.n_features,
            segment_steps=steps,
            n_tasks=self.n_tasks,
            n_components=resolve_components(
                identifier.n_components, data.n_timesteps, data.n_features
            ),
            random_state=seed_from(identifier.random_state),
            verbose=identifier.verbose,
        ).fit(list(data.folded.folds.values()))
        effect_sizes = model.effect_sizes_
        undefined = np.full(effect_sizes.shape, np.nan)
        # Loadings are free for all steps of a segment.
        blocks, _ = evidence_blocks(data.segments, data.n_timesteps, "all")
        every = np.ones(effect_sizes.shape, dtype=bool)
        return CriterionResult(
            structure=model.structure_ & (effect_sizes >= identifier.min_effect_size),
            statistics=undefined,
            pvalues=undefined,
            adjusted_pvalues=undefined,
            effect_sizes=effect_sizes,
            n_sequences=np.full(effect_sizes.shape, data.moments.n),
            tested=tested_steps(blocks, every, data.n_timesteps),
            conditioning="all",
            model=model,
        )

    def gain(self, data: SegmentedData, result: CriterionResult) -> Gain:
        """See :meth:`BaseCriterion.gain`."""
        assert result.model is not None
        return result.model

    def selection_frequency(
        self, data: SegmentedData, result: CriterionResult, identifier: Any, n_subsamples: int
    ) -> np.ndarray:
        """See :meth:`BaseCriterion.selection_frequency`."""
        assert result.model is not None
        assert isinstance(data.folded, FoldedMoments)
        folds = list(data.folded.folds.values())
        return result.model.selection_frequency(folds, n_subsamples)


# The short names of the parameter ``criterion``.
CRITERIA: dict[str, type[BaseCriterion]] = {
    "collider": Collider,
    "direct": Direct,
    "selection": Selection,
}


def seed_from(random_state: int | np.random.RandomState | None) -> int:
    """Draw an integer seed."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _is_relevant(adjusted: np.ndarray, effect_sizes: np.ndarray, identifier: Any) -> np.ndarray:
    """Return which segments are significant and strong enough."""
    return (adjusted <= identifier.alpha) & (effect_sizes >= identifier.min_effect_size)


def _adjust(pvalues: np.ndarray, correction: str) -> np.ndarray:
    """Adjust p-values for multiple testing; each task is a family of its own."""
    if correction == "none" or not pvalues.size:
        return pvalues
    return false_discovery_control(pvalues, axis=0, method=correction)


def join_results(
    results: Sequence[CriterionResult], tasks: Sequence[np.ndarray], targets: TaskTargets | None
) -> CriterionResult:
    """Return the result of all tasks from those of some tasks each.

    Parameters
    ----------
    results : sequence of CriterionResult
        Results for the same segments.
    tasks : sequence of ndarray of int
        Tasks of each result.
    targets : TaskTargets or None
        All tasks, also those without a result; None if they are not observed.
    """
    if targets is None or len(tasks[0]) == len(targets):
        return results[0]
    n_tasks = len(targets)

    def place(arrays: list[np.ndarray], fill: float) -> np.ndarray:
        shape = (len(arrays[0]), n_tasks, *arrays[0].shape[2:])
        joined = np.full(shape, fill, dtype=arrays[0].dtype)
        for own, array in zip(tasks, arrays, strict=True):
            joined[:, own] = array
        return joined

    def field(name: str, fill: float) -> np.ndarray:
        return place([np.asarray(getattr(result, name)) for result in results], fill)

    tests = [result.tests for result in results if result.tests is not None]
    between = [r.between_groups[None] for r in results if r.between_groups is not None]
    windowed = {result.conditioning for result in results}
    return CriterionResult(
        structure=field("structure", False),
        statistics=field("statistics", 0.0),
        pvalues=field("pvalues", 1.0),
        adjusted_pvalues=field("adjusted_pvalues", 1.0),
        effect_sizes=field("effect_sizes", 0.0),
        n_sequences=field("n_sequences", 0),
        tested=field("tested", False),
        # The fewest steps that any task was tested given.
        conditioning=next(name for name in ("band", "window", "all") if name in windowed),
        tests=IndependenceResult(
            statistic=place([test.statistic for test in tests], 0.0),
            pvalue=place([test.pvalue for test in tests], 1.0),
            effect_size=place([test.effect_size for test in tests], 0.0),
            df=place([test.df for test in tests], np.nan),
            n=place([np.broadcast_to(test.n, test.pvalue.shape) for test in tests], 0),
            flag=place([test.flag for test in tests], int(ResultFlag.TOO_FEW_SAMPLES)),
            signed=all(test.signed for test in tests),
        ),
        pairs=results[0].pairs,
        selection_frequency=field("selection_frequency", np.nan),
        between_groups=place(between, False)[0] if len(between) == len(results) else None,
    )
