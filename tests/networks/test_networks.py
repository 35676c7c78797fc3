"""Laws of the groups, the heads, the losses, the batches and the search."""

import copy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skspecialist.encoder import _search as search_module
from skspecialist.encoder._path import SparsityPath
from skspecialist.encoder._search import Inputs, search_width
from skspecialist.encoder._training import (
    TaskLoss,
    build_bottlenecks,
    finish_bottlenecks,
    kernel_alignment,
    noise_of,
    train_bottlenecks,
)
from skspecialist.networks.layers import MaskedHeads
from skspecialist.networks.penalties import L1, HardConcrete
from skspecialist.networks.training import StepData, Trainer, WholeBatches, seeded

TRAINER = Trainer(learning_rate=0.03, max_epochs=2, batch_size=64)


def builder(data, **changes):
    """Return what builds bottlenecks of continuous tasks."""
    options = {
        "n_classes": [0] * data.targets.shape[1],
        "hidden": (8,),
        "linear_heads": False,
        "penalty": L1(),
    }
    return partial(build_bottlenecks, data, **(options | changes))


def sparsity_path(data, tolerance=0.02):
    """Return an empty path of continuous tasks."""
    return SparsityPath(data, [0] * data.targets.shape[1], tolerance)


def assert_close(found, expected, rtol=1e-5, atol=1e-6):
    """Compare tensors; the function of torch imports other parts of it, which takes a second."""
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol, atol)


def step_data(n_samples=40, n_folds=2, n_tasks=2, n_timesteps=3, seed=0):
    """Return noise in the form of training data, its samples held out in turn."""
    rng = np.random.RandomState(seed)
    return StepData.from_arrays(
        rng.standard_normal((n_samples, n_timesteps, 5)),
        rng.uniform(0.5, 1.5, (n_samples, n_timesteps, n_tasks)),
        list(rng.standard_normal((n_tasks, n_samples))),
        folds=np.arange(n_samples) % n_folds,
    )


def bottlenecks(data, widths, held_out=(-2,), sparsity=(0.0,), **changes):
    """Return untrained groups that are ready to predict."""
    torch.manual_seed(0)
    module = builder(data, **changes)(widths, held_out=held_out, sparsity=sparsity)
    module.encoders.freeze(data.rows)
    return module.eval()


def permute_tasks(heads, order):
    """Return heads whose tasks are in another order."""
    other = MaskedHeads(heads.columns.shape[3], [1] * heads.n_tasks)
    with torch.no_grad():
        for new, old in zip(other.parameters(), heads.parameters(), strict=True):
            new.copy_(old.index_select(1, order))
    return other


def test_permuting_tasks_permutes_outputs_and_mask_gradients():
    torch.manual_seed(0)
    order = torch.tensor([2, 0, 1])
    heads = MaskedHeads(4, [1, 1, 1])
    latents, weights = torch.randn(1, 35, 4), torch.rand(7, 5, 3)
    masks = [torch.rand(1, 3, 4)]
    masks.append(masks[0][:, order])
    for mask in masks:
        mask.requires_grad_()
    first = heads(latents, weights, masks[0])
    second = permute_tasks(heads, order)(latents, weights[..., order], masks[1])
    assert_close(first[..., order], second)
    (first**2).mean().backward()
    (second**2).mean().backward()
    assert_close(masks[0].grad[:, order], masks[1].grad)


@pytest.mark.parametrize("hidden", [(), (8,), (8, 8)])
def test_heads_read_what_the_mask_lets_through_and_nothing_else(hidden):
    torch.manual_seed(0)
    heads = MaskedHeads(3, [1, 4], hidden)
    mask = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    latents = torch.randn(1, 6, 3, requires_grad=True)
    heads(latents, torch.ones(6, 1, 2), mask)[0, :, 0].sum().backward()
    assert (latents.grad[..., 0] != 0).any()
    assert (latents.grad[..., 1:] == 0).all()


def test_scaling_the_columns_changes_nothing():
    torch.manual_seed(0)
    heads, latents = MaskedHeads(3, [1, 1], n_groups=2), torch.randn(2, 12, 3)
    arguments = (latents, torch.ones(6, 2, 2), torch.rand(2, 2, 3))
    before = heads(*arguments)
    with torch.no_grad():
        heads.columns.mul_(7.0)
    assert_close(before, heads(*arguments))


