"""Modules that are stored as plain values and NumPy arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# A copy takes over the mode; everything else that each torch module has is made anew.
INHERITED = frozenset(vars(nn.Module())) - {"training"}


class Portable(nn.Module):
    """A module whose state, pickled or copied, has no tensors.

    What was trained on a GPU can then be loaded where there is none, and by readers that
    run no code from the file. Loading draws no random numbers. Hooks are not kept.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Return attributes, submodules, and parameters and buffers as arrays."""
        return {
            "attributes": {name: v for name, v in vars(self).items() if name not in INHERITED},
            "modules": dict(self._modules),
            "parameters": {
                name: None if p is None else (_array(p), p.requires_grad)
                for name, p in self._parameters.items()
            },
            "buffers": {name: _array(b) for name, b in self._buffers.items() if b is not None},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the module of this state, on the CPU."""
        super().__init__()
        vars(self).update(state["attributes"])
        for name, module in state["modules"].items():
            self.register_module(name, module)
        for name, saved in state["parameters"].items():
            parameter = None if saved is None else nn.Parameter(torch.tensor(saved[0]), saved[1])
            self.register_parameter(name, parameter)
        for name, array in state["buffers"].items():
            self.register_buffer(name, torch.tensor(array))


class Weights(Portable, nn.ParameterList):
    """Parameters one after the other."""


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().numpy()
