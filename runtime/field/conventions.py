"""Conventions of cameras, by name, to ours (OpenGL, camera-to-world) and back.

| name | matrix | axes of the camera |
|---|---|---|
| opengl | camera-to-world | right, up, backwards: Blender, NeRF, nerfstudio, instant-ngp |
| opencv | camera-to-world | right, down, forwards |
| colmap | world-to-camera | right, down, forwards |
| llff | camera-to-world | down, right, backwards |
| dtu | world to pixels, K times colmap's: x, y and depth, all times depth | right, down, forwards |
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Convention = Literal["opengl", "opencv", "colmap", "llff", "dtu"]
"""A convention's name."""

CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
"""All of them."""


def to_opengl(matrices: Float[Tensor, "V 4 4"], convention: Convention) -> Float[Tensor, "V 4 4"]:
    """Return camera-to-world matrices in the OpenGL convention; of dtu, without the intrinsics.

    Raises:
        torch.linalg.LinAlgError: a matrix of colmap or dtu has no inverse.
    """
    if convention == "dtu":
        return decompose_projections(matrices)[0]
    if convention == "colmap":
        return _turned(torch.linalg.inv(matrices.double()).to(matrices.dtype))
    if convention == "opencv":
        return _turned(matrices)
    if convention == "llff":
        down, right, back, centre = matrices.unbind(-1)
        return torch.stack([right, -down, back, centre], dim=-1)
    return matrices.clone()


def from_opengl(
    poses: Float[Tensor, "V 4 4"], convention: Convention, intrinsics: Float[Tensor, "V 4"] | None = None
) -> Float[Tensor, "V 4 4"]:
    """Return OpenGL's camera-to-world matrices in another convention.

    Args:
        poses: camera-to-world.
        convention: the other one.
        intrinsics: fx, fy, cx, cy, which only dtu needs.

    Raises:
        ValueError: dtu without intrinsics.
    """
    if convention == "dtu":
        if intrinsics is None:
            raise ValueError("the convention dtu holds the intrinsics too: expected fx, fy, cx, cy, got none")
        return _calibration(intrinsics) @ from_opengl(poses, "colmap")
    if convention == "colmap":
        return torch.linalg.inv(_turned(poses).double()).to(poses.dtype)
    if convention == "opencv":
        return _turned(poses)
    if convention == "llff":
        right, up, back, centre = poses.unbind(-1)
        return torch.stack([-up, right, back, centre], dim=-1)
    return poses.clone()


def decompose_projections(
    matrices: Float[Tensor, "V 4 4"],
) -> tuple[Float[Tensor, "V 4 4"], Float[Tensor, "V 4"]]:
    """Return the poses (OpenGL, camera-to-world) and fx, fy, cx, cy of matrices from the world to pixels.

    The left 3 x 3 block is K R: an upper triangular calibration, scaled at will, times a rotation. Skew is dropped.
    """
    block = matrices[:, :3, :3].double()
    # RQ by QR: reversing rows and columns turns the lower triangle of a transposed QR into the upper one of K.
    flip = torch.eye(3, dtype=torch.float64).flip(0)
    q, r = torch.linalg.qr((flip @ block).transpose(1, 2))
    upper, rotation = flip @ r.transpose(1, 2) @ flip, flip @ q.transpose(1, 2)
    sign = torch.sign(torch.diagonal(upper, dim1=1, dim2=2))
    upper, rotation = upper * sign[:, None, :], rotation * sign[:, :, None]
    # A projection is only given up to its sign: the one of a rotation is the camera's.
    rotation = rotation * torch.sign(torch.linalg.det(rotation))[:, None, None]
    centre = -torch.linalg.solve(block, matrices[:, :3, 3:].double())
    poses = torch.eye(4, dtype=torch.float64).repeat(len(matrices), 1, 1)
    poses[:, :3, :3] = rotation.transpose(1, 2)
    poses[:, :3, 3:] = centre
    upper = upper / upper[:, 2:, 2:]
    intrinsics = torch.stack([upper[:, 0, 0], upper[:, 1, 1], upper[:, 0, 2], upper[:, 1, 2]], dim=1)
    return _turned(poses.to(matrices.dtype)), intrinsics.to(matrices.dtype)


def _turned(poses: Float[Tensor, "V 4 4"]) -> Float[Tensor, "V 4 4"]:
    """Return camera-to-world matrices with y and z of the camera turned round: OpenGL to OpenCV and back."""
    return poses * torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=poses.dtype)


def _calibration(intrinsics: Float[Tensor, "V 4"]) -> Float[Tensor, "V 4 4"]:
    """Return the calibration matrices K, as 4 x 4."""
    matrices = torch.eye(4, dtype=intrinsics.dtype).repeat(len(intrinsics), 1, 1)
    matrices[:, 0, 0], matrices[:, 1, 1] = intrinsics[:, 0], intrinsics[:, 1]
    matrices[:, 0, 2], matrices[:, 1, 2] = intrinsics[:, 2], intrinsics[:, 3]
    return matrices
