"""The compiled rasterizer: gradients against finite differences, closed forms and the twin; threads."""

import dataclasses
import math

import pytest
import torch

from runtime.vector.paths import Drawing, Kind, pixel_grid, random_circles, random_colours, random_strokes
from runtime.vector.raster import rasterize
from tests.tolerance import RASTER_DIFFERENCE, RASTER_TWIN, RASTER_TWIN_VJP
from tests.vector.raster.stages import coverage
from tests.vector.shapes import disc, drawing_of, figure_eight, pentagram, polyline, random_blob

SIZE = (20, 24)


def with_colours(drawing: Drawing, seed: int) -> Drawing:
    """The drawing in random colours over a random background."""
    generator = torch.Generator().manual_seed(seed)
    colours = random_colours(1, drawing.layout.num_paths, generator).to(drawing.points.dtype)
    background = torch.rand(1, 3, generator=generator).to(drawing.points.dtype)
    return dataclasses.replace(drawing, colours=colours, background=background)


def blobs(seed: int, kind: Kind, count: int = 3) -> Drawing:
    generator = torch.Generator().manual_seed(seed)
    paths = [(kind, [random_blob(generator, SIZE, 4)]) for _ in range(count)]
    return with_colours(drawing_of(paths, SIZE), seed)


def wild_strokes(seed: int, dtype: torch.dtype = torch.float64) -> Drawing:
    generator = torch.Generator().manual_seed(seed)
    strokes = random_strokes(2, segments=3, width=3.3, size=SIZE, generator=generator, reach=0.5)
    return with_colours(strokes.to(dtype), seed)


CASES = {
    "blobs": lambda: blobs(0, Kind.NONZERO),
    "more blobs": lambda: blobs(1, Kind.NONZERO),
    "even-odd blobs": lambda: blobs(2, Kind.EVENODD),
    "pentagram": lambda: with_colours(drawing_of([(Kind.NONZERO, [pentagram(12, 10, 9.0)])], SIZE), 3),
    "even-odd pentagram": lambda: with_colours(drawing_of([(Kind.EVENODD, [pentagram(12, 10, 9.0)])], SIZE), 4),
    "figure eight": lambda: with_colours(drawing_of([(Kind.NONZERO, [figure_eight(12.2, 10.1, 4.7)])], SIZE), 5),
    "ring": lambda: with_colours(drawing_of([(Kind.EVENODD, [disc(11, 10, 8), disc(11.2, 9.8, 4)])], SIZE), 6),
    "tiny": lambda: with_colours(drawing_of([(Kind.NONZERO, [disc(11.3, 9.6, 0.23, 4)])], SIZE), 7),
    "strokes": lambda: wild_strokes(8),
    "more strokes": lambda: wild_strokes(9),
    "rectangles": lambda: with_colours(
        drawing_of([(Kind.RECTANGLE, [torch.tensor([(3.3, 4.2), (9.7, 11.6)])]),
                    (Kind.RECTANGLE, [torch.tensor([(5.1, 7.2), (5.6, 7.7)])])], SIZE), 10),
}  # fmt: skip


def weigh(image: torch.Tensor) -> torch.Tensor:
    """A random linear functional of the picture."""
    return (image * draw_upstream(image)).sum()


def draw_upstream(image: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    return torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image.dtype)


