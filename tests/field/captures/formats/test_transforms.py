import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.errors import UserError
from runtime.field.captures.formats.transforms import NGP_HALF, read_transforms
from runtime.field.captures.read import read_capture
from runtime.field.conventions import from_opengl
from tests.field.captures.shots import COUNT, FOCAL, HEIGHT, WIDTH, angle, cameras, document, levels, write_document


def test_nerfstudio_keys(tmp_path: Path) -> None:
    keys = {"fl_y": 41.0, "cx": 15.5, "cy": 12.5, "k1": 0.1, "p2": -0.01, "camera_model": "OPENCV"}
    capture = read_transforms(write_document(tmp_path, document(tmp_path, **keys)))
    assert torch.allclose(capture.cameras.poses, cameras().poses)
    assert torch.allclose(capture.cameras.intrinsics, torch.tensor([40.0, 41.0, 15.5, 12.5]).expand(COUNT, 4))
    assert capture.cameras.sizes.tolist() == [[HEIGHT, WIDTH]] * COUNT
    assert capture.cameras.distortion is not None
    assert torch.allclose(capture.cameras.distortion[0], torch.tensor([0.1, 0, 0, 0, 0, -0.01]))
    assert capture.has_alpha
    assert not capture.upright
    assert capture.names[2] == "images/view_2.png"
    assert np.array_equal(capture.rgba([3])[0].mul(255).round().byte().numpy(), levels(3))


def test_instant_ngp_keys(tmp_path: Path) -> None:
    value = document(tmp_path, camera_angle_x=angle(), camera_angle_y=2 * math.atan(HEIGHT / 2 / 50), aabb_scale=2)
    del value["fl_x"]
    capture = read_transforms(write_document(tmp_path, value))
    assert torch.allclose(capture.cameras.intrinsics[0], torch.tensor([FOCAL, 50.0, 16, 12]))
    assert capture.half == pytest.approx(2 * NGP_HALF)
    assert capture.centred


def test_blenders_angle_without_a_size_and_names_without_ending(tmp_path: Path) -> None:
    value = document(tmp_path)
    frames = [{**f, "file_path": "./" + f["file_path"].removesuffix(".png")} for f in value["frames"]]
    capture = read_transforms(write_document(tmp_path, {"camera_angle_x": angle(), "frames": frames}))
    assert torch.allclose(capture.cameras.intrinsics[0], torch.tensor([FOCAL, FOCAL, 16, 12]))
    assert capture.upright
    assert capture.centred


def test_intrinsics_of_each_frame(tmp_path: Path) -> None:
    value = document(tmp_path)
    for row, frame in enumerate(value["frames"]):
        frame |= {"fl_x": 30.0 + row, "k2": 0.01 * row}
    Image.fromarray(levels(0)[:20, :28]).save(tmp_path / "images/view_0.png")
    value["frames"][0] |= {"w": 28, "h": 20}
    capture = read_transforms(write_document(tmp_path, value))
    assert capture.cameras.intrinsics[:, 0].tolist() == [30, 31, 32, 33, 34, 35]
    assert capture.cameras.intrinsics[0].tolist() == [30, 30, 14, 10]
    assert capture.cameras.sizes[0].tolist() == [20, 28]
    assert capture.cameras.distortion is not None
    assert torch.allclose(capture.cameras.distortion[:, 1], 0.01 * torch.arange(6))
    with pytest.raises(UserError, match="one size were expected, got 2"):
        capture.rgba([0, 1])
    assert capture.rgba([0, 1], size=(10, 14)).shape == (2, 10, 14, 4)


def test_pictures_smaller_than_the_calibration(tmp_path: Path) -> None:
    value = document(tmp_path, w=4 * WIDTH, h=4 * HEIGHT, fl_x=4 * FOCAL, cx=62.0)
    capture = read_transforms(write_document(tmp_path, value))
    assert torch.allclose(capture.cameras.intrinsics[0], torch.tensor([FOCAL, FOCAL, 15.5, 12]))


