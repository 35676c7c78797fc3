"""Selection of latents for linear tasks, and groups of latents that are not identifiable."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching
from sklearn.model_selection import KFold

from .._base.sklearn_compat import Interval, validate_params
from .._data.validation import check_numbers, check_same_length
from .._stats.model_comparison import standard_error

__all__ = ["inseparable_groups", "select_support"]

# Share of the tasks with both of two latents in which the coefficient of a mixture may be too
# small to be noticed: from simulations with two latents that always occur together.
COINCIDENCES = 0.25


@validate_params(
    {
        "latents": ["array-like"],
        "targets": ["array-like"],
        "groups": [list, tuple, None],
        "tolerance": [Interval(Real, 0, 1, closed="left")],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def select_support(
    latents: ArrayLike,
    targets: ArrayLike,
    *,
    groups: Sequence[ArrayLike] | None = None,
    tolerance: float = 0.01,
    n_folds: int = 5,
) -> np.ndarray:
    """Return the latents that each linear task needs.

    Backward elimination: for each task, latents are removed one by one from a least squares
    fit to all, always the one whose removal increases the squared error least. Of the sets on
    this path the smallest is taken whose cross-validated error exceeds that of all latents by
    no more than ``tolerance`` of the variance that these explain, or one standard error of the
    difference, whichever is larger.

    Parameters
    ----------
    latents : array-like of shape (n_samples, n_latents)
        Latents, such as those after :func:`sparse_rotation`.
    targets : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Values of the tasks; class labels as indicators.
    groups : sequence of array-like of int, default=None
        Columns of ``targets`` that belong to each task and share a support. None is a
        task for each column.
    tolerance : float, default=0.01
        Part of the explained variance, in [0, 1), that may be lost for sparsity. A
        hundredth is more than a latent without use adds by chance among a few hundred
        samples. Less, such as 0.001, is better for :func:`inseparable_groups`.
    n_folds : int, default=5
        Folds of the cross-validation, at least 2. The samples are shuffled with a fixed seed.

    Returns
    -------
    support : ndarray of shape (n_tasks, n_latents), bool
        Latents that each task uses; none where all together do not predict it.

    Raises
    ------
    ValueError
        If an array is not finite, lengths differ, samples are too few for a fit in each
        fold, or ``groups`` do not name columns of ``targets``.

    See Also
    --------
    sparse_rotation : Rotation to latents with small supports.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.encoder import select_support
    >>> rng = np.random.default_rng(0)
    >>> latents = rng.normal(size=(500, 3))
    >>> targets = latents @ [[1, 0], [0, 1], [0, 1]] + 0.1 * rng.normal(size=(500, 2))
    >>> select_support(latents, targets).astype(int).tolist()
    [[1, 0, 0], [0, 1, 1]]
    """
    design = check_numbers(latents, "latents")
    outputs = check_numbers(targets, "targets", ensure_2d=False)
    outputs = outputs[:, None] if outputs.ndim == 1 else outputs
    check_same_length(latents=design, targets=outputs)
    n_samples, n_latents = design.shape
    if n_samples - -(-n_samples // n_folds) <= n_latents or n_samples < n_folds:
        raise ValueError(
            f"latents has {n_samples} samples: too few for n_folds={n_folds} and a fit to "
            f"{n_latents} latents."
        )
    columns = _check_groups(groups, outputs.shape[1])
    orders = [_removal_order(design, outputs[:, group]) for group in columns]
    errors = _held_out_errors(design, outputs, columns, orders, n_folds)
    support = np.zeros((len(columns), n_latents), dtype=bool)
    for row, order, error in zip(support, orders, errors, strict=True):
        row[order[len(order) - _smallest_size(error, tolerance) :]] = True
    return support


def _check_groups(groups: Sequence[ArrayLike] | None, n_outputs: int) -> list[np.ndarray]:
    if groups is None:
        return list(np.arange(n_outputs)[:, None])
    columns = [np.atleast_1d(np.asarray(group)) for group in groups]
    if not columns or not all(
        group.size and group.dtype.kind in "iu" and np.isin(group, np.arange(n_outputs)).all()
        for group in columns
    ):
        raise ValueError(
            f"groups must name for each task some of the {n_outputs} columns of targets, "
            f"got {groups!r}."
        )
    return columns


def _removal_order(design: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return the latents in the order of their removal."""
    design, outputs = design - design.mean(axis=0), outputs - outputs.mean(axis=0)
    left, order = np.arange(design.shape[1]), []
    while left.size:
        inverse = np.linalg.pinv(design[:, left].T @ design[:, left], hermitian=True)
        weights = inverse @ (design[:, left].T @ outputs)
        # The increase of the squared error without latent j is w_j^2 / (G^-1)_jj, where G is
        # the Gram matrix and w the coefficients (partial F test).
        rise = (weights**2).sum(axis=1) / np.maximum(np.diag(inverse), np.finfo(float).tiny)
        order.append(left[rise.argmin()])
        left = np.delete(left, rise.argmin())
    return np.array(order)