def gradients(drawing: Drawing, backend: str = "numba", size=None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    leaves = drawing.map(lambda tensor: tensor.detach().clone().requires_grad_())
    image = rasterize(leaves, size, backend=backend)
    weigh(image).backward()
    zero = torch.zeros_like
    return image.detach(), {n: zero(t) if t.grad is None else t.grad for n, t in leaves.tensors.items()}


@pytest.mark.parametrize("name", CASES)
def test_finite_differences(name):
    drawing, step = CASES[name](), 1e-5
    _, grads = gradients(drawing)
    generator = torch.Generator().manual_seed(12)
    for key, grad in grads.items():
        for _ in range(3):
            way = torch.randn(grad.shape, generator=generator, dtype=torch.float64)
            ends = [
                weigh(rasterize(dataclasses.replace(drawing, **{key: drawing.tensors[key] + sign * step * way})))
                for sign in (1, -1)
            ]
            expected, found = (ends[0] - ends[1]).item() / (2 * step), (grad * way).sum().item()
            scale = (grad.abs() * way.abs()).sum().item() + 1e-3
            assert abs(found - expected) < RASTER_DIFFERENCE * scale, f"{key}: {found} for {expected}"


@pytest.mark.parametrize("name", [name for name in CASES if name != "figure eight"])
def test_twin(name):
    """A figure eight that crosses itself in a vertex is not in general position, which the twin's gradient needs."""
    drawing = CASES[name]()
    image, grads = gradients(drawing)
    twin_image, twin_grads = gradients(drawing, "torch")
    assert (image - twin_image).abs().max() < RASTER_TWIN
    for key, grad in grads.items():
        assert (grad - twin_grads[key]).abs().max() < RASTER_TWIN_VJP * (1 + twin_grads[key].abs().max()), key


def test_twin_in_a_scaled_picture():
    drawing = wild_strokes(13).append(blobs(14, Kind.NONZERO, 1))
    image, grads = gradients(drawing, size=(30, 18))
    twin_image, twin_grads = gradients(drawing, "torch", size=(30, 18))
    assert (image - twin_image).abs().max() < RASTER_TWIN
    for key, grad in grads.items():
        assert (grad - twin_grads[key]).abs().max() < RASTER_TWIN_VJP * (1 + twin_grads[key].abs().max()), key


def test_float32_agrees_with_float64():
    generator = torch.Generator().manual_seed(15)
    drawing = random_circles(6, radius=14.0, size=(72, 64), generator=generator)
    single, singles = gradients(drawing)
    double, doubles = gradients(drawing.to(torch.float64))
    assert single.dtype == torch.float32
    assert (single - double).abs().max() < 1e-6
    for key, grad in singles.items():
        assert grad.dtype == torch.float32
        assert (grad - doubles[key]).abs().max() < 1e-4 * (1 + doubles[key].abs().max()), key


@pytest.mark.parametrize("radius", [3.0, 9.0, 40.0])
def test_area_of_a_disc_by_its_radius(radius):
    """The derivative of the area by the radius is the circumference; by the centre it's zero."""
    size = (int(2 * radius) + 4,) * 2
    centre = torch.tensor((radius + 2.1, radius + 1.8), dtype=torch.float64)
    drawing = drawing_of([(Kind.NONZERO, [disc(*centre.tolist(), radius)])], size)
    points = drawing.points.requires_grad_()
    coverage(dataclasses.replace(drawing, points=points)).sum().backward()
    by_radius = (points.grad[0] * (points.detach()[0] - centre)).sum() / radius
    assert by_radius.item() == pytest.approx(2 * math.pi * radius, rel=1e-4)
    assert points.grad.sum((0, 1)).abs().max() < 1e-9


def test_area_of_a_stroke_by_width_and_ends():
    """A line's area is width * length + pi width^2 / 4."""
    drawing = drawing_of([(Kind.STROKE, [polyline([(10, 12), (40, 22)])])], (40, 50), width=6.0)
    leaves = drawing.map(lambda tensor: tensor.clone().requires_grad_())
    coverage(leaves).sum().backward()
    length = math.hypot(30, 10)
    assert leaves.widths.grad.item() == pytest.approx(length + math.pi * 6 / 2, rel=2e-3)
    away = (leaves.points.grad[0, -1] * torch.tensor((30.0, 10.0))).sum() / length
    whole = leaves.points.grad[0].sum(0)
    assert whole.abs().max() < 1e-9, "moving all of it changes nothing"
    stretch = (leaves.points.grad[0] * (drawing.points[0] - drawing.points[0, 0])).sum() / length
    assert stretch.item() == pytest.approx(6, rel=2e-3)
    assert away > 0


def test_colours_and_background_in_closed_form():
    """One disc of coverage c: the picture is background + c a (colour - background)."""
    drawing = with_colours(drawing_of([(Kind.NONZERO, [disc(11.3, 9.6, 7.2)])], SIZE), 16)
    cover = coverage(drawing)[0, 0]
    image, grads = gradients(drawing)
    upstream = draw_upstream(image)[0]
    rgb, alpha, ground = drawing.colours[0, 0, :3], drawing.colours[0, 0, 3], drawing.background[0]
    assert torch.allclose(grads["colours"][0, 0, :3], (upstream * cover).sum((1, 2)) * alpha)
    change = (upstream * (rgb - ground)[:, None, None]).sum(0)
    assert torch.allclose(grads["colours"][0, 0, 3], (change * cover).sum())
    assert torch.allclose(grads["background"][0], (upstream * (1 - alpha * cover)).sum((1, 2)))


def test_opaque_paths_hide_what_lies_below():
    drawing = with_colours(drawing_of([(Kind.NONZERO, [disc(11, 10, r)]) for r in (4.0, 8.0)], SIZE), 17)
    drawing.colours[..., 3] = 1
    _, grads = gradients(drawing)
    assert grads["colours"][0, 0].abs().max() == 0
    assert grads["points"][0, :24].abs().max() == 0
    assert grads["points"][0, 24:].abs().max() > 0


def test_hidden_edges_have_no_gradient():
    """Of two overlapping contours of one non-zero path only the outline of the union counts."""
    inner, outer = disc(11, 10, 4), disc(11.3, 9.8, 8)
    drawing = drawing_of([(Kind.NONZERO, [inner, outer])], SIZE)
    points = drawing.points.requires_grad_()
    weigh(coverage(dataclasses.replace(drawing, points=points))).backward()
    assert points.grad[0, : len(inner)].abs().max() < 1e-12
    assert points.grad[0, len(inner) :].abs().max() > 1e-2


def test_batch_gradients_equal_singles():
    generator = torch.Generator().manual_seed(18)
    batch = random_circles(4, radius=9.0, size=(70, 50), generator=generator, batch=3)
    image, grads = gradients(batch)
    upstream = draw_upstream(image)
    for index in range(3):
        leaves = batch.scene(index).map(lambda tensor: tensor.clone().requires_grad_())
        rasterize(leaves).backward(upstream[index : index + 1])
        for key in ("points", "colours", "background"):
            assert torch.equal(leaves.tensors[key].grad[0], grads[key][index]), key


@pytest.mark.parametrize("threads", [2, 3])
def test_same_bits_for_any_number_of_threads(threads):
    generator = torch.Generator().manual_seed(19)
    drawing = random_circles(40, radius=30.0, size=(200, 150), generator=generator, batch=2)
    drawing = drawing.append(random_strokes(5, width=5, size=(200, 150), generator=generator, batch=2))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        image, grads = gradients(drawing)
        torch.set_num_threads(threads)
        for _ in range(2):
            again, again_grads = gradients(drawing)
            assert torch.equal(again, image)
            assert all(torch.equal(again_grads[key], grad) for key, grad in grads.items())
    finally:
        torch.set_num_threads(before)


def test_only_what_is_wanted_has_gradients():
    drawing = pixel_grid(4, size=(16, 16), generator=torch.Generator().manual_seed(20))
    colours = drawing.colours.requires_grad_()
    rasterize(dataclasses.replace(drawing, colours=colours)).sum().backward()
    assert torch.allclose(colours.grad[0, :, 0], 16 * colours.detach()[0, :, 3])


def test_backward_twice_gives_the_same():
    drawing = blobs(21, Kind.NONZERO)
    points = drawing.points.requires_grad_()
    loss = weigh(rasterize(dataclasses.replace(drawing, points=points)))
    first, second = (torch.autograd.grad(loss, points, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
