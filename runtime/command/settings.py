"""Configurations as JSON, and back: what config.json and a bundle's defaults may say is what the annotations say."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from runtime.errors import UserError

C = TypeVar("C")


def to_json(config: Any) -> dict[str, Any]:
    """Return a configuration as JSON values."""
    return {name: _plain(value) for name, value in asdict(config).items()}


def _plain(value: Any) -> Any:
    """Return a value as what a JSON document gives back for it."""
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[C], values: object, where: str) -> C:
    """Return the configuration that `to_json` made the values of.

    Args:
        kind: the configuration's dataclass.
        values: of a JSON document.
        where: name of the document, for messages.

    Raises:
        UserError: a field is missing, unknown or of another type.
    """
    hints = get_type_hints(kind, include_extras=True)
    if not isinstance(values, dict) or set(values) != set(hints):
        got = sorted(set(values) ^ set(hints)) if isinstance(values, dict) else repr(values)[:60]
        raise UserError(
            f"{where}: expected the options of this version, got other ones ({got!s:.300}); start the run anew"
        )
    return kind(**{name: _decode(value, hints[name], f"{where}: {name!r}") for name, value in values.items()})


def with_defaults(config: C, defaults: Mapping[str, Any], where: str) -> C:
    """Return a configuration with a bundle's own values in place of some of its defaults.

    A bundle may set numbers and choices, but no text and no file: it must not decide what is read, written or drawn.

    Args:
        config: the defaults of the method.
        defaults: the bundle's, by name of the field.
        where: name of the document that has them, for messages.

    Raises:
        UserError: there is no such field, it is not the bundle's to set, or the value is of another type.
    """
    hints = get_type_hints(type(config), include_extras=True)
    unknown = sorted(set(defaults) - set(hints))
    if unknown:
        raise UserError(f"{where}: its defaults name options that this version does not have: {unknown!s:.300}")
    for name in defaults:
        # A bundle is a file from elsewhere: with `out` or `init` it could have any file read or replaced.
        if {str, Path} & set(_flat(hints[name])):
            raise UserError(f"{where}: its defaults set {name!r}, which is not for a bundle to set; export it again")
    if not defaults:
        return config
    values = {name: _decode(value, hints[name], f"{where}: defaults: {name!r}") for name, value in defaults.items()}
    return replace(config, **values)  # pyright: ignore[reportArgumentType]


def blank(kind: type[C], missing: Any) -> C:
    """Return an instance whose required fields hold a mark; nothing of it is checked.

    tyro takes the mark for "this option has to be given".
    """
    config = object.__new__(kind)  # its constructor would have to accept the mark
    for field in fields(kind):  # pyright: ignore[reportArgumentType]
        required = field.default is MISSING and field.default_factory is MISSING
        value = field.default if field.default_factory is MISSING else field.default_factory()
        object.__setattr__(config, field.name, missing if required else value)
    return config


def _flat(annotation: Any) -> list[Any]:
    """Return the plain types in an annotation; those of literal values do not count."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _flat(get_args(annotation)[0])
    if origin is Literal:
        return []
    if origin in (Union, types.UnionType, tuple):
        return [inner for part in get_args(annotation) for inner in _flat(part)]
    return [annotation]


def _decode(value: Any, annotation: Any, where: str) -> Any:
    """Return a JSON value as what an annotation says; a `UserError` where it is something else."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _decode(value, arguments[0], where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            # Configurations have no unions but with None, so the one other member decides.
            return None
        return _decode(value, next(part for part in arguments if part is not type(None)), where)
    if origin is tuple and isinstance(value, list) and len(value) == len(arguments):
        return tuple(_decode(entry, part, where) for entry, part in zip(value, arguments, strict=True))
    if not _fits(value, annotation):
        raise UserError(f"{where}: expected {describe(annotation)}, got {value!r:.60}")
    convert: Any = {Path: Path, float: float}.get(annotation)
    return convert(value) if convert else value


def _fits(value: Any, annotation: Any) -> bool:
    """Return whether a JSON value is of a plain type, or one of some literal values; true is no number here."""
    if get_origin(annotation) is Literal:
        # 1 == True in Python: without the types, a flag would pass for a number.
        return any(value == choice and type(value) is type(choice) for choice in get_args(annotation))
    if annotation is Path:
        return isinstance(value, str) and "\0" not in value
    if annotation is float:
        # An integer of JSON may have more digits than a float has room for.
        return type(value) is float or (type(value) is int and abs(value) < 2**1023)
    return annotation in (int, bool, str) and type(value) is annotation


def describe(annotation: Any) -> str:
    """Return what an annotation takes, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        return " and ".join(describe(part) for part in arguments)
    if origin in (Annotated, Union, types.UnionType):
        return describe(arguments[0])
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return words.get(annotation, str(annotation))
