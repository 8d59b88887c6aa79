import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.field.captures.read import load_capture
from runtime.field.captures.views import choose_views, split_views
from runtime.field.captures.write import write_transforms
from tests.field.captures.shots import COUNT, HEIGHT, WIDTH, cameras, document, write_document, write_pictures


def test_a_capture_can_be_read_smaller(tmp_path) -> None:
    capture = load_capture(write_document(tmp_path, document(tmp_path)))
    small = capture.scaled(16)
    assert small.cameras.sizes.tolist() == [[12, 16]] * COUNT
    assert small.rgba([0, 1]).shape == (2, 12, 16, 4)
    assert capture.scaled(1000) is capture
    budget = 16 * COUNT * HEIGHT * WIDTH // 3
    fitted = capture.fitted(budget)
    pixels = int(fitted.cameras.sizes.prod(1).sum())
    assert 0.7 * budget < 16 * pixels <= budget
    assert capture.fitted(3 * budget) is capture


def test_more_than_the_budget_is_refused(tmp_path) -> None:
    capture = load_capture(write_document(tmp_path, document(tmp_path)))
    with pytest.raises(UserError, match="6 pictures of 32 x 24 pixels need 0 MiB"):
        capture.rgba(range(COUNT), budget=1000)


def test_some_of_the_pictures(tmp_path) -> None:
    capture = load_capture(write_document(tmp_path, document(tmp_path)))
    some = capture.select([4, 1])
    assert some.names == (capture.names[4], capture.names[1])
    assert torch.equal(some.rgba([1]), capture.rgba([1]))
    assert torch.equal(some.cameras.poses, capture.cameras.poses[[4, 1]])


def test_the_official_views() -> None:
    assert choose_views(100, 8) == [26, 86, 2, 55, 75, 93, 16, 73]
    assert choose_views(100, 3) == [26, 86, 2]
    assert choose_views(100, 8, seed=1) != choose_views(100, 8)
    assert sorted(choose_views(9, 9)) == list(range(9))


def test_views_and_held_out_pictures(tmp_path) -> None:
    capture = load_capture(write_document(tmp_path, document(tmp_path)))
    train, held = split_views(capture, views=2)
    assert len(train) == 2
    assert sorted(train + held) == list(range(COUNT))
    assert split_views(capture) == (list(range(COUNT)), [])
    assert split_views(capture, hold_out=3) == ([1, 2, 4, 5], [0, 3])
    chosen, held = split_views(capture, views=2, hold_out=3)
    assert set(chosen) < {1, 2, 4, 5}
    assert held == [0, 3]
    with pytest.raises(UserError, match="1 to 6"):
        split_views(capture, views=7)
    with pytest.raises(UserError, match="hold-out"):
        split_views(capture, hold_out=1)


def test_named_splits_are_kept_to(tmp_path) -> None:
    value = document(
        tmp_path, train_filenames=[f"images/view_{i}.png" for i in (0, 1, 2)], test_filenames=["images/view_4.png"]
    )
    capture = load_capture(write_document(tmp_path, value))
    assert split_views(capture) == ([0, 1, 2], [4])
    train, held = split_views(capture, views=2)
    assert set(train) < {0, 1, 2}
    assert held == [4]


@pytest.mark.parametrize("own", [False, True])
def test_what_is_written_is_read_again(tmp_path, own: bool) -> None:
    write_pictures(tmp_path / "images")
    source = cameras()
    if own:
        source.intrinsics[1, 0] = 44
    files = [f"images/view_{row}.png" for row in range(COUNT)]
    write_transforms(tmp_path / "transforms.json", source, files, splits={"test": [0, 5]})
    from runtime.field.captures.read import read_capture

    capture = read_capture(tmp_path)
    assert torch.allclose(capture.cameras.poses, source.poses, atol=1e-6)
    assert torch.equal(capture.cameras.intrinsics, source.intrinsics)
    assert capture.splits["test"] == (0, 5)
    before = (tmp_path / "transforms.json").read_bytes()
    write_transforms(tmp_path / "transforms.json", source, files, splits={"test": [0, 5]})
    assert (tmp_path / "transforms.json").read_bytes() == before


def test_a_written_lens_is_read_again(tmp_path) -> None:
    from dataclasses import replace

    from runtime.field.captures.read import read_capture

    write_pictures(tmp_path / "images")
    source = replace(cameras(), distortion=torch.tensor([[0.1, -0.2, 0, 0, 0.01, 0.02]]).repeat(COUNT, 1))
    write_transforms(tmp_path / "transforms.json", source, [f"images/view_{row}.png" for row in range(COUNT)])
    lens = read_capture(tmp_path).cameras.distortion
    assert lens is not None
    assert np.allclose(lens.numpy(), source.distortion.numpy())
