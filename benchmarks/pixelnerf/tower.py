"""Tower distance: how unlike two pictures are to the layers of the bundle `icons`' image tower.

It is formed as LPIPS without its calibration is (arXiv:1801.03924, the "baseline"): features behind each residual
block, scaled to unit length along channels, squared differences summed over channels and averaged over places and
blocks. The network is another one, and the numbers are not comparable to LPIPS: hence the name of its own.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from runtime.engines.bundle import DiffusionBundle
from runtime.engines.twins.image_tower import ImageTower
from runtime.errors import UserError


class TowerDistance:
    """The distance by one bundle's image tower."""

    def __init__(self, bundle: str = "icons") -> None:
        """Load the tower.

        Raises:
            UserError: the bundle is missing, or its encoder of pictures is no image tower.
        """
        engine = DiffusionBundle.load(bundle).eager_engine("image_embedder")
        module = getattr(engine, "module", None)
        if not isinstance(module, ImageTower):
            raise UserError(f"bundle '{bundle}': expected an image tower, got {type(module).__name__}")
        self.layers: nn.Sequential = module.tower
        self.side = int(engine.spec.inputs[0].shape[-1])

    @torch.no_grad()
    def features(self, pictures: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B C h w"]]:
        """Return the features behind each residual block, of unit length along channels."""
        x = functional.interpolate(pictures, size=(self.side, self.side), mode="bilinear")
        x, levels = 2 * x - 1, []
        for layer in self.layers:
            x = layer(x)
            if hasattr(layer, "body"):
                levels.append(functional.normalize(x, dim=1))
        return levels

    def __call__(self, a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> float:
        """Return the mean distance of pairs of pictures in [0, 1]; 0 for equal ones."""
        pairs = zip(self.features(a), self.features(b), strict=True)
        return float(torch.stack([(x - y).square().sum(1).mean() for x, y in pairs]).mean())
