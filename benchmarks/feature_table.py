"""Features of other packages for ``docs/comparison.rst``, as far as running them shows.

``python benchmarks/feature_table.py`` tries those that are installed; takes some minutes. All but
tigramite come with ``.[bench,test]``.
"""

import random
import warnings
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import skops.io
import torch
from report import Report, command_line
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
TARGETS = {"nothing": None, "classes": (X[:, 0] > 0).astype(int), "amounts": X[:, 0] - X[:, 1]}


class Linear(nn.Module):
    """A module for skorch: ten classes, more than any check has."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(10)

    def forward(self, X):
        """Return logits."""
        return self.layer(X.float())


# Settings keep them quick, and give them their own seeds.
CEBRA = {"max_iterations": 5, "batch_size": 16}
NET = {"module": Linear, "criterion": nn.CrossEntropyLoss, "max_epochs": 2, "verbose": 0}
PATH = {"n_iters": (5, 2), "lambda_start": 1.0, "path_multiplier": 1000.0}
PATH |= {"verbose": 0, "random_state": 0, "torch_seed": 0}
ESTIMATORS = [
    ("cebra", "CEBRA", CEBRA, "nothing"),
    ("cebra", "CEBRA", CEBRA, "classes"),
    ("skorch", "NeuralNetClassifier", NET, "classes"),
    ("lassonet", "LassoNetClassifier", PATH, "classes"),
    ("lassonet", "LassoNetRegressor", PATH, "amounts"),
    ("skglm", "Lasso", {"alpha": 0.1}, "amounts"),
    ("skglm", "SparseLogisticRegression", {"alpha": 0.1}, "classes"),
]


def checks(new):
    """Return the number of scikit-learn's checks that an estimator passes."""
    if hasattr(new, "path_multiplier"):  # clones of LassoNetClassifier are as by default
        import_module("lassonet.interfaces").BaseLassoNet.__init__.__kwdefaults__.update(PATH)
    results = check_estimator(new, on_skip=None, on_fail=None)
    statuses = [result["status"] for result in results if result["status"] != "skipped"]
    return f"{statuses.count('passed')} of {len(statuses)}"


def names(new):
    """Return whether the features that come out have names, and come as a table if asked for."""
    if not hasattr(new, "transform"):
        return "--"
    return "yes" if hasattr(new, "get_feature_names_out") and hasattr(new, "set_output") else "no"


def answer(fitted):
    """Return the output of a fitted estimator for ``X``."""
    methods = ("transform", "predict_proba", "predict")
    return getattr(fitted, next(m for m in methods if hasattr(fitted, m)))(X)


def seeds(numbers):
    """Return which seed makes two calls bit-equal: the estimator's own or the global ones."""
    for whose in ("own", "global"):
        runs = []
        for run in range(2):
            seed = run if whose == "own" else 0
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - what some of the packages draw from
            torch.manual_seed(seed)
            runs.append(np.asarray(numbers()))
        if np.array_equal(*runs):
            return whose
    return "no"


def skops_types(fitted):
    """Return the number of types that skops must be given as trusted, or the error."""
    try:
        written = skops.io.dumps(fitted)
        types = skops.io.get_untrusted_types(data=written)
        loaded = skops.io.loads(written, trusted=types)
    except Exception as error:
        return type(error).__name__
    return len(types) if np.array_equal(answer(fitted), answer(loaded)) else "differs"


def typed(package):
    """Return whether a package declares that it ships its types."""
    return "yes" if (Path(import_module(package).__file__).parent / "py.typed").exists() else "no"


def kci():
    """Return the result of a randomized test of causal-learn for three variables."""
    return import_module("causallearn.utils.cit").KCI(X.astype(float), approx=False)(0, 1, (2,))


def cmi_knn():
    """Return the result of a randomized test of tigramite for the same variables."""
    test = import_module("tigramite.independence_tests.cmiknn").CMIknn(seed=0, workers=1)
    return test.run_test_raw(*X.T[:3, :, None].astype(float))


def rows():
    """Yield one row per estimator or test that is installed."""
    for package, name, params, target in ESTIMATORS:
        if find_spec(package):
            new = partial(getattr(import_module(package), name), **params)
            data = [X] if TARGETS[target] is None else [X, TARGETS[target]]
            yield [
                f"{package} {version(package)}",
                f"{name}, {target}",
                "yes" if vars(clone(new())).items() >= params.items() else "no",
                checks(new()),
                names(new()),
                seeds(lambda new=new, data=data: answer(new().fit(*data))),
                skops_types(new().fit(*data)),
                typed(package),
            ]
    tests = [("causal-learn", "causallearn", kci), ("tigramite", "tigramite", cmi_knn)]
    for name, package, test in tests:
        if find_spec(package):
            cells = ["--", "--", "--", seeds(test), "--", typed(package)]
            yield [f"{name} {version(name)}", test.__name__, *cells]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    options = command_line(__doc__).parse_args()
    if options.tiny:
        ESTIMATORS = [("skorch", "NeuralNetClassifier", NET, "classes")]
    report = Report("feature_table", "Features of other packages", options.output)
    report.table(
        "Runs are equal by their own seed, or none is needed; by the global ones; or not",
        ["", "fitted to", "clones", "checks", "names", "equal by", "types for skops", "py.typed"],
        list(rows()),
    )
    report.save()
