"""A bundle's own documents are believed or refused by a `UserError`, whatever their bytes; nothing else happens."""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engines.backends.plans import PlanDocument, PlanKey, read_plan, write_plan
from runtime.engines.bundle import read_manifest
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.spec import EngineSpec, FileSpec
from runtime.errors import UserError
from tests.bundles import MANIFEST, SPECS
from tests.engines.backends.test_plans import CONTENT, KEY
from tests.fuzzing import anything, damaged, loosened, mutated

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


def is_believed_or_refused(name: str, content: bytes) -> None:
    """Fail where a loader raises anything but a `UserError`, takes long, or believes what it would not write again."""
    start = time.thread_time()  # not the process: threads of other tests may still be computing
    try:
        found = LOADERS[name][1](content)
    except UserError as error:
        assert str(error).startswith(name)
        assert len(str(error)) < 2000
    else:
        assert LOADERS[name][1](found.to_json().encode()) == found
    assert time.thread_time() - start < SLOWEST


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


def fuzz(examples: int) -> None:
    """Read `examples` mutated documents of each kind, a multiple of a hundred."""

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
def test_any_of_a_hundred_thousand_documents_is_believed_or_refused(inputs: int) -> None:
    fuzz(inputs)


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
def test_no_unhashed_plan_of_a_hundred_thousand_is_deserialized(tmp_path: Path, inputs: int) -> None:
    fuzz_plans(tmp_path, inputs)


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
