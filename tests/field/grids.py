"""Grids and rays for tests."""

import torch

from runtime.field.cameras import Rays
from runtime.field.fields.grid import DenseGrid, cell_of
from runtime.field.march import STEP
from runtime.field.reference.grid import march_rays
from runtime.field.volume import Rendering

SHOWN = ("colour", "transmittance", "depth", "distortion", "normal")

BOX = torch.tensor([-1.0, -1.2, -0.8, 2.0])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_grid(seed: int, size: int = 17, groups: int = 1, share: float = 0.6) -> DenseGrid:
    """Return a grid of noise some of whose cells are empty."""
    draws = generator(seed)
    values = 2 * torch.randn(size, size, size, groups, 4, generator=draws)
    values[..., 1:, 0] = 0
    cells = (size - 1) // cell_of(size)
    occupied = torch.rand(cells, cells, cells, generator=draws) < share
    return DenseGrid(values, occupied.to(torch.uint8), BOX)


def random_rays(seed: int, count: int = 300) -> tuple[Rays, torch.Tensor]:
    """Return rays from all sides, most of which meet the box, and their jitter."""
    draws = generator(seed)
    centre = BOX[:3] + BOX[3] / 2
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=draws), dim=1) * 3
    aims = torch.randn(count, 3, generator=draws) * 0.6
    directions = torch.nn.functional.normalize(aims - origins, dim=1)
    return Rays(origins + centre, directions), torch.rand(count, generator=draws)


def twin(
    field: DenseGrid, values: torch.Tensor, rays: Rays, jitter: torch.Tensor, *, normals: bool, step: float = STEP
) -> Rendering:
    """Return what the readable twin shows, in the dtype of `values`."""
    dtype = values.dtype
    box = (field.box[:3].to(dtype), field.side)
    same = Rays(rays.origins.to(dtype), rays.directions.to(dtype))
    return march_rays(values, field.occupied.bool(), box, same, jitter.to(dtype), normals=normals, step=step)
