"""Fits to more sequences than the memory holds, and predictions of them.

All parts are fitted to a sample. The ridge regressions of continuous tasks are then fitted to all
sequences by normal equations, whose products are sums over blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from .._data.validation import is_missing
from .._data.weights import validate_sample_weight
from ..independence._moments import Moments, ridge_path
from ..structure._segments import is_dask
from ._heads import TunedRidge
from ._representation import features_of

__all__ = ["in_blocks", "refit_ridges"]

# Numbers of a block: copies in double precision are 64 MiB.
BLOCK = 2**23


def in_blocks(X: Any) -> Iterator[Any]:
    """Yield arrays, in memory, on disk or of Dask, some sequences at a time; others as they are."""
    if not isinstance(X, np.ndarray) and not is_dask(X):
        yield X
        return
    n_rows = max(1, BLOCK // max(1, int(np.prod(X.shape[1:]))))
    for start in range(0, max(1, len(X)) if X.ndim else 1, n_rows):
        block = X[start : start + n_rows] if X.ndim else X
        yield block.compute() if is_dask(X) else block


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
