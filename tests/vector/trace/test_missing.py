"""What a drawing leaves out of its picture is counted and placed."""

import torch

from runtime.vector.trace.missing import missing_parts


def test_parts_that_are_not_drawn_are_counted_and_the_largest_is_placed() -> None:
    target = torch.ones(3, 20, 30)
    target[:, 2:4, 3:6] = 0  # 6 pixels
    target[0, 10:15, 20:28] = 0  # 40 pixels, wrong in one channel
    target[:, 18, 1:3] = 0  # 2 pixels: too few to be named
    missing = missing_parts(torch.ones(3, 20, 30), target)
    assert missing is not None
    assert (missing.parts, missing.pixels, missing.box) == (2, 46, (20, 10, 8, 5))
    assert str(missing) == "2 parts of the picture (46 pixels; the largest 8 x 5 at 20, 10)"


def test_a_line_of_one_pixel_and_diagonals_are_parts() -> None:
    target = torch.ones(3, 9, 9)
    target[:, range(9), range(9)] = 0
    missing = missing_parts(torch.ones(3, 9, 9), target)
    assert missing is not None
    assert (missing.parts, missing.pixels) == (1, 9)


def test_edges_beside_their_place_are_no_parts() -> None:
    target = torch.ones(3, 9, 9)
    target[:, :, 4] = 0.51
    assert missing_parts(torch.ones(3, 9, 9), target) is None
    assert missing_parts(target, target) is None


def test_what_lies_a_pixel_beside_its_place_is_there() -> None:
    target = torch.ones(3, 12, 12)
    target[:, range(12), range(12)] = 0
    assert missing_parts(target.roll(1, 2), target) is None
    missing = missing_parts(target.roll(3, 2), target)
    assert missing is not None