def test_linear_heads_are_linear_with_slopes_of_at_most_their_mask_entry():
    torch.manual_seed(0)
    heads, mask = MaskedHeads(3, [1, 3], (), n_groups=2), torch.rand(2, 2, 3)
    ones = torch.ones(3, 1, 2)
    points = torch.eye(3).expand(2, 3, 3)
    slopes = (heads(points, ones, mask) - heads(torch.zeros(2, 3, 3), ones, mask)).mT
    assert (slopes.abs() <= mask[:, [0, 1, 1, 1]] + 1e-6).all()
    latents = torch.randn(2, 9, 3)
    outputs = heads(latents, torch.ones(9, 1, 2), mask)
    assert_close(outputs - heads.intercept.flatten(1)[:, None, [0, 3, 4, 5]], latents @ slopes.mT)


def test_steps_without_weight_do_not_enter():
    torch.manual_seed(0)
    heads, latents, weights = MaskedHeads(3, [1, 1]), torch.randn(6, 4, 3), torch.ones(6, 4, 2)
    weights[:, 2:] = 0
    mask = torch.rand(1, 2, 3)
    assert_close(
        heads(latents.view(1, -1, 3), weights, mask),
        heads(latents[:, :2].reshape(1, -1, 3), weights[:, :2], mask),
    )


def test_the_null_model_costs_one():
    rng = np.random.RandomState(0)
    values = rng.standard_normal(500)
    targets = np.column_stack([(values - values.mean()) / values.std(), rng.randint(3, size=500)])
    targets = torch.tensor(targets, dtype=torch.float32)
    loss = TaskLoss([0, 3], targets, torch.ones(500, 2))
    outputs = loss.null_outputs.expand(1, 500, -1)
    # The labels' frequencies have half a sample more of each class.
    assert_close(loss(outputs, targets).mean(dim=(0, 1)), torch.ones(2), atol=1e-4, rtol=0)


def test_batches_hold_every_sample_once_and_are_never_single():
    data = StepData.from_arrays(
        np.arange(257.0).reshape(-1, 1, 1), np.ones((257, 1, 1)), [np.ones(257)]
    )
    batches = [batch["X"].flatten() for batch, _ in WholeBatches(data, 256, shuffle=True)]
    assert torch.equal(torch.cat(batches).sort().values, torch.arange(257.0))
    assert min(map(len, batches)) > 1


def test_each_task_counts_as_its_weight_says_whatever_is_missing():
    values = [np.array([1.0, np.nan, 3.0, np.nan]), np.arange(4.0)]
    data = StepData.from_arrays(
        np.zeros((4, 1, 1)),
        np.ones((4, 1, 2)),
        values,
        weights=np.array([[1.0, 5], [9, 5], [3, 5], [9, 5]]),
        task_weight=np.array([0.5, 1.5]),
    )
    assert_close(data.weights.mean(dim=0), torch.tensor([0.5, 1.5]))
    assert_close(data.weights[:, 0], torch.tensor([0.5, 0, 1.5, 0]))
    assert torch.isfinite(data.targets).all()


@pytest.mark.parametrize("changes", [{}, {"linear_heads": True}])
@pytest.mark.parametrize("training", [False, True])
def test_groups_do_not_hear_each_other(changes, training):
    data = step_data()
    module = bottlenecks(data, [2, 3, 1], **changes).train(training)

    def outputs():
        torch.manual_seed(1)
        return module(data.X, data.step_weights)

    before = outputs()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter[1] += torch.rand_like(parameter[1])
    after = outputs()
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.allclose(before[1], after[1])


@pytest.mark.parametrize("changes", [{}, {"linear_heads": True}, {"hidden": None}])
@pytest.mark.parametrize("group", [0, 1, 2])
def test_a_group_alone_does_what_it_did_beside_others(changes, group):
    data, widths = step_data(), [5, 5, 5] if "hidden" in changes else [2, 3, 1]
    module = bottlenecks(data, widths, **changes)
    expected = module(data.X, data.step_weights)[group]
    alone = copy.deepcopy(module)
    alone.select(group, widths[group])
    assert alone.task_mask().shape == (1, 2, widths[group])
    assert_close(alone(data.X, data.step_weights)[0], expected)
    again = module(data.X, data.step_weights)[group]
    assert torch.equal(again, expected)


