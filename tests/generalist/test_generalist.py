"""TorchGeneralist: hidden states of a module that stays as it is."""

import copy
import operator
import pickle
import re
import threading
from functools import partial

import numpy as np
import pytest
import torch
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.nn import functional as F

from skspecialist import (
    FeatureGroupRanker,
    SparseSpecialistEncoder,
    SpecialistPipeline,
    TorchGeneralist,
)
from skspecialist.networks.training import seeded

N_FEATURES, N_TOKENS, WIDTH = 6, 5, 8
PADDING = 0


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(N_FEATURES, 16)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.second = nn.Linear(16, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.second(self.dropout(self.act(self.first(x))))

    def encode(self, x):
        return self.act(self.first(x))


class TokenModel(nn.Module):
    """A small transformer with the inputs and outputs of a language model."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, WIDTH, padding_idx=PADDING)
        block = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)

    def forward(self, input_ids, attention_mask):
        hidden = self.blocks(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return {"logits": hidden @ self.embed.weight.T, "last_hidden_state": hidden}


def tokenized(rows):
    return {"input_ids": rows.long(), "attention_mask": rows != PADDING}


def built(module_class, seed=0):
    with seeded(seed, "cpu"):
        return module_class()


@pytest.fixture
def mlp():
    return built(Mlp)


@pytest.fixture
def token_model():
    return built(TokenModel)


@pytest.fixture
def steps():
    return np.random.default_rng(0).normal(size=(50, N_FEATURES))


@pytest.fixture
def tokens():
    """Return tokens, some of them padding, before or after the others."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 20, size=(30, N_TOKENS)).astype(float)
    ids[:10, 3:] = PADDING
    ids[10:20, :2] = PADDING
    return ids


def forward(module, X):
    with torch.no_grad():
        module.eval()
        return module(torch.tensor(X, dtype=torch.float32)).numpy()


# What comes out


def test_the_output_of_the_module_in_evaluation_mode(mlp, steps):
    mlp.train()
    found = TorchGeneralist(mlp).fit_transform(steps)
    assert found.dtype == np.float64
    assert_allclose(found, forward(mlp, steps), rtol=1e-6)


def test_the_output_of_a_layer_precedes_later_work_in_place(mlp, steps):
    found = TorchGeneralist(mlp, layers="first").fit_transform(steps)
    assert_allclose(found, forward(mlp.first, steps), rtol=1e-6)
    assert found.min() < 0


def test_modules_that_work_in_place_leave_the_data_alone(steps):
    before = steps.copy()
    found = TorchGeneralist(nn.ReLU(inplace=True)).fit_transform(steps)
    assert_array_equal(steps, before)
    assert_array_equal(found, np.maximum(steps, 0))


@pytest.mark.parametrize("layer", [None, "act"])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batches_give_the_same_as_all_at_once(mlp, steps, layer, batch_size):
    mlp.double()
    all_at_once = TorchGeneralist(mlp, layers=layer).fit_transform(steps)
    found = TorchGeneralist(mlp, layers=layer, batch_size=batch_size).fit_transform(steps)
    assert_allclose(found, all_at_once, rtol=1e-12, atol=1e-12)


def test_sequences_are_represented_step_by_step(mlp, steps):
    generalist = TorchGeneralist(mlp).fit(steps)
    sequences = generalist.transform(steps.reshape(10, 5, N_FEATURES))
    assert sequences.shape == (10, 5, 3)
    assert_array_equal(sequences.reshape(50, 3), generalist.transform(steps))


def test_weights_in_half_precision_are_fed_in_half_precision(mlp, steps):
    found = TorchGeneralist(copy.deepcopy(mlp).bfloat16()).fit_transform(steps.astype("float32"))
    assert found.dtype == np.float32
    assert_allclose(found, forward(mlp, steps), atol=0.05)


def test_input_shape_and_convolutions():
    X = np.random.default_rng(0).normal(size=(9, 64))
    conv = nn.Conv2d(1, 4, 3, padding=1).double()
    maps = TorchGeneralist(conv, input_shape=(1, 8, 8)).fit_transform(X)
    assert maps.shape == (9, 256)
    means = TorchGeneralist(conv, input_shape=(1, 8, 8), pooling="mean").fit_transform(X)
    assert_allclose(means, maps.reshape(9, 4, 64).mean(axis=2), rtol=1e-12)


@pytest.mark.parametrize(
    ("returns", "pooling"),
    [
        (lambda x: (2 * x, x), None),
        (lambda x: [None, 2 * x], None),
        (lambda x: {"only": 2 * x}, None),
        (lambda x: {"logits": x, "last_hidden_state": 2 * x}, None),
        (lambda x: {"logits": x, "states": 2 * x}, operator.itemgetter("states")),
        (lambda x: (2 * x).numpy(), None),
        (lambda x: x.repeat(1, 2), lambda out: 2 * out[:, :N_FEATURES]),
    ],
)
def test_which_tensor_is_taken(steps, returns, pooling):
    assert_array_equal(TorchGeneralist(returns, pooling=pooling).fit_transform(steps), 2 * steps)


def test_one_number_for_each_row_is_one_feature(steps):
    assert_array_equal(TorchGeneralist(lambda x: x[:, 0]).fit_transform(steps), steps[:, :1])


@pytest.mark.parametrize("wrap", [partial, lambda method: method], ids=["partial", "method"])
def test_methods_of_modules_are_treated_as_the_module(mlp, steps, wrap):
    mlp.train()
    generalist = TorchGeneralist(wrap(mlp.encode), layers="first").fit(steps)
    assert_allclose(generalist.transform(steps), forward(mlp.first, steps), rtol=1e-6)


# Tokens


@pytest.mark.parametrize("layer", [None, "blocks.layers.0"])
def test_tokens_that_are_padding_do_not_count(token_model, tokens, layer):
    token_model.double()

    def pooled(pooling):
        generalist = TorchGeneralist(
            token_model, layers=layer, preprocess=tokenized, pooling=pooling, batch_size=7
        )
        return generalist.fit_transform(tokens)

    states = pooled(None).reshape(len(tokens), N_TOKENS, WIDTH)
    first = np.where(np.arange(30) < 10, 0, np.where(np.arange(30) < 20, 2, 0))
    last = np.where(np.arange(30) < 10, 2, 4)
    means = [row[i : j + 1].mean(axis=0) for row, i, j in zip(states, first, last, strict=True)]
    assert_allclose(pooled("mean"), means, rtol=1e-10)
    assert_allclose(pooled("first"), states[np.arange(30), first], rtol=1e-10)
    assert_allclose(pooled("last"), states[np.arange(30), last], rtol=1e-10)


def test_layers_inside_a_fused_block_are_seen(token_model, tokens):
    generalist = TorchGeneralist(
        token_model, layers="blocks.layers.1.linear1", preprocess=tokenized, pooling="mean"
    )
    assert generalist.fit_transform(tokens).shape == (30, 16)


def test_a_tuple_from_preprocess_is_positional(token_model, tokens):
    named = TorchGeneralist(token_model, preprocess=tokenized)
    positional = TorchGeneralist(
        token_model, preprocess=lambda rows: tuple(tokenized(rows).values())
    )
    assert_array_equal(named.fit_transform(tokens), positional.fit_transform(tokens))


def test_a_list_from_preprocess_goes_in_as_it_is():
    texts = ["a", "bcd", "ef"]

    def lengths(batch):
        return np.array([[len(text)] for text in batch])

    generalist = TorchGeneralist(lengths, preprocess=lambda rows: [texts[int(i)] for i in rows])
    assert_array_equal(generalist.fit_transform([[0.0], [1.0], [2.0]]), [[1], [3], [2]])


# The module stays as it is


def modes(module):
    return {name: part.training for name, part in module.named_modules()}


def hooks(module):
    return sum(len(part._forward_hooks) for part in module.modules())


def test_modes_weights_and_torchs_generator_stay_as_they_were(mlp, steps):
    mlp.train()
    mlp.dropout.eval()
    before, weights, state = modes(mlp), copy.deepcopy(mlp.state_dict()), torch.get_rng_state()
    addresses = [weight.data_ptr() for weight in mlp.parameters()]
    TorchGeneralist(mlp, layers="act", device="cpu").fit_transform(steps)
    assert modes(mlp) == before
    assert hooks(mlp) == 0
    assert all(torch.equal(weights[name], value) for name, value in mlp.state_dict().items())
    assert [weight.data_ptr() for weight in mlp.parameters()] == addresses
    assert all(weight.grad is None and weight.requires_grad for weight in mlp.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_module_is_restored_after_an_error(mlp, steps):
    generalist = TorchGeneralist(mlp, layers="first").fit(steps)
    mlp.second = nn.Linear(4, 3)
    mlp.train()
    before, state = modes(mlp), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        generalist.transform(steps)
    assert modes(mlp) == before
    assert hooks(mlp) == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_a_module_that_draws_numbers_draws_the_same_ones(steps):
    def noisy(x):
        return F.dropout(x, 0.5)

    generalist = TorchGeneralist(noisy).fit(steps)
    state = torch.get_rng_state()
    assert_array_equal(generalist.transform(steps), generalist.transform(steps))
    assert torch.equal(torch.get_rng_state(), state)


def test_threads_do_not_disturb_each_other(mlp, steps):
    mlp.train()
    inputs = [steps + i for i in range(8)]
    expected = [forward(copy.deepcopy(mlp).first, X) for X in inputs]
    found = [None] * len(inputs)

    def work(i):
        generalist = TorchGeneralist(mlp, layers="first", batch_size=4)
        found[i] = generalist.fit(inputs[i]).transform(inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert all(modes(mlp).values())
    assert hooks(mlp) == 0


def test_outputs_in_other_threads_are_not_read(mlp, steps):
    def intrude(*_):
        thread = threading.Thread(target=mlp.first, args=(torch.zeros(50, N_FEATURES),))
        thread.start()
        thread.join()

    expected = forward(mlp.first, steps)
    mlp.act.register_forward_hook(intrude)
    found = TorchGeneralist(mlp, layers="first").fit_transform(steps)
    assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_module_comes_back_from_another_device(mlp, steps):
    expected = TorchGeneralist(mlp).fit_transform(steps)
    found = TorchGeneralist(mlp, device="cuda").fit_transform(steps)
    assert_allclose(found, expected, atol=1e-3)
    assert {weight.device.type for weight in mlp.parameters()} == {"cpu"}
    mlp.cuda()
    assert_allclose(TorchGeneralist(mlp).fit_transform(steps), expected, atol=1e-3)
    assert {weight.device.type for weight in mlp.parameters()} == {"cuda"}


# Scikit-learn


def test_clones_share_the_module(mlp, steps):
    class Tokenizer:
        def __call__(self, rows):
            return rows

    tokenizer = Tokenizer()
    generalist = TorchGeneralist(mlp, layers="act", preprocess=tokenizer, batch_size=9).fit(steps)
    generalist.set_output(transform="pandas")
    twin = clone(SpecialistPipeline(generalist=generalist)).generalist
    assert twin.module is mlp
    assert twin.preprocess is tokenizer
    assert twin.get_params() == generalist.get_params()
    assert list(twin.fit_transform(steps).columns[:1]) == ["torchgeneralist0"]
    assert generalist.n_features_out_ == 16
    with pytest.raises(NotFittedError):
        clone(generalist).transform(steps)


def test_pickles_predict_the_same(mlp, steps):
    generalist = TorchGeneralist(mlp, layers="act").fit(steps)
    twin = pickle.loads(pickle.dumps(generalist))
    assert_array_equal(twin.transform(steps), generalist.transform(steps))
    assert twin.module is not mlp


def sequences_and_task():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2, N_FEATURES))
    states = forward(built(Mlp).first, X.reshape(-1, N_FEATURES)).reshape(120, 2, -1)
    return X, states[:, 1, 0] + 0.1 * rng.normal(size=120)


def pipeline(module, **params):
    return SpecialistPipeline(
        generalist=TorchGeneralist(module, layers="first"),
        estimator=Ridge(),
        random_state=0,
        **params,
    )


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("strategy", ["generalist", "best"])
def test_the_pipeline_reads_the_hidden_states(mlp, strategy):
    X, y = sequences_and_task()
    quick = SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, input_noise=0.3, max_epochs=2)
    encoder = quick if strategy == "best" else None
    fitted = pipeline(mlp, strategy=strategy, encoder=encoder).fit(X, y)
    assert fitted.n_generalist_features_ == 2 * 16
    assert fitted.generalist_.module is mlp
    assert fitted.score(X, y) > 0.9


