"""Ways to a small representation, those of the library and others, each as a transformer.

``python benchmarks/representations.py`` compares those of the library with three others on images
of digits and of shapes, whose factors are known, and on snippets of text, of which some factors
are: R2 of the factors that tasks use and of the others, InfoMEC, the held-out R2 of a ridge
regression of the tasks, and CPU seconds. All take the same features, at most 48 principal
components. A second table compares reconstructions by dictionaries at equal sparsity.

The others serve ``encoder.py``, too. ``REPRESENTATIONS`` maps a name to a factory that takes
``Sizes`` and returns an unfitted transformer of rows ``X`` (n, d) and continuous tasks ``y``
(n, T), T at least 2. Every setting is fixed here, before any figure of the benchmark; ``describe``
returns those of one name. The ``ORACLES`` are given the true number of relevant latents; no other
reads it. Packages that are not installed leave their names out.

In common: features and tasks are standardized; d latents are one for each feature, at most 32.
Networks: hidden layers of 128 and 128 units, heads of 64 and 64 units for each task, ReLU;
AdamW with weight decay 0.01 and a one-cycle learning rate that peaks at 0.05; 2,500 updates on
batches of 256 rows, but at most 200 epochs: 1,000 rows overfit. These were tuned for the
bottleneck of the true size, on seeds from 1000 on: SiLU and lower learning rates are
clearly worse. None of these uses the library.
"""

import inspect
import time
import warnings
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
from report import Report, command_line
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import CCA, PLSRegression
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, FastICA, MiniBatchDictionaryLearning
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import MultiTaskLassoCV, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import SparseSpecialistEncoder, SufficientReduction
from skspecialist.baselines import QuantizedAutoencoder, SparseAutoencoder
from skspecialist.datasets import load_text_cases, make_digit_factors, make_shape_factors
from skspecialist.metrics import block_r2, infomec

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


# Comparison of the library's representations with three of the others

ACTIVATIONS = ("topk", "relu", "matching_pursuit")
LIBRARY = {
    "encoder": lambda seed: SparseSpecialistEncoder(random_state=seed),
    "quantized autoencoder": lambda seed: QuantizedAutoencoder(random_state=seed),
    "the same, not quantized": lambda seed: QuantizedAutoencoder(n_values=None, random_state=seed),
    **{
        f"sparse autoencoder, {name}": partial(
            lambda name, seed: SparseAutoencoder(
                64, activation=name, n_nonzero_coefs=6, random_state=seed
            ),
            name,
        )
        for name in ACTIVATIONS
    },
    "sufficient reduction": lambda seed: SufficientReduction(random_state=seed),
}
OTHERS = ("PCA", "CEBRA", "LassoNet")
N_FEATURES = 48
DICTIONARIES = "dictionaries"


def factors_of_text(subset):
    """Return snippets, factors that tasks use and others, and the tasks: the first two."""
    cases = load_text_cases(subset=subset)
    tweet = cases.source == "tweet"
    columns = (cases.sentiment, np.log(cases.words), cases.question, cases.digit, tweet)
    factors = np.column_stack([column.ravel().astype(float) for column in columns])
    order = np.random.RandomState(0).permutation(len(factors))
    return cases.data.reshape(-1, cases.data.shape[2])[order], factors[order]


def draw(name, n_train, n_test, seed):
    """Return features and tasks of both halves, test factors, the relevant and the classes."""
    if name == "text":
        (X, factors), (X_test, test) = (factors_of_text(half) for half in ("train", "test"))
        relevant, discrete = np.arange(5) < 2, np.arange(5) > 1
        X, X_test, y, test = X[:n_train], X_test[:n_test], factors[:n_train, :2], test[:n_test]
        y_test = test[:, :2]
    elif name == "digits":
        parts = [
            make_digit_factors(n, subset=half, random_state=seed)
            for n, half in ((n_train, "train"), (n_test, "test"))
        ]
        (X, y), (X_test, y_test) = ((part.X, part.y) for part in parts)
        test, relevant, discrete = parts[1].latents, parts[1].relevant, np.zeros(5, dtype=bool)
    else:
        data = make_shape_factors(n_train + n_test, random_state=seed)
        X, X_test, y, y_test = (a[part] for a in (data.X, data.y) for part in
                                (slice(n_train), slice(n_train, None)))  # fmt: skip
        test, relevant, discrete = data.latents[n_train:], data.relevant, np.arange(5) < 1
    pca = PCA(min(N_FEATURES, X.shape[1], len(X)), random_state=0).fit(X)
    return pca.transform(X), y, pca.transform(X_test), y_test, test, relevant, discrete


