import numpy as np

from runtime.field.lifting.masks import dilated, distance_inside, eroded, filled, labelled, nearest_inside, opened

BLOCK = np.zeros((9, 9), bool)
BLOCK[2:7, 2:7] = True


def test_outlines_move() -> None:
    assert eroded(BLOCK).sum() == 9
    assert eroded(BLOCK, 2).sum() == 1
    # A plus for a neighbourhood: the corners stay out.
    assert dilated(BLOCK).sum() == 25 + 20
    hair = BLOCK.copy()
    hair[0:2, 4] = True
    # The neighbourhood of the last pixel of the block reaches one pixel into the hair.
    assert not opened(hair)[0].any()


def test_pieces_are_numbered() -> None:
    two = BLOCK.copy()
    two[4] = False
    labels, count = labelled(two)
    assert (count, set(labels.ravel().tolist())) == (2, {0, 1, 2})
    ring = BLOCK & ~eroded(BLOCK)
    assert np.array_equal(filled(ring), BLOCK)


def test_distances() -> None:
    assert distance_inside(BLOCK)[4].tolist() == [0, 0, 1, 2, 3, 2, 1, 0, 0]
    row, column = nearest_inside(BLOCK)
    assert (row[0, 4], column[0, 4]) == (2, 4)
    assert (row[8, 8], column[8, 8]) == (6, 6)
