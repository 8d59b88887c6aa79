"""Kernels of cells against their twins: entries, cover, area, order."""

import numpy as np
import pytest

from runtime.vector.raster.kernels import cells as kernels
from runtime.vector.raster.kernels.outline import EDGE
from runtime.vector.raster.reference import cells as reference
from runtime.vector.raster.reference.build import enter_bands
from tests.tolerance import RASTER_STAGE
from tests.vector.raster.stages import SEEDS, Stages, from_python, stages_of


def jobs(stages: Stages) -> range:
    return range(len(stages.saved.cell_ends))


def cells_of(stages: Stages, job: int) -> np.ndarray:
    return stages.bands.cells[stages.bands.firsts[job] : stages.saved.cell_ends[job]]


@pytest.mark.parametrize("seed", SEEDS)
def test_locate_band_and_cell_of(seed: int) -> None:
    stages = stages_of(seed)
    for job in jobs(stages):
        band = stages.band(job)
        paths = stages.drawing.layout.num_paths
        assert tuple(from_python(kernels.locate_band)(stages.bands, job, paths, stages.size)) == tuple(band)
        for number in (0, 1, 77):
            key = (((5 << kernels.COLUMN_BITS) | 3) << kernels.CELL_BITS) | number
            assert from_python(kernels.cell_of)(stages.bands, band, key) == reference.cell_of(band.first, key)


@pytest.mark.parametrize("seed", SEEDS)
def test_count_entries_and_fill_entries(seed: int) -> None:
    stages = stages_of(seed)
    edges, paths = stages.outline.edges, stages.drawing.layout.num_paths
    lists = enter_bands(edges, paths, len(stages.drawing.points), stages.size)
    firsts = stages.bands.entry_firsts
    assert [stages.bands.entries[firsts[job] : firsts[job + 1]].tolist() for job in jobs(stages)] == lists
    bands = len(range(0, stages.size[0], kernels.BAND))
    room = [
        reference.count_entries(edges[entries], stages.size)[:, job % bands].sum() for job, entries in enumerate(lists)
    ]
    assert np.diff(stages.bands.firsts).tolist() == room


@pytest.mark.parametrize("seed", SEEDS)
def test_accumulate_cells(seed: int) -> None:
    """All cells of a path in a pixel together have the cover and area of the parts of edges there."""
    stages = stages_of(seed)
    paths, width = stages.drawing.layout.num_paths, stages.size[1]
    for job in jobs(stages):
        band, cells = stages.band(job), cells_of(stages, job)
        first, end = stages.bands.entry_firsts[job : job + 2]
        edges = stages.outline.edges[stages.bands.entries[first:end]]
        rows = range(band.top, band.bottom)
        cover, area = reference.accumulate_cells(edges, edges["path"] - band.path, paths, rows, width)
        for name, twin in (("cover", cover), ("area", area)):
            dense = np.zeros_like(twin)
            np.add.at(dense, (cells["path"], cells["row"] - band.top, cells["column"] + 1), cells[name])
            assert np.abs(dense - twin).max() < RASTER_STAGE, name


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_make_up_their_cells(seed: int) -> None:
    """A cell's cover is the height of its parts, which lie within its pixel, one after another."""
    stages = stages_of(seed)
    for job in jobs(stages):
        cells = cells_of(stages, job)
        assert len(cells) <= np.diff(stages.bands.firsts)[job]
        for cell in cells[cells["column"] >= 0]:
            parts = stages.bands.parts[cell["part"] : cell["part"] + cell["count"]]
            edges = stages.outline.edges[stages.bands.entries[parts["entry"]]]
            heights = (parts["t"] - parts["s"]) * (edges["y1"] - edges["y0"])
            assert abs(heights.sum() - cell["cover"]) < RASTER_STAGE
            for axis, low in (("x", cell["column"]), ("y", cell["row"])):
                for at in ("s", "t"):
                    place = edges[f"{axis}0"] + parts[at] * (edges[f"{axis}1"] - edges[f"{axis}0"])
                    assert place.min() > low - RASTER_STAGE
                    assert place.max() < low + 1 + RASTER_STAGE


@pytest.mark.parametrize("seed", SEEDS)
def test_sort_cells(seed: int) -> None:
    stages = stages_of(seed)
    for job in jobs(stages):
        band, cells = stages.band(job), cells_of(stages, job)
        assert stages.bands.keys[band.first : band.first + len(cells)].tolist() == reference.sort_cells(cells).tolist()
        ends = stages.bands.rows[band.row : band.row + band.bottom - band.top] - band.first
        assert ends.tolist() == [(cells["row"] <= row).sum() for row in range(band.top, band.bottom)]


def test_cover_and_area_of_one_edge_in_closed_form() -> None:
    """From (0.5, 0) to (1.5, 1): two triangles to its right, each within its pixel."""
    edges = np.zeros(1, EDGE)
    edges["x0"], edges["x1"], edges["y1"] = 0.5, 1.5, 1
    cover, area = reference.accumulate_cells(edges, np.zeros(1, np.int64), 1, range(1), 3)
    assert cover[0, 0].tolist() == [0, 0.5, 0.5, 0]
    assert area[0, 0].tolist() == [0, 0.125, 0.375, 0]
