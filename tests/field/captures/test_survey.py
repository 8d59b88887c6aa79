import math
from pathlib import Path

import pytest
import torch

from runtime.field.cameras import Cameras
from runtime.field.captures.capture import Capture
from runtime.field.captures.normalize import Frame
from runtime.field.captures.read import load_capture
from runtime.field.captures.survey import describe_capture, look_from
from runtime.field.conventions import from_opengl
from runtime.field.poses import on_sphere
from tests.field.captures.shots import cameras, document, write_document


def test_where_a_camera_stands() -> None:
    poses = on_sphere(torch.tensor([0.5]), torch.tensor([0.3]), torch.tensor([4.0]))
    lean = torch.eye(4)
    lean[:2, :2] = torch.tensor([[math.cos(0.2), -math.sin(0.2)], [math.sin(0.2), math.cos(0.2)]])
    camera = Cameras(poses @ lean, torch.tensor([[100.0, 100, 25, 25]]), torch.tensor([[50, 50]]))
    sight = look_from(camera, 0)
    assert sight.distance == pytest.approx(4, rel=1e-5)
    assert sight.azimuth == pytest.approx(math.degrees(0.5), rel=1e-5)
    assert sight.elevation == pytest.approx(math.degrees(0.3), rel=1e-5)
    # Turned counterclockwise as seen from behind, its top leans to the left.
    assert abs(sight.roll) == pytest.approx(math.degrees(0.2), rel=2e-2)
    assert sight.share > 0.98  # a corner of the picture passes a corner of the box
    assert 2.2 < sight.near < 3 < sight.far < 5.8


def capture(folder: Path, poses: torch.Tensor | None = None, half: float | None = None) -> Capture:
    value = document(folder, orientation_override="none")
    for frame, pose in zip(value["frames"], cameras().poses if poses is None else poses, strict=True):
        frame["transform_matrix"] = pose.tolist()
    return load_capture(write_document(folder, value), Frame(half=half))


def test_a_sound_capture_in_words(tmp_path: Path) -> None:
    lines = list(describe_capture(capture(tmp_path)))
    assert lines[0] == "transforms.json: 6 pictures, with alpha"
    assert lines[1] == "up    (0, 0, 1) in the capture's coordinates"
    assert lines[2].startswith("box   half a side 1.149, middle (0, 0, 0)")
    assert sum(line.startswith("images/view_") for line in lines) == 6
    assert not any(line.startswith("warning") for line in lines)


def test_flipped_axes_are_warned_of(tmp_path: Path) -> None:
    lines = list(describe_capture(capture(tmp_path, from_opengl(cameras().poses, "opencv"))))
    assert any("--convention opencv" in line for line in lines)
    assert any("hardly see the box" in line for line in lines)


def test_pictures_on_their_sides_are_warned_of(tmp_path: Path) -> None:
    lines = list(describe_capture(capture(tmp_path, from_opengl(cameras().poses, "llff"))))
    assert any("on their sides" in line for line in lines)
    assert any("lean by more than 45 degrees" in line for line in lines)


def test_many_cameras_are_listed_in_part(tmp_path: Path) -> None:
    lines = list(describe_capture(capture(tmp_path), rows=3))
    assert sum(line.startswith("images/view_") for line in lines) == 3
    assert "every 2. of 6" in lines


def test_cameras_in_the_box_are_warned_of(tmp_path: Path) -> None:
    lines = list(describe_capture(capture(tmp_path, half=9.0)))
    assert any("stand inside the scene's box" in line for line in lines)
