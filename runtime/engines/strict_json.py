"""Strict JSON documents and file names: what a bundle's own files may contain, checked before it is used.

A bundle comes from anywhere. Every field is named and typed, nothing is optional by accident, and every refusal names
the file and the field.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from runtime.errors import UserError

GREATEST_JSON = 1 << 20
"""Greatest size of a JSON document of a bundle, bytes."""

GREATEST_FILE = 1 << 36
"""Greatest size of any file that a bundle may list, bytes: 64 GiB, several times that of the largest networks. Every
file is hashed before use, and a sparse one of any size costs nothing to make."""

# no leading dot, hence no `..`; neither backslash nor colon, which mean other folders on Windows
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


def parse_object(data: bytes, where: str, *, limit: int = GREATEST_JSON) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Args:
        data: UTF-8 JSON text.
        where: name of the file, for messages.
        limit: bytes at most.

    Raises:
        UserError: too long, not JSON, a key twice, a number that is not finite, nested too deeply, or not an object.
    """
    # before it is decoded, so that the limit bounds what the parser can be made to do
    if len(data) > limit:
        raise UserError(f"{where}: expected at most {limit} bytes of JSON, got {len(data)}")
    try:
        value = parse_value(data)
    except ValueError as error:
        raise UserError(f"{where}: expected a JSON object, got text that is none ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value


def parse_value(data: bytes) -> Any:
    """Return the JSON value in `data`, UTF-8 text of a bounded length.

    Raises:
        ValueError: bad UTF-8, bad JSON, a key twice, a number that is not finite or of too many digits, or nested too
            deeply.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json keeps the last of two equal keys where another reader may keep the first
    value = dict(pairs)
    if len(value) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {next(key for key in counts if counts[key] > 1)!r:.120} appears twice")
    return value


def _no_constant(text: str) -> None:
    # json accepts NaN and Infinity by default
    raise ValueError(f"{text} is not a JSON number")


def check_fields(
    value: object, where: str, required: Mapping[str, type], optional: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """Return `value`, an object that has exactly the fields that it may have, each of its type.

    Args:
        value: a parsed JSON value.
        where: file and place, for messages.
        required: type of each field that must be there; `float` takes integers too, `bool` is never a number.
        optional: type of each field that may be there.

    Raises:
        UserError: not an object, or a field is missing, unknown or of another type.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected an object, got {type(value).__name__}")
    allowed = {**required, **(optional or {})}
    for name in required:
        if name not in value:
            raise UserError(f"{where}: the field {name!r} is missing")
    for name, content in value.items():
        if name not in allowed:
            raise UserError(f"{where}: unknown field {name!r}; expected {', '.join(sorted(allowed))}")
        if not _is_a(content, allowed[name]):
            # cut short, here and in all messages: the value may be as long as the file
            kind, got = allowed[name].__name__, type(content).__name__
            raise UserError(f"{where}: field {name!r}: expected {kind}, got {got} {content!r:.60}")
        # texts of a bundle are printed: an escape in one would be a command to the terminal
        if isinstance(content, str) and not content.isprintable():
            raise UserError(f"{where}: field {name!r}: expected one line of printable text, got {content!r:.60}")
    return value


def _is_a(value: object, kind: type) -> bool:
    # bool derives from int, and true must not pass for 1
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def check_file_name(name: str, where: str) -> str:
    """Return `name`, a relative path of plain components (letters, digits, `_ . + -`) that stays in its folder.

    Args:
        name: components joined by `/`, at most four of them.
        where: file and place, for messages.

    Raises:
        UserError: absolute, climbing (`..`), hidden, or with other characters.
    """
    parts = name.split("/")
    if len(parts) > 4 or not all(_COMPONENT.fullmatch(part) for part in parts):
        raise UserError(
            f"{where}: {name!r:.120} is no file name inside a bundle; expected a relative path of letters, digits "
            "and '_.+-' that does not climb out of its folder"
        )
    return name
