"""The one allowed direction of imports, what `import runtime` may cost, sizes, and where each module is tested."""

import ast
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ("runtime", "train", "export", "serving")
HEAVY = ("torch", "numba", "onnxruntime", "diffusers", "onnx", "tensorrt", "transformers")

NO_NAMES = {"said", "told", "found", "kept", "made", "wanted", "known", "cut", "loose", "least"}
"""Words that could name any value; CONTRIBUTING.md has the field's words in their place."""

OLD_NAMES = {"xing", "flavour", "verdict", "verdicts", "halves"}
"""Words that CONTRIBUTING.md's table of terms has replaced."""

NOT_OURS = {"parse_known_args"}
"""Names with such a word in them that libraries have."""

FILE_LINES = 500
FUNCTION_LINES = 80
FOLDER_FILES = 16


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def packages() -> set[str]:
    """Return the packages at the top of the tree."""
    return {path.parent.name for path in ROOT.glob("*/__init__.py")}


# Imports


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml for the packages in a folder."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_imports_follow_the_arrow() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_every_package_is_in_the_contracts() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["root_packages"]
    assert {*listed, "tests"} == packages()


WRONG = {
    "runtime/errors.py": ("train.fit", "The arrow"),
    "train/norm.py": ("export.network", "The arrow"),
    "export/sd/load.py": ("export.clip.sources", "Rooms of the export"),
    "export/graph/trace.py": ("export.write.bundle", "Rooms of the export"),
    "runtime/vector/paths.py": ("runtime.guidance.schedule", "Rooms of the runtime"),
    "runtime/engines/spec.py": ("runtime.loop.optimize", "Rooms of the runtime"),
    "runtime/vectorize/__init__.py": ("runtime.vectorfusion.config", "Rooms of the runtime"),
    "runtime/command/threads.py": ("runtime.vectorfusion.config", "Rooms of the runtime"),
    "runtime/vector/svg/xml.py": ("runtime.vector.svg.read", "No circles"),
    "serving/store.py": ("train.fit", "A server needs the runtime alone"),
    "export/network.py": ("serving.store", "Nothing is built on the server"),
    "runtime/shelf.py": ("os", "Rooms of the runtime"),
}
"""Files with an import that they must not have, and the contract that breaks; the last is a room in no list."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the sources, so that wrong imports can be written into them."""
    folder = tmp_path_factory.mktemp("scratch")
    for path in sources(*packages() - {"tests"}):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_import_is_found(name: str, scratch: Path) -> None:
    file, (imported, contract) = scratch / name, WRONG[name]
    before = file.read_text("utf-8") if file.exists() else None
    file.write_text(f"{before or ''}\ndef f():\n    import {imported}\n", "utf-8")
    try:
        done = lint_imports(scratch)
    finally:
        file.unlink() if before is None else file.write_text(before, "utf-8")
    assert done.returncode == 1
    broken = " ".join(done.stdout.split())
    assert contract in broken.partition("Broken contracts")[2]


def test_the_loop_knows_no_method() -> None:
    words = ("vector", "sds", "clip", "svg", "guidance", "denoiser", "bezier")
    source = (ROOT / "runtime" / "loop" / "optimize.py").read_text("utf-8").lower().replace("vector_norm", "")
    assert [word for word in words if word in source] == []


@pytest.mark.parametrize("module", ["runtime", "runtime.errors", "runtime.command.tgm", "runtime.installing"])
def test_importing_the_runtime_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "[]"


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import of {node.module}"
            names.add(node.module or "")
    return names


def test_nothing_is_unpickled() -> None:
    banned = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
    for path in sources(*SHIPPED):
        names = {name.split(".")[0] for name in imported_modules(path)}
        assert not names & banned, path
        assert "torch.load(" not in path.read_text("utf-8"), path


# Words


def names_in(path: Path) -> set[str]:
    """Return the names that a file gives to or takes from values: variables, arguments, fields, functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
    return names


def words_of(name: str) -> set[str]:
    """Return the words that a name is made of, "_" between them."""
    return set(name.lower().split("_"))


def test_no_value_has_a_name_that_says_nothing() -> None:
    banned = {}
    for path in sources(*packages() - {"tests"}):
        names = {name for name in names_in(path) - NOT_OURS if words_of(name) & (NO_NAMES | OLD_NAMES)}
        if names:
            banned[str(path.relative_to(ROOT))] = names
    assert banned == {}


# Sizes


def functions(path: Path) -> dict[str, int]:
    """Return the lines of each function of a file, decorators left out."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, kinds)]
    return {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes}


def test_every_command_ends_as_commands_do() -> None:
    """A mistake of the user's is a line, not a traceback: `run_main` sees to it."""
    without = {"serving/worker.py", "benchmarks/vectorize/make_pictures.py"}
    for path in sources(*SHIPPED, "benchmarks"):
        _, guard, end = path.read_text("utf-8").partition('if __name__ == "__main__":\n')
        if guard and path.relative_to(ROOT).as_posix() not in without:
            assert "run_main(" in end, path


def test_no_file_is_long() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in sources(*packages())}
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_long() -> None:
    lengths = {(path, name): n for path in sources(*packages() - {"tests"}) for name, n in functions(path).items()}
    long = {f"{path.relative_to(ROOT)}: {name}": n for (path, name), n in lengths.items() if n > FUNCTION_LINES}
    assert long == {}


def test_no_folder_is_full() -> None:
    paths = sources(*packages() - {"tests"})  # tests of kernels and their twins, two folders, share one
    counts = Counter(path.parent for path in paths)
    assert {str(folder.relative_to(ROOT)): n for folder, n in counts.items() if n > FOLDER_FILES} == {}


def test_a_long_function_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    file.write_text("class C:\n    @staticmethod\n    def f():\n" + "        pass\n" * 90)
    assert functions(file) == {"f": 91}