def _held_out_errors(
    design: np.ndarray,
    outputs: np.ndarray,
    columns: list[np.ndarray],
    orders: list[np.ndarray],
    n_folds: int,
) -> np.ndarray:
    """Return squared errors by task, number of latents kept, and sample."""
    n_samples, n_latents = design.shape
    errors = np.empty((len(columns), n_latents + 1, n_samples))
    for train, test in KFold(n_folds, shuffle=True, random_state=0).split(design):
        center, level = design[train].mean(axis=0), outputs[train].mean(axis=0)
        known, new = design[train] - center, design[test] - center
        gram, cross = known.T @ known, known.T @ (outputs[train] - level)
        for task, (group, order) in enumerate(zip(columns, orders, strict=True)):
            truth = outputs[test][:, group] - level[group]
            for size in range(n_latents + 1):
                kept = order[n_latents - size :]
                weights = np.linalg.pinv(gram[np.ix_(kept, kept)], hermitian=True)
                fit = new[:, kept] @ (weights @ cross[np.ix_(kept, group)])
                errors[task, size, test] = ((truth - fit) ** 2).sum(axis=1)
    return errors


def _smallest_size(errors: np.ndarray, tolerance: float) -> int:
    """Return the smallest sufficient number of latents, given errors by number and sample."""
    losses = errors - errors[-1]
    mean = losses.mean(axis=1)
    # The losses of the empty set, mean[0], are the variance that all latents explain.
    allowed = np.maximum(standard_error(losses), tolerance * mean[0])
    return int(np.argmax(mean <= allowed))


def inseparable_groups(
    support: ArrayLike, *, groups: Sequence[ArrayLike] | None = None
) -> list[tuple[int, ...]]:
    r"""Return the groups of latents that the tasks cannot separate.

    If every task that uses latent :math:`l` uses latent :math:`j`, then :math:`l` may be mixed
    into :math:`j` without a further coefficient, and :math:`j` is not identified
    [1]_. Few exceptions do not change that: with each latent that is mixed in, one
    coefficient can be made to vanish, and :func:`sparse_rotation` will have done so.
    Hence a set :math:`H` of latents is separated from :math:`j` if more than :math:`|H|`
    columns of tasks without :math:`j` use some of it, or no task uses both. Sets that are
    not are found as the deficient ones of Hall's marriage theorem, by matching. Further
    coefficients may be too small to be noticed by coincidence: a single :math:`l` needs
    one task more for every four that use both. In simulations (24 tasks, 5 latents, one
    of them doubled) this found the pair in 30 of 30 data sets with supports of
    ``tolerance=0.001``, and in 22 with the default 0.01; where all latents could be
    separated, 2 of 30 data sets had a group too many.

    Parameters
    ----------
    support : array-like of shape (n_tasks, n_latents), bool or numeric
        Latents that each task uses: those that are not zero.
    groups : sequence of array-like of int, default=None
        Columns of each task, as in :func:`select_support`: that a task of several
        columns does not use a latent is evidence from each. None is one column per task.

    Returns
    -------
    inseparable : list of tuple of int
        Groups of two or more latents, connected components of pairs that are not separated, in
        increasing order. Latents that no task uses are in none.

    Raises
    ------
    ValueError
        If ``support`` is not a matrix of finite numbers, or does not have one row
        per entry of ``groups``.

    See Also
    --------
    sparse_rotation : Rotation to latents, up to mixtures within such groups.

    References
    ----------
    .. [1] Lachapelle et al., Synergies between disentanglement and sparsity, ICML 2023.

    Examples
    --------
    >>> from skspecialist.encoder import inseparable_groups
    >>> inseparable_groups([[1, 1, 0]] * 3 + [[1, 1, 1]] + [[0, 0, 1]] * 3)
    [(0, 1)]
    """
    uses = check_numbers(support, "support") != 0
    if groups is not None:
        if not isinstance(groups, Sequence | np.ndarray) or len(groups) != len(uses):
            raise ValueError(
                f"groups must list the columns of each of the {len(uses)} tasks of support, got "
                f"{groups!r}."
            )
        uses = np.repeat(uses, [np.size(group) for group in groups], axis=0)
    linked = np.zeros((uses.shape[1], uses.shape[1]), dtype=bool)
    used = np.flatnonzero(uses.any(axis=0))
    for latent in used:
        # Pairs: too few tasks use the other latent without this one.
        others, own = used[used != latent], uses[:, latent]
        rest = uses[~own][:, others]
        together = uses[own][:, others].sum(axis=0)
        near = (together > 0) & (rest.sum(axis=0) <= 1 + COINCIDENCES * together)
        linked[latent, others[near]] = True
        # Larger sets H: no more tasks without this latent use H than H has latents (Hall).
        for column in range(len(others)):
            for members in _deficient(rest, column):
                if together[members].any():
                    linked[latent, others[members]] = True
    labels = connected_components(csr_array(linked), directed=False)[1]
    found = [tuple(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)]
    return sorted(group for group in found if len(group) > 1)


def _deficient(uses: np.ndarray, doubled: int) -> list[np.ndarray]:
    """Return smallest sets of columns that no more rows use than they have columns.

    With one of the columns doubled all can be matched to rows unless there are such sets.
    """
    owners = np.append(np.arange(uses.shape[1]), doubled)
    # An additional row, which no column uses, keeps the matrix from being empty.
    graph = np.pad(uses.T[owners], ((0, 0), (0, 1)))
    match = maximum_bipartite_matching(csr_array(graph), perm_type="column")
    sets = []
    for start in np.flatnonzero(match == -1):
        reached = np.arange(len(owners)) == start
        for _ in owners:
            reached |= graph[reached].any(axis=0)[match] & (match >= 0)
        members = np.unique(owners[reached])
        for member in members:
            fewer = members[members != member]
            if fewer.size and uses[:, fewer].any(axis=1).sum() <= fewer.size:
                members = fewer
        sets.append(members)
    return sets
