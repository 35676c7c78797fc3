"""Tests that need the samples, not only their covariance: one call a test."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from .._data.validation import check_numbers
from .._stats.smoothing import standardize
from ._base import BaseIndependenceTest, IndependenceResult, ResultFlag
from ._covariance import RANK_TOLERANCE, as_sets

__all__ = ["SampledTest", "TripleTest", "Triples", "answer", "not_explained"]

Triples = tuple[np.ndarray, np.ndarray, np.ndarray]

# Tests are handed out in at most this many portions: threads are limited once a portion.
MAX_PORTIONS = 64


class TripleTest(BaseIndependenceTest):
    """Base of the tests that need samples in memory, in which further sets are part of z."""

    def test_many(
        self,
        data: ArrayLike,
        x: ArrayLike,
        y: ArrayLike,
        z: ArrayLike | None = None,
        *,
        given: ArrayLike | None = None,
    ) -> IndependenceResult:
        """Test many triples; see :meth:`BaseIndependenceTest.test_many`.

        Raises
        ------
        ValueError
            If the data have NaN or infinite values, or a column is out of range.
        """
        self._validate_params()
        samples = check_numbers(data, "data")
        *sides, extra = as_sets(x, y, z, given, n_columns=samples.shape[1])
        shape = len(sides[0]), len(extra)
        left, right, shared = (np.repeat(columns, shape[1], axis=0) for columns in sides)
        shared = np.hstack([shared, np.tile(extra, (shape[0], 1))])
        results = self._run(samples, (left, right, shared))
        return results if given is None else results.reshape(*shape)

    @abstractmethod
    def _run(self, data: np.ndarray, triples: Triples) -> IndependenceResult:
        """Test all triples."""


class SampledTest(TripleTest):
    """Base of the tests that look at the samples themselves.

    A subclass implements :meth:`_test` for one triple, and has the parameters
    ``n_jobs`` and ``random_state``. Every test of a call has a random stream of its
    own, so that the answers are the same, bit by bit, for any number of workers.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    n_jobs: int | None
    random_state: int | np.random.RandomState | None

    def _run(self, data: np.ndarray, triples: Triples) -> IndependenceResult:
        self._check_size(len(data), len(triples[0]))
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        n_tests = len(triples[0])
        seeds = np.random.SeedSequence(seed).spawn(n_tests)
        portions = np.array_split(np.arange(n_tests), min(n_tests, MAX_PORTIONS) or 1)
        answers = Parallel(n_jobs=self.n_jobs)(
            delayed(_test_portion)(
                self, data, tuple(side[rows] for side in triples), [seeds[i] for i in rows]
            )
            for rows in portions
        )
        # An empty start, as there may be no test at all.
        nothing = IndependenceResult.no_evidence((0,), len(data), ResultFlag.OK)
        results = [result for portion in answers for result in portion]
        return IndependenceResult.concatenate(results) if results else nothing

    def _test_columns(
        self,
        data: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        z: np.ndarray,
        seed: np.random.SeedSequence,
    ) -> IndependenceResult:
        blocks = [standardize(data[:, columns[columns >= 0]]) for columns in (x, y, z)]
        sides = [not_explained(block, blocks[2]) for block in blocks[:2]]
        n, p, q, r = len(data), sides[0].shape[1], sides[1].shape[1], blocks[2].shape[1]
        if min(p, q) == 0:
            return IndependenceResult.no_evidence((), n, ResultFlag.DEGENERATE)
        if n < self._fewest_samples(p, q, r):
            return IndependenceResult.no_evidence((), n, ResultFlag.TOO_FEW_SAMPLES)
        return self._test(sides[0], sides[1], blocks[2], np.random.default_rng(seed))

    @abstractmethod
    def _test(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, rng: np.random.Generator
    ) -> IndependenceResult:
        """Test one triple.

        Parameters
        ----------
        x, y : ndarray of shape (n_samples, p) and (n_samples, q)
            The sides, columns of zero mean and unit variance that ``z`` does not
            determine linearly; at least one each.
        z : ndarray of shape (n_samples, r)
            Likewise standardized, without constant columns; r may be 0.
        rng : numpy.random.Generator
            The test's own randomness.

        Returns
        -------
        result : IndependenceResult
            Scalars, see :func:`answer`.
        """

    def _fewest_samples(self, p: int, q: int, r: int) -> int:
        """Return how many samples a test of these widths needs."""
        return max(10, 2 * (p + q + r))

    def _check_size(self, n_samples: int, n_tests: int) -> None:
        """Refuse, or warn of, a number of samples or tests that takes too long."""


def answer(
    n: int, statistic: float, pvalue: float, effect_size: float, *, signed: bool = False
) -> IndependenceResult:
    """Return the answer of one test as plain scalars."""
    return IndependenceResult(
        statistic=float(statistic),
        pvalue=float(np.clip(pvalue, 0.0, 1.0)),
        effect_size=float(np.clip(effect_size, -1.0, 1.0)),
        df=np.full(2, np.nan),
        n=n,
        flag=int(ResultFlag.OK),
        signed=signed,
    )


def _test_portion(
    test: SampledTest, data: np.ndarray, triples: Triples, seeds: list[np.random.SeedSequence]
) -> list[IndependenceResult]:
    # The number of threads changes the order of sums, hence the last bits.
    with threadpool_limits(1, user_api="blas"):
        return [
            test._test_columns(data, x, y, z, seed)
            for x, y, z, seed in zip(*triples, seeds, strict=True)
        ]


def not_explained(side: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the columns of a side that are no linear combinations of ``z``."""
    coefficients = np.linalg.lstsq(z, side, rcond=None)[0]
    left = ((side - z @ coefficients) ** 2).mean(axis=0)
    return side[:, left > RANK_TOLERANCE]
