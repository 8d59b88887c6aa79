import numpy as np
import pytest
import torch

from runtime.field.lifting.matte import background_of, foreground, without_specks
from tests.field.lifting.pictures import BLACK, RED, SIDE, WHITE, disc, painted


def test_the_mask_of_a_disc_is_the_disc() -> None:
    mask = disc(30)
    found = foreground(painted((mask, RED)))
    # The opening may take single pixels where the circle touches the axes.
    assert (found ^ mask).sum() <= 4
    assert not (found & ~mask).any()


@pytest.mark.parametrize("background", [1.0, 0.2])
def test_the_background_is_the_colour_of_the_border(background: float) -> None:
    mask = disc(30)
    picture = painted((mask, RED), background=background)
    assert np.allclose(background_of(picture), background)
    assert (foreground(picture) ^ mask).sum() <= 4


def test_a_white_spot_is_no_hole() -> None:
    spot = disc(6, column=50)
    assert foreground(painted((disc(30), RED), (spot, WHITE)))[spot].all()


def test_a_ring_has_a_hole() -> None:
    ring, hole = disc(30), disc(22)
    found = foreground(painted((ring, RED), (hole, WHITE)))
    assert not found[disc(20)].any()
    assert found[ring & ~disc(24)].mean() > 0.95


def test_a_ring_with_a_stone_has_a_hole() -> None:
    layers = [(disc(9, row=12), BLACK), (disc(30), RED), (disc(20), WHITE)]
    found = foreground(painted(*layers))
    assert not found[disc(18)].any()
    assert found[disc(7, row=12)].all()


def test_a_white_belly_is_no_hole() -> None:
    """The frame is nearly as thick all around, but a beak and feet are a part of it."""
    y, x = np.mgrid[:SIDE, :SIDE]

    def oval(row: float, column: float, height: float, width: float) -> np.ndarray:
        return ((y - row) / height) ** 2 + ((x - column) / width) ** 2 < 1

    body = oval(50, 48, 38, 26) | oval(24, 48, 18, 18) | oval(52, 24, 20, 8) | oval(52, 72, 20, 8)
    feet = oval(86, 38, 6, 12) | oval(86, 58, 6, 12)
    belly, beak = oval(58, 48, 27, 19), oval(28, 48, 7, 11)
    found = foreground(painted((body, BLACK), (feet, RED), (beak, RED), (belly, WHITE)))
    assert belly.sum() > 0.2 * (body | feet).sum()
    assert found[belly].all()


def test_a_white_face_with_eyes_is_no_hole() -> None:
    ears = disc(14, row=20, column=22) | disc(14, row=20, column=74)
    eyes = disc(7, row=44, column=36) | disc(7, row=44, column=60)
    face = disc(28, row=50)
    found = foreground(painted((disc(34, row=50) | ears, BLACK), (face, WHITE), (eyes, BLACK)))
    assert found[face].all()


def test_a_handle_and_the_back_of_a_chair_have_holes() -> None:
    cup, handle, inside = np.zeros((3, SIDE, SIDE), bool)
    cup[20:80, 10:60], handle[30:70, 58:86], inside[38:62, 60:78] = True, True, True
    found = foreground(painted((cup, RED), (handle, RED), (inside, WHITE)))
    assert not found[40:60, 62:76].any()
    chair, opening = np.zeros((2, SIDE, SIDE), bool)
    chair[6:60, 26:64], chair[46:70, 20:80], chair[60:92, 20:30], chair[60:92, 70:80] = True, True, True, True
    opening[14:40, 34:58] = True
    found = foreground(painted((chair, RED), (opening, WHITE)))
    assert not found[opening].any()


def test_specks_and_hairs_are_left_out() -> None:
    mask, speck, hair = disc(25), disc(4, row=8, column=8), np.zeros((SIDE, SIDE), bool)
    hair[10:20, 47] = True
    found = foreground(painted((mask, RED), (speck, RED), (hair, RED)))
    assert not found[speck | (hair & ~mask)].any()
    assert found[SIDE // 2, SIDE // 2]


def test_what_leaves_the_frame_reaches_its_edge() -> None:
    found = foreground(painted((disc(30, row=90), RED)))
    assert found[-1, 25:70].all()


def test_an_empty_picture_has_no_foreground() -> None:
    assert not foreground(torch.ones(3, 32, 32)).any()
    assert not without_specks(np.zeros((4, 4), bool), 0.5).any()
