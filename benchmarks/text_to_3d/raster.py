"""A mesh through a camera, without a graphics library: which pixels it covers, and where their surfaces face."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from benchmarks.text_to_3d.kernels import draw_triangles
from runtime.field.cameras import Cameras
from runtime.field.meshes.shape import Mesh, vertex_normals

OVER = 2
"""Pixels of the picture that is drawn for each pixel of the result, along each axis."""

LAMP = torch.tensor([-0.4, 0.6, 0.7]) / math.sqrt(1.01)
"""Direction of the light in camera space: that of the set of objects."""

ALBEDO = 0.5
"""Of the matter, linear: a white one would hardly be seen before white."""


def surface_seen(
    mesh: Mesh, cameras: Cameras, view: int, side: int
) -> tuple[Bool[np.ndarray, "S S"], Float[np.ndarray, "S S 3"]]:
    """Return which pixels a mesh covers, and the unit normals in world coordinates there.

    Args:
        mesh: in world coordinates.
        cameras: square ones; `side` decides the size.
        view: which of them.
        side: pixels of the result.
    """
    camera = cameras[view].scaled(side / int(cameras.sizes[view, 0]))
    pixels, depth = camera.project(torch.from_numpy(mesh.vertices).float())
    pixels, depth = pixels.double(), depth.double()
    inverse = 1 / depth[0].clamp(min=1e-6)
    points = torch.cat([pixels[0], torch.where(depth[0] > 0, inverse, 0)[:, None]], dim=1).numpy()
    nearest, facing = np.zeros((side, side)), np.zeros((side, side, 3))
    draw_triangles(points[mesh.faces], vertex_normals(mesh).astype(np.float64)[mesh.faces], side, nearest, facing)
    length = np.linalg.norm(facing, axis=2, keepdims=True)
    return nearest > 0, facing / np.maximum(length, 1e-9)


def grey_picture(mesh: Mesh | None, cameras: Cameras, view: int) -> Float[Tensor, "3 S S"]:
    """Return a mesh of grey matter before white, under the lamp of the set of objects; world up is +z.

    The set's light, linear, times `ALBEDO`: 0.68 (0.92 + 0.08 n_up) + 0.40 max(0, n . lamp), then sRGB.

    Args:
        mesh: None shows the background alone.
        cameras: square ones.
        view: which of them.
    """
    side = int(cameras.sizes[view, 0])
    if mesh is None:
        return torch.ones(3, side, side)
    covered, normals = surface_seen(mesh, cameras, view, OVER * side)
    facing = torch.from_numpy(normals).float()
    towards = (facing @ cameras.poses[view, :3, :3]) @ LAMP
    linear = ALBEDO * (0.68 * (0.92 + 0.08 * facing[..., 2]) + 0.40 * towards.clamp(min=0))
    shade = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-6) ** (1 / 2.4) - 0.055)
    picture = torch.where(torch.from_numpy(covered), shade, torch.ones(()))
    return functional.avg_pool2d(picture[None, None], OVER)[0].expand(3, -1, -1)