def test_masks_and_depths(tmp_path: Path) -> None:
    value = document(tmp_path)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, :8] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(np.full((HEIGHT, WIDTH), 2500, np.uint16)).save(tmp_path / "depth.png")
    np.save(tmp_path / "depth.npy", np.full((HEIGHT, WIDTH), 1.5, np.float32))
    for row, frame in enumerate(value["frames"]):
        frame |= {"mask_path": "mask.png", "depth_file_path": "depth.npy" if row else "depth.png"}
    capture = read_transforms(write_document(tmp_path, value))
    valid = capture.valid([0, 1])
    assert not valid[:, :, :8].any()
    assert valid[:, :, 8:].all()
    assert capture.valid([0], size=(HEIGHT // 2, WIDTH // 2))[0, 0].tolist() == [False] * 4 + [True] * 12
    depth = capture.depth([0, 1])
    assert torch.allclose(depth, torch.tensor([2.5, 1.5])[:, None, None].expand(2, HEIGHT, WIDTH))


def test_splits_by_file_names(tmp_path: Path) -> None:
    value = document(
        tmp_path, train_filenames=[f"images/view_{i}.png" for i in (0, 2)], test_filenames=["images/view_5.png"]
    )
    capture = read_transforms(write_document(tmp_path, value))
    assert capture.splits == {"train": (0, 2), "test": (5,)}


@pytest.mark.parametrize("convention", ["opencv", "colmap", "llff"])
def test_other_conventions(tmp_path: Path, convention) -> None:
    value = document(tmp_path)
    for frame, pose in zip(value["frames"], from_opengl(cameras().poses, convention), strict=True):
        frame["transform_matrix"] = pose.tolist()
    capture = read_transforms(write_document(tmp_path, value), convention)
    assert torch.allclose(capture.cameras.poses, cameras().poses, atol=1e-5)


NAN = float("nan")
ROW = [1.0, 0, 0, 0]

BAD = {
    "no frames": ({"frames": []}, "list of frames"),
    "no intrinsics": ({"fl_x": None}, "fl_x in pixels or camera_angle_x"),
    "a word": ({"fl_x": "40"}, "fl_x: expected a number, got '40'"),
    "no focal length": ({"fl_x": 0}, "positive focal lengths"),
    "an angle of 180 degrees": ({"fl_x": None, "camera_angle_x": 3.2}, "positive focal lengths"),
    "a fisheye": ({"camera_model": "OPENCV_FISHEYE"}, "undistort"),
    "other proportions": ({"w": 100}, "proportions"),
    "a test frame that is none": ({"test_filenames": ["images/nine.png"]}, "file_path of no frame"),
    "a number of 400 digits": ({"fl_x": 10**400}, "fl_x: expected a number below 1e308"),
    "a frame of text": ({"frames": ["a"]}, "frame 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_documents_are_refused_in_words(tmp_path: Path, name: str) -> None:
    keys, message = BAD[name]
    with pytest.raises(UserError, match=message):
        read_capture(write_document(tmp_path, document(tmp_path, **keys)))


BAD_POSES = {
    "a hole": ([[NAN, 0, 0, 0], ROW, ROW, ROW], "view_1.*NaN"),
    "a scale": ([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]], "view_1.*lengths 2, 2, 2"),
    "a mirror": ([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "view_1.*mirrors"),
    "two rows": ([[1.0, 0, 0, 0], [0, 1, 0, 0]], "view_1.*4 x 4"),
    "ragged": ([[1.0, 0, 0], [0, 1, 0, 0]], "view_1.*4 x 4"),
    "none": (None, "view_1.*4 x 4"),
    "a number of 400 digits": ([[10**400, 0, 0, 0], ROW, ROW, ROW], "view_1.*4 x 4"),
}


@pytest.mark.parametrize("name", BAD_POSES)
def test_bad_poses_are_refused_by_name(tmp_path: Path, name: str) -> None:
    value = document(tmp_path)
    value["frames"][1]["transform_matrix"], message = BAD_POSES[name]
    with pytest.raises(UserError, match=message):
        read_capture(write_document(tmp_path, value))


def test_a_matrix_without_an_inverse_is_refused(tmp_path: Path) -> None:
    value = document(tmp_path)
    value["frames"][1]["transform_matrix"] = [[0] * 4] * 4
    with pytest.raises(UserError, match="without an inverse"):
        read_capture(write_document(tmp_path, value), "colmap")


def test_missing_pictures_are_counted(tmp_path: Path) -> None:
    path = write_document(tmp_path, document(tmp_path))
    for row in (2, 4):
        (tmp_path / f"images/view_{row}.png").unlink()
    with pytest.raises(UserError, match=r"view_2.png' and 1 more of 6 is missing"):
        read_capture(path)


def test_different_sizes_need_their_own_intrinsics(tmp_path: Path) -> None:
    path = write_document(tmp_path, document(tmp_path))
    Image.fromarray(levels(0)[:20]).save(tmp_path / "images/view_0.png")
    with pytest.raises(UserError, match="2 sizes"):
        read_capture(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = write_document(tmp_path, document(tmp_path))
    (tmp_path / "images/view_0.png").write_text("text")
    with pytest.raises(UserError, match="is not a picture"):
        read_capture(path)


@pytest.mark.parametrize("text", ["[]", "{", "\xff", "3"])
def test_what_is_no_document_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "transforms.json").write_bytes(text.encode("latin1"))
    with pytest.raises(UserError, match="JSON"):
        read_capture(tmp_path)


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    value = document(tmp_path)
    for name in ("gone.png", "gone.png" * 100):
        value["frames"][0]["mask_path"] = name
        with pytest.raises(UserError, match=r"gone\.png"):
            read_capture(write_document(tmp_path, value))
