"""Paths of one colour become one, and the picture stays the same."""

import torch

from runtime.vector.paths import Drawing, Kind, Layout, random_circles
from runtime.vector.raster import rasterize
from runtime.vector.trace.sharing import shared


def discs(places: list[tuple[float, float]], colours: list[tuple[float, float, float]], radius: float = 4.0) -> Drawing:
    drawing = random_circles(len(places), size=(40, 40), radius=radius, generator=torch.Generator().manual_seed(0))
    points = drawing.points.reshape(1, len(places), -1, 2)
    points = points - points.mean(2, keepdim=True) + torch.tensor(places)[None, :, None]
    rgba = torch.tensor([[*colour, 1.0] for colour in colours])[None]
    return Drawing(drawing.layout, points.reshape(1, -1, 2), rgba, drawing.widths, torch.ones(1, 3), size=drawing.size)


RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def test_discs_of_one_colour_are_one_path() -> None:
    drawing = discs([(6, 6), (30, 6), (6, 30), (30, 30)], [RED, BLUE, RED, BLUE])
    result = shared(drawing)
    assert result.layout.num_paths == 2
    assert torch.equal(rasterize(result), rasterize(drawing))


def test_what_lies_between_stays_between() -> None:
    # The last red disc lies on the blue one: below it, it could not be seen.
    drawing = discs([(6, 6), (20, 20), (22, 22)], [RED, BLUE, RED])
    assert shared(drawing).layout.num_paths == 3
    apart = discs([(6, 6), (20, 20), (34, 34)], [RED, BLUE, RED])
    assert shared(apart).layout.num_paths == 2


def test_what_overlaps_or_is_a_stroke_stays() -> None:
    assert shared(discs([(10, 10), (14, 10)], [RED, RED])).layout.num_paths == 2
    drawing = discs([(10, 10), (30, 30)], [RED, RED])
    strokes = Drawing(
        Layout((Kind.STROKE,) * 2, ((1,), (1,))),
        torch.cat([drawing.points[:, :4], drawing.points[:, 12:16]], 1),
        drawing.colours,
        drawing.widths,
        drawing.background,
        size=drawing.size,
    )
    assert shared(strokes) is strokes


def test_the_picture_of_any_drawing_stays() -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        places = (torch.rand(12, 2, generator=generator) * 34 + 3).tolist()
        colours = [(RED, BLUE)[int(torch.randint(2, (), generator=generator))] for _ in places]
        drawing = discs(places, colours, radius=2.5)
        assert torch.allclose(rasterize(shared(drawing)), rasterize(drawing), atol=1e-6)
