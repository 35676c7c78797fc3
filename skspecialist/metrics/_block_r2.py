"""How well latents determine sources, whatever the invertible map between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import StrOptions, validate_params

__all__ = ["block_r2"]

MAX_TRAIN = 2000  # rows that a probe learns from: kernel ridge takes their cube in time


@validate_params(
    {
        "latents": ["array-like"],
        "sources": ["array-like"],
        "probe": [StrOptions({"kernel", "mlp"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def block_r2(
    latents: Any,
    sources: Any,
    *,
    probe: str = "kernel",
    random_state: int | np.random.RandomState | None = 0,
) -> np.ndarray:
    """Return the share of each source's variance that the latents predict.

    Cross-fitted: every source value is predicted by a probe that did not learn from it.
    The block of relevant latents is identified if the relevant sources have values near
    1 and the others are near 0 [1]_ [2]_. A weak probe hides leakage: for the irrelevant
    sources look at both probes.

    Parameters
    ----------
    latents : array-like of shape (n_samples, n_latents)
        What predicts. No latents predict nothing: all values are 0.
    sources : array-like of shape (n_samples,) or (n_samples, n_sources)
        What is predicted.
    probe : {"kernel", "mlp"}, default="kernel"
        Kernel ridge regression with a radial kernel, penalty and width by
        cross-validation, or a network of two hidden layers of 128 units.
    random_state : int, RandomState instance or None, default=0
        Which samples a probe learns from. It learns from one half (at most 2,000 of
        them) and predicts the other.

    Returns
    -------
    r2 : ndarray of shape (n_sources,), float64
        At most 1; below 0 if the probe predicts worse than the mean.

    Raises
    ------
    ValueError
        If the arrays differ in length, are not finite, or have fewer than 20 rows.

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
    >>> sources = np.random.RandomState(0).standard_normal((300, 2))
    >>> latents = sources[:, :1] ** 3
    >>> (block_r2(latents, sources) > 0.5).tolist()
    [True, False]
    """
    latents = check_array(
        latents,
        dtype=np.float64,
        input_name="latents",
        ensure_min_features=0,
        ensure_min_samples=20,
    )
    sources = check_array(sources, dtype=np.float64, ensure_2d=False, input_name="sources")
    check_consistent_length(latents, sources)
    sources = sources.reshape(len(sources), -1)
    if latents.shape[1] == 0:
        return np.zeros(sources.shape[1])
    rng = check_random_state(random_state)
    order, seed = rng.permutation(len(latents)), rng.randint(2**31 - 1)
    halves = np.array_split(order, 2)
    predictions = np.empty_like(sources)
    for train, test in (halves, halves[::-1]):
        train = train[:MAX_TRAIN]
        model = _build_probe(probe, latents.shape[1], seed).fit(latents[train], sources[train])
        predictions[test] = model.predict(latents[test]).reshape(len(test), -1)
    return r2_score(sources, predictions, multioutput="raw_values")


def _build_probe(kind: str, n_latents: int, seed: int) -> TransformedTargetRegressor:
    if kind == "mlp":
        early = {"early_stopping": True, "n_iter_no_change": 20}
        regressor = MLPRegressor(
            hidden_layer_sizes=(128, 128), max_iter=500, random_state=seed, **early
        )
    else:
        # Standardised latents are about sqrt(2 n_latents) apart.
        widths = np.array([0.1, 0.3, 1.0]) / n_latents
        grid = {"alpha": [1e-3, 1e-2, 1e-1, 1.0], "gamma": widths}
        folds = KFold(3, shuffle=True, random_state=seed)
        regressor = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=folds)
    return TransformedTargetRegressor(
        make_pipeline(StandardScaler(), regressor), transformer=StandardScaler()
    )
