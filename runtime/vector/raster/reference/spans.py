"""Twins of `kernels.spans`: what each path covers in one pixel row."""

from itertools import groupby

import numpy as np

from runtime.vector.raster.kernels.cells import CELL_BITS, COLUMN_BITS, DOWN, LEFT, RIGHT, UP, WRAPS, Bands
from runtime.vector.raster.kernels.pixel import PIXEL_EDGE
from runtime.vector.raster.kernels.spans import EXACT, SPAN
from runtime.vector.raster.reference.cells import cell_of
from runtime.vector.raster.reference.pixel import inside, pixel_area


def simple_coverage(mean: float, mask: int, evenodd: bool) -> tuple[float, float]:
    """Coverage and slope of a pixel in which the winding number takes two values that differ by one.

    Coverage is linear in the mean winding number between two integers. At an integer one of the two regions is empty,
    and the direction of the edge, in its mask, tells which.
    """
    low = np.floor(mean)
    if abs(mean - np.rint(mean)) < 1e-11:
        low = np.rint(mean) - (1 if mask & (DOWN | LEFT) else 0)
    below, above = inside(int(low), evenodd), inside(int(low) + 1, evenodd)
    return below + (above - below) * (mean - low), above - below


def _cannot_cross_itself(mask: int, parts: int) -> bool:
    both_ways = [mask & (DOWN | UP) == DOWN | UP, mask & (LEFT | RIGHT) == LEFT | RIGHT]
    return parts <= 2 or not all(both_ways)


def gather_edges(edges: np.ndarray, bands: Bands, first: int, span: np.void, row: int) -> np.ndarray:
    """All parts in the pixel of a span in a row, as PIXEL_EDGE; `first` is the band's first cell."""
    keys = bands.keys[span["first"] : span["first"] + span["cells"]]
    cells = [bands.cells[cell_of(first, key)] for key in keys.tolist()]
    parts = np.concatenate([bands.parts[cell["part"] : cell["part"] + cell["count"]] for cell in cells])
    whole = edges[bands.entries[parts["entry"]]]
    gathered = np.zeros(len(parts), PIXEL_EDGE)
    for name in ("s", "t", "borders", "entry"):
        gathered[name] = parts[name]
    for axis, origin in (("x", span["start"]), ("y", row)):
        way = whole[f"{axis}1"] - whole[f"{axis}0"]
        gathered[f"{axis}0"] = whole[f"{axis}0"] + parts["s"] * way - origin
        gathered[f"{axis}1"] = whole[f"{axis}0"] + parts["t"] * way - origin
    return gathered


def sweep_row(bands: Bands, keys: range, first: int, evenodd: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """One row's spans, lowest path first, and the number of those of slope EXACT, which have no coverage yet.

    Args:
        bands: with sorted keys.
        keys: where those of the row are.
        first: the band's first cell.
        evenodd: (P,) whether a path's rule is even-odd.
        width: of the picture.
    """
    spans = []

    def add(path: int, start: int, stop: int, **values) -> None:
        span = np.zeros((), SPAN)
        for name, value in {"path": path, "start": start, "stop": stop, **values}.items():
            span[name] = value
        spans.append(span)

    for path, of_path in groupby(keys, lambda k: int(bands.keys[k]) >> CELL_BITS + COLUMN_BITS):
        rule = bool(evenodd[path])
        column, cover, corner = 0, 0.0, 0
        for pixel, of_pixel in groupby(of_path, lambda k: int(bands.keys[k]) >> CELL_BITS):
            places = list(of_pixel)
            cells = bands.cells[[cell_of(first, int(bands.keys[k])) for k in places]]
            here = pixel % 2**COLUMN_BITS - 1
            if here > column and inside(round(cover), rule):
                add(path, column, here, coverage=1.0)
            if here >= 0:
                mask = int(np.bitwise_or.reduce(cells["mask"]))
                # A contour that closes in this pixel has two cells here which are one visit of it.
                once = len(cells) == 1 or (len(cells) == 2 and bool((cells["mask"] & WRAPS).all()))
                values = {"cells": len(cells), "corner": corner, "first": places[0]}
                if once and _cannot_cross_itself(mask, int(cells["count"].sum())):
                    coverage, slope = simple_coverage(cover + cells["area"].sum(), mask, rule)
                    only = cell_of(first, int(bands.keys[places[0]])) if len(cells) == 1 else places[0]
                    add(path, here, here + 1, **values | {"coverage": coverage, "slope": slope, "first": only})
                else:
                    add(path, here, here + 1, **values, slope=EXACT)
                column = here + 1
            cover += cells["cover"].sum()
            # A whole number of crossings, where the cover has rounding errors.
            corner += int(cells["top"].sum())
        if column < width and inside(round(cover), rule):
            add(path, column, width, coverage=1.0)
    row = np.array(spans, SPAN) if spans else np.empty(0, SPAN)
    return row, int((row["slope"] == EXACT).sum())


def cover_exactly(
    edges: np.ndarray, bands: Bands, first: int, row: int, evenodd: np.ndarray, spans: np.ndarray
) -> np.ndarray:
    """The coverage of a row's spans, with that of those whose slope is EXACT found in their pixels."""
    coverage = spans["coverage"].copy()
    for k in np.flatnonzero(spans["slope"] == EXACT):
        gathered = gather_edges(edges, bands, first, spans[k], row)
        coverage[k] = pixel_area(gathered, int(spans[k]["corner"]), bool(evenodd[spans[k]["path"]]))
    return coverage
