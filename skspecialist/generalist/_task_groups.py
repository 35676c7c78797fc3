"""Groups of tasks that read the same directions of a representation, and sources of a target."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import SpectralClustering
from sklearn.linear_model import LassoCV
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import TaskEstimatorMixin, all_or_nothing
from .._base.sklearn_compat import HasMethods, Interval, StrOptions, fit_context
from .._data.tasks import TaskTargets
from .._data.validation import validate_steps
from .._stats.model_comparison import standard_error
from .._stats.smoothing import whitening
from ..exceptions import warn
from ._group_regression import missing_patterns, task_columns

__all__ = ["TaskGrouper"]

# Samples that gradients are estimated from: kernel regression takes their cube in time.
MAX_SAMPLES = 1000
# Ridge penalties, relative to the mean eigenvalue of the kernel.
PENALTIES = np.logspace(-3, 3, 13)
# Kernels: linear, and Gaussian of these squared inverse widths times the number of features.
# Whitened samples are sqrt(2 n_features) apart, so that 0.5 is smooth and 2 follows curves.
WIDTHS = (0.0, 0.25, 1.0)
# Directions of less than this share of a task's gradients are noise: its estimate in a kernel
# regression of hundreds of samples spreads a few percent over all directions.
SMALLEST_SHARE = 0.05
# Penalty of the self-representation, relative to a task's direction of length one.
REPRESENTATION_PENALTY = 0.2
# A partition of smaller modularity is not a structure of groups [Newman and Girvan 2004].
SMALLEST_MODULARITY = 0.3
# Share of the squared weights of a task that is its own, from which it has nothing in common with
# the others: unrelated tasks have .98 to 1.00, those of 4 tasks in 3 dimensions .75 on average.
ISOLATED = 0.98


class TaskGrouper(TaskEstimatorMixin, BaseEstimator):
    r"""Group tasks that should share an encoder, and select sources of a target.

    Tasks that depend on the same latents have gradients in the same directions of the features.
    For every task :math:`t` a regression :math:`f_t` is fitted, linear or with a Gaussian kernel,
    whichever has the least leave-one-out error, and the outer products of its gradients are
    averaged [1]_: :math:`A_t = E \, \nabla f_t(x) \nabla f_t(x)^\top`, in whitened features, and
    summed over the steps of sequences. The directions with a share of :math:`A_t` become
    columns of a matrix :math:`G`. Each is represented by those of all tasks,
    :math:`\min_C \|G - G C\|^2 + \lambda \|C\|^2` [2]_, as [3]_ represent a target by its
    sources: coefficients between tasks of different families vanish, whereas gradients of two
    tasks of one family may be orthogonal. They are the affinity, which is divided by spectral
    clustering; the number of groups is that of largest modularity [4]_.

    Parameters
    ----------
    n_groups : "auto" or int, default="auto"
        Number of groups. "auto" is one if no partition has a modularity of at least 0.3.
    affinity : "gradient" or estimator, default="gradient"
        Directions of the tasks: their gradients, or the rows of the ``mask_`` of a clone of an
        estimator that is fitted to the tasks, such as :class:`SparseMultiTaskSelector`.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kind of all tasks, of each, or of some by name. None takes floats as amounts and other
        values as class labels.
    random_state : int, RandomState instance or None, default=None
        Choice of the samples, if there are more than 1,000.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_tasks,)
        Group of each task, numbered by first occurrence; -1 for tasks that are not predicted
        better than by their mean, by two standard errors.
    n_groups_ : int
        Number of groups.
    affinity_ : ndarray of shape (n_tasks, n_tasks), float64
        Symmetric weights of the representation, zero for tasks that are not predicted.
    modularity_ : float
        Modularity of the groups in the affinity, between -0.5 and 1, zero for one group.
    scores_ : ndarray of shape (n_tasks,), float64
        Leave-one-out R2 of each task, of labels that of their indicators.
    tasks_ : TaskTargets
        The tasks.
    n_features_in_ : int
        Number of features, of sequences those of a step.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    FeatureGroupRanker : Groups of columns by their contribution to tasks.
    skspecialist.metrics.mask_overlap : Overlap of the masks of a fitted encoder.

    Notes
    -----
    Groups are exact if their subspaces are linearly independent [2]_. Families that share latents
    are connected by them, and become one group if they share most.

    References
    ----------
    .. [1] Trivedi, Wang, Kpotufe and Shakhnarovich, A consistent estimator of the expected
       gradient outerproduct, UAI 2014.
    .. [2] Lu, Min, Zhao, Zhu, Huang and Yan, Robust and efficient subspace segmentation via least
       squares regression, ECCV 2012.
    .. [3] Wang, Chen, Jamieson and Du, Improved active multi-task representation learning via
       Lasso, ICML 2023.
    .. [4] Newman and Girvan, Finding and evaluating community structure in networks, Physical
       Review E 69, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import TaskGrouper
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 20))
    >>> first, second = X[:, :2] @ rng.normal(size=(2, 4)), X[:, 2:4] @ rng.normal(size=(2, 4))
    >>> y = np.hstack([first, second]) + 0.3 * rng.normal(size=(300, 8))
    >>> grouper = TaskGrouper().fit(X, y)
    >>> grouper.labels_
    array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> target = X[:30, 2] - X[:30, 3] + 0.3 * rng.normal(size=30)
    >>> found = grouper.select_sources(X[:30], target)
    >>> found.sources
    ['task4', 'task5', 'task6', 'task7']
    """

    _parameter_constraints: dict = {
        "n_groups": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "affinity": [StrOptions({"gradient"}), HasMethods(["fit"])],
        "task_types": [StrOptions({"amount", "label"}), "array-like", dict, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_groups: str | int = "auto",
        *,
        affinity: Any = "gradient",
        task_types: Any = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_groups = n_groups
        self.affinity = affinity
        self.task_types = task_types
        self.random_state = random_state

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Find the groups of the tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_timesteps, n_features)
            Representation of each sample, or of each step of sequences.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Tasks; single values may be missing.

        Returns
        -------
        self : TaskGrouper
            Fitted.

        Raises
        ------
        ValueError
            If ``X`` is not finite, no task can be learned, or there are fewer predicted tasks
            than ``n_groups``.

        Warns
        -----
        SpecialistWarning
            If tasks are not predicted from ``X``.
        """
        X = validate_steps(self, X, ensure_min_samples=3)
        options = {"allow_missing": True, "task_types": self.task_types}
        self.tasks_ = TaskTargets.for_samples(y, X, estimator=self, **options)
        steps = _as_steps(X)
        rows = steps.reshape(-1, steps.shape[2])
        self._mean = rows.mean(axis=0)
        self._whitener = whitening(np.atleast_2d(np.cov(rows.T, bias=True)))

        # 1. Gradients of the tasks, and which of them are predicted at all.
        columns = task_columns(self.tasks_, y)
        outer, gains, null = self._gradients(self._whiten(steps), columns)
        learned = np.flatnonzero(self.tasks_.learned)
        scores = [gain.mean() / loss.mean() for gain, loss in zip(gains, null, strict=True)]
        self.scores_ = self.tasks_.place(np.array(scores))
        # 95 % of normal values are within two standard errors of their mean.
        found = np.array([g.mean() > 2 * np.nan_to_num(standard_error(g)) for g in gains])
        if not found.all():
            lost = [self.tasks_.names[t] for t in learned[~found]]
            warn(f"Tasks {lost} are not predicted from X, and are in no group (label -1).")
        self._directions = [_directions(product) for product in outer[found]]

        # 2. Each direction as a combination of those of all tasks, and the partition.
        compared = self._directions
        if not isinstance(self.affinity, str):
            mask = clone(self.affinity).fit(X, y).mask_[learned[found]]
            compared = [_directions(np.diag(row**2)) for row in mask]
        weights = _represent(compared)
        labels, self.modularity_ = self._divide(weights)
        self.affinity_ = np.zeros((len(self.tasks_), len(self.tasks_)))
        self.affinity_[np.ix_(learned[found], learned[found])] = weights
        self.labels_ = np.full(len(self.tasks_), -1)
        self.labels_[learned[found]] = labels
        self.n_groups_ = len(np.unique(labels))
        return self

    def select_sources(self, X: ArrayLike, y: Any) -> Bunch:
        """Select the tasks that help a target with few labels.

        The target is regressed on the directions of each group, and on all features (or replaced
        by its mean, if that is better); the difference of the leave-one-out errors is the gain of
        sharing an encoder with the group.

        Parameters
        ----------
        X : array-like
            Samples of which the target is known, as in :meth:`fit`.
        y : array-like of shape (n_samples,)
            The target.

        Returns
        -------
        selected : Bunch
            With attributes

            - ``sources``: names of the tasks of the groups that gain more than a standard error;
            - ``gains``, ``standard_errors``: arrays of shape (n_groups,), in units of the variance
              of the target;
            - ``harmful``: names of the tasks of the groups that lose more than a standard error;
            - ``weights``: array of shape (n_tasks,), of the Lasso of the target on the directions
              of all tasks, zero for tasks that are not needed beside the others;
            - ``report``: these as text.

        Warns
        -----
        SpecialistWarning
            If no group helps.
        """
        check_is_fitted(self)
        steps = self._whiten(_as_steps(validate_steps(self, X, reset=False)))
        kind = self.task_types if isinstance(self.task_types, str) else None
        options = {"allow_missing": True, "task_types": kind}
        values = task_columns(TaskTargets.for_samples(y, X, estimator=self, **options), y)[0]
        known = ~np.isnan(values[:, 0])
        steps, values = steps[known], values[known] - values[known].mean(axis=0)
        alone = _fit_kernels(steps, values)[0]
        if alone.sum() > np.square(values).sum():
            alone = values**2  # the mean is better than a regression of so few labels
        labels = self.labels_[self.labels_ >= 0]  # of the tasks that have directions
        gains, errors = np.zeros(self.n_groups_), np.zeros(self.n_groups_)
        for group in range(self.n_groups_):
            members = [self._directions[t] for t in np.flatnonzero(labels == group)]
            basis = _directions(sum(g @ g.T for g in members))
            basis /= np.linalg.norm(basis, axis=0)
            gain = (alone - _fit_kernels(steps @ basis, values)[0]).sum(axis=1)
            gains[group], errors[group] = gain.mean(), standard_error(gain)
        names = np.array(self.tasks_.names)

        def members_of(groups: np.ndarray) -> list[str]:
            return names[np.isin(self.labels_, np.flatnonzero(groups))].tolist()

        selected = Bunch(
            sources=members_of(gains > errors),
            harmful=members_of(gains < -errors),
            gains=gains,
            standard_errors=errors,
            weights=self._lasso(steps, values),
        )
        lines = [
            f"group {k} ({', '.join(names[self.labels_ == k])}): gain {gain:.2g} (standard error "
            f"{error:.2g})" + (", negative transfer" if gain < -error else "")
            for k, (gain, error) in enumerate(zip(gains, errors, strict=True))
        ]
        selected.report = "\n".join(lines)
        if not selected.sources:
            warn(f"No group of tasks helps the target:\n{selected.report}")
        return selected

    def _whiten(self, steps: np.ndarray) -> np.ndarray:
        return (steps - self._mean) @ self._whitener

    def _gradients(
        self, steps: np.ndarray, columns: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Return for each task mean outer products of gradients, gains, and losses of its mean."""
        order = check_random_state(self.random_state).permutation(len(steps))
        outer = np.zeros((len(columns), steps.shape[2], steps.shape[2]))
        gains, null = [np.zeros(1)] * len(columns), [np.zeros(1)] * len(columns)
        # Tasks with values in the same samples share the decompositions of the kernels.
        for tasks, pattern in missing_patterns(columns):
            rows = np.sort(order[pattern[order]][:MAX_SAMPLES])
            values = np.hstack([columns[task][rows] for task in tasks])
            values = values - values.mean(axis=0)
            owner = np.repeat(tasks, [columns[task].shape[1] for task in tasks])
            losses, fits = _fit_kernels(steps[rows], values)
            products = _outer_products(steps[rows], fits)
            for task in tasks:
                own = owner == task
                outer[task] = products[own].sum(axis=0)
                null[task] = np.square(values[:, own]).sum(axis=1)
                gains[task] = null[task] - losses[:, own].sum(axis=1)
        return outer, gains, null

    def _divide(self, weights: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the groups of the tasks, and their modularity."""
        n_tasks = len(weights)
        if self.n_groups != "auto":
            if int(self.n_groups) > n_tasks:
                raise ValueError(f"n_groups={self.n_groups}, but {n_tasks} tasks are predicted.")
            labels = _partition(weights, int(self.n_groups))
            return labels, _modularity(weights, labels)
        # Tasks that others do not represent are groups of their own.
        alone = np.diag(weights) ** 2 > ISOLATED * (weights**2).sum(axis=1)
        rest = weights[np.ix_(~alone, ~alone)]
        np.fill_diagonal(rest, 0.0)  # each task is its own best representative
        best, highest = np.zeros(len(rest), dtype=int), SMALLEST_MODULARITY
        for n_groups in range(2, len(rest)):
            labels = _partition(rest, n_groups)
            if (modularity := _modularity(rest, labels)) > highest:
                best, highest = labels, modularity
        labels = n_tasks + np.arange(n_tasks)
        labels[~alone] = best
        return _numbered(labels), _modularity(weights, labels)

    def _lasso(self, steps: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the norms of the coefficients of a target on the directions of each task."""
        owner = np.repeat(np.flatnonzero(self.labels_ >= 0), [g.shape[1] for g in self._directions])
        weights = np.zeros(len(self.tasks_))
        if len(owner):
            inputs = steps @ np.hstack(self._directions)
            owner = np.tile(owner, inputs.shape[1])
            inputs = inputs.reshape(len(inputs), -1)
            for column in values.T:
                lasso = LassoCV(cv=min(5, len(inputs)), max_iter=10_000, tol=1e-3)
                np.add.at(weights, owner, lasso.fit(inputs, column).coef_ ** 2)
        return np.sqrt(weights)


def _as_steps(X: np.ndarray) -> np.ndarray:
    """Return samples as sequences of one step."""
    return (X if X.ndim == 3 else X[:, None]).astype(np.float64)


def _kernels(steps: np.ndarray, width: float) -> Iterator[np.ndarray]:
    """Yield the kernel of each step: linear for a width of zero, otherwise Gaussian."""
    for x in np.moveaxis(steps, 1, 0):
        products = x @ x.T
        if not width:
            yield products
            continue
        squares = np.diag(products)
        distances = squares[:, None] + squares - 2 * products
        yield np.exp(-width / x.shape[1] * distances)


def _fit_kernels(
    steps: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, list[tuple[float, np.ndarray]]]:
    """Return squared leave-one-out errors of centered columns, and kernel and coefficients.

    Functions are sums over the steps. Kernel and ridge penalty are those of least error.
    """
    n_samples = len(steps)
    losses = np.full(values.shape, np.inf)
    fits = [(0.0, np.zeros(n_samples))] * values.shape[1]
    for width in WIDTHS:
        kernel = np.zeros((n_samples, n_samples))
        for part in _kernels(steps, width):
            kernel += part
        # Centered in feature space: the intercept is not penalized.
        kernel = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
        eigenvalues, vectors = np.linalg.eigh(kernel)
        eigenvalues = np.maximum(eigenvalues, 0.0)
        rotated = vectors.T @ values
        for penalty in PENALTIES * max(eigenvalues.mean(), np.finfo(float).tiny):
            inverse = 1 / (eigenvalues + penalty)
            coefficients = vectors @ (inverse[:, None] * rotated)
            # Errors of ridge regression without a sample are c_i / [(K + a I)^-1]_ii; the
            # constant, whose eigenvalue is zero, is the intercept and not in the inverse.
            diagonal = vectors**2 @ inverse - 1 / (n_samples * penalty)
            squares = (coefficients / np.maximum(diagonal, np.finfo(float).tiny)[:, None]) ** 2
            for j in np.flatnonzero(squares.mean(axis=0) < losses.mean(axis=0)):
                losses[:, j], fits[j] = squares[:, j], (width, coefficients[:, j])
    return losses, fits


def _outer_products(steps: np.ndarray, fits: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Return the outer products of the gradients of fits, means over samples, sums over steps."""
    n_samples, _, n_features = steps.shape
    products = np.zeros((len(fits), n_features, n_features))
    for width in {width for width, _ in fits}:
        for x, kernel in zip(np.moveaxis(steps, 1, 0), _kernels(steps, width), strict=True):
            for product, (own, coefficients) in zip(products, fits, strict=True):
                if own != width:
                    continue
                gradients = (coefficients @ x)[None]
                if width:
                    # The gradient of exp(-w |x - z|^2 / d) is -2 w / d (x - z) times the kernel.
                    weighted = kernel * coefficients
                    gradients = weighted @ x - weighted.sum(axis=1)[:, None] * x
                    gradients *= 2 * width / n_features / np.sqrt(n_samples)
                product += gradients.T @ gradients
    return products


def _directions(product: np.ndarray) -> np.ndarray:
    """Return principal directions, columns whose squared lengths are their shares."""
    shares, axes = np.linalg.eigh(product)
    shares = np.maximum(shares, 0.0) / max(shares.sum(), np.finfo(float).tiny)
    kept = shares > SMALLEST_SHARE
    return np.asarray(axes[:, kept] * np.sqrt(shares[kept]))


def _represent(directions: list[np.ndarray]) -> np.ndarray:
    """Return the weights of tasks in the representation of each other's directions [2]."""
    if not directions:
        return np.zeros((0, 0))
    owner = np.repeat(np.arange(len(directions)), [g.shape[1] for g in directions])
    stacked = np.hstack(directions)
    gram = stacked.T @ stacked
    coefficients = np.linalg.solve(gram + REPRESENTATION_PENALTY * np.eye(len(gram)), gram)
    weights = np.zeros((len(directions), len(directions)))
    np.add.at(weights, (owner[:, None], owner), coefficients**2)
    return np.sqrt((weights + weights.T) / 2)


def _partition(weights: np.ndarray, n_groups: int) -> np.ndarray:
    """Return labels of spectral clustering."""
    labels = np.arange(len(weights))
    if n_groups < len(weights):
        # Groups without any connection are connected weakly, as the Laplacian requires.
        clustering = SpectralClustering(
            n_groups, affinity="precomputed", assign_labels="cluster_qr", random_state=0
        )
        labels = clustering.fit_predict(weights + 1e-9)
    return _numbered(labels)


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Return labels that are numbered by their first occurrence."""
    first = np.unique(labels, return_index=True)[1]
    return np.argsort(np.argsort(first))[np.unique(labels, return_inverse=True)[1]]


def _modularity(weights: np.ndarray, labels: np.ndarray) -> float:
    """Return the weight within groups in excess of that of random connections [4]."""
    # All weights vanish where no task is predicted.
    degrees, total = weights.sum(axis=1), max(weights.sum(), np.finfo(float).tiny)
    same = labels[:, None] == labels
    return float(((weights - np.outer(degrees, degrees) / total) * same).sum() / total)
