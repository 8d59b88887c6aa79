"""Icons for replay: which have a front, which are held out, and captions that the text encoder takes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from train.latent_diffusion.prepared import Icons
from train.latent_diffusion.replay import (
    Config,
    front_icons,
    held_out_icons,
    leave_out_long,
    prepare,
    seen_from_front,
)


@pytest.mark.parametrize(
    ("group", "name", "front"),
    [
        ("Food & Drink", "red apple", True),
        ("Animals & Nature", "cat face", True),
        ("Animals & Nature", "cat", False),
        ("Travel & Places", "oncoming bus", True),
        ("Travel & Places", "bus", False),
        ("Travel & Places", "office building", True),
        ("People & Body", "man running", False),
    ],
)
def test_vehicles_and_most_animals_are_drawn_in_profile(group: str, name: str, front: bool) -> None:
    assert seen_from_front(group, name) is front


def test_pairs_and_unknown_concepts_have_no_front() -> None:
    archive = {
        "concepts": np.array(["red-apple", "red-apple", "red-apple+pizza", "no-such-thing"]),
        "kinds": np.array(["plain", "mirrored", "pair", "plain"]),
    }
    assert front_icons(archive).tolist() == [True, True, False, False]


def test_a_concept_is_held_out_with_all_its_pictures() -> None:
    names = [f"thing-{i}" for i in range(400)]
    held = held_out_icons({"concepts": np.array(names)})
    assert 10 <= int(held.sum()) <= 45
    held_name, drawn_name = names[int(held.nonzero()[0])], names[int((~held).nonzero()[0])]
    pairs = [held_name, f"{drawn_name}+{held_name}", f"{drawn_name}+{drawn_name}"]
    assert held_out_icons({"concepts": np.array(pairs)}).tolist() == [True, True, False]


def three_words(prompts: list[str]) -> None:
    """Take three words, as a tokenizer."""
    if len(prompts[0].split()) > 3:
        raise UserError("too long")


def test_a_picture_has_another_caption_in_place_of_one_that_is_too_long() -> None:
    texts = ["a cat", "a very long caption", "a dog", "another very long caption"]
    rows = torch.tensor([[0, 1], [1, 2], [3, 1], [2, 0]])
    short, kept = leave_out_long(texts, rows, three_words)
    assert short == ["", "a cat", "a dog"]
    assert kept.tolist() == [[1, 1], [2, 2], [0, 0], [2, 1]]


def test_an_archive_is_prepared_without_what_is_left_out(tmp_path: Path) -> None:
    names = ["red-apple", "dog-face", "cat", "automobile"]
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "icons.npz",
        pictures=rng.integers(0, 256, (8, 128, 128, 3), dtype=np.uint8),
        captions=np.array([name.replace("-", " ") for name in names] * 2),
        colours=np.array(["red"] * 8),
        concepts=np.array(names * 2),
        sets=np.array(["noto"] * 4 + ["twemoji"] * 4),
        kinds=np.array(["plain"] * 8),
    )
    config = Config(data=tmp_path / "icons.npz", out=tmp_path / "prepared", most=6)
    prepare(config, lambda _: None)
    icons = Icons.load(config.out)
    assert icons.latents.shape == (6, 4, 16, 16)
    assert icons.rows.shape == (6, 2)
    assert int(icons.front.sum()) in (2, 3, 4)
    assert torch.equal(icons.weights == 0.0, torch.isin(torch.arange(6), icons.held_out))


def test_no_archive_is_refused_with_the_remedy(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "none.npz", out=tmp_path / "prepared")
    message = r"none\.npz': expected a \.npz archive of plain arrays, got nothing of that name; .*train\.data\.icons"
    with pytest.raises(UserError, match=message):
        prepare(config, lambda _: None)
