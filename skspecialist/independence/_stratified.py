"""Tests within the strata of discrete conditioning variables."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from .._base.sklearn_compat import Interval
from .._stats.pvalues import fisher_combination
from ._base import BaseIndependenceTest, IndependenceResult, ResultFlag
from ._sampled import Triples, TripleTest

__all__ = ["Stratified"]

NO_INFORMATION = ResultFlag.DEGENERATE | ResultFlag.TOO_FEW_SAMPLES


class Stratified(TripleTest):
    r"""Another test within each stratum of the discrete columns to condition on.

    A class label among the conditioning columns may change everything: means, scales,
    signs of relations. Columns of few distinct values define strata, one for each
    combination of values that occurs; the base test runs within each of them, given
    the columns that are not discrete, and the p-values are pooled by Fisher's rule,
    :math:`-2 \sum_k \log p_k \sim \chi^2_{2K}`. The strata are independent samples, so
    that the pooled test is as exact as the base test. Fisher's rule sees a dependence
    in a single stratum, or of opposite sign in two, which a sum of signed scores loses.

    Parameters
    ----------
    base : str or BaseIndependenceTest, default="wilks"
        The test within strata.
    max_levels : int, default=10
        Columns with at most so many distinct values are discrete.
    min_samples : int, default=10
        Smaller strata are left out.

    Notes
    -----
    Without discrete columns the answer is that of the base test. ``statistic`` is
    Fisher's, ``df`` is twice the number of strata that took part, without a second;
    ``effect_size`` is the root mean square of the strata's, weighted by their sizes;
    ``flag`` has what all strata share. Strata whose test is degenerate or has too few
    samples do not count; where none is left, the p-value is 1.

    The cost is that of the base test for each stratum. The samples of a stratum are
    few where discrete columns are many: each binary one doubles the strata.

    The size is that of the base test within strata: with "wilks" it is exact for
    relations that are linear and Gaussian within each stratum, whatever the label does
    to means, scales and coefficients.

    References
    ----------
    .. [1] R. A. Fisher, "Statistical Methods for Research Workers", 4th edition, 1932.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.independence import Stratified, Wilks
    >>> rng = np.random.default_rng(1)
    >>> label = rng.integers(2, size=400)
    >>> x = rng.normal(size=400)
    >>> y = np.where(label == 1, x, -x) + rng.normal(size=400)
    >>> bool(Wilks().test(x, y, label).pvalue > 0.05)
    True
    >>> bool(Stratified().test(x, y, label).pvalue < 1e-6)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "base": [str, BaseIndependenceTest],
        "max_levels": [Interval(Integral, 0, None, closed="left")],
        "min_samples": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        base: str | BaseIndependenceTest = "wilks",
        *,
        max_levels: int = 10,
        min_samples: int = 10,
    ) -> None:
        self.base = base
        self.max_levels = max_levels
        self.min_samples = min_samples

    def _run(self, data: np.ndarray, triples: Triples) -> IndependenceResult:
        """Run together the tests whose discrete columns are the same."""
        test = BaseIndependenceTest.resolve(self.base, argument="base")
        x, y, z = triples
        few = np.array([len(np.unique(column)) <= self.max_levels for column in data.T])
        # One entry more, for the -1 that stands for no column.
        discrete = np.where(np.append(few, False)[z], z, -1)
        rest = np.where(discrete < 0, z, -1)
        sets, group = np.unique(np.sort(discrete, axis=1), axis=0, return_inverse=True)
        parts: list[tuple[np.ndarray, IndependenceResult]] = []
        for g, columns in enumerate(sets):
            rows = np.flatnonzero(group.ravel() == g)
            triple = (x[rows], y[rows], rest[rows])
            parts.append((rows, self._pool(test, data, columns[columns >= 0], triple)))
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        return IndependenceResult.concatenate([result for _, result in parts])[order]

    def _pool(
        self,
        test: BaseIndependenceTest,
        data: np.ndarray,
        columns: np.ndarray,
        triple: Triples,
    ) -> IndependenceResult:
        if not len(columns):
            return test.test_many(data, *triple)
        _, stratum = np.unique(data[:, columns], axis=0, return_inverse=True)
        counts = np.bincount(stratum.ravel())
        results = [
            test.test_many(data[stratum.ravel() == k], *triple)
            for k in np.flatnonzero(counts >= self.min_samples)
        ]
        return _fisher(results, len(triple[0]), len(data))


def _fisher(results: list[IndependenceResult], n_tests: int, n: int) -> IndependenceResult:
    """Pool the strata's answers to the same tests."""
    if not results:
        return IndependenceResult.no_evidence((n_tests,), n, ResultFlag.TOO_FEW_SAMPLES)
    flags = np.stack([result.flag for result in results])
    counts = (flags & NO_INFORMATION) == 0
    pvalues = np.stack([result.pvalue for result in results])
    statistic, pvalue = fisher_combination(np.where(counts, pvalues, np.nan))
    n_strata = counts.sum(axis=0)
    sizes = np.array([result.n for result in results], dtype=float)[:, None] * counts
    squares = np.stack([result.effect_size for result in results]) ** 2
    return IndependenceResult(
        statistic=statistic,
        pvalue=pvalue,
        effect_size=np.sqrt((sizes * squares).sum(axis=0) / np.maximum(sizes.sum(axis=0), 1)),
        df=np.stack([2.0 * n_strata, np.full(n_tests, np.nan)], axis=1),
        n=n,
        flag=np.bitwise_and.reduce(flags, axis=0),
    )
