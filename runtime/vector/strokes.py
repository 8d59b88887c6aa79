"""CLIPDraw's pens: open strokes of random length, place, colour and opacity; arXiv:2106.14843."""

import torch

from runtime.vector.paths import Drawing, Kind, Layout

STEP = 0.1
"""Control points lie within a square of this side, in parts of the canvas, around the one before."""


def random_pens(count: int, *, width: float, size: tuple[int, int], generator: torch.Generator) -> Drawing:
    """Return open strokes on white, each of one to three cubic segments, with uniform RGB and opacity.

    A stroke begins anywhere on the canvas; every next control point is off by U(-0.05, 0.05) of the canvas along both
    axes, as in the authors' program.

    Args:
        count: number of strokes.
        width: of all strokes, in canvas pixels.
        size: canvas height and width.
        generator: source of all draws.
    """
    segments = torch.randint(1, 4, (count,), generator=generator).tolist()
    canvas = torch.tensor((float(size[1]), float(size[0])))
    pens = []
    for pieces in segments:
        start = torch.rand(1, 2, generator=generator)
        steps = STEP * (torch.rand(3 * pieces, 2, generator=generator) - 0.5)
        pens.append(torch.cat((start, start + steps.cumsum(0))) * canvas)
    layout = Layout((Kind.STROKE,) * count, tuple((pieces,) for pieces in segments))
    colours = torch.rand(1, count, 4, generator=generator)
    return Drawing(layout, torch.cat(pens)[None], colours, torch.full((1, count), width), torch.ones(1, 3), size)
