import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.engines.backends import plans as module
from runtime.engines.backends.plans import (
    PlanDocument,
    PlanKey,
    building,
    hash_source,
    list_plans,
    read_plan,
    remove_stale,
    write_plan,
)
from runtime.engines.precision import Compute
from runtime.engines.spec import EngineSpec, FileSpec, TensorSpec
from runtime.errors import UserError

KEY = PlanKey(
    network="denoiser",
    source="ab" * 32,
    edition="tensorrt_rtx",
    version="1.7.1.116",
    capability="sm89",
    precision=Compute.FP16,
)
CONTENT = bytes(range(256)) * 8
SPEC = EngineSpec(
    "denoiser",
    (TensorSpec("x", ("B", 4), "float32"),),
    (TensorSpec("y", ("B", 4), "float32"),),
    {"B": (1, 2, 8)},
    {
        "model.onnx": FileSpec(3, "0" * 64),
        "weights.safetensors": FileSpec(5, "1" * 64),
        "spec.md": FileSpec(1, "2" * 64),
    },
)


def test_a_plan_survives_the_disk(tmp_path: Path) -> None:
    path = write_plan(tmp_path / "plans", KEY, memoryview(CONTENT))
    assert path.read_bytes() == CONTENT == read_plan(tmp_path / "plans", KEY)
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".json", ".plan"]
    (document,) = list_plans(path.parent)
    assert document == PlanDocument(KEY, FileSpec(len(CONTENT), hashlib.sha256(CONTENT).hexdigest()))
    assert PlanDocument.from_json(document.to_json().encode(), "x") == document


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda path: path.unlink(),
            r"is truncated: expected 2048 bytes, got 0; build it with: python -m export build",
        ),
        (lambda path: path.write_bytes(CONTENT[:-1]), "is truncated: expected 2048 bytes, got 2047"),
        (lambda path: path.write_bytes(b""), "is truncated: expected 2048 bytes, got 0"),
        (lambda path: path.write_bytes(CONTENT + b"x"), "expected at most 2048 bytes, got 2049"),
        (
            lambda path: path.write_bytes(b"x" + CONTENT[1:]),
            "was edited: expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}",
        ),
        (lambda path: path.with_suffix(".json").unlink(), "no plan of denoiser for sm89 in fp16 .*: there is none"),
        (lambda path: path.with_suffix(".json").write_text("{"), "expected a JSON object"),
    ],
)
def test_a_damaged_plan_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(write_plan(tmp_path, KEY, CONTENT))
    with pytest.raises(UserError, match=words):
        read_plan(tmp_path, KEY)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "cd" * 32}, "is of another model and weights: expected abab.*, got cdcd"),
        ({"edition": "tensorrt"}, "is of another TensorRT edition: expected tensorrt_rtx, got tensorrt;"),
        ({"version": "10.3"}, "is of another TensorRT version: expected 1.7.1.116, got 10.3"),
        ({"capability": "sm86"}, "is of another compute capability: expected sm89, got sm86; .* --target sm89"),
        ({"precision": Compute.MODEL}, "is of another precision: expected fp16, got model; .* --precision fp16"),
        ({"network": "unet"}, "is of another network: expected denoiser, got unet"),
    ],
)
def test_a_foreign_plan_under_the_right_name_is_refused(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    foreign = replace(KEY, **changes)
    write_plan(tmp_path, foreign, CONTENT)
    for suffix in (".plan", ".json"):
        (tmp_path / f"{foreign.stem}{suffix}").rename(tmp_path / f"{KEY.stem}{suffix}")
    with pytest.raises(UserError, match=words):
        read_plan(tmp_path, KEY)


def test_a_missing_plan_says_which_there_are(tmp_path: Path) -> None:
    write_plan(tmp_path, replace(KEY, capability="sm80"), CONTENT)
    (tmp_path / "broken.json").write_text("[]")
    with pytest.raises(UserError, match=r"there is denoiser for sm80 in fp16 \(tensorrt_rtx 1\.7\.1\.116\); build it"):
        read_plan(tmp_path, KEY)
    with pytest.raises(UserError, match="there is none"):
        read_plan(tmp_path / "nowhere", KEY)


@pytest.mark.parametrize("field", ["network", "source", "edition", "version", "capability", "precision"])
def test_plans_that_differ_in_one_field_lie_side_by_side(field: str, tmp_path: Path) -> None:
    others = {
        "network": "unet",
        "source": "cd" * 32,
        "edition": "tensorrt",
        "version": "2",
        "capability": "sm80",
        "precision": Compute.BF16,
    }
    write_plan(tmp_path, KEY, CONTENT)
    write_plan(tmp_path, replace(KEY, **{field: others[field]}), b"other")
    assert read_plan(tmp_path, KEY) == CONTENT
    assert len(list_plans(tmp_path)) == 2


def edited(**changes: Any) -> bytes:
    return json.dumps(json.loads(PlanDocument(KEY, FileSpec(1, "0" * 64)).to_json()) | changes).encode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "from a newer version"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"capability": "../../x"}, "field 'capability': expected sm"),
        ({"version": "1/../../x"}, "field 'version'"),
        ({"version": "1" * 50}, "field 'version'"),
        ({"edition": "other"}, "field 'edition': expected tensorrt_rtx|tensorrt, got 'other'"),
        ({"network": "a/b"}, "field 'network'"),
        ({"source": "0"}, "field 'source'"),
        ({"precision": "int4"}, "field 'precision'"),
        ({"size": -1}, "field 'size'"),
        ({"size": 2**60}, "field 'size'"),
        ({"sha256": "zz"}, "field 'sha256'"),
        ({"sha256": None}, "field 'sha256': expected str"),
    ],
)
def test_a_document_that_makes_no_sense_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        PlanDocument.from_json(edited(**changes), "plans/a.json")
    assert str(error.value).startswith("plans/a.json")


