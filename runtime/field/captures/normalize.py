"""Turning, moving and scaling a capture so that its scene lies in the box [-1, 1]^3 with +z up."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.checks import convergence, focus_point

Orientation = Literal["auto", "up", "pca", "none"]
Centring = Literal["auto", "poses", "focus", "none"]

INSIDE_OUT = 0.05
"""Cameras whose axes converge by less than this face one way."""

POINT_SHARE = 0.98
"""Share of a capture's points that its box holds along each axis; the others are taken for strays."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Which way is up, where the middle is, and how large the box."""

    orient: Orientation = "auto"
    """up: the cameras' mean upward direction becomes +z; pca: that in which they vary least does; none: as it is; auto:
    none where the format has +z up, else up."""
    centre: Centring = "auto"
    """poses: the cameras' mean; focus: where their axes meet; none: the origin; auto: none where the format has the
    scene in the middle, else the middle of its points, else focus."""
    half: Annotated[float, Interval(gt=0, le=1e6)] | None = None
    """Half the side of the box, in the capture's own units; by default from its points, its bounds or its cameras."""


def normalize(capture: Capture, frame: Frame | None = None) -> Capture:
    """Return the capture in coordinates in which its box is [-1, 1]^3; `to_world` says how to get back.

    Args:
        capture: as a reader returns it.
        frame: what is up, where the middle is, and how large the box.

    Raises:
        UserError: no box can be made: all cameras stand on one point and the capture says nothing of its size.
    """
    frame = frame or Frame()
    turn = _rotation(capture, frame.orient)
    turned = _moved(capture.cameras, turn, torch.zeros(3), 1.0)
    points = None if capture.points is None else capture.points @ turn.T
    # After the turn: the box is aligned with the new axes, so its middle and size are taken along them.
    middle = _middle(turned, points, capture, frame)
    half = frame.half if frame.half is not None else _half(turned, points, middle, capture)
    if not 0 < half < float("inf"):
        raise UserError(
            f"the capture's box: expected a positive size, got {half:g}; the cameras do not show how large the scene "
            "is: give half the side of its box (--half)"
        )
    cameras = _moved(turned, torch.eye(3), middle, half)
    back = torch.eye(4, dtype=torch.float64)
    # The inverse of turn, shift and scale, in float64: captures may have coordinates of many kilometres.
    back[:3, :3] = half * turn.T.double()
    back[:3, 3] = turn.T.double() @ middle.double()
    return replace(
        capture,
        cameras=cameras,
        bounds=None if capture.bounds is None else capture.bounds / half,
        points=None if points is None else (points - middle) / half,
        to_world=(capture.to_world.double() @ back).float(),
        upright=True,
        centred=True,
        half=1.0,
        notes=(*capture.notes, *_notes(cameras)),
    )


def _moved(cameras: Cameras, turn: Float[Tensor, "3 3"], middle: Float[Tensor, " 3"], scale: float) -> Cameras:
    """Return cameras in turned, then shifted, then scaled coordinates."""
    poses = cameras.poses.clone()
    poses[:, :3, :3] = turn @ cameras.poses[:, :3, :3]
    poses[:, :3, 3] = (cameras.centres @ turn.T - middle) / scale
    return cameras.moved(poses)


def _rotation(capture: Capture, orient: Orientation) -> Float[Tensor, "3 3"]:
    """Return the rotation that brings up to +z."""
    if orient == "none" or (orient == "auto" and capture.upright):
        return torch.eye(3)
    cameras = capture.cameras
    mean_up = cameras.poses[:, :3, 1].double().mean(0)
    up = mean_up
    if orient == "pca":
        spread = cameras.centres.double() - cameras.centres.double().mean(0)
        # Hand-held cameras move around a thing more than up and down. The direction has no sign, so the tops of the
        # cameras give it one.
        up = torch.linalg.svd(spread.T @ spread)[0][:, 2]
        up = up * (1 if float(up @ mean_up) >= 0 else -1)
    if float(up.norm()) < 1e-3:
        return torch.eye(3)  # the cameras' tops point everywhere: nothing is up
    return _to_z(up / up.norm()).float()


def _to_z(up: Float[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """Return the shortest rotation of a unit vector to +z (Rodrigues' formula)."""
    z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    # Upside down there is no shortest rotation, and Rodrigues' formula divides by 0: half a turn about x is as good as
    # any.
    if float(up[2]) < -1 + 1e-9:
        return torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    x, y, w = torch.linalg.cross(up, z).tolist()
    skew = torch.tensor([[0.0, -w, y], [w, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + skew + skew @ skew / (1 + float(up[2]))


def _middle(
    cameras: Cameras, points: Float[Tensor, "N 3"] | None, capture: Capture, frame: Frame
) -> Float[Tensor, " 3"]:
    """Return the point that becomes the origin."""
    if frame.centre == "none" or (frame.centre == "auto" and capture.centred):
        return torch.zeros(3)
    if frame.centre == "poses":
        return cameras.centres.mean(0)
    if frame.centre == "auto" and points is not None and len(points):
        low, high = _range(points)
        return (low + high) / 2
    # The axes of cameras that face one way meet nowhere near, so for those the bounds say how far the scene is.
    if _faces_one_way(cameras) and capture.bounds is not None:
        return cameras.centres.mean(0) + _mean_forward(cameras) * float(capture.bounds.mean())
    return focus_point(cameras)


def _half(
    cameras: Cameras, points: Float[Tensor, "N 3"] | None, middle: Float[Tensor, " 3"], capture: Capture
) -> float:
    """Return half the side of the box: from the capture itself, its points, its bounds, or its cameras."""
    if capture.half is not None:
        return capture.half
    if points is not None and len(points):
        low, high = _range(points)
        return float(torch.maximum((high - middle).abs(), (low - middle).abs()).max())
    if _faces_one_way(cameras) and capture.bounds is not None:
        # What the cameras see at the far end fits beside, and near to far fits along.
        near, far = capture.bounds[:, 0].min(), capture.bounds[:, 1].max()
        return float(torch.maximum((far - near) / 2, far * _tangents(cameras).median()))
    # The ball that the median camera just sees whole: an object that is in all pictures lies inside it.
    distance = (cameras.centres - middle).norm(dim=1)
    tangent = _tangents(cameras)
    return float((distance * tangent / (1 + tangent.square()).sqrt()).median())


def _tangents(cameras: Cameras) -> Float[Tensor, " V"]:
    """Return the tangent of half the angle that the shorter side of each picture sees."""
    return (cameras.sizes.flip(1) / 2 / cameras.intrinsics[:, :2]).min(1).values


def _faces_one_way(cameras: Cameras) -> bool:
    return len(cameras) == 1 or convergence(cameras) < INSIDE_OUT


def _mean_forward(cameras: Cameras) -> Float[Tensor, " 3"]:
    forward = cameras.forwards.mean(0)
    return forward / forward.norm()


def _range(points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return the lowest and highest coordinates of points, strays left out."""
    ordered = points.sort(0).values
    skip = int(len(points) * (1 - POINT_SHARE) / 2)
    return ordered[skip], ordered[len(points) - 1 - skip]


def _notes(cameras: Cameras) -> list[str]:
    """Return warnings about cameras and the box."""
    notes = []
    inside = int((cameras.centres.abs() < 1).all(1).sum())
    if inside:
        notes.append(
            f"{inside} of {len(cameras)} cameras stand inside the scene's box: what is before them may fill with fog; "
            "check the centre, or give the box's size"
        )
    if len(cameras) == 1:
        notes.append("one view: whatever is behind its surface is free")
    return notes
