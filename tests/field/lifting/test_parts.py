import numpy as np

from runtime.field.lifting.parts import appendages, free_outline, nearest_colours
from tests.field.lifting.pictures import GREEN, RED, SIDE, WHITE, disc, painted


def test_clusters_are_the_colours_that_there_are() -> None:
    generator = np.random.default_rng(0)
    centres = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1]], float)
    truth = generator.integers(0, 3, 300)
    labels = nearest_colours(centres[truth] + 0.05 * generator.standard_normal((300, 3)), 3)
    # The names of clusters mean nothing; which colours share one does.
    assert len({(a, b) for a, b in zip(truth.tolist(), labels.tolist(), strict=True)}) == 3


def test_fewer_colours_than_clusters() -> None:
    assert len(set(nearest_colours(np.zeros((5, 3)), 3).tolist())) == 1


def test_a_leaf_is_an_appendage_and_a_spot_is_none() -> None:
    body, spot = disc(28, row=58), disc(8, row=58)
    leaf = disc(10, row=24)
    picture = painted((body, RED), (leaf, GREEN), (spot, WHITE))
    (part,) = appendages(picture, body | leaf)
    assert (part & leaf).sum() > 0.9 * leaf.sum()
    assert (part & ~leaf).sum() < 0.15 * leaf.sum()


def test_one_colour_has_no_appendages() -> None:
    assert appendages(painted((disc(30), RED)), disc(30)) == []
    assert appendages(painted((disc(30), RED)), np.zeros((SIDE, SIDE), bool)) == []


def test_the_free_part_of_an_outline() -> None:
    left = np.zeros((20, 20), bool)
    left[5:15, 2:10] = True
    right = np.zeros((20, 20), bool)
    right[5:15, 10:18] = True
    # Of 2 (10 + 8) pixels around a half, 10 are the other half's.
    assert free_outline(left, left | right) == 26 / 36
