"""Evidence for segments: the choice of tests, their conditions, their results."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import effective_n_jobs
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from .._data.tasks import TaskTargets
from ..exceptions import warn
from ..independence._base import BaseIndependenceTest, IndependenceResult, ResultFlag
from ..independence._covariance import CovarianceTest
from ..independence._gaussian import FisherZ, Wilks
from ..independence._moments import Moments, WideMoments
from ._gain import SegmentedData
from ._robust import MIN_SEQUENCES, RobustScores, robust_scores
from ._robust_columns import MAX_COMPONENTS
from ._segments import MIN_GROUPS_BETWEEN, to_columns

__all__ = [
    "TooFewSequencesError",
    "check_combinations",
    "check_evidence",
    "check_segment_steps",
    "configured_test",
    "evidence_frame",
    "is_large",
    "n_in_memory",
    "one_against_rest",
    "robust_tests",
    "run_tests",
    "segments_given_band",
    "segments_given_rest",
    "uses_robust_tests",
]

# Sequences per column of X from which conditioning on all steps gains more power, by the
# smaller residual of the task, than its degrees of freedom cost.
SEQUENCES_PER_COLUMN = 5
# The robust tests keep the basis functions of all steps: at most so many bytes of them.
MAX_BASIS_BYTES, FUNCTIONS_PER_FEATURE = 2**28, 4
# A task's regression on imputed steps has the error of the imputation, which robust tests do
# not know: share of the sequences that may lack a step.
MAX_MISSING = 1 / 3
# Fewer sequences with all steps of a test trigger a warning: p-values rest on asymptotics.
FEW_SEQUENCES = 50
# Columns of tests that share a covariance, where one of all columns would be too large.
COLUMNS_AT_ONCE = 1024
UNEQUAL = " Where sequences differ in length and their steps do not align, use TaskLocalizer."
# Steps that a warning lists.
MAX_LISTED = 10


class TooFewSequencesError(ValueError):
    """No test of a structure could be made; a pipeline goes on without one."""


def configured_test(identifier: Any) -> BaseIndependenceTest | None:
    """Return the independence test with the identifier's workers and seed.

    None for "auto" and "robust".
    """
    given = identifier.independence_test
    without_part = ("auto", "robust")
    if isinstance(given, str) and given in without_part:
        return None
    test = BaseIndependenceTest.resolve(given, argument="independence_test", also=without_part)
    available = test.get_params(deep=False)
    shared = {"n_jobs": identifier.n_jobs, "random_state": identifier.random_state}
    return test.set_params(
        **{name: value for name, value in shared.items() if name in available and value is not None}
    )


def uses_robust_tests(identifier: Any, data: SegmentedData) -> bool:
    """Return whether the direct criterion makes robust score tests."""
    if identifier.independence_test != "auto":
        return bool(identifier.independence_test == "robust")
    if identifier.conditioning == "band":
        return False
    if data.lifted is not None:
        return True
    if data.X is None:
        return False
    if (len(data.X) if data.weights is None else data.weights.sum()) < MIN_SEQUENCES:
        return False
    if is_large(data):
        return False
    return not data.has_missing or _largest_share_missing(data) <= MAX_MISSING


def n_in_memory(n_timesteps: int, n_features: int) -> int:
    """Return the number of sequences up to which those and their functions are kept."""
    per_step = max(min(n_features, MAX_COMPONENTS) * FUNCTIONS_PER_FEATURE, n_features)
    return MAX_BASIS_BYTES // (8 * n_timesteps * per_step)


def is_large(data: SegmentedData) -> bool:
    """Return whether the sequences are more than those whose basis functions are kept."""
    return data.X is not None and len(data.X) > n_in_memory(data.n_timesteps, data.n_features)


def _largest_share_missing(data: SegmentedData) -> float:
    """Return the share of the sequences, but for empty ones, that lack the rarest step."""
    assert data.X is not None
    missing = np.isnan(data.X)
    return float(missing[~missing.all(axis=1)].mean(axis=0).max(initial=0.0))


def check_combinations(identifier: Any, data: SegmentedData) -> None:
    """Raise for parameters that contradict the criterion, and warn of ignored ones."""
    criterion, test = identifier.criterion_, configured_test(identifier)
    criterion._validate_params()
    if identifier.conditioning not in criterion.conditionings:
        raise ValueError(
            f"conditioning={identifier.conditioning!r} contradicts criterion={criterion!r}, whose "
            f"tests condition on {' or '.join(criterion.conditionings[1:])!r} steps: use "
            "conditioning='auto'."
        )
    defaults = type(identifier)().get_params(deep=False)
    for name in criterion.ignored:
        if getattr(identifier, name) != defaults[name]:
            warn(
                f"{name}={getattr(identifier, name)!r} has no effect with criterion={criterion!r}, "
                "which performs no tests and reads no tasks."
            )
    chosen = f"criterion={criterion!r} and independence_test={identifier.independence_test!r}"
    robust = criterion.robust and uses_robust_tests(identifier, data)
    if isinstance(identifier.independence_test, str) and identifier.independence_test == "robust":
        _check_robust(identifier, data)
    if identifier.n_components != "auto" and not robust:
        warn(
            f"n_components={identifier.n_components!r} has no effect with {chosen}: only the "
            "robust tests, of sequences in memory, reduce the features."
        )
    if data.groups is not None and not robust:
        warn(
            f"groups do not enter tests with {chosen}, which take all sequences for independent; "
            "only the robust tests of criterion='direct' account for groups."
        )
    if data.weights is not None and not robust and not isinstance(test, CovarianceTest | None):
        raise ValueError(
            f"sample_weight is not supported by independence_test={test!r}, which needs samples: "
            "use 'robust', 'fisher_z' or 'wilks'."
        )
    takes_jobs = test is not None and "n_jobs" in test.get_params(deep=False)
    n_jobs = identifier.n_jobs
    # None leaves their number to the caller, who may have others to run.
    if n_jobs is not None and effective_n_jobs(n_jobs) > 1 and not takes_jobs:
        warn(
            f"n_jobs={n_jobs} has no effect with {chosen}, which run in the threads of "
            "the linear algebra."
        )


def check_segment_steps(identifier: Any, data: SegmentedData) -> None:
    """Warn of a value of segment_steps that is equivalent to another one."""
    criterion, segment_steps = identifier.criterion_, identifier.segment_steps
    if segment_steps not in ("interior", "last"):
        return
    # The criterion "selection" distinguishes the steps between segments as well.
    one_choice = criterion.needs_tasks or len(data.segments) == data.n_timesteps
    if np.diff(data.segments).max() == 1 and one_choice:
        warn(
            f"segment_steps={segment_steps!r} has no effect: every segment has one step, "
            "which enters its tests."
        )
    elif segment_steps == "last" and not criterion.needs_tasks:
        warn(
            f"segment_steps='last' has no effect with criterion={criterion!r}, whose "
            "evidence are all steps of a segment but the first, as with 'interior'."
        )


def _check_robust(identifier: Any, data: SegmentedData) -> None:
    """Raise where robust tests were asked for but cannot be made."""
    if not identifier.criterion_.needs_tasks:
        return  # ignored, as any test
    if not identifier.criterion_.robust:
        raise ValueError(
            f"independence_test='robust' tests single segments, but "
            f"criterion={identifier.criterion_!r} tests pairs of them: use criterion='direct' or "
            "independence_test='auto'."
        )
    if identifier.conditioning == "band":
        raise ValueError(
            "conditioning='band' contradicts independence_test='robust', whose tests condition on "
            "all other steps: use conditioning='auto', or independence_test='wilks'."
        )
    if data.X is None and data.lifted is None:
        raise ValueError(
            "independence_test='robust' requires sequences in memory, as the basis functions of "
            f"{data.n_timesteps} steps have too many products: use independence_test='auto'."
        )


def check_evidence(
    data: SegmentedData, result: Any, targets: TaskTargets | None, *, partial: bool
) -> None:
    """Raise without sufficient sequences for any test, and warn of weak evidence.

    A ``partial_fit`` may get more sequences later.
    """
    if result.model is not None and not result.structure.any():
        warn(
            "No task was found. Tasks that are neither observed nor the reason why the "
            "sequences were recorded cannot be detected without y: pass y, or only sequences "
            "whose tasks succeeded."
        )
    if partial or result.tests is None:
        return
    if result.tests.flag.size and (result.tests.flag & ResultFlag.TOO_FEW_SAMPLES).all():
        raise TooFewSequencesError(
            f"X has {data.moments.n} sequences, which are too few for every test, or not enough of "
            "them are complete: use more sequences, fewer features (reduce them first) or "
            f"segment_steps='last'.{UNEQUAL if data.has_missing else ''}"
        )
    learned = np.full(result.structure.shape[1], True) if targets is None else targets.learned
    few = (result.n_sequences < FEW_SEQUENCES) & learned
    if data.has_missing and few.any():
        warn(
            f"Steps are missing: the tests of {few.any(axis=1).sum()} of "
            f"{len(data.segments)} segments use fewer than {FEW_SEQUENCES} sequences "
            f"(fewest: {result.n_sequences[:, learned].min()}).{UNEQUAL}"
        )
    if result.pairs is not None:
        return
    untested = ~result.tests.informative & learned
    if result.between_groups is not None and result.between_groups.any():
        _warn_of_traits(result.between_groups, untested, [] if targets is None else targets.names)
        untested = untested & ~result.between_groups
    if untested.any():
        _warn_of_untested(data.segments[:, 0], untested, learned)
    if result.conditioning == "window":
        is_flat = data.n_features == 1
        warn(
            f"{data.moments.n} sequences are few for {data.n_timesteps} steps: each segment was "
            "tested given the nearest steps only, not all others (conditioning_='window'), so that "
            "dependence on steps far away may be mistaken for its own."
            + (" A flat X has one step per column, unless n_timesteps is given." if is_flat else "")
        )


def _warn_of_traits(traits: np.ndarray, untested: np.ndarray, task_names: list[str]) -> None:
    names = [name for name, is_trait in zip(task_names, traits, strict=True) if is_trait]
    how = "were tested between groups, on the means of each group"
    if untested[:, traits].all():
        how = f"were not tested, which takes at least {MIN_GROUPS_BETWEEN} groups"
    warn(f"Tasks {names} do not vary within groups: they {how}.")


def _warn_of_untested(starts: np.ndarray, untested: np.ndarray, learned: np.ndarray) -> None:
    first_steps = starts[untested.any(axis=1)].tolist()
    listed = ", ".join(map(str, first_steps[:MAX_LISTED]))
    more = ", ..." if len(first_steps) > MAX_LISTED else ""
    for_none = (untested[:, learned].all(axis=1) == untested.any(axis=1)).all()
    whom = "any task" if for_none else "all tasks"
    warn(
        f"{len(first_steps)} of {len(starts)} segments could not be tested for {whom}, those from "
        f"step {listed}{more}: their features are constant, do not change over steps, are "
        "determined by other steps, or are observed in too few sequences. This is not evidence for "
        "irrelevance; tested_ marks the steps that were tested."
    )


# Its products are small: a second thread costs more than it saves, and changes the last bits.
@threadpool_limits.wrap(limits=1, user_api="blas")
def robust_tests(
    data: SegmentedData, blocks: np.ndarray, identifier: Any
) -> tuple[IndependenceResult, str, np.ndarray]:
    """Test segments given the other steps: shape (n_segments, n_tasks).

    Also returns the steps that were conditioned on, and the tasks that groups determine.
    """
    own = [block[block >= 0] for block in blocks]
    if data.lifted is not None:
        scores = data.lifted.scores(own)
        all_sequences = np.full((len(own), 1), int(data.moments.n))
        return _as_result(scores, all_sequences), scores.conditioning, scores.between_groups
    assert data.X is not None
    assert data.tasks is not None
    rows = data.rows
    X = data.X[rows].astype(np.float64).reshape(-1, data.n_timesteps, data.n_features)
    Y, columns = one_against_rest(data.tasks[rows], data.task_columns - data.X.shape[1])
    scores = robust_scores(
        X,
        Y,
        blocks=own,
        task_columns=columns,
        groups=None if data.groups is None else data.groups[rows],
        weights=None if data.weights is None else np.outer(data.weights[rows], np.ones(Y.shape[1])),
        n_components=identifier.n_components,
        conditioning=identifier.conditioning,
    )
    # Only sequences that have all steps of a segment are evidence for or against it.
    observed = np.isfinite(X).all(axis=2)
    counts = np.ones(len(X), dtype=int) if data.weights is None else data.weights[rows]
    n_sequences = np.array([counts @ observed[:, steps].all(axis=1) for steps in own])[:, None]
    return _as_result(scores, n_sequences), scores.conditioning, scores.between_groups


def _as_result(scores: RobustScores, n_sequences: np.ndarray) -> IndependenceResult:
    untested = np.where(
        n_sequences < MIN_SEQUENCES, ResultFlag.TOO_FEW_SAMPLES, ResultFlag.DEGENERATE
    )
    return IndependenceResult(
        statistic=scores.statistics,
        pvalue=scores.pvalues,
        effect_size=scores.effect_sizes,
        df=np.full((*scores.pvalues.shape, 2), np.nan),
        n=np.broadcast_to(n_sequences, scores.pvalues.shape),
        flag=np.where(scores.tested, ResultFlag.OK, untested).astype(np.uint8),
    )


def one_against_rest(tasks: np.ndarray, task_columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the indicator of the first class to tasks of three classes and more.

    The tests would otherwise depend on the class without an indicator.
    """
    wide = (task_columns >= 0).sum(axis=1) > 1
    added = np.full((len(task_columns), 1), -1)
    added[wide, 0] = tasks.shape[1] + np.arange(wide.sum())
    firsts = [1 - tasks[:, own[own >= 0]].sum(axis=1) for own in task_columns[wide]]
    columns = np.column_stack([tasks, *firsts])
    return columns, np.hstack([task_columns.clip(min=-1), added])


