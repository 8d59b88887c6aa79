"""What a wheel holds, and that it runs outside the tree, in a folder full of another project's files."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.bundles import make_tiny_bundle

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SHIPPED = ("runtime", "train", "export", "serving")

FOREIGN = "raise SystemExit('foreign code ran')\n"
"""What must never be imported."""


def call(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Return what a command did, without the environment variables that would lead it back into the tree."""
    hidden = {"PYTHONPATH", "PYTHONSAFEPATH", "PYTHONHOME"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    words = tuple(map(str, words))
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel out of a copy, so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for package in (*SHIPPED, "benchmarks", "tests"):
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    pip = (sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder)
    built = call(*pip, folder=source)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def tgm(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, in an environment that sees the packages of this one, and return its command."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    made = call(sys.executable, "-m", "venv", "--without-pip", folder, folder=wheel.parent)
    assert made.returncode == 0, made.stderr
    python = folder / "bin" / "python"
    installed = call(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel),
        folder=wheel.parent,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    (packages,) = folder.glob("lib/python*/site-packages")
    others = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
    # A path file adds folders, but does not obey theirs: how this environment finds the clone is not passed on.
    (packages / "others.pth").write_text("\n".join(others) + "\n")
    return folder / "bin" / "tgm"


@pytest.fixture
def abroad(tmp_path: Path) -> Path:
    """Make a folder of another project, whose files have our packages' names."""
    for package in ("runtime", "export"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(FOREIGN)
    for module in ("train", "tyro", "tgm"):
        (tmp_path / f"{module}.py").write_text(FOREIGN)
    return tmp_path


def test_it_holds_what_a_deployment_needs_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(SHIPPED)
    tree = {
        path.relative_to(ROOT).as_posix()
        for package in SHIPPED
        for path in (ROOT / package).rglob("*")
        if path.suffix == ".py" or "bundles" in path.parts
        if path.is_file() and "__pycache__" not in path.parts and "plans" not in path.parts
    }
    assert tree - set(names) == set()
    assert wheel.name.startswith("transferable_generative_models-")


def test_it_runs_from_where_it_is_installed(tgm: Path, tmp_path: Path) -> None:
    code = "import runtime, export, train; print(runtime.__file__, export.__file__, train.__file__)"
    files = call(tgm.with_name("python"), "-c", code, folder=tmp_path).stdout.split()
    assert len(files) == 3 and all(file.startswith(str(tgm.parents[1])) for file in files)


def test_it_lists_what_is_there(tgm: Path, abroad: Path) -> None:
    done = call(tgm, folder=abroad)
    assert done.returncode == 0, done.stderr
    names = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  tgm ")]
    assert {"vectorfusion", "vectorize", "lmconv", "export", "train"} <= set(names)
    assert "benchmarks" not in names


@pytest.mark.parametrize(
    "words",
    [
        *("vectorfusion --help", "vectorize --help", "clipdraw --help", "lmconv complete --help", "ddpm codec --help"),
        *("nerf --help", "nerf inspect --help", "nerf mesh --help", "pixelnerf --help", "lift --help"),
        *("dreamfusion --help", "dreamfields --help", "train", "train lmconv --help", "train pixelnerf --help"),
        *("train ddpm --help", "train further --help", "export", "export sd --help", "export ddpm --help"),
        *("serving", "serving build --help", "serving batch --help", "serving studio --help", "serving submit --help"),
    ],
)
def test_no_foreign_file_runs(tgm: Path, abroad: Path, words: str) -> None:
    done = call(tgm, *words.split(), folder=abroad)  # which would end with 1 and say so
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")


def test_it_draws(tgm: Path, abroad: Path) -> None:
    make_tiny_bundle(abroad / "tiny")
    options = "--bundle tiny --route scratch --paths 4 --steps 2 --rasterizer torch --device cpu"
    done = call(tgm, "vectorfusion", "a red apple", *options.split(), folder=abroad)
    assert done.returncode == 0, done.stderr
    assert (abroad / "a-red-apple.svg").read_text().startswith("<")
    assert (abroad / "a-red-apple.png").is_file()
