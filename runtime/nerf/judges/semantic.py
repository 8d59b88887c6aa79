"""DietNeRF's loss for a field: pictures from random cameras against observed ones, by an image encoder."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.engines.protocols import ImageEncoder
from runtime.errors import UserError
from runtime.field.cameras import Rays
from runtime.field.training_views import TrainingViews
from runtime.guidance.semantic import semantic_consistency, typical_cosine
from runtime.nerf.judges.random_views import RandomViews

if TYPE_CHECKING:
    from runtime.nerf.config import Config

EVERY = 10
"""Steps from one semantic loss to the next: the published code's K; the thesis has 10 to 16."""

PARTS = (0.1, 0.85)
"""Part of a run in which it counts: before, there is nothing to see; after, pictures alone decide (thesis 3.5.2)."""


@dataclass(frozen=True)
class Semantics:
    """Features of the pictures that a field is fitted to, and what draws others."""

    encode: ImageEncoder
    input_side: int
    """Side of the pictures that the encoder takes."""
    targets: Float[Tensor, "V E"]
    side: int
    """Side, in pixels, of the pictures that are rendered for it. The thesis renders 15 to 20 % of 400 x 400."""
    views: RandomViews
    """Cameras of `side` x `side` pixels."""
    gate: float
    """See `guidance.semantic.semantic_consistency`."""

    @classmethod
    def of(
        cls, encoder: str, views: TrainingViews, side: int, *, between: bool = False, device: str = "cpu"
    ) -> "Semantics":
        """Load a bundle's image encoder and encode the pictures, once.

        Args:
            encoder: the bundle's name, or its folder.
            views: the pictures and their cameras.
            side: of the pictures that are rendered.
            between: draw cameras between the pictures' own, in place of the upper hemisphere.
            device: of the encoder, see `load_encoder`.

        Raises:
            UserError: the bundle has no image encoder.
        """
        encode, input_side = load_encoder(encoder, device)
        pictures = torch.stack([_squared(views.picture(view), input_side) for view in range(len(views))])
        with torch.no_grad():
            # One by one, which bounds the memory: a capture may have hundreds of pictures.
            targets = torch.cat([encode(picture[None]) for picture in pictures])
        cameras = RandomViews.of(views, side)
        if between:
            cameras = replace(cameras, between=views.cameras.poses)
        return cls(encode, input_side, targets, side, cameras, typical_cosine(targets))

    @classmethod
    def asked(cls, config: "Config", views: TrainingViews) -> "Semantics | None":
        """Return what a request asks for; None without an encoder."""
        if config.encoder is None:
            return None
        between = config.semantic_cameras == "between"
        return cls.of(config.encoder, views, config.semantic_size, between=between, device=config.device)

    def due(self, step: int, total: int) -> bool:
        """Return whether a step has a semantic loss."""
        first, last = PARTS
        return step % EVERY == 0 and first * total <= step < last * total

    def draw(self, generator: torch.Generator) -> tuple[Rays, int]:
        """Return the rays of a picture from a random camera, on a jittered grid, and the picture to resemble."""
        rays, _ = self.views.draw(generator)
        return rays, int(torch.randint(len(self.targets), (1,), generator=generator))

    def loss(self, colour: Float[Tensor, "R 3"], target: int) -> Float[Tensor, ""]:
        """Return the semantic loss of a picture of `side` x `side` rays before white."""
        # As the published code does: the encoder has never seen anything brighter than white.
        picture = colour.clamp(0, 1).T.reshape(1, 3, self.side, self.side)
        resized = functional.interpolate(picture, size=(self.input_side, self.input_side), mode="bilinear")
        return semantic_consistency(self.encode(resized), self.targets[target : target + 1], self.gate)


def load_encoder(name: str, device: str = "cpu") -> tuple[ImageEncoder, int]:
    """Return a bundle's image encoder, with gradients, and the side of the pictures that it takes.

    Args:
        name: of the bundle, or its folder.
        device: cpu, cuda, cuda:N or auto; pictures and features may be elsewhere.

    Raises:
        UserError: there is no such bundle, or it has no image encoder with gradients.
    """
    from runtime.engines.bundle import DiffusionBundle

    bundle = DiffusionBundle.load(name, device=device)
    spec = bundle.specs.get("image_embedder")
    if spec is None:
        raise UserError(f"--encoder '{name}': expected a bundle with an image encoder, got one without")
    return bundle.image_encoder(), int(spec.inputs[0].shape[-1])


def _squared(picture: Float[Tensor, "H W 4"], side: int) -> Float[Tensor, "3 S S"]:
    """Return the middle square of a picture before white, at a side."""
    white = (picture[..., :3] + 1 - picture[..., 3:]).permute(2, 0, 1)
    height, width = white.shape[1:]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = white[None, :, top : top + edge, left : left + edge]
    return functional.interpolate(square, size=(side, side), mode="bilinear", antialias=edge > side)[0]
