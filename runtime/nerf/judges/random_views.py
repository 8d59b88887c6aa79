"""Cameras like those of a capture, at places where no photo was taken."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Cameras, Rays, pixel_centres
from runtime.field.poses import Law, angles_of, draw_between, draw_sphere
from runtime.field.training_views import TrainingViews


@dataclass(frozen=True)
class RandomViews:
    """What random cameras are drawn from."""

    camera: Cameras
    """A square camera, wherever it stands."""
    radius: tuple[float, float]
    """Least and greatest distance from the origin, world units."""
    elevation: tuple[float, float]
    """Lowest and highest, radians."""
    law: Law
    """What elevations are uniform in."""
    between: Float[Tensor, "V 4 4"] | None = None
    """Poses between which cameras are drawn, three at a time, in place of the sphere; see `poses.draw_between`."""

    @classmethod
    def of(
        cls, views: TrainingViews, side: int, elevation: tuple[float, float] = (0.0, 1.5), law: Law = "area"
    ) -> "RandomViews":
        """Return cameras with the distances of a capture's, and the first one's angle of view, `side` pixels wide."""
        distances = views.cameras.centres.norm(dim=1)
        focal = views.cameras.intrinsics[0, 0] / views.cameras.sizes[0, 1] * side
        camera = Cameras(
            poses=torch.eye(4)[None],
            intrinsics=torch.tensor([[focal, focal, side / 2, side / 2]]),
            sizes=torch.tensor([[side, side]]),
        )
        return cls(camera, (float(distances.min()), float(distances.max())), elevation, law)

    def draw(self, generator: torch.Generator) -> tuple[Rays, tuple[Float[Tensor, " 1"], Float[Tensor, " 1"]]]:
        """Return the rays of a random camera on a jittered grid, and its azimuth and elevation in radians."""
        if self.between is None:
            pose = draw_sphere(1, generator, radius=self.radius, elevation=self.elevation, law=self.law)
        else:
            pose = draw_between(self.between, 1, generator)
        # One shift for the whole lattice: over many steps it visits all places between the pixels (thesis 3.5.2).
        offset = torch.rand(2, generator=generator) - 0.5
        height, width = self.camera.sizes[0].tolist()
        rays = self.camera.moved(pose).rays(0, pixel_centres(height, width) + offset)
        return rays, angles_of(pose[:, :3, 3])
