"""Candidate estimators of a task, and the features that they read.

Every candidate is an ordinary estimator on columns of the representation: the transformers
of this module take a row as ``n_timesteps`` equal blocks, the steps that a candidate reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from .._base.sklearn_compat import Interval
from .._data.tasks import Task
from ._representation import Representation

__all__ = [
    "BUILT_IN",
    "Candidate",
    "KernelMean",
    "RidgeTunedLogisticRegression",
    "StepMoments",
    "check_candidates",
    "null_estimator",
    "reads_latents",
    "task_candidates",
]

# Candidates of every pipeline, where they apply; they read all of the generalist or nothing,
# the steps of a task, or its latents.
BUILT_IN = (
    "generalist",
    "null",
    "pooled",
    "kernel",
    "steps",
    "steps_mean",
    "steps_kernel",
    "latents",
    "generalist+latents",
)

# Parts of the representation that a candidate may read.
PARTS = ("generalist", "steps", "latents")

# Strengths of ridge regressions on standardized columns, and on kernel features, whose squares
# sum to at most one: from next to no shrinkage to nearly the mean.
COLUMN_ALPHAS = np.logspace(-2, 5, 15)
KERNEL_ALPHAS = np.logspace(-4, 2, 13)
# Width of the kernel in multiples of the median squared distance: around the median heuristic.
WIDTHS = (0.5, 1.0, 2.0, 4.0)
# Landmarks while scaling and width are chosen: their order changes little with more.
N_TRIED = 100
# Multiples of C, the inverse strength: weaker shrinkage than that of the ridge regression.
WEAKER = (1.0, 10.0, 100.0)
# Rows among which the median distance is taken: its error is then a few per cent.
N_DISTANCES = 400


@dataclass(frozen=True)
class Candidate:
    """Columns and unfitted estimator that may predict a task.

    Attributes
    ----------
    name : str
        Name, as in ``SpecialistPipeline.weights_``.
    columns : ndarray of int
        Columns of the representation.
    estimator : estimator
        Unfitted.
    reads : {"generalist", "steps", "latents"}
        Part of the representation that the columns are of; not the whole generalist for a
        specialist.
    is_curved : bool, default=False
        Whether the estimator is a smooth function that is not linear.
    """

    name: str
    columns: np.ndarray
    estimator: Any
    reads: str = "generalist"
    is_curved: bool = False


def task_candidates(
    representation: Representation, index: int, task: Task, *, estimator: Any, selected: Any
) -> list[Candidate]:
    """Return the candidates of a task: the generalist, then those that are available.

    Parameters
    ----------
    representation : Representation
        Fitted.
    index : int
        Index of the task in the representation.
    task : Task
        The task.
    estimator, selected : object
        Parameters ``estimator`` and ``candidates`` of :class:`SpecialistPipeline`.
    """
    columns = {
        "generalist": np.arange(representation.n_generalist),
        **representation.columns[index],
    }
    candidates = _built_in(representation, columns, task, estimator_of(estimator, task))
    if isinstance(selected, str):
        return candidates
    names = {entry for entry in selected if isinstance(entry, str)}
    if "auto" not in names:
        # The generalist and the null model are what the others are compared with.
        candidates = [c for c in candidates if c.name in {"generalist", "null", *names}]
    for name, given, *reads in (entry for entry in selected if not isinstance(entry, str)):
        part = reads[0] if reads else "generalist"
        own = estimator_of(given, task)
        if own is not None and part in columns:
            candidates.append(Candidate(name, columns[part], own, part))
    return candidates


def reads_latents(selected: Any) -> bool:
    """Return whether a candidate may read latents, given the parameter ``candidates``."""
    if isinstance(selected, str):
        return True
    names = {"auto", "latents", "generalist+latents"}
    return any(e in names if isinstance(e, str) else e[-1] == "latents" for e in selected)


def estimator_of(given: Any, task: Task) -> Any:
    """Return the estimator of a task: of one for all, a pair by kind, or a dictionary by name."""
    if isinstance(given, dict):
        return given.get(task.name)
    if isinstance(given, tuple | list):
        return given[int(task.is_classification)]
    return given


def check_candidates(estimator: Any, selected: Any, names: list[str]) -> None:
    """Check the parameters ``estimator`` and ``candidates``, given the names of the tasks.

    Raises
    ------
    ValueError
        If an estimator is given for a task that does not exist, or not for both kinds, or a
        candidate is not known.
    """
    entries = [] if isinstance(selected, str) else list(selected)
    named = [entry for entry in entries if not isinstance(entry, str)]
    for entry in named:
        is_triple = isinstance(entry, tuple | list) and len(entry) in (2, 3)
        if not is_triple or entry[0] in BUILT_IN or entry[2:] not in ((), *[(p,) for p in PARTS]):
            raise ValueError(
                "candidates must have names of the built-in ones, or tuples of a new name, an "
                f"estimator and, optionally, one of {list(PARTS)}; got {entry!r}."
            )
    unknown = {e for e in entries if isinstance(e, str)} - {"auto", *BUILT_IN}
    if unknown:
        raise ValueError(
            f"candidates={sorted(unknown)} are not known; use 'auto' and {list(BUILT_IN)}."
        )
    for argument, given in [("estimator", estimator), *(("candidates", e[1]) for e in named)]:
        if isinstance(given, dict) and not set(given) <= set(names):
            raise ValueError(
                f"{argument} has estimators of {sorted(map(str, set(given) - set(names)))}, but "
                f"the tasks are {names}."
            )
        if isinstance(given, tuple | list) and len(given) != 2:
            raise ValueError(
                f"{argument} must be one estimator, a pair (regressor, classifier), or a "
                f"dictionary by task; got {len(given)} of them."
            )


def _built_in(
    representation: Representation, parts: dict[str, np.ndarray], task: Task, estimator: Any
) -> list[Candidate]:
    everything = parts["generalist"]
    head = _column_head(task) if estimator is None else estimator
    kernel_head = _kernel_head(task) if estimator is None else estimator
    n_timesteps = len(representation.steps)
    candidates = [Candidate(name, columns, head, name) for name, columns in parts.items()]
    candidates.insert(1, Candidate("null", np.arange(0), null_estimator(task)))
    if "latents" in parts:
        both = np.append(everything, parts["latents"])
        candidates.append(Candidate("generalist+latents", both, head, "latents"))
    if representation.selects_stable:
        # Means and kernels mix stable columns with others.
        return candidates
    kernel = make_pipeline(KernelMean(1), kernel_head)
    candidates.append(Candidate("kernel", everything, kernel, is_curved=True))
    if n_timesteps == 1:
        return candidates
    statistics = ("mean", "last", "max")
    pooled = make_pipeline(StepMoments(n_timesteps, statistics), head)
    candidates.append(Candidate("pooled", everything, pooled))
    if representation.aligned:
        # Without a step of its own a task is a sum over all steps.
        reads = "steps" if "steps" in parts else "generalist"
        own = parts[reads]
        n_steps = len(own) * n_timesteps // representation.n_generalist
        mean = make_pipeline(StepMoments(n_steps), head)
        own_kernel = make_pipeline(KernelMean(n_steps), kernel_head)
        candidates += [
            *([Candidate("steps_mean", own, mean, reads)] if n_steps > 1 else []),
            Candidate("steps_kernel", own, own_kernel, reads, is_curved=True),
        ]
    return candidates


def _column_head(task: Task) -> Any:
    head = RidgeTunedLogisticRegression() if task.is_classification else RidgeCV(COLUMN_ALPHAS)
    return make_pipeline(StandardScaler(), head)


def _kernel_head(task: Task) -> Any:
    if task.is_classification:
        return RidgeTunedLogisticRegression(alphas=KERNEL_ALPHAS)
    return RidgeCV(KERNEL_ALPHAS)


class StepMoments(TransformerMixin, BaseEstimator):
    """Mean, last and largest value of every column over the steps of a sequence.

    Parameters
    ----------
    n_timesteps : int
        Number of steps of a row.
    statistics : tuple of {"mean", "last", "max"}, default=("mean",)
        Statistics of each column, in this order.
    """

    _REDUCE = {
        "mean": lambda steps: steps.mean(axis=1),
        "last": lambda steps: steps[:, -1],
        "max": lambda steps: steps.max(axis=1),
    }

    def __init__(self, n_timesteps: int, statistics: tuple[str, ...] = ("mean",)) -> None:
        self.n_timesteps = n_timesteps
        self.statistics = statistics

    def fit(self, X: np.ndarray, y: Any = None) -> Self:
        """Do nothing: nothing is estimated."""
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the statistics, shape (n_sequences, n_statistics * n_features)."""
        steps = X.reshape(len(X), self.n_timesteps, -1)
        return np.hstack([self._REDUCE[name](steps) for name in self.statistics])


