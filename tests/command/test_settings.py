from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Interval

from runtime.command.settings import from_json, to_json, with_defaults
from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Config:
    prompt: str = "a cat"
    out: Path | None = None
    preset: Literal["icon", "pixel"] = "icon"
    steps: Annotated[int, Interval(ge=1, le=9)] = 3
    weight: float = 0.5
    times: tuple[int, int] = (600, 200)
    flag: bool = False


def test_a_configuration_comes_back() -> None:
    config = Config(prompt="a dog", out=Path("a/b.svg"), preset="pixel", steps=7, weight=2.0, times=(1, 2), flag=True)
    assert from_json(Config, to_json(config), "x") == config
    assert from_json(Config, to_json(Config()), "x") == Config()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("steps", 3.5, "a whole number, got 3.5"),
        ("steps", True, "a whole number, got True"),
        ("steps", "3", "a whole number, got '3'"),
        ("steps", None, "a whole number, got None"),
        ("flag", 1, "true or false, got 1"),
        ("weight", "1", "a number, got '1'"),
        ("preset", "oil", "one of icon, pixel, got 'oil'"),
        ("out", 3, "a path, got 3"),
        ("out", "a\0b", "a path, got"),
        ("times", [1], "a whole number and a whole number, got"),
        ("times", [1, 2.5], "a whole number, got 2.5"),
        ("prompt", ["a"], "text, got"),
    ],
)
def test_a_value_of_another_type_is_refused(field: str, value: object, words: str) -> None:
    with pytest.raises(UserError, match=f"doc: '{field}': expected {words}"):
        from_json(Config, {**to_json(Config()), field: value}, "doc")


@pytest.mark.parametrize("values", [None, [], {}, {**to_json(Config()), "more": 1}])
def test_missing_and_unknown_fields_are_refused(values: object) -> None:
    with pytest.raises(UserError, match="doc: expected the options of this version"):
        from_json(Config, values, "doc")


def test_a_bundle_sets_numbers_and_choices_only() -> None:
    config = with_defaults(Config(), {"steps": 5, "preset": "pixel", "times": [9, 8], "weight": 1}, "doc")
    assert config == Config(steps=5, preset="pixel", times=(9, 8), weight=1.0)
    for field, value in (("prompt", "a dog"), ("out", "/etc/passwd")):
        with pytest.raises(UserError, match=f"set '{field}', which is not for a bundle"):
            with_defaults(Config(), {field: value}, "doc")
    with pytest.raises(UserError, match=r"not have: \['colour'\]"):
        with_defaults(Config(), {"colour": 1}, "doc")
    with pytest.raises(UserError, match=r"expected a whole number, got 2\.5"):
        with_defaults(Config(), {"steps": 2.5}, "doc")


def test_messages_of_options_that_no_version_has_stay_short() -> None:
    with pytest.raises(UserError, match="options of this version") as caught:
        from_json(Config, {"[" * 9000: 1}, "config.json")
    assert len(str(caught.value)) < 600
