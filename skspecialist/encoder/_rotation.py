"""Rotation of latents after which each linear task needs few of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from .._data.validation import as_array, check_numbers
from ..exceptions import warn
from ..networks.layers import Bottlenecks, MaskedHeads
from ..networks.training import StepData
from ._separability import inseparable_groups, select_support

__all__ = ["SparseRotation", "sparse_rotation"]

N_SUBSETS = 6_000  # random sets of rows, each with a candidate direction
N_STARTS = 4  # bases that are improved, each the best of a part of the candidates
N_RIVALS = 500  # cheapest candidates, with which each direction is compared
MAX_SWEEPS = 20  # passes of improvement over all directions
POLISHING_STEPS = 10  # steps of iteratively reweighted least squares
# Coefficient, in standard errors, at which the cost is half of its maximum: an estimate of a
# true zero exceeds it with probability 0.003.
HALF_ZERO = 3.0
# Draws of tasks without sparsity, and of coefficients that differ by a standard error.
N_NULL, N_REPEATS = 5, 2
SAME_LATENT = 0.9  # least correlation of a latent with itself after another draw
# Noise of the coefficients as a part of the explained standard deviation: by default, and at
# least, since float32 latents carry errors of about this size.
DEFAULT_NOISE, LEAST_NOISE = 0.01, 0.001
SUPPORT_TOLERANCE = 0.01  # share of a task's explained variance that a sparse support may lose
# A smaller share where latents that occur together are sought: a support that drops one of
# them for its small coefficient would pass as evidence that they are separable.
GROUP_TOLERANCE = 0.001


@dataclass(frozen=True, eq=False)
class SparseRotation:
    """A rotation of latents, and the coefficients of the tasks after it.

    Attributes
    ----------
    rotation : ndarray of shape (n_latents, n_latents), float64
        Invertible; ``latents @ rotation`` are the new latents, of unit variance, possibly
        correlated.
    coefficients : ndarray of shape (n_outputs, n_latents), float64
        Coefficients of the new latents. Those that are not needed are small, not zero:
        see :func:`select_support`.
    """

    rotation: np.ndarray
    coefficients: np.ndarray


def sparse_rotation(
    coefficients: ArrayLike, covariance: ArrayLike, *, noise: ArrayLike | None = None
) -> SparseRotation:
    r"""Find the latents in which linear tasks have the fewest coefficients.

    Latents :math:`z = M' s` are as good as the true :math:`s` for heads that are linear: a
    task with coefficients :math:`c` of :math:`s` has :math:`b = M^{-1} c` of :math:`z`,
    few in number only in the true latents. If the tasks vary enough, so that for every
    latent the tasks that do not use it use all others between them, the coefficients are
    fewest in the true latents and, up to order and scale, in no others [1]_. Errors in
    the latents are harmless if ``coefficients`` are those of least squares: these are
    :math:`b = P c` with the same :math:`P` for all tasks, the regression of :math:`s` on
    :math:`z`, and the new latents estimate the true ones as well as a linear map can.
    Noise in the tasks is not harmless: where tasks without any sparsity, of equal size and
    noise, could be made as sparse, the latents stay as they are.

    With :math:`B` the matrix of all tasks and :math:`A` the rotation, the coefficients of
    latent :math:`j` are :math:`B q_j`, where :math:`q_j` is column :math:`j` of
    :math:`A^{-T}`. So this is a search for independent :math:`q` for which :math:`B q`
    has many zeros [2]_. A linear program finds them if they are very sparse, not if a
    latent serves half of the tasks. Instead: (1) directions that are orthogonal to
    random ``n_latents - 1`` rows, among them the true ones wherever all rows of a draw do
    without the latent; (2) bases of them, chosen greedily; (3) each vector is improved by
    reweighted least squares, by exchange for another candidate, and by adding multiples of
    another so that a further coefficient vanishes, until none is. A coefficient :math:`u`, in
    standard errors, costs :math:`u^2 / (9 + u^2)`: small ones are noise, and beyond that size
    does not matter. The logarithm of the determinant of all :math:`q`, times a third of the
    number of tasks, is subtracted, as in a density: noisy copies of one latent are not several.

    Parameters
    ----------
    coefficients : array-like of shape (n_outputs, n_latents)
        One row per task, or per column of a task. The units of a task do not matter.
    covariance : array-like of shape (n_latents, n_latents)
        Covariance of the latents, positive definite.
    noise : float or array-like of shape (n_outputs,), default=None
        Standard error of each row's coefficients for uncorrelated latents of unit variance,
        which is the residual standard deviation over the root of the number of samples.
        It also separates directions that no task uses from the others. None is a hundredth
        of the standard deviation that the row explains, and the minimum is a thousandth.

    Returns
    -------
    result : SparseRotation
        Rotation and coefficients. The new latents are in the order, and have the signs,
        that agree best with the given ones. Directions that no task uses come as latents
        uncorrelated with all others.

    Raises
    ------
    ValueError
        If an array has a wrong shape or is not finite, ``covariance`` is not positive
        definite, or ``noise`` is negative.

    Warns
    -----
    SpecialistWarning
        If no rotation is sparser than by chance, so that the latents stay as they are, or if a
        rotation of coefficients that differ by a standard error has other latents.

    See Also
    --------
    select_support : Selection of the coefficients that are needed.
    inseparable_groups : Groups of latents that the tasks cannot separate.

    Notes
    -----
    With ``n_latents`` tasks or fewer, each can have a latent of its own, and their sparsity
    is not evidence. With fewer (not counting rows of zeros) the latents stay as they
    are, scaled to unit variance. With as many, each becomes a latent; any
    ``n_latents - 1`` zeros of a latent are free, and only further ones are evidence.

    The random draws have a fixed seed: the same input gives the same result, and the order of
    the tasks does not matter.

    References
    ----------
    .. [1] Lachapelle, Deleu, Mahajan, Mitliagkas, Bengio, Lacoste-Julien and Bertrand,
       Synergies between disentanglement and sparsity: generalization and identifiability
       in multi-task learning, ICML 2023.
    .. [2] Spielman, Wang and Wright, Exact recovery of sparsely-used dictionaries,
       COLT 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.encoder import sparse_rotation
    >>> sparse = np.array([[1, 0], [2, 0], [3, 0], [0, 1], [0, 2], [0, 3], [1, 1.0]])
    >>> mixing = np.array([[1, 0.5], [-0.5, 1]])
    >>> covariance = mixing.T @ mixing  # of the latents s @ mixing, where s has the identity
    >>> found = sparse_rotation(sparse @ np.linalg.inv(mixing).T, covariance)
    >>> np.round(np.abs(found.coefficients), 6).tolist()
    [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0], [1.0, 1.0]]
    """
    rows = check_numbers(coefficients, "coefficients")
    covariance, factor = _check_covariance(covariance, rows.shape[1])
    # z = L u with the Cholesky factor L and uncorrelated u of unit variance: b'z = (b'L) u.
    whitened = _standardize(rows @ factor, _check_noise(noise, len(rows)))
    rotation = np.diag(1 / np.sqrt(np.diag(covariance)))
    directions = _complete_with_unused(whitened) if len(whitened) >= rows.shape[1] else None
    if directions is not None:
        rotation = np.linalg.solve(factor.T, np.linalg.inv(directions))
        rotation = _arrange(rotation / np.linalg.norm(factor.T @ rotation, axis=0), covariance)
    return SparseRotation(rotation, np.linalg.solve(rotation, rows.T).T)


def _check_covariance(covariance: ArrayLike, n_latents: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariance and its Cholesky factor."""
    checked = check_numbers(covariance, "covariance")
    if checked.shape != (n_latents, n_latents):
        raise ValueError(
            f"covariance must have shape ({n_latents}, {n_latents}), as many latents as "
            f"coefficients has columns, got {checked.shape}."
        )
    if not np.allclose(checked, checked.T, rtol=1e-6, atol=1e-12):
        raise ValueError("covariance must be symmetric.")
    try:
        return checked, np.linalg.cholesky(checked)
    except np.linalg.LinAlgError:
        raise ValueError(
            "covariance must be positive definite: leave out latents that are constant or "
            "linear in the others."
        ) from None


