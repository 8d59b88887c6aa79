"""Which pictures the denoiser is trained on, and how often."""

import numpy as np
import pytest
import torch

from train.latent_diffusion.denoiser import weigh_rows

ARCHIVE = {
    "concepts": np.array(["red-apple", "red-apple", "red-apple", "red-apple", "man"]),
    "sets": np.array(["noto", "twemoji", "noto", "noto", "noto"]),
    "kinds": np.array(["plain", "plain", "mirrored", "pair", "plain"]),
}


def test_people_pairs_and_changed_pictures_are_drawn_less_often() -> None:
    torch.testing.assert_close(weigh_rows(ARCHIVE), torch.tensor([1.0, 1.0, 0.7, 0.35, 0.3]))


def test_pictures_of_the_favoured_set_are_drawn_four_times_as_often() -> None:
    torch.testing.assert_close(weigh_rows(ARCHIVE, "noto"), torch.tensor([4.0, 1.0, 2.8, 1.4, 1.2]))


def test_an_unknown_set_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"expected one of noto, twemoji, got 'crayon'"):
        weigh_rows(ARCHIVE, "crayon")
