"""What a network takes and gives: names, shapes with named dimensions, types, and the hash of each of its files.

`spec.json` beside a network is an `EngineSpec`; every backend checks its inputs against it, with the same messages.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.engines.dtypes import DTYPES
from runtime.engines.strict_json import GREATEST_FILE, check_fields, check_file_name, parse_object
from runtime.errors import UserError
from runtime.installing import update_advice

FORMAT = 1
"""Version of spec.json, and of every other document but bundle.json, that this package reads and writes."""

WEIGHTS = "weights.safetensors"
"""File with weights: in a network's folder its own, beside bundle.json those that several networks share."""

BASE = "base.onnx"
"""Name by which a network's models know the model of another bundle from which they have some of their weights."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_HASH = re.compile(r"[0-9a-f]{64}")
_GREATEST_DIMENSION = 1 << 31

Shape = tuple[int | str, ...]


def check_format(document: Mapping[str, Any], where: str, newest: int = FORMAT) -> int:
    """Return a document's format version, 1 to `newest`.

    Raises:
        UserError: the field `format` is missing, not an integer, or beyond `newest`; a newer one names the remedy.
    """
    version = document.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        expected = "1" if newest == 1 else f"1 to {newest}"
        raise UserError(f"{where}: field 'format': expected {expected}, got {version!r:.60}")
    if version > newest:
        raise UserError(f"{where} is from a newer version: expected format {newest}, got {version}; {update_advice()}")
    return version


def format_tensor(shape: Sequence[int | str], dtype: str) -> str:
    """Return a shape and a type as messages write them: `(B, 4, 16, 16) float32`."""
    inside = ", ".join(str(size) for size in shape)
    return f"({inside}{',' if len(shape) == 1 else ''}) {dtype}"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a network."""

    name: str
    """The tensor's name in the ONNX graph."""
    shape: Shape
    """Sizes; a string names a free dimension, which is the same in all tensors of the network."""
    dtype: str
    """One of `DTYPES`."""

    def __str__(self) -> str:
        """Return `(B, 4, 16, 16) float32`."""
        return format_tensor(self.shape, self.dtype)

    def bound(self, sizes: Mapping[str, int]) -> Shape:
        """Return the shape with the dimensions known in `sizes` filled in."""
        return tuple(sizes.get(size, size) if isinstance(size, str) else size for size in self.shape)

    def bind(self, shape: Sequence[int], dtype: str, sizes: dict[str, int]) -> bool:
        """Return whether a tensor fits, and enter the free dimensions that it settles into `sizes`."""
        declared = self.bound(sizes)
        if dtype != self.dtype or len(shape) != len(declared):
            return False
        # apart from `sizes` until all fits: a tensor that is refused must settle no dimension
        settled: dict[str, int] = {}
        for want, got in zip(declared, shape, strict=True):
            if (settled.setdefault(want, got) if isinstance(want, str) else want) != got:
                return False
        sizes |= settled
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of this tensor."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}

    @classmethod
    def from_json(cls, value: object, where: str) -> "TensorSpec":
        """Return the tensor that a JSON object describes; a `UserError` names what is wrong in it."""
        fields = check_fields(value, where, {"name": str, "shape": list, "dtype": str})
        _check_name(fields["name"], where)
        if fields["dtype"] not in DTYPES:
            raise UserError(f"{where}: field 'dtype': expected one of {', '.join(DTYPES)}, got {fields['dtype']!r:.60}")
        if len(fields["shape"]) > 8:
            raise UserError(f"{where}: field 'shape': expected at most 8 dimensions, got {len(fields['shape'])}")
        for size in fields["shape"]:
            if isinstance(size, str):
                _check_name(size, where)
            elif isinstance(size, bool) or not isinstance(size, int) or not 1 <= size < _GREATEST_DIMENSION:
                raise UserError(f"{where}: field 'shape': expected sizes of at least 1 or names, got {size!r:.60}")
        return cls(fields["name"], tuple(fields["shape"]), fields["dtype"])


