"""Every parameter acts in every mode: another value changes the result, warns, or raises."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Lasso, Ridge
from torch import nn

from skspecialist import (
    FeatureGroupRanker,
    SparseMultiTaskSelector,
    SparseMultiTaskSelectorCV,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
    TaskLocalizer,
    TaskStructureIdentifier,
    TorchGeneralist,
)
from skspecialist.baselines import (
    CCABaseline,
    ChangePointBaseline,
    GraphicalLassoBaseline,
    GroupLassoBaseline,
    HMMBaseline,
    SelTaskBaseline,
)
from skspecialist.datasets import make_collider_sequences
from skspecialist.structure import Selection

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6, 2))
Y = X[:, 1:3, 0] + 0.5 * X[:, 4:, 1] + 0.3 * RNG.normal(size=(60, 2))
FLAT = X.reshape(60, 12)
SELECTED = make_collider_sequences(200, 6, 1, selection=True, random_state=0).X

NET = {"hidden_layer_sizes": (4,), "max_epochs": 4, "random_state": 0}
ENCODER = {"n_components": 3, "input_noise": 0.1} | NET | {"max_epochs": 30}
SPECIALIST = SparseSpecialistEncoder(
    2, n_relevant=1, sparsity=0, heads="linear", input_noise=0.3, **NET
)
PIPELINE = {"structure": TaskStructureIdentifier(2), "encoder": SPECIALIST, "random_state": 0}
MODES = {
    "direct": TaskStructureIdentifier(2),
    "collider": TaskStructureIdentifier(2, criterion="collider", alpha=0.9),
    "selection": TaskStructureIdentifier(
        2, criterion=Selection(n_tasks=1), n_subsamples=2, random_state=0
    ),
    "mlp": SparseSpecialistEncoder(**ENCODER),
    "known size": SparseSpecialistEncoder(3, n_relevant=1, sparsity=0, input_noise=0.1, **NET),
    "linear": SparseSpecialistEncoder(heads="linear", **ENCODER),
    "early stopping": SparseSpecialistEncoder(early_stopping=True, **ENCODER),
    "hard concrete": SparseSpecialistEncoder(penalty="hard_concrete", n_relevant=1, **ENCODER),
    "cv": SparseSpecialistEncoderCV(cv=2, **ENCODER),
    "selector": SparseMultiTaskSelector(max_epochs=4, random_state=0),
    "selector cv": SparseMultiTaskSelectorCV(
        cv=2, sparsities=[0.1, 0.5], max_epochs=4, random_state=0
    ),
    "best": SpecialistPipeline(
        strategy="best",
        cv=(0.6, 0.4),
        estimator=Ridge(),
        **PIPELINE | {"structure": TaskStructureIdentifier(2, alpha=0.2)},
    ),
    "specialist": SpecialistPipeline(strategy="specialist", **PIPELINE),
    "generalist": SpecialistPipeline(strategy="generalist", random_state=0),
    "localizer": TaskLocalizer(2, alpha=0.5, cv=2, **NET),
    "conditional": TaskLocalizer(2, conditional=True, alpha=0.5, cv=2, **NET),
    "torch": TorchGeneralist(nn.Sequential(nn.Tanh(), nn.Softsign())),
    "ranker": FeatureGroupRanker(random_state=0),
    "cca": CCABaseline(),
    "change points": ChangePointBaseline(),
    "graphical lasso": GraphicalLassoBaseline(),
    "group lasso": GroupLassoBaseline(),
    "hmm": HMMBaseline(n_init=1, random_state=0),
    "seltask": SelTaskBaseline(n_iter=40, random_state=0),
}

# Another value of each parameter; several where it depends on the mode which of them can act.
OTHER = {
    "aggregation": ["any", "simes"],
    "alpha": [1e-4, 0.999],
    "batch_size": [64],
    "binarity": [100.0],
    "candidates": [["steps"]],
    "conditional": [True, False],
    "conditioning": ["band", "all"],
    "correction": ["none", "by"],
    "criterion": ["collider", "direct"],
    "cv": [3, (0.4, 0.3, 0.3)],
    "decoder": [None],
    "early_stopping": [True, False],
    "encoder": [SparseSpecialistEncoder(3, n_relevant=2, **NET)],
    "estimator": [Lasso(0.1)],
    "feature_groups": [{"both": (0, 2)}],
    "generalist": [PCA(1)],
    "heads": ["linear", "mlp"],
    "hidden_layer_sizes": [(5,)],
    "independence_test": ["wilks", "fisher_z", "gcm"],
    "independence_weight": [5.0],
    "input_noise": [0.7],
    "input_shape": [(3,)],
    "layers": ["0", "1"],
    "learning_rate": [0.2],
    "loss": [lambda truth, prediction: np.abs(truth - prediction) ** 3],
    "max_epochs": [5],
    "max_permutations": [8],
    "max_samples": [40],
    "method": ["probe"],
    "min_effect_size": [0.9],
    "module": [nn.Tanhshrink()],
    "n_components": [1, 3],
    "n_groups": [2],
    "n_init": [3],
    "n_iter": [3],
    "n_relevant": [2],
    "n_subsamples": [0, 6],
    "n_tasks": [1],
    "n_timesteps": [3],
    "penalty": ["hard_concrete", "l1", 1.0],
    "pooling": ["top_k_mean", "logsumexp", lambda states: states[:, :1]],
    "preprocess": [lambda rows: 2 * rows],
    "random_state": [1],
    "segment_length": [3],
    "segment_steps": ["all", "last"],
    "segments": [[(0, 2), (2, 5)]],
    "similarity": [1.0],
    "smoothing": [2],
    "sparsities": [[0.4]],
    "sparsity": [0.9, 0.0],
    "strategy": ["generalist", "best"],
    "structure": [
        TaskStructureIdentifier(3, alpha=0.99, correction="none"),
        TaskStructureIdentifier(1, alpha=0.01),
    ],
    "task_features": ["all"],
    "task_types": ["label", "amount"],
    "task_weight": [[1.0, 9.0]],
    "tol": [0.5],
    "validation_fraction": [0.5],
    "window": [2],
}

# These spend time or memory, or print: they must not change a result.
RESOURCES = {"n_jobs", "verbose"}
# These act on what a single fit does not show; other tests are about them. A seed acts where
# numbers are drawn, a device where there is one.
ELSEWHERE = {"callbacks", "checkpoint_dir", "device", "random_state", "tolerance", "warm_start"}


# Modes with many fits, or near another one.
SLOW = {
    *("best", "conditional", "cv", "early stopping", "hard concrete", "hmm", "linear"),
    *("mlp", "selection", "selector cv", "specialist"),
}


def cases(*, resources):
    """Yield the parameters of all modes."""
    for name, estimator in MODES.items():
        for parameter in estimator.get_params(deep=False):
            resource = parameter in RESOURCES or (name, parameter) == ("torch", "batch_size")
            if resource if resources else not resource and parameter not in ELSEWHERE:
                marks = [pytest.mark.slow] if name in SLOW else []
                yield pytest.param(estimator, parameter, id=f"{name}-{parameter}", marks=marks)


def results(estimator):
    """Return the fitted attributes and outputs, and the warnings of a fit."""
    estimator = clone(estimator)
    labels = isinstance(estimator, TaskLocalizer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sequences = FLAT if getattr(estimator, "n_timesteps", None) else X
        if isinstance(getattr(estimator, "criterion", None), Selection):
            sequences = SELECTED.reshape(200, -1) if estimator.n_timesteps else SELECTED
            estimator.fit(sequences)
        else:
            estimator.fit(sequences, Y > 0 if labels else Y)
        found = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
        for method in ("transform", "predict", "latents", "step_weights"):
            if hasattr(estimator, method):
                found[method] = getattr(estimator, method)(sequences)
    numbers = {
        name: np.asarray(value)
        for name, value in found.items()
        if isinstance(value, np.ndarray | float | int | bool | str)
    }
    return numbers, {str(warning.message) for warning in caught}


@pytest.fixture(scope="module")
def baseline():
    """Return the results of a mode, computed once."""
    cache = {}

    def of(estimator):
        if id(estimator) not in cache:
            cache[id(estimator)] = results(estimator)
        return cache[id(estimator)]

    return of


def acts(estimator, parameter, value, expected):
    """Return whether another value changes something, or is objected to by name."""
    numbers, messages = expected
    try:
        found, said = results(clone(estimator).set_params(**{parameter: value}))
    except (ValueError, TypeError) as error:
        return parameter in str(error)
    return not equal(found, numbers) or any(parameter in text for text in said - messages)


def equal(found, expected):
    try:
        assert_equal(found, expected)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(("estimator", "parameter"), list(cases(resources=False)))
def test_another_value_acts(estimator, parameter, baseline):
    values = [v for v in OTHER[parameter] if repr(v) != repr(getattr(estimator, parameter))]
    assert any(acts(estimator, parameter, value, baseline(estimator)) for value in values)


@pytest.mark.parametrize(
    ("estimator", "parameter"),
    list(cases(resources=True)),
)
def test_resources_change_no_result(estimator, parameter, baseline, capsys):
    found, _ = results(clone(estimator).set_params(**{parameter: 2}))
    assert equal(found, baseline(estimator)[0])
