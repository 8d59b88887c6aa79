"""What can be wrong with poses: numbers that are none, matrices that are no rotation, and mixed up conventions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from runtime.errors import UserError
from runtime.field.cameras import Cameras

ROTATION_ERROR = 0.02
"""Most that R^T R may differ from the identity: poses that were printed with few digits pass."""

SEEN_SHARE = 0.8
"""Share of cameras that must agree before a capture is taken to be wrong altogether."""


def check_poses(poses: Float[Tensor, "V 4 4"], names: Sequence[str]) -> Float32[Tensor, "V 4 4"]:
    """Return poses whose rotations are exact; small errors of rounding are mended.

    Raises:
        UserError: a pose holds NaN or infinity, or is no rotation and translation; the frame is named.
    """
    values = poses.double()
    for row, name in enumerate(names):
        if not values[row].isfinite().all():
            raise UserError(f"the pose of '{name}': expected finite numbers, got NaN or infinity; pose it anew")
    turn = values[:, :3, :3]
    error = (turn.transpose(1, 2) @ turn - torch.eye(3, dtype=torch.float64)).abs().amax((1, 2))
    handed = torch.linalg.det(turn)
    for row, name in enumerate(names):
        if handed[row] < 0 and error[row] < ROTATION_ERROR:
            raise UserError(
                f"the pose of '{name}': expected a rotation, got one that mirrors; one axis alone was flipped on "
                "the way from another convention"
            )
        if error[row] > ROTATION_ERROR:
            lengths = ", ".join(f"{length:.3g}" for length in turn[row].norm(dim=0).tolist())
            raise UserError(
                f"the pose of '{name}': expected a rotation, got columns of lengths {lengths} that are not "
                "perpendicular unit vectors; give camera-to-world matrices without a scale"
            )
    u, _, vh = torch.linalg.svd(turn)
    exact = torch.eye(4, dtype=torch.float64).repeat(len(values), 1, 1)
    exact[:, :3, :3] = u @ vh
    exact[:, :3, 3] = values[:, :3, 3]
    return exact.float()


def check_intrinsics(cameras: Cameras, names: Sequence[str]) -> None:
    """Refuse focal lengths and centres that no picture has.

    Raises:
        UserError: a focal length is not positive and finite; the frame is named.
    """
    for row, name in enumerate(names):
        fx, fy, cx, cy = cameras.intrinsics[row].tolist()
        if not (0 < fx < float("inf") and 0 < fy < float("inf") and abs(cx) + abs(cy) < float("inf")):
            raise UserError(
                f"the camera of '{name}': expected positive focal lengths, got fx {fx:g}, fy {fy:g}, cx {cx:g}, cy "
                f"{cy:g}; give fl_x and fl_y in pixels, or camera_angle_x in radians"
            )


def focus_point(cameras: Cameras) -> Float[Tensor, " 3"]:
    """Return the point that is nearest to the axes of all cameras, by least squares.

    Axes that are nearly parallel do not meet; the point then stays near the cameras' mean position.
    """
    direction = cameras.forwards.double()
    across = torch.eye(3, dtype=torch.float64) - direction[:, :, None] * direction[:, None, :]
    matrix = across.mean(0)
    centres = cameras.centres.double()
    aim = (across @ centres[:, :, None]).mean(0)[:, 0]
    # A touch of the mean position where the axes leave the point free.
    ridge = 1e-7 * torch.eye(3, dtype=torch.float64)
    return torch.linalg.solve(matrix + ridge, aim + ridge @ centres.mean(0)).float()


def convergence(cameras: Cameras) -> float:
    """Return how much the axes of the cameras differ in direction: 0 for parallel ones, 1 for all directions."""
    direction = cameras.forwards.double()
    return float(1 - direction.mean(0).norm())


def find_flips(cameras: Cameras, names: Sequence[str]) -> list[str]:
    """Return warnings where cameras look as if their axes were flipped, in words; none for a sound capture.

    A camera that looks away from the point that all axes meet at was probably given in OpenCV's convention. Where some
    do and others do not, two conventions may be mixed, or the cameras look about in a room.
    """
    if len(cameras) < 3 or convergence(cameras) < 0.05:
        return []
    towards = focus_point(cameras) - cameras.centres
    along = (towards * cameras.forwards).sum(1) / towards.norm(dim=1).clamp(min=1e-9)
    # A camera beside the axis says nothing.
    ahead, behind = along > 0.5, along < -0.5
    count = len(cameras)
    if int(behind.sum()) >= SEEN_SHARE * count:
        return [
            f"{int(behind.sum())} of {count} cameras look away from the point where their axes meet: the poses are "
            "probably in another convention; try --convention opencv, or opengl where it is opencv now"
        ]
    if int(behind.sum()) >= 1 and int(ahead.sum()) >= 1 and int((ahead | behind).sum()) >= SEEN_SHARE * count:
        few = behind if behind.sum() <= ahead.sum() else ahead
        shown = ", ".join(f"'{names[i]}'" for i in few.nonzero()[:3, 0].tolist())
        return [
            f"{int(few.sum())} of {count} cameras look the other way than the rest ({shown}): two conventions may be "
            "mixed"
        ]
    return []


def find_tilt(cameras: Cameras) -> list[str]:
    """Return warnings about the upward direction of a capture that is upright: +z should be up in its pictures."""
    up = cameras.poses[:, 2, 1]
    if len(cameras) < 3:
        return []
    if float((up < -0.1).float().mean()) >= SEEN_SHARE:
        return ["the pictures stand upside down: up in most of them is -z; try --convention opencv, or --orient up"]
    sideways = cameras.poses[:, 2, 0].abs()
    if float((sideways > 0.5).float().mean()) >= SEEN_SHARE:
        return ["the pictures lie on their sides: their right is up or down; try --convention llff, or --orient up"]
    return []
