"""What is guessed lies where the views that were given show it."""

from pathlib import Path

import torch

from benchmarks.text_to_3d.ceiling import GIVEN, guessed
from runtime.engines.bundle import PixelNeRFBundle
from tests.pixelnerf.small import make_bundle


def test_a_guess_lies_in_the_cones_of_all_views_that_are_given(tmp_path: Path) -> None:
    bundle = PixelNeRFBundle.load(make_bundle(tmp_path / "small"))
    views = torch.zeros(16, 4, 32, 32)
    # From in front an object fills the picture; from 90 degrees, the right, only what is left in it, which is in front.
    views[0], views[3, :, :, :16] = 1.0, 1.0
    solid = guessed(bundle, views, (0, 3)).raw_density() > -4
    places = torch.linspace(-1, 1, 65)[solid.nonzero()]
    assert len(places)
    assert float(places[:, 0].min()) > -0.1
    assert float(guessed(bundle, views, (0,)).raw_density().gt(-4).sum()) > 1.5 * len(places)
    assert sorted(len(given) for given in GIVEN.values()) == [1, 1, 1, 2, 3]
