"""All that is drawn, on one picture: a line a prompt, a block of 8 azimuths a row, in colour and below it in grey."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.text_to_3d.definitions import Row
from benchmarks.text_to_3d.jobs import Job, is_done, views_of
from benchmarks.text_to_3d.views import AZIMUTHS, read_views
from benchmarks.turntables import write_small
from runtime.field.sheets import contact_sheet

CELL = 44
"""Pixels of a view on the sheet."""


def write_sheet(path: Path, rows: Sequence[Row], jobs: Sequence[Mapping[str, Job]], out: Path) -> None:
    """Write the lower elevation's views of all objects that are drawn; what is not yet drawn stays white.

    Args:
        path: PNG to write.
        rows: blocks from left to right.
        jobs: of each row, by prompt, all in the same order.
        out: folder of the objects.
    """
    cells = []
    for prompt in jobs[0]:
        drawn = [own[prompt] for own in jobs]
        if not any(is_done(job, out) for job in drawn):
            continue
        blank = torch.ones(2, AZIMUTHS, 3, CELL, CELL)
        views = [_small(read_views(views_of(job, out))) if is_done(job, out) else blank for job in drawn]
        cells += [view for looks in (0, 1) for block in views for view in block[looks]]
    if cells:
        write_small(path, contact_sheet(cells, AZIMUTHS * len(rows)))


def _small(views: torch.Tensor) -> torch.Tensor:
    lower = views[:, :AZIMUTHS]
    return functional.interpolate(lower.flatten(0, 1), size=(CELL, CELL), mode="area").view(2, AZIMUTHS, 3, CELL, CELL)
