"""PruneThenFinetune: cut units, scores, masks, and the comparison with the head alone."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils import prune

from skspecialist import PruneThenFinetune
from skspecialist.exceptions import SpecialistWarning
from skspecialist.generalist._attention import with_open_heads
from skspecialist.generalist._pruning import find_sites, gated, remove, scores_of
from skspecialist.networks.training import seeded

DIGITS, LABELS = load_digits(n_class=3, return_X_y=True)
DIGITS = DIGITS / 16


class Blocks(nn.Module):
    """A small transformer of 16 patches of 4 pixels."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 4, 16, 0.0, batch_first=True) for _ in range(2)
        )

    def forward(self, x):
        hidden = self.embed(x.unflatten(1, (16, 4)))
        for block in self.blocks:
            hidden = block(hidden)
        return hidden.mean(dim=1)


def convolutions():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3),
        nn.Sigmoid(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 7),
        nn.ReLU(),
        nn.Linear(7, 3),
    )


def built(make):
    with seeded(0, "cpu"):
        return with_open_heads(make()).eval()


ROWS = torch.tensor(DIGITS[:12], dtype=torch.float32)
SITES = {
    "transformer": [
        (f"blocks.{k}.{n}", u)
        for k in (0, 1)
        for n, u in (("self_attn.out_proj", 4), ("linear2", 16))
    ],
    "convolutions": [("4", 6), ("8", 5), ("10", 7)],
}
MODULES = {"transformer": Blocks, "convolutions": convolutions}


def losses(outputs):
    return outputs.square().sum(dim=1)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_without_units_returns_what_it_returns_with_zeros(name):
    net = built(MODULES[name])
    sites = find_sites(net, ROWS, "auto")
    assert [(site.layer, site.n_units) for site in sites] == SITES[name]
    kept = [torch.arange(site.n_units) % 3 > 0 for site in sites]
    with torch.no_grad():
        with gated(net, sites, [k.float().expand(len(ROWS), -1) for k in kept]):
            expected = net(ROWS)
        n_before = sum(p.numel() for p in net.parameters())
        for site, k in zip(sites, kept, strict=True):
            remove(net, site, k)
        assert_allclose(net(ROWS), expected, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in net.parameters()) < n_before


def test_open_heads_are_those_of_torch():
    with seeded(0, "cpu"):
        attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    opened = with_open_heads(nn.Sequential(copy.deepcopy(attention)))[0]
    x, other = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    padding = torch.arange(4) > torch.tensor([[3], [2], [1]])
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    with torch.no_grad():
        for args, kwargs in (
            ((x, x, x), {"attn_mask": causal}),
            ((x, other, other), {"key_padding_mask": padding}),
        ):
            for ours, theirs in zip(
                opened(*args, **kwargs), attention(*args, **kwargs), strict=True
            ):
                assert_allclose(ours, theirs, atol=1e-6)


def test_scores_are_those_of_their_definitions():
    net = built(convolutions)
    sites = find_sites(net, ROWS, "units")
    fisher = scores_of(net, sites, ROWS, losses, "fisher")
    # One row at a time, with a derivative by one factor: equation 6 of Theis et al. (2018).
    squares = []
    for row in ROWS.split(1):
        gates = [torch.ones(1, site.n_units, requires_grad=True) for site in sites]
        with gated(net, sites, gates):
            losses(net(row)).sum().backward()
        squares.append([gate.grad[0].square().numpy() for gate in gates])
    for index, found in enumerate(fisher):
        assert_allclose(found, np.mean([s[index] for s in squares], axis=0) / 2, rtol=1e-3)
    # Torch's own structured pruning removes the columns of the least norm.
    magnitude = scores_of(net, sites, ROWS, losses, "magnitude")[-1]
    layer = prune.ln_structured(copy.deepcopy(net[10]), "weight", 3, 2, dim=1)
    masked = layer.weight_mask.numpy().any(axis=0)
    assert_array_equal(np.sort(np.argsort(magnitude)[:3]), np.flatnonzero(~masked))


