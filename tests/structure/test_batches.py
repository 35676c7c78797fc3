"""Batches, memory maps and Dask arrays give the answer of one array."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.independence._moments import FoldedMoments, fold_of
from skspecialist.structure import _evidence, _lifted, _robust

LINEAR = {"segment_length": 2, "independence_test": "wilks"}
# Basis functions of the data below.
FUNCTIONS = 8 * 2 * 4


@pytest.fixture(scope="module")
def data():
    return make_collider_sequences(2000, n_timesteps=8, n_tasks=2, n_features=2, random_state=0)


def assert_same(one, other, rtol=1e-10):
    for name in ("pvalues_", "effect_sizes_", "statistics_"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol, atol=1e-300)
    assert_array_equal(one.structure_, other.structure_)


@pytest.mark.parametrize("criterion", ["direct", "collider"])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_batches_give_the_answer_of_one_fit(data, criterion, offset):
    params = {"criterion": criterion, "n_subsamples": 4, "random_state": 0}
    whole = TaskStructureIdentifier(**LINEAR, **params).fit(data.X + offset, data.y)
    batches = TaskStructureIdentifier(**LINEAR, **params)
    for rows in np.array_split(np.arange(2000), [3, 500, 501, 1400]):
        batches.partial_fit(data.X[rows] + offset, data.y[rows])
    assert_same(whole, batches, rtol=1e-8 if offset else 1e-10)
    assert_array_equal(whole.selection_frequency_, batches.selection_frequency_)
    assert_allclose(whole.score(data.X, data.y), batches.score(data.X, data.y))
    assert batches.n_samples_seen_ == 2000


def test_batches_with_class_labels(data):
    y = pd.DataFrame({"grade": np.digitize(data.y[:, 0], [-1, 1]), "amount": data.y[:, 1]})
    y = y.sort_values("grade", ignore_index=True)
    batches = TaskStructureIdentifier(**LINEAR)
    for rows in np.array_split(np.arange(2000), 5):
        batches.partial_fit(data.X[rows], y.iloc[rows], classes=[[0, 1, 2], None])
    assert_same(TaskStructureIdentifier(**LINEAR).fit(data.X, y), batches)
    with pytest.raises(ValueError, match="one class only"):
        TaskStructureIdentifier(2).partial_fit(data.X[:10], y["grade"][:10])
    batches = TaskStructureIdentifier(**LINEAR).partial_fit(data.X, y["grade"] % 2)
    with pytest.raises(ValueError, match="first call of partial_fit"):
        batches.partial_fit(data.X, y["grade"])
    with pytest.raises(ValueError, match="each of the 1 tasks of y"):
        TaskStructureIdentifier().partial_fit(data.X, y[["grade"]], classes=[[0, 1], None])


def test_a_bad_batch_changes_nothing(data):
    batches = TaskStructureIdentifier(2).partial_fit(data.X[:300], data.y[:300])
    with pytest.raises(ValueError, match="infinity"):
        batches.partial_fit(np.where(data.X > 2, np.inf, data.X), data.y)
    with pytest.raises(ValueError, match="n_timesteps=8"):
        batches.partial_fit(data.X[:, :6], data.y)
    batches.partial_fit(data.X[300:600], data.y[300:600])
    assert_same(TaskStructureIdentifier(2).fit(data.X[:600], data.y[:600]), batches)


def test_fit_starts_anew_after_batches(data):
    identifier = TaskStructureIdentifier(2).partial_fit(data.X[:, :4], data.y)
    identifier.fit(data.X, data.y)
    assert identifier.n_timesteps_ == 8
    identifier.partial_fit(data.X[:500], data.y[:500])
    assert identifier.n_samples_seen_ == 500


def test_samples_are_not_kept_for_tests_that_need_them(data):
    with pytest.raises(ValueError, match="'fisher_z' or 'wilks'"):
        TaskStructureIdentifier(2, independence_test="gcm").partial_fit(data.X, data.y)


def test_robust_tests_need_few_functions_and_groups_samples(data, monkeypatch):
    monkeypatch.setattr(_evidence, "MAX_BASIS_BYTES", 8 * 500 * FUNCTIONS)
    monkeypatch.setattr(_lifted, "MAX_GRAM_BYTES", 1000)
    with pytest.raises(ValueError, match="requires sequences in memory"):
        TaskStructureIdentifier(independence_test="robust").partial_fit(data.X, data.y)
    da = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="groups and sample_weight are not supported"):
        TaskStructureIdentifier().fit(da.from_array(data.X), data.y, groups=np.arange(2000))


def test_a_memory_map(data, tmp_path):
    np.save(tmp_path / "X.npy", data.X[:500].astype(np.float16))
    X, y = np.load(tmp_path / "X.npy", mmap_mode="r+"), data.y[:500]
    found = TaskStructureIdentifier(2).fit(X, y)
    assert_same(TaskStructureIdentifier(2).fit(np.array(X), y), found)
    X[7] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        TaskStructureIdentifier(2).fit(X, y)


def robust_world(data):
    """Four steps and tasks that are linear, curved and of many classes, of one step each."""
    X, rng = data.X[:700, 2:6], np.random.default_rng(1)
    noise = rng.normal(size=(3, len(X)))
    grade = np.digitize(X[:, 3, 1] + noise[1], [-1, 1])
    amount, curved = X[:, 0, 0] + noise[0], X[:, 2, 0] ** 2 + 2 * noise[2]
    return X, pd.DataFrame({"amount": amount, "curved": curved, "grade": grade})


def test_sums_over_blocks_are_those_of_sequences_in_memory(data, monkeypatch):
    X, y = robust_world(data)
    # Leave-one-out errors in memory and generalized cross-validation may choose different ones.
    for module in (_robust, _lifted):
        monkeypatch.setattr(module, "STRENGTHS", np.array([0.3]))
    for task in ["curved", "grade"]:
        whole = TaskStructureIdentifier().fit(X, y[task])
        with monkeypatch.context() as context:
            context.setattr(_evidence, "MAX_BASIS_BYTES", 1)
            # All sequences are in the sample that the basis functions are fitted to.
            context.setattr(_lifted, "n_in_memory", lambda *_: 10**6)
            context.setattr(_lifted, "BLOCK", 2**15)
            found = TaskStructureIdentifier().fit(X, y[task])
        # Covariances are computed in single precision.
        assert_allclose(np.log(found.pvalues_), np.log(whole.pvalues_), rtol=1e-4, atol=1e-5)
        assert_allclose(found.effect_sizes_, whole.effect_sizes_, atol=1e-6)


def test_blocks_and_streams_find_what_sequences_in_memory_show(data, monkeypatch, tmp_path):
    X, y = robust_world(data)
    whole = TaskStructureIdentifier(alpha=0.001).fit(X, y)
    monkeypatch.setattr(_evidence, "MAX_BASIS_BYTES", 4 * 500 * FUNCTIONS)
    np.save(tmp_path / "X.npy", X)
    fits = [TaskStructureIdentifier(alpha=0.001).fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y)]
    da = pytest.importorskip("dask.array")
    fits.append(TaskStructureIdentifier(alpha=0.001).fit(da.from_array(X, chunks=(400, 3, 1)), y))
    assert_same(*fits, rtol=1e-4)
    for stops in ([100, 600], [550]):
        fits.append(TaskStructureIdentifier(alpha=0.001))
        for rows in np.split(np.arange(len(X)), stops):
            fits[-1].partial_fit(X[rows], y.iloc[rows], classes=[None, None, [0, 1, 2]])
    assert_array_equal(whole.step_mask_[[0, 2, 3]], np.eye(3, dtype=bool))
    for found in fits:
        assert_array_equal(found.step_mask_, whole.step_mask_)
        difference = found.effect_sizes_ - whole.effect_sizes_
        assert np.abs(difference[whole.step_mask_]).max() < 0.05


def test_blocks_may_have_what_a_sample_of_them_lacks(data, monkeypatch):
    rng = np.random.default_rng(0)
    codes, X = rng.integers(0, 3, size=(700, 3)), np.zeros((700, 3, 5))
    X[..., :3], X[..., 3] = np.eye(3)[codes], rng.normal(size=codes.shape)
    X[8, 1, 4] = 1  # a column of one sequence
    amount = codes[:, 0] + X[:, 2, 3] + rng.normal(size=700)
    y = pd.DataFrame({"amount": amount, "rare": np.digitize(amount, [0, 1])})
    y.loc[7] = 1e9, 9  # an error of a sensor, and a class of one sequence
    late = (y["amount"] > 1) & (y.index >= 400)
    whole = TaskStructureIdentifier(alpha=1e-4).fit(X, y)
    assert 0 < whole.score(X[:500:3], y[:500:3]) < 10
    monkeypatch.setattr(_evidence, "MAX_BASIS_BYTES", 3 * 8 * 20 * 300)
    found = TaskStructureIdentifier(alpha=1e-4).fit(X, y)
    assert_array_equal(found.structure_, whole.structure_)
    assert_array_equal(found.structure_[:, 0], [True, False, True])
    stream = TaskStructureIdentifier(alpha=1e-3)
    for rows in np.split(np.arange(700), [300, 400, 450]):
        stream.partial_fit(X[rows], late[rows], classes=[False, True])
    assert_array_equal(stream.structure_[:, 0], [True, False, True])
    # Scores of other segments are not known of earlier batches, but their covariance is.
    stream.set_params(segment_length=2).partial_fit(X[:50], late[:50])
    assert stream.structure_.shape == (2, 1)
    assert np.isfinite(stream.test_result_.df).all()


def test_folds_do_not_hang_on_batches_or_periods():
    rows = np.arange(100_000)
    folds = fold_of(rows, 10)
    assert_array_equal(fold_of(rows[777:888], 10), folds[777:888])
    for period in (1, 2, 5, 10, 24):
        for phase in range(period):
            counts = np.bincount(folds[phase::period], minlength=10)
            assert np.ptp(counts) <= 0.02 * counts.sum()


def test_folds_add_up(data):
    X, y = data.X.reshape(2000, -1), data.y
    folded = FoldedMoments.from_data(X, y)
    whole = np.cov(np.hstack([X, y]).T, ddof=0) * 2000
    assert_allclose(folded.total.scatter, whole, rtol=1e-9, atol=1e-9)
    assert sum(moments.n for moments in folded.folds.values()) == 2000
    for training, held_out in folded.splits(5):
        assert folded.subset(training).total.n + held_out.n == 2000
    assert folded.part(150).n >= 150 > folded.folds[0].n - 60


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, processes=False
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


class TestDask:
    da = pytest.importorskip("dask.array")

    @pytest.mark.slow
    @pytest.mark.parametrize("criterion", ["direct", "collider"])
    def test_on_a_cluster(self, client, data, criterion):
        X = self.da.from_array(data.X, chunks=(300, 3, 2))
        y = self.da.from_array(data.y, chunks=(700, 1))
        found = TaskStructureIdentifier(**LINEAR, criterion=criterion).fit(X, y)
        whole = TaskStructureIdentifier(**LINEAR, criterion=criterion).fit(data.X, data.y)
        assert_same(whole, found, rtol=1e-8)
        assert_allclose(found.score(data.X, data.y), whole.score(data.X, data.y))

    def test_flat_blocks_of_unknown_length_with_labels_in_memory(self, data):
        X = self.da.from_array(data.X.reshape(2000, -1), chunks=(512, 16))
        X = X[self.da.from_array(np.ones(2000, dtype=bool), chunks=512)]
        labels = np.where(data.y[:, 0] > 0, "good", "bad")
        found = TaskStructureIdentifier(**LINEAR, n_timesteps=8).fit(X, labels)
        assert_same(TaskStructureIdentifier(**LINEAR).fit(data.X, labels), found, rtol=1e-8)

    def test_bad_blocks_are_told(self, data):
        X = self.da.from_array(np.where(data.X > 2, np.nan, data.X), chunks=(500, -1, -1))
        with pytest.raises(ValueError, match="Input X contains NaN"):
            TaskStructureIdentifier(2).fit(X, data.y)
        X = self.da.from_array(data.X, chunks=(500, -1, -1))
        with pytest.raises(ValueError, match="inconsistent numbers"):
            TaskStructureIdentifier(2).fit(X, data.y[:100])
        with pytest.raises(ValueError, match="requires y"):
            TaskStructureIdentifier(2, criterion="direct").fit(X)
