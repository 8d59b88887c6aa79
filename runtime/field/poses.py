"""Where cameras stand: drawn at random around an object, on an orbit, on a spiral, or between given cameras.

Poses are camera-to-world in the OpenGL convention. Angles in radians. `up` names the world's upward axis; azimuth 0 is
on the axis behind it in the cycle x, y, z, and grows towards the next: up z puts azimuth 0 on +x and pi / 2 on +y, up y
puts them on +z and +x.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from runtime.field.cameras import Cameras

Axis = Literal["x", "y", "z"]
"""An axis of the world."""

Law = Literal["area", "angle", "either"]
"""What random elevations are uniform in: the sphere's area, or the angle, as in DietNeRF's published code, or, as in
DreamFusion, one of the two by the toss of a coin."""


def up_vector(up: Axis) -> Float[Tensor, " 3"]:
    """Return the unit vector of an axis."""
    return torch.eye(3)["xyz".index(up)]


def look_at(
    centres: Float[Tensor, "V 3"],
    target: Float[Tensor, "#V 3"] | Float[Tensor, " 3"],
    up: Axis = "z",
    *,
    tilt: Float[Tensor, "V 3"] | None = None,
) -> Float[Tensor, "V 4 4"]:
    """Return the poses of cameras at `centres` that look at a target, upright.

    A camera straight above or below its target has no upright: its picture's top then points to azimuth pi or 0.

    Args:
        centres: where the cameras are.
        target: what they look at.
        up: the world's upward axis.
        tilt: what is added to its unit vector, for cameras that are held a little askew.
    """
    # In NumPy: a step of distillation draws one camera, and each of PyTorch's calls would take as long as all of this.
    places = centres.numpy().astype(np.float64)
    back = places - target.numpy().astype(np.float64)
    back = back / np.maximum(_lengths(back), 1e-12)
    index = "xyz".index(up)
    upwards = np.eye(3)[index] if tilt is None else np.eye(3)[index] + tilt.numpy().astype(np.float64)
    right = _cross(np.broadcast_to(upwards, back.shape), back)
    # Near the pole the cross product is all rounding; the limit along azimuth 0 is the second horizontal axis.
    right = np.where(_lengths(right) < 1e-6, np.eye(3)[(index + 2) % 3], right)
    right = right / _lengths(right)
    poses = np.tile(np.eye(4, dtype=np.float32), (len(centres), 1, 1))
    poses[:, :3, 0] = right
    poses[:, :3, 1] = _cross(back, right)
    poses[:, :3, 2] = back
    poses[:, :3, 3] = places
    return torch.from_numpy(poses)


def _lengths(vectors: Float64[np.ndarray, "V 3"]) -> Float64[np.ndarray, "V 1"]:
    return np.sqrt((vectors * vectors).sum(1, keepdims=True))


def _cross(one: Float64[np.ndarray, "V 3"], other: Float64[np.ndarray, "V 3"]) -> Float64[np.ndarray, "V 3"]:
    (a, b, c), (d, e, f) = one.T, other.T
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], 1)


def on_sphere(
    azimuth: Float[Tensor, " V"], elevation: Float[Tensor, " V"], radius: Float[Tensor, " V"], up: Axis = "z"
) -> Float[Tensor, "V 4 4"]:
    """Return the poses of cameras around the origin that look at it.

    Args:
        azimuth: around the upward axis.
        elevation: above the horizon, in [-pi / 2, pi / 2].
        radius: distance from the origin.
        up: the world's upward axis.
    """
    return look_at(places_on_sphere(azimuth, elevation, radius, up), torch.zeros(3), up)


def places_on_sphere(
    azimuth: Float[Tensor, " V"], elevation: Float[Tensor, " V"], radius: Float[Tensor, " V"], up: Axis = "z"
) -> Float[Tensor, "V 3"]:
    """Return the places of the cameras of `on_sphere`."""
    flat = radius * elevation.cos()
    local = torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), radius * elevation.sin()], dim=1)
    # `local` has its upward axis last; the cycle puts it where it belongs.
    return local.roll("xyz".index(up) - 2, dims=1)


def draw_sphere(
    count: int,
    generator: torch.Generator,
    *,
    radius: tuple[float, float] = (3.5, 4.5),
    elevation: tuple[float, float] = (0.0, math.pi / 2),
    azimuth: tuple[float, float] = (-math.pi, math.pi),
    law: Law = "area",
    up: Axis = "z",
) -> Float[Tensor, "V 4 4"]:
    """Return random poses that look at the origin: by default uniform over the upper hemisphere.

    The thesis says uniform over the hemisphere (3.4.3), which is law `area`; its published code draws azimuth and
    elevation uniformly, law `angle`, which favours the pole. The radius is uniform in its range in both.

    Args:
        count: poses.
        generator: source of the draws, three a pose.
        radius: least and greatest distance.
        elevation: lowest and highest.
        azimuth: least and greatest; a narrow range makes billboards of text to 3D (thesis 4.4.4).
        law: what elevations are uniform in.
        up: the world's upward axis.
    """
    u = torch.rand(3, count, generator=generator)
    angles = elevations(u[1], elevation, law, generator)
    distance = radius[0] + (radius[1] - radius[0]) * u[2]
    middle, half = (azimuth[0] + azimuth[1]) / 2, (azimuth[1] - azimuth[0]) / 2
    return on_sphere(middle + (2 * u[0] - 1) * half, angles, distance, up)


def elevations(
    uniform: Float[Tensor, " V"], span: tuple[float, float], law: Law, generator: torch.Generator
) -> Float[Tensor, " V"]:
    """Return elevations between two angles, from uniform numbers in [0, 1); `generator` tosses the coin of `either`."""
    low, high = span
    # Archimedes: equal heights cut equal areas from a sphere.
    heights = math.sin(low) + (math.sin(high) - math.sin(low)) * uniform
    by_area, by_angle = heights.clamp(-1, 1).asin(), low + (high - low) * uniform
    if law != "either":
        return by_area if law == "area" else by_angle
    return torch.where(torch.rand(len(uniform), generator=generator) < 0.5, by_angle, by_area)


def angles_of(centres: Float[Tensor, "V 3"], up: Axis = "z") -> tuple[Float[Tensor, " V"], Float[Tensor, " V"]]:
    """Return azimuth, in [-pi, pi], and elevation of places as they are seen from the origin: undoes `on_sphere`."""
    local = centres.roll(2 - "xyz".index(up), dims=1)
    flat = local[:, :2].norm(dim=1)
    return torch.atan2(local[:, 1], local[:, 0]), torch.atan2(local[:, 2], flat)


@dataclass(frozen=True, kw_only=True)
class CameraDistribution:
    """Random cameras around an object at the origin, all azimuths alike (arXiv:2209.14988, section 3.2 and A.2)."""

    elevation: tuple[float, float]
    """Lowest and highest, radians."""
    law: Law
    """What elevations are uniform in."""
    distance: tuple[float, float]
    """From the origin, uniform between two distances, world units."""
    focal: tuple[float, float]
    """Focal length in widths of the picture, uniform between two."""
    shift: float = 0.0
    """Each coordinate of a camera is moved by at most this, uniformly, world units."""
    target: float = 0.0
    """Standard deviation of each coordinate of the point that is looked at, world units."""
    tilt: float = 0.0
    """Standard deviation of each coordinate of what is added to the upward unit vector."""

    def scaled(self, factor: float) -> "CameraDistribution":
        """Return the same cameras around an object that is `factor` times as large."""
        near, far = self.distance
        lengths = {"distance": (near * factor, far * factor), "shift": self.shift * factor}
        return replace(self, **lengths, target=self.target * factor)

    def draw(self, count: int, side: int, generator: torch.Generator, up: Axis = "z") -> Cameras:
        """Return random cameras of square pictures of `side` pixels."""
        # All draws at once and in a fixed sequence: another option leaves the others' draws as they are.
        u = torch.rand(4, count, generator=generator)
        angles = elevations(u[1], self.elevation, self.law, generator)
        distance = self.distance[0] + (self.distance[1] - self.distance[0]) * u[2]
        centres = places_on_sphere((2 * u[0] - 1) * math.pi, angles, distance, up)
        centres = centres + self.shift * (2 * torch.rand(count, 3, generator=generator) - 1)
        target = self.target * torch.randn(count, 3, generator=generator)
        tilt = self.tilt * torch.randn(count, 3, generator=generator)
        # In widths of the picture, so that a preview of another size shows the same.
        focal = side * (self.focal[0] + (self.focal[1] - self.focal[0]) * u[3])
        middle = torch.full_like(focal, side / 2)
        return Cameras(
            poses=look_at(centres, target, up, tilt=tilt),
            intrinsics=torch.stack([focal, focal, middle, middle], 1),
            sizes=torch.full((count, 2), side),
        )


DREAMFUSION = CameraDistribution(
    elevation=(-math.pi / 18, math.pi / 2),
    law="either",
    distance=(1.0, 1.5),
    focal=(0.7, 1.35),
    shift=0.1,
    target=0.2,
    tilt=0.02,
)
"""The paper's cameras around an object in a ball of radius 1.4 (arXiv:2209.14988, A.2). It gives the normal laws of
target and tilt by 0.2 I and 0.02 I; as in threestudio these are taken for deviations: as variances, every other camera
would look past the object."""

THREESTUDIO = CameraDistribution(
    elevation=(-math.pi / 18, math.pi / 4),
    law="either",
    distance=(1.5, 2.0),
    focal=(0.5 / math.tan(math.radians(35)), 0.5 / math.tan(math.radians(20))),
    shift=0.1,
    target=0.2,
    tilt=0.02,
)
"""Cameras around the box [-1, 1]^3 of threestudio's dreamfusion-sd.yaml: fields of view of 40 to 70 degrees, here
uniform in the focal length."""


def orbit(
    count: int, *, radius: float = 4.0, elevation: float = math.pi / 6, start: float = 0.0, up: Axis = "z"
) -> Float[Tensor, "V 4 4"]:
    """Return the poses of a turntable: once around at one elevation, evenly, without the first pose again."""
    azimuth = start + 2 * math.pi * torch.arange(count) / count
    return on_sphere(azimuth, torch.full((count,), elevation), torch.full((count,), radius), up)


def spiral(
    count: int,
    *,
    radius: float = 4.0,
    elevation: tuple[float, float] = (-math.pi / 18, math.pi / 3),
    turns: float = 2.0,
    up: Axis = "z",
) -> Float[Tensor, "V 4 4"]:
    """Return poses that wind around the origin from one elevation to another."""
    along = torch.linspace(0, 1, count)
    low, high = elevation
    return on_sphere(2 * math.pi * turns * along, low + (high - low) * along, torch.full((count,), radius), up)


def draw_between(poses: Float[Tensor, "V 4 4"], count: int, generator: torch.Generator) -> Float[Tensor, "N 4 4"]:
    """Return random poses between three given ones each, for scenes that cannot be walked around.

    Three of the poses are drawn, p1 and p2 are interpolated by a1 in [0, 1), and the result and p3 by a2: centres on a
    line, rotations on the shortest arc. With one or two poses the same one may be drawn again. Thesis 3.4.3.
    """
    drawn = []
    for _ in range(count):
        if len(poses) >= 3:
            # Without repetition, or a third of the draws would stay on a line between two cameras.
            rows = torch.randperm(len(poses), generator=generator)[:3]
        else:
            rows = torch.randint(len(poses), (3,), generator=generator)
        first, second, third = poses[rows]
        a1, a2 = torch.rand(2, generator=generator).tolist()
        drawn.append(interpolate(interpolate(first, second, a1), third, a2))
    return torch.stack(drawn)


def path_through(poses: Float[Tensor, "V 4 4"], count: int, *, closed: bool = False) -> Float[Tensor, "N 4 4"]:
    """Return a path of `count` poses through the given ones in their order; a closed one ends before the first."""
    corners = torch.cat([poses, poses[:1]]) if closed else poses
    spans = len(corners) - 1
    if spans == 0:
        return poses.expand(count, 4, 4).clone()
    places = np.linspace(0, spans, count, endpoint=not closed)
    path = []
    for place in places:
        span = min(int(place), spans - 1)
        path.append(interpolate(corners[span], corners[span + 1], float(place - span)))
    return torch.stack(path)


def interpolate(first: Float[Tensor, "4 4"], second: Float[Tensor, "4 4"], weight: float) -> Float[Tensor, "4 4"]:
    """Return the pose between two: at 0 the first, at 1 the second; its rotation on the shortest arc between theirs."""
    from scipy.spatial.transform import Rotation

    start = Rotation.from_matrix(first[:3, :3].double().numpy())
    # From the first rotation's own axes: the shortest arc is then a single rotation vector.
    turn = start.inv() * Rotation.from_matrix(second[:3, :3].double().numpy())
    between = start * Rotation.from_rotvec(weight * turn.as_rotvec())
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(between.as_matrix())
    pose[:3, 3] = (1 - weight) * first[:3, 3].double() + weight * second[:3, 3].double()
    return pose.to(first.dtype)
