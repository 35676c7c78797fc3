"""Sparse precision matrix of states and tasks."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.covariance import graphical_lasso
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags

from ._base import BaseBaseline, StructureProblem

__all__ = ["GraphicalLassoBaseline"]

# Of the largest correlation, at which no entry is left.
PENALTIES = np.geomspace(1, 0.003, 12)
N_SWEEPS = 10
RIDGE = 1e-10  # for columns that determine each other
TOLERANCE = 1e-2  # of the dual gap: far faster than the default, with the same edges


class GraphicalLassoBaseline(BaseBaseline):
    r"""Read the structure from sparse precision matrices.

    With tasks, the precision matrix of the states and a task is estimated for each
    task, and a segment is relevant iff the entry of one of its steps and the task is
    not zero. Other tasks are left out: they are colliders, and given them their steps
    depend on each other. The first step of a segment also depends on the action
    before it, so that segments that follow a task's segment are found where actions drive the
    next state.

    Without tasks, two segments are joined iff the entry of a step of each is not zero
    and no part of the chain (the same or the next step), and the tasks are the cliques
    of a cover: as long as an edge is left, the clique that starts with it and takes
    every further segment that it can, in time order. That only makes sense where the
    sequences were selected for their tasks.

    The penalty is the one whose graph minimizes the extended Bayesian information
    criterion :math:`-2 \ell + E \log n + 2 E \log p` of E edges among p columns, with
    the likelihood maximized over all matrices that have this graph [2]_. The likelihood
    of the penalized matrix, in cross-validation too, keeps far more edges: what strong
    edges lose to the penalty, false ones make up for.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment may be shorter.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None means that every column is a step.

    Attributes
    ----------
    precisions_ : list of ndarray
        Precision matrix of the standardized columns, states first, for each task;
        without tasks one, of the states alone. Not penalized any more, with the chosen
        graph.
    {structure_attributes}

    See Also
    --------
    skspecialist.TaskStructureIdentifier : Tests in place of a penalty.

    References
    ----------
    .. [1] J. Friedman, T. Hastie and R. Tibshirani, "Sparse inverse covariance
       estimation with the graphical lasso", Biostatistics 9, 2008.
    .. [2] R. Foygel and M. Drton, "Extended Bayesian information criteria for Gaussian
       graphical models", NeurIPS 2010.
    .. [3] T. Hastie, R. Tibshirani and J. Friedman, "The elements of statistical
       learning", second edition, 2009, algorithm 17.1.

    Examples
    --------
    >>> from skspecialist.baselines import GraphicalLassoBaseline
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(500, n_timesteps=8, n_tasks=2, random_state=0)
    >>> data.structure.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    >>> GraphicalLassoBaseline().fit(data.X, data.y).structure_.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 1, 0, 1]]
    """

    def __init__(self, segment_length: int = 2, *, n_timesteps: int | None = None) -> None:
        self.segment_length = segment_length
        self.n_timesteps = n_timesteps

    def __sklearn_tags__(self) -> Tags:
        """Tasks are not required."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    def _find_structure(self, problem: StructureProblem) -> np.ndarray:
        states = problem.flat()
        if not problem.groups:
            self.precisions_ = [_sparse_precision(states)]
            return _clique_cover(_segment_graph(self.precisions_[0] != 0, problem))
        self.precisions_ = [
            _sparse_precision(np.hstack([states, problem.tasks[:, group]]))
            for group in problem.groups
        ]
        n_states = states.shape[1]
        columns = [
            (precision[:n_states, n_states:] != 0).reshape(problem.X.shape[1], -1).any(axis=1)
            for precision in self.precisions_
        ]
        return problem.any_of_segment(np.stack(columns, axis=1))


def _sparse_precision(data: np.ndarray) -> np.ndarray:
    """Return the precision matrix with the best information criterion; constants have none."""
    varying = data.any(axis=0)
    correlation = np.cov(data[:, varying], rowvar=False, bias=True).reshape(2 * [varying.sum()])
    largest = np.abs(np.triu(correlation, 1)).max(initial=0.0)
    best, criteria = np.eye(len(correlation)), [np.inf]
    with warnings.catch_warnings():
        # A penalty whose optimum is not reached has a worse criterion.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for penalty in largest * PENALTIES if largest > 0 else ():
            try:
                _, precision = graphical_lasso(correlation, penalty, tol=TOLERANCE)
            except FloatingPointError:  # too ill-conditioned, and so are smaller penalties
                break
            precision = _maximum_likelihood(correlation, precision != 0)
            criteria.append(_information_criterion(precision, correlation, len(data)))
            if criteria[-1] == min(criteria):
                best = precision
            elif criteria[-1] > criteria[-2] > criteria[-3]:
                break
    full = np.zeros((data.shape[1], data.shape[1]))
    full[np.ix_(varying, varying)] = best
    return full


def _maximum_likelihood(correlation: np.ndarray, graph: np.ndarray) -> np.ndarray:
    """Return the most likely precision matrix with a graph, by regressions in turn [3]."""
    covariance = correlation.copy()
    for _ in range(N_SWEEPS):
        before = covariance.copy()
        for j, others in enumerate(graph & ~np.eye(len(graph), dtype=bool)):
            block = covariance[np.ix_(others, others)] + RIDGE * np.eye(others.sum())
            coef = np.linalg.solve(block, correlation[others, j])
            rest = np.arange(len(graph)) != j
            covariance[rest, j] = covariance[j, rest] = covariance[np.ix_(rest, others)] @ coef
        if np.abs(covariance - before).max() < 1e-4:
            break
    return np.where(graph, np.linalg.pinv(covariance, hermitian=True), 0.0)


def _information_criterion(precision: np.ndarray, correlation: np.ndarray, n: int) -> float:
    fit = n * (np.linalg.slogdet(precision)[1] - (precision * correlation).sum())
    n_edges = np.count_nonzero(np.triu(precision, 1))
    return float(n_edges * (np.log(n) + 2 * np.log(len(precision))) - fit)


def _segment_graph(edges: np.ndarray, problem: StructureProblem) -> np.ndarray:
    """Return which segments are joined outside the chain, with a false diagonal."""
    n_timesteps, n_features = problem.X.shape[1:]
    steps = edges.reshape(n_timesteps, n_features, n_timesteps, n_features).any(axis=(1, 3))
    time = np.arange(n_timesteps)
    outside = steps & (np.abs(time[:, None] - time) > 1)
    graph = problem.any_of_segment(problem.any_of_segment(outside).T)
    return graph & ~np.eye(len(graph), dtype=bool)


def _clique_cover(graph: np.ndarray) -> np.ndarray:
    """Return cliques (n_nodes, n_cliques) that cover every edge, found greedily."""
    left, cliques = np.triu(graph), []
    while left.any():
        clique = np.zeros(len(graph), dtype=bool)
        clique[np.argwhere(left)[0]] = True
        for node in np.flatnonzero(~clique):
            clique[node] = graph[node, clique].all()
        left &= ~np.outer(clique, clique)
        cliques.append(clique)
    return np.array(cliques, dtype=bool).reshape(-1, len(graph)).T
