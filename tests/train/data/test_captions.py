"""Captions of known pictures."""

import random

from train.data.captions import STYLES, common_keywords, write_caption
from train.data.icons import SETS, base_name, read_captions, usable


def captions(name: str, colour: str, keywords: list[str], style: str = "") -> set[str]:
    rng = random.Random(0)
    return {write_caption(name, colour, keywords, style, rng) for _ in range(300)}


def test_every_set_has_a_style() -> None:
    assert set(STYLES) == set(SETS)


def test_a_known_colour_is_said_in_about_six_of_ten() -> None:
    rng = random.Random(0)
    said = sum("blue" in write_caption("heart", "blue", [], "", rng) for _ in range(2000)) / 2000
    assert 0.55 < said < 0.65


def test_a_colour_that_is_not_the_things_own_is_always_said() -> None:
    rng = random.Random(0)
    drawn = [write_caption("heart", "blue", ["love"], "", rng, repainted=True) for _ in range(500)]
    assert all("blue" in caption.split() for caption in drawn)
    assert len(set(drawn)) > 10


def test_a_colour_in_the_name_is_not_said_twice() -> None:
    assert not any(text.split().count("red") > 1 for text in captions("red apple", "red", ["fruit"]))


def test_articles_agree() -> None:
    texts = captions("orange", "", [])
    assert "an orange" in texts
    assert "a orange" not in texts


def test_pairs_are_said_as_they_are() -> None:
    assert captions("cat and dog", "", []) == {"cat and dog"}


def test_styles_end_half_of_the_captions() -> None:
    texts = captions("rocket", "", [], style="flat icon")
    assert {text.endswith(", flat icon") for text in texts} == {True, False}


def test_keywords_that_many_share_are_left_out() -> None:
    concepts = {str(i): {"name": f"n{i}", "keywords": ["nature", f"own_{'abcdefgh'[i]}"]} for i in range(8)}
    found = common_keywords(concepts, most=3)
    assert found["0"] == ["own a"]


def test_base_names_lose_their_colour_only() -> None:
    assert base_name("blue heart") == "heart"
    assert base_name("orange") == "orange"
    assert base_name("red apple") == "apple"


def test_flags_are_not_drawn_and_coloured_shapes_are() -> None:
    concepts = read_captions()
    assert not usable(concepts["flag-benin"])
    assert usable(concepts["blue-circle"])
    assert not usable(concepts["keycap-0"])
    assert sum(map(usable, concepts.values())) == 1456


def test_portions_are_portions_of_the_thing() -> None:
    texts = captions("pizza", "", ["cheese", "slice"])
    assert "a slice of pizza" in texts
    assert not any("cheese of" in text for text in texts)
    assert not any("cup of" in text for text in captions("teacup", "", ["cup"]))
