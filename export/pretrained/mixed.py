"""Networks whose products run in half precision while normalizations and softmax stay in float32.

TensorRT is strongly typed: what a network computes in is in its graph. So precision is settled here, on the PyTorch
module that is traced: its weights are cast, its normalizations keep float32 weights and cast around themselves, and its
attention takes the softmax in float32. Half-precision ViTs and U-Nets lose accuracy there and nowhere else.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.engines.twins.vit import attend

PRECISIONS = ("float16", "bfloat16", "float32")
"""What products may be computed and weights stored in."""


def dtype_of(precision: str) -> torch.dtype:
    """Return PyTorch's type of one of `PRECISIONS`."""
    return {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}[precision]


class GroupNormInFloat32(nn.GroupNorm):
    """A group normalization of half-precision features, computed in float32."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized features, of the input's type."""
        wide = F.group_norm(input.float(), self.num_groups, self.weight, self.bias, self.eps)
        return wide.to(input.dtype)


class LayerNormInFloat32(nn.LayerNorm):
    """A layer normalization of half-precision features, computed in float32."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized features, of the input's type."""
        wide = F.layer_norm(input.float(), self.normalized_shape, self.weight, self.bias, self.eps)
        return wide.to(input.dtype)


_WIDE: dict[type[nn.Module], type[nn.Module]] = {nn.GroupNorm: GroupNormInFloat32, nn.LayerNorm: LayerNormInFloat32}


def widen_norms(module: nn.Module) -> set[str]:
    """Make a module's normalizations compute in float32; return the names of their parameters."""
    names = set()
    for prefix, part in module.named_modules():
        for kind, wide in _WIDE.items():
            if isinstance(part, kind):
                if type(part) is kind:
                    part.__class__ = wide
                names |= {f"{prefix}.{name}" for name, _ in part.named_parameters(recurse=False)}
    return names


class WideSoftmax:
    """An attention processor of diffusers, for the attention blocks of Stable Diffusion's U-Nets."""

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the block's output, (B, N, C), of features (B, N, C) and a context (B, M, D)."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        parts = (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in parts)
        mixed = attend(query, key, value, upcast=bool(attn.upcast_attention))
        return attn.to_out[0](mixed.transpose(1, 2).flatten(2))
