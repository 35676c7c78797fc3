"""Layers, encoders and masked task heads, in groups of equal networks side by side.

A *group* is one of several networks of the same shape that learn at the same time: the first
axis of every parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .._base.estimator import pinned_settings

SLOPE = 0.2  # of the leaky rectifiers, for negative values
CHUNK = 8192  # rows in a pass where no gradient is needed
HEAD_UNITS = (32, 32)  # hidden units of the heads that are not linear
LINEAR_UNITS = 8  # hidden units, without activation, of linear heads
LEARNS_FROM_ALL = -2  # fold that a group leaves out if it learns from all: no sample has it

# Attributes of every torch module; a copy gets its own, apart from the mode.
_MODULE_ATTRIBUTES = frozenset(vars(nn.Module())) - {"training"}


class ArrayModule(nn.Module):
    """Module whose state, pickled or copied, consists of plain values and NumPy arrays.

    A module that was trained on a GPU can then be loaded where there is none, and by skops,
    which runs no code from a file. Loading draws no random numbers. Hooks are not kept.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Return attributes, submodules, and parameters and buffers as arrays."""
        own = {name: value for name, value in vars(self).items() if name not in _MODULE_ATTRIBUTES}
        parameters = {
            name: None if p is None else (p.detach().cpu().numpy(), p.requires_grad)
            for name, p in self._parameters.items()
        }
        buffers = {
            name: None if b is None else b.cpu().numpy() for name, b in self._buffers.items()
        }
        return {
            "attributes": own,
            "modules": dict(self._modules),
            "parameters": parameters,
            "buffers": buffers,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the module of this state, on the CPU whatever torch's default device is."""
        super().__init__()
        vars(self).update(state["attributes"])
        for name, module in state["modules"].items():
            self.register_module(name, module)
        with pinned_settings():
            for name, saved in state["parameters"].items():
                kept = None if saved is None else nn.Parameter(torch.tensor(saved[0]), saved[1])
                self.register_parameter(name, kept)
            for name, array in state["buffers"].items():
                self.register_buffer(name, None if array is None else torch.tensor(array))

    def register_list(self, name: str, parameters: Iterable[nn.Parameter]) -> None:
        """Register parameters under a name and their number."""
        for index, parameter in enumerate(parameters):
            self.register_parameter(f"{name}{index}", parameter)

    def parameter_list(self, name: str) -> list[nn.Parameter]:
        """Return the parameters registered under a name and their number."""
        found: list[nn.Parameter] = []
        while (parameter := self._parameters.get(f"{name}{len(found)}")) is not None:
            found.append(parameter)
        return found


def uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Return weights drawn between plus and minus one over the root of ``fan_in``."""
    return nn.Parameter((torch.rand(shape) * 2 - 1) * fan_in**-0.5)


class GroupedMLP(ArrayModule):
    """The same multilayer perceptron ``n_groups`` times, each with weights of its own.

    One batched matrix product serves all of them: small networks cost more in calls than in
    arithmetic.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden units of each layer, outputs.
    n_groups : int
        Number of networks.
    """

    def __init__(self, sizes: Sequence[int], n_groups: int) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.register_list("weight", (uniform(n_groups, a, b, fan_in=a) for a, b in pairs))
        self.register_list("bias", (uniform(n_groups, 1, b, fan_in=a) for a, b in pairs))

    @property
    def last(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Weights (n_groups, n_inputs, n_outputs) and biases of the last layer."""
        return self.parameter_list("weight")[-1], self.parameter_list("bias")[-1]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return outputs (n_groups, n_rows, n_outputs) of rows, of every group or shared."""
        weights, biases = self.parameter_list("weight"), self.parameter_list("bias")
        hidden = rows.expand(len(weights[0]), *rows.shape[-2:])
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if index > 0:
                hidden = functional.leaky_relu(hidden, SLOPE)
            hidden = torch.baddbmm(bias, hidden, weight)
        return hidden


class Encoders(ArrayModule):
    """Encoders of features into latents of unit variance, in groups.

    Without a fixed variance the latents would grow as the mask shrinks, and a penalty on the
    mask would have no effect.

    Parameters
    ----------
    n_features : int
        Number of features.
    hidden : sequence of int or None
        Hidden layers. None takes the features themselves as the latents.
    n_latents : int
        Number of latents.
    n_groups : int, default=1
        Number of encoders.
    noise : float or sequence of float of length n_groups, default=0.0
        Standard deviation of the noise on the features in training.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    noise: torch.Tensor
    grouped_buffers = ("mean", "variance", "noise")

    def __init__(
        self,
        n_features: int,
        hidden: Sequence[int] | None,
        n_latents: int,
        n_groups: int = 1,
        noise: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        self.n_latents, self.n_groups = n_latents, n_groups
        self.layers = None
        if hidden is not None:
            self.layers = GroupedMLP([n_features, *hidden, n_latents], n_groups)
        self.register_buffer("mean", torch.zeros(n_groups, 1, n_latents))
        self.register_buffer("variance", torch.ones(n_groups, 1, n_latents))
        self.register_buffer("noise", torch.tensor(noise).expand(n_groups).clone()[:, None, None])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return latents (n_groups, n_rows, n_latents)."""
        if self.layers is None:
            return X[:, : self.n_latents].expand(self.n_groups, -1, -1)
        if self.training and self.noise.any():
            # Random numbers are those of the CPU, so that they are the same on all devices.
            X = X + self.noise * torch.randn(X.shape, dtype=X.dtype).to(X.device)
        raw = self.layers(X)
        if self.training and self.n_latents:
            # As batch normalization without scale and shift: of the batch in training, of
            # all training data (see ``freeze``) afterwards.
            variance, mean = torch.var_mean(raw, dim=1, correction=0, keepdim=True)
        else:
            mean, variance = self.mean, self.variance
        return (raw - mean) * torch.rsqrt(variance + torch.finfo(torch.float32).eps)

    @torch.no_grad()
    def encode_rows(self, X: torch.Tensor) -> torch.Tensor:
        """Return the latents (n_groups, n_rows, n_latents) of many rows, a chunk at a time."""
        return torch.cat([self(chunk) for chunk in X.split(CHUNK)], dim=1)

    @torch.no_grad()
    def trim(self, n_latents: int) -> None:
        """Drop all latents but the first."""
        if self.layers is not None:
            for parameter in self.layers.last:
                parameter.data = parameter.data[..., :n_latents].clone()
        self.mean, self.variance = self.mean[..., :n_latents], self.variance[..., :n_latents]
        self.n_latents = n_latents

    @torch.no_grad()
    def freeze(self, X: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        """Fix mean and variance of the latents to those over the rows of ``X``.

        Parameters
        ----------
        X : tensor of shape (n_rows, n_features)
            Rows of the training data.
        weights : tensor of shape (n_rows,) or None, default=None
            Weights of the rows. None is equal weights.
        """
        self.eval()
        if self.layers is None:
            return
        sums = torch.zeros(2, *self.mean.shape, dtype=torch.float64)
        # Sums of squares of values near zero, in double precision: an offset costs no digits.
        center = self.layers(X[:CHUNK]).mean(dim=1, keepdim=True).double()
        weights = torch.ones(len(X)) if weights is None else weights
        for rows, counts in zip(X.split(CHUNK), weights.double().split(CHUNK), strict=True):
            raw, each = self.layers(rows).double() - center, counts[:, None]
            parts = [(each * power).sum(dim=1, keepdim=True) for power in (raw, raw**2)]
            sums += torch.stack(parts)
        mean, square = sums / float(weights.double().sum())
        self.mean = (center + mean).to(X.dtype)
        self.variance = (square - mean**2).to(X.dtype)


class MaskedHeads(ArrayModule):
    """One small network per task, all evaluated at once.

    The first layer of a head is, for each latent, a mask entry times a column of fixed norm:
    the mask alone determines how much a task uses a latent, and zero excludes it. In a linear
    head columns of unit norm follow, so that its coefficients are at most the mask.

    Parameters
    ----------
    n_latents : int
        Number of latents.
    n_outputs : sequence of int of length n_tasks
        Number of outputs of each task: one, or one per class.
    hidden : sequence of int
        Widths of the hidden layers (all equal); empty is a linear head.
    n_groups : int, default=1
        Number of independent sets of heads.
    steps : tensor of shape (n_timesteps, n_tasks) or None, default=None
        Weights of the steps, the same in all sequences, if the heads also learn the importance
        of each step, which makes them robust to steps that the task does not use.
    """

    outputs: torch.Tensor
    step_scale: torch.Tensor
    steps: torch.Tensor
    importance: nn.Parameter | None

    def __init__(
        self,
        n_latents: int,
        n_outputs: Sequence[int],
        hidden: Sequence[int] = (32, 32),
        n_groups: int = 1,
        steps: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.linear = not hidden
        # A linear head has hidden units too, without activation: a coefficient can then change
        # its sign by a rotation of its column, without a passage through zero.
        units = hidden[0] if hidden else LINEAR_UNITS
        n_tasks, width = len(n_outputs), max(n_outputs)
        self.n_tasks, self.n_groups, self.units = n_tasks, n_groups, units
        # Outputs are padded to those of the largest task; these are the positions in use.
        positions = [task * width + k for task, count in enumerate(n_outputs) for k in range(count)]
        self.register_buffer("outputs", torch.tensor(positions))
        self.register_buffer("step_scale", torch.ones(n_tasks))
        self.columns = nn.Parameter(torch.randn(n_groups, n_tasks, units, n_latents))
        bias = torch.zeros if self.linear else torch.randn
        self.bias = nn.Parameter(bias(n_groups, n_tasks, units), requires_grad=not self.linear)
        inner = (n_groups, n_tasks, units + 1, units)  # the last row is the bias
        self.register_list("inner", (uniform(*inner, fan_in=units) for _ in hidden[1:]))
        self.out = uniform(n_groups, n_tasks, units, width, fan_in=units)
        self.step_bias = nn.Parameter(torch.zeros(n_groups, n_tasks, width))
        self.intercept = nn.Parameter(torch.zeros(n_groups, n_tasks, width))
        self.register_buffer("steps", None)
        self.register_parameter("importance", None)
        if steps is not None:
            self.steps = steps.T.clone()
            self.importance = nn.Parameter(torch.ones(n_groups, *self.steps.shape))

    def forward(
        self, latents: torch.Tensor, step_weights: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the outputs, summed over the steps.

        Parameters
        ----------
        latents : tensor of shape (n_groups, n_samples * n_timesteps, n_latents)
            Latents of each step.
        step_weights : tensor of shape (n_samples, n_timesteps, n_tasks)
            Weight of each step in each task.
        mask : tensor of shape (n_groups, n_tasks, n_latents)
            Non-negative weights of the latents.

        Returns
        -------
        outputs : tensor of shape (n_groups, n_samples, n_outputs)
            Standardized values, and logits.
        """
        outputs = self.per_step(latents, mask).unflatten(2, step_weights.shape[:2])
        weights = (step_weights / self.step_scale).permute(2, 0, 1)
        if step_weights.shape[1] == 1:
            outputs = outputs[:, :, :, 0] * weights[:, :, 0, None]
        elif self.importance is None:
            outputs = torch.einsum("gtnsc,tns->gtnc", outputs, weights)
        else:
            outputs = torch.einsum("gtnsc,tns,gts->gtnc", outputs, weights, self.step_importance())
        outputs = outputs + self.intercept[:, :, None]
        return outputs.transpose(1, 2).flatten(2)[..., self.outputs]

    def per_step(self, latents: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n_groups, n_tasks, n_rows, width) of single steps."""
        out = self.out.flatten(0, 1)
        if self.linear:
            out = functional.normalize(out, dim=1)
        outputs = torch.bmm(self._hidden(latents, mask), out)
        return outputs.unflatten(0, (self.n_groups, self.n_tasks)) + self.step_bias[:, :, None]

    def step_importance(self) -> torch.Tensor:
        """Return the factors (n_groups, n_tasks, n_timesteps) of the weights of the steps.

        They leave the sum of squares of the weights as it is: otherwise they could replace
        the mask, and evade its penalty.
        """
        assert self.importance is not None
        tiny = torch.finfo(torch.float32).tiny
        given = self.steps.square().sum(dim=1, keepdim=True)
        learned = (self.steps * self.importance).square().sum(dim=2, keepdim=True)
        return self.importance * (given.clamp(min=tiny) / learned.clamp(min=tiny)).sqrt()

    def _hidden(self, latents: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = torch.baddbmm(
            self.bias.flatten(1)[:, None], latents, self.first_layer(mask).flatten(1, 2).mT
        )
        hidden = hidden.view(self.n_groups, -1, self.n_tasks, self.units).transpose(1, 2)
        hidden = hidden.reshape(self.n_groups * self.n_tasks, -1, self.units)
        if self.linear:
            return hidden
        hidden = functional.leaky_relu(hidden, SLOPE)
        for layer in self.parameter_list("inner"):
            weight = layer.flatten(0, 1)
            hidden = torch.baddbmm(weight[:, -1:], hidden, weight[:, :-1])
            hidden = functional.leaky_relu(hidden, SLOPE)
        return hidden

    def first_layer(self, mask: torch.Tensor) -> torch.Tensor:
        """Return its weights (n_groups, n_tasks, units, n_latents)."""
        columns = functional.normalize(self.columns, dim=2)
        if not self.linear:
            # Entries of mean square one, whatever the number of hidden units.
            columns = columns * self.units**0.5
        return columns * mask[:, :, None]

    def copy_steps(self, other: MaskedHeads) -> None:
        """Copy scale and importance of the steps from other heads."""
        self.step_scale = other.step_scale
        if other.importance is not None:
            self.steps, self.importance = other.steps, other.importance

    @torch.no_grad()
    def set_constant(self, tasks: torch.Tensor, intercept: torch.Tensor) -> None:
        """Make tasks (n_groups, n_tasks, boolean) predict the constant ``intercept``."""
        group, task = tasks.nonzero(as_tuple=True)
        self.out[group, task] = 0.0
        self.step_bias[group, task] = 0.0
        constant = self.intercept.new_zeros(self.n_tasks * self.intercept.shape[2])
        constant[self.outputs] = intercept.to(constant)
        self.intercept[group, task] = constant.view(self.n_tasks, -1)[task]


class Bottlenecks(ArrayModule):
    """Encoders, and task heads that read their latents through a mask, in groups.

    Parameters
    ----------
    encoders : Encoders
        Encoders of the features.
    heads : MaskedHeads
        Heads of the tasks, in as many groups.
    task_loss : module
        Losses of the outputs of the heads.
    penalty : BasePenalty
        Penalty on the mask.
    sparsity : tensor of shape (n_groups,)
        Weight of the penalty.
    allowed : tensor of shape (n_groups, n_tasks, n_latents)
        One where the mask may be positive, else zero.
    held_out : tensor of shape (n_groups,)
        Fold that a group does not learn from.
    """

    allowed: torch.Tensor
    sparsity: torch.Tensor
    held_out: torch.Tensor
    grouped_buffers = ("allowed", "sparsity", "held_out")
    loss_names = ("task_loss", "penalty_loss")

    def __init__(
        self,
        encoders: Encoders,
        heads: MaskedHeads,
        task_loss: Any,
        *,
        penalty: Any,
        sparsity: torch.Tensor,
        allowed: torch.Tensor,
        held_out: torch.Tensor,
    ) -> None:
        super().__init__()
        self.encoders, self.heads, self.task_loss = encoders, heads, task_loss
        self.penalty = penalty
        self.register_buffer("allowed", allowed)
        self.register_buffer("sparsity", sparsity)
        self.register_buffer("held_out", held_out)
        # Latents have unit variance: entries of 1 / sqrt(width) start every task with inputs
        # of unit variance, whatever the number of latents.
        widths = allowed.amax(dim=1).sum(dim=1).clamp(min=1)
        self.mask = nn.Parameter(allowed / widths[:, None, None] ** 0.5)
        has_gates = penalty.has_gates and bool(sparsity.any())
        logits = nn.Parameter(penalty.initial_logits(allowed.shape)) if has_gates else None
        self.register_parameter("gate_logits", logits)
        self.is_penalized = True  # set to False by the net during the dense warm-up

    def task_mask(self) -> torch.Tensor:
        """Return the mask (n_groups, n_tasks, n_latents), zero where it is not allowed."""
        mask = self.mask * self.allowed
        if self.gate_logits is None or not self.is_penalized:
            return mask
        return mask * self.penalty.gates(self.gate_logits, sample=self.training)

    @torch.no_grad()
    def merge_gates(self) -> None:
        """Multiply the mask by the gates in their present state, and remove them."""
        self.mask.copy_(self.task_mask())
        self.gate_logits = None

    def select(self, group: int, width: int) -> None:
        """Keep one group, and the first latents."""
        only_group(self, group)
        self.encoders.trim(width)
        self.allowed = self.allowed[..., :width].clone()
        for parameter in (self.mask, self.heads.columns):
            parameter.data = parameter.data[..., :width].clone()

    def forward(self, X: torch.Tensor, step_weights: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n_groups, n_samples, n_outputs) of the heads."""
        return self.heads(self.encoders(X.flatten(0, 1)), step_weights, self.task_mask())

    def losses(
        self, outputs: torch.Tensor, truth: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the objective, sums over groups."""
        learns = truth["folds"] != self.held_out[:, None]
        weights = truth["weights"] * learns[:, :, None]
        losses = self.task_loss(outputs, truth["targets"])
        parts = {"task_loss": (losses * weights).mean(dim=(1, 2)).sum()}
        if self.gate_logits is not None and self.is_penalized:
            share = self.penalty.open_probability(self.gate_logits)
            parts["penalty_loss"] = (self.sparsity * share).sum()
        elif not self.training:
            # In training the proximal step minimizes the penalty, not the gradient.
            value = self.penalty.value(self.task_mask())
            parts["penalty_loss"] = (self.sparsity * value).sum()
        return parts


@torch.no_grad()
def only_group(module: nn.Module, group: int) -> None:
    """Keep one group of a grouped module: the first axis of its parameters and buffers."""
    for child in module.modules():
        if hasattr(child, "n_groups"):
            setattr(child, "n_groups", 1)  # noqa: B010 - a module's attributes are typed as tensors
    for parameter in module.parameters():
        parameter.data = parameter.data[group : group + 1].clone()
    for child in module.modules():
        for name in getattr(child, "grouped_buffers", ()):
            setattr(child, name, getattr(child, name)[group : group + 1].clone())


def to_double(array: np.ndarray) -> torch.Tensor:
    """Return a copy as a tensor in double precision."""
    return torch.from_numpy(np.array(array, dtype=np.float64))
