"""Blender, LLFF, COLMAP, DTU, folders and archives: each written from known cameras and read back."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from runtime.errors import UserError
from runtime.field.captures.read import read_capture
from runtime.field.conventions import from_opengl
from tests.field.captures.shots import (
    COUNT,
    FOCAL,
    HEIGHT,
    WIDTH,
    angle,
    cameras,
    document,
    levels,
    write_document,
    write_pictures,
)

LENS = (0.1, -0.02, 0.003, -0.004)


def agrees(capture, *, atol: float = 1e-5) -> bool:
    """Return whether a capture has the cameras and pictures of the scene."""
    same = torch.allclose(capture.cameras.poses, cameras().poses, atol=atol)
    lens = torch.allclose(capture.cameras.intrinsics, cameras().intrinsics, atol=1e-3)
    pictures = np.array_equal(capture.rgba([1])[0].mul(255).round().byte().numpy(), levels(1))
    return same and lens and pictures and capture.cameras.sizes.tolist() == [[HEIGHT, WIDTH]] * COUNT


def test_blender_has_its_splits(tmp_path: Path) -> None:
    frames = document(tmp_path)["frames"]
    for name, part in (("train", frames[:4]), ("test", frames[4:])):
        write_document(tmp_path, {"camera_angle_x": angle(), "frames": part}, f"transforms_{name}.json")
    for path in (tmp_path, tmp_path / "transforms_train.json"):
        capture = read_capture(path)
        assert agrees(capture)
        assert capture.splits == {"train": (0, 1, 2, 3), "test": (4, 5)}
        assert capture.upright


def test_llff(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    matrices = from_opengl(cameras().poses, "llff")[:, :3].double().numpy()
    # The calibration is that of pictures twice as large.
    hwf = np.tile([[2 * HEIGHT], [2 * WIDTH], [2 * FOCAL]], (COUNT, 1, 1))
    rows = np.concatenate([np.concatenate([matrices, hwf], 2).reshape(COUNT, 15), [[2.0, 6.0]] * COUNT], 1)
    np.save(tmp_path / "poses_bounds.npy", rows)
    capture = read_capture(tmp_path)
    assert agrees(capture)
    assert capture.bounds is not None
    assert capture.bounds.tolist() == [[2, 6]] * COUNT
    (tmp_path / "images/view_5.png").unlink()
    with pytest.raises(UserError, match="each of 6 poses, got 5"):
        read_capture(tmp_path)


EMPTY = b"\x93NUMPY\x01\x00\x76\x00"
PROMISE = EMPTY + b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999, 17), }".ljust(117) + b"\n"


@pytest.mark.parametrize("content", [b"", EMPTY, PROMISE, PROMISE.replace(b"<f8", b"<U8")])
def test_what_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    write_pictures(tmp_path / "images")
    (tmp_path / "poses_bounds.npy").write_bytes(content)
    with pytest.raises(UserError, match="expected an array of numbers"):
        read_capture(tmp_path)


def quaternions() -> tuple[np.ndarray, np.ndarray]:
    matrices = from_opengl(cameras().poses, "colmap").double().numpy()
    xyzw = Rotation.from_matrix(matrices[:, :3, :3]).as_quat()
    return xyzw[:, [3, 0, 1, 2]], matrices[:, :3, 3]


def write_text_model(folder: Path, camera: str) -> None:
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(f"# cameras\n3 {camera}\n")
    turns, shifts = quaternions()
    lines = ["# images"]
    for row in reversed(range(COUNT)):
        numbers = " ".join(map(repr, map(float, (*turns[row], *shifts[row]))))
        lines += [f"{row + 1} {numbers} 3 view_{row}.png", "1.5 2.5 -1" if row % 2 else ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    (folder / "points3D.txt").write_text("# points\n1 0.5 -0.25 1 255 0 0 0.1 1 0\n2 -0.5 0.25 0 255 0 0 0.1\n")


@pytest.mark.parametrize(
    ("camera", "terms"),
    [
        (f"SIMPLE_PINHOLE {WIDTH} {HEIGHT} {FOCAL} 16 12", None),
        (f"PINHOLE {2 * WIDTH} {2 * HEIGHT} 80 80 32 24", None),
        (f"SIMPLE_RADIAL {WIDTH} {HEIGHT} {FOCAL} 16 12 0.1", (0.1, 0, 0, 0, 0, 0)),
        (f"RADIAL {WIDTH} {HEIGHT} {FOCAL} 16 12 0.1 -0.02", (0.1, -0.02, 0, 0, 0, 0)),
        (f"OPENCV {WIDTH} {HEIGHT} {FOCAL} {FOCAL} 16 12 0.1 -0.02 0.003 -0.004", (0.1, -0.02, 0, 0, 0.003, -0.004)),
    ],
)
def test_colmap_text(tmp_path: Path, camera: str, terms: tuple | None) -> None:
    write_pictures(tmp_path / "images")
    write_text_model(tmp_path / "sparse/0", camera)
    capture = read_capture(tmp_path)
    assert agrees(capture)
    lens = capture.cameras.distortion
    assert lens is None if terms is None else torch.allclose(lens[0], torch.tensor(terms, dtype=torch.float32))
    assert capture.points is not None
    assert capture.points.tolist() == [[0.5, -0.25, 1], [-0.5, 0.25, 0]]


def test_a_quaternion_of_zeros_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_text_model(tmp_path / "sparse/0", f"SIMPLE_PINHOLE {WIDTH} {HEIGHT} {FOCAL} 16 12")
    file = tmp_path / "sparse/0/images.txt"
    head, first, *rest = file.read_text().splitlines()
    words = first.split()
    file.write_text("\n".join([head, " ".join([words[0], *"0000", *words[5:]]), *rest]))
    with pytest.raises(UserError, match=r"view_5\.png.*four zeros"):
        read_capture(tmp_path)


def write_binary_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    camera = struct.pack("<QiiQQ8d", 1, 3, 4, WIDTH, HEIGHT, FOCAL, FOCAL, 16, 12, *LENS)
    (folder / "cameras.bin").write_bytes(camera)
    turns, shifts = quaternions()
    images = struct.pack("<Q", COUNT)
    for row in range(COUNT):
        images += struct.pack("<i7di", row + 1, *turns[row], *shifts[row], 3) + f"view_{row}.png".encode() + b"\0"
        images += struct.pack("<Q", row) + struct.pack("<ddq", 1.0, 2.0, -1) * row
    (folder / "images.bin").write_bytes(images)
    points = struct.pack("<Q", 2)
    for key, place in enumerate(((0.5, -0.25, 1.0), (-0.5, 0.25, 0.0))):
        points += (
            struct.pack("<Q3d3Bd", key, *place, 1, 2, 3, 0.1) + struct.pack("<Q", key) + struct.pack("<ii", 1, 0) * key
        )
    (folder / "points3D.bin").write_bytes(points)


def test_colmap_binary(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_binary_model(tmp_path / "sparse/0")
    capture = read_capture(tmp_path)
    assert agrees(capture)
    assert capture.cameras.distortion is not None
    assert torch.allclose(capture.cameras.distortion[0], torch.tensor([0.1, -0.02, 0, 0, 0.003, -0.004]))
    assert capture.points is not None
    assert capture.points.tolist() == [[0.5, -0.25, 1], [-0.5, 0.25, 0]]


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("length", [0, 5, 60])
def test_a_cut_model_is_refused(tmp_path: Path, name: str, length: int) -> None:
    write_pictures(tmp_path / "images")
    write_binary_model(tmp_path / "sparse/0")
    file = tmp_path / "sparse/0" / name
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(UserError, match=r"damaged|camera"):
        read_capture(tmp_path)


def test_a_camera_model_that_is_not_taken_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_text_model(tmp_path / "sparse/0", f"OPENCV_FISHEYE {WIDTH} {HEIGHT} 40 40 16 12 0 0 0 0")
    with pytest.raises(UserError, match="OPENCV_FISHEYE; run colmap image_undistorter"):
        read_capture(tmp_path)


def test_dtu(tmp_path: Path) -> None:
    write_pictures(tmp_path / "image")
    write_pictures(tmp_path / "mask", mode="L")
    scale = np.diag([2.0, 2, 2, 1])
    scale[:3, 3] = (5, -3, 7)
    # A point of the world is scale times ours; their first pixel's centre is at 0, ours at .5.
    shifted = cameras().intrinsics - torch.tensor([0, 0, 0.5, 0.5])
    world = from_opengl(cameras().poses, "dtu", shifted).double().numpy() @ np.linalg.inv(scale)
    arrays = {f"world_mat_{row}": world[row] for row in range(COUNT)} | {
        f"scale_mat_{row}": scale for row in range(COUNT)
    }
    np.savez(tmp_path / "cameras.npz", **arrays)
    capture = read_capture(tmp_path)
    assert agrees(capture, atol=1e-4)
    assert capture.half == 1
    assert np.array_equal(capture.to_world.numpy(), scale.astype(np.float32))
    assert len(capture.masks) == COUNT


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"world_mat_0": np.zeros((4, 4))}, "without an inverse"),
        ({"world_mat_0": np.eye(3)}, r"shapes \(3, 3\), \(4, 4\)"),
        ({"scale_mat_0": np.full((4, 4), "a")}, "expected matrices of 4 x 4 numbers, got <U1"),
    ],
)
def test_bad_matrices_of_dtu_are_refused_in_words(tmp_path: Path, arrays: dict, message: str) -> None:
    write_pictures(tmp_path / "image")
    np.savez(tmp_path / "cameras.npz", **({f"world_mat_{row}": np.eye(4) for row in range(COUNT)} | arrays))
    with pytest.raises(UserError, match=message):
        read_capture(tmp_path)


def test_a_folder_of_pictures_with_poses(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    np.savez(tmp_path / "poses.npz", poses=cameras().poses.numpy(), focal=FOCAL)
    assert agrees(read_capture(tmp_path))
    opencv = from_opengl(cameras().poses, "opencv").numpy()
    np.savez(tmp_path / "poses.npz", poses=opencv[:, :3], intrinsics=[40.0, 40, 16, 12], convention="opencv")
    assert agrees(read_capture(tmp_path / "poses.npz"))


def test_pictures_are_counted_by_number(tmp_path: Path) -> None:
    for row, file in enumerate(write_pictures(tmp_path / "images")):
        file.rename(file.with_name(f"r_{2 * row}.png"))  # r_10 comes last
    np.savez(tmp_path / "poses.npz", poses=cameras().poses.numpy(), camera_angle_x=angle())
    assert agrees(read_capture(tmp_path))


@pytest.mark.parametrize("premultiplied", [False, True])
def test_one_archive(tmp_path: Path, premultiplied: bool) -> None:
    images = np.stack([levels(row) for row in range(COUNT)])
    images[..., 3] //= 2
    straight = images.copy()
    if premultiplied:
        images[..., :3] = images[..., :3] // 2
    else:
        images[:, 0, 0] = (255, 0, 0, 0)  # a colour under no alpha: this cannot be premultiplied
    path = tmp_path / "scene.npz"
    np.savez(path, images=images, poses=cameras().poses.numpy(), camera_angle_x=angle())
    capture = read_capture(path)
    assert torch.allclose(capture.cameras.poses, cameras().poses)
    read = capture.rgba([1])[0].mul(255).numpy()
    assert np.abs(read - straight[1]).max() < 2.1  # 8 bits under half an alpha
    assert capture.has_alpha
    np.savez(path, images=images, poses=cameras().poses.numpy(), focal=40.0, premultiplied=[True, False])
    with pytest.raises(UserError, match="premultiplied: expected True or False"):
        read_capture(path)


BAD = {
    "objects": ({"poses": np.array([{}])}, "plain arrays"),
    "no poses": ({"focal": 3.0}, "array of poses, got focal"),
    "too few": ({"poses": np.eye(4)[None], "focal": 3.0}, "each of 6 pictures, got 1"),
    "a shape": ({"poses": np.eye(4), "focal": 3.0}, "shape"),
    "no lens": ({"poses": np.tile(np.eye(4), (6, 1, 1))}, "intrinsics, focal or camera_angle_x"),
    "two focals": ({"poses": np.tile(np.eye(4), (6, 1, 1)), "focal": np.ones(2)}, "one number"),
    "a convention": ({"poses": np.tile(np.eye(4), (6, 1, 1)), "focal": 3.0, "convention": "maya"}, "maya"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_archives_are_refused_in_words(tmp_path: Path, name: str) -> None:
    arrays, message = BAD[name]
    write_pictures(tmp_path)
    np.savez(tmp_path / "poses.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read_capture(tmp_path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scene.npz").write_text("text")
    with pytest.raises(UserError, match="archive"):
        read_capture(tmp_path / "scene.npz")


@pytest.mark.parametrize("name", ["", "nothing", "scene.obj"])
def test_what_is_no_capture_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "scene.obj").write_text("text")
    with pytest.raises(UserError, match="expected"):
        read_capture(tmp_path / name)
