"""The criteria that decide which segments a task has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..exceptions import warn
from ..independence._base import BaseIndependenceTest, IndependenceResult, ResultFlag
from ..independence._covariance import CovarianceTest
from ..independence._gaussian import FisherZ, Wilks
from ._segmented import SegmentedData
from ._segments import collider_sets, direct_sets, evidence_blocks, to_columns
from .aggregation.base import BaseAggregation, Correction, to_matrix

__all__ = ["Evidence", "collider_criterion", "direct_criterion"]

# With fewer, conditioning on all steps costs more power than it brings.
SEQUENCES_PER_COLUMN = 5


@dataclass(frozen=True)
class Evidence:
    """Evidence for each segment and task, arrays of shape (n_segments, n_tasks).

    Attributes
    ----------
    statistics, pvalues, adjusted_pvalues, effect_sizes : ndarray
        Of the segment's test, or pooled over its pairs.
    n_sequences : ndarray of int
        Sequences that the test used, or the fewest of any of its pairs.
    tests : IndependenceResult or None
        All tests: of shape (n_segments, n_tasks), or (n_pairs, n_tasks).
    pairs : ndarray of shape (n_pairs, 2) or None
        The segments of each pair.
    """

    statistics: np.ndarray
    pvalues: np.ndarray
    adjusted_pvalues: np.ndarray
    effect_sizes: np.ndarray
    n_sequences: np.ndarray
    tests: IndependenceResult | None = None
    pairs: np.ndarray | None = None


def direct_criterion(
    problem: SegmentedData,
    segment_steps: str,
    test: BaseIndependenceTest | None,
    correct: Correction,
    conditioning: str,
) -> Evidence:
    """Test every segment against every task, given the segment's band or all other steps."""
    tests = None
    if conditioning != "band":
        tests = _run_given_rest(problem, segment_steps, test, insist=conditioning == "all")
    if tests is None:
        n_segments, n_tasks = len(problem.segments), len(problem.task_columns)
        x, task, z = direct_sets(problem.segments, problem.n_timesteps, segment_steps, n_tasks)
        flat = _run(problem, test, x, problem.task_columns[task], z)
        tests = flat.reshape(n_segments, n_tasks)
    return Evidence(
        tests.statistic,
        tests.pvalue,
        correct(tests.pvalue),
        np.abs(tests.effect_size),
        np.broadcast_to(tests.n, tests.pvalue.shape),
        tests,
    )


def collider_criterion(
    problem: SegmentedData,
    segment_steps: str,
    test: BaseIndependenceTest | None,
    correct: Correction,
    aggregation: str | BaseAggregation,
) -> Evidence:
    """Test every pair of segments given their band and a task, and pool the pairs."""
    rule = BaseAggregation.resolve(aggregation, argument="aggregation")
    n_segments = len(problem.segments)
    pairs, x, y, z = collider_sets(problem.segments, problem.n_timesteps, segment_steps)
    if not len(pairs):
        warn(
            f"criterion='collider' compares pairs of segments, but {n_segments} segments with "
            f"segment_steps={segment_steps!r} have no pair to compare; use criterion='direct'."
        )
    y = to_columns(y, problem.n_features)
    tests = _run(problem, test, x, y, z, given=problem.task_columns)
    statistics, pvalues, adjusted = rule.aggregate(tests, pairs, n_segments, correct)
    strongest = to_matrix(np.abs(tests.effect_size), pairs, n_segments, fill=0.0).max(axis=0)
    n_used = np.broadcast_to(tests.n, tests.pvalue.shape)
    fewest = to_matrix(n_used, pairs, n_segments, fill=problem.moments.n).min(axis=0)
    return Evidence(statistics, pvalues, adjusted, strongest, fewest.astype(int), tests, pairs)


def _run_given_rest(
    problem: SegmentedData, segment_steps: str, test: BaseIndependenceTest | None, *, insist: bool
) -> IndependenceResult | None:
    """Return the tests given all other steps, or None where these are too many."""
    blocks, _ = evidence_blocks(problem.segments, problem.n_timesteps, segment_steps)
    x, y = to_columns(blocks, problem.n_features), problem.task_columns
    test = _resolve(test, x, y)
    states = np.arange(problem.n_timesteps * problem.n_features)
    enough = problem.moments.n >= SEQUENCES_PER_COLUMN * len(states)
    result = None
    if isinstance(test, CovarianceTest) and not problem.has_missing and (enough or insist):
        result = test.test_given_rest(problem.moments, x, y, states)
    if result is None and insist:
        raise ValueError(
            "conditioning='all' needs a test from one covariance ('fisher_z' or 'wilks'), "
            "sequences without missing steps, and features that do not determine each other: "
            "use conditioning='band'."
        )
    return result


def _resolve(
    test: BaseIndependenceTest | None, x: np.ndarray, y: np.ndarray
) -> BaseIndependenceTest:
    if test is not None:
        return test
    return FisherZ() if x.shape[1] == y.shape[1] == 1 else Wilks()


def _run(
    problem: SegmentedData,
    test: BaseIndependenceTest | None,
    x_steps: np.ndarray,
    y: np.ndarray,
    z_steps: np.ndarray,
    given: np.ndarray | None = None,
) -> IndependenceResult:
    x = to_columns(x_steps, problem.n_features)
    z = to_columns(z_steps, problem.n_features)
    test = _resolve(test, x, y)
    if isinstance(test, CovarianceTest) and not problem.has_missing:
        return test.test_many(problem.moments, x, y, z, given=given)
    if problem.data is None:
        raise ValueError(
            f"{test} looks at the sequences again for each test, but of batches and of Dask "
            "arrays only the covariance is kept: use independence_test='fisher_z' or 'wilks'."
        )
    if problem.has_missing:
        return _run_complete_cases(test, problem.data, x, y, z, given)
    return test.test_many(problem.data, x, y, z, given=given)


def _run_complete_cases(
    test: BaseIndependenceTest,
    data: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    given: np.ndarray | None,
) -> IndependenceResult:
    """Run each test on the sequences that have all of its columns."""
    missing = np.isnan(data)
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
        local = np.full(data.shape[1] + 1, -1)
        local[involved] = np.arange(len(involved))
        sides = [local[side[tests]] for side in (x, y, z)]
        extra = None if given is None else local[given]
        parts.append(test.test_many(data[np.ix_(rows, involved)], *sides, given=extra))
    order = np.argsort(np.argsort(group, kind="stable"), kind="stable")
    return IndependenceResult.concatenate(parts)[order]
