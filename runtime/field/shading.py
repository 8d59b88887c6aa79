"""Light on a field: diffuse shading by normals, and random lamps near a camera (arXiv:2209.14988, section 3.2, A.2).

    colour = albedo (ambient + diffuse max(0, n . l)),   l the unit vector from the surface to the lamp

Shading is deferred: it is applied to what a ray shows, its mean albedo and mean normal, and not to each sample before
the sum as in the paper. Both are the same where the surface is sharp; in a fog the mean of max(0, n . l) is larger.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.field.cameras import Rays
from runtime.field.volume import Rendering


@dataclass(frozen=True, kw_only=True)
class Light:
    """A lamp and the light from everywhere."""

    position: Float[Tensor, " 3"]
    """Of the lamp, world units."""
    ambient: float = 0.1
    """Share of the albedo that is seen without a lamp; the paper's."""
    diffuse: float = 0.9
    """What the lamp adds where it shines straight onto the surface; the paper's."""


def draw_lamp(
    camera: Float[Tensor, " 3"], generator: torch.Generator, *, distance: tuple[float, float] = (0.8, 1.5)
) -> Float[Tensor, " 3"]:
    """Return where a random lamp stands: in a direction of N(camera, I), at a uniform distance from the origin.

    Args:
        camera: its centre, in the unit in which the deviation is 1.
        generator: of the draws.
        distance: least and greatest, in that unit.
    """
    direction = functional.normalize(camera + torch.randn(3, generator=generator), dim=0)
    near, far = distance
    return direction * (near + (far - near) * torch.rand((), generator=generator))


def lambertian(
    albedo: Float[Tensor, "R 3"], normal: Float[Tensor, "R 3"], points: Float[Tensor, "R 3"], light: Light
) -> Float[Tensor, "R 3"]:
    """Return diffusely reflected colours; surfaces that face away from the lamp have the ambient light alone.

    Args:
        albedo: the colours themselves.
        normal: unit vectors.
        points: of the surface.
        light: see `Light`.
    """
    towards = functional.normalize(light.position - points, dim=1)
    facing = (normal * towards).sum(1, keepdim=True).clamp(min=0)
    return albedo * (light.ambient + light.diffuse * facing)


def lit(shown: Rendering, rays: Rays, light: Light, *, textureless: bool = False) -> Rendering:
    """Return what rays show under a lamp.

    Where the lamp is seen from does not pull at the surface: the distance has no gradient here, the normal has.

    Args:
        shown: with normals.
        rays: that showed it.
        light: see `Light`.
        textureless: whether the albedo is white.
    """
    assert shown.normal is not None, "shading needs normals"
    alpha = shown.alpha[:, None]
    # The depth is weighted by alpha; divided by it, it is the mean distance of what was hit.
    depth = (shown.depth[:, None] / alpha.clamp(min=1e-6)).detach()
    points = rays.origins + depth * rays.directions
    # Premultiplied as colours are: white times alpha.
    albedo = alpha.expand(-1, 3) if textureless else shown.colour
    colour = lambertian(albedo, functional.normalize(shown.normal, dim=1, eps=1e-6), points, light)
    return Rendering(colour, shown.transmittance, shown.depth, shown.distortion, shown.normal)


def orientation_penalty(shown: Rendering, rays: Rays) -> Float[Tensor, ""]:
    """Return the mean of alpha max(0, n . d)^2: what is seen should not face away (arXiv:2112.03907, Eq. 11).

    Of a ray's mean normal n and its direction d, where the source sums over samples. As in DreamFusion alpha has no
    gradient: what is seen from behind should turn, not vanish.
    """
    assert shown.normal is not None, "the penalty needs normals"
    away = (functional.normalize(shown.normal, dim=1, eps=1e-6) * rays.directions).sum(1).clamp(min=0)
    return (shown.alpha.detach() * away.square()).mean()
