"""Attention whose heads can be removed, in place of torch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["HeadAttention", "Skip", "set_module", "with_open_heads"]


class HeadAttention(nn.Module):
    """Multi-head attention whose number of heads is independent of the width of its input.

    Parameters
    ----------
    attention : torch.nn.MultiheadAttention
        The module whose weights are taken; queries, keys and values have the same width.
    """

    # Torch's fused encoder layer, which would bypass this module, requires these.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, self.head_dim = attention.num_heads, attention.head_dim
        self.dropout, self.batch_first = attention.dropout, attention.batch_first
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        self.in_proj = nn.Linear(weight.shape[1], weight.shape[0], bias is not None).to(weight)
        self.in_proj.weight = weight
        if bias is not None:
            self.in_proj.bias = bias
        self.out_proj = nn.Linear(weight.shape[1], weight.shape[1]).to(weight)
        self.out_proj.weight = attention.out_proj.weight
        self.out_proj.bias = attention.out_proj.bias

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the attention and, if needed, its weights, as torch's own module does."""
        is_self = key is query and value is query
        batched = query.ndim == 3
        if not self.batch_first and batched:
            query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        if is_self:
            parts = self.in_proj(query).chunk(3, dim=-1)
        else:
            weights = self.in_proj.weight.chunk(3)
            biases = [None] * 3 if self.in_proj.bias is None else self.in_proj.bias.chunk(3)
            parts = tuple(map(functional.linear, (query, key, value), weights, biases))
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)).transpose(-2, -3) for part in parts)
        mask = self._mask(q, attn_mask, key_padding_mask)
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        output = self.out_proj(heads.transpose(-2, -3).flatten(-2))
        if not self.batch_first and batched:
            output = output.transpose(0, 1)
        if not need_weights:
            return output, None
        logits = q @ k.mT / self.head_dim**0.5
        attention = (logits if mask is None else logits + mask).softmax(dim=-1)
        return output, attention.mean(dim=-3) if average_attn_weights else attention

    @staticmethod
    def _mask(
        q: torch.Tensor, attn_mask: torch.Tensor | None, key_padding_mask: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Return both masks as one that is added to the logits."""
        total = None
        for mask in (attn_mask, key_padding_mask):
            if mask is None:
                continue
            if mask.dtype == torch.bool:
                mask = q.new_zeros(mask.shape).masked_fill(mask, -torch.inf)
            if mask is key_padding_mask or mask.ndim < 2 or mask.shape[-2] != q.shape[-2]:
                mask = mask[..., None, None, :]
            elif mask.ndim == 3:  # (n_rows * n_heads, ...)
                mask = mask.unflatten(0, (len(q), -1))
            total = mask if total is None else total + mask
        return total


class Skip(nn.Module):
    """A layer that returns its first input."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return ``x``."""
        return x


def with_open_heads(net: nn.Module) -> nn.Module:
    """Replace torch's attention modules, whose heads cannot be removed, by equal ones."""
    for name, child in list(net.named_modules()):
        is_plain = isinstance(child, nn.MultiheadAttention) and child._qkv_same_embed_dim
        if is_plain and child.bias_k is None and not child.add_zero_attn:
            set_module(net, name, HeadAttention(child))
    return net


def set_module(net: nn.Module, name: str, module: nn.Module) -> None:
    """Replace a part of a module by its name."""
    parent, _, attribute = name.rpartition(".")
    setattr(net.get_submodule(parent), attribute, module)
