"""Tests of Gaussian variables with linear relations: Fisher's z and Wilks' lambda."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, ndtr

from ._base import IndependenceResult, ResultFlag
from ._covariance import RANK_TOLERANCE, CovarianceTest, Partial, eliminate, rank

__all__ = ["FisherZ", "Wilks"]

# The largest correlation whose z is finite.
LARGEST_R = 1.0 - 2.0**-53
# Rounding leaves this much of the variance of a column that the other side determines.
SMALLEST_RATIO = 2.0**-53


class FisherZ(CovarianceTest):
    r"""Fisher's z test of the partial correlation of two scalars.

    The statistic is :math:`\sqrt{n - |z| - 3}\,\operatorname{artanh}(r_{xy \cdot z})`,
    standard normal under independence to a very good approximation; the test is
    two-sided. It is exact enough for jointly Gaussian data with linear relations.
    A nonlinear relation between ``z`` and both sides makes it reject although they
    are independent.

    The cost is one covariance of the data and then a few operations a test, whatever
    the number of samples.

    Notes
    -----
    ``df`` is ``(1, n - |z| - 3)``, ``effect_size`` the partial correlation with its sign.
    A constant column, or one that ``z`` determines, gives p-value 1 and the flag
    ``DEGENERATE``; redundant columns of ``z`` count once and are flagged
    ``RANK_DEFICIENT``; a correlation of one in absolute value has the largest finite
    statistic and the flag ``DETERMINISTIC``; fewer than ``|z| + 4`` samples give p-value 1
    and the flag ``TOO_FEW_SAMPLES``.

    References
    ----------
    .. [1] R. A. Fisher, "The distribution of the partial correlation coefficient",
       Metron 3, 1924.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.independence import FisherZ
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=500)
    >>> x, y = z + rng.normal(size=500), z + rng.normal(size=500)
    >>> bool(FisherZ().test(x, y).pvalue < 1e-6), bool(FisherZ().test(x, y, z).pvalue > 0.05)
    (True, True)
    """

    def _decide(self, partial: Partial) -> IndependenceResult:
        if partial.matrix.shape[0] != 2 or partial.p != 1:
            raise ValueError(
                "fisher_z tests one column of x against one of y, got "
                f"{partial.p} against {partial.matrix.shape[0] - partial.p}; use "
                "independence_test='wilks'."
            )
        matrix, rank_given = partial.given()
        (var_x, covariance), var_y = matrix[0], matrix[1, 1]
        degenerate = np.minimum(var_x, var_y) <= RANK_TOLERANCE
        r = np.where(degenerate, 0.0, covariance)
        r /= np.sqrt(np.where(degenerate, 1.0, var_x * var_y))
        # Fisher 1924: given k variables, r of n samples is distributed as r of n - k samples,
        # and artanh(r) has variance 1 / (n - k - 3).
        df = partial.n - partial.rank_z - rank_given - 3
        too_few = df < 1
        clipped = np.clip(r, -LARGEST_R, LARGEST_R)
        statistic = np.sqrt(np.maximum(df, 0)) * np.arctanh(clipped)
        statistic[too_few] = 0.0
        flag = (
            partial.flag(rank_given)
            | degenerate * ResultFlag.DEGENERATE
            | (np.abs(r) >= 1.0 - RANK_TOLERANCE) * ResultFlag.DETERMINISTIC
            | too_few * ResultFlag.TOO_FEW_SAMPLES
        )
        return IndependenceResult(
            statistic=statistic,
            pvalue=2.0 * ndtr(-np.abs(statistic)),
            effect_size=np.clip(r, -1.0, 1.0),
            df=np.stack([np.ones_like(df), df], axis=-1),
            n=partial.n,
            flag=flag,
            signed=True,
        )


class Wilks(CovarianceTest):
    r"""Wilks' lambda test of the partial correlations of two vectors.

    :math:`\Lambda = \det S_{xy \cdot z} / (\det S_{xx \cdot z} \det S_{yy \cdot z})`
    is referred to Rao's F, which is exact when one side has one or two columns. With
    one column against p it is the F test of a regression, with one against one the t
    test of a partial correlation. Any invertible linear map of ``x``, ``y`` or ``z``
    leaves it unchanged.

    It is exact for jointly Gaussian data with linear relations. A nonlinear relation
    between ``z`` and both sides makes it reject although they are independent.

    Notes
    -----
    ``statistic`` is Rao's F, ``df`` its degrees of freedom, ``effect_size`` is
    :math:`\sqrt{1 - \Lambda^{1/s}}` with s the smaller width: the multiple partial
    correlation when one side has one column. Redundant columns on any side count once
    and are flagged ``RANK_DEFICIENT``; a side with nothing left given ``z`` has p-value
    1 and the flag ``DEGENERATE``; fewer samples than columns give p-value 1 and the
    flag ``TOO_FEW_SAMPLES``.

    References
    ----------
    .. [1] S. S. Wilks, "Certain generalizations in the analysis of variance",
       Biometrika 24, 1932.
    .. [2] C. R. Rao, "An asymptotic expansion of the distribution of Wilks'
       criterion", Bulletin of the International Statistical Institute 33, 1951.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.independence import Wilks
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 3))
    >>> y = x[:, :1] + rng.normal(size=(300, 2))
    >>> result = Wilks().test(x, y)
    >>> bool(result.pvalue < 1e-6), result.df.tolist()
    (True, [6.0, 590.0])
    """

    def _decide(self, partial: Partial) -> IndependenceResult:
        # Log Lambda by block determinants, which all sets share; where a set is determined by
        # x or y these are zero, and each set is conditioned on by itself.
        likelihood = _shared_log_lambda(partial)
        if likelihood.irregular.any():
            matrix, rank_given = partial.given()
            likelihood = _log_lambda(matrix, partial.p, rank_given)
        p, q = likelihood.p, likelihood.q
        degenerate = np.minimum(p, q) == 0
        # Degrees of freedom after the mean and the variables conditioned on.
        n_left = partial.n - 1 - partial.rank_z - likelihood.rank_given
        too_few = n_left < np.maximum(p, 1) + np.maximum(q, 1)
        valid = ~degenerate & ~too_few
        statistic, df, effect_size = _rao_f(
            np.where(valid, likelihood.log_lambda, 0.0),
            np.where(valid, p, 1),
            np.where(valid, q, 1),
            np.where(valid, n_left, 2),
        )
        redundant = (p < partial.width_x) | (q < partial.width_y)
        flag = (
            partial.flag(likelihood.rank_given)
            | (~degenerate & redundant) * ResultFlag.RANK_DEFICIENT
            | degenerate * ResultFlag.DEGENERATE
            | (valid & likelihood.irregular) * ResultFlag.DETERMINISTIC
            | too_few * ResultFlag.TOO_FEW_SAMPLES
        )
        return IndependenceResult(
            statistic=statistic,
            pvalue=fdtrc(df[..., 0], df[..., 1], statistic),
            effect_size=effect_size,
            df=df,
            n=partial.n,
            flag=flag,
        )


@dataclass(frozen=True)
class _Likelihood:
    """Log Lambda and the dimensions behind it, arrays of shape (n_given, n_triples).

    ``irregular`` is True where one side determines a part of the other.
    """

    log_lambda: np.ndarray
    p: np.ndarray
    q: np.ndarray
    rank_given: np.ndarray
    irregular: np.ndarray


def _log_lambda(matrix: np.ndarray, p: int, rank_given: np.ndarray) -> _Likelihood:
    """Compute from the covariances given z and each set."""
    # Lambda = det S_(y given x) / det S_yy, each the product of its pivots.
    yy = matrix[p:, p:].copy()
    y_alone = eliminate(yy, len(yy))
    pivots = eliminate(matrix, len(matrix))
    log_lambda, irregular = _log_ratio(pivots[p:], y_alone)
    return _Likelihood(log_lambda, rank(pivots[:p]), rank(y_alone), rank_given, irregular)


def _shared_log_lambda(partial: Partial) -> _Likelihood:
    r"""Compute from the covariances given z alone, which all the sets share.

    With :math:`C_v` the covariance of a set g given z and v, block determinants give
    :math:`\Lambda_{xy \cdot zg} = \Lambda_{xy \cdot z} \det C_{xy} \det C_\emptyset /
    (\det C_x \det C_y)`. This holds as long as g is not determined by x or y.
    """
    p = partial.p
    # In turn: x out of (x, y, g), then y, then y alone out of (y, g); each leaves the covariance
    # of g given those columns in a corner.
    matrix, side, corner_xy = partial.matrix.copy(), partial.side.copy(), partial.corner.copy()
    x_alone = eliminate(matrix, p, side, corner_xy)
    corner_x = corner_xy.copy()
    y_given_x = eliminate(matrix[p:, p:], len(matrix) - p, side[p:], corner_xy)
    yy, corner_y = partial.matrix[p:, p:].copy(), partial.corner.copy()
    y_alone = eliminate(yy, len(yy), partial.side[p:].copy(), corner_y)

    log_lambda, irregular = _log_ratio(y_given_x, y_alone)
    corners = [partial.corner.copy(), corner_xy, corner_x, corner_y]
    pivots = [eliminate(corner, len(corner)) for corner in corners]
    ranks = [rank(pivot) for pivot in pivots]
    # Determinants of the corners: C of nothing, of (x, y), of x and of y.
    logs = [np.log(np.where(pivot > 0, pivot, 1.0)).sum(axis=0) for pivot in pivots]
    return _Likelihood(
        log_lambda + logs[0] + logs[1] - logs[2] - logs[3],
        rank(x_alone) + ranks[2] - ranks[0],
        rank(y_alone) + ranks[3] - ranks[0],
        ranks[0],
        irregular | (ranks[1] < ranks[0]),
    )


def _log_ratio(y_given_x: np.ndarray, y_alone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Of each column of y, the share of its variance that x leaves, clipped where x determines it.
    kept = y_alone > 0
    ratio = np.where(kept, y_given_x, 1.0) / np.where(kept, y_alone, 1.0)
    log_lambda = np.log(np.maximum(ratio, SMALLEST_RATIO)).sum(axis=0)
    return log_lambda, np.any(ratio <= RANK_TOLERANCE, axis=0)


def _rao_f(
    log_lambda: np.ndarray, p: np.ndarray, q: np.ndarray, n_left: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Rao's F, its degrees of freedom and the effect size."""
    # Rao 1951: F = (Lambda^(-1/s) - 1) df2 / df1 with s = sqrt((p^2 q^2 - 4) / (p^2 + q^2 - 5)),
    # and s = 1 where that is undefined, for p q <= 2.
    square = p**2 + q**2 - 5
    s = np.where(square > 0, np.sqrt(np.maximum(p**2 * q**2 - 4, 1) / np.maximum(square, 1)), 1.0)
    df1 = p * q
    # With p of the n_left degrees of freedom in the hypothesis.
    df2 = (n_left - (p + q + 1) / 2) * s - df1 / 2 + 1
    statistic = np.maximum(np.expm1(-log_lambda / s), 0.0) * df2 / df1
    effect_size = np.sqrt(np.maximum(-np.expm1(log_lambda / np.minimum(p, q)), 0.0))
    return statistic, np.stack([df1, df2], axis=-1).astype(float), effect_size
