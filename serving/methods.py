"""What is served: every method that the runtime has, found by its packages, with its options as a JSON schema.

Nothing is listed here. A package of the runtime that is a command and holds `Method` values is served from the next
start on, under the method's name with underscores: `lmconv_complete`.
"""

import importlib
import inspect
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt

from runtime.command.listing import commands_of
from runtime.command.method import Method
from runtime.command.options import describe_fields
from runtime.command.settings import blank
from runtime.errors import UserError

UNSERVED = ("out",)
"""Options that mean nothing to a client: the server names its own files."""

_BOUNDS = {Ge: ("ge", "minimum"), Gt: ("gt", "exclusiveMinimum"), Le: ("le", "maximum"), Lt: ("lt", "exclusiveMaximum")}


@dataclass(frozen=True)
class Served:
    """A method under the name that clients call it by."""

    name: str
    """Such as `lmconv_complete`."""
    home: str
    """Where a worker imports it from: `runtime.lmconv:COMPLETE`."""
    method: Method[Any]
    """The value."""

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return (inspect.getdoc(self.method.config) or self.name).partition("\n")[0].rstrip(".")


def served_methods(modules: Sequence[str] | None = None) -> dict[str, Served]:
    """Return what is served, by name.

    Args:
        modules: packages that hold methods; by default all commands of the runtime.
    """
    names = dict.fromkeys(f"runtime.{name.split('.')[0]}" for name in commands_of("runtime"))
    served = {}
    for module in names if modules is None else modules:
        for attribute, value in vars(importlib.import_module(module)).items():
            if isinstance(value, Method):
                name = value.name.replace(" ", "_").replace("-", "_")
                served[name] = Served(name, f"{module}:{attribute}", value)
    return dict(sorted(served.items()))


def method_at(home: str) -> Method[Any]:
    """Return the method at a `Served.home`."""
    module, _, attribute = home.partition(":")
    value = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(value, Method):
        raise UserError(f"method {home!r:.80}: expected the home of a method, got something else")
    return value


@cache
def options_schema(config: type[Any]) -> dict[str, Any]:
    """Return the JSON schema of a method's options: type, range, choices, default and help of each.

    An option that takes a file has `"format": "file"`; a text that may also be one, such as a mask, takes both.
    """
    describe_fields(config)
    hints = get_type_hints(config, include_extras=True)
    properties, required = {}, []
    for field in fields(config):
        if field.name in UNSERVED:
            continue
        properties[field.name] = {**schema_of(hints[field.name]), "description": field.metadata.get("help", "")}
        if field.default is not MISSING:
            properties[field.name]["default"] = _plain(field.default)
        elif field.default_factory is MISSING:
            required.append(field.name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def schema_of(annotation: Any) -> dict[str, Any]:
    """Return the JSON schema of an annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return schema_of(arguments[0]) | _range(arguments[1:])
    if origin is Literal:
        return {"type": "string" if isinstance(arguments[0], str) else "integer", "enum": list(arguments)}
    if origin in (Union, types.UnionType):
        # Configurations have no unions but with None.
        inner = schema_of(next(part for part in arguments if part is not type(None)))
        return inner | {"nullable": True}
    if origin is tuple:
        return {"type": "array", "prefixItems": [schema_of(part) for part in arguments], "minItems": len(arguments)}
    if annotation is Path:
        return {"type": "string", "format": "file"}
    return {"type": {int: "integer", float: "number", bool: "boolean"}.get(annotation, "string")}


def is_file(annotation: Any) -> bool:
    """Return whether an option of this annotation takes a file and nothing else."""
    return schema_of(annotation).get("format") == "file"


@cache
def texts_or_files(method: Method[Any]) -> tuple[str, ...]:
    """Return the options that take a text or a file in its place: a prompt or a picture, a region or a mask.

    No annotation says so. The method is asked: which of its texts would it read if they were a picture's name?
    """
    picture = Path("picture.png")
    config = blank(method.config, "")
    schema = options_schema(method.config)["properties"]
    for name, option in schema.items():
        if option.get("format") == "file" and getattr(config, name) is not None:
            object.__setattr__(config, name, picture)
    texts = [name for name, option in schema.items() if option.get("type") == "string" and is_text(option)]
    read = []
    for name in texts:
        asked = copy(config)
        object.__setattr__(asked, name, str(picture))
        # A method may refuse such a configuration, which is none that anybody has asked for.
        with suppress(Exception):
            read += [name] if name in method.inputs(asked) else []
    return tuple(read)


def is_text(option: Mapping[str, Any]) -> bool:
    """Return whether an option of this schema takes any text."""
    return "enum" not in option and "format" not in option


def _range(metadata: Sequence[Any]) -> dict[str, Any]:
    """Return the bounds among an annotation's metadata, as JSON schema names them."""
    flat = [part for entry in metadata for part in (entry if isinstance(entry, GroupedMetadata) else (entry,))]
    return {
        keyword: getattr(bound, attribute)
        for bound in flat
        for kind, (attribute, keyword) in _BOUNDS.items()
        if isinstance(bound, kind)
    }


def _plain(value: Any) -> Any:
    """Return a default as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def find(served: Mapping[str, Served], name: object) -> Served:
    """Return a method by the name that a client gives.

    Raises:
        UserError: there is none.
    """
    if not isinstance(name, str) or name not in served:
        raise UserError(f"method: expected one of {', '.join(served)}; got {name!r:.80}")
    return served[name]
