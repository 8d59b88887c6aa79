"""Edges moved to where the functional is lower, against its own energy and shapes whose answer is known."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from runtime.vector.trace.flat.kernels.moving import cheapest_areas
from runtime.vector.trace.threshold_dynamics import WIDTH, settled


def energy(labels: np.ndarray, pixels: np.ndarray, weights: np.ndarray, edge: float) -> tuple[float, float]:
    """Return the squared error of areas of their mean colours, and the cost of their edges as Esedoglu and Otto do."""
    error = length = 0.0
    for area in np.unique(labels):
        own = labels == area
        mean = np.average(pixels[own], axis=0, weights=weights[own])
        error += float((weights[own, None] * (pixels[own] - mean) ** 2).sum())
        # What flows out of an area in a short time is its length, times the width over the root of two pi.
        around = ndimage.gaussian_filter(own.astype(float), WIDTH, mode="reflect")
        length += float(((1 - around) * own).sum()) * np.sqrt(2 * np.pi) / WIDTH / 2
    return error, edge * length


def test_the_energy_of_an_edge_is_its_length() -> None:
    labels = np.zeros((40, 60), dtype=np.int64)
    labels[:, 25:] = 1
    pixels, weights = np.zeros((40, 60, 3)), np.ones((40, 60))
    # A sum over whole pixels is less than the integral by Euler's and Maclaurin's first term.
    assert energy(labels, pixels, weights, 0.5)[1] == pytest.approx(0.5 * 40 * (1 - 1 / (12 * WIDTH**2)), rel=1e-3)


def test_each_round_lowers_the_energy() -> None:
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(60, 70, 3)), (4, 4, 0)) * 4 + 0.5
    labels = np.asarray(ndimage.label(field[..., 0] > 0.5)[0], dtype=np.int64)
    weights = rng.uniform(0.2, 1.0, (60, 70))
    energies = [sum(energy(labels, field, weights, 0.02))]
    for _ in range(6):
        labels = settled(labels, field, weights, 0.02, rounds=1)
        energies.append(sum(energy(labels, field, weights, 0.02)))
    assert all(after <= before + 1e-9 for before, after in pairwise(energies))
    assert energies[-1] < 0.9 * energies[0]


def test_an_edge_between_near_shades_becomes_straight_again() -> None:
    rng = np.random.default_rng(1)
    height, width, middle = 90, 120, 60
    pixels = np.full((height, width, 3), 0.5)
    pixels[:, middle:] += 0.04
    pixels += rng.normal(size=pixels.shape) * 0.01
    wavering = middle + np.round(2.5 * np.sin(np.arange(height) / 3)).astype(int)
    start = (np.arange(width)[None] >= wavering[:, None]).astype(np.int64)
    after = settled(start, pixels, np.ones((height, width)), 0.02)
    edge = width - after.sum(1)
    assert np.abs(wavering - middle).max() >= 2
    assert np.abs(edge - middle).max() <= 1
    assert np.abs(np.diff(edge)).sum() <= 6


def test_a_strong_edge_and_its_corners_stay() -> None:
    pixels = np.zeros((40, 50, 3))
    pixels[10:30, 15:40] = 1.0
    start = (pixels[..., 0] > 0.5).astype(np.int64)
    assert (settled(start, pixels, np.ones((40, 50)), 0.02) == start).all()


def test_an_area_that_costs_more_than_it_saves_goes_and_names_are_closed() -> None:
    pixels = np.zeros((30, 30, 3))
    pixels[:, 15:] = 0.5
    start = np.where(np.arange(30)[None] >= 15, 2, 0) * np.ones((30, 1), dtype=np.int64)
    start[5:7, 5:7] = 1
    after = settled(start, pixels, np.ones((30, 30)), 0.02)
    assert (after == (np.arange(30)[None] >= 15)).all()


def test_a_pixel_goes_where_it_costs_least() -> None:
    """The compiled round against a Gaussian of SciPy's, for the pixels that are looked at."""
    rng = np.random.default_rng(2)
    labels = np.asarray(ndimage.zoom(rng.integers(0, 4, (5, 6)), 8, order=0), dtype=np.int64)
    pixels, weights = rng.uniform(size=(40, 48, 3)), rng.uniform(0.1, 1, (40, 48))
    colours, looked_at, width, reach = rng.uniform(size=(4, 3)), rng.uniform(size=(40, 48)) < 0.5, 2.0, 6
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    around = np.pad(labels, reach, mode="symmetric")
    moved = cheapest_areas(around, pixels, weights, colours, bell / bell.sum(), 0.3, looked_at)
    shares = [ndimage.gaussian_filter((labels == k) * 1.0, width, mode="reflect", radius=reach) for k in range(4)]
    errors = ((pixels[None] - colours[:, None, None]) ** 2).sum(-1)
    cost = np.where(np.array(shares) > 0, weights * errors + 0.3 * (1 - np.array(shares)), np.inf)
    assert (moved == np.where(looked_at, cost.argmin(0), labels)).all()
    assert (moved != labels).any()
