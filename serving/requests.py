"""What a client asks for, checked as a command line is: a method, its options, its files.

    {"method": "lmconv_complete", "options": {"picture": {"name": "digit.png", "sha256": "..."}, "hide": "top"}}

A client names no path of the server: whatever the method would read has to be a file that the client has sent, and a
bundle has to be one that the server offers.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from runtime.command.method import Method, checked
from runtime.command.ranges import option_name
from runtime.command.settings import blank, from_json, to_json, with_defaults
from runtime.errors import UserError
from runtime.version import __version__
from serving.archives import SUFFIX
from serving.methods import UNSERVED, Served, find, is_file

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
SHA256 = re.compile(r"[0-9a-f]{64}")
"""A SHA-256 in words: the name of a file that was sent."""


@dataclass(frozen=True)
class InputFile:
    """A file that a client has sent."""

    name: str
    """Its name, of plain characters."""
    sha256: str
    """Hash of its content, which finds it in the store."""


@dataclass(frozen=True)
class Request:
    """A request whose every option is settled and checked."""

    method: str
    """A name of `served_methods`."""
    values: Mapping[str, Any]
    """All options as JSON; in place of a file stands its name."""
    files: Mapping[str, InputFile]
    """The files, by option."""
    bundle_sha256: str | None
    """Digest of the bundle that `values` name; None where the method needs no networks."""

    def to_json(self) -> dict[str, Any]:
        """Return the request as a JSON object, which `from_json` reads."""
        files = {option: vars(file) for option, file in self.files.items()}
        return {
            "method": self.method,
            "options": dict(self.values),
            "files": files,
            "bundle_sha256": self.bundle_sha256,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Request":
        """Return a request of our own store."""
        files = {option: InputFile(**file) for option, file in document["files"].items()}
        return cls(document["method"], document["options"], files, document["bundle_sha256"])

    @property
    def key(self) -> str:
        """Hash of all that decides the result: method, options with the seed, files' content, networks, version."""
        text = json.dumps({**self.to_json(), "version": __version__}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def config(self, method: Method[Any], paths: Mapping[str, str] | None = None) -> Any:
        """Return the configuration of the method.

        Args:
            method: the value.
            paths: where each file lies, by option; by default its name stands for it.
        """
        return from_json(method.config, {**self.values, **(paths or {})}, "request")


def parse_request(
    document: object,
    served: Mapping[str, Served],
    digest_of: Callable[[str], str],
    *,
    defaults: Callable[[str, str], Mapping[str, Any]] | None = None,
) -> Request:
    """Return the request that a JSON value asks for.

    Args:
        document: an object with `method` and `options`.
        served: what there is.
        digest_of: gives the digest of a bundle that is offered, and refuses others.
        defaults: gives a bundle's own values of a method's options: (bundle, method) -> values.

    Raises:
        UserError: naming the option, what was expected and what came.
    """
    if not isinstance(document, Mapping):
        raise UserError(f"request: expected an object with 'method' and 'options', got {type(document).__name__}")
    chosen = find(served, document.get("method"))
    options = document.get("options", {})
    if not isinstance(options, Mapping):
        raise UserError(f"options: expected an object, got {options!r:.60}")
    method, given, files = chosen.method, dict(options), _files(options)
    refuse_unknown(method, given)
    bundle_sha256, own = None, {}
    if method.kind is not None:
        bundle = given.get("bundle", vars(method.config).get("bundle"))
        if not isinstance(bundle, str):
            raise UserError(f"--bundle: expected the name of a bundle, got {bundle!r:.60}")
        bundle_sha256 = digest_of(bundle)
        own = defaults(bundle, method.name) if defaults else {}
    values = {**starting_values(method, given, own), **given, **{option: file.name for option, file in files.items()}}
    missing = [name for name in get_type_hints(method.config) if name not in values]
    if missing:
        raise UserError(f"{option_name(missing[0])}: expected a value, got none; {chosen.name} needs it")
    config = checked(method, from_json(method.config, values, "request"))
    refuse_paths(method, config, files)
    return Request(chosen.name, to_json(replace(config, out=None)), files, bundle_sha256)


def refuse_unknown(method: Method[Any], given: Mapping[str, Any]) -> None:
    """Refuse options that the method does not have, or that no client may set."""
    options = set(get_type_hints(method.config)) - set(UNSERVED)
    for name in given:
        if name not in options:
            raise UserError(f"options: expected some of {', '.join(sorted(options))}; got {name!r:.60}")


def starting_values(method: Method[Any], given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that options have where nothing is given: those of the preset, then the bundle's own."""
    chosen = {name: given.get(name) for name in method.selectors}
    for name, value in chosen.items():
        if not isinstance(value, str | None):
            raise UserError(f"{option_name(name)}: expected a word, got {value!r:.60}")
    config = method.default(chosen) if method.default else blank(method.config, MISSING)
    config = with_defaults(config, own, f"bundle {given.get('bundle')!r:.60}")
    present = [field.name for field in fields(config) if getattr(config, field.name) is not MISSING]
    return {name: value for name, value in _json_of(config, present).items() if name not in UNSERVED} | {"out": None}


def _json_of(config: Any, names: list[str]) -> dict[str, Any]:
    """Return some values of a configuration as JSON; `to_json` would copy the marks of the others."""
    values = {}
    for name in names:
        value = getattr(config, name)
        values[name] = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    return values


def refuse_paths(method: Method[Any], config: Any, files: Mapping[str, InputFile]) -> None:
    """Refuse a configuration that would read a file of the server, or ignore one that was sent."""
    read = set(method.inputs(config))
    hints = get_type_hints(method.config, include_extras=True)
    paths = {name for name, hint in hints.items() if is_file(hint) and name not in UNSERVED}
    for name in sorted(read | {name for name in paths if getattr(config, name) is not None}):
        if name not in files:
            got = str(getattr(config, name))
            raise UserError(f"{option_name(name)}: expected a file that you send, got the text {got!r:.60}; upload it")
    for name in files:
        if name not in read | paths:
            raise UserError(f"{option_name(name)}: expected a value, got a file; give it in 'options' as it is")


def _files(options: Mapping[str, Any]) -> dict[str, InputFile]:
    """Return the options whose value is a file that was sent: an object with `name` and `sha256`."""
    files = {}
    for option, value in options.items():
        if not isinstance(value, Mapping):
            continue
        name, digest = value.get("name"), value.get("sha256")
        if set(value) != {"name", "sha256"} or not isinstance(name, str) or not isinstance(digest, str):
            raise UserError(f"{option_name(str(option))}: expected a file with 'name' and 'sha256', got {value!r:.80}")
        if not SHA256.fullmatch(digest):
            raise UserError(f"{option_name(option)}: sha256: expected 64 hexadecimal digits, got {digest!r:.80}")
        files[option] = InputFile(plain_name(name), digest)
    return files


def plain_name(name: str) -> str:
    """Return a file name of letters, digits, dots and hyphens that stays in its folder."""
    # "../../etc/passwd" and "C:\\x.png" alike lose their folders.
    stem, dot, suffix = _UNSAFE.sub("-", name.replace("\\", "/").rpartition("/")[2]).rpartition(".")
    stem, suffix = (stem, suffix) if dot else (suffix, "")
    return f"{stem.strip('.-_')[:60] or 'file'}{'.' if suffix else ''}{suffix[:12]}"


def command_of(request: Request, method: Method[Any]) -> str:
    """Return the command line that draws the same: only the options that differ from the defaults."""
    values, hints = request.values, get_type_hints(method.config, include_extras=True)
    start = starting_values(method, {name: values.get(name) for name in method.selectors}, {})
    words, options = [], []
    for name, value in values.items():
        selects = name in method.selectors and value != _default(method, name)
        if value is None or (value == start.get(name, MISSING) and not selects):
            continue
        if get_origin(hints[name]) is Annotated and tyro.conf.Positional in get_args(hints[name])[1:]:
            words.append(_word(request, name, value))
        elif isinstance(value, bool):
            options.append(option_name(name) if value else option_name(f"no_{name}"))
        else:
            parts = value if isinstance(value, list) else [value]
            options += [option_name(name), *(_word(request, name, part) for part in parts)]
    return shlex.join(["python", "-m", *f"runtime.{method.name}".split(), *words, *options])


def _word(request: Request, name: str, value: Any) -> str:
    """Return a value as it is typed; in place of an archive stands the folder that it was made of."""
    return str(value).removesuffix(SUFFIX) if name in request.files else str(value)


def _default(method: Method[Any], name: str) -> Any:
    """Return an option's own default."""
    return next(field.default for field in fields(method.config) if field.name == name)