@pytest.mark.parametrize("strategy", ["prune", "mask"])
def test_a_reloaded_fit_is_the_same_to_the_last_bit(strategy):
    module = built(convolutions)
    before = copy.deepcopy(module.state_dict())
    options = {"strategy": strategy, "max_epochs": 1, "cv": None, "random_state": 0}
    fitted = PruneThenFinetune(module, keep=0.5, **options).fit(DIGITS[:60], LABELS[:60])
    loaded = pickle.loads(pickle.dumps(fitted))
    assert fitted.masks_.keys() == loaded.masks_.keys() != set()
    for name, mask in fitted.masks_.items():
        assert_array_equal(loaded.masks_[name], mask)
    assert_array_equal(loaded.predict_proba(DIGITS), fitted.predict_proba(DIGITS))
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    share = fitted.size_ / fitted.full_size_
    assert share <= 0.5 if strategy == "prune" else 0.3 < share < 0.9
    if strategy == "prune":
        return
    for name, mask in fitted.masks_.items():
        weight = fitted.module_.get_parameter(name).detach().numpy()
        assert_array_equal(weight, np.where(mask, before[name].numpy(), 0))


@pytest.mark.slow
def test_layers_are_skipped_and_units_that_cannot_be_cut_are_masked():
    blocks = PruneThenFinetune(
        built(Blocks), granularity="layers", max_epochs=1, cv=None, keep=0.6, random_state=0
    ).fit(DIGITS[:40], LABELS[:40])
    assert sum(mask.all() for mask in blocks.masks_.values()) == 1
    normalized = nn.Sequential(nn.Linear(64, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.LayerNorm(8))
    masked = PruneThenFinetune(normalized, max_epochs=1, cv=None, keep=0.9, random_state=0)
    with pytest.warns(SpecialistWarning, match="not its time"):
        masked.fit(DIGITS[:40], LABELS[:40])
    assert masked.size_ < masked.full_size_
    assert masked.report().flops_share == 1
    assert blocks.report().flops_share < 0.7


def test_the_head_alone_is_used_where_the_strategy_loses():
    options = {"strategy": "full", "learning_rate": 10.0, "max_epochs": 3, "random_state": 0}
    ruined = PruneThenFinetune(built(convolutions), **options)
    with pytest.warns(SpecialistWarning, match="linear head"):
        ruined.fit(DIGITS[:60], LABELS[:60])
    head = PruneThenFinetune(built(convolutions), strategy="head").fit(DIGITS[:60], LABELS[:60])
    assert ruined.strategy_ == "head"
    assert "loss" in ruined.reason_
    assert ruined.losses_["full"] > ruined.losses_["head"]
    assert_array_equal(ruined.predict(DIGITS), head.predict(DIGITS))
    assert ruined.predict_proba(DIGITS).sum(axis=1) == pytest.approx(1)


def test_labels_and_amounts_with_missing_values():
    y = np.column_stack([LABELS, DIGITS.sum(axis=1)]).astype(object)[:80]
    y[::4, 0] = None
    fitted = PruneThenFinetune(built(convolutions), strategy="head", cv=2)
    prediction = fitted.fit(DIGITS[:80], y).predict(DIGITS[:80])
    assert prediction.shape == (80, 2)
    assert fitted.score(DIGITS[:80], y) > 0.3


def test_a_finished_fit_is_read_from_its_checkpoints(tmp_path, monkeypatch):
    options = {"max_epochs": 1, "cv": None, "checkpoint_dir": tmp_path, "random_state": 0}
    pruner = PruneThenFinetune(built(convolutions), **options)
    expected = pruner.fit(DIGITS[:40], LABELS[:40]).predict_proba(DIGITS)
    monkeypatch.setattr("skspecialist.networks.net.FlatAdamW.step", None)  # no training
    again = pruner.fit(DIGITS[:40], LABELS[:40])
    assert_array_equal(again.predict_proba(DIGITS), expected)
