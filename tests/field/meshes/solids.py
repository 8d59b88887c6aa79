"""Solids whose volume, area and genus are known, as grids of numbers that are positive inside."""

import numpy as np
import torch
from torch import Tensor

from runtime.field.meshes.shape import Mesh
from runtime.field.meshes.surface import extract_surface

LOW, SIDE = torch.tensor([-1.0, -1, -1]), 2.0


def nodes(size: int) -> Tensor:
    axis = torch.linspace(-1, 1, size)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


def sphere(size: int = 40, radius: float = 0.7, centre: tuple = (0.0, 0.0, 0.0)) -> Tensor:
    return radius - (nodes(size) - torch.tensor(centre)).norm(dim=-1)


def torus(size: int = 48, ring: float = 0.6, tube: float = 0.25) -> Tensor:
    at = nodes(size)
    return tube - torch.stack([at[..., :2].norm(dim=-1) - ring, at[..., 2]], dim=-1).norm(dim=-1)


def surface(values: Tensor, level: float = 0.0) -> Mesh:
    return extract_surface(values, level=level, low=LOW, side=SIDE)


def position_colour(points: Tensor) -> Tensor:
    """Return the position as a colour."""
    return 0.5 + 0.5 * points


def tetrahedron() -> Mesh:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    return Mesh(vertices, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
