"""What messages tell users to install exists, and is ours."""

import re
import tomllib
from pathlib import Path

import pytest

from runtime import installing
from runtime.installing import HOUSE, in_clone, install_command, update_advice

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])

STRANGER = "t" + "gm"
"""The name on the package registry that is another project's; written so that this file does not hold what it bans."""

INSTALLS = re.compile(r"pip (?:install|download)(?P<what>[^`\n)]*)")
EXTRAS_OF = re.compile(r"[\w./{}\"-]*\[(?P<names>[\w, -]+)\]")


def texts() -> list[Path]:
    """Return every file of the tree that a user reads or a message comes from."""
    folders = ("runtime", "train", "export", "serving", "benchmarks", "tests")
    files = [file for suffix in ("*.py", "*.md") for folder in folders for file in (ROOT / folder).rglob(suffix)]
    return [*files, *ROOT.glob("*.md"), ROOT / "pyproject.toml", ROOT / ".ci" / "run"]


def test_the_distribution_is_named_so() -> None:
    assert PROJECT["name"] == installing.DISTRIBUTION


def test_nobody_is_told_to_install_a_strangers_package() -> None:
    wrong = []
    for file in texts():
        text = file.read_text("utf-8")
        named = [match["what"] for match in INSTALLS.finditer(text)]
        words = [re.split(r"[\[=<>~ ]", word.strip("\"'"))[0] for what in named for word in what.split()]
        if f"{STRANGER}[" in text or STRANGER in words or installing.DISTRIBUTION in words:
            wrong.append(str(file.relative_to(ROOT)))
    assert wrong == []


def test_extras_that_are_named_exist() -> None:
    unknown = []
    for file in texts():
        for install in INSTALLS.finditer(file.read_text("utf-8")):
            for extras in EXTRAS_OF.finditer(install["what"]):
                names = {name.strip() for name in extras["names"].split(",")}
                if extras[0].startswith(('"."', '".', ".", '"WHEEL')) and not names <= EXTRAS:
                    unknown.append(f"{file.relative_to(ROOT)}: {install[0]}")
    assert unknown == []


def test_the_guard_sees_what_it_bans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "README.md"
    monkeypatch.setattr("tests.test_installing.texts", lambda: [bad])
    monkeypatch.setattr("tests.test_installing.ROOT", tmp_path)
    for line in (f'pip install "{STRANGER}[export]"', f"pip install -U {STRANGER}", f"pip install '{STRANGER}>=1'"):
        bad.write_text(f"Run `{line}`.\n")
        with pytest.raises(AssertionError):
            test_nobody_is_told_to_install_a_strangers_package()
    bad.write_text(f'pip install -e ".[{STRANGER}]"\n')
    with pytest.raises(AssertionError):
        test_extras_that_are_named_exist()


def test_in_a_clone_pip_takes_the_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert in_clone() and HOUSE == ROOT
    monkeypatch.chdir(ROOT)
    assert install_command("export", "tensorrt") == 'pip install -e ".[export,tensorrt]"'
    monkeypatch.chdir(tmp_path)
    assert install_command("export") == f'pip install -e "{ROOT}[export]"'
    assert update_advice() == f"update the clone '{ROOT}' (git pull)"


def test_elsewhere_pip_takes_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installing, "HOUSE", tmp_path)
    assert install_command("export") == 'pip install "WHEEL[export]", where WHEEL is the .whl file that you installed'
    assert update_advice() == "install a newer wheel of this package"
