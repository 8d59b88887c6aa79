"""What bundle.json says of a bundle of any kind: name, licence, provenance, defaults, networks, hashes.

Format 2. Format 1 called the kind `method`, left it out for latent diffusion, and had defaults for VectorFusion alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from runtime.engines.spec import FileSpec, check_format, parse_files
from runtime.engines.strict_json import check_fields, check_file_name, parse_object
from runtime.errors import UserError

FORMAT = 2
"""Version of bundle.json that this package writes; it reads all up to this one."""

LATENT_DIFFUSION = "latent-diffusion"
"""The kind of a bundle that names none in a bundle.json of format 1."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_METHOD = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_FIRST: dict[str, type] = {"kind": str, "name": str, "version": str, "licence": str, "provenance": str}
_LAST: dict[str, type] = {"defaults": dict, "networks": dict, "files": dict}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of bundle.json that bundles of every kind have; each kind has a class of its own."""

    kind: ClassVar[str] = ""
    """What the field `kind` says: which networks these are."""
    roles: ClassVar[tuple[str, ...]] = ()
    """What a network of such a bundle can be for."""
    required: ClassVar[Mapping[str, type]] = {}
    """Type of each field that only this kind has."""
    optional: ClassVar[Mapping[str, type]] = {}
    """Type of each field that only this kind has and that may be left out."""

    name: str
    """The bundle's name."""
    version: str
    """The bundle's own version; informative."""
    licence: str
    """SPDX expression of the weights' licence."""
    provenance: str
    """Who trained the networks on what, and where the attributions are."""
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For each method the values of its configuration that suit these networks."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """Folder of the network for each role of `roles`."""
    files: Mapping[str, FileSpec] = field(default_factory=dict)
    """Size and hash of each network's spec.json and of the files beside bundle.json."""

    def to_json(self) -> str:
        """Return the text of bundle.json; of the optional fields only those that are not empty."""
        # empty ones are left out, so that a new optional field changes no bundle that does without it
        optional = [name for name in self.optional if getattr(self, name)]
        names = [*_FIRST, *self.required, *_LAST, *optional]
        document: dict[str, Any] = {"format": FORMAT} | {name: getattr(self, name) for name in names}
        # sorted: the hash of bundle.json identifies the bundle, and has to be the same for the same files
        document["files"] = {name: file.to_json() for name, file in sorted(self.files.items())}
        return json.dumps(document, indent=1, default=dict) + "\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """Return what the text of a bundle.json says.

        Args:
            data: content of the file.
            where: name of the file, for messages.

        Raises:
            UserError: not JSON, from a newer version, of another kind, or a field is missing, unknown or makes no
                sense.
        """
        document = parse_document(data, where)
        check_fields(document, where, {"format": int, **_FIRST, **cls.required, **_LAST}, cls.optional)
        if document["kind"] != cls.kind:
            raise UserError(f"{where}: field 'kind': expected {cls.kind}, got {document['kind']!r:.60}")
        files = parse_files(document["files"], where)
        common = {
            "name": check_bundle_name(document["name"], where),
            "defaults": _check_defaults(document["defaults"], f"{where}: defaults"),
            "networks": _check_networks(document["networks"], files, f"{where}: networks", cls.roles),
            "files": files,
        }
        own = cls.parse_own(document, where)
        rest = {name: value for name, value in document.items() if name not in ("format", "kind")}
        # the later win: values that were checked and converted replace those of the document
        return cls(**rest | common | own)

    @classmethod
    def parse_own(cls, document: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the values of the fields that only this kind has, where they differ from those of the document.

        Args:
            document: of the right fields, each of its type.
            where: name of the file, for messages.

        Raises:
            UserError: a value makes no sense.
        """
        raise NotImplementedError


_RENAMED = {"rate": "lr", "colour_rate": "colour_lr", "xing": "self_intersection"}
"""Options of VectorFusion that had other names when bundles were of format 1."""


def parse_document(data: bytes, where: str) -> dict[str, Any]:
    """Return the object in the text of a bundle.json of any format that is known, with the fields of the newest.

    Raises:
        UserError: not JSON, or from a newer version.
    """
    document = parse_object(data, where)
    if check_format(document, where, FORMAT) > 1:
        return document
    # format 1 has it as `method`, and what is made of that below would replace this one unseen
    if "kind" in document:
        raise UserError(f"{where}: unknown field 'kind' in format 1; expected 'method'")
    kind = document.pop("method", LATENT_DIFFUSION)
    if kind != LATENT_DIFFUSION:
        document.setdefault("defaults", {})
    elif isinstance(document.get("defaults"), dict):
        options = {_RENAMED.get(name, name): value for name, value in document["defaults"].items()}
        document["defaults"] = {"vectorfusion": options} if options else {}
    return {**document, "format": FORMAT, "kind": kind}


def check_bundle_name(name: str, where: str) -> str:
    """Return the name if it can be one; a `UserError` says what it may be made of."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{where}: expected a name of letters, digits, '_', '.' and '-', got {name!r:.120}")
    return name


def check_range(fields: Mapping[str, Any], where: str, name: str, lowest: float, highest: float) -> None:
    """Refuse a number outside [lowest, highest] with a `UserError` that names it."""
    if not lowest <= fields[name] <= highest:
        raise UserError(f"{where}: field {name!r}: expected {lowest} to {highest}, got {fields[name]!r:.40}")


def _check_defaults(value: dict[str, Any], where: str) -> dict[str, Any]:
    for method, options in value.items():
        if not _METHOD.fullmatch(method) or not isinstance(options, dict):
            raise UserError(f"{where}: expected options for each method by name, got {method!r:.60}: {options!r:.60}")
        for name, content in options.items():
            values = content if isinstance(content, list) else [content]
            # the bound refuses infinity too, which json makes of a number such as 1e999
            plain = all(
                x.isprintable()
                if isinstance(x, str)
                else isinstance(x, bool) or (isinstance(x, int | float) and abs(x) < 1e12)
                for x in values
            )
            if not name.isidentifier() or not plain:
                raise UserError(
                    f"{where}: {method}: expected option names with numbers or texts, got {name!r:.60}: {content!r:.60}"
                )
    return value


def _check_networks(
    value: dict[str, Any], files: Mapping[str, FileSpec], where: str, roles: tuple[str, ...]
) -> dict[str, str]:
    for role, folder in value.items():
        if role not in roles:
            raise UserError(f"{where}: unknown role {role!r:.60}; expected {', '.join(roles)}")
        if not isinstance(folder, str):
            raise UserError(f"{where}: {role!r}: expected the name of a folder, got {folder!r:.60}")
        check_file_name(folder, where)
        # its hash is what vouches for every other file of the folder
        if f"{folder}/spec.json" not in files:
            raise UserError(f"{where}: {role!r}: {folder}/spec.json is not among the files")
    return value
