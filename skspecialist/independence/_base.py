"""Base class of conditional independence tests, and their results."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from .._base.estimator import Part
from .._data.validation import as_array, check_numbers, check_same_length
from .._stats.pvalues import SMALLEST, normal_score

__all__ = ["BaseIndependenceTest", "IndependenceResult", "ResultFlag"]

# Fields of a result that have one entry per test.
ARRAYS = ("statistic", "pvalue", "effect_size", "df", "flag")


class ResultFlag(IntFlag):
    """Special conditions of a test, which can be combined."""

    OK = 0
    #: Some columns were combinations of others; the degrees of freedom account for it.
    RANK_DEFICIENT = 1
    #: x or y is fully determined by z, or empty: p-value 1.
    DEGENERATE = 2
    #: x and y determine each other given z: the statistic is clipped to a finite value.
    DETERMINISTIC = 4
    #: Fewer samples than the test needs: p-value 1.
    TOO_FEW_SAMPLES = 8


@dataclass(frozen=True)
class IndependenceResult:
    """Result of one conditional-independence test, or arrays of results.

    Attributes
    ----------
    statistic : float or ndarray
        The test's own statistic, see its docstring.
    pvalue : float or ndarray
        Probability, under independence, of a statistic at least as extreme.
    effect_size : float or ndarray
        Strength of the dependence on the scale of a (partial, canonical) correlation,
        in [0, 1], or in [-1, 1] where the statistic is signed.
    df : ndarray of shape (..., 2)
        Degrees of freedom of numerator and denominator, NaN where there are none.
    n : int or ndarray of int
        Number of samples that the test used.
    flag : int or ndarray of int
        A :class:`ResultFlag`.
    signed : bool
        Whether the sign of ``statistic`` is the direction of the dependence.
    """

    statistic: Any
    pvalue: Any
    effect_size: Any
    df: np.ndarray
    n: Any
    flag: Any
    signed: bool = False

    def __getitem__(self, key: Any) -> Self:
        """Return some of the results."""
        return self._map(lambda array: array[key])

    def reshape(self, *shape: int) -> Self:
        """Return one-dimensional results in another shape.

        Parameters
        ----------
        *shape : int
            The new shape.

        Returns
        -------
        result : IndependenceResult
            The same results.
        """
        return self._map(lambda array: array.reshape(*shape, *array.shape[1:]))

    def _map(self, function: Callable[[np.ndarray], Any]) -> Self:
        names = (*ARRAYS, "n") if np.ndim(self.n) else ARRAYS
        return replace(self, **{name: function(getattr(self, name)) for name in names})

    @classmethod
    def no_evidence(cls, shape: tuple[int, ...], n: float, flag: int) -> Self:
        """Return the results where nothing can be tested: p-values of 1.

        Parameters
        ----------
        shape : tuple of int
            Shape of the results.
        n : int
            Number of samples.
        flag : int
            ``ResultFlag.TOO_FEW_SAMPLES`` or ``ResultFlag.DEGENERATE``.

        Returns
        -------
        result : IndependenceResult
            Statistics and effect sizes of 0.
        """
        return cls(
            statistic=np.zeros(shape),
            pvalue=np.ones(shape),
            effect_size=np.zeros(shape),
            df=np.full((*shape, 2), np.nan),
            n=n,
            flag=np.full(shape, int(flag), dtype=np.uint8),
        )

    @classmethod
    def concatenate(cls, results: Sequence[Self]) -> Self:
        """Join results along the first axis; those of single tests along a new one.

        Parameters
        ----------
        results : sequence of IndependenceResult
            Results of the same shape but for the first axis.

        Returns
        -------
        result : IndependenceResult
            All of them; ``n`` is an array where the numbers of samples differ. It is signed
            if all are that have something to test.
        """
        join = np.concatenate if np.ndim(results[0].pvalue) else np.stack
        arrays = {name: join([getattr(result, name) for result in results]) for name in ARRAYS}
        if np.ndim(results[0].n) or len({int(result.n) for result in results}) > 1:
            n = join([np.broadcast_to(r.n, np.shape(r.pvalue)) for r in results])
        else:
            n = results[0].n
        tested = [result for result in results if np.any(result.informative)]
        signed = bool(tested) and all(result.signed for result in tested)
        return cls(**arrays, n=n, signed=signed)

    @property
    def normal_score(self) -> Any:
        """Standard normal under independence: signed, or large for small p-values.

        Zero where there was nothing to test, which is not evidence for independence.
        """
        if self.signed:
            score = np.sign(self.statistic) * norm.isf(np.maximum(self.pvalue, SMALLEST) / 2)
        else:
            score = normal_score(self.pvalue)
        return np.where(self.informative, score, 0.0)

    @property
    def informative(self) -> Any:
        """Whether there was something to test, and samples to do it with."""
        return (self.flag & (ResultFlag.DEGENERATE | ResultFlag.TOO_FEW_SAMPLES)) == 0


class BaseIndependenceTest(Part):
    """Base of all conditional-independence tests.

    A new test is a subclass in a file of its own, and one line in
    ``skspecialist.independence.TESTS`` that gives it a short name. It implements
    :meth:`test_many`; or, from ``SampledTest``, the test of one triple by its samples; or,
    from ``CovarianceTest``, the test of many triples by one covariance, which also serves
    batches and Dask arrays. ``TaskStructureIdentifier`` sets its parameters ``n_jobs`` and
    ``random_state``, if it has them.
    """

    _registry = "skspecialist.independence:TESTS"

    @abstractmethod
    def test_many(
        self,
        data: Any,
        x: ArrayLike,
        y: ArrayLike,
        z: ArrayLike | None = None,
        *,
        given: ArrayLike | None = None,
    ) -> IndependenceResult:
        """Test many triples of column sets of one data matrix.

        Parameters
        ----------
        data : array-like of shape (n_samples, n_columns)
            The data. Tests from one covariance also take :class:`Moments`.
        x, y : array-like of int of shape (n_tests,) or (n_tests, width)
            Columns of the two sides. -1 stands for no column, so that sets of
            different sizes fit one array.
        z : array-like of int of shape (n_tests, width), default=None
            Columns to condition on. None conditions on nothing.
        given : array-like of int of shape (n_given,) or (n_given, width), default=None
            Further column sets; every triple is tested once with each of them added
            to its ``z``. Computations that the tests of a triple share are done once.

        Returns
        -------
        result : IndependenceResult
            Arrays of shape (n_tests,), or (n_tests, n_given).
        """

    def test(self, x: ArrayLike, y: ArrayLike, z: ArrayLike | None = None) -> IndependenceResult:
        """Test whether ``x`` and ``y`` are independent given ``z``.

        Parameters
        ----------
        x, y : array-like of shape (n_samples,) or (n_samples, n_columns)
            The two sides.
        z : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Variables to condition on.

        Returns
        -------
        result : IndependenceResult
            Scalars.

        Raises
        ------
        ValueError
            If an argument has NaN or infinite values, or lengths differ.
        """
        sides = {"x": x, "y": y} if z is None else {"x": x, "y": y, "z": z}
        blocks = [_as_columns(values, name) for name, values in sides.items()]
        check_same_length(**dict(zip(sides, blocks, strict=True)))
        ends = np.cumsum([block.shape[1] for block in blocks])
        # Side by side in one matrix, of which each block is a column set.
        columns = [np.arange(e - b.shape[1], e)[None] for e, b in zip(ends, blocks, strict=True)]
        return self.test_many(np.hstack(blocks), *columns)[0]


def _as_columns(values: ArrayLike, name: str) -> np.ndarray:
    if not hasattr(values, "columns"):
        values = as_array(values, name)
        values = values[:, None] if values.ndim == 1 else values
    return check_numbers(values, name, ensure_min_features=0)
