"""Robust score tests of steps against tasks, given all other steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs
from scipy.special import fdtrc
from scipy.stats import norm

from ._robust_columns import (
    SEQUENCES_TO_CONDITION,
    SEQUENCES_TO_LIFT,
    Design,
    Units,
    choose_n_components,
    invert,
    learned_functions,
    leave_one_out,
    make_design,
    principal_components,
    spectrum,
    split_static,
    step_features,
    tame,
    variance_inflation,
)
from ._segments import center, group_means, is_constant_within, sum_within

__all__ = ["RobustScores", "robust_scores"]
# Share of the sequences that must remain as degrees of freedom: with fewer, leave-one-out
# errors are ratios of two numbers near zero.
LEAST_FREE = 0.25
# Sequences in which a step must be observed to be tested.
MIN_SEQUENCES = 10
# Strengths of the ridge on the curved columns, relative to the number of sequences.
STRENGTHS = np.array([0.003, 0.03, 0.3, 3.0, 30.0, 1e4])
# Every column is penalized a little, so that repeated ones share their coefficients.
JITTER = 1e-8
# Share of a standardized column's variance that the other steps leave at least.
RESIDUAL_TOLERANCE = 1e-6
MIN_VARIANCE = 0.05  # least share of a sequence's variance that is left after leverage
# Bound of p-values in Cauchy's rule: one of 1 would outweigh all others.
MAX_PVALUE = 0.99
OWN, BASIS, LEARNED = range(3)


@dataclass(frozen=True)
class RobustScores:
    """Results of robust score tests, arrays of shape (n_blocks, n_tasks) unless stated.

    Attributes
    ----------
    pvalues, statistics : ndarray
        Combined p-values, 1 where nothing was tested, and their normal scores.
    effect_sizes : ndarray
        Partial correlation of the block's basis and the task, less its mean if independent.
    tested : ndarray of bool
        Whether anything was tested.
    parts : ndarray of shape (3, n_blocks, n_columns)
        P-values of the tests of features, basis and learned function for each column; or NaN.
    conditioning : str
        "all" other steps, or the "window" of the nearest ones.
    n_components : int or None
        Principal components per step, if they took the place of the features.
    between_groups : ndarray of bool of shape (n_tasks,)
        Tasks that groups determine, tested on the means of groups.
    """

    pvalues: np.ndarray
    statistics: np.ndarray
    effect_sizes: np.ndarray
    tested: np.ndarray
    parts: np.ndarray
    conditioning: str
    n_components: int | None
    between_groups: np.ndarray


@dataclass
class ColumnScores:
    """Evidence for single columns of the tasks."""

    parts: np.ndarray
    effect_sizes: np.ndarray
    conditioning: str = "all"
    n_components: int | None = None


def robust_scores(
    X: np.ndarray,
    Y: np.ndarray,
    *,
    blocks: Sequence[np.ndarray] | None = None,
    task_columns: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    n_components: int | str | None = "auto",
    conditioning: str = "auto",
) -> RobustScores:
    r"""Test whether tasks depend on steps, given all other steps.

    The task and the basis functions of a block of steps are regressed on the basis
    functions of all other steps, by ridge regression that penalizes only the curved ones.
    With residuals :math:`e` and :math:`R`, the scores :math:`U = R^\top e` have the
    heteroscedasticity-robust covariance :math:`A = \sum_i R_i R_i^\top e_i^2 / (1 - h_i)`
    (HC2 of [1]_, with h the leverage), summed within groups first. Three tests are combined by
    Cauchy's rule [2]_:

    - of the block's features, by the trace of A, which is stable in small samples;
    - of all its basis functions, by :math:`U^\top A^{-1} U`;
    - one-sided, of a function learned in other folds: the projected covariance measure [3]_.

    Parameters
    ----------
    X : ndarray of shape (n_sequences, n_timesteps, n_features)
        Sequences; a missing step is NaN and is imputed by its linear prediction from all others.
    Y : ndarray of shape (n_sequences, n_columns)
        Amounts, or one-against-rest contrasts of labels; NaN where a task is missing.
    blocks : sequence of ndarray of int, default=None
        Steps that are tested together, in increasing order. None tests every step.
    task_columns : ndarray of int of shape (n_tasks, width), default=None
        Columns of each task, -1 where it has fewer. None is one column per task.
    groups : ndarray of shape (n_sequences,), default=None
        Groups within which everything is centered; tasks that they determine have their means.
    weights : ndarray of shape (n_sequences, n_columns), default=None
        Weights of the values of the tasks, zero where they do not count: numbers of equal
        sequences if they are integers, importance weights otherwise.
    n_components : int, None or "auto", default="auto"
        Principal components of the steps to be tested, as in the identifier.
    conditioning : {"auto", "all"}, default="auto"
        All other steps or, with too few sequences, the nearest ones; or always all.

    Returns
    -------
    scores : RobustScores
        Results for each block and task.

    References
    ----------
    .. [1] J. G. MacKinnon and H. White, "Some heteroskedasticity-consistent covariance
       matrix estimators with improved finite sample properties", Journal of Econometrics
       29, 1985.
    .. [2] Y. Liu and J. Xie, "Cauchy combination test", Journal of the American
       Statistical Association 115, 2020.
    .. [3] A. R. Lundborg, I. Kim, R. D. Shah and R. J. Samworth, "The projected
       covariance measure for assumption-lean variable significance testing", Annals of
       Statistics 52, 2024.
    """
    if blocks is None:
        blocks = [np.array([t]) for t in range(X.shape[1])]
    if task_columns is None:
        task_columns = np.arange(Y.shape[1])[:, None]
    parts = np.full((3, len(blocks), Y.shape[1]), np.nan)
    effect_sizes = np.zeros(parts.shape[1:])
    between = np.zeros(Y.shape[1], dtype=bool)
    known = np.isfinite(Y) * (1.0 if weights is None else weights)
    last = untested = ColumnScores(parts, effect_sizes)
    # Tasks that are known of the same sequences share everything but their own residuals.
    for pattern in np.unique(known, axis=1).T:
        rows, js = pattern > 0, np.flatnonzero((known == pattern[:, None]).all(axis=0))
        units = Units.of(pattern[rows], None if groups is None else groups[rows])
        traits = is_constant_within(Y[np.ix_(rows, js)], units.groups)
        for some, is_trait in ((js[~traits], False), (js[traits], True)):
            x, y, own = X[rows], Y[np.ix_(rows, some)], units
            between[some] = is_trait
            if is_trait and units.groups is not None:
                x, y = group_means(x, y, units.groups, units.weights)
                own = Units(len(x))
            if not len(some) or own.n < MIN_SEQUENCES:
                continue
            result = _test_columns(x, y, own, blocks, n_components, conditioning)
            parts[:, :, some], effect_sizes[:, some] = result.parts, result.effect_sizes
            if not is_trait or last is untested:
                last = result
    return combine_columns(
        replace(last, parts=parts, effect_sizes=effect_sizes), task_columns, between
    )


def _test_columns(
    X: np.ndarray,
    Y: np.ndarray,
    units: Units,
    blocks: Sequence[np.ndarray],
    n_components: int | str | None,
    conditioning: str,
) -> ColumnScores:
    """Choose the columns of steps for the number of sequences, and test with them."""
    T, n_free = X.shape[1], units.n - (0 if units.groups is None else units.n_means)
    X, static = split_static(X)
    n_components, n_given = choose_n_components(X, static, n_free, n_components)
    d = max(n_components or X.shape[2], 1)
    n_columns = T * d + static.shape[1]
    if n_components is not None:
        X = principal_components(X, n_given, units.weights)
    Y = center(tame(Y, units.weights), units.groups, units.weights)
    spread = np.sqrt((units.scaled(Y) ** 2).sum(axis=0) / units.n)
    Y = np.where(spread > 1e-9, Y / np.maximum(spread, 1e-9), 0.0)
    if conditioning == "all" or n_free >= SEQUENCES_TO_CONDITION * n_columns:
        lift = n_free >= SEQUENCES_TO_LIFT * n_columns
        result = _given_all(X, static, Y, units, blocks, lift, n_components)
        return replace(result, n_components=n_components)
    # So many of the nearest steps that curves can be afforded; a chunk of blocks shares them.
    width = max(int(n_free / (4 * d)), 3)
    shape = len(blocks), Y.shape[1]
    result = ColumnScores(np.full((3, *shape), np.nan), np.zeros(shape))
    chunk = max(width // 3, 1)
    order = np.argsort([block[0] for block in blocks], kind="stable")
    starts = [blocks[k][0] // chunk for k in order]
    for start in np.unique(starts):
        ks = order[starts == start]
        low, high = min(blocks[k][0] for k in ks), max(blocks[k][-1] for k in ks) + 1
        margin = max((width - (high - low)) // 2, 1)
        window = slice(max(low - margin, 0), min(high + margin, T))
        local = [blocks[k] - window.start for k in ks]
        columns = (window.stop - window.start) * d + static.shape[1]
        lift = n_free >= SEQUENCES_TO_LIFT * columns
        part = _given_all(X[:, window], static, Y, units, local, lift, n_components)
        result.parts[:, ks], result.effect_sizes[ks] = part.parts, part.effect_sizes
    return replace(result, conditioning="window", n_components=n_components)


def _given_all(
    X: np.ndarray,
    static: np.ndarray,
    Y: np.ndarray,
    units: Units,
    blocks: Sequence[np.ndarray],
    lift: bool,
    n_lifted: int | None,
) -> ColumnScores:
    """Test blocks given all other steps of X."""
    design = make_design(X, static, units.groups, lift, n_lifted, units.weights)
    return score_design(X, design, Y, units, blocks, lift, n_lifted)


def score_design(
    X: np.ndarray,
    design: Design,
    Y: np.ndarray,
    units: Units,
    blocks: Sequence[np.ndarray],
    lift: bool,
    n_lifted: int | None,
    sums: Any = None,
) -> ColumnScores:
    """Test blocks with the basis functions of all steps; of a sample, with the sums of all."""
    contributions, inflation = np.zeros((len(X), X.shape[1], Y.shape[1])), np.ones(len(blocks))
    if X.shape[2]:
        features = step_features(X[:, :, :n_lifted], None if lift else 0, units.weights)
        features = center(features, units.groups, units.weights)
        contributions = learned_functions(features, Y, units.groups, units.weights, units.copies)
        flat = units.scaled(features.reshape(len(features), -1)).reshape(features.shape)
        inflation = np.array([variance_inflation(flat[:, block]) for block in blocks])
    observed = np.isfinite(X).all(axis=2)
    counts = observed.sum(axis=0) if units.weights is None else units.weights @ observed
    enough = counts >= MIN_SEQUENCES
    return _score(design, Y, units, blocks, enough, contributions, inflation, lift, sums)


def _score(
    design: Design,
    Y: np.ndarray,
    units: Units,
    blocks: Sequence[np.ndarray],
    enough: np.ndarray,
    contributions: np.ndarray,
    inflation: np.ndarray,
    lift: bool,
    sums: Any,
) -> ColumnScores:
    """Make the tests of all blocks from one inverse per strength of the ridge."""
    # With rows times the root of their weight, least squares is weighted least squares.
    D, Y = units.scaled(design.columns), units.scaled(Y)
    n = units.n if sums is None else sums.n
    parts = np.full((3, len(blocks), Y.shape[1]), np.nan)
    effect_sizes = np.zeros(parts.shape[1:])
    columns = [np.flatnonzero(np.isin(design.step, block[enough[block]])) for block in blocks]
    ridges = _fit_ridges(D, design.curved, Y, units, lift) if sums is None else [sums.ridge]
    for ridge in ridges:
        tasks, _, inverse, coef = ridge
        projected, residuals = D @ inverse, Y[:, tasks] - D @ coef
        leverage = np.einsum("ij,ij->i", projected, D)  # diagonal of the hat matrix
        free = n - units.n_means - (leverage.sum() if sums is None else sums.trace(ridge))
        learned, loadings, spread = _learned(
            contributions, D, projected, inverse, blocks, tasks, units, n / units.n
        )
        for k, own in enumerate(columns):
            if not len(own):
                continue
            R, errors, scaled = block_residuals(
                projected[:, own], inverse[np.ix_(own, own)], coef[own], residuals, leverage, units
            )
            if sums is None:
                RR, scores, squares = R.T @ R, R.T @ errors, (errors * errors).sum(axis=0)
            else:
                RR, scores, squares = sums.scores(own, k)
            tests = [(OWN, ~design.curved[own])]
            if lift:
                tests.append((BASIS, np.ones(len(own), dtype=bool)))
            for part, chosen in tests:
                W = _orthonormal(RR[np.ix_(chosen, chosen)] / n)
                u = W.T @ scores[chosen]  # U = R' e
                directions = R[:, chosen] @ W if sums is None else W
                for j, task in enumerate(tasks):
                    if sums is None:
                        A, f = _covariance(directions, scaled[:, j], units.groups, free)
                    else:
                        A, f = sums.covariance(k, task, chosen, W), free
                    is_grouped = units.groups is not None
                    parts[part, k, task] = _pvalue(A, u[:, j], f, is_grouped, part == BASIS)
                effect = _effect(u.T, squares, n, free)
                effect_sizes[k, tasks] = np.maximum(effect_sizes[k, tasks], effect)
            # The same inversion leaves of the learned function what other steps do not explain.
            left_over = learned[:, k] + R @ loadings[own, k]
            variance = (left_over * left_over).sum(axis=0) / units.n
            for i in np.flatnonzero((spread[k] > 1e-12) & (variance > RESIDUAL_TOLERANCE)):
                function = left_over[:, i : i + 1]
                score = function[:, 0] @ errors[:, i : i + 1]
                error = inflation[k] ** 0.5 * scaled[:, i]
                A, f = _covariance(function, error, units.groups, free)
                p = _pvalue(A, score, f, units.groups is not None, whole=True)
                parts[LEARNED, k, tasks[i]] = p / 2 if score[0] > 0 else 1 - p / 2
    return ColumnScores(parts, effect_sizes)


class Ridge(NamedTuple):
    """Ridge regressions of tasks on all columns D: penalties, Q = 1 / (D'D + penalty), Q D'Y."""

    tasks: np.ndarray
    penalty: np.ndarray
    inverse: np.ndarray
    coef: np.ndarray


def fit_ridge(
    gram: np.ndarray, products: np.ndarray, penalty: np.ndarray, tasks: np.ndarray
) -> Ridge:
    """Fit some tasks from D'D and D'Y."""
    inverse = invert(gram + np.diag(penalty))
    return Ridge(tasks, penalty, inverse, inverse @ products[:, tasks])


def _fit_ridges(
    D: np.ndarray, curved: np.ndarray, Y: np.ndarray, units: Units, lift: bool
) -> Iterator[Ridge]:
    """Yield regressions of tasks with the same strength of the ridge."""
    # Without curved columns the ridge is on all: it is needed in small samples only.
    penalized = curved if lift else np.ones(D.shape[1], dtype=bool)
    gram, products = D.T @ D, D.T @ Y
    strengths, varied = _choose_strengths(D, penalized, Y, units), Y.any(axis=0)
    for strength in np.unique(strengths[varied]):
        tasks = np.flatnonzero((strengths == strength) & varied)
        yield fit_ridge(gram, products, units.n * (strength * penalized + JITTER), tasks)


def block_residuals(
    V: np.ndarray,
    Q: np.ndarray,
    coef: np.ndarray,
    residuals: np.ndarray,
    leverage: np.ndarray,
    units: Units,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residuals of a block's columns and of tasks given others, and the latter scaled.

    Block inversion: without the block's own columns the fit has the residuals e = E + R B and
    the leverage H - diag(R V'), for E, B, H and V = D Q of the whole fit; R = V M, M the inverse
    of the block of Q, are the residuals of the columns themselves.
    """
    R = V @ invert(Q)
    errors = residuals + R @ coef
    others = leverage - np.einsum("ij,ij->i", R, V) + units.share
    left = np.sqrt(np.maximum(1 - others / units.copies, MIN_VARIANCE))
    if units.groups is None:
        left = left * np.sqrt(units.copies)  # copies are independent sequences
    return R, errors, errors / left[:, None]  # HC2: e / sqrt(1 - h)


def _learned(
    contributions: np.ndarray,
    D: np.ndarray,
    V: np.ndarray,
    Q: np.ndarray,
    blocks: Sequence[np.ndarray],
    js: np.ndarray,
    units: Units,
    share: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return learned functions of unit variance less their fit, its coefficients, and scales.

    Their last two axes are blocks and tasks.
    """
    u = np.stack([contributions[:, block][:, :, js].sum(axis=1) for block in blocks], axis=1)
    u = units.scaled(center(u.reshape(len(u), -1), units.groups, units.weights))
    spread = np.sqrt((u * u).sum(axis=0) / units.n)
    u, shape = u / np.maximum(spread, 1e-300), (len(blocks), len(js))
    products = share * (D.T @ u)
    left = (u - V @ products).reshape(len(V), *shape)  # of no task, if none varies so far
    return left, (Q @ products).reshape(len(Q), *shape), spread.reshape(shape)


def _choose_strengths(
    D: np.ndarray, penalized: np.ndarray, Y: np.ndarray, units: Units
) -> np.ndarray:
    """Return the strength of the ridge for each task, by its leave-one-out error."""
    _, U = spectrum(D[:, ~penalized], JITTER * units.n)
    # Without what the columns that are not penalized explain.
    Y, curved = (A - U @ (U.T @ A) for A in (Y, D[:, penalized]))
    share = np.einsum("ij,ij->i", U, U) + units.share
    values, U = spectrum(curved, JITTER * units.n)
    losses, left = leave_one_out(values, U, Y, units.n * STRENGTHS, share, units.copies)
    # A fit that nearly interpolates leaves no degrees of freedom to a test.
    counts = np.ones(len(D)) if units.weights is None else units.weights
    losses[left @ counts < LEAST_FREE * units.n] = np.inf
    if np.isinf(losses).all():
        return np.full(Y.shape[1], STRENGTHS[-1])
    return STRENGTHS[np.argmin(losses, axis=0)]


def _orthonormal(covariance: np.ndarray) -> np.ndarray:
    """Return directions of unit variance of the columns' residuals given other steps."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > RESIDUAL_TOLERANCE
    return vectors[:, kept] / np.sqrt(values[kept])


def _covariance(
    Z: np.ndarray, scaled: np.ndarray, groups: np.ndarray | None, free: float
) -> tuple[np.ndarray, float]:
    """Return the robust covariance of scores Z'e, and degrees of freedom."""
    S = Z * scaled[:, None]
    if groups is not None:
        S = sum_within(S, groups)
        free = min(free, len(S) - 1)
    return S.T @ S, free


def _pvalue(A: np.ndarray, score: np.ndarray, free: float, is_grouped: bool, whole: bool) -> float:
    """Return the p-value of scores, by the inverse of their covariance or by its trace."""
    if not A.size or np.trace(A) <= 0:
        return np.nan
    if whole:
        factor, failed = dpotrf(A, lower=1)
        pivots = np.diag(factor)
        if not failed and pivots.min() > 1e-3 * pivots.max():
            statistic, df = (dtrtrs(factor, score, lower=1)[0] ** 2).sum(), float(len(A))
        else:
            values, vectors = np.linalg.eigh(A)
            kept = values > 1e-9 * values[-1]
            statistic = ((vectors.T @ score)[kept] ** 2 / values[kept]).sum()
            df = float(kept.sum())
        free = free - df if is_grouped else free
    else:
        # A weighted sum of chi-squared variables, by its first two moments.
        df = np.trace(A) ** 2 / (A * A).sum()
        statistic = score @ score / np.trace(A) * df
    if free < 2:
        return np.nan
    # The scores' covariance is that under the null: with equal variances the statistic is
    # (df + free) times R squared, and this is the F statistic of the same R squared.
    ratio = statistic / df * free / max(df + free - statistic, 1e-3)
    return float(fdtrc(df, free, ratio))


def _effect(scores: np.ndarray, total: np.ndarray, n: float, free: float) -> np.ndarray:
    """Return the partial correlation of which these are scores, less its mean if independent."""
    explained = np.minimum((scores**2).sum(axis=1) / n / np.maximum(total, 1e-300), 1.0)
    left = max(free, 1.0)
    adjusted = 1 - (1 - explained) * (left + scores.shape[1]) / left
    return np.sqrt(np.clip(adjusted, 0.0, 1.0))


def combine_columns(
    result: ColumnScores, task_columns: np.ndarray, between_groups: np.ndarray
) -> RobustScores:
    """Combine the tests of the columns of each task by Cauchy's rule."""
    padded = np.pad(result.parts, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
    chosen = np.moveaxis(padded[:, :, task_columns], -1, 0)
    made = np.isfinite(chosen)
    terms = 1 / np.tan(np.pi * np.clip(np.where(made, chosen, 0.5), 1e-300, MAX_PVALUE))
    counts = made.sum(axis=(0, 1))
    means = np.where(made, terms, 0.0).sum(axis=(0, 1)) / np.maximum(counts, 1)
    tested, pvalues = counts > 0, np.where(counts > 0, np.arctan2(1.0, means) / np.pi, 1.0)
    effect_sizes = np.pad(result.effect_sizes, ((0, 0), (0, 1)))[:, task_columns]
    return RobustScores(
        pvalues=pvalues,
        statistics=np.where(tested, norm.isf(np.clip(pvalues, 1e-300, 1 - 1e-16)), 0.0),
        effect_sizes=effect_sizes.max(axis=2, initial=0.0),
        tested=tested,
        parts=result.parts,
        conditioning=result.conditioning,
        n_components=result.n_components,
        between_groups=between_groups[task_columns[:, 0]],
    )