def _check_noise(noise: ArrayLike | None, n_rows: int) -> np.ndarray | None:
    if noise is None:
        return None
    checked = as_array(noise, "noise", dtype=np.float64)
    if checked.shape not in ((), (n_rows,)) or not (np.isfinite(checked) & (checked >= 0)).all():
        raise ValueError(
            f"noise must be a non-negative number, or {n_rows}, one for each row of "
            f"coefficients, got {noise!r}."
        )
    return np.broadcast_to(checked, n_rows)


def _standardize(whitened: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """Return the rows that are not zero, in standard errors, in lexicographic order."""
    explained = np.linalg.norm(whitened, axis=1)
    if noise is None:
        noise = DEFAULT_NOISE * explained
    scales = np.maximum(noise, LEAST_NOISE * explained)
    whitened = whitened[explained > 0] / scales[explained > 0, None]
    return whitened[np.lexsort(whitened.T)]


def _complete_with_unused(rows: np.ndarray) -> np.ndarray | None:
    """Return directions as rows: sparse ones where there are tasks, then those without any.

    None if tasks without any sparsity would have directions as sparse.
    """
    n_rows, n_latents = rows.shape
    _, values, basis = np.linalg.svd(rows, full_matrices=True)
    # The largest singular value of an n x d matrix of standard normal noise is at most about
    # sqrt(n) + sqrt(d) (Davidson and Szarek 2001): directions below it are unused.
    n_used = int((values > np.sqrt(n_rows) + np.sqrt(n_latents)).sum())
    if n_used == 0:
        return np.eye(n_latents)
    used = rows @ basis[:n_used].T
    directions = _sparse_directions(used, N_STARTS)
    # Of as many tasks as latents each can have its own: their zeros are not evidence.
    if 1 < n_used < n_rows and not _is_determined(used, directions):
        return None
    return np.vstack([directions @ basis[:n_used], basis[n_used:]])


def _is_determined(rows: np.ndarray, directions: np.ndarray) -> bool:
    """Return whether directions are sparser than by chance, and warn if noise decides on them."""
    rng = np.random.RandomState(1)
    cost, noise = _cost(rows, directions), rng.standard_normal((N_NULL + N_REPEATS, *rows.shape))
    # Random directions, of the length that the rows have without their noise.
    lengths = np.sqrt(((rows**2).sum(axis=1) - rows.shape[1]).clip(0))
    random = rng.standard_normal((N_NULL, *rows.shape))
    random *= lengths[:, None] / np.linalg.norm(random, axis=2, keepdims=True)
    null = random + noise[:N_NULL]
    if any(_cost(each, _sparse_directions(each)) <= cost for each in null):
        warn(
            "Rotation of the latents: none makes the tasks sparser than tasks without sparsity "
            "would be, and the latents stay as they are. More samples, or more tasks, may separate "
            "them."
        )
        return False
    latents, least = _latents_of(directions), 1.0
    for each in rows + noise[N_NULL:]:
        alike = np.abs(latents.T @ _latents_of(_sparse_directions(each)))
        least = min(least, alike[linear_sum_assignment(alike, maximize=True)].min())
    if least < SAME_LATENT:
        warn(
            "Rotation of the latents: with coefficients that differ by a standard error a latent "
            f"is another one (correlation {least:.2f}). More samples, or more tasks, may separate "
            "them; until then the latents are certain as a block only."
        )
    return True


def _latents_of(directions: np.ndarray) -> np.ndarray:
    """Return the latents as columns, unit vectors in coordinates of unit covariance."""
    inverse = np.linalg.inv(directions)
    return inverse / np.linalg.norm(inverse, axis=0)


def _sparse_directions(rows: np.ndarray, n_starts: int = 1) -> np.ndarray:
    """Return as many independent unit vectors as there are columns, as rows."""
    if rows.shape[1] == 1:
        return np.ones((1, 1))
    # (1) Candidates, (2) the best bases of parts of them, of which the first has them all.
    candidates = _orthogonal_directions(rows)
    costs = _count(candidates @ rows.T)
    rivals = candidates[costs.argsort()[:N_RIVALS]]
    parts = [slice(None), *(slice(place, None, n_starts) for place in range(1, n_starts))]
    # (3) Each vector in turn is replaced by a cheaper one, until none is found.
    found = [_descend(rows, _best_basis(candidates[p], costs[p], len(rows)), rivals) for p in parts]
    return min(found, key=lambda directions: _cost(rows, directions))


def _descend(rows: np.ndarray, directions: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Return directions of lower cost: polished, exchanged for rivals, or mixed with others."""
    for _ in range(MAX_SWEEPS):
        before, polished = _cost(rows, directions), _polish(rows, directions)
        for place in range(len(directions)):
            # The distance of a unit vector from the span of the other directions is its product
            # with the unit vector that is orthogonal to them.
            normal = _latents_of(directions)[:, place]
            candidates = np.vstack(
                [directions[place], polished[place], _mixtures(rows, directions, place), rivals]
            )
            costs = _count(candidates @ rows.T) - _volume(len(rows), candidates @ normal)
            if costs.min() < costs[0] - 1e-9:
                directions[place] = candidates[costs.argmin()]
        if _cost(rows, directions) >= before - 1e-6:
            break
    return directions


def _cost(rows: np.ndarray, directions: np.ndarray) -> float:
    """Return the number of nonzero coefficients, and the price of directions that are alike.

    The density of B is that of its coefficients B Q' times |det Q| for each of its rows. A zero
    coefficient has the density of a standard normal variable, another one a lower density, about
    exp(-HALF_ZERO): in units of this difference the negative log density is the number of nonzero
    coefficients minus n_rows log|det Q| / HALF_ZERO. Without the determinant, noisy copies of the
    sparsest direction would cost less than other directions.
    """
    return float(_count(directions @ rows.T).sum() - _volume(len(rows), np.linalg.det(directions)))


def _volume(n_rows: int, distances: np.ndarray) -> np.ndarray:
    """Return the part of the cost that rises with distances of directions from the others."""
    return n_rows / HALF_ZERO * np.log(np.maximum(np.abs(distances), 1e-12))


def _count(coefficients: np.ndarray) -> np.ndarray:
    """Return the number of nonzero coefficients along the last axis, small ones in part.

    The cost u^2 / (9 + u^2) of Geman and McClure (1987): quadratic for noise, constant for
    coefficients far from zero.
    """
    squares = (coefficients / HALF_ZERO) ** 2
    return (squares / (1 + squares)).sum(axis=-1)


def _orthogonal_directions(rows: np.ndarray) -> np.ndarray:
    """Return unit vectors, each orthogonal to all but one of as many random rows as it is long."""
    n_rows, size = rows.shape
    order = np.random.RandomState(0).random_sample((N_SUBSETS, n_rows)).argsort(axis=1)
    # The last column of a complete QR decomposition is orthogonal to the size - 1 given ones.
    subsets = rows[order[:, : size - 1]].swapaxes(1, 2)
    return np.linalg.qr(subsets, mode="complete")[0][:, :, -1]


def _best_basis(directions: np.ndarray, costs: np.ndarray, n_rows: int) -> np.ndarray:
    """Return independent directions of low cost, chosen one after the other.

    Each pays for its distance from the span of those before: the distances multiply to the
    determinant.
    """
    rest, chosen = directions, []
    for _ in range(directions.shape[1]):
        distances = np.linalg.norm(rest, axis=1)
        best = int(np.argmin(costs - _volume(n_rows, distances)))
        chosen.append(best)
        unit = rest[best] / distances[best]
        rest = rest - np.outer(rest @ unit, unit)
    return directions[chosen]


def _polish(rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return directions of lower cost nearby, by iteratively reweighted least squares."""
    size = rows.shape[1]
    products = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
    for _ in range(POLISHING_STEPS):
        # The derivative of the cost with respect to u^2, up to a factor, weighs each row; the
        # eigenvector of the least eigenvalue minimizes the weighted sum of squares.
        weights = 1 / (1 + (directions @ rows.T / HALF_ZERO) ** 2) ** 2
        moments = (weights @ products).reshape(-1, size, size)
        directions = np.linalg.eigh(moments)[1][:, :, 0]
    return directions


def _mixtures(rows: np.ndarray, directions: np.ndarray, place: int) -> np.ndarray:
    """Return a direction minus multiples of each other one, without which a task does then."""
    own, others = rows @ directions[place], np.delete(directions, place, axis=0)
    used = rows @ others.T
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(np.abs(used) > 1e-6 * np.abs(used).max(axis=0), used, np.nan)
        ratios = own[:, None] / used
    mixtures = directions[place] - ratios[:, :, None] * others
    mixtures /= np.linalg.norm(mixtures, axis=2, keepdims=True)
    return mixtures[np.isfinite(mixtures).all(axis=2)]


def _arrange(rotation: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Order and sign the new latents as the given ones with which they correlate most."""
    correlations = covariance @ rotation / np.sqrt(np.diag(covariance))[:, None]
    # The names of the latents are arbitrary: those closest to the given ones are the least change.
    order = linear_sum_assignment(np.abs(correlations), maximize=True)[1]
    signs = np.where(np.diag(correlations[:, order]) < 0, -1.0, 1.0)
    return rotation[:, order] * signs


def rotate_latents(
    data: StepData, module: Bottlenecks, n_classes: Sequence[int]
) -> list[tuple[int, ...]]:
    """Rotate the latents of one group, and restrict its mask to the support.

    Parameters
    ----------
    data : StepData
        Training data, to which linear heads are fitted by least squares.
    module : Bottlenecks
        Trained, of one group, with linear heads. Its heads must be trained again afterwards.
    n_classes : sequence of int
        Number of classes of each task, 0 for a continuous one.

    Returns
    -------
    inseparable : list of tuple of int
        Groups of latents that the tasks cannot separate.
    """
    designs, targets = _regressions(data, module, n_classes)
    fits = [_least_squares(*pair) for pair in zip(designs, targets, strict=True)]
    covariance = np.cov(module.encoders.encode_rows(data.rows)[0].double().numpy().T)
    found = sparse_rotation(
        np.vstack([fit[0] for fit in fits]),
        covariance,
        noise=np.concatenate([fit[1] for fit in fits]),
    )
    supports = {
        share: np.vstack(
            [
                select_support(
                    design @ found.rotation,
                    values,
                    groups=[np.arange(values.shape[1])],
                    tolerance=share,
                )
                for design, values in zip(designs, targets, strict=True)
            ]
        )
        for share in (SUPPORT_TOLERANCE, GROUP_TOLERANCE)
    }
    _rotate(data, module, found.rotation, supports[SUPPORT_TOLERANCE])
    ends = np.cumsum([values.shape[1] for values in targets])
    columns = np.split(np.arange(ends[-1]), ends[:-1])
    return inseparable_groups(supports[GROUP_TOLERANCE], groups=columns)


def _regressions(
    data: StepData, module: Bottlenecks, n_classes: Sequence[int]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return, for each task, its latents summed over its steps, and its target columns."""
    designs, targets = [], []
    latents = module.encoders.encode_rows(data.rows)[0].view(*data.X.shape[:2], -1)
    for task, count in enumerate(n_classes):
        present = data.weights[:, task] > 0
        weights = data.step_weights[present][:, :, task, None]
        if module.heads.importance is not None:
            weights = weights * module.heads.step_importance()[0, task, :, None].detach()
        designs.append((latents[present] * weights).sum(dim=1).double().numpy())
        # Indicators of all classes but the first, which follows from the others.
        values = data.targets[present, task].double().numpy()[:, None]
        targets.append(values if count == 0 else (values == np.arange(1, count)).astype(float))
    return designs, targets


def _least_squares(design: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (n_columns, n_latents) and their standard errors (n_columns,).

    The error of a coefficient is sd(residual) / (sd(latent) * sqrt(n)), with the root mean
    square over the latents in the place of sd(latent).
    """
    design = design - design.mean(axis=0)
    values = values - values.mean(axis=0)
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    spread = (values - design @ coefficients).std(axis=0)
    scale = np.sqrt((design**2).mean() * len(design))
    return coefficients.T, spread / max(scale, 1e-12)


@torch.no_grad()
def _rotate(data: StepData, module: Bottlenecks, rotation: np.ndarray, support: np.ndarray) -> None:
    encoders = module.encoders
    # The rotation is one of standardized latents: raw ones are scaled first.
    turn = torch.tensor(rotation, dtype=torch.float32) / encoders.variance[0].sqrt().T
    assert encoders.layers is not None
    weight, bias = encoders.layers.last
    weight.copy_(weight @ turn)
    bias.copy_((bias - encoders.mean) @ turn)
    encoders.freeze(data.rows, data.step_row_weights)
    module.allowed.copy_(module.allowed * torch.tensor(support, dtype=torch.float32))
    module.mask.copy_(module.allowed)
    heads = MaskedHeads(encoders.n_latents, module.task_loss.n_outputs, ())
    heads.copy_steps(module.heads)
    module.heads = heads
