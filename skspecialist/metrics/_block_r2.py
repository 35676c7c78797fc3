"""R2 of sources predicted from latents, up to invertible maps within a block."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from .._base.sklearn_compat import StrOptions, validate_params
from .._data.validation import check_numbers, check_same_length, refuse_huge
from .._stats.agreement import cross_fitted_r2
from ._inputs import check_flags

__all__ = ["block_r2"]


@validate_params(
    {
        "latents": ["array-like"],
        "sources": ["array-like"],
        "relevant": ["array-like", None],
        "X": ["array-like", None],
        "probe": [StrOptions({"kernel", "mlp", "strongest"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def block_r2(
    latents: Any,
    sources: Any,
    *,
    relevant: Any | None = None,
    X: Any | None = None,
    probe: str = "kernel",
    random_state: int | np.random.RandomState | None = 0,
) -> np.ndarray | Bunch:
    """Return the share of each source's variance that the latents predict.

    Cross-fitted: every source value is predicted by a probe that did not learn from it.
    The block of relevant latents is identified if the relevant sources have values near
    1 and the others are near 0 [1]_ [2]_, or rather, near that of a perfect representation: if
    the sources depend on each other, the relevant ones predict the others in part
    (the *floor*), and a probe may not read from the features all that they determine (the
    *ceiling*).

    Parameters
    ----------
    latents : array-like of shape (n_samples, n_latents)
        What predicts. No latents predict nothing: all values are 0.
    sources : array-like of shape (n_samples,) or (n_samples, n_sources)
        Sources to predict.
    relevant : array-like of bool of shape (n_sources,), default=None
        Which sources the latents should hold, at least one. With it the floor is returned
        as well.
    X : array-like of shape (n_samples, n_features), default=None
        Features that the latents were computed from. With it the ceiling is returned as well.
    probe : {"kernel", "mlp", "strongest"}, default="kernel"
        Kernel ridge regression with a radial kernel, penalty and width by
        cross-validation; a network of two hidden layers of 128 units; or, for each
        source, the better of the two. A weak probe hides leakage: judge irrelevant
        sources by the strongest.
    random_state : int, RandomState instance or None, default=0
        Which samples a probe learns from. It learns from one half (at most 2,000 of
        them) and predicts the other. Latents, floor and ceiling share the halves.

    Returns
    -------
    r2 : ndarray of shape (n_sources,), float64, or :class:`~sklearn.utils.Bunch`
        At most 1; below 0 if the probe predicts worse than the mean. With ``relevant`` or
        ``X`` a Bunch of

        r2 : ndarray of shape (n_sources,), float64
            The same.
        floor : ndarray of shape (n_sources,), float64, or None
            R2 from the true relevant sources, as of a perfect answer. For a relevant source
            it is near 1, as the source is among what predicts it.
        ceiling : ndarray of shape (n_sources,), float64, or None
            R2 from ``X``.

    Raises
    ------
    ValueError
        If the arrays differ in length, are not finite, or have fewer than 20 rows, a
        source is constant, or ``relevant`` is not one bool per source.

    See Also
    --------
    specialization_score : Both blocks and the floor in one number.

    References
    ----------
    .. [1] von Kügelgen, Sharma, Gresele, Brendel, Schölkopf, Besserve and Locatello,
       Self-supervised learning with data augmentations provably isolates content from
       style, NeurIPS 2021.
    .. [2] Zheng, Feng, Li, Xie, Murphy and Zhang, From generalist to specialist
       representation, ICML 2026, arXiv:2605.12733.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import block_r2
    >>> sources = np.random.RandomState(0).standard_normal((100, 2))
    >>> latents = sources[:, :1] ** 3
    >>> scores = block_r2(latents, sources, relevant=[True, False])
    >>> (scores.r2 > 0.5).tolist(), (scores.floor > 0.5).tolist()
    ([True, False], [True, False])
    """
    latents = _check_input(latents, "latents", ensure_min_features=0)
    sources = _check_input(sources, "sources", ensure_2d=False)
    X = None if X is None else _check_input(X, "X")
    check_same_length(latents=latents, sources=sources, X=X)
    sources = sources.reshape(len(sources), -1)
    if (constant := np.flatnonzero(np.ptp(sources, axis=0) == 0)).size:
        raise ValueError(f"sources {constant.tolist()} are constant: R2 is not defined.")
    best = None
    if relevant is not None:
        best = sources[:, check_flags(relevant, "relevant", sources.shape[1])]
    rng = check_random_state(random_state)
    order, seed = rng.permutation(len(latents)), rng.randint(2**31 - 1)
    kinds = ["kernel", "mlp"] if probe == "strongest" else [probe]

    def read(inputs: np.ndarray) -> np.ndarray:
        r2 = [cross_fitted_r2(kind, inputs, sources, order, seed) for kind in kinds]
        return np.max(r2, axis=0)

    if relevant is None and X is None:
        return read(latents)
    return Bunch(
        r2=read(latents),
        floor=None if best is None else read(best),
        ceiling=None if X is None else read(X),
    )


def _check_input(inputs: Any, name: str, **options: Any) -> np.ndarray:
    checked = check_numbers(inputs, name, ensure_min_samples=20, **options)
    refuse_huge(checked, name)
    return checked
