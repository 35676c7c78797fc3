"""Regression of each task on all segments, with segments as groups."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Self

import numpy as np
from scipy.stats import sem
from sklearn.model_selection import KFold

from .._base.sklearn_compat import Interval
from ._base import BaseBaseline, StructureProblem

__all__ = ["GroupLassoBaseline"]

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
