"""Gaussian likelihood of a chain of states whose tasks succeeded, and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dtrtri
from scipy.optimize import minimize

__all__ = ["Parameters", "chain_entries", "cost", "fit_chain", "minimize_bounded"]

Arrays = tuple[np.ndarray, ...]
# What a singular precision costs: more than any other.
REJECTED = 1e8
# Ratio of the diagonal entries of a Cholesky factor beyond which its inverse is of no use.
LARGEST_SPREAD = 1e5


class Parameters(NamedTuple):
    """Parameters of the precision matrix L L' + V R^-1 V', V = (I + C) W, R = I + noise W' W.

    L L' is the chain without selection. Column i of W is what task i needs of the states:
    their actions pull on it. C is what the state after a segment tells of the segment's
    last action, where actions drive the next state, and ``noise`` is the variance of what the
    states do not tell of an action, in units of the variance of the state.

    Attributes
    ----------
    L : ndarray of shape (n_columns, n_columns)
        Lower triangular, with blocks of a step and the next one only.
    C : ndarray of shape (n_columns, n_columns)
        Blocks of a step with the one before.
    W : ndarray of shape (n_columns, n_tasks)
        Loadings.
    noise : float
        Of an action.
    """

    L: np.ndarray
    C: np.ndarray
    W: np.ndarray
    noise: float

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return V and R."""
        n_tasks = self.W.shape[1]
        return self.W + self.C @ self.W, np.eye(n_tasks) + self.noise * self.W.T @ self.W

    def precision(self) -> np.ndarray:
        """Return the precision matrix."""
        V, R = self.factors()
        return self.L @ self.L.T + V @ np.linalg.solve(R, V.T)


def cost(S: np.ndarray, parameters: Parameters) -> tuple[float, Parameters]:
    """Return half of trace(S P) - log det P for precision P, and its gradients.

    Parameters
    ----------
    S : ndarray of shape (n_columns, n_columns)
        Covariance of the data.
    parameters : Parameters
        Of the precision.

    Returns
    -------
    value : float
        The negative log-likelihood per sample, but for a constant.
    gradients : Parameters
        Derivatives by all entries, also by those that are fixed.
    """
    L, C, W, noise = parameters
    V, R = parameters.factors()
    # P^-1 from the Cholesky factor of the chain and a matrix of the size of the tasks.
    inverse, _ = dtrtri(L, lower=1)
    whitened = inverse @ V
    try:
        root_R, root = np.linalg.cholesky(R), np.linalg.cholesky(R + whitened.T @ whitened)
    except np.linalg.LinAlgError:
        return REJECTED, Parameters(0 * L, 0 * C, 0 * W, 0.0)
    if max(_spread(L), _spread(root_R), _spread(root)) > LARGEST_SPREAD:
        return REJECTED, Parameters(0 * L, 0 * C, 0 * W, 0.0)
    Q = np.linalg.solve(R, V.T).T
    covariance_Q = inverse.T @ np.linalg.solve(root.T, np.linalg.solve(root, whitened.T)).T
    SL, SQ = S @ L, S @ Q
    value = 0.5 * ((SL * L).sum() + (SQ * V).sum()) - np.log(np.abs(np.diag(L))).sum()
    value += np.log(np.diag(root_R)).sum() - np.log(np.diag(root)).sum()

    d_Q = SQ - covariance_Q
    inner = Q.T @ d_Q
    return float(value), Parameters(
        SL - inverse.T + covariance_Q @ whitened.T,
        d_Q @ W.T,
        d_Q + C.T @ d_Q - noise * W @ inner,
        -0.5 * float((inner * (W.T @ W)).sum()),
    )


def _spread(root: np.ndarray) -> float:
    sizes = np.abs(np.diag(root))
    return float(sizes.max() / sizes.min()) if sizes.size else 1.0


def chain_entries(n_timesteps: int, n_features: int) -> Arrays:
    """Return rows and columns of the entries of a chain's Cholesky factor.

    It is lower triangular, and zero but for blocks of a step with itself and the next.
    """
    step = np.repeat(np.arange(n_timesteps), n_features)
    return np.nonzero(np.tril(step[:, None] - step <= 1))


def fit_chain(S: np.ndarray, entries: Arrays) -> np.ndarray:
    """Return the Cholesky factor of the chain of greatest likelihood.

    Column by column in closed form, as the pattern is that of a decomposable graph.
    """
    L = np.zeros_like(S)
    for column in range(len(S)):
        rows = entries[0][entries[1] == column]
        first = np.linalg.solve(S[np.ix_(rows, rows)], np.eye(len(rows))[0])
        L[rows, column] = first / np.sqrt(first[0])
    return L


def minimize_bounded(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, max_iter: int
) -> tuple[np.ndarray, float]:
    """Return where a function with gradient is least, and its value there.

    The first variable is not negative.
    """
    bounds = [(0.0, None), *[(None, None)] * (len(start) - 1)]
    options = {"maxiter": max_iter, "maxcor": 10, "ftol": 1e-9, "gtol": 1e-5}
    result = minimize(function, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return result.x, float(result.fun)