@dataclass(frozen=True)
class FileSpec:
    """Size and hash of one file."""

    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of the content, 64 lower-case hexadecimal digits."""
    bundle: str = ""
    """Name of the bundle that has the file; empty where it lies in this one's folder."""
    path: str = ""
    """Its path in that bundle's folder; empty where `bundle` is."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of this file."""
        elsewhere = {"bundle": self.bundle, "path": self.path} if self.bundle else {}
        return {"size": self.size, "sha256": self.sha256, **elsewhere}

    @classmethod
    def from_json(cls, value: object, where: str) -> "FileSpec":
        """Return the file that a JSON object describes; a `UserError` names what is wrong in it."""
        fields = check_fields(value, where, {"size": int, "sha256": str}, {"bundle": str, "path": str})
        if not 0 <= fields["size"] <= GREATEST_FILE:
            raise UserError(f"{where}: field 'size': expected 0 to {GREATEST_FILE} bytes, got {fields['size']}")
        if not _HASH.fullmatch(fields["sha256"]):
            raise UserError(f"{where}: field 'sha256': expected 64 hexadecimal digits, got {fields['sha256']!r:.80}")
        if "bundle" in fields or "path" in fields:
            check_fields(fields, where, {"size": int, "sha256": str, "bundle": str, "path": str})
            check_file_name(fields["bundle"], f"{where}: field 'bundle'")
            check_file_name(fields["path"], f"{where}: field 'path'")
            if "/" in fields["bundle"]:
                raise UserError(f"{where}: field 'bundle': expected the name of a bundle, got {fields['bundle']!r:.80}")
        return cls(**fields)


@dataclass(frozen=True)
class EngineSpec:
    """A network: its tensors, its files, and the range of every free dimension."""

    name: str
    """The network's name, which every message about it starts with."""
    inputs: tuple[TensorSpec, ...]
    """Inputs, in the order in which an engine takes them."""
    outputs: tuple[TensorSpec, ...]
    """Outputs, in the order in which an engine gives them."""
    ranges: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Least, typical and greatest size of each free dimension (a TensorRT profile)."""
    files: Mapping[str, FileSpec] = field(default_factory=dict)
    """Every file of the network's folder except spec.json, by relative path."""

    def to_json(self) -> str:
        """Return the text of `spec.json`."""
        document = {
            "format": FORMAT,
            "name": self.name,
            "inputs": [tensor.to_json() for tensor in self.inputs],
            "outputs": [tensor.to_json() for tensor in self.outputs],
            # sorted: spec.json is hashed, and the same network has to give the same bytes
            "ranges": {name: list(sizes) for name, sizes in sorted(self.ranges.items())},
            "files": {name: file.to_json() for name, file in sorted(self.files.items())},
        }
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "EngineSpec":
        """Return the network that the text of a `spec.json` describes.

        Args:
            data: content of the file.
            where: name of the file, for messages.

        Raises:
            UserError: not JSON, from a newer version, or a field is missing, unknown or makes no sense.
        """
        document = parse_object(data, where)
        # before the fields: those that a newer version added would be refused as unknown, without the remedy
        check_format(document, where)
        kinds = {"format": int, "name": str, "inputs": list, "outputs": list, "ranges": dict, "files": dict}
        check_fields(document, where, kinds)
        _check_name(document["name"], where)
        spec = cls(
            document["name"],
            _tensors(document["inputs"], f"{where}: inputs"),
            _tensors(document["outputs"], f"{where}: outputs"),
            {name: _range(sizes, f"{where}: ranges: {name!r:.60}") for name, sizes in document["ranges"].items()},
            parse_files(document["files"], where),
        )
        free = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
        # a dimension without a range would go unchecked, and TensorRT could not build a profile for it
        if free != set(spec.ranges):
            raise UserError(
                f"{where}: ranges: expected the inputs' free dimensions {sorted(free)}, got {sorted(spec.ranges)}"
            )
        return spec


def parse_files(value: Mapping[str, object], where: str) -> dict[str, FileSpec]:
    """Return the files of a `files` object, whose names stay inside the folder; a `UserError` names a bad one."""
    return {
        check_file_name(name, f"{where}: files"): FileSpec.from_json(file, f"{where}: files: {name!r:.120}")
        for name, file in value.items()
    }


def _tensors(values: list[object], where: str) -> tuple[TensorSpec, ...]:
    if not 1 <= len(values) <= 1000:
        raise UserError(f"{where}: expected 1 to 1000 tensors, got {len(values)}")
    tensors = tuple(TensorSpec.from_json(value, f"{where}[{i}]") for i, value in enumerate(values))
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise UserError(f"{where}: expected distinct names, got {', '.join(t.name for t in tensors)}")
    return tensors


def _range(value: object, where: str) -> tuple[int, int, int]:
    sizes = value if isinstance(value, list) else []
    whole = len(sizes) == 3 and all(type(size) is int for size in sizes)
    if not whole or not 1 <= sizes[0] <= sizes[1] <= sizes[2] < _GREATEST_DIMENSION:
        raise UserError(f"{where}: expected [least, typical, greatest] of at least 1 in order, got {value!r:.60}")
    return (sizes[0], sizes[1], sizes[2])


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(f"{where}: expected a name of letters, digits, '_' and '.', got {name!r:.120}")
