"""The console script: what it runs, and what it says. That nothing foreign runs is tested from a wheel."""

import subprocess
import sys
from pathlib import Path

import pytest

from runtime import __version__
from runtime.command import tgm
from runtime.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "module", "rest"),
    [
        ('vectorfusion "a red apple"', "runtime.vectorfusion", ['"a', "red", 'apple"']),
        ("lmconv complete x.png", "runtime.lmconv", ["complete", "x.png"]),
        ("train", "train", []),
        ("train lmconv --help", "train.lmconv", ["--help"]),
        ("train latent_diffusion.denoiser --data x", "train.latent_diffusion.denoiser", ["--data", "x"]),
        ("train latent_diffusion", "train.latent_diffusion", []),
        ("export sd --out x", "export", ["sd", "--out", "x"]),
        ("export verify icons", "export", ["verify", "icons"]),
        ("benchmarks raster", "benchmarks.raster", []),
        ("train nothing", "train", ["nothing"]),
    ],
)
def test_words_name_a_module(words: str, module: str, rest: list[str]) -> None:
    assert tgm.module_of(words.split()) == (module, rest)


@pytest.mark.parametrize("word", ["nothing", "vector", "command", "../train", "tests", "--quiet", ""])
def test_what_is_no_command_is_refused(word: str) -> None:
    with pytest.raises(UserError, match=r"tgm: expected one of .*lmconv, .*export, train"):
        tgm.module_of([word])


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the console script as its file does: with its own folder first on the path, not the working directory."""
    start = f"import sys; sys.path[0] = {str(ROOT)!r}; sys.argv = ['tgm', *{words!r}]"
    code = f"{start}; from runtime.command.tgm import run; run()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)


def test_without_words_it_lists(tmp_path: Path) -> None:
    done = run(folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("vectorfusion", "vectorize", "lmconv", "export", "train", "benchmarks"):
        assert f"\n  tgm {name} " in done.stdout


def test_its_version(tmp_path: Path) -> None:
    assert run("--version", folder=tmp_path).stdout == f"tgm {__version__}\n"


def test_programs_are_called_as_typed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("raise SystemExit('foreign')\n")
    done = run("train", "lmconv", "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: tgm train lmconv [-h]")
    assert "    tgm train lmconv --data mnist" in done.stdout
    assert "\n  tgm train lmconv.evaluate " in run("train", folder=tmp_path).stdout
    done = run("train", "x", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: tgm train: expected one of tgm train clip, ")


def test_benchmarks_of_a_clone_are_found_from_anywhere(tmp_path: Path) -> None:
    assert "\n  tgm benchmarks raster " in run("benchmarks", folder=tmp_path).stdout
