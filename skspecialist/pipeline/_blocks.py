"""Fits to more sequences than the memory holds, and predictions of them.

All parts are fitted to a sample. The ridge regressions of continuous tasks are then fitted to all
sequences by normal equations, whose products are sums over blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from tqdm import tqdm

from .._base.sklearn_compat import safe_indexing
from .._data.ragged import pad_list
from .._data.validation import check_same_length, is_missing, split_indices
from .._data.weights import validate_sample_weight
from ..exceptions import warn
from ..independence._moments import Moments, ridge_path
from ..structure._segments import is_dask
from ._heads import TunedRidge
from ._representation import features_of
from ._sequences import is_fractions

__all__ = ["in_blocks", "refit_ridges", "take_sample"]

# Numbers of a block, and of a sample of "auto": copies in double precision are 64 and 128 MiB. A
# fit to a sample takes some ten times its size.
BLOCK, SAMPLE = 2**23, 2**24


def in_blocks(X: Any) -> Iterator[Any]:
    """Yield arrays, in memory, on disk or of Dask, some sequences at a time; others as they are."""
    if not isinstance(X, np.ndarray) and not is_dask(X):
        yield X
        return
    n_rows = max(1, BLOCK // max(1, int(np.prod(X.shape[1:]))))
    for start in range(0, max(1, len(X)) if X.ndim else 1, n_rows):
        block = X[start : start + n_rows] if X.ndim else X
        yield block.compute() if is_dask(X) else block


def take_sample(
    pipeline: Any, X: Any, y: Any, labels: dict[str, Any], sample_weight: Any
) -> tuple[bool, tuple[Any, Any, dict[str, Any], Any, Any]]:
    """Return whether a sample was drawn, and the data that the parts are fitted to.

    Parameters
    ----------
    pipeline : BaseSpecialist
        Its ``max_samples``, ``cv`` and ``random_state`` are read.
    X, y, labels, sample_weight : object
        Sequences, tasks, what else is given for each sequence, and weights.

    Returns
    -------
    is_sample : bool
        False if all sequences are used.
    given : tuple
        ``X``, ``y``, ``labels``, ``sample_weight`` and ``cv`` of the sample, or of all sequences.
    """
    is_stored = isinstance(X, np.memmap) or is_dask(X)
    n_samples = pipeline.max_samples
    if n_samples == "auto":
        n_samples = max(2, SAMPLE // max(1, int(np.prod(X.shape[1:])))) if is_stored else None
    if n_samples is None:
        return False, (X, y, labels, sample_weight, pipeline.cv)
    X = X if is_stored else pad_list(X)
    check_same_length(X=X, y=y, sample_weight=sample_weight, **labels)
    if len(X) <= n_samples:
        return False, (X, y, labels, sample_weight, pipeline.cv)
    if pipeline.max_samples == "auto":
        warn(
            f"X has {len(X):,} sequences that are not in memory: structure, encoder, kernels and "
            f"the models of class labels are fitted to {n_samples:,} random ones, and ridge "
            "regressions to all. max_samples is the number of the former."
        )
    # Indices in the order of the file.
    random = check_random_state(pipeline.random_state)
    rows = np.sort(random.choice(len(X), n_samples, replace=False))

    def take(values: Any) -> Any:
        if is_dask(values):
            return values[rows].compute()
        return None if values is None else safe_indexing(values, rows)

    cv = pipeline.cv
    if not isinstance(cv, Integral) and not is_fractions(cv):
        splits = split_indices(cv, np.empty((len(X), 1)), y, labels["groups"])
        cv = [tuple(np.flatnonzero(np.isin(rows, side)) for side in split) for split in splits]
    own = {name: take(values) for name, values in labels.items()}
    return True, (take(X), take(y), own, take(sample_weight), cv)


def refit_ridges(pipeline: Any, X: Any, y: Any, sample_weight: Any) -> None:
    """Fit the ridge regressions of a fitted pipeline to all sequences, block by block.

    They replace those of the sample and of its folds. Scaling, landmarks of kernels, and weights
    of steps and candidates remain those of the sample.
    """
    ridges = [
        (i, member, *_transformers(member.fits[0][2]))
        for i, model in enumerate(pipeline._models)
        for member in model.members
    ]
    ridges = [entry for entry in ridges if isinstance(entry[3], TunedRidge)]
    if not ridges:
        return
    values = pipeline.tasks_.split(y.compute() if is_dask(y) else y)
    weights = validate_sample_weight(sample_weight, (len(X), len(values)))
    # Strengths are relative to weights of maximum 1, as in the sample.
    weights = weights / np.maximum(weights.max(axis=0), np.finfo(float).tiny)
    moments: list[list[Moments]] = [[] for _ in ridges]
    start = 0
    with tqdm(total=len(X), desc="all sequences", disable=not pipeline.verbose) as bar:
        for block in map(pipeline._validate, in_blocks(X)):
            features = features_of(block)
            rows = slice(start, start + len(block))
            for found, (i, member, transformers, _) in zip(moments, ridges, strict=True):
                own, target = weights[rows, i], values[i][rows]
                known = ~is_missing(target) & (own > 0)
                if known.any():
                    representation, columns, _ = member.fits[0]
                    read = features(representation)[:, columns][known]
                    for transformer in transformers:
                        read = transformer.transform(read)
                    part = Moments.from_data(np.column_stack([read, target[known]]), own[known])
                    found[:] = [old.merge(part) for old in found] or [part]
            start = rows.stop
            bar.update(len(block))
    for found, (_, member, _, ridge) in zip(moments, ridges, strict=True):
        if found:
            fit_to_moments(ridge, found[0])
            member.fits = member.fits[:1]


def fit_to_moments(ridge: TunedRidge, moments: Moments) -> TunedRidge:
    """Fit a ridge regression to the moments of its columns and, after them, of its target.

    The strength is that of least generalized cross-validation error: the leave-one-out error with
    the mean of the leverages, which many samples do not differ from.
    """
    scatter, total = moments.scatter, moments.scatter[-1, -1]
    eigenvalues, products, solve, back = ridge_path(scatter[:-1, :-1], scatter[:-1, -1:])

    def error(alpha: float) -> float:
        # With (G + alpha) b = c the squared residuals t - 2 b'c + b'G b are t - b'c - alpha b'b.
        coefficients = solve(alpha)
        residual = total - np.sum(coefficients * (products + alpha * coefficients))
        freedom = moments.n - 1 - np.sum(eigenvalues / (eigenvalues + alpha))
        return float(residual / max(freedom, 1.0) ** 2)

    ridge.alpha_ = min(map(float, ridge.alphas), key=error)
    ridge.coef_ = back(solve(ridge.alpha_))[:, 0]
    ridge.intercept_ = moments.mean[-1] - moments.mean[:-1] @ ridge.coef_
    return ridge


def _transformers(estimator: Any) -> tuple[list[Any], Any]:
    """Return the transformers of a pipeline, which may hold further ones, and its last step."""
    found: list[Any] = []
    while isinstance(estimator, Pipeline):
        *first, (_, estimator) = estimator.steps
        found += [transformer for _, transformer in first]
    return found, estimator