def segments_given_rest(
    data: SegmentedData, blocks: np.ndarray, test: BaseIndependenceTest | None, *, required: bool
) -> IndependenceResult | None:
    """Test segments given all other steps; None if there are too few sequences for that."""
    x, y = to_columns(blocks, data.n_features), data.task_columns
    test = _default_test(x, y) if test is None else test
    states = np.arange(data.n_timesteps * data.n_features)
    enough = data.moments.n >= SEQUENCES_PER_COLUMN * len(states)
    result = None
    is_simple = isinstance(test, CovarianceTest) and not data.has_missing
    if is_simple and isinstance(data.moments, Moments) and (enough or required):
        result = test.test_given_rest(data.moments, x, y, states)
    if result is None and required:
        raise ValueError(
            "conditioning='all' needs a test from one covariance ('fisher_z' or 'wilks'), "
            "sequences without missing steps, features that do not determine each other, and "
            "a covariance of all steps that is not too large: use conditioning='band'."
        )
    return result


def segments_given_band(
    data: SegmentedData, blocks: np.ndarray, bands: np.ndarray, test: BaseIndependenceTest | None
) -> IndependenceResult:
    """Test segments given their band: shape (n_segments, n_tasks)."""
    n_segments, n_tasks = len(data.segments), len(data.task_columns)
    x, z = np.repeat(blocks, n_tasks, axis=0), np.repeat(bands, n_tasks, axis=0)
    y = np.tile(data.task_columns, (n_segments, 1))
    return run_tests(data, test, x, y, z).reshape(n_segments, n_tasks)


