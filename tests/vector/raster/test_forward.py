"""The forward pass against its twin: pixels from spans."""

import numpy as np
import pytest
import torch

from runtime.vector.raster.kernels import forward as kernels
from runtime.vector.raster.kernels.arrays import BLOCK, Row
from runtime.vector.raster.reference import forward as reference
from runtime.vector.raster.reference import rasterize_torch
from tests.tolerance import RASTER_STAGE, RASTER_TWIN
from tests.vector.raster.stages import GENERAL, SEEDS, from_python, run_stages, stages_of


@pytest.mark.parametrize("seed", SEEDS)
def test_forward(seed: int) -> None:
    stages = stages_of(seed)
    assert np.abs(stages.image - reference.forward(stages.paths, stages.saved, stages.size)).max() < RASTER_STAGE


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_forward_band(seed: int) -> None:
    """One band alone, without a tape: the same pixels, and no other row of the picture is written."""
    stages = run_stages(seed)
    stages.bands.rows[:] = 0
    untaped = stages.saved._replace(tapes=stages.saved.tapes[:, :0])
    stride = stages.size[1] + 2 * BLOCK
    job = len(stages.saved.cell_ends) - 1
    band, image = stages.band(job), np.full_like(stages.image, -1)
    from_python(kernels.forward_band)(
        stages.paths, stages.bands, untaped, band, image, Row(np.zeros(3 * stride), stride), np.empty(stride)
    )
    rows = image[band.scene, :, band.top : band.bottom].copy()
    assert np.abs(rows - reference.forward_band(stages.paths, stages.saved, band)).max() < RASTER_STAGE
    image[band.scene, :, band.top : band.bottom] = -1
    assert (image == -1).all()


@pytest.mark.parametrize("seed", GENERAL)
def test_picture_by_the_other_road(seed: int) -> None:
    stages = stages_of(seed)
    assert np.abs(stages.image - rasterize_torch(stages.drawing, stages.size).numpy()).max() < RASTER_TWIN


def test_stages_are_the_rasterizers() -> None:
    """What these tests look at is what `rasterize` does."""
    from runtime.vector.raster import rasterize

    for seed in SEEDS[:3]:
        stages = stages_of(seed)
        assert torch.equal(rasterize(stages.drawing, stages.size), torch.from_numpy(stages.image))
