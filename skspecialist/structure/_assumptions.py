"""Diagnostics of the assumptions of the structure tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import beta, binom, norm, rankdata
from scipy.stats import t as t_distribution
from sklearn.neighbors import NearestNeighbors

from .._base.sklearn_compat import Interval, validate_params
from .._data.tasks import TaskTargets
from .._data.validation import check_labels, check_same_length
from ..exceptions import warn
from ._gain import task_columns
from ._identifier import TaskStructureIdentifier
from ._robust_columns import principal_components, split_static
from ._segments import at_mean, center

__all__ = ["check_assumptions"]

# Fewer sequences than this leave nothing to diagnose.
MIN_SEQUENCES = 20
# Sequences per column of the regressions, whose residuals are diagnosed.
SEQUENCES_PER_COLUMN = 4
# Values beyond so many robust standard deviations are counted; of Laplace's distribution,
# whose tails count as light, they have this share: its median absolute deviation is log 2
# times its scale.
FAR = 8.0
SHARE_FAR = 0.5 ** (FAR * 1.4826)
# Share of the standard deviation of a curved column that linear ones leave, at least.
MIN_LEFT = 0.05
# Steps that lie so far apart share nothing but what the whole sequence has.
APART = 4
# Neighbors by which the distance to the nearest one is judged, and sequences compared.
NEIGHBORS, MAX_COMPARED = 10, 2000
# Nearest neighbors that are not this much nearer than the tenth are not the same item.
NEAR = 0.25
# Values above which a task is an amount, whose tails are judged.
MIN_VALUES = 10


@dataclass(frozen=True)
class _Sample:
    """Sequences and tasks that are diagnosed, centered within groups.

    ``X`` has shape (n_sequences, n_timesteps, n_features), ``Y`` one column per amount or
    class, and ``raw`` are the flat sequences before their reduction.
    """

    X: np.ndarray
    Y: np.ndarray
    amounts: np.ndarray
    raw: np.ndarray

    @cached_property
    def residuals(self) -> np.ndarray:
        """Residuals of tasks given all steps and, with enough sequences, squares."""
        flat = self.X.reshape(len(self.X), -1)
        if len(flat) >= 2 * SEQUENCES_PER_COLUMN * flat.shape[1]:
            flat = np.hstack([flat, flat**2])
        return _residuals(self.Y, flat)

    @cached_property
    def innovations(self) -> np.ndarray:
        """Residuals of each step but the first given the step before it."""
        pairs = zip(self.X[:, 1:].swapaxes(0, 1), self.X[:, :-1].swapaxes(0, 1), strict=True)
        return np.stack([_residuals(*pair) for pair in pairs], axis=1)


def _curvature(sample: _Sample) -> tuple[float, float]:
    """Normal scores and their sizes beside all steps, for tasks, and beside the step before."""
    X, pvalues = sample.X, []
    n, T, _ = X.shape
    flat = X.reshape(n, -1)
    # Of light tails: squares of the features would leave the score to few sequences.
    q = _normal_scores(flat).reshape(X.shape)
    curved = np.concatenate([q, np.abs(q)], axis=2)
    for response in sample.Y.T:
        pvalues.append(
            _at_least_one([_score_pvalue(response, curved[:, t], flat) for t in range(T)])
        )
    for t in range(1, T):
        tests = [_score_pvalue(x, curved[:, t - 1], X[:, t - 1]) for x in X[:, t].T]
        pvalues.append(_at_least_one(tests))
    return _smallest(pvalues)


def _two_steps(sample: _Sample) -> np.ndarray:
    """Scores, one per sequence, of the effect of the step before the last on the next one.

    In a Markov chain they have mean zero. With measurement error the step before the last is
    a second proxy of the state, and adds to the effect in its own direction; differences of
    smoothed features subtract.
    """
    X, scores = sample.X, np.zeros(len(sample.X))
    for t in range(2, X.shape[1]):
        predicted = _fitted(_fitted(X[:, t - 1], X[:, t - 2]), X[:, t - 1], X[:, t])
        added = _residuals(predicted, X[:, t - 1])
        scores += (added * sample.innovations[:, t - 1]).sum(axis=1)
    return scores


def _measurement_error(sample: _Sample) -> tuple[float, float]:
    """Steps that add to the effect of the next one, in the same direction."""
    statistic = _studentized(_two_steps(sample))
    return statistic, float(norm.sf(statistic))


def _smoothing(sample: _Sample) -> tuple[float, float]:
    """Steps that take from the effect of the next one."""
    statistic = -_studentized(_two_steps(sample))
    return statistic, float(norm.sf(statistic))


def _trait(sample: _Sample) -> tuple[float, float]:
    """Dependence of a step on steps far away, given its neighbors."""
    X, T, scores = sample.X, sample.X.shape[1], np.zeros(len(sample.X))
    for t in range(T):
        far = np.abs(np.arange(T) - t) >= APART
        near = X[:, [s for s in (t - 1, t + 1) if 0 <= s < T]].reshape(len(X), -1)
        if far.any():
            mean = _residuals(X[:, far].mean(axis=1), near)
            scores += (mean * _residuals(X[:, t], near)).sum(axis=1)
    statistic = _studentized(scores)
    return statistic, float(norm.sf(statistic))


def _moving_variance(sample: _Sample) -> tuple[float, float]:
    """Correlation of the sizes of residuals with those of the innovations."""
    sizes = (sample.innovations**2).mean(axis=2)
    sizes = _normal_scores(sizes)
    halves = sizes[:, ::2].mean(axis=1), sizes[:, 1::2].mean(axis=1)
    tests = [_correlation(*halves)] if sizes.shape[1] > 1 else []
    whole = sizes.mean(axis=1)
    tests += [_correlation(r, whole) for r in _normal_scores(np.abs(sample.residuals)).T]
    return _smallest([p for _, p in tests])


def _heavy_tails(sample: _Sample) -> tuple[float, float]:
    """Number of values of tasks and innovations that are far from the others."""
    values = [
        r for r, is_amount in zip(sample.residuals.T, sample.amounts, strict=True) if is_amount
    ]
    values += list(sample.innovations.reshape(len(sample.X), -1).T)
    pvalues = []
    for value in values:
        scale = 1.4826 * np.median(np.abs(value - np.median(value)))
        if scale > 1e-3 * value.std():
            count = (np.abs(value - np.median(value)) > FAR * scale).sum()
            pvalues.append(float(binom.sf(count - 1, len(value), SHARE_FAR)))
    return _smallest(pvalues)


def _drift(sample: _Sample) -> tuple[float, float]:
    """Correlation of steps and tasks with the place of a sequence."""
    place = np.arange(len(sample.X), dtype=float)
    columns = _normal_scores(np.hstack([sample.X.reshape(len(sample.X), -1), sample.residuals]))
    return _smallest([_correlation(column, place)[1] for column in columns.T])


def _repeated(sample: _Sample) -> tuple[float, float]:
    """Sequences that are closer to another than the distances to ten others make likely."""
    flat = sample.raw[:MAX_COMPARED]
    varied = [column for column in flat.T if len(np.unique(column)) > len(flat) / 4]
    if len(flat) <= 2 * NEIGHBORS + 1 or not varied:
        return 0.0, 1.0
    points = _normal_scores(np.stack(varied, axis=1))
    neighbors = NearestNeighbors(n_neighbors=2 * NEIGHBORS).fit(points)
    distances = np.maximum(neighbors.kneighbors()[0], 1e-12)
    # In m dimensions, (d_10 / d_20)^m has the median of a beta distribution.
    ratio = np.median(distances[:, NEIGHBORS - 1] / distances[:, -1])
    m = np.log(beta.median(NEIGHBORS, NEIGHBORS)) / np.log(min(ratio, 1 - 1e-9))
    closest = (distances[:, 0] / distances[:, NEIGHBORS - 1]).min()
    # Each of two close sequences has the other as its neighbor: half as many tests.
    smallest = beta.cdf(closest**m, 1, NEIGHBORS - 1) if closest < NEAR else 1.0
    return float(-np.log10(max(closest, 1e-300))), float(min(len(flat) / 2 * smallest, 1.0))


DIAGNOSTICS: dict[str, tuple[Callable[[_Sample], tuple[float, float]], str]] = {
    "curvature": (
        _curvature,
        "tasks or steps depend on steps in a curved way: use the robust tests "
        "(independence_test='robust'), as linear ones miss steps and find false ones",
    ),
    "measurement error": (
        _measurement_error,
        "a step adds to the effect of the next one: features have measurement error, lose "
        "information, or the sequence has a longer memory. Neighbors of true steps may be found "
        "falsely: average repeated measurements, use features that lose less, or set "
        "min_effect_size=0.1",
    ),
    "smoothing": (
        _smoothing,
        "features seem smoothed, or computed from neighboring steps, so that neighbors of true "
        "steps are found falsely: use features of single steps, or longer segments",
    ),
    "moving variance": (
        _moving_variance,
        "the variance differs between sequences: use the robust tests, as those from one "
        "covariance find false steps",
    ),
    "heavy tails": (
        _heavy_tails,
        "some values are far from all others: look for errors of recording; the robust tests "
        "replace features and tasks of heavy tails by their normal scores",
    ),
    "drift": (
        _drift,
        "steps or tasks change over the order of the sequences, which are then not independent: "
        "pass blocks of time as groups",
    ),
    "trait": (
        _trait,
        "steps far apart depend on each other given their neighbors, as if a trait of the "
        "sequence shifted all of them, or its memory were long: condition on all steps, and "
        "pass subjects as groups",
    ),
    "repeated items": (
        _repeated,
        "some sequences nearly equal others: remove duplicates, or pass the items as groups",
    ),
}


@validate_params(
    {
        "X": "no_validation",
        "y": "no_validation",
        "groups": "no_validation",
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
        "task_types": "no_validation",
        "alpha": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def check_assumptions(
    X: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    n_timesteps: int | None = None,
    task_types: Any = None,
    alpha: float = 0.01,
) -> Any:
    """Test the assumptions of the structure tests, and warn of those that are violated.

    Parameters
    ----------
    X : array-like of shape (n_sequences, n_timesteps, n_features) or \
            (n_sequences, n_timesteps * n_features)
        Sequences, or a list of arrays (n_timesteps, n_features). Missing steps (NaN), such as
        those after the end of shorter sequences, are imputed by their mean.
    y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
        Tasks. Sequences of which one is missing are left out.
    groups : array-like of shape (n_sequences,), default=None
        Group of each sequence, such as the subject; everything is centered within groups.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes each column for a step.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kinds of the tasks, as in :class:`~skspecialist.TaskStructureIdentifier`.
    alpha : float, default=0.01
        Significance level of each diagnostic, in (0, 1). It is smaller than that of the
        structure tests, since there are eight diagnostics.

    Returns
    -------
    table : pandas.DataFrame, or list of dict without pandas
        One row per diagnostic, with its ``name``, ``statistic``, ``pvalue``, ``verdict``
        ("ok" or "violated") and ``advice``.

    Raises
    ------
    ValueError
        If there are fewer than 20 sequences of which all tasks are known, or fewer than two
        steps with features that change.

    See Also
    --------
    TaskStructureIdentifier : The tests.

    Notes
    -----
    ``"curvature"`` are robust score tests of normal scores and their sizes, ``"moving
    variance"`` are correlations of the sizes of residuals, ``"heavy tails"`` counts values
    beyond eight robust standard deviations and compares with Laplace's distribution,
    ``"drift"`` are rank correlations with the order of the sequences, and ``"repeated items"``
    compares the distances of nearest neighbors. Their statistic is the negative decadic
    logarithm of the smallest p-value before it is corrected for the number of tests or, for
    repeated items, of the smallest ratio of distances. ``"measurement error"``,
    ``"smoothing"`` and ``"trait"`` have normal statistics: dependence of steps given
    the steps between them. A diagnostic that does not reject is not evidence that the
    assumption holds.

    Examples
    --------
    >>> from skspecialist.datasets import make_collider_sequences
    >>> from skspecialist.structure import check_assumptions
    >>> data = make_collider_sequences(500, 8, 2, action_effect=0, random_state=0)
    >>> set(check_assumptions(data.X, data.y)["verdict"])
    {'ok'}
    """
    identifier = TaskStructureIdentifier(n_timesteps=n_timesteps, task_types=task_types)
    sample = _read(identifier, X, y, groups)
    rows = []
    for name, (diagnose, advice) in DIAGNOSTICS.items():
        statistic, pvalue = diagnose(sample)
        violated = pvalue <= alpha
        verdict = "violated" if violated else "ok"
        values = name, statistic, pvalue, verdict, advice if violated else ""
        columns = ("name", "statistic", "pvalue", "verdict", "advice")
        rows.append(dict(zip(columns, values, strict=True)))
        if violated:
            warn(f"{name[0].upper()}{name[1:]} (p = {pvalue:.1g}): {advice}.")
    if find_spec("pandas") is None:
        return rows
    import pandas as pd

    return pd.DataFrame(rows)


def _read(identifier: TaskStructureIdentifier, X: Any, y: Any, groups: Any) -> _Sample:
    """Validate sequences and tasks, and reduce them to the columns of the diagnostics."""
    X = identifier._validate(X, n_timesteps=identifier.n_timesteps, reset=True)
    if groups is not None:
        check_same_length(X=X, groups=groups)
        groups = check_labels(groups, "groups")
    targets = TaskTargets.for_samples(
        y, X, estimator=identifier, allow_missing=True, task_types=identifier.task_types
    )
    identifier._targets = targets
    Y = task_columns(identifier, y, X)
    known = np.isfinite(Y).all(axis=1)
    if known.sum() < MIN_SEQUENCES:
        raise ValueError(
            f"{known.sum()} sequences have all tasks, too few for diagnostics: at least "
            f"{MIN_SEQUENCES} are needed."
        )
    codes = None if groups is None else np.unique(groups[known], return_inverse=True)[1].ravel()
    X = split_static(X[known].astype(np.float64))[0]
    n, T, d = X.shape
    if T < 2 or d == 0:
        raise ValueError(
            "X needs at least two steps, and features that change over them, for diagnostics of "
            f"the relations between steps; got {T} steps and {d} such features."
        )
    raw = at_mean(X.reshape(n, -1))
    n_kept = int(max(min(n // (SEQUENCES_PER_COLUMN * T), d), 1))
    if n_kept < d:
        X = principal_components(raw.reshape(n, T, d), n_kept)
    flat = center(at_mean(X.reshape(n, -1)), codes)
    flat = flat / np.maximum(flat.std(axis=0), 1e-12)
    Y = Y[known]
    amounts = np.array([len(np.unique(column)) > MIN_VALUES for column in Y.T], dtype=bool)
    within, scale = center(Y, codes), np.maximum(Y.std(axis=0), 1e-300)
    # Of a task that groups determine nothing but rounding is left.
    varied = within.std(axis=0) > 1e-9 * scale
    Y = within[:, varied] / within[:, varied].std(axis=0)
    return _Sample(flat.reshape(n, T, -1), Y, amounts[varied], raw)


def _fitted(Y: np.ndarray, X: np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
    """Return Y predicted from X; with a target, that of X's regression at the values of Y."""
    if target is None:
        return X @ np.linalg.lstsq(X, Y, rcond=1e-8)[0]
    return Y @ np.linalg.lstsq(X, target, rcond=1e-8)[0]


