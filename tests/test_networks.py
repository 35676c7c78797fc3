"""Laws of the mask, the heads, the losses and the batches."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from skspecialist.networks import L1, BasePenalty, seeded
from skspecialist.networks.data import StepData, WholeBatches
from skspecialist.networks.heads import MaskedHeads, TaskLoss
from skspecialist.networks.training import _smallest_width


@pytest.mark.parametrize("group", [0.0, 0.5, 2.0])
def test_the_proximal_step_is_the_minimiser(group):
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


def test_penalties_are_parts():
    assert isinstance(BasePenalty.resolve("l1", argument="penalty"), L1)
    with pytest.raises(ValueError, match="penalty='l7' is not known"):
        BasePenalty.resolve("l7", argument="penalty")


def permute_tasks(heads, order):
    """Return heads whose tasks are in another order."""
    other = MaskedHeads(heads.columns.shape[2], [1] * heads.n_tasks)
    with torch.no_grad():
        for (name, new), old in zip(other.named_parameters(), heads.parameters(), strict=True):
            axis = 1 if name in ("out", "step_bias", "intercept") else 0
            new.copy_(old.index_select(axis, order))
    return other


def test_permuting_tasks_permutes_outputs_and_mask_gradients():
    torch.manual_seed(0)
    order = torch.tensor([2, 0, 1])
    heads = MaskedHeads(4, [1, 1, 1])
    latents, weights = torch.randn(7, 5, 4), torch.rand(7, 5, 3)
    masks = [torch.rand(3, 4)]
    masks.append(masks[0][order])
    for mask in masks:
        mask.requires_grad_()
    first = heads(latents, weights, masks[0])[0]
    second = permute_tasks(heads, order)(latents, weights[..., order], masks[1])[0]
    torch.testing.assert_close(first[:, order], second)
    (first**2).mean().backward()
    (second**2).mean().backward()
    torch.testing.assert_close(masks[0].grad[order], masks[1].grad)


@pytest.mark.parametrize("hidden", [(), (8,), (8, 8)])
def test_heads_read_what_the_mask_lets_through_and_nothing_else(hidden):
    torch.manual_seed(0)
    heads = MaskedHeads(3, [1, 4], hidden)
    mask = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    latents = torch.randn(6, 1, 3, requires_grad=True)
    heads(latents, torch.ones(6, 1, 2), mask)[0, :, 0].sum().backward()
    assert (latents.grad[..., 0] != 0).any()
    assert (latents.grad[..., 1:] == 0).all()


def test_scaling_the_columns_changes_nothing():
    torch.manual_seed(0)
    heads, latents = MaskedHeads(3, [1, 1]), torch.randn(6, 2, 3)
    arguments = (latents, torch.ones(6, 2, 2), torch.rand(2, 3))
    before = heads(*arguments)
    with torch.no_grad():
        heads.columns.mul_(7.0)
    torch.testing.assert_close(before, heads(*arguments))


def test_a_linear_coefficient_is_at_most_its_mask_entry():
    torch.manual_seed(0)
    heads, mask = MaskedHeads(3, [1, 1], ()), torch.rand(2, 3)
    ones = torch.ones(3, 1, 2)
    outputs = heads(torch.eye(3)[:, None], ones, mask) - heads(torch.zeros(3, 1, 3), ones, mask)
    assert (outputs[0].T.abs() <= mask + 1e-6).all()


def test_steps_without_weight_do_not_enter():
    torch.manual_seed(0)
    heads, latents, weights = MaskedHeads(3, [1, 1]), torch.randn(6, 4, 3), torch.ones(6, 4, 2)
    weights[:, 2:] = 0
    mask = torch.rand(2, 3)
    torch.testing.assert_close(
        heads(latents, weights, mask), heads(latents[:, :2], weights[:, :2], mask)
    )


def test_knowing_nothing_costs_one():
    rng = np.random.RandomState(0)
    values = rng.standard_normal(500)
    targets = np.column_stack([(values - values.mean()) / values.std(), rng.randint(3, size=500)])
    targets = torch.tensor(targets, dtype=torch.float32)
    loss = TaskLoss([0, 3], targets)
    outputs = loss.chance_outputs.expand(1, 500, -1)
    torch.testing.assert_close(loss(outputs, targets).mean(dim=(0, 1)), torch.ones(2))


def test_batches_hold_every_sample_once_and_are_never_single():
    data = StepData(torch.arange(257.0).view(-1, 1, 1), torch.ones(257, 1, 1), torch.ones(257, 1))
    batches = [batch["X"].flatten() for batch, _ in WholeBatches(data, 256, shuffle=True)]
    assert torch.equal(torch.cat(batches).sort().values, torch.arange(257.0))
    assert min(map(len, batches)) > 1


def test_the_smallest_width_that_no_larger_one_beats():
    means = np.array([1.0, 0.3, 0.1, 0.095, 0.09])
    losses = np.repeat(means[:, None], 50, axis=1)
    assert _smallest_width(losses, sparsity=0.02) == 2
    assert _smallest_width(losses, sparsity=0.003) == 4
    assert _smallest_width(losses, sparsity=0.25) == 1
    assert _smallest_width(losses, sparsity=2.0) == 0


def test_a_latent_that_helps_only_with_the_next_is_found():
    losses = np.repeat(np.array([1.0, 1.0, 0.2])[:, None], 50, axis=1)
    assert _smallest_width(losses, sparsity=0.02) == 2


def test_seeding_leaves_the_global_generator():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(5, "cpu"):
        inside = torch.rand(2)
    torch.testing.assert_close(torch.rand(2), expected)
    with seeded(5, "cpu"):
        assert torch.equal(torch.rand(2), inside)
