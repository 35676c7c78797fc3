"""Fisher's z test of a partial correlation."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from .base import IndependenceResult, ResultFlag
from .covariance import RANK_TOLERANCE, CovarianceTest, Partial

__all__ = ["FisherZ"]

# The largest correlation whose z is finite.
LARGEST_R = 1.0 - 2.0**-53


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
