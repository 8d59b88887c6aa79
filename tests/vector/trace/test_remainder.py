"""What a drawing leaves out gets paths of its own, the largest part first."""

import torch

from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster import rasterize
from runtime.vector.trace.missing import missing_parts
from runtime.vector.trace.remainder import with_remainder


def blank(height: int, width: int) -> Drawing:
    nothing = [torch.zeros(1, 0, *rest) for rest in ((2,), (4,), ())]
    return Drawing(Layout((), ()), *nothing, background=torch.ones(1, 3), size=(height, width))


def dotted() -> torch.Tensor:
    target = torch.ones(3, 40, 60)
    target[1:, 5:15, 5:15] = 0
    target[:2, 20:30, 30:50] = 0
    target[:, 35, 2:58] = 0
    return target


def test_all_parts_are_drawn_and_a_thin_one_is_a_stroke() -> None:
    target = dotted()
    drawing = with_remainder(blank(40, 60), target, 8)
    assert sorted(drawing.layout.kinds) == [Kind.NONZERO, Kind.NONZERO, Kind.STROKE]
    assert missing_parts(rasterize(drawing)[0], target) is None


def test_no_more_paths_than_are_left() -> None:
    target = dotted()
    drawing = with_remainder(blank(40, 60), target, 1)
    assert drawing.layout.num_paths == 1
    assert drawing.colours[0, 0].tolist() == [0, 0, 1, 1]  # the largest part
    assert with_remainder(drawing, target, 1) is drawing


def test_more_parts_than_paths_share_them() -> None:
    target = torch.ones(3, 110, 110)
    for row in range(10):
        for column in range(10):
            colour = torch.tensor([0.8, 0.1, 0.1] if (row + column) % 2 else [0.1, 0.1, 0.8])
            target[:, 11 * row + 2 : 11 * row + 8, 11 * column + 2 : 11 * column + 8] = colour[:, None, None]
    some = with_remainder(blank(110, 110), target, 128)
    assert some.layout.num_paths == 100
    # As many as a tracer before has drawn: they share, so that there is room for the others.
    begun = some.select(list(range(64)))
    drawing = with_remainder(begun, target, 64)
    assert drawing.layout.num_paths <= 64
    assert missing_parts(rasterize(drawing)[0], target) is None
    assert with_remainder(blank(110, 110), target, 2).layout.num_paths == 2
