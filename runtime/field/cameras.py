"""Pinhole cameras with OpenCV's lens distortion: rays through pixels, and pixels of points.

Notation: a camera's axes are OpenGL's (+x right, +y up, looking down -z); its pose maps its coordinates to the world's.
Pixel coordinates (x, y) grow to the right and downwards; the top left pixel covers [0, 1) x [0, 1) and has its centre
at (.5, .5). With q = (x - cx) / fx, (y - cy) / fy the ray through a pixel is pose @ (q_x, -q_y, -1).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

UNDISTORTION_STEPS = 12
"""Steps of Newton's method that turn a distorted direction into a straight one; lenses need about 5."""


@dataclass(frozen=True)
class Rays:
    """Rays in world coordinates."""

    origins: Float[Tensor, "R 3"]
    """Where each ray begins: its camera's centre."""
    directions: Float[Tensor, "R 3"]
    """Unit vectors."""


@dataclass(frozen=True)
class Cameras:
    """Some cameras, V of them, that may differ in everything."""

    poses: Float[Tensor, "V 4 4"]
    """Camera-to-world matrices in the OpenGL convention."""
    intrinsics: Float[Tensor, "V 4"]
    """fx, fy, cx, cy in pixels."""
    sizes: Int64[Tensor, "V 2"]
    """Height and width of each picture in pixels."""
    distortion: Float[Tensor, "V 6"] | None = None
    """k1, k2, k3, k4, p1, p2 of OpenCV's polynomial model; None: straight lines stay straight."""

    def __len__(self) -> int:
        return self.poses.shape[0]

    def __getitem__(self, view: int) -> "Cameras":
        """Return one camera, as a set of one; a negative index counts from the end, and one out of range raises."""
        return self.select([range(len(self))[view]])

    def select(self, indices: "list[int] | Int64[Tensor, ' N']") -> "Cameras":
        """Return the cameras of these indices, in this order."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        lenses = None if self.distortion is None else self.distortion[rows]
        return Cameras(self.poses[rows], self.intrinsics[rows], self.sizes[rows], lenses)

    def moved(self, poses: Float[Tensor, "V 4 4"]) -> "Cameras":
        """Return the same cameras in other places."""
        return replace(self, poses=poses)

    def resized(self, sizes: Int64[Tensor, "V 2"]) -> "Cameras":
        """Return the cameras of the same pictures scaled to other heights and widths, each side by its own factor."""
        ratio = sizes.to(self.intrinsics.dtype) / self.sizes.to(self.intrinsics.dtype)
        # Pixel centres at .5 make this a plain product: the picture's borders stay where they are.
        return replace(self, intrinsics=self.intrinsics * ratio[:, [1, 0, 1, 0]], sizes=sizes)

    def scaled(self, factor: float) -> "Cameras":
        """Return the cameras of pictures scaled by a factor, each side rounded to whole pixels, at least one."""
        sizes = (self.sizes.double() * factor).round().clamp(min=1).long()
        return self.resized(sizes)

    @property
    def centres(self) -> Float[Tensor, "V 3"]:
        """Where the cameras are."""
        return self.poses[:, :3, 3]

    @property
    def forwards(self) -> Float[Tensor, "V 3"]:
        """Where the cameras look: unit vectors."""
        return -self.poses[:, :3, 2]

    def rays_of(self, views: Int64[Tensor, " R"], pixels: Float[Tensor, "R 2"]) -> Rays:
        """Return the rays through pixels of several pictures at once.

        Args:
            views: index of each pixel's camera.
            pixels: x and y, with centres at .5; they need not lie in the picture.
        """
        lens = None if self.distortion is None else self.distortion[views]
        return _rays(self.poses[views], self.intrinsics[views], lens, pixels)

    def rays(self, view: int, pixels: Float[Tensor, "R 2"]) -> Rays:
        """Return the rays through pixels (x, y) of one picture."""
        lens = None if self.distortion is None else self.distortion[view].expand(len(pixels), 6)
        return _rays(self.poses[view], self.intrinsics[view], lens, pixels)

    def all_rays(self, view: int) -> Rays:
        """Return the rays through all pixel centres of a picture, row by row."""
        height, width = self.sizes[view].tolist()
        return self.rays(view, pixel_centres(height, width))

    def project(self, points: Float[Tensor, "P 3"]) -> tuple[Float[Tensor, "V P 2"], Float[Tensor, "V P"]]:
        """Return the pixels (x, y) that points fall on, and their depths along each camera's axis.

        A point with a depth of 0 or less is not in front of the camera and its pixel means nothing.
        """
        offset = points[None] - self.centres[:, None]
        local = torch.einsum("vji,vpj->vpi", self.poses[:, :3, :3], offset)
        depth = -local[..., 2]
        at = torch.stack([local[..., 0], -local[..., 1]], dim=-1) / depth[..., None]
        if self.distortion is not None:
            at = distort(at, self.distortion[:, None].expand(*at.shape[:2], 6))
        return at * self.intrinsics[:, None, :2] + self.intrinsics[:, None, 2:], depth


def _rays(
    pose: Float[Tensor, "*S 4 4"],
    intrinsics: Float[Tensor, "*S 4"],
    lens: Float[Tensor, "R 6"] | None,
    pixels: Float[Tensor, "R 2"],
) -> Rays:
    """Return the rays through pixels of one camera, or of one for each pixel."""
    at = (pixels - intrinsics[..., 2:]) / intrinsics[..., :2]
    if lens is not None:
        at = undistort(at, lens)
    # A sum in a fixed order rather than a batched product, whose order depends on the number of threads. A camera's own
    # axes go right, up and back.
    world = pose[..., :3, 0] * at[:, :1] + pose[..., :3, 1] * -at[:, 1:] - pose[..., :3, 2]
    return Rays(pose[..., :3, 3].expand_as(world), world / world.square().sum(1, keepdim=True).sqrt())


def box_span(rays: Rays) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    """Return where rays enter and leave the box [-1, 1]^3; those that miss it leave before they enter.

    A ray that begins inside enters at 0.
    """
    safe = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
    one, other = (-1 - rays.origins) / safe, (1 - rays.origins) / safe
    enter = torch.minimum(one, other).max(1).values.clamp(min=0)
    return enter, torch.maximum(one, other).min(1).values


def pixel_centres(height: int, width: int) -> Float[Tensor, "R 2"]:
    """Return x and y of all pixel centres of a picture, row by row."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x.reshape(-1), y.reshape(-1)], dim=1)


