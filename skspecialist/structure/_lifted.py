"""Robust tests of more sequences than memory has room for, by sums over blocks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from typing import Any, Self

import numpy as np

from ..independence._moments import Moments
from ._evidence import is_large, n_in_memory, one_against_rest
from ._gain import SegmentedData
from ._robust import (
    JITTER,
    STRENGTHS,
    Ridge,
    RobustScores,
    block_residuals,
    combine_columns,
    fit_ridge,
    score_design,
)
from ._robust_columns import (
    HEAVY_TAILED,
    MAX_COLUMNS_WITH_PRODUCTS,
    MIN_VALUES_HEAVY_TAILED,
    TOLERANCE,
    Design,
    Units,
    choose_n_components,
    invert,
    kinds_of_features,
    normal_scores,
    principal_axes,
)

__all__ = ["KEPT_PER_SAMPLED", "Lifted", "lift", "sample_rows", "tests_robustly"]

# Knots of the normal scores of a feature, at equal steps of its ranks; of more values without
# heavy tails, scores are in a table of cells of so many standard deviations.
MAX_KNOTS, N_CELLS, CELLS_PER_DEVIATION = 2048, 2048, 128
# Deviations at which columns are clipped: those without heavy tails in 10**5 sequences reach as
# many. One value that the sample lacks, such as an error of a sensor, would outweigh all others.
MAX_DEVIATIONS = 30.0
# Variance inflation up to which single precision has residuals of four digits.
MAX_INFLATION = 1e4
# Numbers of a block of basis functions, and sequences whose scores are multiplied at a time.
BLOCK, CHUNK = 2**23, 256
# Bytes of the products of basis functions; time grows with the cube of their number.
MAX_GRAM_BYTES = 2**28
# Sequences that are kept while they are few, per sequence of the sample of many.
KEPT_PER_SAMPLED = 2
# Its multiples modulo one spread evenly, and independently of the folds (see fold_of).
IRRATIONAL = np.sqrt(2.0)


def tests_robustly(identifier: Any) -> bool:
    """Return whether the tests of complete sequences are robust, if memory allows."""
    return (
        identifier.criterion_.robust
        and identifier.independence_test in ("auto", "robust")
        and identifier.conditioning != "band"
    )


def lift(identifier: Any, data: SegmentedData) -> SegmentedData:
    """Add the moments of basis functions to many sequences that are to be tested robustly."""
    # Complete sequences that are not weighted and not grouped: moments of others differ.
    is_plain = not data.has_missing and data.groups is None and data.weights is None
    if not is_large(data) or not is_plain or not tests_robustly(identifier):
        return data
    assert data.X is not None
    assert data.tasks is not None
    X, tasks = data.X.reshape(-1, data.n_timesteps, data.n_features), data.tasks
    rows = sample_rows(np.arange(len(X)), n_in_memory(*X.shape[1:]) // KEPT_PER_SAMPLED)
    lifted = Lifted.fit(identifier, data, X[rows], tasks[rows], rows, len(X))
    if lifted is None:
        return data
    return replace(data, lifted=lifted.sum_up(lambda function: function(X, tasks)))


def sample_rows(rows: np.ndarray, n_samples: int) -> np.ndarray:
    """Return the places of a sample of numbered sequences, spread evenly over them.

    A sample of those of earlier samples and of new sequences is one of all sequences.
    """
    keys = np.mod(rows * IRRATIONAL, 1.0)
    if len(keys) <= n_samples:
        return np.arange(len(keys))
    return np.sort(np.argpartition(keys, n_samples)[:n_samples])


@dataclass(frozen=True)
class Scale:
    """Standardization of columns, and their normal scores, as in a sample."""

    mean: np.ndarray  # of shape (n_columns,), as the next three
    std: np.ndarray  # 1 of columns that are constant in the sample
    limit: np.ndarray  # largest standardized values, infinite of these columns
    heavy: np.ndarray  # whether a column has heavy tails
    knots: list[np.ndarray]  # values of each column, and their normal scores, (2, n_knots)
    table: np.ndarray  # normal scores at equal steps of the columns, (n_columns, n_cells + 1)

    @classmethod
    def fit(cls, x: np.ndarray) -> Self:
        """Fit to columns (n_samples, n_columns)."""
        mean, std = x.mean(axis=0), x.std(axis=0)
        varies = std > 1e-12 * np.abs(mean)
        # Columns that are constant in the sample, such as a rare class, may vary elsewhere.
        std, limit = np.where(varies, std, 1.0), np.where(varies, MAX_DEVIATIONS, np.inf)
        heavy = (((x - mean) / std) ** 4).mean(axis=0) > HEAVY_TAILED
        knots, deviations = [], (np.arange(N_CELLS + 1) - N_CELLS / 2) / CELLS_PER_DEVIATION
        table = np.zeros((x.shape[1], N_CELLS + 1))
        for j, (column, scores) in enumerate(zip(x.T, normal_scores(x).T, strict=True)):
            values, places = np.unique(column, return_index=True)
            table[j] = np.interp(mean[j] + std[j] * deviations, values, scores[places])
            if len(values) > MAX_KNOTS:
                some = np.linspace(0, len(values) - 1, MAX_KNOTS).astype(int)
                values, places = values[some], places[some]
            knots.append(np.stack([values, scores[places]]))
        return cls(mean, std, limit, heavy, knots, table)

    @cached_property
    def exact(self) -> np.ndarray:
        """Columns whose scores are those of the knots."""
        few = np.array([knots.shape[1] < MAX_KNOTS for knots in self.knots], dtype=bool)
        return np.flatnonzero(few | self.heavy)

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """Return standardized columns, within their limits."""
        z = (x - self.mean) / self.std
        return np.clip(z, -self.limit, self.limit, out=z)

    def scores(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return normal scores of columns, of which ``z`` are standardized, linear in between."""
        # A table is read some ten times faster than a value is sought.
        place = np.clip(z * CELLS_PER_DEVIATION + N_CELLS / 2, 0, N_CELLS - 1e-6)
        cell = place.astype(np.intp)
        place -= cell
        cell += np.arange(x.shape[1]) * (N_CELLS + 1)
        low = self.table.take(cell)
        q = low + (self.table.take(cell + 1) - low) * place
        for j in self.exact:
            q[:, j] = np.interp(x[:, j], *self.knots[j])
        return q

    def tame(self, Y: np.ndarray) -> np.ndarray:
        """Standardize columns, and replace those of heavy tails by their normal scores."""
        Z = self.standardize(Y)
        for j, knots in enumerate(self.knots):
            if self.heavy[j] and knots.shape[1] > MIN_VALUES_HEAVY_TAILED:
                Z[:, j] = np.interp(Y[:, j], *knots)
        return Z