def _default_test(x: np.ndarray, y: np.ndarray) -> BaseIndependenceTest:
    """Return the test for "auto": Fisher's z exists for one column against one only."""
    return FisherZ() if x.shape[1] == y.shape[1] == 1 else Wilks()


def run_tests(
    data: SegmentedData,
    test: BaseIndependenceTest | None,
    x_steps: np.ndarray,
    y: np.ndarray,
    z_steps: np.ndarray,
    given: np.ndarray | None = None,
) -> IndependenceResult:
    """Run tests of steps against columns, given steps and further columns."""
    x = to_columns(x_steps, data.n_features)
    z = to_columns(z_steps, data.n_features)
    test = _default_test(x, y) if test is None else test
    if isinstance(test, CovarianceTest) and not data.has_missing:
        if isinstance(data.moments, Moments):
            return test.test_many(data.moments, x, y, z, given=given)
        return _run_on_columns(test, data.moments, x, y, z, given)
    if data.data is None:
        raise ValueError(
            f"{test} requires in-memory data, but of batches and of Dask arrays only the "
            "covariance is kept: use independence_test='fisher_z' or 'wilks'."
        )
    if data.has_missing:
        return _run_complete_cases(test, data, x, y, z, given)
    return test.test_many(data.data, x, y, z, given=given)


