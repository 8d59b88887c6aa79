"""Each module has a test file of its name, or a line here that says where it is tested."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

ELSEWHERE: dict[str, str] = {}
"""Modules without a file of their own, and what tests them: a file below `tests/`."""


def modules() -> dict[str, Path]:
    """Return the modules that a deployment or an exporter runs, by path, with the test file that each should have.

    A package stands for its `__init__`. Files without a function or class of their own are left out.
    """
    expected = {}
    for package in ("runtime", "train", "export"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if is_bare(path):
                continue
            below = path.relative_to(ROOT / package)
            folder = Path() if package == "runtime" else Path(package)
            stem = {"__init__": below.parent.name or package, "__main__": "main"}.get(below.stem, below.stem)
            expected[path.relative_to(ROOT).as_posix()] = folder / below.parent / f"test_{stem}.py"
    return expected


def is_bare(path: Path) -> bool:
    """Return whether a file has no code of its own: no function and no class."""
    lines = path.read_text("utf-8").splitlines()
    return not any(line.lstrip().startswith(("def ", "class ", "async def ")) for line in lines)


def test_each_module_has_its_tests() -> None:
    missing = [
        f"{name}: no tests/{expected}, and no line in ELSEWHERE"
        for name, expected in modules().items()
        if not (ROOT / "tests" / expected).is_file() and name not in ELSEWHERE
    ]
    assert missing == []


def test_the_table_is_true() -> None:
    expected = modules()
    tests = ROOT / "tests"
    wrong = [f"{name}: tests/{file} is not there" for name, file in ELSEWHERE.items() if not (tests / file).is_file()]
    wrong += [f"{name}: there is no such module" for name in ELSEWHERE if name not in expected]
    wrong += [f"{name}: has its own file" for name in ELSEWHERE if (tests / expected.get(name, "")).is_file()]
    assert wrong == []