class KernelMean(TransformerMixin, BaseEstimator):
    """Mean over steps of random kernel features of each step.

    A ridge regression on these features is one with the set kernel
    :math:`k(x, x') = T^{-2} \\sum_{t, t'} \\exp(-\\gamma ||x_t - x'_{t'}||^2)` [1]_, in the
    Nystroem approximation [2]_: the task is a sum, over the steps, of one smooth function of
    the state. The width of the kernel, and whether columns are standardized first, are those
    of the ridge regression of least leave-one-out error.

    Parameters
    ----------
    n_timesteps : int
        Number of steps of a row.
    n_components : int, default=300
        Largest number of landmarks. 1,000 are slightly better on embeddings of text and
        speech, at several times the cost.
    random_state : int or None, default=None
        Seed of the landmarks.

    References
    ----------
    .. [1] T. Gärtner, P. Flach, A. Kowalczyk and A. Smola, "Multi-instance kernels", ICML 2002.
    .. [2] C. Williams and M. Seeger, "Using the Nyström method to speed up kernel machines",
       NeurIPS 2000.
    """

    _parameter_constraints: dict = {
        "n_timesteps": [Interval(Integral, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self, n_timesteps: int, n_components: int = 300, random_state: int | None = None
    ) -> None:
        self.n_timesteps = n_timesteps
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Choose scaling and width, and draw the landmarks.

        Parameters
        ----------
        X : ndarray of shape (n_sequences, n_timesteps * n_features)
            Steps side by side.
        y : ndarray of shape (n_sequences,)
            Amounts, or class labels.
        """
        rows = X.reshape(len(X) * self.n_timesteps, -1).astype(np.float64)
        scalers = [StandardScaler(with_std=False).fit(rows), StandardScaler().fit(rows)]
        scaled = [scaler.transform(rows) for scaler in scalers]
        medians = [self._median_distance(values) for values in scaled]
        target = _ridge_target(y)
        # Coordinate search: the scaling at the median width, then the width.
        pairs = zip(medians, scaled, strict=True)
        errors = [self._error(median, values, target) for median, values in pairs]
        best = int(np.argmin(errors))
        self.scaler_, median, values = scalers[best], medians[best], scaled[best]
        errors = [
            min(errors) if width == 1.0 else self._error(width * median, values, target)
            for width in WIDTHS
        ]
        self.width_ = WIDTHS[int(np.argmin(errors))]
        self.nystroem_ = self._nystroem(self.width_ * median, values, self.n_components)
        return self

    def _median_distance(self, rows: np.ndarray) -> float:
        """Return the median squared distance of different rows, in a sample."""
        rng = np.random.default_rng(self.random_state)
        sample = rows[rng.permutation(len(rows))[:N_DISTANCES]]
        distances = euclidean_distances(sample, squared=True)
        return float(np.median(distances[distances > 0])) if distances.any() else 1.0

    def _error(self, width: float, rows: np.ndarray, target: np.ndarray) -> float:
        """Return the leave-one-out error of the best ridge regression on fewer landmarks."""
        nystroem = self._nystroem(width, rows, min(self.n_components, N_TRIED))
        features = self._features(nystroem, rows)
        return -float(np.mean(RidgeCV(alphas=KERNEL_ALPHAS).fit(features, target).best_score_))

    def _nystroem(self, width: float, rows: np.ndarray, n_components: int) -> Nystroem:
        return Nystroem(
            gamma=1 / width,
            n_components=min(n_components, len(rows)),
            random_state=self.random_state,
        ).fit(rows)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the features, shape (n_sequences, n_components)."""
        rows = X.reshape(len(X) * self.n_timesteps, -1).astype(np.float64)
        return self._features(self.nystroem_, self.scaler_.transform(rows))

    def _features(self, nystroem: Nystroem, rows: np.ndarray) -> np.ndarray:
        kernel = rbf_kernel(rows, nystroem.components_, gamma=nystroem.gamma)
        # The projection onto the features of the landmarks is linear: the mean comes first.
        means = kernel.reshape(-1, self.n_timesteps, kernel.shape[1]).mean(axis=1)
        return np.asarray(means @ nystroem.normalization_.T)


class RidgeTunedLogisticRegression(ClassifierMixin, BaseEstimator):
    r"""Logistic regression whose strength starts from the best ridge regression on indicators.

    Leave-one-out errors of ridge regressions have a closed form. Near the solution the log loss
    has the curvature :math:`p (1 - p)` in place of the squared error's one: both shrink alike
    for :math:`C = 1 / (\alpha \overline{p (1 - p)})`. Indicators of ordered classes are not
    linear, and are shrunk too much: weaker strengths are compared with it on held-out samples.

    Parameters
    ----------
    alphas : array-like, default=COLUMN_ALPHAS
        Strengths of the ridge regression.
    max_iter : int, default=300
        Iterations of the logistic regression.
    """

    _parameter_constraints: dict = {
        "alphas": ["array-like"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, alphas: Any = COLUMN_ALPHAS, max_iter: int = 300) -> None:
        self.alphas = alphas
        self.max_iter = max_iter

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any = None) -> Self:
        """Choose the strength, and fit the logistic regression."""
        w = sample_weight
        ridge = RidgeCV(alphas=self.alphas).fit(X, _ridge_target(y), w)
        codes = np.unique(y, return_inverse=True)[1]
        shares = np.bincount(codes, w) / (len(y) if w is None else np.sum(w))
        variance = (shares * (1 - shares)).mean()
        self.C_ = self._weakened(X, y, 1 / (ridge.alpha_ * variance), w)
        self.logistic_ = self._logistic(self.C_).fit(X, y, w)
        self.classes_ = self.logistic_.classes_
        return self

    def _weakened(self, X: np.ndarray, y: np.ndarray, C: float, weights: Any) -> float:
        """Return the multiple of ``C`` of least log loss of a held-out third."""
        counts = np.unique(y, return_counts=True)[1]
        if counts.min() < 2 or len(y) < 3 * len(counts):
            return C  # a class would be missing from one of the parts
        fit, held_out = train_test_split(
            np.arange(len(y)), test_size=1 / 3, stratify=y, random_state=0
        )
        losses = []
        for factor in WEAKER:
            of_fit = None if weights is None else weights[fit]
            model = self._logistic(factor * C).fit(X[fit], y[fit], of_fit)
            probabilities = model.predict_proba(X[held_out])
            codes = np.searchsorted(model.classes_, y[held_out])
            likelihoods = probabilities[np.arange(len(codes)), codes]
            logs = -np.log(np.maximum(likelihoods, np.finfo(float).eps))
            of_held_out = None if weights is None else weights[held_out]
            losses.append(np.average(logs, weights=of_held_out))
        return WEAKER[int(np.argmin(losses))] * C

    def _logistic(self, C: float) -> LogisticRegression:
        return LogisticRegression(C=C, max_iter=self.max_iter)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, shape (n_samples, n_classes)."""
        return self.logistic_.predict_proba(X)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable classes."""
        return self.logistic_.predict(X)


def _ridge_target(y: np.ndarray) -> np.ndarray:
    """Return amounts as they are, and labels as indicators."""
    if y.dtype.kind == "f":
        return y
    return LabelBinarizer().fit_transform(y).astype(float)


def null_estimator(task: Task) -> Any:
    """Return the unfitted null model: the mean, or the frequencies of the classes."""
    return DummyClassifier(strategy="prior") if task.is_classification else DummyRegressor()
