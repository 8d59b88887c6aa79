import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.field.capture import SCENE, Box, draw_view, make_cameras, truth
from runtime.field.cameras import Rays
from runtime.field.captures import load_capture, split_views

FOLDER = Path(__file__).parents[3] / "benchmarks/capture"


def test_rays_meet_what_is_there() -> None:
    origins = torch.tensor([[0.0, -4, 0.42], [0, -4, 0], [0, -4, 0.95], [3, 0, 0.08], [0.1, -4, 0.46], [0.3, 0.3, 4]])
    directions = torch.tensor([[0.0, 1, 0]] * 3 + [[-1.0, 0, 0]] + [[0.0, 1, 0]] + [[0.0, 0, -1]])
    distance, seen = truth(Rays(origins, directions))
    # Head, plate on the chest, nothing, hand, eye, ground.
    expected = [4 - 0.26, 4 - 0.24, math.inf, 3 - 0.55, 4 - 0.28, 4.62]
    assert torch.allclose(distance, torch.tensor(expected, dtype=torch.float64))
    assert seen[:, 3].tolist() == [1, 1, 0, 1, 1, 1]


def test_all_of_it_lies_in_the_unit_ball() -> None:
    for solid in SCENE:
        if isinstance(solid, Box):
            corner = torch.maximum(torch.tensor(solid.low).abs(), torch.tensor(solid.high).abs())
            assert corner.norm() < 1
        else:
            assert torch.tensor(solid.centre).norm() + solid.radius < 1


def test_a_stored_picture_is_what_is_drawn() -> None:
    drawn = draw_view(make_cameras(24, 128), 5).mul(255).round().byte().numpy()
    with Image.open(FOLDER / "images/05.png") as image:
        assert np.array_equal(np.asarray(image), drawn)


def test_the_stored_capture_loads_in_its_own_coordinates() -> None:
    capture = load_capture(FOLDER / "transforms.json")
    assert len(capture) == 24
    assert capture.notes == ()
    assert capture.has_alpha
    assert torch.allclose(capture.to_world, torch.eye(4), atol=1e-4)
    assert torch.allclose(capture.cameras.poses, make_cameras(24, 128).poses, atol=1e-4)
    train, held = split_views(capture, views=8)
    assert len(train) == 8
    assert len(held) == 16
    assert sum(file.stat().st_size for file in FOLDER.rglob("*")) < 400 * 1024
