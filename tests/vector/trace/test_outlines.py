from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from runtime.vector.trace.outlines import fit_closed, sample_closed, trace_outline
from runtime.vector.trace.regions import filled_mask


def polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return 0.5 * float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def test_a_pixels_outline_is_its_four_edges_clockwise():
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    assert trace_outline(mask).tolist() == [[2.5, 1], [3, 1.5], [2.5, 2], [2, 1.5]]


def test_pixels_that_touch_at_a_corner_are_apart():
    mask = np.eye(3, dtype=bool)
    assert len(trace_outline(mask)) == 4


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.9))
def test_an_outline_has_every_outer_edge_once(seed, density):
    noise = np.random.default_rng(seed).random((12, 15)) < density
    labels, count = ndimage.label(noise)
    if not count:
        return
    # brute force: every edge of the region once what is outside, corners included, cannot reach into it
    region = np.pad(ndimage.binary_fill_holes(np.pad(labels == 1, 1), structure=np.ones((3, 3))), 1)
    edges = sum(int(np.abs(np.diff(region.astype(int), axis=axis)).sum()) for axis in (0, 1))
    outline = trace_outline(labels == 1)
    assert len(outline) == edges == len(np.unique(outline, axis=0))
    assert np.abs(np.diff(np.concatenate([outline, outline[:1]]), axis=0)).max() <= 1
    assert polygon_area(outline) > 0


def test_a_disc_is_fitted_to_a_tenth_of_a_pixel():
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    outline = 50 + 30 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = fit_closed(outline, 4)
    assert points.shape == (12, 2)
    radius = np.linalg.norm(sample_closed(points, 40) - 50, axis=1)
    assert np.abs(radius - 30).max() < 0.1


@pytest.mark.parametrize("corners", [[(10, 10), (60, 15), (55, 50), (12, 44)], [(5, 5), (70, 30), (20, 60)]])
def test_corners_are_where_segments_end(corners):
    corners = np.array(corners, float)
    nodes = np.concatenate([corners, corners[:1]])
    t = np.linspace(0, 1, 100, endpoint=False)[:, None]
    outline = np.concatenate([a + (b - a) * t for a, b in pairwise(nodes)])
    points = fit_closed(outline, 4)
    for corner in corners:
        assert np.linalg.norm(points[::3] - corner, axis=1).min() < 1
    assert polygon_area(sample_closed(points, 30)) == pytest.approx(polygon_area(corners), rel=0.01)


def test_a_blob_is_followed():
    rows, columns = np.mgrid[:64, :64]
    mask = (np.hypot(rows - 30, columns - 28) < 18) | ((abs(rows - 40) < 6) & (columns > 30) & (columns < 58))
    fitted = filled_mask(fit_closed(trace_outline(mask), 4), mask.shape)
    overlap = (fitted & mask).sum() / (fitted | mask).sum()
    assert overlap > 0.92
    finer = filled_mask(fit_closed(trace_outline(mask), 8), mask.shape)
    assert (finer & mask).sum() / (finer | mask).sum() > 0.965


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 30), (2, 2)])
def test_tiny_and_thin_regions_have_paths(shape):
    mask = np.zeros((40, 40), bool)
    mask[5 : 5 + shape[0], 7 : 7 + shape[1]] = True
    points = fit_closed(trace_outline(mask), 4)
    assert points.shape == (12, 2) and np.isfinite(points).all()
    assert points.min() > 2 and points.max() < 42
