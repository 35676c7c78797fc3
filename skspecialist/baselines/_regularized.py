"""Canonical correlations, graphical lasso and group lasso."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Self

import numpy as np
from scipy.stats import false_discovery_control, sem
from sklearn.covariance import graphical_lasso
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.utils import Tags

from .._base.sklearn_compat import Interval
from ._base import BaseBaseline, StructureProblem

__all__ = ["CCABaseline", "GraphicalLassoBaseline", "GroupLassoBaseline"]


class CCABaseline(BaseBaseline):
    """Test the canonical correlations of each segment with each task.

    Wilks' lambda tests whether any linear combination of a segment's steps correlates
    with the task [1]_. Nothing is conditioned on, so that whatever is correlated with a
    task's segment is found too, above all its neighbors in time: the more sequences,
    the more of them.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment may be shorter.
    alpha : float, default=0.05
        False discovery rate, in (0, 1), of the Benjamini-Hochberg procedure over the
        segments of a task.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None means that every column is a step.

    Attributes
    ----------
    pvalues_ : ndarray of shape (n_segments, n_tasks)
        P-value of each segment and task, not adjusted.
    {structure_attributes}

    See Also
    --------
    skspecialist.TaskStructureIdentifier : Tests the same given the steps around.

    References
    ----------
    .. [1] H. Hotelling, "Relations between two sets of variates", Biometrika 28, 1936.

    Examples
    --------
    A segment that is none of the task's correlates with one that is.

    >>> from skspecialist.baselines import CCABaseline
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> data.structure.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    >>> CCABaseline().fit(data.X, data.y).structure_.astype(int).T.tolist()
    [[0, 1, 1, 1], [1, 0, 1, 1]]
    """

    _parameter_constraints: dict = {
        **BaseBaseline._parameter_constraints,
        "alpha": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self, segment_length: int = 2, *, alpha: float = 0.05, n_timesteps: int | None = None
    ) -> None:
        self.segment_length = segment_length
        self.alpha = alpha
        self.n_timesteps = n_timesteps

    def _find_structure(self, problem: StructureProblem) -> np.ndarray:
        self.pvalues_ = problem.associations().pvalue
        return false_discovery_control(self.pvalues_, axis=0) <= self.alpha


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


# Coefficients then agree with those of converged coordinate descent to about 1e-5.
N_ITERATIONS = 200
N_PENALTIES = 30
# Variance of standardized columns below which a component is rounding error.
RANK_TOLERANCE = 1e-10
# As a fraction of the smallest penalty at which all coefficients are zero.
SMALLEST_PENALTY = 1e-3


class GroupLassoBaseline(BaseBaseline):
    r"""Regress each task on all segments with a group lasso, penalty cross-validated.

    The coefficients of a task's column g minimize

    .. math:: \tfrac{1}{2n} \|g - X w\|^2 + \lambda \sum_k \sqrt{p_k}\, \|w_k\|,

    with a group :math:`w_k` of :math:`p_k` coefficients for each segment [1]_, whose
    columns are made orthonormal first, so that no invertible linear map of a segment
    matters. A segment is relevant iff its group is not zero (in any column of the task).
    :math:`\lambda` is the largest whose error in cross-validation is within one
    standard error of the smallest; the smallest error itself asks for good prediction,
    which keeps far more segments. A regression conditions on all other steps, as it
    should; but the first step of a segment also depends on the action before it.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment. The last segment may be shorter.
    cv : int, default=5
        Folds of the cross-validation, without shuffling; fewer where there are fewer
        sequences.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None means that every column is a step.

    Attributes
    ----------
    coef_ : ndarray of shape (n_columns, n_features_in_)
        Coefficients of the orthonormal columns of the segments for the standardized
        columns of the tasks: one of a continuous task, and one for each class but the
        first of class labels.
    penalties_ : ndarray of shape (n_columns,)
        The penalty of each.
    {structure_attributes}

    Notes
    -----
    All penalties of all folds are solved at once by accelerated proximal gradient steps
    on the covariances, so that the cost hardly depends on the number of sequences.

    References
    ----------
    .. [1] M. Yuan and Y. Lin, "Model selection and estimation in regression with
       grouped variables", Journal of the Royal Statistical Society B 68, 2006.

    Examples
    --------
    >>> from skspecialist.baselines import GroupLassoBaseline
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> data.structure.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    >>> GroupLassoBaseline().fit(data.X, data.y).structure_.astype(int).T.tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    """

    _parameter_constraints: dict = {
        **BaseBaseline._parameter_constraints,
        "cv": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self, segment_length: int = 2, *, cv: int = 5, n_timesteps: int | None = None
    ) -> None:
        self.segment_length = segment_length
        self.cv = cv
        self.n_timesteps = n_timesteps

    def _find_structure(self, problem: StructureProblem) -> np.ndarray:
        starts = problem.segments[:, 0] * problem.X.shape[2]
        X, y = _orthonormal_groups(problem.flat(), starts), problem.tasks
        whole = _Covariances.of(X, y)
        # Each group's gradient at zero is below its penalty from here on.
        largest = _group_norms(whole.xy, starts).max(axis=-1)
        penalties = largest * np.geomspace(1, SMALLEST_PENALTY, N_PENALTIES)[:, None]
        errors = []
        for train, test in KFold(min(self.cv, len(X))).split(X):
            path = _group_lasso(_Covariances.of(X[train], y[train]), penalties, starts)
            errors.append(_Covariances.of(X[test], y[test]).errors(path))
        chosen = _one_standard_error(np.stack(errors))
        self.penalties_ = penalties[chosen, np.arange(y.shape[1])]
        self.coef_ = _group_lasso(whole, self.penalties_[None], starts)[0]
        return problem.any_of_task((_group_norms(self.coef_, starts) > 0).T)


@dataclass(frozen=True)
class _Covariances:
    """Second moments of features and targets, sufficient statistics of squared errors."""

    xx: np.ndarray
    xy: np.ndarray  # (n_targets, n_columns)
    yy: np.ndarray  # (n_targets,)

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray) -> Self:
        return cls(X.T @ X / len(X), y.T @ X / len(X), (y**2).mean(axis=0))

    def errors(self, coef: np.ndarray) -> np.ndarray:
        """Return the mean squared errors of coefficients (..., n_targets, n_columns)."""
        return self.yy + ((coef @ self.xx - 2 * self.xy) * coef).sum(axis=-1)


def _orthonormal_groups(X: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the principal components of each group with variance 1, or 0 for no variance."""
    groups = []
    for group in np.split(X, starts[1:], axis=1):
        variances, directions = np.linalg.eigh(group.T @ group / len(X))
        scales = np.sqrt(np.maximum(variances, RANK_TOLERANCE))
        groups.append(group @ directions * (variances > RANK_TOLERANCE) / scales)
    return np.hstack(groups)


