"""The rasterizer for graphics cards: what a thread does, run on the CPU thread by thread, beside the kernels there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from runtime.errors import UserError
from runtime.kernels.jit import OPTIONS
from runtime.vector.paths import Drawing, Kind, Layout, pixel_grid, random_circles, random_colours, random_strokes
from runtime.vector.raster import rasterize
from runtime.vector.raster.cuda import coverage, pixels
from runtime.vector.raster.cuda.composite import rasterize_cuda
from runtime.vector.raster.cuda.coverage import BREAKS, PIECES, Shapes, Vertices
from runtime.vector.raster.cuda.flatten import flatten, room
from runtime.vector.raster.cuda.pixels import DEPTH, STARTS, TILE, Lists, Picture, Spot
from runtime.vector.raster.kernels.pixel import PIXEL_EDGE
from runtime.vector.raster.reference.outline import count_edges, vertex_weights
from tests.tolerance import FLOAT64_ROUNDING

place_edge = coverage.place_edge
bound, list_paths, composite, keep_starts = pixels.bound, pixels.list_paths, pixels.composite, pixels.keep_starts
cover_stretch, below_stretch, stretch_change = pixels.cover_stretch, pixels.below_stretch, pixels.stretch_change
sum_parts, edge_moments = pixels.sum_parts, pixels.edge_moments


def compiled(function):
    from numba import njit

    return njit(**OPTIONS)(function)


@compiled
def draw_all(outline, shapes, boxes, lists, image, spaces):
    across = (image.shape[3] + TILE - 1) // TILE
    picture = Picture(shapes, boxes, lists)
    for b in range(len(image)):
        for segment in range(outline.counts.shape[1]):
            for i in range(outline.counts[b, segment]):
                place_edge(outline, b, segment, i, shapes)
        for path in range(boxes.shape[1]):
            boxes[b, path, 0], boxes[b, path, 1], boxes[b, path, 2], boxes[b, path, 3] = bound(shapes, b, path)
        for tile in range(lists.lengths.shape[1]):
            list_paths(boxes, b, tile % across, tile // across, lists, tile)
        for y in range(image.shape[2]):
            for x in range(image.shape[3]):
                tile = y // TILE * across + x // TILE
                colour = composite(picture, Spot(b, tile, x, y), spaces, lists.lengths[b, tile])
                for c in range(3):
                    image[b, c, y, x] = colour[c]


@compiled
def colours_all(shapes, boxes, lists, upstream, parts, colours, spaces, shares, starts):
    across = (upstream.shape[3] + TILE - 1) // TILE
    picture = Picture(shapes, boxes, lists)
    parts[:] = 0.0
    for b in range(len(upstream)):
        for y in range(upstream.shape[2]):
            for x in range(upstream.shape[3]):
                tile = y // TILE * across + x // TILE
                spot = Spot(b, tile, x, y)
                keep_starts(picture, spot, spaces, starts)
                passes = 1.0
                last = lists.lengths[b, tile]
                while last > 0:
                    n = (last - 1) // DEPTH
                    cover_stretch(picture, spot, spaces, n, shares)
                    start = below_stretch(picture, spot, spaces, n, starts)
                    for k in range(last - 1, n * DEPTH - 1, -1):
                        share = shares[k - n * DEPTH]
                        opacity = shapes.colours[b, lists.paths[b, tile, k], 3]
                        for c in range(3):
                            parts[b, tile, k, c] += passes * opacity * share * upstream[b, c, y, x]
                        change = stretch_change(picture, spot, k, shares, start, upstream)
                        parts[b, tile, k, 3] += share * passes * change
                        passes *= 1.0 - opacity * share
                    last = n * DEPTH
        for path in range(boxes.shape[1]):
            for lane in range(3):
                sums = sum_parts(boxes, lists, parts, (b, path), (lane, 3), across)
                for c in range(4):
                    colours[b, path, c] += sums[c]


@compiled
def edges_all(shapes, boxes, lists, size, upstream, moments, spaces):
    picture = Picture(shapes, boxes, lists)
    for b in range(len(moments)):
        for e in range(shapes.ranges[b, -1]):
            for lane in range(3):
                zeroth, first = edge_moments(picture, (b, e), (lane, 3), size, upstream, spaces)
                moments[b, shapes.places[b, e, 1], shapes.places[b, e, 2], 0] += zeroth
                moments[b, shapes.places[b, e, 1], shapes.places[b, e, 2], 1] += first


class Processor:
    """Runs the passes on the CPU, one thread after the other."""

    starts = STARTS

    def __init__(self, device: torch.device) -> None:
        self.spaces = np.zeros(PIECES, PIXEL_EDGE), np.zeros(BREAKS)

    def arrays(self, shapes: dict[str, Tensor], saved: dict[str, Tensor]):
        arrays = Shapes(**{name: tensor.detach().numpy() for name, tensor in shapes.items()})
        return arrays, saved["boxes"].numpy(), Lists(saved["paths"].numpy(), saved["lengths"].numpy())

    def forward(self, outline, shapes, saved, image: Tensor) -> None:
        vertices = Vertices(**{name: tensor.detach().numpy() for name, tensor in outline.items()})
        draw_all(vertices, *self.arrays(shapes, saved), image.numpy(), self.spaces)

    def backward(self, shapes, saved, upstream, parts, colours, moments) -> None:
        arrays, seen = self.arrays(shapes, saved), upstream.numpy()
        memory = np.zeros(DEPTH), np.zeros((self.starts, 3))
        colours_all(*arrays, seen, parts.numpy(), colours.numpy(), self.spaces, *memory)
        edges_all(*arrays, (seen.shape[2], seen.shape[3]), seen, moments.numpy(), self.spaces)


def blob(kind: Kind) -> Drawing:
    """Return two paths that cross themselves, one of two contours, partly outside of the canvas."""
    generator = torch.Generator().manual_seed(4)
    layout = Layout((kind, kind), ((5,), (4, 3)))
    points = torch.rand(1, layout.num_points, 2, generator=generator, dtype=torch.float64) * 44 - 6
    colours = random_colours(1, 2, generator).double()
    return Drawing(layout, points, colours, torch.ones(1, 2).double(), torch.ones(1, 3).double(), (30, 36))


class Forgetful(Processor):
    """Remembers nothing of what lies below all stretches of a list but the first."""

    starts = 1


DRAWINGS = {
    "circles, two scenes": lambda: random_circles(
        7, radius=8.0, size=(30, 36), generator=torch.Generator().manual_seed(1), batch=2
    ).to(torch.float64),
    "many over each other": lambda: random_circles(
        2 * DEPTH + 5, radius=9.0, size=(20, 24), generator=torch.Generator().manual_seed(3)
    ).to(torch.float64),
    "crossing themselves, nonzero": lambda: blob(Kind.NONZERO),
    "crossing themselves, even-odd": lambda: blob(Kind.EVENODD),
    "rectangles between pixels": lambda: pixel_grid(5, size=(23, 21), generator=torch.Generator().manual_seed(2)).to(
        torch.float64
    ),
}


def results(drawing: Drawing, size: tuple[int, int], render) -> list[Tensor]:
    """Return the picture, and the gradients of points, colours and background."""
    leaves = drawing.map(lambda tensor: tensor.clone().requires_grad_())
    image = render(leaves, size)
    upstream = torch.randn(image.shape, generator=torch.Generator().manual_seed(9), dtype=image.dtype)
    wanted = [leaves.tensors[name] for name in ("points", "colours", "background")]
    return [image.detach(), *torch.autograd.grad(image, wanted, upstream)]


@pytest.mark.slow  # half a minute of compilation
@pytest.mark.parametrize("runner", [Processor, Forgetful])
@pytest.mark.parametrize("name", DRAWINGS)
def test_pictures_and_gradients_are_those_of_the_cpu(name: str, runner: type[Processor]) -> None:
    drawing = DRAWINGS[name]()
    size = (27, 40) if "two scenes" in name else drawing.size
    got = results(drawing, size, lambda d, s: rasterize_cuda(d, s, make_runner=runner))
    expected = results(drawing, size, rasterize)
    for what, a, b in zip(("picture", "points", "colours", "background"), got, expected, strict=True):
        assert (a - b).abs().max() <= 1e4 * FLOAT64_ROUNDING * b.abs().max().clamp(min=1), what


def test_vertices_are_those_of_the_readable_twin() -> None:
    generator = torch.Generator().manual_seed(3)
    controls = torch.rand(2, 3, 4, 2, generator=generator, dtype=torch.float64) * 60
    controls[0, 0] = controls[0, 0, :1]  # a rectangle's corner
    vertices, counts = flatten(controls, 0.02, (2.0, 0.5), room((64, 64), 0.02))
    for b in range(2):
        for segment in range(3):
            count = count_edges(controls[b, segment], 0.02)
            assert counts[b, segment] == count
            expected = vertex_weights(count) @ controls[b, segment] * torch.tensor([2.0, 0.5])
            assert (vertices[b, segment, :count] - expected).abs().max() < 1e-11
            assert (vertices[b, segment, count:] == 0).all()


def test_what_is_not_drawn_on_a_card_is_refused_in_words() -> None:
    circle = random_circles(1, size=(8, 8), generator=torch.Generator())
    with pytest.raises(UserError, match="expected a drawing on a CUDA device, got one on cpu; take 'numba'"):
        rasterize(circle, backend="cuda")
    strokes = random_strokes(1, size=(8, 8), generator=torch.Generator())
    with pytest.raises(UserError, match="expected fills and rectangles, got strokes"):
        rasterize_cuda(strokes, (8, 8), make_runner=Processor)


@pytest.mark.gpu
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_card_draws_what_the_cpu_draws(name: str) -> None:
    drawing = DRAWINGS[name]()
    got = results(drawing.to("cuda"), drawing.size, lambda d, s: rasterize(d, s, backend="cuda").cpu())
    again = results(drawing.to("cuda"), drawing.size, lambda d, s: rasterize(d, s, backend="cuda").cpu())
    expected = results(drawing, drawing.size, rasterize)
    assert all(torch.equal(a, b) for a, b in zip(got, again, strict=True))
    for a, b in zip(got, expected, strict=True):
        assert (a.cpu() - b).abs().max() <= 1e4 * FLOAT64_ROUNDING * b.abs().max().clamp(min=1)


@pytest.mark.gpu
def test_steps_of_text_to_svg_never_wait_for_the_card(tmp_path) -> None:
    from runtime.guidance.prompt import Prompt
    from runtime.loop.optimize import generator_of
    from runtime.vector.scene import VectorScene
    from runtime.vectorfusion import SDS_FROM_SCRATCH
    from runtime.vectorfusion.stages import TRAINED, distillation

    class Bundle:
        image_size = 64
        schedule = {  # noqa: RUF012
            "num_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"
        }  # fmt: skip

        def denoiser(self):
            return lambda z, t, context: 0.5 * z + context.mean()

        def latent_encoder(self, gradients="torch"):
            return lambda images: torch.nn.functional.avg_pool2d(images, 8)[:, :1].expand(-1, 4, -1, -1)

    config = replace(SDS_FROM_SCRATCH, prompt="a", steps=6, paths=5)
    object.__setattr__(config, "rasterizer", "cuda")  # no choice of users yet: their scenes are on the CPU
    context = torch.zeros(2, 1, 3, device="cuda")
    prompt = Prompt(("a",), context[:1], context[1:])
    start = random_circles(5, size=(64, 64), generator=torch.Generator().manual_seed(6)).to("cuda")
    stage = distillation(config, Bundle(), prompt, lambda before, generator: None)  # pyright: ignore
    scene = VectorScene(start, train=TRAINED["icon"], backend="cuda")
    optimizer = stage.optimizer(scene)

    def step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        terms = stage.loss(scene, number, generator_of(0, 0, number, "loss"))
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        with torch.no_grad():
            scene.clamp_()

    step(0)  # compiles, and makes what is made once
    step(1)
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        for number in range(2, 6):
            step(number)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(scene.points).all()