def search(mlp, backend):
    grid = {"generalist__layers": ["first", "second"]}
    X, y = sequences_and_task()
    with parallel_config(backend, n_jobs=2):
        return GridSearchCV(pipeline(mlp, strategy="generalist"), grid, cv=2).fit(X, y)


def test_a_search_finds_the_layer(mlp):
    found = search(mlp, "threading")
    assert found.best_params_ == {"generalist__layers": "first"}
    assert found.best_estimator_.generalist_.module is mlp
    assert hooks(mlp) == 0


@pytest.mark.slow
def test_a_search_finds_the_layer_in_other_processes(mlp):
    found = search(mlp, "loky")
    assert_array_equal(
        found.cv_results_["mean_test_score"],
        search(mlp, "threading").cv_results_["mean_test_score"],
    )


def test_progress_is_shown_batch_by_batch(mlp, steps, capsys):
    generalist = TorchGeneralist(mlp, batch_size=5, verbose=1).fit(steps)
    generalist.transform(steps)
    assert "10/10" in capsys.readouterr().err
    generalist.set_params(verbose=0).transform(steps)
    assert capsys.readouterr().err == ""


# Errors


def nan_in_two_rows(x):
    x[:2] = torch.nan
    return x


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layers": "frist"}, r"no layer 'frist'; near names are: 'first'"),
        ({"layers": "zzz"}, r"some names are: 'first', 'act', 'dropout', 'second', 'unused'"),
        ({"layers": "unused"}, r"did not run its layer 'unused'"),
        ({"module": torch.tanh, "layers": "first"}, r"needs a torch.nn.Module"),
        ({"input_shape": (2, 4)}, r"input_shape=\(2, 4\) has 8 numbers, but a row has 6"),
        ({"pooling": "mean"}, r"needs an axis of tokens.*shape is \(2, 3\)"),
        ({"device": "nowhere"}, r"device='nowhere' is not available"),
        ({"module": nan_in_two_rows}, r"module returned NaN or infinite values in 2 of 2 rows"),
        ({"module": torch.sum}, r"shape \(\) for a batch of 2 rows"),
        ({"module": lambda x: x.T}, r"shape \(6, 2\) for a batch of 2 rows"),
        ({"module": lambda x: {"a": x, "b": x}}, r"a dict with the keys \['a', 'b'\]"),
        ({"module": lambda x: None}, r"returned a NoneType, which has no unique"),
        ({"module": nn.Linear(5, 2)}, r"does not work on steps of 6 features.*mat1 and mat2"),
        ({"preprocess": lambda x: {"name": x}}, r"unexpected keyword argument 'name'"),
        ({"pooling": operator.itemgetter((0, 0, 0))}, r"does not work on steps.*IndexError"),
        ({"module": 3}, r"'module' parameter of TorchGeneralist must be a callable"),
    ],
)
def test_errors_name_the_cause(mlp, steps, params, message):
    generalist = TorchGeneralist(**({"module": mlp} | params))
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        generalist.fit(steps)
    assert not hasattr(generalist, "n_features_in_")


