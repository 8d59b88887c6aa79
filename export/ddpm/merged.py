"""The same function of a trained network in fewer multiplications: products of its weights are computed beforehand.

Attention of one head needs two projections in place of four, a convolution behind an upsampling works on the small map,
and what the blocks add for the time is one product. All are identities of real numbers, so outputs differ by rounding
alone. Training stays with the plain network, whose weights are those of other code.
"""

from collections.abc import Sequence
from copy import deepcopy
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from train.ddpm.network import Attention, PixelDenoiser, ResidualBlock, Upsample


def merge(network: PixelDenoiser) -> nn.Module:
    """Return a copy of a network with its layers merged; the original is left as it is.

    Args:
        network: in evaluation mode.
    """
    copy = deepcopy(network)
    blocks = [module for module in copy.modules() if isinstance(module, ResidualBlock)]
    ends = [0, *accumulate(block.time_emb_proj.out_features for block in blocks)]
    places = {block: slice(*ends_of) for block, ends_of in zip(blocks, pairwise(ends), strict=True)}
    copy.add_module("time_embedding", Shifts(copy.time_embedding, [block.time_emb_proj for block in blocks]))
    for module in [*copy.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, Attention):
                setattr(module, name, MergedAttention(child))
            elif isinstance(child, Upsample):
                setattr(module, name, PhasedUpsample(child))
            elif isinstance(child, ResidualBlock):
                setattr(module, name, ShiftedBlock(child, places[child]))
    return copy.eval().requires_grad_(False)


class MergedAttention(nn.Module):
    """Self-attention of one head with two projections: one for the queries, one for the values.

    With the keys K x + b, the logits of query i and key j are q_i . (K x_j + b) = (K^T q_i) . x_j + q_i . b. The last
    term is the same for all keys, so softmax does not see it, and x itself serves as the keys. The weights of a query
    sum to 1, so the layer behind the sum may come before it: O (sum_j w_ij (V x_j + c)) + o is the sum over j of
    w_ij (O V x_j + O c + o). The norm's own factors and shifts are a layer as well, which the projections take in.
    """

    def __init__(self, attention: Attention) -> None:
        """Multiply the weights out, in float64: products of float32 would round twice."""
        super().__init__()
        norm = attention.group_norm
        self.norm = nn.GroupNorm(norm.num_groups, norm.num_channels, norm.eps, affine=False)
        channels = norm.num_channels
        gamma, beta = norm.weight.double(), norm.bias.double()
        (q, a), (k, _), (v, c), (o, d) = (
            (layer.weight.double(), layer.bias.double())
            for layer in (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0])
            if isinstance(layer, nn.Linear)
        )
        keys = gamma[:, None] * k.T * channels**-0.5
        weights = torch.cat((keys @ q * gamma, o @ v * gamma))
        biases = torch.cat((keys @ (q @ beta + a), o @ (v @ beta + c) + d))
        self.project = nn.Conv2d(channels, 2 * channels, 1)
        self.project.weight.data = weights[:, :, None, None].float()
        self.project.bias = nn.Parameter(biases.float())

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Return the features, those of the input added."""
        keys = self.norm(x)
        queries, values = self.project(keys).flatten(2).chunk(2, 1)
        weights = torch.softmax(queries.transpose(1, 2) @ keys.flatten(2), dim=-1)
        return x + (values @ weights.transpose(1, 2)).reshape(x.shape)


class PhasedUpsample(nn.Module):
    """A 3x3 convolution of a map whose positions are repeated twice along both sides, as four of 2x2 on the map itself.

    Of the three rows that an output sees, two are the same row of the small map: the first two for odd outputs, the
    last two for even ones. Their weights add up, likewise those of columns, which leaves 4 x 4 products a position of
    the small map in place of 4 x 9.
    """

    def __init__(self, upsample: Upsample) -> None:
        """Add the weights up."""
        super().__init__()
        conv = upsample.conv
        kernel = conv.weight.double()
        self.convs = nn.ModuleList()
        for rows in _SUMS:
            for columns in _SUMS:
                phase = nn.Conv2d(conv.in_channels, conv.out_channels, 2)
                phase.weight.data = torch.einsum("ai,ocij,bj->ocab", rows, kernel, columns).float().contiguous()
                phase.bias = conv.bias
                self.convs.append(phase)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C _ _"]:
        """Return features at twice the resolution."""
        # even outputs see the position before theirs, odd ones the position behind
        pads = [(1 - right, right, 1 - below, below) for below in (0, 1) for right in (0, 1)]
        phases = [conv(functional.pad(x, pad)) for conv, pad in zip(self.convs, pads, strict=True)]
        return functional.pixel_shuffle(torch.stack(phases, 2).flatten(1, 2), 2)


class Shifts(nn.Module):
    """What all residual blocks add for a time, one behind the other, by one layer."""

    def __init__(self, embedding: nn.Module, layers: Sequence[nn.Linear]) -> None:
        """Put the blocks' layers together; `embedding` is of times."""
        super().__init__()
        self.embedding = embedding
        weight = torch.cat([layer.weight for layer in layers]).detach()
        self.project = nn.Linear(weight.shape[1], len(weight))
        self.project.weight.data = weight
        self.project.bias.data = torch.cat([layer.bias for layer in layers]).detach()

    def forward(self, values: Float[Tensor, "B C"]) -> Float[Tensor, "B S"]:
        """Return the shifts of times, whose sinusoids are given."""
        return self.project(functional.silu(self.embedding(values)))


class ShiftedBlock(nn.Module):
    """A residual block to which its shift is given among those of all blocks."""

    def __init__(self, block: ResidualBlock, place: slice) -> None:
        """Take over the layers."""
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = block.norm1, block.conv1, block.norm2, block.conv2
        self.conv_shortcut = block.conv_shortcut
        self.place = place

    def forward(self, x: Float[Tensor, "B C h w"], shifts: Float[Tensor, "B S"]) -> Float[Tensor, "B _ h w"]:
        """Return the features, those of the input added."""
        y = self.conv1(functional.silu(self.norm1(x))) + shifts[:, self.place, None, None]
        y = self.conv2(functional.silu(self.norm2(y)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + y


_SUMS = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64)
"""For even and for odd outputs, which of the three weights belong to each of the two positions."""
