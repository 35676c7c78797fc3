"""Wilks' lambda test of two sets of columns."""

from __future__ import annotations

import numpy as np
from scipy.special import fdtrc

from .base import IndependenceResult, ResultFlag
from .covariance import RANK_TOLERANCE, CovarianceTest, Partial, eliminate

__all__ = ["Wilks"]

# What is left of a column that the other side determines, at double precision.
SMALLEST_RATIO = 2.0**-53


class Wilks(CovarianceTest, short_name="wilks"):
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
        p, q, log_lambda, deterministic = _log_lambda(partial)
        degenerate = np.minimum(p, q) == 0
        n_left = partial.n - 1 - partial.rank_z
        too_few = n_left < np.maximum(p, 1) + np.maximum(q, 1)
        valid = ~degenerate & ~too_few
        statistic, df, effect_size = _rao_f(
            np.where(valid, log_lambda, 0.0),
            np.where(valid, p, 1),
            np.where(valid, q, 1),
            np.where(valid, n_left, 2),
        )
        redundant = (p < partial.width_x) | (q < partial.width_y)
        flag = (
            partial.flag
            | (~degenerate & redundant) * ResultFlag.RANK_DEFICIENT
            | degenerate * ResultFlag.DEGENERATE
            | (valid & deterministic) * ResultFlag.DETERMINISTIC
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


def _log_lambda(partial: Partial) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the ranks of x and y, log Lambda, and whether one side determines the other."""
    yy = partial.matrix[partial.p :, partial.p :].copy()
    y_alone = eliminate(yy, len(yy))
    joint = partial.matrix.copy()
    pivots = eliminate(joint, len(joint))
    x_alone, y_given_x = pivots[: partial.p], pivots[partial.p :]
    kept = y_alone > 0
    ratio = np.where(kept, y_given_x, 1.0) / np.where(kept, y_alone, 1.0)
    return (
        (x_alone > 0).sum(axis=0),
        kept.sum(axis=0),
        np.log(np.maximum(ratio, SMALLEST_RATIO)).sum(axis=0),
        np.any(ratio <= RANK_TOLERANCE, axis=0),
    )


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