def _run_on_columns(
    test: CovarianceTest,
    moments: WideMoments,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    given: np.ndarray | None,
) -> IndependenceResult:
    """Run tests from the covariances of the columns of a few tests each."""
    size = max(1, COLUMNS_AT_ONCE // (x.shape[1] + y.shape[1] + z.shape[1]))
    parts, exhausted = [], dict[bytes, bool]()
    for start in range(0, len(x), size):
        sides = [side[start : start + size] for side in (x, y, z)]
        if size == 1 and z.shape[1] >= len(moments.rows) - 2:
            # Wide steps have as many tests as there are tasks for the same condition.
            key = sides[2].tobytes()
            if key not in exhausted:
                exhausted[key] = _is_interpolated(moments, sides[2][0])
            if exhausted[key]:
                shape = (1,) if given is None else (1, len(given))
                few = ResultFlag.TOO_FEW_SAMPLES
                parts.append(IndependenceResult.no_evidence(shape, moments.n, few))
                continue
        if given is not None:
            sides.append(given)
        involved = np.unique(np.concatenate([side.ravel() for side in sides]))
        involved = involved[involved >= 0]
        # Columns are renumbered within the involved ones; -1 (absent) stays.
        local = [np.where(s < 0, -1, np.searchsorted(involved, s)) for s in sides]
        extra = local.pop() if given is not None else None
        parts.append(test.test_many(moments.columns(involved), *local, given=extra))
    return IndependenceResult.concatenate(parts)


def _is_interpolated(moments: WideMoments, columns: np.ndarray) -> bool:
    """Return whether some columns leave no variance of any variable in these sequences."""
    rows = moments.rows_of(columns[columns >= 0])
    rows = rows - rows.mean(axis=0)
    rows = rows / np.maximum(rows.std(axis=0), 1e-300)
    return bool(np.linalg.matrix_rank(rows @ rows.T, hermitian=True) >= len(rows) - 2)


def _run_complete_cases(
    test: BaseIndependenceTest,
    segmented: SegmentedData,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    given: np.ndarray | None,
) -> IndependenceResult:
    """Run each test on the sequences that have all of its columns."""
    data, weights = segmented.data, segmented.weights
    assert data is not None
    missing = np.isnan(data)
    weights = None if weights is None else weights[segmented.rows]
    # Tests of the same columns share their sequences and are run together.
    sets, group = np.unique(np.hstack([x, y, z]), axis=0, return_inverse=True)
    group = group.ravel()
    shape = (len(x),) if given is None else (len(x), len(given))
    parts = [IndependenceResult.no_evidence((0, *shape[1:]), 0, ResultFlag.TOO_FEW_SAMPLES)]
    for number, columns in enumerate(sets):
        tests = np.flatnonzero(group == number)
        involved = columns if given is None else np.append(columns, given)
        involved = np.unique(involved[involved >= 0])
        rows = ~missing[:, involved].any(axis=1)
        if rows.sum() < 2:
            size, n_complete = (len(tests), *shape[1:]), int(rows.sum())
            few = ResultFlag.TOO_FEW_SAMPLES
            parts.append(IndependenceResult.no_evidence(size, n_complete, few))
            continue
        # Columns are renumbered within the involved ones; -1 (absent) indexes the last entry.
        local = np.full(data.shape[1] + 1, -1)
        local[involved] = np.arange(len(involved))
        sides = [local[side[tests]] for side in (x, y, z)]
        extra = None if given is None else local[given]
        columns = data[np.ix_(rows, involved)]
        source = columns if weights is None else Moments.from_data(columns, weights[rows])
        parts.append(test.test_many(source, *sides, given=extra))
    # The inverse of the order in which the groups were run.
    order = np.argsort(np.argsort(group, kind="stable"), kind="stable")
    return IndependenceResult.concatenate(parts)[order]


def evidence_frame(identifier: Any) -> Any:
    """Return the evidence as a data frame, with one row per segment and task."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install pandas.") from error
    n_segments = len(identifier.segments_)
    columns = {
        "relevant": identifier.structure_,
        "effect_size": identifier.effect_sizes_,
        "statistic": identifier.statistics_,
        "pvalue": identifier.pvalues_,
        "adjusted_pvalue": identifier.adjusted_pvalues_,
        "n_sequences": identifier.n_sequences_,
        "selection_frequency": identifier.selection_frequency_,
    }
    places = {
        "task": np.repeat(identifier.task_names_, n_segments),
        "segment": np.tile(np.arange(n_segments), identifier.n_tasks_),
        "start": np.tile(identifier.segments_[:, 0], identifier.n_tasks_),
        "stop": np.tile(identifier.segments_[:, 1], identifier.n_tasks_),
    }
    return pd.DataFrame(places | {name: values.T.ravel() for name, values in columns.items()})
