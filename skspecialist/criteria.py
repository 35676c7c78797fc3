"""The criteria that decide which segments a task has."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from .aggregation import BaseAggregation
from .aggregation.base import Correction, to_matrix
from .exceptions import SpecialistWarning
from .independence import BaseIndependenceTest, IndependenceResult, Moments, ResultFlag
from .independence.covariance import CovarianceTest
from .segments import collider_sets, direct_sets, to_columns

__all__ = ["Evidence", "SegmentedData", "collider_criterion", "direct_criterion"]


@dataclass(frozen=True)
class SegmentedData:
    """Flat sequences and their tasks in one matrix, and where things are in it.

    Attributes
    ----------
    data : ndarray of shape (n_sequences, n_timesteps * n_features + n_task_columns)
        The sequences, then the tasks.
    moments : Moments
        Of ``data``.
    segments : ndarray of shape (n_segments, 2)
        First step of each segment and the step after its last.
    n_features : int
        Features of a step.
    task_columns : ndarray of shape (n_tasks, width)
        Columns of each task, -1 where it has fewer.
    """

    data: np.ndarray
    moments: Moments
    segments: np.ndarray
    n_features: int
    task_columns: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """Evidence for each segment and task, arrays of shape (n_segments, n_tasks).

    Attributes
    ----------
    statistics, pvalues, adjusted_pvalues, effect_sizes : ndarray
        Of the segment's test, or pooled over its pairs.
    tests : IndependenceResult
        All tests: of shape (n_segments, n_tasks), or (n_pairs, n_tasks).
    pairs : ndarray of shape (n_pairs, 2) or None
        The segments of each pair.
    """

    statistics: np.ndarray
    pvalues: np.ndarray
    adjusted_pvalues: np.ndarray
    effect_sizes: np.ndarray
    tests: IndependenceResult
    pairs: np.ndarray | None = None


def direct_criterion(
    problem: SegmentedData,
    evidence: str,
    test: str | BaseIndependenceTest,
    correct: Correction,
) -> Evidence:
    """Test every segment against every task, given the segment's band."""
    n_segments, n_tasks = len(problem.segments), len(problem.task_columns)
    x, task, z = direct_sets(problem.segments, evidence, n_tasks)
    flat = _run(problem, test, x, problem.task_columns[task], z)
    tests = flat[np.arange(len(x)).reshape(n_segments, n_tasks)]
    return Evidence(
        tests.statistic, tests.pvalue, correct(tests.pvalue), np.abs(tests.effect_size), tests
    )


def collider_criterion(
    problem: SegmentedData,
    evidence: str,
    test: str | BaseIndependenceTest,
    correct: Correction,
    aggregation: str | BaseAggregation,
) -> Evidence:
    """Test every pair of segments given their band and a task, and pool the pairs."""
    rule = BaseAggregation.resolve(aggregation, argument="aggregation")
    n_segments = len(problem.segments)
    pairs, x, y, z = collider_sets(problem.segments, evidence)
    if not len(pairs):
        warnings.warn(
            f"criterion='collider' compares pairs of segments, but {n_segments} segments with "
            f"evidence={evidence!r} have no pair to compare; use criterion='direct'.",
            SpecialistWarning,
            stacklevel=5,
        )
    y = to_columns(y, problem.n_features)
    tests = _run(problem, test, x, y, z, given=problem.task_columns)
    statistics, pvalues, adjusted = rule.aggregate(tests, pairs, n_segments, correct)
    strongest = to_matrix(np.abs(tests.effect_size), pairs, n_segments, fill=0.0).max(axis=0)
    return Evidence(statistics, pvalues, adjusted, strongest, tests, pairs)


def _run(
    problem: SegmentedData,
    test: str | BaseIndependenceTest,
    x_steps: np.ndarray,
    y: np.ndarray,
    z_steps: np.ndarray,
    given: np.ndarray | None = None,
) -> IndependenceResult:
    x = to_columns(x_steps, problem.n_features)
    z = to_columns(z_steps, problem.n_features)
    if isinstance(test, str) and test == "auto":
        test = "fisher_z" if x.shape[1] == y.shape[1] == 1 else "wilks"
    test = BaseIndependenceTest.resolve(test, argument="independence_test")
    source = problem.moments if isinstance(test, CovarianceTest) else problem.data
    result = test.test_many(source, x, y, z, given=given)
    if result.flag.size and (result.flag & ResultFlag.TOO_FEW_SAMPLES).all():
        width = x.shape[1] + y.shape[1] + z.shape[1] + (0 if given is None else given.shape[1])
        raise ValueError(
            f"{result.n} sequences are too few for every test, which involves up to {width} "
            "columns at once: give more sequences, fewer features (reduce them first) or "
            "evidence='representative'."
        )
    return result
