"""Laws of the skorch net: gradients in closed form, flat parameters, callbacks."""

from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from skorch.callbacks import Callback

from skspecialist.encoder import SparseSpecialistEncoder
from skspecialist.encoder._training import build_bottlenecks
from skspecialist.networks.net import ClosedForm, FlatAdamW, flatten_parameters
from skspecialist.networks.penalties import L1, HardConcrete
from skspecialist.networks.training import StepData, Trainer

N_SAMPLES = 24
SETTINGS = [
    [1, 3],  # steps
    [(8, 6), (), None],  # hidden layers
    [False, True],  # linear heads
    [None, "learned", "each"],  # weights of the steps
    [[0, 0], [0, 3, 2]],  # classes
    [0.0, 0.3],  # noise
]
CASES = [
    # A half fraction of the design, which has all triples of values; the other half is nightly.
    pytest.param(case, marks=[pytest.mark.slow] * (sum(map(list.index, SETTINGS, case)) % 2))
    for case in product(*SETTINGS)
    if not (case[0] == 1 and case[3] == "learned")
]


def draw(n_timesteps, hidden, linear, steps, classes, noise, dtype, penalty=None):
    """Return untrained bottlenecks of two folds, and a batch."""
    rng = np.random.RandomState(0)
    n_rows = N_SAMPLES if steps == "each" else 1
    weights = rng.uniform(0.5, 1.5, (n_rows, n_timesteps, len(classes)))
    if n_rows == 1:
        weights = np.broadcast_to(weights, (N_SAMPLES, *weights.shape[1:]))
    data = StepData.from_arrays(
        rng.standard_normal((N_SAMPLES, n_timesteps, 5)),
        weights,
        [rng.randint(0, max(c, 1), N_SAMPLES) + (c == 0) * rng.randn(N_SAMPLES) for c in classes],
        rng.uniform(size=(N_SAMPLES, len(classes))),
        folds=np.arange(N_SAMPLES) % 2,
    )
    data = StepData(
        **{k: v.to(dtype) if v.is_floating_point() else v for k, v in vars(data).items()}
    )
    torch.manual_seed(0)
    module = build_bottlenecks(
        data,
        [5, 5] if hidden is None else [3, 2],
        n_classes=classes,
        hidden=hidden,
        linear_heads=linear,
        penalty=penalty or L1(),
        learn_steps=steps == "learned",
        held_out=[0, 1],
        sparsity=[0.1, 0.1],
        noise=noise,
    )
    return module.to(dtype).train(), data[torch.arange(N_SAMPLES)]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), pytest.param(torch.float32, 1e-5, marks=pytest.mark.slow)],
)
def test_gradients_are_those_of_automatic_differentiation(case, dtype, tolerance):
    module, (inputs, truth) = draw(*case, dtype)
    torch.manual_seed(1)
    outputs = module(**inputs)
    loss = module.losses(outputs, truth)["task_loss"]
    loss.backward()
    expected = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
    flatten_parameters([p for p in module.parameters() if p.requires_grad])
    for parameter in module.parameters():
        if parameter.grad is not None:
            parameter.grad.fill_(7.0)  # is overwritten
    assert ClosedForm.covers(module)
    torch.manual_seed(1)
    found, own_outputs = ClosedForm(module)(**inputs, truth=truth)
    assert_allclose(found, loss.detach(), rtol=tolerance, atol=tolerance)
    assert_allclose(own_outputs, outputs.detach(), atol=10 * tolerance)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert_allclose(parameter.grad, expected[name], atol=tolerance, err_msg=name)


def test_random_gates_are_left_to_automatic_differentiation():
    case = (1, (8,), False, None, [0, 0], 0.0, torch.float32)
    assert not ClosedForm.covers(draw(*case, HardConcrete())[0])
    assert ClosedForm.covers(draw(*case)[0])


def test_flat_parameters_share_values_and_gradients():
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in ((3, 5), (2,), (1, 20))]
    before = [parameter.detach().clone() for parameter in parameters]
    flat = flatten_parameters(parameters)
    for parameter, values in zip(parameters, before, strict=True):
        assert torch.equal(parameter, values)
        assert parameter.data_ptr() % 64 == flat.data_ptr() % 64
    sum((p**2).sum() for p in parameters).backward()
    torch.optim.SGD([flat], lr=0.5).step()
    assert not flat.any()  # p - 0.5 * 2 p


def test_steps_are_those_of_adamw():
    torch.manual_seed(0)
    pairs = [[torch.nn.Parameter(torch.randn(5)) for _ in range(2)] for _ in range(2)]
    for own, other in zip(*pairs, strict=True):
        other.data.copy_(own.data)
    options = [{"eps": 1e-3, "weight_decay": 0.0}, {}]
    groups = [
        [{"params": [p], **more} for p, more in zip(part, options, strict=True)] for part in pairs
    ]
    own, other = FlatAdamW(groups[0], 0.1), torch.optim.AdamW(groups[1], lr=0.1)
    for step in range(5):
        for first, second in zip(*pairs, strict=True):
            first.grad = second.grad = torch.randn(5) if step != 1 else None
        own.step()
        other.step()
    for first, second in zip(*pairs, strict=True):
        assert_allclose(first.detach(), second.detach(), rtol=1e-5)


class Watch(Callback):
    """Records the events of a training."""

    def __init__(self):
        self.events = []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        """Record the number of gradients."""
        self.events.append(("gradient", sum(p.grad is not None for _, p in named_parameters)))

    def on_batch_end(self, net, training, loss, y_pred, **kwargs):
        """Record the shape of the outputs."""
        self.events.append(("batch", training, tuple(y_pred.shape), loss.item()))


@pytest.mark.parametrize("penalty", [L1(), HardConcrete()])
def test_callbacks_are_called_with_either_kind_of_gradient(penalty):
    module, (inputs, truth) = draw(
        1, (8,), False, None, [0, 3], 0.0, torch.float32, penalty=penalty
    )
    data, watch = StepData(**inputs, **truth), Watch()
    net = Trainer(0.03, 1, 12).train(module, data, callbacks=[("watch", watch)])
    assert [event[0] for event in watch.events] == ["gradient", "batch"] * 2
    assert watch.events[1][1:3] == (True, (2, 12, 4))
    assert {"train_loss", "train_task_loss"} <= net.history[-1].keys()
    assert all(parameter.grad is None for parameter in net.module_.parameters())
    # The mask is faster where the penalty takes its own entries to zero, and not those of gates.
    assert net.optimizer_.param_groups[-1]["lr_factor"] == (5 if isinstance(penalty, L1) else 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_masks_of_few_samples_are_sparse():
    sets = [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)]
    n_entries = []
    for seed in (5, 6, 7):
        rng = np.random.default_rng(seed)
        latents = rng.normal(size=(200, 6))
        X, y = latents @ rng.normal(size=(6, 6)), []
        for used in sets:
            units = np.tanh(latents[:, used] @ rng.normal(size=(len(used), 4)) + rng.normal(size=4))
            y.append(units.sum(axis=1))
        encoder = SparseSpecialistEncoder(random_state=seed).fit(X, np.transpose(y))
        assert encoder.support_.sum() == 3
        n_entries.append(int((encoder.mask_ > 0).sum()))
    # Nine entries are true. At the learning rate of the weights 12, 14 and 9 were kept.
    assert sum(n_entries) <= 31
