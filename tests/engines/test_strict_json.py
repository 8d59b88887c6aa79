import pytest

from runtime.engines.strict_json import GREATEST_JSON, check_fields, check_file_name, parse_object
from runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "expected a JSON object"),
        (b"{", "expected a JSON object"),
        (b"[1]", "got list"),
        (b'"x"', "got str"),
        (b"\xff\xfe", "expected a JSON object"),
        (b'{"a": 1, "a": 2}', "'a' appears twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "expected a JSON object"),
        (b" " * (GREATEST_JSON + 1), f"at most {GREATEST_JSON} bytes"),
    ],
)
def test_text_that_is_no_object_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        parse_object(text, "here.json")
    assert str(error.value).startswith("here.json: ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "expected an object, got list"),
        ({"a": 1}, "the field 'b' is missing"),
        ({"a": 1, "b": 2.0, "z": 0}, "unknown field 'z'; expected a, b, c"),
        ({"a": "1", "b": 2.0}, "field 'a': expected int, got str '1'"),
        ({"a": True, "b": 2.0}, "field 'a': expected int, got bool True"),
        ({"a": 1.0, "b": 2.0}, "field 'a': expected int, got float"),
        ({"a": 1, "b": False}, "field 'b': expected float, got bool"),
        ({"a": 1, "b": 1, "c": 0}, "field 'c': expected str, got int 0"),
    ],
)
def test_fields_are_exactly_those_named(value: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_fields(value, "here", {"a": int, "b": float}, {"c": str})


def test_an_integer_is_a_number() -> None:
    assert check_fields({"a": 1, "b": 2}, "here", {"a": int, "b": float}, {"c": str}) == {"a": 1, "b": 2}


@pytest.mark.parametrize("name", ["model.onnx", "plans/sm80-10.13+x_1.plan", "a/b/c/d", "_x"])
def test_plain_names_pass(name: str) -> None:
    assert check_file_name(name, "here") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "a/",
        ".hidden",
        "a\\b",
        "a\0b",
        "C:x",
        "a/b/c/d/e",
        "é",
        "x" * 101,
    ],
)
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="no file name inside a bundle"):
        check_file_name(name, "here")
