"""Wilks' lambda test of two sets of columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from .base import IndependenceResult, ResultFlag
from .covariance import RANK_TOLERANCE, CovarianceTest, Partial, eliminate, rank

__all__ = ["Wilks"]

# What is left of a column that the other side determines, at double precision.
SMALLEST_RATIO = 2.0**-53


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
        likelihood = _shared_log_lambda(partial)
        if likelihood.irregular.any():
            matrix, rank_given = partial.given()
            likelihood = _log_lambda(matrix, partial.p, rank_given)
        p, q = likelihood.p, likelihood.q
        degenerate = np.minimum(p, q) == 0
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

    ``irregular`` says where one side determines a part of the other.
    """

    log_lambda: np.ndarray
    p: np.ndarray
    q: np.ndarray
    rank_given: np.ndarray
    irregular: np.ndarray


def _log_lambda(matrix: np.ndarray, p: int, rank_given: np.ndarray) -> _Likelihood:
    """Compute from the covariances given z and each set."""
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
    logs = [np.log(np.where(pivot > 0, pivot, 1.0)).sum(axis=0) for pivot in pivots]
    return _Likelihood(
        log_lambda + logs[0] + logs[1] - logs[2] - logs[3],
        rank(x_alone) + ranks[2] - ranks[0],
        rank(y_alone) + ranks[3] - ranks[0],
        ranks[0],
        irregular | (ranks[1] < ranks[0]),
    )


def _log_ratio(y_given_x: np.ndarray, y_alone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = y_alone > 0
    ratio = np.where(kept, y_given_x, 1.0) / np.where(kept, y_alone, 1.0)
    log_lambda = np.log(np.maximum(ratio, SMALLEST_RATIO)).sum(axis=0)
    return log_lambda, np.any(ratio <= RANK_TOLERANCE, axis=0)


def _rao_f(
    log_lambda: np.ndarray, p: np.ndarray, q: np.ndarray, n_left: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Rao's F, its degrees of freedom and the effect size."""
    square = p**2 + q**2 - 5
    s = np.where(square > 0, np.sqrt(np.maximum(p**2 * q**2 - 4, 1) / np.maximum(square, 1)), 1.0)
    df1 = p * q
    df2 = (n_left - (p + q + 1) / 2) * s - df1 / 2 + 1
    statistic = np.maximum(np.expm1(-log_lambda / s), 0.0) * df2 / df1
    effect_size = np.sqrt(np.maximum(-np.expm1(log_lambda / np.minimum(p, q)), 0.0))
    return statistic, np.stack([df1, df2], axis=-1).astype(float), effect_size
