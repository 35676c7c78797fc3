"""Unstable features go, stable ones stay, however their distribution moves."""

import numpy as np
import pytest
from scipy.stats import binom

from skspecialist.pipeline._invariance import stable_features

N_STABLE, N_DRAWS = 5, 40


def draw(rng, *, labels, n=600, n_stable=N_STABLE, n_environments=2, shift="none", noisier=False):
    """Return stable features, of which a task uses three, its values and environments."""
    environments = rng.integers(n_environments, size=n)
    X = np.sqrt(0.5) * (rng.normal(size=(n, 1)) + rng.normal(size=(n, n_stable)))
    moved = environments[:, None] > 0
    if shift == "mean":
        X[:, :2] += 1.5 * moved
    elif shift == "scale":
        X[:, :2] *= np.where(moved, 3, 1)
    mean = X[:, :3].sum(axis=1)
    if labels:
        return X, (rng.random(n) < 1 / (1 + np.exp(-mean))).astype(float), environments
    return X, mean + rng.normal(size=n) * np.where(noisier & (environments > 0), 2, 1), environments


def spurious(rng, y, slope, n_columns, copies):
    """Return a block that predicts the task with a slope of each sample's environment."""
    signal = slope * (y - y.mean()) / y.std()
    own = 0.6 * rng.normal(size=(len(y), n_columns))
    if copies:
        own = own[:, :1] + 0.1 * rng.normal(size=own.shape)
    return signal[:, None] + own


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"shift": "scale"}, marks=pytest.mark.slow),
        {},
        pytest.param({"shift": "mean"}, marks=pytest.mark.slow),
        pytest.param({"shift": "scale", "n_environments": 4}, marks=pytest.mark.slow),
        pytest.param({"noisier": True}, marks=pytest.mark.slow),
        pytest.param({"n": 200, "n_stable": 30}, marks=pytest.mark.slow),
    ],
)
def test_stable_features_stay(labels, options):
    rng = np.random.default_rng(1)
    kept = 0
    for _ in range(N_DRAWS):
        X, y, environments = draw(rng, labels=labels, **options)
        kept += stable_features(X, y[:, None], environments).all()
    assert kept >= binom.ppf(0.001, N_DRAWS, 0.95)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("elsewhere", [-1, 0], ids=["reversed", "absent"])
@pytest.mark.parametrize(
    ("n_columns", "copies"),
    [pytest.param(1, False, marks=pytest.mark.slow), (10, True)],
    ids=["one", "copies"],
)
def test_a_spurious_block_goes_and_takes_no_stable_feature_along(
    labels, elsewhere, n_columns, copies
):
    rng = np.random.default_rng(2)
    n_draws, gone, kept = 5, 0, 0
    for _ in range(n_draws):
        X, y, environments = draw(rng, labels=labels, shift="mean")
        block = spurious(rng, y, np.where(environments > 0, elsewhere, 1), n_columns, copies)
        stable = stable_features(np.hstack([X, block]), y[:, None], environments)
        gone += not stable[N_STABLE:].any()
        kept += stable[:N_STABLE].all()
    assert gone >= binom.ppf(0.001, n_draws, 0.95)
    assert kept >= binom.ppf(0.001, n_draws, 0.95)


def test_one_of_many_classes_suffices_and_a_missing_class_does_no_harm():
    rng = np.random.default_rng(3)
    n_draws, found = 10, 0
    for _ in range(n_draws):
        X = rng.normal(size=(900, 3))
        classes = np.argmax(X + 0.5 * rng.gumbel(size=X.shape), axis=1)
        environments = np.arange(900) % 3
        block = np.where(environments == 2, -1, 1)[:, None] * (classes[:, None] == 2)
        features = np.hstack([X, block + 0.5 * rng.normal(size=block.shape)])
        indicators = (classes[:, None] == [1, 2, 3]).astype(float)
        stable = stable_features(features, indicators, environments)
        found += list(stable) == [True, True, True, False]
    assert found >= binom.ppf(0.001, n_draws, 0.95)


def test_units_and_names_of_environments_do_not_matter():
    rng = np.random.default_rng(4)
    X, y, environments = draw(rng, labels=False)
    features = np.hstack([X, spurious(rng, y, np.where(environments > 0, -1, 1), 1, False)])
    names = np.array(["lab", "field"])[environments]
    stable = stable_features(features, y[:, None], environments)
    other = stable_features(1e3 * features + 1e4, -1e-3 * y[:, None], names)
    np.testing.assert_array_equal(stable, [True] * N_STABLE + [False])
    np.testing.assert_array_equal(other, stable)


def test_a_constant_feature_is_stable():
    rng = np.random.default_rng(5)
    X, y, environments = draw(rng, labels=True)
    X[:, 0] = 3.0
    assert stable_features(X, y[:, None], environments)[0]
    assert stable_features(X[:, :1], y[:, None], environments).all()


def test_one_environment_is_refused():
    with pytest.raises(ValueError, match="environments has the one value"):
        stable_features(np.zeros((4, 1)), np.arange(4.0)[:, None], np.zeros(4))
