"""Documents and files that are nearly sound, for fuzz tests."""

import json
from copy import deepcopy
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

NASTY = [
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1e308,
    -0.0,
    "",
    "\x00",
    "../../etc/passwd",
    "/dev/zero",
    "a" * 5000,
    "\ud800",
    "B",
    [],
    {},
    [[[[[]]]]],
    {"": {"": {}}},
]
"""Values that no field expects, or that some expect and others do not."""

values = st.recursive(
    st.sampled_from(NASTY).map(deepcopy) | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places_of(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of every value inside a document."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places_of(inner, (*path, key))
    return found


@st.composite
def edited(draw: st.DrawFn, sound: bytes) -> bytes:
    """Draw a sound document with some values replaced, removed, renamed or added."""
    document = json.loads(sound)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(places_of(document)[1:]))
        place = document
        for key in parents:
            place = place[key]
        kind = draw(st.integers(0, 3))
        if kind == 0 or isinstance(place, list):
            place[last] = draw(values)
        elif kind == 1:
            del place[last]
        else:
            place[draw(st.text(max_size=10) | st.sampled_from([*map(str, place)]))] = draw(values)
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """Draw a document whose bytes were cut, doubled, overwritten or shuffled together."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        begin, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        piece = draw(
            st.binary(max_size=8) | st.sampled_from([b"{" * 3000, b"[" * 3000, b"1" * 5000, b"", b'"', b"\\u0000"])
        )
        content[begin:end] = piece if draw(st.booleans()) else bytes(content[begin:end]) * 2
    return bytes(content[:200_000])


def anything(sound: bytes) -> st.SearchStrategy[bytes]:
    plain = st.binary(max_size=300) | values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    return edited(sound) | damaged(sound) | plain


def loosened(examples: int) -> settings:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=quiet)


def mutated(sound: bytes, random: Random) -> bytes:
    """Return a sound document after some edits of values and, half of the time, of bytes: a hundred times faster."""
    document = json.loads(sound)
    for _ in range(random.randint(1, 3)):
        *parents, last = random.choice(places_of(document)[1:] or [("none",)])
        place = document
        for key in parents:
            place = place[key]
        if isinstance(place, dict) and random.random() < 0.3:
            place.pop(last, None)
        else:
            place[last] = deepcopy(random.choice(NASTY))
    content = bytearray(json.dumps(document, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass"))
    while random.random() < 0.5:
        begin, end = sorted(random.choices(range(len(content) + 1), k=2))
        content[begin : min(end, begin + 9)] = random.choice([b"", b"\xff", b"{", b'"', b"9" * 5000, b"[" * 3000])
    return bytes(content)


def shuffled(sound: bytes, random: Random, pieces: list[bytes]) -> bytes:
    """Return bytes after some cuts, copies and insertions; half of them keep their length."""
    content = bytearray(sound)
    for _ in range(random.randint(1, 4)):
        begin, end = sorted(random.choices(range(len(content) + 1), k=2))
        end = min(end, begin + random.choice([1, 2, 4, 16, 1 << 20]))
        kind = random.random()
        if kind < 0.5:
            content[begin:end] = random.randbytes(end - begin)
        elif kind < 0.7:
            content[begin:end] = random.choice(pieces)
        elif kind < 0.85:
            content[begin:end] = b""
        else:
            content[begin:end] = bytes(content[begin:end]) * 2
    return bytes(content[:200_000])
