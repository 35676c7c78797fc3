"""Encoders: sparsity by cross-validation, and single latents of linear heads."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import SparseSpecialistEncoder, SparseSpecialistEncoderCV
from skspecialist.datasets import make_specialist_latents
from skspecialist.exceptions import SpecialistWarning
from skspecialist.metrics import block_r2, support_scores

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}


def quick(**params):
    """Return an encoder that fits in a moment."""
    return SparseSpecialistEncoderCV(**(SMALL | {"cv": 2} | params))


def quickest(**params):
    """Return an encoder with two points on its path, and the empty one."""
    return quick(**({"n_components": 2, "input_noise": 0.3, "max_epochs": 1} | params))


@pytest.fixture(scope="module")
def data():
    return make_specialist_latents(200, 4, 2, 3, n_layers=1, random_state=0)


@pytest.fixture(scope="module")
def widths(data):
    return quick(max_epochs=15).fit(data.X, data.y)


def test_the_path_runs_from_dense_to_empty(widths):
    encoder = widths
    n_points = len(encoder.sparsity_path_)
    assert encoder.sparsity_path_[0] == 0
    assert encoder.sparsity_path_[-1] == pytest.approx(1, abs=1e-6)
    assert (np.diff(encoder.sparsity_path_) >= 0).all()
    assert (np.diff(encoder.n_active_path_) <= 0).all()
    assert encoder.n_active_path_[-1] == 0
    assert encoder.n_active_path_[0] > 0
    assert encoder.scores_path_.shape == (n_points, 2)
    # The folds' own means are not quite those of all samples: the null model explains a
    # little in one fold and loses as much in the other, both of half the samples.
    assert encoder.scores_path_[-1].mean() == pytest.approx(0, abs=1e-5)
    assert encoder.scores_path_[:-1].mean(axis=1).min() > 0.1
    assert encoder.support_path_.shape == (n_points, *encoder.mask_.shape)
    assert_array_equal(encoder.support_path_[-1], 0)
    assert ((encoder.support_path_ >= 0) & (encoder.support_path_ <= 1)).all()
    assert encoder.sparsity_ == encoder.sparsity_path_[encoder.best_index_]
    explained = encoder.scores_path_.mean(axis=1).max()
    assert encoder.sparsity_max_ == pytest.approx(explained, abs=1e-5)


def test_the_chosen_number_of_latents_is_the_size_of_the_support(widths):
    assert widths.support_.sum() == widths.n_active_path_[widths.best_index_]
    assert_array_equal(widths.n_active_path_, [3, 2, 1, 0])


def test_the_planted_number_of_latents_comes_back():
    data = make_specialist_latents(400, 4, 2, 4, n_layers=1, random_state=0)
    encoder = quick(hidden_layer_sizes=(16,), max_epochs=25).fit(data.X, data.y)
    assert encoder.support_.sum() == 2
    assert encoder.score(data.X, data.y) > 0.9


@pytest.mark.slow
def test_a_bigger_tolerance_never_keeps_more():
    data = make_specialist_latents(300, 6, 3, 3, n_layers=1, random_state=0)
    fits = [
        quick(tolerance=tolerance, max_epochs=20).fit(data.X, data.y)
        for tolerance in (0.0, 0.05, 0.3, 0.99)
    ]
    kept = [encoder.n_active_path_[encoder.best_index_] for encoder in fits]
    # Dense networks and those near the rank learn side by side: their part is the same.
    for encoder in fits[1:]:
        assert_array_equal(encoder.scores_path_[:2], fits[0].scores_path_[:2])
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[-1]


@pytest.mark.parametrize(
    ("cv", "n_folds"),
    [
        (2, 2),
        pytest.param(None, 5, marks=pytest.mark.slow),
        pytest.param(KFold(3), 3, marks=pytest.mark.slow),
        (ShuffleSplit(1, random_state=0), 1),
        pytest.param(list(KFold(4).split(np.zeros(200))), 4, marks=pytest.mark.slow),
        (iter(list(KFold(2).split(np.zeros(200)))), 2),
    ],
    ids=["int", "none", "splitter", "one split", "splits", "iterator"],
)
def test_folds_may_come_in_any_form(data, cv, n_folds):
    encoder = quickest(cv=cv).fit(data.X, data.y)
    assert encoder.scores_path_.shape[1] == n_folds


def test_a_splitter_is_what_its_splits_are(data):
    splits = list(KFold(2).split(data.X))
    first, second = (quickest(cv=cv).fit(data.X, data.y) for cv in (KFold(2), splits))
    assert_array_equal(first.scores_path_, second.scores_path_)
    assert_array_equal(first.transform(data.X), second.transform(data.X))


def test_folds_may_have_the_same_share_of_each_class(data):
    labels = np.where(data.y[:, 0] > np.quantile(data.y[:, 0], 0.9), "rare", "often")
    splits = list(StratifiedKFold(2).split(data.X, labels))
    first, second = (quickest(cv=cv).fit(data.X, labels) for cv in (StratifiedKFold(2), splits))
    assert_array_equal(first.scores_path_, second.scores_path_)


def test_groups_stay_together(data):
    groups = np.arange(200) // 7
    splits = list(GroupKFold(2).split(data.X, groups=groups))
    encoder = quickest(cv=GroupKFold(2)).fit(data.X, data.y, groups=groups)
    expected = quickest(cv=splits).fit(data.X, data.y)
    assert_array_equal(encoder.scores_path_, expected.scores_path_)
    with pytest.raises(ValueError, match="groups"):
        quickest(cv=GroupKFold(2)).fit(data.X, data.y)


def test_the_same_seed_gives_the_same_bits_and_torch_is_left_alone(data):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = quick(input_noise=0.3).fit(data.X, data.y)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(7)
    second = quick(input_noise=0.3).fit(data.X, data.y)
    assert_array_equal(first.scores_path_, second.scores_path_)
    assert_array_equal(first.latents(data.X), second.latents(data.X))
    one, other = (quickest(random_state=seed).fit(data.X, data.y) for seed in (0, 1))
    assert not np.array_equal(one.scores_path_, other.scores_path_)


def test_sequences_are_held_out_whole():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((60, 4, 3))
    y = np.column_stack([X[:, :2, 0].sum(axis=1), X[:, 2:, 1].sum(axis=1)])
    step_weights = np.zeros((4, 2))
    step_weights[:2, 0] = step_weights[2:, 1] = 1
    encoder = quick(max_epochs=20).fit(X, y, step_weights)
    assert encoder.score(X, y) > 0.5
    with pytest.raises(ValueError, match="step_weights must have shape"):
        quick().fit(X, y, step_weights[:3])


def test_random_tasks_give_the_empty_end(data):
    y = np.random.RandomState(1).standard_normal(200)
    with pytest.warns(SpecialistWarning, match="support is empty"):
        encoder = quick(max_epochs=20).fit(data.X, y)
    assert encoder.best_index_ == len(encoder.sparsity_path_) - 1
    assert encoder.transform(data.X).shape == (200, 0)
    assert_allclose(encoder.predict(data.X), y.mean(), atol=1e-6)


def test_a_failed_fit_leaves_the_estimator_as_it_was(widths, data):
    before = dict(vars(widths))
    with pytest.raises(ValueError, match="constant"):
        widths.fit(data.X, np.ones(200))
    assert vars(widths) == before


def linear_tasks(uses, seed=0):
    """Return five rotated latents, tasks with the given supports, and the latents."""
    rng = np.random.RandomState(seed)
    latents = rng.standard_normal((600, 5))
    weights = rng.uniform(0.5, 1.5, uses.shape) * rng.choice([-1, 1], uses.shape)
    y = latents[:, : uses.shape[1]] @ np.where(uses, weights, 0).T
    y = y / y.std(axis=0) + 0.1 * rng.standard_normal(y.shape)
    return latents @ np.linalg.qr(rng.standard_normal((5, 5)))[0], y, latents


def linear_encoder():
    return SparseSpecialistEncoder(
        heads="linear", hidden_layer_sizes=(), max_epochs=20, random_state=0
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_linear_heads_find_the_latents_one_by_one(seed):
    one_or_two = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]]
    uses = np.tile(one_or_two, (2, 1)).astype(bool)
    X, y, latents = linear_tasks(uses, seed)
    encoder = linear_encoder().fit(X, y)
    assert support_scores(uses, encoder.mask_, match=True).f1 == 1
    assert encoder.inseparable_groups_ == []
    correlation = np.abs(np.corrcoef(encoder.transform(X).T, latents.T)[:3, 3:])
    assert (np.sort(correlation, axis=1)[:, -1] > 0.95).all()


@pytest.mark.slow
def test_linear_heads_name_latents_that_occur_together():
    uses = np.tile([[1, 1, 0], [0, 0, 1], [1, 1, 1]], (4, 1)).astype(bool)
    X, y, latents = linear_tasks(uses)
    encoder = linear_encoder().fit(X, y)
    (group,) = encoder.inseparable_groups_
    assert len(group) == 2
    members = np.isin(np.flatnonzero(encoder.support_), group)
    r2 = block_r2(encoder.transform(X)[:, members], latents)
    assert r2[:2].min() > 0.9
    assert r2[2:].max() < 0.1


@pytest.mark.parametrize("labels", [False, True])
def test_as_many_latents_as_outputs_may_be_the_tasks_own_values(data, labels):
    # Two tasks of values, or one of three classes.
    y = np.digitize(data.y[:, 0], [-0.5, 0.5]) if labels else data.y[:, :2]
    with pytest.warns(SpecialistWarning, match="more tasks"):
        SparseSpecialistEncoder(n_relevant=2, **SMALL).fit(data.X, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SparseSpecialistEncoder(n_relevant=1, **SMALL).fit(data.X, y)
    assert not [warning for warning in caught if "more tasks" in str(warning.message)]


@pytest.mark.slow
@pytest.mark.parametrize("whiten", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_hundreds_of_correlated_columns(whiten):
    rng = np.random.RandomState(0)
    causes = rng.standard_normal((80, 3))
    X = 5 + causes @ rng.standard_normal((3, 300)) + 0.05 * rng.standard_normal((80, 300))
    y = np.column_stack([causes[:, 0], causes[:, 0] + causes[:, 1], causes[:, 1]])
    encoder = SparseSpecialistEncoder(
        n_relevant=2, hidden_layer_sizes=(16,), max_epochs=80, random_state=0
    )
    if whiten:
        encoder = make_pipeline(StandardScaler(), PCA(0.999, whiten=True), encoder)
    encoder.fit(X, y)
    back = encoder.inverse_transform(encoder.transform(X))
    assert back.shape == X.shape
    assert encoder.score(X, y) > 0.95
    # Two of three equal causes: two thirds of the variance in expectation, and columns
    # differ in how much of theirs it is.
    r2 = 1 - ((back - X) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
    assert 0.5 < r2 < 0.8
