"""A bundle's own documents are believed or refused by a `UserError`, whatever their bytes; nothing else happens."""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.engines.backends.plans import PlanDocument, PlanKey, read_plan, write_plan
from runtime.engines.bundle import read_manifest
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.spec import EngineSpec, FileSpec
from runtime.errors import UserError
from tests.bundles import MANIFEST, SPECS
from tests.engines.backends.test_plans import CONTENT, KEY

SLOWEST = 1.0
"""Seconds that one document may take, on a machine that does other things too."""

SPEC = SPECS["denoiser"].to_json().encode()
BUNDLE = DiffusionManifest(
    **{
        **MANIFEST.__dict__,
        "networks": {"denoiser": "denoiser"},
        "files": {"denoiser/spec.json": FileSpec(len(SPEC), "0" * 64)},
    }
)
PLAN = PlanDocument(KEY, FileSpec(len(CONTENT), "0" * 64))
LOADERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "spec.json": (SPEC, lambda data: EngineSpec.from_json(data, "spec.json")),
    "bundle.json": (BUNDLE.to_json().encode(), lambda data: read_manifest(data, "bundle.json")),
    "plan": (PLAN.to_json().encode(), lambda data: PlanDocument.from_json(data, "plan")),
}
"""For each document a sound one, and what reads it."""

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


def is_believed_or_refused(name: str, content: bytes) -> None:
    """Fail where a loader raises anything but a `UserError`, takes long, or believes what it would not write again."""
    start = time.process_time()
    try:
        found = LOADERS[name][1](content)
    except UserError as error:
        assert str(error).startswith(name)
        assert len(str(error)) < 2000
    else:
        assert LOADERS[name][1](found.to_json().encode()) == found
    assert time.process_time() - start < SLOWEST


def loosened(examples: int) -> settings:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=quiet)


@pytest.mark.parametrize("name", LOADERS)
def test_a_sound_document_is_believed(name: str) -> None:
    sound, load = LOADERS[name]
    assert load(sound).to_json().encode() == sound


@pytest.mark.parametrize("name", LOADERS)
def test_any_document_is_believed_or_refused(name: str) -> None:
    @loosened(150)
    @given(anything(LOADERS[name][0]))
    def check(content: bytes) -> None:
        is_believed_or_refused(name, content)

    check()


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


def fuzz(examples: int) -> None:
    """Read `examples` mutated documents of each kind."""

    @loosened(examples // 100)
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        random = Random(seed)
        for name, (sound, _) in LOADERS.items():
            for _ in range(100):
                is_believed_or_refused(name, mutated(sound, random))

    check()


def test_thousands_of_mutated_documents_are_believed_or_refused() -> None:
    fuzz(1000)


@pytest.mark.slow
def test_any_of_a_hundred_thousand_documents_is_believed_or_refused() -> None:
    fuzz(100_000 // len(LOADERS) + 100)


def no_unhashed_plan(folder: Path, document: bytes, plan: bytes) -> None:
    """Fail where content reaches TensorRT that the document on disk has not the hash of."""
    (folder / f"{KEY.stem}.json").write_bytes(document)
    (folder / f"{KEY.stem}.plan").write_bytes(plan)
    reached: list[bytes] = []
    with contextlib.suppress(UserError):
        reached.append(read_plan(folder, KEY))
    if reached:
        assert PlanDocument.from_json(document, "plan").key == KEY
        assert PlanDocument.from_json(document, "plan").file == FileSpec(len(plan), sha256(plan))
        assert reached == [plan]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def plan_pairs() -> st.SearchStrategy[tuple[bytes, bytes]]:
    right = PlanDocument(KEY, FileSpec(len(CONTENT), sha256(CONTENT))).to_json().encode()
    documents = st.just(right) | anything(right)
    plans = st.just(CONTENT) | damaged(CONTENT) | st.binary(max_size=100)
    return st.tuples(documents, plans)


def fuzz_plans(folder: Path, examples: int) -> None:
    write_plan(folder, KEY, CONTENT)

    @loosened(examples)
    @given(plan_pairs())
    def check(pair: tuple[bytes, bytes]) -> None:
        no_unhashed_plan(folder, *pair)

    check()


def test_no_unhashed_plan_is_deserialized(tmp_path: Path) -> None:
    fuzz_plans(tmp_path, 100)


@pytest.mark.slow
def test_no_unhashed_plan_of_ten_thousand_is_deserialized(tmp_path: Path) -> None:
    fuzz_plans(tmp_path, 10_000)


def test_nothing_but_the_reader_of_plans_feeds_tensorrt() -> None:
    """The one place that deserializes takes bytes, and the one that calls it takes them from `read_plan`."""
    root = Path(__file__).parents[2]
    files = [path for room in ("runtime", "export", "serving", "benchmarks") for path in (root / room).rglob("*.py")]
    engines = root / "runtime" / "engines" / "backends"
    for pattern, place in (
        (r"deserialize_cuda_engine\(", engines / "trt.py"),
        (r"(?<!class )TrtEngine\(", engines / "trt_driver.py"),
    ):
        assert [path for path in files if re.search(pattern, path.read_text("utf-8"))] == [place]
        assert len(re.findall(pattern, place.read_text("utf-8"))) == 1
    assert "TrtEngine(graph.spec, read_plan(graph.plans, key)" in (engines / "trt_driver.py").read_text("utf-8")


def test_keys_of_any_text_stay_in_their_folder(tmp_path: Path) -> None:
    for field in ("network", "version", "capability", "precision", "edition", "source"):
        document = json.loads(PLAN.to_json()) | {field: "../../x"}
        with pytest.raises(UserError, match=f"field '{field}'"):
            PlanDocument.from_json(json.dumps(document).encode(), "plan")
    assert "/" not in PlanKey(**{name: getattr(KEY, name) for name in KEY.__dataclass_fields__}).stem
