"""Raw densities of fields that are no grids."""

import torch

from runtime.field.fields.raw import raw_of
from runtime.field.march import EXTENT


def test_a_grids_softplus_gives_the_density_again() -> None:
    density = torch.tensor([0.01, 1.0, 32.0, 500.0], dtype=torch.float64)
    raw = raw_of(density, 2.0)
    assert torch.allclose(torch.nn.functional.softplus(raw) * EXTENT / 2.0, density)
    assert torch.isfinite(raw_of(torch.tensor([0.0, 1e30]), 2.0)).all()
