"""Methods of the board: ours and what else a user would put in front of a linear estimator.

``METHODS`` maps a name to a function that takes a fold and a seed and returns an unfitted
estimator of its sequences. All settings are fixed here, before any figure; ``describe`` returns
those of one name. Every method has the same last estimators, the default ones of the pipeline:
standardized features and RidgeCV for continuous tasks, LogisticRegression for class labels. All
peers start from the generalist, its steps side by side and standardized; class labels are
columns of 0 and 1 for those that want numbers. Packages that are not installed leave their
names out.
"""

import inspect
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from peer_networks import Bottleneck, Network
from representations import REPRESENTATIONS, Sizes
from sklearn.base import clone
from sklearn.decomposition import FastICA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import (
    SelectFromModel,
    SelectKBest,
    mutual_info_classif,
    mutual_info_regression,
)
from sklearn.linear_model import (
    LassoCV,
    LogisticRegression,
    LogisticRegressionCV,
    MultiTaskLassoCV,
    RidgeCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skspecialist import SpecialistPipeline

OURS, ALWAYS, GENERALIST = "ours", "ours, always", "generalist"
CHANCE, TRUTH, RANDOM = "chance", "true features", "random features"
METHODS: dict[str, Callable] = {}


def method(name, *, needs=None):
    """Register a factory, unless the package that it needs is missing."""

    def register(factory):
        if needs is None or find_spec(needs):
            METHODS[name] = factory
        return factory

    return register


def describe(name):
    """Return the settings of a method."""
    return inspect.getdoc(METHODS.get(name) or REPRESENTATIONS[name])


# The pipeline


class Ours(SpecialistPipeline):
    """The pipeline, and how many steps it reads."""

    @property
    def n_steps_used_(self):
        """Number of steps that each task's estimator reads."""
        every = np.full(len(self.tasks_), self.n_timesteps_)
        if not self.use_specialist_.any():
            return every
        return np.where(self.use_specialist_, self.step_mask_.sum(axis=0), every)


@method(OURS)
def ours(fold, seed):
    """SpecialistPipeline with its defaults."""
    return Ours(fold.generalist, random_state=seed)


@method(ALWAYS)
def ours_always(fold, seed):
    """SpecialistPipeline that never falls back where it found something."""
    return Ours(fold.generalist, strategy="specialist", random_state=seed)


@method(GENERALIST)
def generalist(fold, seed):
    """All features of the generalist at all steps."""
    return Ours(fold.generalist, strategy="generalist", random_state=seed)


# Peers


def fit_linear(features, values):
    """Return the last estimator of a task; a constant one without features."""
    labels = values.dtype.kind != "f"
    if not features.shape[1] or not np.isfinite(features).all():  # a training that diverged
        return (DummyClassifier() if labels else DummyRegressor()).fit(features[:, :0], values)
    last = LogisticRegression(max_iter=1000) if labels else RidgeCV(np.logspace(-2, 5, 15))
    return make_pipeline(StandardScaler(), last).fit(features, values)


class GivenFeatures:
    """Estimators of given features, a list with one array for each task."""

    n_steps_used_: Any = None

    def fit(self, X, y):
        """Fit one estimator a task."""
        values = [y[name].to_numpy() for name in y]
        self.estimators_ = [fit_linear(*pair) for pair in zip(X, values, strict=True)]
        self.n_features_used_ = np.array([features.shape[1] for features in X])
        return self

    def predict(self, X):
        """Predict every task."""
        pairs = zip(self.estimators_, X, strict=True)
        return np.column_stack([estimator.predict(features) for estimator, features in pairs])


class Peer(GivenFeatures):
    """Estimators on features made of, or chosen from, the generalist.

    Parameters
    ----------
    generalist : transformer or None
        Represents single steps.
    seed : int
        Everything random.
    make : callable
        Returns an unfitted transformer for ``Sizes`` and, if it is for one task at a time,
        whether that has class labels.
    shared : bool
        Whether one transformer learns from all tasks, rather than one from each.
    """

    def __init__(self, generalist, seed, make, shared):
        self.generalist = generalist
        self.seed = seed
        self.make = make
        self.shared = shared

    def fit(self, X, y):
        """Fit the generalist, the transformers and the estimators."""
        if self.generalist is not None:
            self.generalist_ = clone(self.generalist).fit(X.reshape(-1, X.shape[2]))
        self.scaler_ = StandardScaler().fit(self._steps(X))
        flat = self.scaler_.transform(self._steps(X))
        self.views_ = self._fit_views(flat, y)
        kept = [kept_features(view, flat.shape[1]) for view in self.views_]
        self.n_steps_used_ = [support.reshape(X.shape[1], -1).any(1).sum() for support in kept]
        return super().fit([view.transform(flat) for view in self.views_], y)

    def predict(self, X):
        """Predict every task."""
        flat = self.scaler_.transform(self._steps(X))
        return super().predict([view.transform(flat) for view in self.views_])

    def _steps(self, X):
        if self.generalist is not None:
            X = self.generalist_.transform(X.reshape(-1, X.shape[2])).reshape(*X.shape[:2], -1)
        return X.reshape(len(X), -1)

    def _fit_views(self, flat, y):
        # One column per continuous task, and one per class but the first of class labels.
        labels = [name for name in y if y[name].dtype.kind != "f"]
        columns = pd.get_dummies(y, columns=labels, drop_first=True).to_numpy(dtype=float)
        sizes = Sizes(flat.shape[1], columns.shape[1], None, self.seed)
        if self.shared:
            return [self.make(sizes).fit(flat, columns)] * y.shape[1]
        return [
            self.make(sizes, values.dtype.kind != "f").fit(flat, values)
            for values in (y[name].to_numpy() for name in y)
        ]


def kept_features(view, n_features):
    """Return which features a fitted transformer reads."""
    if hasattr(view, "get_support"):
        return view.get_support()
    if hasattr(getattr(view, "module_", None), "means"):  # stochastic gates
        return view.module_.means.detach().numpy() > 0
    return getattr(view, "support_", np.ones(n_features, dtype=bool))


def peer(name, *, shared):
    """Register a maker of transformers."""

    def register(make):
        def factory(fold, seed):
            return Peer(fold.generalist, seed, make, shared)

        factory.__doc__ = inspect.getdoc(make)
        METHODS[name] = factory
        return make

    return register


for _name in ("PCA", "PLS", "CCA"):
    peer(_name, shared=True)(REPRESENTATIONS[_name])


@peer("FastICA", shared=True)
def ica(sizes):
    """Independent components, as many as features, at most 32."""
    return FastICA(sizes.n_latents, max_iter=1000, random_state=sizes.seed)


@peer("LassoCV or L1 logistic", shared=False)
def lasso(sizes, labels):
    """For each task the features that LassoCV (5-fold) gives weight.

    Class labels: L1 logistic regressions, each class against the rest, 3-fold log loss over 7
    penalties from 0.01 to 10; features with weight for any class.
    """
    if not labels:
        return SelectFromModel(LassoCV(cv=5), threshold=1e-12)
    model = LogisticRegressionCV(
        Cs=np.logspace(-2, 1, 7),
        l1_ratios=(1.0,),
        solver="liblinear",
        cv=3,
        scoring="neg_log_loss",
        random_state=sizes.seed,
    )
    return SelectFromModel(
        OneVsRestClassifier(model), threshold=1e-12, importance_getter=_weights_of_classes
    )


def _weights_of_classes(model):
    return np.vstack([binary.coef_ for binary in model.estimators_])


@peer("MultiTaskLassoCV", shared=True)
def multitask_lasso(sizes):
    """The features that MultiTaskLassoCV (3-fold) gives weight, the same for all tasks."""
    return SelectFromModel(MultiTaskLassoCV(cv=3), threshold=1e-12)


@peer("random forest", shared=False)
def forest(sizes, labels):
    """For each task the features of more than mean importance: 100 trees, a third tried a split."""
    model = RandomForestClassifier if labels else RandomForestRegressor
    return SelectFromModel(model(100, max_features=1 / 3, random_state=sizes.seed))


@peer("mutual information", shared=False)
def mutual_information(sizes, labels):
    """For each task the quarter of the features with the largest mutual information."""
    score = mutual_info_classif if labels else mutual_info_regression
    return SelectKBest(partial(score, random_state=sizes.seed), k=-(-sizes.n_features // 4))


class LinearHeads(Bottleneck):
    """Latents that linear heads read, as the last estimators do."""

    def __init__(self, n_features, n_tasks, *, n_latents):
        super().__init__(n_features, n_tasks, n_latents=n_latents, reconstruct=False, serve=False)
        self.heads = nn.Linear(n_latents, n_tasks)


@peer("supervised bottleneck", shared=True)
def bottleneck(sizes):
    """8 latents, or one a feature if that is fewer, trained on all tasks with linear heads.

    Networks have two hidden layers of 128 units: see ``representations.py``.
    """
    width = min(8, sizes.n_features)
    return Network(partial(LinearHeads, n_latents=width), lr=5e-2, random_state=sizes.seed)


for _name in ("autoencoder", "stochastic gates", "LassoNet", "CEBRA"):
    if _name in REPRESENTATIONS:
        peer(_name, shared=True)(REPRESENTATIONS[_name])


# What the figures are to be held against


class Columns:
    """Some of the features."""

    def __init__(self, support):
        self.support_ = support

    def transform(self, X):
        """Return them."""
        return X[:, self.support_]


class RandomColumns(Peer):
    """Estimators on random features of the generalist, so many for each task."""

    def __init__(self, generalist, seed, counts):
        super().__init__(generalist, seed, make=None, shared=False)
        self.counts = counts

    def _fit_views(self, flat, y):
        rng = np.random.RandomState(self.seed)
        return [Columns(rng.permutation(flat.shape[1]) < count) for count in self.counts]


@method(CHANCE)
def chance(fold, seed):
    """The mean, or the most frequent class."""
    return RandomColumns(fold.generalist, seed, [0] * fold.y.shape[1])


@method(RANDOM)
def random_features(fold, seed, counts):
    """As many random features of the generalist as ours reads, task by task; one draw a fold."""
    return RandomColumns(fold.generalist, seed, counts)


@method(TRUTH)
def true_features(fold, seed):
    """The digits, states or latents that each task depends on; no bound: tasks are nonlinear."""
    return GivenFeatures()
