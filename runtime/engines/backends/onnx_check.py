"""What an ONNX file may hold, checked before a library sees it: no other file's content, no loops, known operators.

A bundle's hashes say that a file is the one that bundle.json lists, not that it is harmless: who changes the file can
change the hash. ONNX lets a tensor name any file below the working directory as the place of its values. The runtime
does without the package onnx, so the file is read here as protocol buffers, of which a few message types matter.
"""

import math
from collections.abc import Collection, Iterator

from runtime.errors import UserError

DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
"""Domains of operators that an engine may have; ONNX's own and ONNX Runtime's."""

BANNED = frozenset({"Loop", "Scan", "If", "SequenceMap"})
"""Operators that run parts of a graph again, perhaps forever, and that no export writes."""

SIZED = frozenset({"ConstantOfShape", "Expand", "Tile", "Pad", "Range"})
"""Operators whose output is as large as numbers in the file say, however small the file is."""

LARGEST = 2**31
"""Most elements of a tensor that such numbers may ask for: 8 GiB of float32."""

DEPTH = 8
"""Messages within messages that are followed; files of exports have 4."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# By message type the fields that hold messages, and their types: onnx.proto3, which only ever adds numbers.
_MESSAGES = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}


def check_onnx(content: bytes, where: str, external: Collection[str]) -> None:
    """Refuse an ONNX file that reads other files, runs loops, has strange operators, or asks for endless tensors.

    Args:
        content: of the file.
        where: what messages call it.
        external: names of the verified files in which it may have its weights.

    Raises:
        UserError: it does one of these, or is no ONNX file.
    """
    try:
        _check("model", memoryview(content), where, external, 0)
    except (IndexError, UnicodeDecodeError):
        raise UserError(
            f"{where}: expected an ONNX file, got one that is cut or none; export the bundle again"
        ) from None


def _check(kind: str, message: memoryview, where: str, external: Collection[str], depth: int) -> None:
    """Check a message and those in it."""
    if depth > DEPTH:
        raise UserError(f"{where}: expected graphs without graphs in them, got {DEPTH} levels")
    texts: dict[int, str] = {}
    if kind in ("graph", "function"):
        _check_sizes(message, 1 if kind == "graph" else 7, where)
    for number, value in _fields(message):
        if number in _MESSAGES[kind]:
            _check(_MESSAGES[kind][number], value, where, external, depth + 1)
        # names of nodes and values of attributes may be long; only these are looked at
        elif (kind, number) in {("node", 4), ("node", 7), ("entry", 1), ("entry", 2)}:
            texts[number] = str(value, "utf-8")
    if kind == "node":
        _check_operator(texts.get(4, ""), texts.get(7, ""), where)
    if kind == "entry" and texts.get(1) == "location" and texts.get(2, "") not in external:
        listed = ", ".join(sorted(external)) or "none"
        raise UserError(
            f"{where}: expected weights in files that the bundle lists for it ({listed}), got {texts.get(2, '')!r:.80}"
        )


def _check_operator(operator: str, domain: str, where: str) -> None:
    if domain not in DOMAINS:
        raise UserError(f"{where}: expected operators of ONNX, got {operator!r:.60} of the domain {domain!r:.60}")
    if operator in BANNED:
        raise UserError(f"{where}: expected no loops and branches, got the operator {operator}")


def _check_sizes(graph: memoryview, nodes: int, where: str) -> None:
    """Refuse operators that small constants of the graph ask for tensors beyond `LARGEST`; `nodes` is their field."""
    sizes: dict[bytes, int] = {}
    asked: list[tuple[str, list[bytes]]] = []
    for number, value in _fields(graph):
        if number == 5 and nodes == 1:
            name, size = _product(value)
            sizes[name] = size
        elif number == nodes:
            fields = [*_fields(value)]
            operator = next((str(content, "utf-8") for field, content in fields if field == 4), "")
            if operator == "Constant":
                tensors = [t for field, content in fields if field == 5 for at, t in _fields(content) if at == 5]
                for output in (bytes(content) for field, content in fields if field == 2):
                    sizes[output] = max((_product(tensor)[1] for tensor in tensors), default=0)
            elif operator in SIZED:
                asked.append((operator, [bytes(content) for field, content in fields if field == 1]))
    for operator, inputs in asked:
        size = max((sizes.get(name, 0) for name in inputs), default=0)
        if size > LARGEST:
            raise UserError(f"{where}: expected tensors of at most {LARGEST} elements, got {operator} to {size:.3g}")


def _product(tensor: memoryview) -> tuple[bytes, int]:
    """Return a tensor's name and the product of its numbers, if they may be a shape: at most eight int64."""
    name, numbers = b"", []
    for field, content in _fields(tensor):
        if field == 8:
            name = bytes(content)
        elif field == 9 and len(content) % 8 == 0 and len(content) <= 64:
            numbers = [int.from_bytes(content[at : at + 8], "little", signed=True) for at in range(0, len(content), 8)]
        elif field == 7 and len(content) <= 80:
            at = 0
            while at < len(content):
                number, at = _varint(content, at)
                numbers.append(number if number < 2**63 else number - 2**64)
    return name, math.prod(number for number in numbers if number > 0) if numbers else 0


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each field that has bytes; an `IndexError` says that the message is cut."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        wire = key & 7
        if wire == _VARINT:
            _, at = _varint(message, at)
        elif wire == _BYTES:
            size, at = _varint(message, at)
            if at + size > end:
                raise IndexError
            yield key >> 3, message[at : at + size]
            at += size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise IndexError  # groups, which protocol buffers gave up long before ONNX
    if at > end:
        raise IndexError


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise IndexError