def distort(at: Float[Tensor, "*S 2"], lens: Float[Tensor, "*S 6"]) -> Float[Tensor, "*S 2"]:
    """Return where a lens shows the directions (x, y, 1): OpenCV's model with a radial polynomial up to r^8."""
    k1, k2, k3, k4, p1, p2 = lens.unbind(-1)
    x, y = at.unbind(-1)
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
    bent_x = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    bent_y = y * radial + 2 * p2 * x * y + p1 * (square + 2 * y * y)
    return torch.stack([bent_x, bent_y], dim=-1)


def undistort(at: Float[Tensor, "R 2"], lens: Float[Tensor, "R 6"]) -> Float[Tensor, "R 2"]:
    """Return the directions (x, y, 1) that a lens shows at these places: Newton's method, in float64.

    Beyond the radius at which a fitted polynomial turns back there is no such direction; the last step is returned.
    """
    aim, lens64 = at.double(), lens.double()
    k1, k2, k3, k4, p1, p2 = lens64.unbind(-1)
    guess = aim.clone()
    for _ in range(UNDISTORTION_STEPS):
        x, y = guess.unbind(-1)
        square = x * x + y * y
        radial = 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
        # Derivative of the radial factor by x is x slope, by y it is y slope.
        slope = 2 * (k1 + square * (2 * k2 + square * (3 * k3 + square * 4 * k4)))
        xx = radial + x * x * slope + 2 * p1 * y + 6 * p2 * x
        yy = radial + y * y * slope + 2 * p2 * x + 6 * p1 * y
        xy = x * y * slope + 2 * p1 * x + 2 * p2 * y
        miss = distort(guess, lens64) - aim
        determinant = xx * yy - xy * xy
        # Where the polynomial turns back the determinant vanishes: such a direction stays where it is.
        safe = determinant.abs() > 1e-9
        inverse = torch.where(safe, 1 / torch.where(safe, determinant, 1.0), 0.0)
        step = torch.stack([yy * miss[:, 0] - xy * miss[:, 1], xx * miss[:, 1] - xy * miss[:, 0]], dim=-1)
        guess = guess - step * inverse[:, None]
    return guess.to(at.dtype)
