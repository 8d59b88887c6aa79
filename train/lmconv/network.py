"""The locally masked PixelCNN (Thesis 2.5): PixelCNN++ with one stream, local masks, and dilation for downsampling.

The network is a list of stages and a head. A stage is one masked convolution between two functions of single positions:

    features = stage.before(state)           (..., C_in)
    outputs = convolution over positions     (..., C_out)
    stage.after(state, outputs)

Nothing else reads another position, and nothing is pooled, so a sampler can walk the same stages with one position at a
time and a cache of `features` for each stage. Channels are last everywhere between the convolutions, and columns come
before rows where the masks of the order are computed so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.errors import UserError
from runtime.pixels.heads import head_channels
from runtime.pixels.orders import Order, Size
from train.lmconv.layer import LayerMask, LocallyMaskedConv2d
from train.lmconv.pointwise import concat_elu, gate, positional_norm

MaskKey = tuple[int, int, bool]
"""Kernel, dilation, and whether a layer is the first: what its masks depend on beside the order."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a checkpoint's shapes and meaning depend on."""

    channels: int = 1
    """Colour channels of a picture: 1 or 3."""
    levels: int = 2
    """Intensities of a channel, at least 2; 2 of one channel are modelled by two logits."""
    filters: int = 64
    """Channels of the features."""
    blocks: int = 1
    """Gated residual blocks in each of the three parts of the way up; the way down has one more in its last two."""
    kernel: int = 3
    """Side of the kernels, odd."""
    dilation: int = 2
    """Dilation of the two convolutions between parts on either way, where PixelCNN++ changes the resolution."""
    mixtures: int = 10
    """Logistic distributions of a mixture."""
    mask_conditioning: bool = False
    """Whether every convolution adds a learned function of its mask (Thesis Algorithm 4)."""


PRESETS = {
    "small": {"filters": 64, "blocks": 1},
    "thesis-46m": {"filters": 160, "blocks": 5},
    "celeba-184m": {"filters": 320, "blocks": 5},
}
"""Named sizes: filters and blocks."""


@dataclass
class State:
    """Features of positions on their way through the stages, each (..., filters)."""

    stream: Float[Tensor, "*shape C"]
    """The residual stream; at first the picture's own channels."""
    inner: Float[Tensor, "*shape C"] | None = None
    """What a block has between its two convolutions."""
    skips: list[Float[Tensor, "*shape C"]] = field(default_factory=list)
    """What the way up leaves for the way down, the last one on top."""


class Stage(nn.Module):
    """One masked convolution and what is done at each position before and after it."""

    conv: LocallyMaskedConv2d

    def before(self, state: State) -> Float[Tensor, "... C"]:
        """Return the convolution's input (..., C_in)."""
        raise NotImplementedError

    def after(self, state: State, outputs: Float[Tensor, "... D"]) -> None:
        """Take the convolution's outputs (..., C_out) into the state."""
        raise NotImplementedError


class Transition(Stage):
    """A convolution with positional normalization: the first layer, and the dilated ones between parts.

    Args:
        conv: the convolution.
        push: whether the way down reads the result.
    """

    def __init__(self, conv: LocallyMaskedConv2d, push: bool) -> None:
        super().__init__()
        self.conv, self.push = conv, push

    def before(self, state: State) -> Float[Tensor, "... C"]:
        """Return the stream."""
        return state.stream

    def after(self, state: State, outputs: Float[Tensor, "... D"]) -> None:
        """Replace the stream by the normalized outputs."""
        state.stream = positional_norm(outputs)
        if self.push:
            state.skips.append(state.stream)


class BlockInput(Stage):
    """The first half of a gated residual block; `skip` adds what the way up left."""

    def __init__(self, conv: LocallyMaskedConv2d, skip: nn.Linear | None) -> None:
        super().__init__()
        self.conv, self.skip = conv, skip

    def before(self, state: State) -> Float[Tensor, "... C"]:
        """Return the concatenated ELUs of the stream."""
        return concat_elu(state.stream)

    def after(self, state: State, outputs: Float[Tensor, "... D"]) -> None:
        """Keep the normalized outputs, plus a linear function of a skipped feature map, for the second half."""
        state.inner = positional_norm(outputs)
        if self.skip is not None:
            state.inner = state.inner + self.skip(concat_elu(state.skips.pop()))


class BlockOutput(Stage):
    """The second half of a gated residual block: two maps, one of which gates the other."""

    def __init__(self, conv: LocallyMaskedConv2d, push: bool) -> None:
        super().__init__()
        self.conv, self.push = conv, push

    def before(self, state: State) -> Float[Tensor, "... C"]:
        """Return the concatenated ELUs of what the first half left."""
        assert state.inner is not None
        return concat_elu(state.inner)

    def after(self, state: State, outputs: Float[Tensor, "... D"]) -> None:
        """Add the normalized first half of the outputs, gated by the second, to the stream."""
        state.stream = gate(state.stream, outputs)
        state.inner = None
        if self.push:
            state.skips.append(state.stream)


