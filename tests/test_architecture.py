"""The one allowed direction of imports, and what `import runtime` may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "runtime": {"runtime"},
    "train": {"train", "runtime"},
    "export": {"export", "train", "runtime"},
    "serving": {"serving", "runtime"},
}
"""For each room, the rooms that it may import."""

LAYERS = {
    "runtime/vector": {"runtime.guidance", "runtime.engines", "runtime.vectorfusion"},
    "runtime/engines": {"runtime.guidance", "runtime.vector", "runtime.vectorfusion", "runtime.loop.optimize"},
    "runtime/guidance": {"runtime.vectorfusion"},
}
"""For each part of the runtime, what it must not know."""

HEAVY = ("torch", "numba", "onnxruntime", "diffusers", "onnx", "tensorrt", "transformers")


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import of {node.module}"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_follow_the_arrow(room: str) -> None:
    rooms = {*ALLOWED, "tests", "benchmarks"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in imported_modules(path)
        if name.split(".")[0] in rooms - ALLOWED[room]
    ]
    assert wrong == []


@pytest.mark.parametrize("part", LAYERS)
def test_parts_of_the_runtime_do_not_reach_up(part: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / part).rglob("*.py"))
        for name in imported_modules(path)
        if any(name == forbidden or name.startswith(forbidden + ".") for forbidden in LAYERS[part])
    ]
    assert wrong == []


def test_the_loop_knows_no_method() -> None:
    words = ("vector", "sds", "clip", "svg", "guidance", "denoiser", "bezier")
    source = (ROOT / "runtime" / "loop" / "optimize.py").read_text("utf-8").lower()
    assert [word for word in words if word in source] == []


def test_a_wrong_import_would_be_found(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from train.fit import fit\n")
    assert "train.fit" in imported_modules(bad)


@pytest.mark.parametrize("module", ["runtime", "runtime.errors"])
def test_importing_the_runtime_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "[]"


def test_runtime_pickles_nothing() -> None:
    banned = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
    for path in sorted((ROOT / "runtime").rglob("*.py")):
        names = {name.split(".")[0] for name in imported_modules(path)}
        assert not names & banned, path
        assert "torch.load(" not in path.read_text("utf-8"), path
