"""The encoder of the paper: a ResNet-34 whose first four stages are scaled up and put side by side (arXiv:2012.02190).

It begins with random weights, where the paper takes ImageNet's.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = ((64, 3), (128, 4), (256, 6))
"""Channels and blocks of the stages behind the stem that pixelNeRF reads; it leaves the fourth out."""


class ResNetEncoder(nn.Module):
    """Pictures (N, 4, H, W) to features of 64 + 64 + 128 + 256 channels, mixed to `width`, and the pixels."""

    def __init__(self, width: int) -> None:
        """Make the network for features of `width` channels."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        stages, before = [], 64
        for index, (channels, blocks) in enumerate(STAGES):
            first = BasicBlock(before, channels, stride=1 if index == 0 else 2)
            stages.append(nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1))))
            before = channels
        self.layer1, self.layer2, self.layer3 = stages
        self.mix = nn.Conv2d(64 + sum(channels for channels, _ in STAGES), width, 1)

    def forward(self, pictures: Float[Tensor, "N 4 H W"]) -> Float[Tensor, "N H W E"]:
        """Return the features of every pixel, and the pixels."""
        # On white, and as ImageNet's pictures are scaled.
        x = (pictures[:, :3] + 1 - pictures[:, 3:] - 0.45) / 0.225
        levels = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(levels[0], 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)
            levels.append(x)
        size = pictures.shape[2:]
        wide = [F.interpolate(level, size=size, mode="bilinear", align_corners=True) for level in levels]
        return torch.cat([self.mix(torch.cat(wide, dim=1)), pictures], dim=1).permute(0, 2, 3, 1)


class BasicBlock(nn.Module):
    """Two convolutions with batch normalization beside a skip."""

    def __init__(self, before: int, channels: int, stride: int = 1) -> None:
        """Make a block; its skip is a convolution where shapes differ."""
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or before != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D H2 W2"]:
        """Return the features of the block."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))
