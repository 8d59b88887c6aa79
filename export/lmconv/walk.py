"""The LMConv network as the sampler takes it: the same stages over rows of positions instead of pictures.

A masked convolution at one position is a product of two matrices: the one of its neighbours, gathered by index, and the
one of its own features. Positions are rows of a table whose row 0 is zero; a tap that its mask hides, or that reads
padding, points there. Both networks hold the matrices in one layout, so that a bundle stores them once.

`Prefill`   all positions of a set at once, in parallel: what is observed.
`Step`      one position, its neighbours' features from caches, one for each stage.

Notation: B pictures, P positions, R rows of a cache, T taps but the centre, C_i input channels of stage i.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from train.lmconv.layer import LocallyMaskedConv2d
from train.lmconv.network import Architecture, LocallyMaskedPixelCNN, State


class PositionConv(nn.Module):
    """A locally masked convolution at single positions.

    Args:
        conv: the convolution whose weights it takes.
    """

    def __init__(self, conv: LocallyMaskedConv2d) -> None:
        """Lay the weights out as matrices, neighbours (T C_in, C_out) tap by tap, and centre (C_in, C_out)."""
        super().__init__()
        weight, middle = conv.weight.detach().flatten(2), conv.kernel**2 // 2
        around = [tap for tap in range(conv.kernel**2) if tap != middle]
        # Contiguous in the order in which features are gathered: one matrix product, with no transposition in the
        # graph.
        self.neighbours = nn.Parameter(weight[:, :, around].permute(2, 1, 0).flatten(0, 1).contiguous())
        self.centre = None if conv.first else nn.Parameter(weight[:, :, middle].T.contiguous())
        self.bias, self.bits = nn.Parameter(conv.bias.detach().clone()), None
        if conv.mask_weight is not None:
            mask_weight = conv.mask_weight.detach()
            self.bits = nn.Parameter(mask_weight[:, around].T.contiguous())
            if not conv.first:
                self.bias.data += mask_weight[:, middle]  # its own features are never hidden

    def forward(
        self, neighbours: Float[Tensor, "n _"], own: Float[Tensor, "n C"], live: Float[Tensor, "_ T"]
    ) -> Float[Tensor, "n D"]:
        """Return the outputs of n positions.

        Args:
            neighbours: features of the taps' positions, tap by tap, zero where they are hidden.
            own: features of the positions themselves.
            live: 0 and 1: which taps are not hidden.
        """
        y = torch.addmm(self.bias, neighbours, self.neighbours)
        if self.bits is not None:
            y = y + live @ self.bits
        return y if self.centre is None else torch.addmm(y, own, self.centre)


class Walk(nn.Module):
    """What both networks have in common: the network's stages with their convolutions at positions.

    Args:
        network: the trained network.
    """

    def __init__(self, network: LocallyMaskedPixelCNN) -> None:
        """Take the network's weights."""
        super().__init__()
        self.network = network
        self.convs = nn.ModuleList(PositionConv(stage.conv) for stage in network.stages)

    @property
    def architecture(self) -> Architecture:
        """What the network was made from."""
        return self.network.architecture

    @property
    def taps(self) -> int:
        """Taps of a kernel but its centre."""
        return self.architecture.kernel**2 - 1

    @property
    def dilations(self) -> list[int]:
        """Dilations of the stages, each once, ascending: for each there is a table of taps."""
        return sorted({stage.conv.dilation for stage in self.network.stages})

    @property
    def widths(self) -> list[int]:
        """Input channels of each stage."""
        return [stage.conv.weight.shape[1] for stage in self.network.stages]

    def _by_dilation(self, taps: tuple[Tensor, ...]) -> dict[int, tuple[Tensor, Tensor]]:
        """Return for each dilation its taps' rows and which of them are live, as numbers."""
        return {d: (t, (t > 0).float()) for d, t in zip(self.dilations, taps, strict=True)}


class Prefill(Walk):
    """All stages at every position of a set, in parallel."""

    def forward(
        self, picture: Float[Tensor, "B P channels"], *taps: Int[Tensor, "P T"]
    ) -> tuple[Float[Tensor, "B P _"], ...]:
        """Return the head's parameters, then the input features of each stage.

        Args:
            picture: pixels of the set, in [-1, 1].
            *taps: for each dilation 1 plus the place in the set of each tap's position; 0 where hidden.
        """
        tables = self._by_dilation(taps)
        state = self.network.begin(picture)
        batch = picture.shape[0]
        features = []
        for stage, conv in zip(self.network.stages, self.convs, strict=True):
            own = stage.before(state)
            rows, live = tables[stage.conv.dilation]
            table = torch.cat((torch.zeros_like(own[:, :1]), own), 1)  # row 0, which hidden taps read, is zero
            neighbours = table.index_select(1, rows.flatten()).reshape(-1, self.taps * own.shape[2])
            outputs = conv(neighbours, own.flatten(0, 1), live.repeat(batch, 1) if conv.bits is not None else live)
            stage.after(state, outputs.unflatten(0, (batch, -1)))
            features.append(own)
        return (self.network.finish(state), *features)


class Step(Walk):
    """All stages at one position."""

    def forward(self, *inputs: Int[Tensor, " T"] | Float[Tensor, "B R _"]) -> tuple[Float[Tensor, "B _"], ...]:
        """Return the head's parameters, then the input features of each stage but the first.

        The first stage's are the picture itself, which is there once the pixel is drawn.

        Args:
            *inputs: for each dilation the row of each tap's position, 0 where hidden; then for each stage its cache,
                whose row 0 is zero.
        """
        tables, caches = self._by_dilation(inputs[: len(self.dilations)]), inputs[len(self.dilations) :]
        # The pixel itself is not drawn yet; row 0, which is zero, stands for it.
        state, features = State(caches[0][:, 0]), []
        for stage, conv, cache in zip(self.network.stages, self.convs, caches, strict=True):
            own = stage.before(state)
            rows, live = tables[stage.conv.dilation]
            neighbours = cache.index_select(1, rows).flatten(1)
            stage.after(state, conv(neighbours, own, live[None]))
            features.append(own)
        return (self.network.finish(state), *features[1:])