def test_an_attention_mask_that_fits_no_token_is_an_error(tokens):
    class Halved(nn.Module):
        def forward(self, input_ids, attention_mask):
            return input_ids[:, ::2, None]

    generalist = TorchGeneralist(Halved(), preprocess=tokenized, pooling="mean")
    with pytest.raises(ValueError, match="there are 3 tokens"):
        generalist.fit(tokens)


def test_another_number_of_features_than_in_fit_is_an_error():
    def without_padding(x):
        return x[:, : int(x.count_nonzero(dim=1).max())]

    generalist = TorchGeneralist(without_padding, batch_size=2)
    with pytest.raises(ValueError, match="returned 3 features for each row, but 2 in fit"):
        generalist.fit_transform([[1.0, 1, 0], [1, 1, 0], [1, 1, 1]])


def test_states_too_large_for_single_precision_are_an_error(steps):
    generalist = TorchGeneralist(lambda x: x.double() * 1e300)
    assert np.isfinite(generalist.fit_transform(steps)).all()
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="NaN or infinite"):
        generalist.fit(steps.astype(np.float32))


def test_several_layers_are_joined_in_one_run_with_names():
    torch.manual_seed(0)
    mlp, steps = Mlp(), np.random.default_rng(0).normal(size=(30, N_FEATURES))
    both = TorchGeneralist(mlp, layers=["second", "first"]).fit(steps)
    singles = [TorchGeneralist(mlp, layers=name).fit_transform(steps) for name in both.layers]
    assert_array_equal(both.transform(steps), np.hstack(singles))
    assert {name: len(columns) for name, columns in both.feature_groups_.items()} == {
        "second": 3,
        "first": 16,
    }
    assert both.get_feature_names_out()[[0, 3, -1]].tolist() == ["second_0", "first_0", "first_15"]
    frame = both.set_output(transform="pandas").transform(steps)
    ranker = FeatureGroupRanker(n_groups=1, random_state=0).fit(frame, singles[1][:, 0])
    assert list(ranker.feature_groups_) == both.layers
    assert ranker.get_feature_names_out()[0] == "first_0"