class Basis:
    """Basis functions of all steps, those of :func:`make_design`, fitted to a sample.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_timesteps, n_features)
        The sample.
    n : int
        Number of all sequences.
    n_components : int, None or "auto"
        Principal components of the steps to be tested.

    Attributes
    ----------
    step, curved : ndarray of shape (n_columns,)
        Step of each column, -1 if all steps share it, and whether it is not a feature itself.
    """

    def __init__(self, X: np.ndarray, n: int, n_components: int | str | None) -> None:
        self.varying, self.static = kinds_of_features(X)
        varying, static = X[:, :, self.varying], X[:, 0, self.static]
        self.n_components, given = choose_n_components(varying, static, n, n_components)
        self.axes: tuple[np.ndarray, np.ndarray] | None = None
        if self.n_components is not None:
            self.axes = principal_axes(varying.reshape(-1, varying.shape[2]), given)
        x, T = self._flat(X), X.shape[1]
        d = (x.shape[1] - static.shape[1]) // T
        step = np.append(np.repeat(-1, static.shape[1]), np.repeat(np.arange(T), d))
        place = np.append(np.arange(static.shape[1]), np.tile(np.arange(d), T))
        self.scale = Scale.fit(x)
        varies = np.isfinite(self.scale.limit)
        n_lifted = self.n_components or max(d, static.shape[1])
        # Components beyond those that are tested are taken for curved columns.
        extra = (step >= 0) & (place >= n_lifted)
        self.features, self.lifted = np.flatnonzero(varies), np.flatnonzero(varies & ~extra)
        pairs = []
        for t in np.unique(step):
            own = self.lifted[step[self.lifted] == t]
            if 1 < len(own) <= MAX_COLUMNS_WITH_PRODUCTS:
                pairs.append(own[np.stack(np.triu_indices(len(own), 1))])
        self.pairs = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=int)
        width, k = x.shape[1], len(self.lifted)
        self.linear_std = np.ones(width)
        self.offset, self.slope, self.size = np.zeros(3 * k), np.zeros(3 * k), np.ones(3 * k)
        self.pair_size = np.ones(self.pairs.shape[1])
        # What each statistic is of, the columns so far are.
        linear, _, _ = self._parts(x)
        self.linear_std = np.maximum(linear.std(axis=0), 1e-12)
        linear, curved, products = self._parts(x)
        self.offset, own = curved.mean(axis=0), np.tile(linear[:, self.lifted], 3)
        # The penalty on curved columns must not shrink the linear part of the feature.
        self.slope = ((curved - self.offset) * own).mean(axis=0)
        self.size, self.pair_size = self._parts(x)[1].std(axis=0), products.std(axis=0)
        # Of a feature with two values nothing but rounding is left.
        self.kept, self.kept_pairs = self.size > TOLERANCE, self.pair_size > TOLERANCE
        self.size, self.pair_size = np.where(self.kept, self.size, 1.0), self.pair_size.clip(1e-12)
        parts = [self.features, np.tile(self.lifted, 3)[self.kept], self.pairs[0, self.kept_pairs]]
        self.step = step[np.concatenate(parts)]
        self.curved = np.repeat([False, True], [len(parts[0]), len(self.step) - len(parts[0])])
        self.curved[: len(parts[0])] = extra[self.features]

    def _flat(self, X: np.ndarray) -> np.ndarray:
        """Return static features, and all features of all steps."""
        varying, static = X[:, :, self.varying], X[:, 0, self.static]
        if self.axes is not None:
            varying = (varying - self.axes[0]) @ self.axes[1]
        return np.concatenate([static, varying.reshape(len(X), -1)], axis=1).astype(float)

    def steps(self, X: np.ndarray) -> np.ndarray:
        """Return the features or components, of shape (n_sequences, n_timesteps, n_given)."""
        X = np.asarray(X, np.float64)
        return self._flat(X)[:, self.static.sum() :].reshape(*X.shape[:2], -1)

    def _parts(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the linear columns, the curved ones and the products, of the sample's scale."""
        z, chosen = self.scale.standardize(x), self.lifted
        q = self.scale.scores(x, z)
        linear = np.where(self.scale.heavy, q, z) / self.linear_std
        other = np.where(self.scale.heavy, np.clip(z, -5.0, 5.0), q)[:, chosen]
        own, Q = np.ascontiguousarray(linear[:, chosen]), np.ascontiguousarray(q[:, chosen])
        # Normalized Hermite polynomials, orthogonal under the normal distribution.
        squares = Q * Q
        hermite = [other, (squares - 1) / 2**0.5, (squares - 3) * Q / 6**0.5]
        curved = np.empty((len(x), 3 * len(chosen)))
        for i, part in enumerate(hermite):
            own_part = slice(i * len(chosen), (i + 1) * len(chosen))
            part = part - self.slope[own_part] * own - self.offset[own_part]
            np.divide(part, self.size[own_part], out=curved[:, own_part])
        a, b = self.pairs
        return linear, curved, q[:, a] * q[:, b] / self.pair_size

    def transform(self, X: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Set the first columns to those of sequences, and return all."""
        chosen = self.features, np.flatnonzero(self.kept), np.flatnonzero(self.kept_pairs)
        stops = np.cumsum([len(own) for own in chosen])
        # As many sequences at a time as a processor's cache has room for.
        for start in range(0, len(X), CHUNK):
            rows = slice(start, start + CHUNK)
            parts = self._parts(self._flat(np.asarray(X[rows], np.float64)))
            for part, own, stop in zip(parts, chosen, stops, strict=True):
                columns[rows, stop - len(own) : stop] = part[:, own]
        return columns


@dataclass(frozen=True)
class Lifted:
    """Moments of the basis functions of all steps in all sequences, and a sample of these.

    The direction of the third test is learned in the sample; the others are of all sequences.

    Attributes
    ----------
    X, tasks : ndarray of shape (n_samples, n_timesteps, n_features), (n_samples, n_columns)
        The sample.
    rows : ndarray of int of shape (n_samples,)
        Numbers of its sequences.
    task_columns : ndarray of shape (n_tasks, width)
        Columns of each task in ``tasks``, -1 where it has fewer.
    basis : Basis
        Basis functions.
    scale : Scale
        Of the tasks.
    moments : Moments or None
        Moments of basis functions and tasks.
    scores_of : callable, ndarray or None
        Function of blocks of steps that returns sums of :meth:`sum_scores` over all sequences;
        or these sums over the sequences so far.
    blocks : sequence of ndarray of int
        Blocks of the latter.
    """

    X: np.ndarray
    tasks: np.ndarray
    rows: np.ndarray
    task_columns: np.ndarray
    basis: Basis
    scale: Scale
    moments: Moments | None = None
    scores_of: Any = None
    blocks: Sequence[np.ndarray] = ()

    @classmethod
    def fit(
        cls,
        identifier: Any,
        data: SegmentedData,
        X: np.ndarray,
        tasks: np.ndarray,
        rows: np.ndarray,
        n: int,
    ) -> Self | None:
        """Fit the basis functions to a sample of n sequences; None if they are too many."""
        basis = Basis(np.asarray(X, np.float64), n, identifier.n_components)
        if 8 * len(basis.step) ** 2 > MAX_GRAM_BYTES:
            return None
        columns = data.task_columns - data.n_timesteps * data.n_features
        scale = Scale.fit(one_against_rest(tasks, columns)[0])
        return cls(X, tasks, rows, columns, basis, scale)

    def _columns(self, X: np.ndarray, tasks: np.ndarray) -> Iterator[np.ndarray]:
        """Yield basis functions and tasks of some sequences at a time."""
        p = max(len(self.basis.step), 1)
        size = max(BLOCK // p, p // 4, 1)
        for start in range(0, len(X), size):
            rows = slice(start, start + size)
            Y = self.scale.tame(one_against_rest(tasks[rows], self.task_columns)[0])
            columns = np.empty((len(Y), len(self.basis.step) + Y.shape[1]))
            columns[:, len(self.basis.step) :] = Y
            yield self.basis.transform(X[rows], columns)

    def moments_of(self, X: np.ndarray, tasks: np.ndarray, *_: Any) -> Moments:
        """Return the moments of sequences."""
        return reduce(Moments.merge, map(Moments.from_data, self._columns(X, tasks)))

    def sum_up(self, over_all: Callable[[Callable[..., Any]], Any]) -> Self:
        """Sum over all sequences, of which ``over_all`` returns sums of a function."""
        lifted = replace(self, moments=over_all(self.moments_of))

        def scores_of(blocks: Sequence[np.ndarray]) -> np.ndarray:
            return np.asarray(over_all(partial(lifted.sum_scores, blocks)))

        return replace(lifted, scores_of=scores_of)

    def add(
        self, X: np.ndarray, tasks: np.ndarray, first: int, blocks: Sequence[np.ndarray]
    ) -> Self:
        """Return the sums, and a sample as large, with further sequences of a stream.

        Their residuals are those of the fit to the sequences before them, which makes the sums of
        scores martingales: no sequence is read again.
        """
        moments = self.moments_of(X, tasks)
        if self.moments is None:
            lifted = replace(self, moments=moments)
            scores = lifted.sum_scores(blocks, X, tasks)
        else:
            lifted = replace(self, moments=self.moments.merge(moments))
            scores = self.scores_of + self.sum_scores(blocks, X, tasks, within=False)
        rows = np.append(self.rows, np.arange(first, first + len(X)))
        rows, places = np.unique(rows, return_index=True)
        chosen = sample_rows(rows, len(self.X))
        return replace(
            lifted,
            X=np.concatenate([self.X, X])[places[chosen]],
            tasks=np.concatenate([self.tasks, tasks])[places[chosen]],
            rows=rows[chosen],
            scores_of=scores,
            blocks=blocks,
        )

    def sum_scores(
        self, blocks: Any, X: np.ndarray, tasks: np.ndarray, *_: Any, within: bool = True
    ) -> np.ndarray:
        """Return sums of R e, and of R R' e^2 / (1 - h), over sequences.

        R and e are the residuals of a block's columns and of a task given other steps, and h
        leverages, zero unless the sequences are ``within`` those of the fit. The shape is
        (n_blocks, n_tasks, width, 1 + width), and the last matrices are upper triangles.
        """
        sums, columns = self.sums, [np.isin(self.basis.step, block) for block in blocks]
        ridge, units = sums.ridge, Units(sums.n)
        width = max(own.sum() for own in columns)
        found = np.zeros((len(blocks), len(sums.squares), width, 1 + width))
        # Columns are standardized: of collinear ones, such as of classes, the inverse is huge.
        is_exact = sums.n * ridge.inverse.diagonal().max(initial=0.0) > MAX_INFLATION
        kind: Any = np.float64 if is_exact else np.float32
        inverse = ridge.inverse.astype(kind)
        for block in self._columns(X, tasks):
            D, Y = np.hsplit(block - sums.mean, [len(self.basis.step)])
            # The scores' covariance is not needed to the digits of the scores themselves.
            V = D.astype(kind) @ inverse
            residuals = Y[:, ridge.tasks] - D @ ridge.coef
            leverage = np.einsum("ij,ij->i", V, D)
            for total, own in zip(found, columns, strict=True):
                if not own.any():
                    continue
                Q, coef = ridge.inverse[np.ix_(own, own)], ridge.coef[own]
                R, errors, scaled = block_residuals(V[:, own], Q, coef, residuals, leverage, units)
                w, squares = own.sum(), ((scaled if within else errors) ** 2).astype(np.float32)
                total[ridge.tasks, :w, 0] += (R.T @ errors).T
                # Products of pairs of columns serve all tasks.
                (a, b), r = np.triu_indices(w), R.T.astype(np.float32)
                upper = np.zeros((len(a), len(ridge.tasks)))
                for start in range(0, len(R), CHUNK):
                    some = r[:, start : start + CHUNK]
                    upper += (some[a] * some[b]) @ squares[start : start + CHUNK]
                for j, sums_of_pairs in zip(ridge.tasks, upper.T, strict=True):
                    total[j, a, 1 + b] += sums_of_pairs
        return found

    def sample(self) -> dict[str, Any]:
        """Return the sample as data in memory; each sequence is a group, by which it has a fold."""
        X = self.X.reshape(len(self.X), -1)
        return {"X": X, "tasks": self.tasks, "groups": self.rows, "lifted": None}

    @cached_property
    def sums(self) -> Sums:
        """Sums that scores follow from."""
        assert self.moments is not None
        return Sums.fit(self.moments, self.basis.curved)

    def scores(self, blocks: Sequence[np.ndarray]) -> RobustScores:
        """Test blocks of steps against the tasks, given all other steps."""
        found = self.scores_of(blocks) if callable(self.scores_of) else self.scores_of
        sums, p = replace(self.sums, found=found), len(self.basis.step)
        columns = np.concatenate(list(self._columns(self.X, self.tasks))) - sums.mean
        design = Design(columns[:, :p], self.basis.step, self.basis.curved)
        n_components, X = self.basis.n_components, self.basis.steps(self.X)
        units = Units(len(X))
        result = score_design(X, design, columns[:, p:], units, blocks, True, n_components, sums)
        result = replace(result, n_components=n_components)
        task_columns = one_against_rest(self.tasks[:1], self.task_columns)[1]
        return combine_columns(result, task_columns, np.zeros(len(sums.squares), dtype=bool))


@dataclass(frozen=True)
class Sums:
    """Sums over all sequences of centered columns D and tasks Y, and their ridge regression."""

    n: float
    mean: np.ndarray  # of columns and tasks
    squares: np.ndarray  # sums of squares of the tasks
    ridge: Ridge  # of the tasks that vary
    residual: np.ndarray  # sums of squares of its residuals
    found: np.ndarray | None = None  # scores and covariances, from Lifted.sum_scores

    @classmethod
    def fit(cls, moments: Moments, curved: np.ndarray) -> Self:
        """Choose the strength of the ridge by generalized cross-validation, for all tasks.

        With many sequences per column, leverages differ little from their mean, and a strength
        that suits other tasks costs a task little.
        """
        p, n = len(curved), moments.n
        gram, products = moments.scatter[:p, :p], moments.scatter[:p, p:]
        squares, least = np.diag(moments.scatter)[p:], np.inf
        tasks = np.flatnonzero(squares > 0)
        for strength in STRENGTHS:
            ridge = fit_ridge(gram, products, n * (strength * curved + JITTER), tasks)
            # y'y - b'D'y - b'(penalty)b
            explained = products[:, tasks] + ridge.penalty[:, None] * ridge.coef
            residual = squares[tasks] - (ridge.coef * explained).sum(axis=0)
            free = max(n - 1 - cls.trace(ridge), 1.0)
            loss = np.log(np.maximum(residual, 1e-300) / free**2).sum()
            if loss < least:
                least, sums = loss, cls(n, moments.mean, squares, ridge, residual)
        return sums

    @staticmethod
    def trace(ridge: Ridge) -> float:
        """Return the trace of the hat matrix D Q D', p less that of Q penalty."""
        return float(len(ridge.inverse) - ridge.inverse.diagonal() @ ridge.penalty)

    def scores(self, own: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return R'R, R'e and the diagonal of e'e of a block.

        With D'D = 1 / Q - penalty, D'(y - D b) is penalty b.
        """
        assert self.found is not None
        Q, coef = self.ridge.inverse[own], self.ridge.coef[own]
        M, shrunk = invert(Q[:, own]), Q * self.ridge.penalty
        RR = M @ (Q[:, own] - shrunk @ Q.T) @ M
        # e = y - D b + R b of the block: its squares are expanded into sums of products.
        explained = (coef * (2 * M @ (shrunk @ self.ridge.coef) + RR @ coef)).sum(axis=0)
        scores = self.found[block, self.ridge.tasks, : len(own), 0].T
        return RR, scores, self.residual + explained

    def covariance(self, block: int, task: int, chosen: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return the robust covariance of scores in directions W of some columns of a block."""
        assert self.found is not None
        places = np.flatnonzero(chosen)
        upper = self.found[block, task][np.ix_(places, 1 + places)]
        return W.T @ (upper + np.triu(upper, 1).T) @ W
