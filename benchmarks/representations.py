"""Other ways to a small representation that serves several tasks, each as a transformer.

``REPRESENTATIONS`` maps a name to a factory that takes ``Sizes`` and returns an unfitted
transformer of rows ``X`` (n, d) and continuous tasks ``y`` (n, T), T at least 2. Every setting
is fixed here, before any figure of the benchmark; ``describe`` returns those of one name. The
``ORACLES`` are given the true number of relevant latents; no other reads it. Packages
that are not installed leave their names out.

In common: features and tasks are standardized; d latents are one for each feature, at most 32.
Networks: hidden layers of 128 and 128 units, heads of 64 and 64 units for each task, ReLU;
AdamW with weight decay 0.01 and a one-cycle learning rate that peaks at 0.05; 2,500 updates on
batches of 256 rows, but at most 200 epochs: 1,000 rows overfit. These were tuned for the
bottleneck of the true size, on seeds from 1000 on: SiLU and lower learning rates are
clearly worse. None of it uses the library.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from peer_networks import (
    HIDDEN,
    Bottleneck,
    IdentifiableVAE,
    Network,
    StochasticGates,
    standardized_tasks,
)
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import CCA, PLSRegression
from sklearn.decomposition import PCA, FastICA
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import MultiTaskLassoCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MAX_LATENTS = 32
REPRESENTATIONS: dict[str, Callable[["Sizes"], TransformerMixin]] = {}


@dataclass(frozen=True)
class Sizes:
    """Sizes of the data that are passed to a factory.

    Parameters
    ----------
    n_features, n_tasks : int
        Columns of ``X`` and of ``y``.
    n_relevant : int or None
        The true number of relevant latents; None for methods that are not in ``ORACLES``.
    seed : int, default=0
        Everything random in the transformer.
    """

    n_features: int
    n_tasks: int
    n_relevant: int | None
    seed: int = 0

    @property
    def n_latents(self):
        """Number of latents of methods that are not oracles."""
        return min(self.n_features, MAX_LATENTS)


def representation(name, *, needs=None):
    """Register a factory, unless the package that it needs is missing."""

    def register(factory):
        if needs is None or find_spec(needs):
            REPRESENTATIONS[name] = factory
        return factory

    return register


def describe(name):
    """Return the settings of a representation."""
    return inspect.getdoc(REPRESENTATIONS[name])


# Classical


@representation("raw input")
def raw_input(sizes):
    """Standardized features."""
    return StandardScaler()


@representation("PCA")
def pca(sizes):
    """As many principal components as explain 99 % of the variance."""
    return make_pipeline(StandardScaler(), PCA(0.99, svd_solver="full"))


@representation("PCA, true size")
def pca_true_size(sizes):
    """As many principal components as there are relevant latents."""
    return make_pipeline(StandardScaler(), PCA(sizes.n_relevant, svd_solver="full"))


def _best_number(estimator, sizes):
    folds = KFold(3, shuffle=True, random_state=sizes.seed)
    grid = {"n_components": range(1, min(sizes.n_features, sizes.n_tasks) + 1)}
    return make_pipeline(StandardScaler(), GridSearchCV(estimator, grid, cv=folds))


@representation("PLS")
def pls(sizes):
    """Partial least squares; 1 to min(d, T) components by the R2 of 3-fold cross-validation."""
    return _best_number(PLSRegression(), sizes)


@representation("CCA")
def cca(sizes):
    """Canonical correlation; 1 to min(d, T) components by the R2 of 3-fold cross-validation."""
    return _best_number(CCA(max_iter=2000), sizes)


@representation("FastICA + MultiTaskLassoCV")
def ica_lasso(sizes):
    """d independent components; those that a multi-task lasso, by 3-fold CV, gives weight."""
    ica = FastICA(sizes.n_latents, max_iter=1000, random_state=sizes.seed)
    lasso = TransformedTargetRegressor(
        MultiTaskLassoCV(cv=KFold(3, shuffle=True, random_state=sizes.seed)),
        transformer=StandardScaler(),
    )
    kept = SelectFromModel(lasso, importance_getter="regressor_.coef_", threshold=1e-12)
    return make_pipeline(StandardScaler(), ica, kept)


def _network(module, sizes, *, lr=5e-2, **settings):
    return Network(partial(module, **settings), lr=lr, random_state=sizes.seed)


@representation("autoencoder")
def autoencoder(sizes):
    """d latents, trained to reconstruct the features alone. The learning rate peaks at 0.003."""
    options = {"n_latents": sizes.n_latents, "reconstruct": True, "serve": False}
    return _network(Bottleneck, sizes, lr=3e-3, **options)


@representation("autoencoder + heads")
def autoencoder_heads(sizes):
    """d latents, all read by all heads: features and tasks, their errors weighted equally."""
    return _network(Bottleneck, sizes, n_latents=sizes.n_latents, reconstruct=True, serve=True)


@representation("bottleneck, true size")
def bottleneck(sizes):
    """As many latents as are relevant, trained on the tasks alone."""
    return _network(Bottleneck, sizes, n_latents=sizes.n_relevant, reconstruct=False, serve=True)


@representation("bottleneck, too large")
def bottleneck_large(sizes):
    """Twice as many latents as are relevant, at most d, trained on the tasks alone."""
    n_latents = min(2 * sizes.n_relevant, sizes.n_features)
    return _network(Bottleneck, sizes, n_latents=n_latents, reconstruct=False, serve=True)


@representation("stochastic gates")
def stochastic_gates(sizes):
    """Features whose gate stays open: noise 0.5, penalty 0.1 on the share of open gates."""
    options = {"n_latents": sizes.n_latents, "reconstruct": False, "serve": True}
    return _network(StochasticGates, sizes, **options)


@representation("iVAE")
def ivae(sizes):
    """Posterior means of d latents given the features alone; their prior is given the tasks.

    Decoder variance 0.01. The learning rate peaks at 0.003: at 0.03 less is reconstructed.
    """
    return _network(IdentifiableVAE, sizes, lr=3e-3, n_latents=sizes.n_latents)


# Packages


class LassoNetSelector(TransformerMixin, BaseEstimator):
    """Features that LassoNet keeps, all tasks in one model."""

    def __init__(self, *, tolerance=1.1, max_rows=2000, random_state=0):
        self.tolerance = tolerance
        self.max_rows = max_rows
        self.random_state = random_state

    def fit(self, X, y):
        """Follow the path; take its sparsest model that is nearly as good as its best."""
        from lassonet import LassoNetRegressor

        self.scaler_ = StandardScaler().fit(X)
        rows = np.random.RandomState(self.random_state).permutation(len(X))[: self.max_rows]
        model = LassoNetRegressor(
            hidden_dims=(HIDDEN, HIDDEN),
            path_multiplier=1.2,
            batch_size=256,
            n_iters=(100, 30),
            patience=(20, 10),
            verbose=0,
            device="cpu",
            random_state=self.random_state,
            torch_seed=self.random_state,
        )
        with torch.random.fork_rng():
            path = model.path(self.scaler_.transform(X[rows]), standardized_tasks(y)[rows].numpy())
        limit = self.tolerance * min(step.val_loss for step in path)
        good = [step for step in path if step.val_loss <= limit]
        self.support_ = min(good, key=lambda step: step.selected.sum()).selected.numpy()
        return self

    def transform(self, X):
        """Return the kept features, standardized."""
        return self.scaler_.transform(X)[:, self.support_]


@representation("LassoNet", needs="lassonet")
def lassonet(sizes):
    """Features kept by the sparsest model within 10 % of the path's least validation error.

    Hidden layers 128 and 128; at most 2,000 rows, a tenth of them for validation; batches of
    256; path multiplier 1.2; at most 100 epochs at its start and 30 at a step, patience 20 and
    10; the rest as the package has it.
    """
    return LassoNetSelector(random_state=sizes.seed)


class ContrastiveEmbedding(TransformerMixin, BaseEstimator):
    """CEBRA with the tasks as its labels."""

    def __init__(self, n_components, *, max_iterations=500, random_state=0):
        self.n_components = n_components
        self.max_iterations = max_iterations
        self.random_state = random_state

    def fit(self, X, y):
        """Standardize and train."""
        from cebra import CEBRA

        self.scaler_ = StandardScaler().fit(X)
        self.model_ = CEBRA(
            model_architecture="offset1-model",
            conditional="delta_normal",
            delta=0.5,
            num_hidden_units=HIDDEN,
            output_dimension=self.n_components,
            batch_size=512,
            learning_rate=3e-3,
            max_iterations=self.max_iterations,
            device="cpu",
        )
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            self.model_.fit(
                self.scaler_.transform(X).astype(np.float32), standardized_tasks(y).numpy()
            )
        return self

    def transform(self, X):
        """Return the embedding, float64."""
        embedding = self.model_.transform(self.scaler_.transform(X).astype(np.float32))
        return np.asarray(embedding, dtype=np.float64)


@representation("CEBRA", needs="cebra")
def cebra(sizes):
    """Supervised contrastive embedding on a sphere, 8 dimensions or d if that is fewer.

    A row's partner is the row whose tasks are nearest to its own plus noise of standard
    deviation 0.5 ("delta_normal": rows have no order in time; with 0.1 and ten tasks a row is
    its own partner, and the embedding holds everything). 128 hidden units, batches of 512,
    500 iterations at a learning rate of 0.003, a few times the seconds of the networks above;
    the rest as the package has it. Its sampling cannot be seeded: results vary.
    """
    return ContrastiveEmbedding(min(8, sizes.n_features), random_state=sizes.seed)


ORACLES = {"PCA, true size", "bottleneck, true size", "bottleneck, too large"}