class LocallyMaskedPixelCNN(nn.Module):
    """A network that models every pixel from those before it in a generation order that comes with the masks.

    Attributes:
        architecture: what it was made from.
        stages: the convolutions in their sequence.
        head: the last linear map, from features to a distribution's parameters.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Make the network with PyTorch's initialization."""
        super().__init__()
        self.architecture = architecture
        self.stages: Sequence[Stage] = nn.ModuleList(_stages(architecture))  # pyright: ignore
        self.head = nn.Linear(architecture.filters, head_channels(architecture))

    @property
    def mask_keys(self) -> set[MaskKey]:
        """What masks the stages need."""
        return {stage.conv.mask_key for stage in self.stages}

    def masks(self, order: Order, size: Size) -> dict[MaskKey, LayerMask]:
        """Return the masks of an order of a picture, on the network's device.

        Raises:
            UserError: where the order is no permutation of the picture's pixels.
        """
        device = self.head.weight.device
        return {
            (kernel, dilation, first): LayerMask.of(order, size, (kernel, kernel), dilation, first=first).to(device)
            for kernel, dilation, first in self.mask_keys
        }

    def begin(self, picture: Float[Tensor, "... C"]) -> State:
        """Return the state before the first stage: the picture's channels and one of ones.

        Args:
            picture: (..., channels) in [-1, 1].
        """
        return State(torch.cat((picture, torch.ones_like(picture[..., :1])), -1))

    def finish(self, state: State) -> Float[Tensor, "... K"]:
        """Return the parameters (..., head channels) of the distribution of each position."""
        return self.head(F.elu(state.stream))

    def forward(self, picture: Tensor, masks: dict[MaskKey, LayerMask]) -> Float[Tensor, "B H W K"]:
        """Return parameters (B, H, W, head channels) of each pixel's distribution given those before it.

        Args:
            picture: in [-1, 1].
            masks: as `masks` makes them.

        Raises:
            UserError: where the picture has other channels, or the masks another size.
        """
        if picture.ndim != 4 or picture.shape[1] != self.architecture.channels:
            raise UserError(
                f"picture: expected (B, {self.architecture.channels}, H, W), got {tuple(picture.shape)}; this network "
                f"was trained on {self.architecture.channels} channels"
            )
        # One layout for all stages: to turn the picture between two of them would copy every feature map.
        turned = any(stage.conv.method == "grouped" and masks[stage.conv.mask_key].turned for stage in self.stages)
        to_last, to_first = ((0, 3, 2, 1), (0, 3, 2, 1)) if turned else ((0, 2, 3, 1), (0, 3, 1, 2))
        state = self.begin(picture.permute(to_last))
        for stage in self.stages:
            features = stage.before(state).permute(to_first)
            stage.after(state, stage.conv(features, masks[stage.conv.mask_key]).permute(to_last))
        return self.finish(state).transpose(1, 2) if turned else self.finish(state)


def _stages(a: Architecture) -> list[Stage]:
    """Return the stages: three parts up, each leaving its feature maps, and three down that take them."""

    def conv(inputs: int, outputs: int, dilation: int = 1, *, first: bool = False) -> LocallyMaskedConv2d:
        return LocallyMaskedConv2d(
            inputs, outputs, a.kernel, dilation, first=first, mask_conditioning=a.mask_conditioning
        )

    def block(*, up: bool, last: bool = False) -> list[Stage]:
        skip = None if up else nn.Linear(2 * a.filters, a.filters)
        into, out = conv(2 * a.filters, a.filters), conv(2 * a.filters, 2 * a.filters)
        return [BlockInput(into, skip), BlockOutput(out, push=up and not last)]

    stages: list[Stage] = [Transition(conv(a.channels + 1, a.filters, first=True), push=True)]
    for part in range(3):
        for index in range(a.blocks):
            # The last block's features are the stream itself: a skip of them would be added to itself.
            stages += block(up=True, last=(part, index) == (2, a.blocks - 1))
        if part < 2:
            stages.append(Transition(conv(a.filters, a.filters, a.dilation), push=True))
    # One block more than on the way up, for the feature map that the transition between parts has left.
    for part, blocks in enumerate((a.blocks, a.blocks + 1, a.blocks + 1)):
        for _ in range(blocks):
            stages += block(up=False)
        if part < 2:
            stages.append(Transition(conv(a.filters, a.filters, a.dilation), push=False))
    return stages
