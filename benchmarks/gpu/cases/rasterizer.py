"""Pictures of drawings, forward and backward: the drawing on the CPU, and on the device."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.gpu.clock import Call, Row, captured, in_ways
from benchmarks.gpu.run import Setting
from runtime.vector.paths import Drawing, Kind, Layout, circle_points, random_colours, random_strokes

CASES = (
    ("64 closed paths, radius 20, 512 px", 64, 20.0, (512, 512)),
    ("64 closed paths, radius 100, 512 px", 64, 100.0, (512, 512)),
    ("1,024 closed paths, radius 20, 512 px", 1024, 20.0, (512, 512)),
    ("2,048 closed paths, radius 20, 2040 x 1344 px", 2048, 20.0, (1344, 2040)),
    ("16 strokes, width 6, 224 px", 16, 0.0, (224, 224)),
)
"""Name, paths, mean radius (0: strokes), and size of each."""


def build(paths: int, radius: float, size: tuple[int, int]) -> Drawing:
    """Return jittered circles of four segments anywhere on the canvas, or strokes; the same on every call."""
    generator = torch.Generator().manual_seed(0)
    if radius == 0.0:
        return random_strokes(paths, width=6.0, size=size, generator=generator)
    centres = torch.rand(paths, 2, generator=generator) * torch.tensor((float(size[1]), float(size[0])))
    around = circle_points(torch.zeros(paths, 2), radius)
    around = around * (0.8 + 0.4 * torch.rand(paths, around.shape[1], 1, generator=generator))
    layout = Layout((Kind.NONZERO,) * paths, ((4,),) * paths)
    points = (centres[:, None] + around).reshape(1, -1, 2)
    colours = random_colours(1, paths, generator)
    return Drawing(layout, points, colours, torch.ones(1, paths), torch.ones(1, 3), size)


def forward_backward(drawing: Drawing, backend: str) -> Call:
    """Return a call that gives the picture and all gradients."""
    from runtime.vector.raster import rasterize

    upstream = torch.randn(1, 3, *drawing.size, generator=torch.Generator().manual_seed(1)).to(drawing.points.device)

    def call() -> tuple[Tensor, ...]:
        leaves = drawing.map(lambda tensor: tensor.detach().requires_grad_())
        image = rasterize(leaves, backend=backend)
        leaves_of = [leaves.tensors[name] for name in ("points", "colours", "background")]
        return image.detach(), *torch.autograd.grad(image, leaves_of, upstream)

    return call


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield rows of each drawing; errors are against the compiled kernels on the CPU."""
    for name, paths, radius, size in CASES[:1] if setting.tiny else CASES:
        drawing = build(8, 6.0, (32, 32)) if setting.tiny else build(paths, radius, size)
        # on the CPU events of the device would measure nothing
        here = replace(setting, device="cpu")
        yield from in_ways(name, {"kernels on the CPU": lambda d=drawing: forward_backward(d, "numba")}, here)
        if setting.device == "cpu":
            continue
        there = drawing.to(setting.device)
        ways = {
            "CPU": lambda d=drawing: forward_backward(d, "numba"),
            "drawing on the device, kernels on the CPU": lambda d=there: forward_backward(d, "numba"),
        }
        if radius > 0.0:  # it has no strokes
            ways["drawing on the device, kernels there"] = lambda d=there: forward_backward(d, "cuda")
            ways["drawing on the device, kernels there, CUDA graph"] = lambda d=there: captured(
                forward_backward(d, "cuda")
            )
        # the first row, timed by the device's events, is only there for the error of the second
        yield from list(in_ways(name, ways, replace(setting, seconds=0.2)))[1:]
