"""Laws of the penalties on the mask."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from skspecialist.networks.penalties import L1, HardConcrete


@pytest.mark.parametrize("group", [0.0, 0.5, 2.0])
def test_the_proximal_step_is_the_minimizer(group):
    rng = np.random.RandomState(0)
    penalty, step = L1(group), 0.3
    for _ in range(5):
        start = rng.uniform(0, 1, size=(3, 2))
        closed = penalty.prox(torch.tensor(start), torch.full((3, 2), step))

        def objective(flat, start=start):
            mask = torch.tensor(flat.reshape(3, 2))
            return float(penalty.value(mask)) + ((flat - start.ravel()) ** 2).sum() / (2 * step)

        found = minimize(objective, start.ravel(), bounds=[(0, None)] * 6, method="Powell")
        assert objective(closed.numpy().ravel()) <= found.fun + 1e-6
        np.testing.assert_allclose(closed.numpy().ravel(), found.x, atol=2e-2)


def test_the_proximal_step_sets_exact_zeros_by_entry_and_by_column():
    mask = torch.tensor([[0.5, 0.05], [0.01, 0.05]])
    result = L1(group=0.5).prox(mask, torch.full_like(mask, 0.1))
    assert result[0, 0] > 0
    assert result[1, 0] == 0
    assert (result[:, 1] == 0).all()


@pytest.mark.parametrize("penalty", [L1(), L1(group=0.0), HardConcrete()])
def test_groups_are_penalized_one_by_one(penalty):
    torch.manual_seed(0)
    masks, steps = torch.rand(6, 4, 3), torch.rand(6, 4, 3)
    masks[2, :, 1] = 0
    together = penalty.prox(masks, steps), penalty.value(masks)
    one_by_one = [(penalty.prox(m, s), penalty.value(m)) for m, s in zip(masks, steps, strict=True)]
    for all_groups, each in zip(together, zip(*one_by_one, strict=True), strict=True):
        np.testing.assert_allclose(all_groups, torch.stack(each), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.4, 2 / 3])
def test_drawn_gates_are_open_as_often_as_their_logits_say(temperature):
    torch.manual_seed(0)
    n_draws = 20_000
    for logit in (-3.0, -1.0, 0.0, 2.0):
        penalty = HardConcrete(temperature, init=logit)
        logits = penalty.initial_logits((n_draws,))
        gates = penalty.gates(logits, sample=True)
        assert gates.min() >= 0
        assert gates.max() <= 1
        expected = float(penalty.open_probability(logits[:1, None, None]))
        # Five standard deviations of a binomial share: one draw of a million is beyond.
        bound = 5 * (expected * (1 - expected) / n_draws) ** 0.5
        assert abs(float((gates > 0).float().mean()) - expected) < bound


def test_drawn_gates_are_exactly_zero_and_exactly_one():
    torch.manual_seed(0)
    gates = HardConcrete().gates(torch.zeros(1000), sample=True)
    assert (gates == 0).any()
    assert (gates == 1).any()
    assert ((gates > 0) & (gates < 1)).any()


def test_gates_that_are_not_drawn_rise_with_their_logits_from_zero_to_one():
    logits = torch.linspace(-6, 6, 101)
    gates = HardConcrete().gates(logits, sample=False)
    assert gates[0] == 0
    assert gates[-1] == 1
    assert (gates.diff() >= 0).all()
    np.testing.assert_allclose(gates, 1 - gates.flip(0), rtol=1e-5, atol=1e-6)


def test_the_probability_of_open_gates_can_be_learned():
    logits = torch.zeros(2, 3, 4, requires_grad=True)
    share = HardConcrete().open_probability(logits)
    assert share.shape == (2,)
    share.sum().backward()
    assert (logits.grad > 0).all()
    assert not L1().has_gates
    assert HardConcrete().has_gates
    assert HardConcrete().initial_logits((2, 3, 4)).shape == (2, 3, 4)
