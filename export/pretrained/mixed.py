"""Networks whose products run in half precision while normalizations and softmax stay in float32.

TensorRT is strongly typed: what a network computes in is in its graph. So precision is settled here, on the PyTorch
module that is traced: its weights are cast, its normalizations keep float32 weights and cast around themselves, and its
attention takes the softmax in float32. Half-precision ViTs and U-Nets lose accuracy there and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.engines.precision import Compute, Storage
from runtime.engines.twins.vit import attend

PRECISIONS: Mapping[Storage, tuple[torch.dtype, Compute]] = {
    Storage.FLOAT16: (torch.float16, Compute.FP16),
    Storage.BFLOAT16: (torch.bfloat16, Compute.BF16),
    Storage.FLOAT32: (torch.float32, Compute.MODEL),
}
"""What weights may be stored and products computed in: PyTorch's type, and what the products of the graph are then."""


def dtype_of(precision: Storage) -> torch.dtype:
    """Return PyTorch's type of one of `PRECISIONS`."""
    return PRECISIONS[precision][0]


def compute_of(precision: Storage) -> Compute:
    """Return the compute type of a network whose weights are stored in one of `PRECISIONS`."""
    return PRECISIONS[precision][1]


class GroupNormInFloat32(nn.GroupNorm):
    """A group normalization of half-precision features, computed in float32."""

    @classmethod
    def of(cls, norm: nn.GroupNorm) -> "GroupNormInFloat32":
        """Return one of the same sizes with the same parameters."""
        # On the meta device: the parameters are taken over from the other module, none are allocated.
        wide = cls(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta")
        wide.weight, wide.bias = norm.weight, norm.bias
        return wide

    def forward(self, input: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Return the normalized features, of the input's type."""
        # Sums of squares over a group overflow float16 at 65504, and lose small differences in bfloat16.
        wide = F.group_norm(input.float(), self.num_groups, self.weight, self.bias, self.eps)
        return wide.to(input.dtype)


class LayerNormInFloat32(nn.LayerNorm):
    """A layer normalization of half-precision features, computed in float32."""

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> "LayerNormInFloat32":
        """Return one of the same sizes with the same parameters."""
        # The factors stay float32 as well, since `fill` loads them so: nothing casts them in the graph.
        wide = cls(list(norm.normalized_shape), norm.eps, norm.elementwise_affine, norm.bias is not None, device="meta")
        wide.weight, wide.bias = norm.weight, norm.bias
        return wide

    def forward(self, input: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        """Return the normalized features, of the input's type."""
        wide = F.layer_norm(input.float(), self.normalized_shape, self.weight, self.bias, self.eps)
        return wide.to(input.dtype)


def widen_norms(module: nn.Module) -> set[str]:
    """Replace a module's normalizations by ones that compute in float32; return the names of their parameters."""
    names = set()
    # A list: the tree of modules changes while its parts are replaced.
    for prefix, part in list(module.named_modules()):
        if not isinstance(part, nn.GroupNorm | nn.LayerNorm):
            continue
        # Of subclasses, too: whatever their forward, their parameters are those of a normalization.
        names |= {f"{prefix}.{name}" for name, _ in part.named_parameters(recurse=False)}
        # Exactly these types: a subclass has a forward of its own, which may be wide already or mean something else.
        parent, _, name = prefix.rpartition(".")
        if type(part) is nn.GroupNorm:
            setattr(module.get_submodule(parent), name, GroupNormInFloat32.of(part))
        elif type(part) is nn.LayerNorm:
            setattr(module.get_submodule(parent), name, LayerNormInFloat32.of(part))
    return names


class WideSoftmax:
    """An attention processor of diffusers, for the attention blocks of Stable Diffusion's U-Nets."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "B N C"],
        encoder_hidden_states: Float[Tensor, "B M D"] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Float[Tensor, "B N C"]:
        """Return the block's output of features and a context; without one the features attend to themselves."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        # Diffusers' own processors end in the fused attention, which the exporter may write with its softmax in half.
        parts = (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in parts)
        mixed = attend(query, key, value, upcast=bool(attn.upcast_attention))
        # The second part of `to_out` is dropout, which a frozen network has no use for.
        return attn.to_out[0](mixed.transpose(1, 2).flatten(2))
