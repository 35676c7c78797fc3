"""The skorch net of the bottlenecks: flat parameters, and gradients in closed form.

The networks are small: an update takes most of its time in calls, in the graph of automatic
differentiation, and in new memory. Here one update is some forty calls into
buffers that are allocated once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from skorch.utils import TeeGenerator, to_tensor
from torch import nn
from torch.nn import functional

from .layers import LEARNS_FROM_ALL, SLOPE, Bottlenecks

BATCH_EVENTS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
ALIGNMENT = 16  # numbers; views that begin at a multiple are aligned as new tensors are
# Adam divides the gradient of the mask by its root mean square plus this. Entries that the
# task ignores have next to no gradient: with Adam's own 1e-8 their steps would be so large
# that one proximal step removed them for good.
MASK_EPSILON = 1e-3
WEIGHT_DECAY = 1e-2  # the default of AdamW
# Learning rate of a mask with a penalty, in those of the weights. Few samples make few updates:
# at one rate the penalty moves entries a tenth of their way, and masks stay dense. At ten times
# the rate single entries of irrelevant columns came back in a selection by linear heads.
MASK_LR_FACTOR = 5.0


class SpecialistNet(NeuralNet):
    """Skorch net of a module that computes its own losses, with a proximal step on its mask.

    A module returns from ``losses(forward, targets)`` a dictionary whose sum is the
    objective. Ctrl-C is raised: skorch would return a half-trained net.

    Parameters
    ----------
    n_warmup_steps : int, default=0
        Number of steps before the first proximal step.
    **kwargs : dict
        Parameters of :class:`skorch.NeuralNet`.

    Attributes
    ----------
    n_epochs_left_ : int
        Number of epochs to run, at the begin of training.
    n_steps_ : int
        Number of gradient steps so far.
    travel_ : float
        Sum over steps of the distance by which the penalty alone could have moved the mask
        entry with the largest step size.
    """

    def __init__(self, module: Any, *, n_warmup_steps: int = 0, **kwargs: Any) -> None:
        self.n_warmup_steps = n_warmup_steps
        super().__init__(module, criterion=nn.Identity, **kwargs)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> Self:
        """Train; an interrupt is raised, unless it is skorch's way of stopping early."""
        if not self.initialized_:
            self.initialize()
        self.n_steps_, self.travel_, self.n_epochs_left_ = 0, 0.0, self.max_epochs
        self.listeners_ = {
            event: [
                callback
                for _, callback in self.callbacks_
                if getattr(type(callback), event, None) is not getattr(Callback, event)
            ]
            for event in BATCH_EVENTS
        }
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, epochs=self.n_epochs_left_, **fit_params)
        except KeyboardInterrupt:
            if not self._stopped_early():
                raise
        self.notify("on_train_end", X=X, y=y)
        return self

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call the callbacks; of events of a batch, only those that listen to them."""
        if method_name not in BATCH_EVENTS:
            super().notify(method_name, **kwargs)
            return
        getattr(self, method_name)(self, **kwargs)
        for callback in self.listeners_[method_name]:
            getattr(callback, method_name)(self, **kwargs)

    def _stopped_early(self) -> bool:
        return any(
            isinstance(callback, EarlyStopping) and callback.misses_ == callback.patience
            for _, callback in self.callbacks_
        )

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Self:
        """Flatten the parameters, and give the mask a group of its own, without weight decay."""
        named = {name: p for name, p in self.module_.named_parameters() if p.requires_grad}
        mask, gates = named.pop("mask", None), named.pop("gate_logits", None)
        self.has_penalty_ = bool(torch.any(getattr(self.module_, "sparsity", torch.zeros(0))))
        starts = getattr(self.module_, "undecayed", ())  # of the names of parameters
        free = [named.pop(n) for n in list(named) if n.rpartition(".")[2].startswith(starts)]
        groups: list[dict[str, Any]] = [{"params": [flatten_parameters(list(named.values()))]}]
        groups[0]["weight_decay"] = getattr(self.module_, "weight_decay", WEIGHT_DECAY)
        if free:
            groups.append({"params": [flatten_parameters(free)], "weight_decay": 0.0})
        if gates is not None:
            # Not flat, since they have no gradient, and take no step, in the warm-up.
            groups.append({"params": [gates], "weight_decay": 0.0})
        if mask is not None:
            groups.append({"params": [flatten_parameters([mask])], "weight_decay": 0.0})
            # A penalty on gates takes no entry of the mask to zero, however fast it moves.
            factor = MASK_LR_FACTOR if self.has_penalty_ and gates is None else 1.0
            groups[-1] |= {"eps": MASK_EPSILON, "lr_factor": factor}
        self.optimizer_ = FlatAdamW(groups, self.lr)
        covered = ClosedForm.covers(self.module_)
        self.closed_form_ = ClosedForm(self.module_) if covered else None
        return self

    def _zero_grad_optimizer(self, set_to_none: bool | None = None) -> None:
        """Set the gradients to zero, where they are views of a flat one, else to None."""
        gates = getattr(self.module_, "gate_logits", None)
        for group in self.optimizer_.param_groups:
            for parameter in group["params"]:
                if gates is not None and parameter is gates:
                    parameter.grad = None
                else:
                    _gradient(parameter).zero_()

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """Return the objective, and record its parts."""
        parts = self.module_.losses(y_pred, to_tensor(y_true, device=self.device))
        kind = "train" if training else "valid"
        for name, value in parts.items():
            self.history.record_batch(f"{kind}_{name}", value.item())
        return sum(parts.values())

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Take a gradient step, then a proximal one on the mask."""
        has_mask = hasattr(self.module_, "mask")
        if has_mask:
            self.module_.is_penalized = self.n_steps_ >= self.n_warmup_steps
        if self.closed_form_ is None:
            result = super().train_step(batch, **fit_params)
        else:
            result = self._closed_form_step(*batch)
        self.n_steps_ += 1
        if has_mask:
            self._proximal_step()
        return result

    def _closed_form_step(
        self, inputs: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Take a gradient step as ``train_step`` of skorch does, without its graph."""
        assert self.closed_form_ is not None
        if not self.module_.training:
            self.module_.train()
        if self.device != "cpu":
            inputs, truth = to_tensor((inputs, truth), device=self.device)
        loss, outputs = self.closed_form_(inputs["X"], inputs["step_weights"], truth)
        self.history.record_batch("train_task_loss", loss.item())
        named = TeeGenerator(self.get_all_learnable_params())
        self.notify("on_grad_computed", named_parameters=named, batch=(inputs, truth))
        self.optimizer_.step()
        return {"loss": loss, "y_pred": outputs}

    @torch.no_grad()
    def _proximal_step(self) -> None:
        module, group = self.module_, self.optimizer_.param_groups[-1]
        mask = module.mask
        if not module.is_penalized or not self.has_penalty_ or not mask.numel():
            # At exactly zero the column of a latent has no gradient: as long as nothing is
            # penalized, entries stay positive, so that they can grow again.
            mask.clamp_(min=MASK_EPSILON).mul_(module.allowed)
            return
        # Proximal gradient in the metric of Adam (Yun, Lozano and Yang 2021, algorithm 1):
        # the step size of an entry is lr / (sqrt(v_t) + eps) with the bias-corrected second
        # moment v_t. A proximal step of size lr alone would be orders of magnitude smaller
        # than Adam's own steps, and no entry would ever reach zero.
        state = self.optimizer_.state[group["params"][0]]
        bias = 1 - group["betas"][1] ** float(state["step"])
        moment = state["exp_avg_sq"][: mask.numel()].view(mask.shape)
        step = group["lr"] * group["lr_factor"] / ((moment / bias).sqrt() + group["eps"])
        step = step * module.sparsity[:, None, None]
        mask.copy_(module.penalty.prox(mask * module.allowed, step))
        self.travel_ += float((step * (mask > 0)).max()) / mask.shape[1]


class FlatAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) of few long parameters.

    The step of torch's own, for any parameters on any devices, takes longer than its arithmetic.

    Parameters
    ----------
    groups : list of dict
        Parameters, and options that differ from the defaults.
    lr : float
        Learning rate.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float) -> None:
        defaults = {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": WEIGHT_DECAY}
        defaults["lr_factor"] = 1.0  # the schedule sets one rate for all groups
        super().__init__(groups, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, without torch's decorator, which imports its compiler for a second."""
        add = torch.optim.Optimizer.add_param_group
        getattr(add, "__wrapped__", add)(self, param_group)

    def step(self, closure: Any = None) -> Any:
        """Take a step with all parameters that have a gradient."""
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._update(parameter, parameter.grad, group)
        return loss

    # Torch would wrap the method into its profiler, at a cost of a tenth of an update.
    step.hooked = True  # type: ignore[attr-defined]

    def _update(
        self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]
    ) -> None:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        # Both moments are divided by the sum of their weights so far, 1 - beta ** step.
        scale = square.sqrt().div_((1 - beta2 ** state["step"]) ** 0.5).add_(group["eps"])
        lr = group["lr"] * group["lr_factor"]
        parameter.mul_(1 - lr * group["weight_decay"])
        parameter.addcdiv_(mean, scale, value=-lr / (1 - beta1 ** state["step"]))