def test_what_a_group_leaves_out_does_not_enter_its_loss():
    data = step_data()

    def gradients(targets):
        module = bottlenecks(data, [2, 2], held_out=[0, 1]).train()
        truth = {"targets": targets, "weights": data.weights, "folds": data.folds}
        losses = module.losses(module(data.X, data.step_weights), truth)
        losses["task_loss"].backward()
        return module.heads.out.grad

    changed = data.targets.clone()
    changed[data.folds == 0] += 5.0
    before, after = gradients(data.targets), gradients(changed)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_held_out_losses_are_those_of_the_group_that_left_the_fold_out():
    data = step_data(n_samples=30, n_folds=3)
    module = bottlenecks(data, [1, 2] * 3, held_out=[0, 0, 1, 1, 2, 2])
    path = sparsity_path(data)
    losses = path.held_out_losses(module)
    outputs = module(data.X, data.step_weights).detach()
    each = ((outputs - data.targets) ** 2 * data.weights).mean(dim=2)
    for place in range(2):
        means = [each[2 * fold + place, data.folds == fold].mean() for fold in range(3)]
        np.testing.assert_allclose(path.by_fold(losses[place]), means, rtol=1e-5)


def test_gates_that_are_closed_stay_closed():
    data = step_data()
    module = bottlenecks(data, [3], sparsity=[0.1], penalty=HardConcrete())
    with torch.no_grad():
        module.gate_logits[0, 0, 1] = -9.0
    before = module.task_mask()
    finish_bottlenecks(module, data)
    assert module.gate_logits is None
    assert torch.equal(module.task_mask(), before)
    assert before[0, 0, 1] == 0
    assert (before != 0).sum() == 5


def test_kernel_alignment_sees_any_dependence_and_nothing_else():
    torch.manual_seed(0)
    x, other = torch.randn(400, 2), torch.randn(400, 1)
    assert_close(kernel_alignment(x, x), torch.tensor(1.0))
    square = (x[:, :1] ** 2 - 1) / 2**0.5
    independent, dependent = kernel_alignment(x[:, :1], other), kernel_alignment(x[:, :1], square)
    assert 0 <= independent < 0.1 < dependent
    assert_close(kernel_alignment(x, other), kernel_alignment(x.flip(1), other))


