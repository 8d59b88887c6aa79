import numpy as np
import pytest
import torch

from runtime.field.lifting.matte import background_of, foreground, without_specks
from tests.field.lifting.pictures import RED, SIDE, WHITE, disc, painted


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
