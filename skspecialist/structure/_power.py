"""Sample size that detects a segment with a given power."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from scipy.optimize import brentq
from scipy.stats import f as f_distribution
from scipy.stats import ncf

from .._base.sklearn_compat import Interval, StrOptions, validate_params

__all__ = ["sequences_needed"]

# Upper end of the search; beyond it, the distributions lose precision.
MOST_SEQUENCES = 10**9


@validate_params(
    {
        "effect_size": [Interval(Real, 0, 1, closed="neither")],
        "n_segments": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "segment_length": [Interval(Integral, 1, None, closed="left")],
        "segment_steps": [StrOptions({"auto", "interior", "all", "last"})],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "power": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def sequences_needed(
    effect_size: float,
    *,
    n_segments: int = 10,
    n_features: int = 1,
    segment_length: int = 2,
    segment_steps: str = "auto",
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    r"""Return the number of sequences that the linear direct test needs to find a segment.

    The linear test (``independence_test="wilks"``, given the band) of a segment against a
    task is the F test of a regression; the robust tests, given all other steps, need more
    for their curved functions, and less where other steps explain the task. With :math:`p`
    tested columns of the segment, :math:`r` columns in its band and a multiple partial
    correlation :math:`\rho`, its statistic has the noncentral F distribution with
    :math:`p` and :math:`n - p - r - 1` degrees of freedom and noncentrality
    :math:`n \rho^2 / (1 - \rho^2)` [1]_. The level is that of Benjamini-Hochberg in the
    hardest case, where the segment is the only one of its task: ``alpha / n_segments``.

    Parameters
    ----------
    effect_size : float
        Multiple partial correlation of the segment and the task, in (0, 1), such as
        ``effect_sizes_`` of :class:`TaskStructureIdentifier` in a pilot study (which
        overestimates weak ones: for p irrelevant columns it is about
        :math:`\sqrt{p / n}`).
    n_segments : int, default=10
        Number of segments that are tested for the task.
    n_features : int, default=1
        Features of a step.
    segment_length : int, default=2
        Steps in a segment.
    segment_steps : {"auto", "interior", "all", "last"}, default="auto"
        As in :class:`TaskStructureIdentifier`.
    alpha : float, default=0.05
        Significance level, in (0, 1).
    power : float, default=0.8
        Probability of finding the segment, in (0, 1).

    Returns
    -------
    n_sequences : int
        Smallest sufficient number of sequences.

    Raises
    ------
    ValueError
        If a billion sequences are not sufficient.

    See Also
    --------
    TaskStructureIdentifier : Identifies the segments.

    References
    ----------
    .. [1] J. Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd
       edition, 1988, chapter 9, for fixed predictors.

    Examples
    --------
    >>> from skspecialist import sequences_needed
    >>> sequences_needed(0.3), sequences_needed(0.1), sequences_needed(0.1, n_features=8)
    (139, 1322, 2276)
    """
    interior = max(segment_length - 1, 1)
    steps = {"auto": interior, "interior": interior, "all": segment_length, "last": 1}
    p = steps[segment_steps] * n_features
    r = 2 * n_features
    # Cohen's effect size f^2, equation (9.2.1) of [1].
    strength = effect_size**2 / (1 - effect_size**2)

    def shortfall(n: float) -> float:
        df = n - p - r - 1
        critical = f_distribution.isf(alpha / n_segments, p, df)
        return float(ncf.sf(critical, p, df, strength * n)) - power

    fewest = p + r + 2
    if shortfall(fewest) >= 0:
        return fewest
    if shortfall(MOST_SEQUENCES) < 0:
        raise ValueError(
            f"effect_size={effect_size} is too weak to be detected with {MOST_SEQUENCES:.0e} "
            "sequences: use a larger effect_size or alpha, or a smaller power."
        )
    return int(np.ceil(brentq(shortfall, fewest, MOST_SEQUENCES, xtol=1e-3)))
