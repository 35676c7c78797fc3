"""The encoder: contracts, units, tasks, failures."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoder
from skspecialist.encoder._path import SparsityPath
from skspecialist.exceptions import SpecialistWarning
from skspecialist.metrics import block_r2
from skspecialist.networks.penalties import L1

pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")


def quick(**params):
    """Return an encoder that fits in a moment."""
    params = {"hidden_layer_sizes": (16,), "max_epochs": 3, "random_state": 0} | params
    return SparseSpecialistEncoder(**params)


def single(**params):
    """Return an encoder of one network: neither width nor noise nor inputs are searched for."""
    return quick(**{"n_relevant": 2, "input_noise": 0.3, "sparsity": 0} | params)


@pytest.fixture(scope="module")
def data():
    return make_specialist_latents(300, random_state=0)


@pytest.fixture(scope="module")
def fitted(data):
    return quick().fit(data.X, data.y)


@pytest.fixture(scope="module")
def planted():
    data = make_specialist_latents(1500, 4, 2, 3, n_layers=1, random_state=0)
    encoder = SparseSpecialistEncoder(hidden_layer_sizes=(32,), max_epochs=25, random_state=0)
    return encoder.fit(data.X[:900], data.y[:900]), data


def test_a_planted_structure_comes_back(planted):
    encoder, data = planted
    assert encoder.support_.sum() == 2
    r2 = block_r2(encoder.transform(data.X[900:]), data.latents[900:])
    assert r2[data.relevant].min() > 0.9
    assert r2[~data.relevant].max() < 0.1
    assert encoder.score(data.X[1200:], data.y[1200:]) > 0.85


@pytest.mark.slow
def test_latents_have_unit_variance_and_the_relevant_ones_are_transformed(planted):
    encoder, data = planted
    latents = encoder.latents(data.X[:900])
    assert_allclose(latents.mean(axis=0), 0, atol=1e-4)
    assert_allclose(latents.std(axis=0), 1, atol=1e-3)
    assert_array_equal(encoder.transform(data.X), encoder.latents(data.X)[:, encoder.support_])


def test_the_mask_has_exact_zeros_and_names_the_support(planted):
    encoder, _ = planted
    assert (encoder.mask_ >= 0).all()
    assert (encoder.mask_ == 0).any()
    assert_array_equal(encoder.support_, (encoder.mask_ != 0).any(axis=0))


@pytest.mark.slow
def test_a_decoder_trained_later_is_that_of_the_fit(data, tmp_path):
    early = quick(decoder="fit").fit(data.X, data.y)
    late = quick(checkpoint_dir=tmp_path).fit(data.X, data.y)
    assert late.module_.decoder is None
    torch.manual_seed(1)
    copy = pickle.loads(pickle.dumps(late)).set_params(learning_rate=1.0)
    shown = early.transform(data.X)
    assert_array_equal(late.transform(data.X), shown)
    for encoder in (late, copy):
        assert_array_equal(encoder.inverse_transform(shown), early.inverse_transform(shown))
        assert_array_equal(encoder.latents(data.X), early.latents(data.X))
        assert encoder.history_ == early.history_
        # No data are kept.
        assert abs(len(pickle.dumps(encoder)) - len(pickle.dumps(early))) < 500
    assert clone(late).decoder == "lazy"


def test_a_fit_without_decoder_says_what_it_lacks(data):
    encoder = single(decoder=None).fit(data.X, data.y)
    kept = encoder.transform(data.X)
    for method, rows in ((encoder.inverse_transform, kept), (encoder.latents, data.X)):
        with pytest.raises(ValueError, match=r"decoder=None.*decoder='lazy'"):
            method(rows)
    alone = single(n_components=2, decoder=None).fit(data.X, data.y)
    assert_array_equal(alone.latents(data.X), alone.transform(data.X))


@pytest.mark.slow
def test_inverse_transform_decodes_the_relevant_part(planted):
    encoder, data = planted
    decoded = encoder.inverse_transform(encoder.transform(data.X))
    assert decoded.shape == data.X.shape
    kept = encoder.transform(decoded)
    assert np.corrcoef(kept[:, 0], encoder.transform(data.X)[:, 0])[0, 1] > 0.9


@pytest.mark.filterwarnings("error:var_mean")
def test_sparsity_zero_is_dense_and_one_is_empty(data):
    dense = quick(sparsity=0).fit(data.X, data.y)
    assert dense.support_.sum() == 4  # as many as there are outputs
    assert (dense.mask_[:, dense.support_] > 0).all()
    assert dense.width_losses_ is dense.sparsity_max_ is None
    with pytest.warns(SpecialistWarning, match="support is empty"):
        empty = quick(sparsity=1).fit(data.X, data.y)
    assert empty.transform(data.X).shape == (300, 0)
    assert empty.inverse_transform(empty.transform(data.X)).shape == data.X.shape
    assert_allclose(empty.predict(data.X), np.tile(data.y.mean(axis=0), (300, 1)), atol=1e-6)
    assert min(empty.width_losses_) == 0


@pytest.mark.slow
def test_noise_on_the_features_helps_where_rows_are_few():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((600, 10))
    y = X @ rng.standard_normal((10, 2)) + 2 * rng.standard_normal((600, 2))
    scores = {}
    for noise in (0.0, 0.3, "auto"):
        encoder = quick(max_epochs=40, input_noise=noise).fit(X[:100], y[:100])
        scores[noise] = encoder.score(X[100:], y[100:])
        assert encoder.input_noise_ == noise or (noise == "auto" and encoder.input_noise_ in scores)
        assert_array_equal(encoder.predict(X), encoder.predict(X))
    assert scores[0.3] > scores[0.0] + 0.03
    assert scores["auto"] >= scores[0.0]


@pytest.mark.slow
def test_only_a_fit_that_is_too_short_says_so():
    data = make_specialist_latents(300, 4, 2, n_layers=1, random_state=0)
    with pytest.warns(SpecialistWarning, match="too short .* Raise max_epochs"):
        quick(n_relevant=2).fit(data.X, data.y)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The fit was too short")
        quick(n_relevant=2, max_epochs=None).fit(data.X, data.y)


@pytest.mark.parametrize("n_relevant", [1, 3, 6])
def test_a_known_number_of_latents_is_kept(data, n_relevant):
    encoder = quick(n_relevant=n_relevant).fit(data.X, data.y[:, 0])
    assert encoder.support_.sum() == n_relevant
    assert set(encoder.width_losses_) == {0, n_relevant}
    assert {row["phase"] for row in encoder.history_} == {"search", "sparse", "refit"}


def test_a_search_serves_other_samples(data, fitted):
    other = quick()
    other._follow(fitted)
    other.fit(data.X[:200], data.y[:200])
    assert other.module_.n_relevant == fitted.module_.n_relevant
    assert other.width_losses_ == fitted.width_losses_
    assert len(other.history_) < len(fitted.history_)
    # Of other tasks, and in the next fit, it searches by itself.
    other._follow(fitted)
    alone = other.fit(data.X[:200], data.y[:200, :1]).width_losses_
    assert alone != fitted.width_losses_
    assert other.fit(data.X[:200], data.y[:200, :1]).width_losses_ == alone


def test_features_without_any_direction_give_finite_latents(data):
    encoder = quick(n_relevant=1).fit(np.ones_like(data.X), data.y)
    assert np.isfinite(encoder.latents(np.ones_like(data.X))).all()
    rows = slice(5)  # one of them held out
    assert np.isfinite(quick(n_relevant=1).fit(data.X[rows], data.y[rows]).latents(data.X)).all()


@pytest.mark.slow
def test_a_known_number_of_latents_begins_as_part_of_a_wide_network():
    # From random weights two latents of these quadratic functions often get the same code.
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(900, 6))
    y = []
    for pair in [(0, 1), (0, 2), (1, 2)] * 2:
        used, slopes, form = latents[:, pair], rng.normal(size=2), rng.normal(size=(2, 2))
        y.append(used @ slopes + np.einsum("ni,ij,nj->n", used, form, used))
    y = np.column_stack(y)
    X = latents @ rng.normal(size=(6, 6))
    encoder = SparseSpecialistEncoder(n_relevant=3, random_state=0).fit(X[:600], y[:600])
    assert block_r2(encoder.transform(X[600:]), latents[600:, :3]).mean() > 0.9


def test_random_tasks_give_an_empty_support(data):
    y = np.random.RandomState(1).standard_normal(300)
    with pytest.warns(SpecialistWarning, match="support is empty"):
        encoder = quick(max_epochs=20).fit(data.X, y)
    assert encoder.transform(data.X).shape == (300, 0)


@pytest.mark.slow
def test_threads_do_not_disturb_each_other(data):
    def fit(seed):
        return quick(random_state=seed).fit(data.X, data.y).transform(data.X)

    fits = (joblib.delayed(fit)(seed) for seed in range(3))
    together = joblib.Parallel(3, backend="threading")(fits)
    for seed, latents in enumerate(together):
        assert_array_equal(latents, fit(seed))


def test_the_same_seed_gives_the_same_bits_and_torch_is_left_alone(data, fitted):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    second = quick().fit(data.X, data.y)
    assert torch.equal(before, torch.random.get_rng_state())
    assert_array_equal(fitted.latents(data.X), second.latents(data.X))
    assert_array_equal(fitted.predict(data.X), second.predict(data.X))
    first, other = (single(random_state=seed).fit(data.X, data.y) for seed in (0, 1))
    assert not np.array_equal(first.latents(data.X), other.latents(data.X))


def test_a_pickle_predicts_the_same(data, fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(fitted.predict(data.X), copy.predict(data.X))


@pytest.mark.slow
def test_processes_give_the_same(data):
    fits = joblib.Parallel(n_jobs=2)(
        joblib.delayed(clone(quick()).fit)(data.X, data.y) for _ in range(2)
    )
    expected = fits[0].predict(data.X)
    assert_array_equal(expected, fits[1].predict(data.X))


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["mlp", "linear"])
def test_predictions_are_in_the_units_of_y(data, heads):
    encoder = quick(heads=heads, sparsity=0, max_epochs=60)
    y = 1000 + 50 * data.y[:, 0]
    prediction = encoder.fit(data.X, y).predict(data.X)
    assert prediction.shape == (300,)
    assert abs(prediction.mean() - 1000) < 10
    assert encoder.score(data.X, y) > 0.3


@pytest.mark.slow
def test_class_labels_and_both_kinds_of_tasks(data):
    labels = np.where(data.y[:, 0] > 0, "high", "low")
    encoder = quick(max_epochs=60, sparsity=0).fit(data.X, labels)
    assert set(encoder.predict(data.X)) <= {"high", "low"}
    assert encoder.score(data.X, labels) > 0.75
    y = pd.DataFrame({"label": labels, "value": data.y[:, 1]})
    prediction = quick().fit(data.X, y).predict(data.X)
    assert prediction.shape == (300, 2)
    assert set(prediction.iloc[:, 0]) <= {"high", "low"}
    assert prediction.iloc[:, 1].std() >= 0


class Interrupt(Callback):
    """Ctrl-C after the first epoch."""

    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_ctrl_c_is_raised_and_leaves_the_estimator_as_it_was(data):
    fresh = single(callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        fresh.fit(data.X, data.y)
    assert not [name for name in vars(fresh) if name.endswith("_")]
    fitted = single().fit(data.X, data.y)
    expected = fitted.predict(data.X)
    fitted.set_params(callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(data.X[:, :3], data.y)
    assert_array_equal(expected, fitted.predict(data.X))


class Count(Callback):
    """Counts epochs."""

    epochs = 0

    def on_epoch_end(self, net, **kwargs):
        """Count one."""
        type(self).epochs += 1


def test_callbacks_see_the_epochs_of_the_second_step(data, monkeypatch):
    Count.epochs = 0
    monkeypatch.setattr(SparsityPath, "lost_tasks", lambda *args: np.zeros(4, bool))
    encoder = quick(callbacks=[Count()], decoder="fit").fit(data.X, data.y)
    assert Count.epochs == encoder.n_iter_ == 2  # after the search, 0.8 of the epochs
    phases = [row["phase"] for row in encoder.history_]
    assert phases.count("sparse") == 2
    assert sorted(set(phases), key=phases.index) == ["search", "sparse", "refit", "reconstruction"]
    first = next(row for row in encoder.history_ if row["phase"] == "sparse")
    assert "train_task_loss" in first
    assert "train_reconstruction_loss" in encoder.history_[-1]


def test_early_stopping_goes_back_to_the_best_epoch(data):
    y = np.random.RandomState(0).standard_normal(300)
    encoder = single(early_stopping=True, max_epochs=60, learning_rate=0.1)
    encoder.fit(data.X, data.y + 3 * y[:, None])
    losses = [row["valid_loss"] for row in encoder.history_ if row["phase"] == "sparse"]
    assert encoder.n_iter_ < 60
    assert np.argmin(losses) < len(losses) - 1


def test_warm_start_continues(data):
    once = quick(n_components=2, sparsity=0, max_epochs=10, input_noise=0.3).fit(data.X, data.y)
    again = clone(once).set_params(warm_start=True).fit(data.X, data.y)
    again.set_params(max_epochs=2).fit(data.X, data.y)
    cold = clone(once).set_params(max_epochs=2).fit(data.X, data.y)
    assert again.score(data.X, data.y) > cold.score(data.X, data.y)
    with pytest.raises(ValueError, match="warm_start"):
        again.fit(data.X[:, :3], data.y)


def test_penalty_parameters_are_searchable(data):
    encoder = single(penalty=L1(), sparsity=0.02).set_params(penalty__group=0.0)
    assert encoder.fit(data.X, data.y).penalty.group == 0.0
    with pytest.raises(ValueError, match="penalty"):
        quick(penalty="l3").fit(data.X, data.y)


def test_set_output_and_names(data):
    encoder = quick(sparsity=0, input_noise=0.3).set_output(transform="pandas")
    encoder.fit(data.X, data.y)
    frame = encoder.transform(data.X)
    assert list(frame.columns) == [f"sparsespecialistencoder{j}" for j in range(4)]
    assert list(frame.columns) == list(encoder.get_feature_names_out())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(data, dtype):
    encoder = single().fit(data.X.astype(dtype), data.y)
    latents = encoder.transform(data.X.astype(dtype))
    assert latents.dtype == encoder.inverse_transform(latents).dtype == dtype


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X, y: (np.where(X > 2, np.nan, X), y), ValueError, "NaN"),
        (lambda X, y: (np.where(X > 2, np.inf, X), y), ValueError, "infinity"),
        (lambda X, y: (X[:1], y[:1]), ValueError, "minimum of 2"),
        (lambda X, y: (X, np.ones(len(X))), ValueError, "constant"),
        (lambda X, y: (X, np.full(len(X), "one")), ValueError, "one class"),
        (lambda X, y: (X, np.where(y > 2, np.inf, y)), ValueError, "y contains infinity"),
        (lambda X, y: (X, y * np.nan), ValueError, "'task0' of y has no value"),
        (lambda X, y: (X, None), ValueError, "requires y"),
        (lambda X, y: (X, y[:-1]), ValueError, "inconsistent"),
        (lambda X, y: (sparse.csr_matrix(X), y), TypeError, "[Ss]parse"),
        (
            lambda X, y: (np.char.add(X.astype(str), "a"), y),
            ValueError,
            "could not convert|numeric",
        ),
    ],
)
def test_what_cannot_be_fitted_says_so(data, change, error, message):
    with pytest.raises(error, match=message):
        quick().fit(*change(data.X, data.y))


def test_a_constant_feature_and_few_samples_do_no_harm(data):
    X = np.column_stack([data.X, np.full(300, 1e6)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)
        assert np.isfinite(quick(sparsity=0).fit(X, data.y).latents(X)).all()
        assert quick().fit(X[:2], data.y[:2]).predict(X).shape == (300, 4)


@pytest.mark.parametrize("offset", [1e5, 1e9])
def test_an_offset_of_the_features_does_not_matter(data, offset):
    expected = single().fit(data.X, data.y).latents(data.X)
    shifted = single().fit(data.X + offset, data.y)
    assert_allclose(shifted.latents(data.X + offset), expected, atol=1e-3)
    back = shifted.inverse_transform(shifted.transform(data.X + offset))
    assert abs(back.mean() - offset) < 10


def test_a_column_that_wakes_up_does_little_harm(data):
    rng = np.random.RandomState(0)
    train = np.column_stack([data.X[:200], 1e-9 * rng.standard_normal(200)])
    test = np.column_stack([data.X[200:], np.ones(100)])
    encoder = single(max_epochs=40, n_relevant=3).fit(train, data.y[:200])
    asleep = np.column_stack([test[:, :-1], np.zeros(100)])
    scores = [encoder.score(X, data.y[200:]) for X in (asleep, test)]
    assert scores[0] > 0.3
    assert scores[1] > scores[0] - 0.3
    assert np.abs(encoder.transform(1e9 * test)).max() < 100


def test_a_class_that_is_held_out_whole_does_no_harm(data):
    labels = np.where(data.y[:, 0] > 0, 1, 0)
    for rare in (14, 200):
        y = labels.copy()
        y[rare] = 2
        assert np.isfinite(list(quick().fit(data.X, y).width_losses_.values())).all()


def test_callbacks_are_left_as_they_are(data):
    callback = EarlyStopping(monitor="train_loss", sink=print)
    before = dict(vars(callback))
    single(callbacks=[("stop", callback)]).fit(data.X, data.y)
    assert vars(callback) == before


@pytest.mark.slow
def test_diagnose_finds_a_good_encoder_good(planted):
    encoder, data = planted
    found = encoder.diagnose(data.X[1200:])
    assert found.use.shape == (2,)
    assert found.jacobian_rank == 2
    assert not len(found.unused)
    assert not found.duplicates
    assert found.leakage.shape == (2,)
    assert found.leakage.max() < 0.3


@pytest.mark.parametrize("n_updates", range(1, 8))
def test_a_fit_may_have_any_number_of_updates(data, n_updates):
    rows = slice(2 * n_updates)
    encoder = single(n_relevant=1, batch_size=2, max_epochs=1).fit(data.X[rows], data.y[rows])
    assert np.isfinite(encoder.predict(data.X)).all()


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"sparsity": 0, "validation_fraction": 0.5}, "validation_fraction"),
        ({"sparsity": 0, "penalty": "hard_concrete"}, "penalty"),
        ({"n_relevant": 2, "heads": "linear", "penalty": "l1"}, "penalty"),
        ({"n_relevant": 2, "n_components": 2, "independence_weight": 1.0}, "independence_weight"),
    ],
)
def test_parameters_without_effect_warn(data, params, name):
    with pytest.warns(SpecialistWarning, match=f"{name}=.* has no effect"):
        quick(**{"n_components": 3, "input_noise": 0.3} | params).fit(data.X, data.y)