class PlantedSearch:
    """Replaces the training: each width has a loss that was planted."""

    def __init__(self, monkeypatch, losses, guess=1):
        self.rounds = []
        self.losses, self.chosen = losses, None
        monkeypatch.setattr(search_module, "train_bottlenecks", self.train)
        monkeypatch.setattr(search_module, "_rank", lambda path, dense: guess)
        monkeypatch.setattr(search_module, "_begin_as", lambda *args: None)
        monkeypatch.setattr(
            SparsityPath, "held_out_losses", lambda path, module, X: self.planted(path)
        )
        monkeypatch.setattr(
            SparsityPath,
            "null_losses",
            property(lambda path: np.ones((len(path.rows), path.data.targets.shape[1]))),
        )

    def search(self, data, max_width, noises=(0.0,)):
        """Return the path of a search, and the module of the chosen width."""
        path = sparsity_path(data)
        inputs = [Inputs(data, self.build)]
        return path, search_width(path, TRAINER, inputs, max_width, noises)[0]

    def build(self, widths, **options):
        self.widths = widths[: len(widths) // 2]
        assert widths == self.widths * 2
        self.rounds.append(self.widths)

    def train(self, data, trainer, module, share):
        if share == search_module.START_SHARE:
            self.rounds.pop()
        return SimpleNamespace(module_=self)

    def planted(self, path):
        n_tasks = path.data.targets.shape[1]
        rows = [self.losses[width] * np.ones(n_tasks) for width in self.widths]
        return np.repeat(np.array(rows)[:, None], len(path.rows), axis=1)

    def select(self, group, width):
        self.group, self.chosen = group, width


@pytest.mark.parametrize("guess", [1, 2, 4, 8])
@pytest.mark.parametrize("true", range(1, 9))
def test_the_smallest_good_width_is_found_from_any_guess(monkeypatch, guess, true):
    losses = [max(1.0 - 0.9 * width / true, 0.1) for width in range(9)]
    planted = PlantedSearch(monkeypatch, losses, guess)
    path, _ = planted.search(step_data(n_folds=2, n_tasks=8), 8)
    assert path.chosen == planted.chosen == true
    screening, *rounds = planted.rounds
    assert screening == [8]
    tried = [width for widths in rounds for width in set(widths)]
    # The number that the rank proposes has more starts before a larger one is chosen.
    assert tried.count(guess) == 1 + (guess < true)
    assert len(tried) - (guess < true) == len(set(tried)) <= 3 + abs(guess - true)
    if guess == true < 8:
        assert rounds == [[*(width for width in (true - 1, true) if width), 8]]


def test_narrow_networks_begin_as_parts_of_a_wide_one():
    data = step_data(n_tasks=2)
    path, (wide, narrow) = sparsity_path(data), (builder(data)([width]) for width in (3, 2))
    with torch.no_grad():
        wide.mask[:, :, 1] = 0.0
    finish_bottlenecks(wide, data)
    start = search_module._Trained(Inputs(data, None), wide, [0], 0.0, None)
    search_module._begin_as(narrow, [0], 2, start, path)
    finish_bottlenecks(narrow, data)
    inputs = data.X, data.step_weights
    assert_close(narrow(*inputs), wide(*inputs), rtol=0, atol=5e-3)


def test_a_latent_of_one_task_of_many_is_kept(monkeypatch):
    # The second latent explains 0.2 of the last task only: 2 % of the mean over ten tasks.
    losses = np.full((4, 10), 0.1)
    losses[0], losses[1, -1] = 1.0, 0.3
    planted = PlantedSearch(monkeypatch, losses)
    path, _ = planted.search(step_data(n_folds=2, n_tasks=10), 3)
    assert path.chosen == 2


def test_the_better_inputs_and_noise_are_kept():
    data = step_data(n_tasks=2)
    path, build = sparsity_path(data), builder(data)
    inputs = [Inputs(data, build), Inputs.rotated(data, build)]
    module, chosen = search_width(path, TRAINER, inputs, 2, (0.0, 0.5))
    for net, each in zip(path.nets, inputs, strict=False):
        expected = [noise / each.scale for noise in (0.0, 0.5)] * 2
        np.testing.assert_allclose(noise_of(net.module_), expected, rtol=1e-6)
    assert any(chosen is each for each in inputs)
    assert module is None or noise_of(module)[0] * chosen.scale in (0.0, pytest.approx(0.5))
    net = train_bottlenecks(data, TRAINER, build([2], noise=[0.5]))
    encoders = net.module_.train().encoders
    assert not torch.equal(encoders(data.rows), encoders(data.rows))
    encoders.eval()
    assert_close(encoders(data.rows), encoders(data.rows), rtol=0, atol=0)


def test_rotated_inputs_are_a_rotation_that_can_be_taken_back():
    data = step_data()
    data = replace(data, X=data.X @ torch.diag(torch.tensor([3.0, 1, 1, 0.1, 0])))
    rotated = Inputs.rotated(data, builder(data))
    assert rotated.data.X.shape[2] == 4  # a column without variance has no axis
    products = [rows @ rows.T for rows in (data.rows, rotated.data.rows * rotated.scale)]
    assert_close(*products, rtol=1e-4, atol=1e-4)
    variances = rotated.data.rows.var(dim=0, correction=0)
    assert (variances.diff() < 0).all()
    module = finished(rotated.build([3], noise=[0.5]), rotated.data)
    expected = module(rotated.data.X, data.step_weights)
    rotated.restore(module)
    assert_close(module(data.X, data.step_weights), expected, rtol=1e-3, atol=1e-4)
    assert noise_of(module) == [pytest.approx(0.5 * rotated.scale)]


def finished(module, data):
    """Return bottlenecks with the statistics of their latents."""
    finish_bottlenecks(module, data)
    return module


def test_the_rank_counts_the_latents_of_a_wide_network():
    data = step_data(n_samples=400, n_folds=1, n_tasks=4, n_timesteps=1)
    module = builder(data)([4, 4], held_out=[0, 0])
    with torch.no_grad():  # the others of the first group are functions of two latents
        module.encoders.layers.last[0][0, :, 2:] = module.encoders.layers.last[0][0, :, :2]
    finish_bottlenecks(module, data)
    few, many = (
        search_module._rank(
            sparsity_path(data),
            search_module._Trained(Inputs(data, None), module, [group], 0.0, None),
        )
        for group in (0, 1)
    )
    assert few == 2 < many


def test_a_training_in_a_poor_optimum_is_compensated_by_another(monkeypatch):
    losses = [1.0, 0.7, 0.4, 0.1]

    class PoorFirst(PlantedSearch):
        def planted(self, path):
            found = super().planted(path)
            found[:-1] = 1.0
            return found

    planted = PoorFirst(monkeypatch, losses, guess=3)
    path, _ = planted.search(step_data(n_folds=2, n_tasks=3), 3, (0.0, 0.0))
    assert planted.rounds[0] == [3, 3]
    assert path.chosen == planted.chosen == 3
    assert planted.group == 1  # of the first fold, the second attempt
    assert path.losses[3].mean() == pytest.approx(losses[3])


def test_a_latent_that_helps_only_with_the_next_is_found(monkeypatch):
    path, _ = PlantedSearch(monkeypatch, [1.0, 1.0, 0.2]).search(step_data(), 2)
    assert path.chosen == 2


def test_without_any_gain_the_empty_model_is_chosen(monkeypatch):
    planted = PlantedSearch(monkeypatch, [1.0, 1.0, 1.1, 1.2, 1.3])
    path, module = planted.search(step_data(n_tasks=4), 4)
    assert path.chosen == 0
    assert path.explained == 0
    assert module is None


def planted_path(by_fold, tolerance, supports=False):
    """Return a path from losses by fold, of which the null model has loss 1."""
    data = step_data(n_samples=20, n_folds=len(next(iter(by_fold.values()))), n_tasks=1)
    path = sparsity_path(data, tolerance)
    path.null_losses = np.ones((len(path.rows), 1))
    size = len(path.rows) // path.n_folds
    path.losses = {point: np.repeat(m, size)[:, None] for point, m in by_fold.items()}
    path.supports = dict.fromkeys(by_fold) if supports else {}
    return path


@pytest.mark.parametrize(
    ("tolerance", "chosen"), [(0.0, 3), (0.038, 3), (0.05, 2), (0.2, 2), (0.3, 1), (1, 0)]
)
def test_a_share_of_the_explained_loss_may_be_lost(tolerance, chosen):
    # Of 0.9 explained, width 2 loses a share of 0.04 and width 1 one of 0.25.
    losses = {0: [1.0, 1.0], 1: [0.325, 0.325], 2: [0.136, 0.136], 3: [0.1, 0.1], 4: [0.1, 0.1]}
    assert planted_path(losses, tolerance).chosen == chosen


@pytest.mark.parametrize(("lost", "spread", "is_good"), [(0.03, 0.02, True), (0.04, 0.02, False)])
def test_one_standard_error_is_granted(lost, spread, is_good):
    # Of two numbers the standard error of the mean is half their distance, and the quantile of
    # one standard error is 1.8. The loss varies as much as the best: both errors are equal.
    best = [0.1 - spread, 0.1 + spread]
    losses = {0: [1.0, 1.0], 1: [0.1 + lost - 2 * spread, 0.1 + lost + 2 * spread], 2: best}
    assert planted_path(losses, 0.0).chosen == (1 if is_good else 2)
    steady = losses | {1: [loss + lost for loss in best]}
    assert planted_path(steady, 0.0).chosen == 2


def test_of_shares_the_strongest_good_penalty_is_chosen():
    losses = {0.0: [0.1, 0.1], 0.05: [0.1, 0.1], 0.2: [0.11, 0.11], 0.5: [0.4, 0.4], 1.0: [1, 1]}
    path = planted_path(losses, 0.02, supports=True)
    assert path.chosen == 0.2
    assert path.points == [0.0, 0.05, 0.2, 0.5, 1.0]


def test_seeding_leaves_the_global_generator():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(5, "cpu"):
        inside = torch.rand(2)
    assert_close(torch.rand(2), expected)
    with seeded(5, "cpu"):
        assert torch.equal(torch.rand(2), inside)