def flatten_parameters(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """Return one parameter whose values and gradient are those of all the given ones.

    They become views of it, so that an optimizer takes one step instead of many.
    """
    sizes = [-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters]
    example = parameters[0]
    flat = nn.Parameter(torch.zeros(sum(sizes), dtype=example.dtype, device=example.device))
    flat.grad = torch.zeros_like(flat)
    places = zip(parameters, flat.data.split(sizes), flat.grad.split(sizes), strict=True)
    for parameter, values, gradient in places:
        values[: parameter.numel()].copy_(parameter.data.flatten())
        parameter.data = values[: parameter.numel()].view(parameter.shape)
        parameter.grad = gradient[: parameter.numel()].view(parameter.shape)
    return flat


class ClosedForm:
    """Objective of a batch, and its gradients.

    The formulas are those of backpropagation through ``Bottlenecks.forward`` in training, layer
    by layer from the last; automatic differentiation gives the same numbers.

    Parameters
    ----------
    module : Bottlenecks
        Its parameters that are trained have a ``grad``, which is overwritten.
    """

    def __init__(self, module: Bottlenecks) -> None:
        self.module = module
        self.learns_from_all = bool((module.held_out == LEARNS_FROM_ALL).all())
        self.has_noise = bool(module.encoders.noise.any())
        # Entries of mean square one, see ``MaskedHeads.first_layer``.
        heads = module.heads
        self.allowed = module.allowed if heads.linear else module.allowed * heads.units**0.5
        layers = module.encoders.layers
        self.layers = (
            []
            if layers is None
            else list(zip(*map(layers.parameter_list, ("weight", "bias")), strict=True))
        )
        self.inner = module.heads.parameter_list("inner")
        self._buffers: dict[tuple[Any, ...], torch.Tensor] = {}
        self._shared: torch.Tensor | None = None

    @staticmethod
    def covers(module: Any) -> bool:
        """Return whether the gradients of a module are known: not those of random gates."""
        return (
            isinstance(module, Bottlenecks)
            and module.gate_logits is None
            and module.mask.numel() > 0
            and hasattr(module.task_loss, "gradient")
        )

    @torch.no_grad()
    def __call__(
        self, X: torch.Tensor, step_weights: torch.Tensor, truth: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the task loss and the outputs of a batch, and overwrite the gradients."""
        heads = self.module.heads
        latents = self._encode(X.flatten(0, 1))
        outputs = self._forward_heads(latents, step_weights)
        weights = truth["weights"].T.expand(heads.n_groups, -1, -1)
        if not self.learns_from_all:
            learns = truth["folds"] != self.module.held_out[:, None]
            weights = weights * learns[:, None]
        # The mean over samples and tasks, as in ``Bottlenecks.losses``.
        weights = weights * (1.0 / (len(X) * heads.n_tasks))
        loss, gradient = self.module.task_loss.gradient(outputs, truth["targets"], weights)
        gradient = self._backward_heads(gradient, latents)
        if self.layers:
            self._backward_encoders(gradient, latents)
        return loss, outputs.transpose(1, 2).flatten(2)[..., heads.outputs]

    def _buffer(self, name: str, *shape: int, device: str | None = None) -> torch.Tensor:
        """Return memory of this shape, the same at each call; by default on the module's device."""
        found = self._buffers.get((name, shape))
        if found is None:
            like = self.module.mask
            found = self._buffers[name, shape] = torch.empty(
                shape, dtype=like.dtype, device=device or like.device
            )
        return found

    def _encode(self, rows: torch.Tensor) -> torch.Tensor:
        encoders = self.module.encoders
        n_groups, n_rows = encoders.n_groups, len(rows)
        if not self.layers:
            return rows[:, : encoders.n_latents].expand(n_groups, -1, -1)
        if self.has_noise:
            # Random numbers are those of the CPU, so that they are the same on all devices.
            draws = self._buffer("noise", *rows.shape, device="cpu").normal_().to(rows.device)
            hidden = torch.mul(
                encoders.noise, draws, out=self._buffer("rows", n_groups, *rows.shape)
            )
            hidden += rows
        else:
            hidden = rows.expand(n_groups, *rows.shape)
        self.inputs = [hidden]  # of each layer
        for index, (weight, bias) in enumerate(self.layers):
            out = self._buffer(f"layer{index}", n_groups, n_rows, weight.shape[2])
            hidden = torch.baddbmm(bias, hidden, weight, out=out)
            if index < len(self.layers) - 1:
                functional.leaky_relu_(hidden, SLOPE)
                self.inputs.append(hidden)
        variance, mean = torch.var_mean(hidden, dim=1, correction=0, keepdim=True)
        self.scale = torch.rsqrt(variance + torch.finfo(torch.float32).eps)
        return hidden.sub_(mean).mul_(self.scale)

    def _backward_encoders(self, gradient: torch.Tensor, latents: torch.Tensor) -> None:
        """Overwrite the gradients of the encoders, given that of the latents."""
        # Batch normalization (Ioffe and Szegedy 2015, section 3): the gradient of the raw
        # latents has neither a mean nor a part along the latents.
        along = (gradient * latents).mean(dim=1, keepdim=True)
        gradient = gradient - gradient.mean(dim=1, keepdim=True)
        gradient = gradient.sub_(latents * along).mul_(self.scale)
        for index in reversed(range(len(self.layers))):
            (weight, bias), inputs = self.layers[index], self.inputs[index]
            torch.bmm(inputs.mT, gradient, out=weight.grad)
            torch.sum(gradient, dim=1, keepdim=True, out=bias.grad)
            if index > 0:
                out = self._buffer(f"gradient{index}", *inputs.shape)
                gradient = _rectify(torch.bmm(gradient, weight.mT, out=out), inputs)

    def _forward_heads(self, latents: torch.Tensor, step_weights: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n_groups, n_tasks, n_samples, width), padded.

        Hidden units are rows here, and steps columns: the first layers of all heads are one
        product, of which the units of a head are adjacent.
        """
        module, heads = self.module, self.module.heads
        n_groups, n_rows, width = latents.shape
        n_heads, units = n_groups * heads.n_tasks, heads.units
        # The first layer is a column of fixed norm times an entry of the mask.
        self.norms = heads.columns.norm(dim=2, keepdim=True).clamp_(min=1e-12)
        self.directions = heads.columns / self.norms
        self.entries = (module.mask * self.allowed)[:, :, None]
        self.first = (self.directions * self.entries).view(n_groups, -1, width)
        out = self._buffer("hidden0", n_groups, heads.n_tasks * units, n_rows)
        bias = heads.bias.view(n_groups, -1, 1)
        hidden = torch.baddbmm(bias, self.first, latents.mT, out=out).view(n_heads, units, n_rows)
        self.hidden, self.out = [hidden], heads.out.view(n_heads, units, -1)
        if heads.linear:
            self.out_norms = self.out.norm(dim=1, keepdim=True).clamp_(min=1e-12)
            self.out = self.out / self.out_norms
        else:
            functional.leaky_relu_(hidden, SLOPE)
            for index, layer in enumerate(self.inner):
                weight = layer.view(n_heads, units + 1, units).mT
                out = self._buffer(f"hidden{index + 1}", n_heads, units, n_rows)
                hidden = torch.baddbmm(weight[..., -1:], weight[..., :-1], hidden, out=out)
                self.hidden.append(functional.leaky_relu_(hidden, SLOPE))
        n_outputs = self.out.shape[2]
        outputs = torch.bmm(
            self.out.mT, hidden, out=self._buffer("out", n_heads, n_outputs, n_rows)
        )
        outputs = outputs.view(n_groups, heads.n_tasks, n_outputs, n_rows).mT
        outputs += heads.step_bias[:, :, None]
        # Of each step in each task, (n_groups or 1, n_tasks, n_samples or 1, n_timesteps, 1).
        self.given = self._step_weights(step_weights)
        weights = self.given
        if heads.importance is not None and step_weights.shape[1] > 1:
            weights = weights * heads.step_importance()[:, :, None]
        self.weights = weights[..., None]
        self.steps = outputs.unflatten(2, step_weights.shape[:2])
        if step_weights.shape[1] == 1:
            summed = self.steps[:, :, :, 0] * self.weights[:, :, :, 0]
        else:
            summed = (self.steps * self.weights).sum(dim=3)
        return summed.add_(heads.intercept[:, :, None])

    def _step_weights(self, step_weights: torch.Tensor) -> torch.Tensor:
        """Return weights (1, n_tasks, n_samples or 1, n_timesteps); shared ones are kept."""
        scale = self.module.heads.step_scale
        if step_weights.stride(0) != 0:
            return (step_weights / scale).permute(2, 0, 1)[None]
        if self._shared is None:
            self._shared = (step_weights[:1] / scale).permute(2, 0, 1)[None]
        return self._shared

    def _backward_heads(self, gradient: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Overwrite the gradients of the heads; return that of the latents."""
        heads = self.module.heads
        (n_groups, n_rows, _), units = latents.shape, heads.units
        n_heads = n_groups * heads.n_tasks
        if heads.intercept.requires_grad:
            torch.sum(gradient, dim=2, out=heads.intercept.grad)
        if heads.importance is not None:
            self._backward_importance(gradient)
        outputs = (gradient[:, :, :, None] * self.weights).flatten(2, 3)
        torch.sum(outputs, dim=2, out=heads.step_bias.grad)
        outputs = outputs.view(n_heads, n_rows, -1)
        of_out = torch.bmm(self.hidden[-1], outputs)
        if heads.linear:
            of_out = (of_out - self.out * _dot(of_out, self.out, dim=1)) / self.out_norms
        _gradient(heads.out).copy_(of_out.view(heads.out.shape))
        out = self._buffer("gradient", n_heads, units, n_rows)
        hidden = torch.bmm(self.out, outputs.mT, out=out)
        if not heads.linear:
            hidden = _rectify(hidden, self.hidden[-1])
            for index in reversed(range(len(self.inner))):
                layer, inputs = self.inner[index], self.hidden[index]
                of_layer = _gradient(layer).view(n_heads, units + 1, units)
                torch.bmm(inputs, hidden.mT, out=of_layer[:, :-1])
                torch.sum(hidden, dim=2, out=of_layer[:, -1])
                weight = layer.view(n_heads, units + 1, units)[:, :-1]
                out = self._buffer(f"gradient_hidden{index}", n_heads, units, n_rows)
                hidden = _rectify(torch.bmm(weight, hidden, out=out), inputs)
        hidden = hidden.view(n_groups, -1, n_rows)
        if heads.bias.requires_grad:
            torch.sum(hidden, dim=2, out=_gradient(heads.bias).view(n_groups, -1))
        of_first = torch.bmm(hidden, latents).view(heads.columns.shape)
        # Only the part across a direction changes it; the part along it is that of the mask.
        along = _dot(of_first, self.directions, dim=2)
        torch.mul(along[:, :, 0], self.allowed, out=self.module.mask.grad)
        of_first = of_first.sub_(self.directions * along).mul_(self.entries)
        torch.div(of_first, self.norms, out=heads.columns.grad)
        return torch.bmm(hidden.mT, self.first)

    def _backward_importance(self, gradient: torch.Tensor) -> None:
        """Overwrite the gradient of the importance of the steps."""
        heads = self.module.heads
        assert heads.importance is not None
        if self.steps.shape[3] == 1:
            _gradient(heads.importance).zero_()
            return
        raw, steps, tiny = heads.importance, heads.steps, torch.finfo(torch.float32).tiny
        # The factors are raw * sqrt(a / b) with b the sum of squares of steps * raw.
        given = steps.square().sum(dim=1, keepdim=True).clamp(min=tiny)
        learned = (steps * raw).square().sum(dim=2, keepdim=True).clamp(min=tiny)
        of_factors = ((gradient[:, :, :, None] * self.steps).sum(dim=4) * self.given).sum(dim=2)
        along = _dot(of_factors, raw, dim=2) / learned
        of_raw = (of_factors - steps.square() * raw * along) * (given / learned).sqrt()
        _gradient(heads.importance).copy_(of_raw)


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _rectify(gradient: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Multiply a gradient, in place, by the slope of the rectifiers that gave ``outputs``."""
    backward = torch.ops.aten.leaky_relu_backward.grad_input
    backward(gradient, outputs, SLOPE, True, grad_input=gradient)
    return gradient


def _dot(first: torch.Tensor, second: torch.Tensor, dim: int) -> torch.Tensor:
    return (first * second).sum(dim=dim, keepdim=True)
