"""LPIPS with VGG-16 (arXiv:1801.03924), from a file of weights: the papers' third figure.

The weights are not in this tree. They are a safetensors file with torchvision's names of VGG-16 (`features.0.weight`
...) and lpips' names of its five rows of weights (`lin0.model.1.weight` ... `lin4.model.1.weight`). The thesis' figures
were made on pictures in [0, 1] without the shift to [-1, 1] that the metric expects, and so are these.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from runtime.errors import UserError

STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Convolutions of VGG-16 by their places in `features`; between two groups pictures are halved."""

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""What the metric subtracts from colours, and divides them by."""


@dataclass(frozen=True)
class Lpips:
    """The metric's weights."""

    weights: dict[str, Tensor]

    @classmethod
    def load(cls, path: Path) -> "Lpips":
        """Read the weights of a file.

        Raises:
            UserError: it is no safetensors file, or weights are missing in it.
        """
        try:
            weights = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"--lpips '{path}': expected a safetensors file, got {error!s:.100}") from None
        for name in cls.names():
            if name not in weights:
                raise UserError(f"--lpips '{path}': expected weights of VGG-16 and LPIPS, got none called '{name}'")
        return cls(weights)

    @staticmethod
    def names() -> list[str]:
        """Return the names of all weights."""
        layers = [f"features.{place}" for stage in STAGES for place in stage]
        convolutions = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
        return convolutions + [f"lin{index}.model.1.weight" for index in range(len(STAGES))]

    def features(self, picture: Float[Tensor, "1 3 H W"]) -> list[Float[Tensor, "1 C h w"]]:
        """Return each stage's features, of unit length at each place."""
        x = (picture - torch.tensor(SHIFT).view(1, 3, 1, 1)) / torch.tensor(SCALE).view(1, 3, 1, 1)
        shown = []
        for index, stage in enumerate(STAGES):
            x = functional.max_pool2d(x, 2) if index else x
            for place in stage:
                name = f"features.{place}"
                x = functional.relu(
                    functional.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], padding=1)
                )
            shown.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return shown

    def distance(self, first: Float[Tensor, "3 H W"], second: Float[Tensor, "3 H W"]) -> float:
        """Return the distance of two pictures in [0, 1], at least 16 x 16 pixels."""
        total = torch.zeros(())
        pairs = zip(self.features(first[None]), self.features(second[None]), strict=True)
        for index, (a, b) in enumerate(pairs):
            weight = self.weights[f"lin{index}.model.1.weight"]
            total = total + functional.conv2d((a - b).square(), weight).mean()
        return float(total)
