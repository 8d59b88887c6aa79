"""The adapter of diffvg: against a stand-in with its interface everywhere, against diffvg where it is installed."""

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster import rasterize
from tests.vector.shapes import disc, drawing_of

ABSENT = find_spec("pydiffvg") is None
FRACTION = 0.7
"""How much of column 10 the rectangle from x = 10.3 on covers."""


def rectangle(colour: tuple[float, ...], background: tuple[float, ...]) -> Drawing:
    """A rectangle from x = 10.3 to the right border of a canvas of 16 pixels."""
    points = torch.tensor([[(10.3, 0.0), (16.0, 16.0)]])
    return Drawing(
        Layout((Kind.RECTANGLE,), ((0,),)), points, torch.tensor([[colour]]), torch.ones(1, 1),
        torch.tensor([background]), (16, 16),
    )  # fmt: skip


def fake_diffvg() -> SimpleNamespace:
    """Diffvg's interface with one rectangle: each pixel is the mean over its samples, of which some are outside.

    Without a background image a sample outside has colour 0 and alpha 0, and so the mean colour has the coverage in it
    already; with one it has that image's colour and alpha.
    """

    def apply(width, height, samples_x, samples_y, seed, background_image, shape, group):
        columns = torch.arange(width, dtype=torch.float32)
        inside = (torch.minimum(shape.p_max[0], columns + 1) - torch.maximum(shape.p_min[0], columns)).clamp(0, 1)
        inside = inside.expand(height, width)[..., None]
        colour, opacity = group.fill_color[:3], group.fill_color[3]
        if background_image is None:
            outside = torch.zeros(height, width, 4)
            over = torch.cat((colour * opacity, opacity[None]))
        else:
            assert background_image.shape == (height, width, 4)
            assert background_image.is_contiguous()
            assert background_image.dtype == torch.float32
            outside = background_image
            below = background_image[..., :3]
            over = torch.cat((colour * opacity + below * (1 - opacity), torch.ones(height, width, 1)), -1)
        return inside * over + (1 - inside) * outside

    def serialize_scene(width, height, shapes, groups):
        return shapes[0], groups[0]

    return SimpleNamespace(
        set_use_gpu=lambda use: None,
        Rect=SimpleNamespace,
        ShapeGroup=SimpleNamespace,
        RenderFunction=SimpleNamespace(apply=apply, serialize_scene=serialize_scene),
    )


@pytest.mark.parametrize(
    ("colour", "background", "edge"),
    [
        ((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        ((0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (1 - FRACTION,) * 3),
        ((1.0, 0.0, 0.5, 0.5), (0.0, 1.0, 0.5), (FRACTION / 2, 1 - FRACTION / 2, 0.5)),
    ],
)
def test_coverage_is_counted_once(colour, background, edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A white rectangle on white is white at its edge, too."""
    monkeypatch.setitem(sys.modules, "pydiffvg", fake_diffvg())
    drawing = rectangle(colour, background)
    picture = rasterize(drawing, backend="diffvg")
    assert torch.allclose(picture[0, :, 5, 10], torch.tensor(edge), atol=1e-5)
    assert torch.allclose(picture, rasterize(drawing), atol=1e-5)


def test_gradients_reach_colours_and_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydiffvg", fake_diffvg())
    grads = []
    for backend in ("diffvg", "numba"):
        leaves = rectangle((1.0, 0.2, 0.4, 0.5), (0.0, 1.0, 0.5)).map(lambda t: t.clone().requires_grad_())
        rasterize(leaves, backend=backend).square().sum().backward()
        grads.append((leaves.colours.grad, leaves.background.grad))
    for theirs, ours in zip(*grads, strict=True):
        assert torch.allclose(theirs, ours, atol=1e-3)


@pytest.mark.skipif(ABSENT, reason="needs diffvg, found no module pydiffvg")
def test_white_on_white_by_diffvg() -> None:
    picture = rasterize(rectangle((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0)), backend="diffvg")
    assert torch.allclose(picture, torch.ones_like(picture), atol=1e-4)


@pytest.mark.skipif(ABSENT, reason="needs diffvg, found no module pydiffvg")
def test_disc_by_diffvg() -> None:
    """Edges differ by its samples, areas agree."""
    drawing = drawing_of([(Kind.NONZERO, [disc(11.3, 9.6, 7.2)])], (20, 24), dtype=torch.float32)
    theirs, ours = rasterize(drawing, backend="diffvg"), rasterize(drawing)
    assert (theirs - ours).abs().max() < 0.5
    assert theirs.sum().item() == pytest.approx(ours.sum().item(), rel=0.02)


@pytest.mark.skipif(not ABSENT, reason="diffvg is installed")
def test_missing_diffvg_is_named() -> None:
    with pytest.raises(UserError, match="diffvg is not installed"):
        rasterize(rectangle((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0)), backend="diffvg")


def test_several_contours_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydiffvg", fake_diffvg())
    ring = drawing_of([(Kind.EVENODD, [disc(5, 5, 3), disc(5, 5, 2)])], (10, 10))
    with pytest.raises(UserError, match="path 0: the diffvg rasterizer takes one contour a path, got 2"):
        rasterize(ring, backend="diffvg")
