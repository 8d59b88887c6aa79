"""What a step looks at: a random camera, its light and its background, and the picture that a field shows there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Cameras, Rays, pixel_centres
from runtime.field.poses import DREAMFUSION, THREESTUDIO, CameraDistribution, angles_of
from runtime.field.shading import Light, draw_lamp, lit
from runtime.field.volume import Rendering

if TYPE_CHECKING:
    from runtime.dreamfusion.config import Config

UNIT = 1.5
"""World units of a length of the paper: objects, some 0.6 large there, fill most of the box [-1, 1]^3 here."""

CAMERAS: Mapping[str, CameraDistribution] = {
    # Icons show things from far away, upright, and fill the frame with them.
    "distant": CameraDistribution(elevation=(-0.05, 0.5), law="angle", distance=(4.0, 4.0), focal=(2.0, 2.0)),
    "paper": DREAMFUSION.scaled(UNIT),
    "threestudio": THREESTUDIO,
}
"""Random cameras by name."""

ALBEDO_SHARE = 1 / 15
"""Part of the steps, from the first, without any shading: the paper's 1,000 of 15,000."""


LIGHT_GREY = 0.7
"""Darkest of the random backgrounds: the bundled model knows white alone, and takes darker ones for objects."""


class Shows(Protocol):
    """What can be looked at."""

    def render(self, rays: Rays, jitter: Tensor | None = None, *, normals: bool = False) -> Rendering:
        """Return what rays show."""
        ...


@runtime_checkable
class HasBackdrop(Shows, Protocol):
    """What brings its own background."""

    def backdrop(self, rays: Rays) -> Float[Tensor, "R 3"]:
        """Return what is behind everything."""
        ...


@dataclass(frozen=True)
class Look:
    """What is drawn for one step."""

    cameras: Cameras
    """One camera."""
    offset: Float[Tensor, " 2"]
    """Of all rays from their pixels' centres, pixels."""
    jitter: Float[Tensor, " R"]
    """See `runtime.field.march.march`."""
    grey: float | None
    """Of the background, in [0, 1]; None: the scene has its own."""
    light: Light | None
    """None: colours as they are."""
    textureless: bool
    """Whether the light falls on white."""

    @property
    def angles(self) -> tuple[Float[Tensor, " 1"], Float[Tensor, " 1"]]:
        """Azimuth and elevation of the camera."""
        return angles_of(self.cameras.centres)

    def rays(self) -> Rays:
        """Return the rays through all pixels."""
        height, width = self.cameras.sizes[0].tolist()
        return self.cameras.rays(0, pixel_centres(height, width) + self.offset)


def draw_look(config: "Config", progress: float, generator: torch.Generator) -> Look:
    """Return a random camera with light and background; `progress` is the part of the run that is over.

    Albedo alone at first; then with probability `shading` a lamp, under which `textureless` of the pictures are white.
    """
    cameras = CAMERAS[config.cameras].draw(1, config.render, generator)
    # All are drawn whatever is used: so options that leave some out do not change the others.
    u = torch.rand(5, generator=generator)
    lamp = UNIT * draw_lamp(cameras.centres[0] / UNIT, generator)
    shaded = progress >= ALBEDO_SHARE and float(u[0]) < config.shading
    greys = {"white": 1.0, "random": LIGHT_GREY + (1 - LIGHT_GREY) * float(u[2]), "learned": None}
    return Look(
        cameras=cameras,
        offset=u[3:] - 0.5,
        jitter=torch.rand(config.render**2, generator=generator),
        grey=greys[config.background],
        light=Light(position=lamp) if shaded else None,
        textureless=shaded and float(u[1]) < config.textureless,
    )


def seen(
    scene: "Shows | HasBackdrop", look: Look, rays: Rays, *, normals: bool, size: int | None = None
) -> tuple[Float[Tensor, "1 3 S S"], Rendering]:
    """Return a picture of a scene, and what its rays show without light.

    Args:
        scene: what is looked at.
        look: from where, and in which light.
        rays: of the look.
        normals: asks for normals in any case.
        size: height and width to which a picture with a grey background is enlarged; None: it stays as it is.
    """
    bare = scene.render(rays, look.jitter, normals=normals or look.light is not None)
    shown = bare if look.light is None else lit(bare, rays, look.light, textureless=look.textureless)
    side = look.cameras.sizes[0].tolist()
    if look.grey is None:
        assert isinstance(scene, HasBackdrop), "only a scene with a backdrop is asked for it"
        background = scene.backdrop(rays)
    else:
        background = torch.full((1, 3), look.grey)
        if size is not None and shown.colour.device.type == "cpu":
            return shown.enlarged_on(background, size), bare
    return shown.on(background).T.reshape(1, 3, *side), bare