def test_the_source_changes_with_everything_that_a_plan_is_built_of() -> None:
    known = {hash_source(SPEC, "model.onnx")}
    files = dict(SPEC.files)
    changed = [
        replace(SPEC, files=files | {"model.onnx": FileSpec(3, "9" * 64)}),
        replace(SPEC, files=files | {"weights.safetensors": FileSpec(5, "9" * 64)}),
        replace(SPEC, ranges={"B": (1, 2, 16)}),
        replace(SPEC, inputs=(TensorSpec("x", ("B", 5), "float32"),)),
    ]
    known |= {hash_source(spec, "model.onnx") for spec in changed}
    known.add(
        hash_source(SPEC, "model.onnx", {"weights.safetensors": FileSpec(5, "3" * 64), "w": FileSpec(5, "3" * 64)})
    )
    known.add(hash_source(replace(SPEC, files=files | {"vjp.onnx": FileSpec(3, "0" * 64)}), "vjp.onnx"))
    assert len(known) == 7
    assert hash_source(replace(SPEC, files=files | {"spec.md": FileSpec(9, "9" * 64)}), "model.onnx") in known
    with pytest.raises(UserError, match=r"engine 'denoiser': the bundle has no vjp\.onnx"):
        hash_source(SPEC, "vjp.onnx")


def test_plans_of_an_older_model_are_removed_and_others_stay(tmp_path: Path) -> None:
    old, other = replace(KEY, source="cd" * 32), replace(KEY, source="cd" * 32, capability="sm80")
    for key in (KEY, old, other):
        write_plan(tmp_path, key, CONTENT)
    assert remove_stale(tmp_path, KEY) == [f"{old.stem}.plan"]
    assert {plan.key for plan in list_plans(tmp_path)} == {KEY, other}
    assert len(list(tmp_path.iterdir())) == 4


def test_the_lock_leaves_nothing(tmp_path: Path) -> None:
    with building(tmp_path, KEY):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


BUILDER = """
    import sys
    from pathlib import Path
    from runtime.engines.backends.plans import building, read_plan, write_plan
    from runtime.errors import UserError
    from tests.engines.backends.test_plans import KEY
    folder, mark = Path(sys.argv[1]), sys.argv[2]
    with building(folder, KEY, wait=lambda: print("waits", flush=True)):
        try:
            read_plan(folder, KEY)
            print("keeps", flush=True)
        except UserError:
            print("builds", flush=True)
            sys.stdin.readline()
            write_plan(folder, KEY, mark.encode() * 100000)
"""


def start(folder: Path, mark: str) -> subprocess.Popen:
    """Start a process that builds a plan and ends building when it is told to, not after a time."""
    arguments = [sys.executable, "-c", textwrap.dedent(BUILDER), str(folder), mark]
    root = Path(__file__).parents[3]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)


def wait_for_line(process: subprocess.Popen, line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def test_of_two_processes_one_builds_and_the_other_waits_and_keeps(tmp_path: Path) -> None:
    with start(tmp_path, "a") as first:
        wait_for_line(first, "builds")
        with start(tmp_path, "b") as second:
            wait_for_line(second, "waits")
            first.communicate("\n", timeout=120)
            wait_for_line(second, "keeps")
    assert first.returncode == second.returncode == 0
    assert read_plan(tmp_path, KEY) == b"a" * 100000
    assert len(list(tmp_path.iterdir())) == 2


def test_a_killed_builder_leaves_no_lock_and_no_half_plan(tmp_path: Path) -> None:
    with start(tmp_path, "a") as first:
        wait_for_line(first, "builds")
        first.kill()
    with start(tmp_path, "b") as second:
        assert second.communicate("\n", timeout=120)[0] == "builds\n"
    assert read_plan(tmp_path, KEY) == b"b" * 100000


def test_a_plan_written_without_its_document_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plan(tmp_path, KEY, CONTENT)
    written = []

    def dies(path: Path, content: bytes) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        path.write_bytes(content)

    monkeypatch.setattr(module, "replace_file", dies)
    with pytest.raises(KeyboardInterrupt):
        write_plan(tmp_path, KEY, b"y" * len(CONTENT))
    with pytest.raises(UserError, match="was edited"):
        read_plan(tmp_path, KEY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="ermission"), building(tmp_path / "plans", KEY):
        pass


def test_nobody_waits_when_nobody_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: pytest.fail("waits"))
    with building(tmp_path, KEY, wait=lambda: pytest.fail("nobody builds")):
        pass