def _group_lasso(data: _Covariances, penalties: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Solve for penalties (..., n_targets): coefficients (..., n_targets, n_columns)."""
    # FISTA (Beck and Teboulle 2009, section 4): a gradient step of length 1 / L, L the Lipschitz
    # constant of the gradient, from a point extrapolated with Nesterov's momentum, and the
    # proximal operator of the penalty, which shrinks each group's norm.
    step = 1 / max(np.linalg.eigvalsh(data.xx)[-1], 1e-12)
    sizes = np.diff(np.append(starts, data.xx.shape[0]))
    coef = np.zeros((*penalties.shape, data.xx.shape[0]))
    ahead, momentum = coef, 1.0
    for _ in range(N_ITERATIONS):
        previous = coef
        coef = ahead - step * (ahead @ data.xx - data.xy)
        norms = np.maximum(_group_norms(coef, starts), 1e-300)
        left = np.maximum(1 - step * penalties[..., None] / norms, 0)
        coef *= np.repeat(left, sizes, axis=-1)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = coef + (momentum - 1) / following * (coef - previous)
        momentum = following
    return coef


def _group_norms(coef: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the norm of each group of the last axis, over the root of the group's size."""
    squares = np.add.reduceat(coef**2, starts, axis=-1)
    return np.sqrt(squares / np.diff(np.append(starts, coef.shape[-1])))


def _one_standard_error(errors: np.ndarray) -> np.ndarray:
    """Return the first penalty (axis 1) within a standard error of the best, per target."""
    mean = errors.mean(axis=0)
    best = mean.argmin(axis=0)
    bound = np.take_along_axis(mean + sem(errors, axis=0), best[None], axis=0)
    return (mean <= bound).argmax(axis=0)
