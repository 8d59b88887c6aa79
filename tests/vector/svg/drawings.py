"""What the tests of SVG share: files of a body, drawings of every kind, and resvg's pictures."""

import io

import numpy as np
import resvg_py
import torch
from PIL import Image

from runtime.vector.paths import Drawing, Kind, Layout, pixel_grid, random_circles, random_strokes
from runtime.vector.raster import rasterize
from runtime.vector.svg import parse_svg
from tests.tolerance import SVG_PICTURE_MEAN

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


ROUND = 'stroke-linecap="round" stroke-linejoin="round"'
"""The pen of the rasterizer: other strokes are read as fills of their outlines."""


def read(body: str, attributes: str = 'width="100" height="80"', **options) -> Drawing:
    return parse_svg(f"{HEAD} {attributes}>{body}</svg>".encode(), name="drawing.svg", **options)


def contour(drawing: Drawing, path: int = 0) -> np.ndarray:
    return drawing.points[0, drawing.layout.path_slice(path)].numpy()


def every_kind() -> Drawing:
    """A drawing of all kinds of paths, with a hole, opacities and a coloured background."""
    generator = torch.Generator().manual_seed(1)
    size = (96, 120)
    fills = random_circles(6, radius=20, size=size, generator=generator)
    strokes = random_strokes(4, segments=3, width=5, size=size, generator=generator)
    squares = pixel_grid(4, size=size, generator=generator).select([0, 5, 15])
    ring = random_circles(2, radius=15, size=size, generator=generator)
    holed = Drawing(
        Layout((Kind.EVENODD,), ((4, 4),)),
        torch.cat([ring.points[:, :12], ring.points[:, :12] * 0.5 + 20], 1),
        ring.colours[:, :1],
        torch.ones(1, 1),
        ring.background,
        size,
    )
    drawing = fills.append(strokes).append(squares).append(holed)
    return Drawing(
        drawing.layout, *(drawing.points, drawing.colours, drawing.widths), torch.rand(1, 3, generator=generator), size
    )


def resvg_picture(text: str, **size: int) -> torch.Tensor:
    png = bytes(resvg_py.svg_to_bytes(svg_string=text, **size))
    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float32)
    return torch.from_numpy(rgb).permute(2, 0, 1) / 255


def check_as_resvg(body: str, scale: int = 1) -> None:
    """Fail where a file of this body is drawn otherwise than by resvg, or with a note.

    Args:
        body: elements on a canvas of 100 x 80 units.
        scale: pixels to the unit; the more, the less the seams of parts that only meet count.
    """
    size = f'width="{100 * scale}" height="{80 * scale}" viewBox="0 0 100 80"'
    text = f'{HEAD} {size}><rect width="100" height="80" fill="#eee"/>{body}</svg>'
    notes: list[str] = []
    ours = rasterize(parse_svg(text.encode(), name="drawing.svg", report=notes.append))[0]
    error = (ours - resvg_picture(text)).abs()
    assert notes == []
    assert error.mean() < SVG_PICTURE_MEAN
    # Edges are anti-aliased otherwise; what is wrong is wrong in areas.
    assert (error.amax(0) > 0.25).float().mean() < 2e-3


def pixel(body: str, x: int, y: int) -> tuple[float, ...]:
    """The colour of a pixel of a file of this body."""
    return tuple(rasterize(read(body))[0, :, y, x].tolist())