def _basis(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis of columns and a constant, and one minus leverage."""
    U, values, _ = np.linalg.svd(np.hstack([np.ones((len(X), 1)), X]), full_matrices=False)
    U = U[:, values > 1e-8 * values[0]]
    return U, np.maximum(1 - (U * U).sum(axis=1), 0.05)


def _residuals(Y: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return residuals of Y given X and a constant, divided by the root of 1 - leverage."""
    U, left = _basis(X)
    return (Y - U @ (U.T @ Y)) / np.sqrt(left)[:, None]


def _score_pvalue(y: np.ndarray, Z: np.ndarray, X: np.ndarray) -> float:
    """Return the p-value of the robust score test of Z beside X."""
    U, left = _basis(X)
    e, R = y - U @ (U.T @ y), Z - U @ (U.T @ Z)
    tests = []
    for column in R[:, R.std(axis=0) > MIN_LEFT * Z.std(axis=0)].T:
        score = column * e / np.sqrt(left)
        size = np.sqrt((score**2).sum())
        if size > 0:
            tests.append(2 * t_distribution.sf(abs(column @ e) / size, max(left.sum(), 1.0)))
    return _at_least_one(tests)


def _at_least_one(pvalues: list[float]) -> float:
    """Return a p-value of the hypothesis that all are null."""
    made = np.array([p for p in pvalues if np.isfinite(p)])
    return float(min(made.min() * len(made), 1.0)) if len(made) else 1.0


def _smallest(pvalues: list[float]) -> tuple[float, float]:
    """Return the negative logarithm of the smallest p-value, and its corrected one."""
    made = [max(p, 1e-300) for p in pvalues if np.isfinite(p)]
    return (float(-np.log10(min(made))), _at_least_one(made)) if made else (0.0, 1.0)


def _studentized(scores: np.ndarray) -> float:
    """Return the mean of independent scores relative to its standard error."""
    size = np.sqrt((scores**2).sum())
    return float(scores.sum() / size) if size > 0 else 0.0


def _normal_scores(columns: np.ndarray) -> np.ndarray:
    return ndtri((rankdata(columns, axis=0) - 0.5) / len(columns))


def _correlation(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the t statistic of a correlation, and its p-value."""
    a, b = a - a.mean(), b - b.mean()
    r = (a @ b) / max(np.sqrt((a @ a) * (b @ b)), 1e-300)
    df = len(a) - 2
    statistic = r * np.sqrt(df / max(1 - r * r, 1e-12))
    return float(statistic), float(2 * t_distribution.sf(abs(statistic), df))