def measure(name, method, sizes, seed, **options):
    """Return a row of the table: a method on data of one seed."""
    X, y, X_test, y_test, factors, relevant, discrete = draw(name, *sizes, seed)
    if method in LIBRARY:
        estimator = LIBRARY[method](seed)
    else:
        estimator = REPRESENTATIONS[method](Sizes(X.shape[1], y.shape[1], None, seed=seed))
    if "max_epochs" in estimator.get_params():
        estimator.set_params(**options)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unused atoms, and as many latents as tasks
        estimator.fit(X, y)
    seconds = time.process_time() - start
    train, test = (np.asarray(estimator.transform(part), dtype=float) for part in (X, X_test))
    varies = (train.std(axis=0) > 1e-9) & (test.std(axis=0) > 1e-9)
    train, test = train[:, varies], test[:, varies]
    r2 = block_r2(test, factors)
    is_quantized = method == "quantized autoencoder"
    scores = infomec(factors, test, discrete=discrete, discrete_latents=is_quantized)
    reader = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 5, 17)))
    return [
        *(float(r2[part].mean()) for part in (relevant, ~relevant)),
        *(scores.modularity, scores.explicitness, scores.compactness),
        float(reader.fit(train, y).score(test, y_test)),
        float(test.shape[1]),
        seconds,
    ]


def reconstructions(n_atoms, n_active, n_rows, **options):
    """Return rows of a table: held-out share of the variance that dictionaries reconstruct."""
    snippets = [factors_of_text(half)[0][:n_rows].astype(float) for half in ("train", "test")]
    digits = load_digits().data[:n_rows]
    rows = []
    for name, (X, X_test) in {"digits": np.split(digits, [len(digits) * 2 // 3]),
                              "text": snippets}.items():  # fmt: skip
        models = {
            f"sparse autoencoder, {kind}": SparseAutoencoder(
                n_atoms, activation=kind, n_nonzero_coefs=n_active, random_state=0, **options
            )
            for kind in ACTIVATIONS
        }
        models["MiniBatchDictionaryLearning, OMP"] = MiniBatchDictionaryLearning(
            n_atoms,
            transform_algorithm="omp",
            transform_n_nonzero_coefs=n_active,
            fit_algorithm="cd",
            random_state=0,
        )
        for method, model in models.items():
            start, center = time.process_time(), X.mean(axis=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # unused atoms
                model.fit(X - center)
            seconds = time.process_time() - start
            codes = model.transform(X_test - center)
            if hasattr(model, "inverse_transform"):
                decoded = model.inverse_transform(codes)
            else:
                decoded = codes @ model.components_
            left = ((X_test - center - decoded) ** 2).sum() / ((X_test - center) ** 2).sum()
            active = float((codes != 0).sum(axis=1).mean())
            rows.append([name, method, float(1 - left), active, seconds])
    return rows


def main():
    """Print and save both tables."""
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--data", default=f"shapes,digits,text,{DICTIONARIES}", help="tables")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tiny = arguments.tiny
    sizes, seeds = ((60, 200), 1) if tiny else ((1000, 600), arguments.seeds)
    options = {"max_epochs": 1} if tiny else {}
    methods = [*LIBRARY, *(name for name in OTHERS if name in REPRESENTATIONS)]
    report = Report("representations", "Representations with and without tasks", arguments.output)
    header = ["", "R2 rel", "R2 irr", "InfoM", "InfoE", "InfoC", "R2 tasks", "columns", "CPU s"]
    for name in ("text", DICTIONARIES) if tiny else arguments.data.split(","):
        if name == DICTIONARIES:
            report.table(
                "Held-out share of the variance that dictionaries reconstruct from few atoms",
                ["data", "method", "R2", "atoms", "CPU s"],
                reconstructions(*((8, 2, 30) if tiny else (96, 5, 3000)), **options),
            )
            continue
        rows = []
        for method in methods[:2] if tiny else methods:
            found = [measure(name, method, sizes, seed, **options) for seed in range(seeds)]
            rows.append([method, *np.mean(found, axis=0).tolist()])
        report.table(
            f"{name}, {sizes[0]} rows to learn from and {sizes[1]} held out; seeds: {seeds}",
            header,
            rows,
        )
    report.save()


if __name__ == "__main__":
    main()
