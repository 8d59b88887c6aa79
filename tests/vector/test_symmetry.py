"""Axes, mirrored halves and drawings that are mirror images, against pictures whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from runtime.vector.paths import Drawing, Kind, Layout, random_circles
from runtime.vector.raster import rasterize
from runtime.vector.scene import VectorScene
from runtime.vector.symmetry import (
    _crossings,  # pyright: ignore[reportPrivateUsage]
    _part,  # pyright: ignore[reportPrivateUsage]
    completed,
    mirror_axis,
    symmetric,
)


def face(axis: float, width: int = 60) -> torch.Tensor:
    """Return a symmetric picture: a disc with two eyes."""
    rows, columns = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    away = (columns - axis).abs()
    picture = torch.ones(3, 40, width)
    picture[1:, (rows - 20) ** 2 + away**2 < 15**2] = 0.1
    picture[:, (rows - 16) ** 2 + (away - 6) ** 2 < 6] = 0.0
    return picture


def at(cubic: np.ndarray, t: float) -> np.ndarray:
    """Return a point of a cubic, by Bernstein's polynomials."""
    return np.array([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3]) @ cubic


def discs(places: list[tuple[float, float, float]], width: int = 64) -> Drawing:
    """Return discs of (x, y, radius), with one colour each unless they are at one height."""
    unit = random_circles(1, size=(64, width), radius=1.0, generator=torch.Generator().manual_seed(0)).points[0]
    unit = (unit - unit.mean(0)) / (unit - unit.mean(0)).norm(dim=1).min()
    points = torch.cat([unit * r + torch.tensor([x, y]) for x, y, r in places])
    heights = sorted({y for _, y, _ in places})
    colours = torch.tensor([[0.2 * heights.index(y), 0.5, 0.3, 1.0] for _, y, _ in places])
    layout = Layout((Kind.NONZERO,) * len(places), ((len(unit) // 3,),) * len(places))
    white = torch.ones(1, 3)
    return Drawing(layout, points[None], colours[None], torch.ones(1, len(places)), white, size=(64, width))


@pytest.mark.parametrize("axis", [24.0, 30.0, 33.5])
def test_the_axis_of_a_symmetric_picture(axis: float) -> None:
    assert mirror_axis(face(axis), alike=1e-9) == axis


def test_what_is_not_alike_or_plain_has_no_axis() -> None:
    picture = face(30.0)
    picture[:, 5:35, 38:44] = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
    assert mirror_axis(picture) is None
    assert mirror_axis(picture, alike=np.inf) is not None
    assert mirror_axis(torch.full((3, 20, 30), 0.4)) is None


def test_alikeness_is_the_squared_difference() -> None:
    """By brute force: over all axes, and as a share of what the picture differs from its border."""
    generator = torch.Generator().manual_seed(1)
    picture = torch.ones(3, 12, 16)
    picture[:, 3:9, 4:11] = torch.rand(3, 6, 7, generator=generator)
    content = picture - 1
    wide = torch.nn.functional.pad(content, (16, 16))
    shares = {}
    for twice in range(1, 32):
        image = torch.zeros_like(wide)
        for column in range(48):
            source = twice - 1 - (column - 16) + 16
            if 0 <= source < 48:
                image[:, :, column] = wide[:, :, source]
        shares[twice / 2] = float((wide - image).square().sum() / (2 * content.square().sum()))
    best = min(shares, key=lambda axis: shares[axis])
    assert mirror_axis(picture, alike=shares[best] + 1e-6) == best
    assert mirror_axis(picture, alike=shares[best] - 1e-6) is None


def test_a_completed_picture_is_its_mirror_image_of_the_calmer_half() -> None:
    picture = face(30.0)
    noisy = picture.clone()
    noisy[:, 10:30, 32:44] += 0.1 * torch.rand(3, 20, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(completed(noisy, 30.0), picture)
    assert torch.equal(completed(noisy.flip(2), 30.0), picture)
    half = completed(face(20.5), 20.5)[:, :, :41]
    assert torch.equal(half, half.flip(2))


def test_part_of_a_cubic() -> None:
    cubic = np.array([(0.0, 0), (3, 8), (9, -4), (10, 5)])
    part = _part(cubic, 0.2, 0.7)
    for t in (0.0, 0.3, 0.5, 1.0):
        np.testing.assert_allclose(at(part, t), at(cubic, 0.2 + 0.5 * t), atol=1e-12)
    for t in _crossings(cubic, 6.0):
        assert at(cubic, t)[0] == pytest.approx(6.0)
    assert len(_crossings(cubic, 6.0)) == 1


def test_a_drawing_becomes_the_mirror_image_of_its_left_half() -> None:
    # A disc on the axis but for half a pixel, two that are nearly a pair, and one alone.
    drawing = discs([(32.4, 32, 20), (22, 26, 4), (43, 26, 4.5), (50, 58, 3)])
    result, mirror = symmetric(drawing, 32.0)
    assert (mirror.paths == np.array([0, 2, 1, 3])).all()
    assert (mirror.points < 0).sum() == len(drawing.points[0]) // 4
    alone = replace(result, colours=result.colours * torch.tensor([1, 1, 1, 0])[None, :, None])
    picture = rasterize(alone)[0]
    # Coverage is exact but for float32.
    assert (picture - picture.flip(2)).abs().max() < 1e-5
    # The arms at the axis turn by 0.4 / 20, at most 10 pixels from it, and take 4 / 9 of that off the curve.
    left = rasterize(drawing)[0][:, :56, :31]
    assert (rasterize(result)[0][:, :56, :31] - left).abs().max() < 10 * 0.4 / 20 * 4 / 9
    # Where the disc crosses the axis, it does so at a right angle.
    first = result.layout.path_slice(0)
    contour = result.points[0, first]
    assert contour[0, 0] == 32.0 and contour[1, 1] == contour[0, 1] == contour[-1, 1]


def test_restored_parts_are_mirror_images() -> None:
    drawing = discs([(32, 32, 20), (22, 26, 4), (42, 26, 4), (50, 58, 3)])
    result, mirror = symmetric(drawing, 32.0)
    scene = VectorScene(result)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        scene.points += torch.randn(scene.points.shape, generator=generator)
        scene.colours += 0.1 * torch.rand(scene.colours.shape, generator=generator)
    before = scene.points[0].detach().clone()
    mirror.restore_(scene)
    own = torch.from_numpy(mirror.points)
    paired = own >= 0
    points = scene.points[0].detach()
    flip, shift = torch.tensor([-1.0, 1.0]), torch.tensor([64.0, 0.0])
    # Coordinates up to 64 have steps of 4e-6 in float32.
    torch.testing.assert_close(points[paired], points[own[paired]] * flip + shift, atol=8e-6, rtol=0)
    assert torch.equal(points[~paired], before[~paired])
    torch.testing.assert_close(points[paired], (before[paired] + before[own[paired]] * flip + shift) / 2)
    assert torch.equal(scene.colours[0, 1], scene.colours[0, 2])
