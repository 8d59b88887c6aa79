"""Functions of single positions, on (..., C) with channels last: normalization, concatenated ELUs, gates."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5
"""Added to the variance of a position's features."""


def positional_norm(x: Float[Tensor, "*shape C"]) -> Float[Tensor, "*shape C"]:
    """Return features with mean 0 and variance 1 over the channels of each position.

    The variance divides by the number of channels. The authors' program divides by one less: its checkpoints would
    have to be scaled for this one.

    Source: Thesis 2.5; positional normalization, arXiv:1907.04312.
    """
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON)


class _ConcatELU(torch.autograd.Function):
    """ELU(x) = max(x, e) and ELU(-x) = max(-x, e) of one e = exp(-|x|) - 1; slopes are min(ELU, 0) + 1."""

    @staticmethod
    def forward(ctx, x: Float[Tensor, "*shape C"]) -> Float[Tensor, "*shape 2*C"]:
        e = x.abs().neg_()
        e = e.exp_().sub_(1.0) if x.dtype == torch.bfloat16 else e.expm1_()  # which is slow in bfloat16
        y = torch.cat((torch.maximum(x, e), torch.maximum(-x, e)), -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, slope: Float[Tensor, "*shape _"]) -> Float[Tensor, "*shape C"]:
        (y,) = ctx.saved_tensors
        plus, minus = torch.addcmul(slope, slope, y.clamp(max=0.0)).chunk(2, -1)
        return plus - minus


def concat_elu(x: Float[Tensor, "*shape C"]) -> Float[Tensor, "*shape 2*C"]:
    """Return ELU(x) and ELU(-x) one after the other."""
    if torch.compiler.is_exporting():  # the formula itself: three operators in a graph where the fast one leaves eight
        return F.elu(torch.cat((x, -x), -1))
    return _ConcatELU.apply(x)


def gate(stream: Float[Tensor, "*shape C"], outputs: Float[Tensor, "*shape 2*C"]) -> Float[Tensor, "*shape C"]:
    """Return stream + PONO(a) sigmoid(b), where `outputs` (..., 2 C) is a and b one after the other."""
    a, b = outputs.chunk(2, -1)
    return stream + positional_norm(a) * torch.sigmoid(b)
