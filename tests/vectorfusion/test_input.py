"""Mistakes that users make: each ends with code 2 and one line that names the thing, never with a traceback."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.command.settings import to_json
from runtime.errors import UserError
from runtime.loop.folder import FORMAT
from runtime.vectorfusion import Config, main
from runtime.vectorfusion.config import check
from tests.bundles import make_tiny_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Callable[..., None]:
    """Return a function that runs the command, expects this message, and that nothing was written."""
    monkeypatch.chdir(tmp_path)

    def run(message: str, *arguments: str, chosen: Path = tiny_folder) -> None:
        before = sorted(Path().rglob("*"))
        with pytest.raises(UserError, match=message) as caught:
            main([*arguments, "--bundle", str(chosen)])
        assert "\n" not in str(caught.value)
        assert sorted(Path().rglob("*")) == before

    return run


def test_the_process_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime.vectorfusion", ""]
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False
    )
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr == 'error: prompt: expected a few words such as "a red apple", got none\n'


@pytest.mark.parametrize("prompt", ["", "   "])
def test_empty_prompt(refused: Callable[..., None], prompt: str) -> None:
    refused("prompt: expected a few words", prompt)


def test_prompt_of_too_many_characters(refused: Callable[..., None]) -> None:
    refused("expected at most 500 characters, got 501", "x" * 501)


def test_prompt_of_too_many_tokens(refused: Callable[..., None]) -> None:
    refused("too long: expected at most 14 tokens, got 40", "a cat " * 20)


def test_prompt_with_control_characters(refused: Callable[..., None]) -> None:
    refused("printable", "a\x00cat")
    refused("printable", "a cat\nand a dog")


def test_unknown_preset(refused: Callable[..., None]) -> None:
    refused("--preset: expected one of icon, sketch, pixel, got 'oil'", "a cat", "--preset", "oil")


def test_unknown_route(refused: Callable[..., None]) -> None:
    refused("--route: expected trace or scratch for the preset 'icon', got 'magic'", "a cat", "--route=magic")
    refused("--route: expected trace or scratch for the preset 'sketch'", "a cat", "--preset=sketch", "--route=magic")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--steps", "-1", "--steps: expected 0 to 100000, got -1"),
        ("--steps", "100001", "got 100001"),
        ("--paths", "0", "--paths: expected 1 to 4096, got 0"),
        ("--paths", "4097", "got 4097"),
        ("--samples", "0", "--samples: expected 1 to 64, got 0"),
        ("--samples", "65", "got 65"),
        ("--omega", "-1", "--omega: expected 0 to 1000, got -1"),
        ("--omega", "nan", "got nan"),
        ("--omega", "inf", "got inf"),
        ("--sample-omega", "1e9", "--sample-omega: expected 0 to 1000"),
        ("--seed", "-1", "--seed: expected 0 to 9223372036854775807, got -1"),
        ("--lr", "-0.1", "--lr: expected 0 to 100, got -0.1"),
        ("--colour-lr", "1.5", "--colour-lr: expected 0 to 1, got 1.5"),
        ("--self-intersection", "-1", "--self-intersection: expected 0 to 1000"),
        ("--saturation", "nan", "--saturation: expected 0 to 1000, got nan"),
    ],
)
def test_numbers_out_of_range(refused: Callable[..., None], option: str, value: str, message: str) -> None:
    refused(message, "a cat", f"{option}={value}")


def test_times_out_of_range(refused: Callable[..., None]) -> None:
    refused("--upper-t: expected 50 to 999, got 20", "a cat", "--upper-t", "950", "20")


def test_paths_that_are_no_square(refused: Callable[..., None]) -> None:
    refused("square number.*got 1000", "a cat", "--preset", "pixel", "--paths", "1000")


@pytest.mark.parametrize("arguments", [["a cat", "--steps", "many"], ["a cat", "--colour", "red"], ["a", "cat"]])
def test_what_is_no_option_ends_with_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err and printed.err and printed.out == ""


def test_an_option_without_its_value(refused: Callable[..., None]) -> None:
    with pytest.raises((UserError, SystemExit)):
        main(["a cat", "--preset"])


def test_missing_bundle(refused: Callable[..., None], tmp_path: Path) -> None:
    refused("bundle '.*nowhere'.*--list-bundles", "a cat", chosen=tmp_path / "nowhere")


def test_truncated_bundle(refused: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = make_tiny_bundle(tmp_path_factory.mktemp("bad") / "tiny")
    weights = folder / "latent_encoder" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    refused("weights.safetensors", "a cat", chosen=folder)


def test_edited_bundle(refused: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = make_tiny_bundle(tmp_path_factory.mktemp("bad") / "tiny")
    model = folder / "denoiser" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[-5] ^= 1
    model.write_bytes(data)
    refused("denoiser/model.onnx", "a cat", chosen=folder)


def test_newer_bundle(refused: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = make_tiny_bundle(tmp_path_factory.mktemp("bad") / "tiny")
    document = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(document | {"format": 99}))
    refused("newer", "a cat", chosen=folder)


def test_bundle_without_an_engine_for_gradients(refused: Callable[..., None], tiny_folder: Path) -> None:
    refused(r"latent_encoder/vjp\.onnx", "a cat", "--gradients", "engine")


def test_bundle_whose_defaults_are_unknown(refused: Callable[..., None], tmp_path_factory) -> None:
    folder = make_tiny_bundle(tmp_path_factory.mktemp("bad") / "tiny")
    document = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(document | {"defaults": {"vectorfusion": {"magic": 3}}}))
    refused("defaults name options that this version does not have.*magic", "a cat", chosen=folder)


def test_bundle_of_another_schedule(refused: Callable[..., None], tmp_path_factory) -> None:
    folder = make_tiny_bundle(tmp_path_factory.mktemp("bad") / "tiny")
    document = json.loads((folder / "bundle.json").read_text())
    document["schedule"]["beta_schedule"] = "squaredcos_cap_v2"
    (folder / "bundle.json").write_text(json.dumps(document))
    refused("expected scaled_linear or linear, got 'squaredcos_cap_v2'", "a cat", chosen=folder)


def test_rasterizer_that_is_not_installed(refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydiffvg", None)  # as good as not installed
    refused("diffvg", "a cat", "--rasterizer", "diffvg")


def test_output_in_no_folder(refused: Callable[..., None]) -> None:
    refused("folder 'nowhere' does not exist", "a cat", "--out", "nowhere/cat.svg")


def test_output_of_another_kind(refused: Callable[..., None]) -> None:
    refused(r"ending in .svg, got 'cat.png'", "a cat", "--out", "cat.png")


def test_output_that_is_a_folder(refused: Callable[..., None]) -> None:
    Path("cat.svg").mkdir()
    refused("'cat.svg' is a folder", "a cat", "--out", "cat.svg")


def test_output_that_cannot_be_written(refused: Callable[..., None]) -> None:
    refused("cannot be written.*choose another place", "a cat", "--out", "/proc/cat.svg")


def test_output_that_is_someone_elses(refused: Callable[..., None]) -> None:
    Path("a-cat.svg").write_text("<svg>drawn by hand</svg>")
    refused("'a-cat.svg' exists, and no run in 'runs' wrote it", "a cat")
    refused("'a-cat.svg' exists, and no run in 'runs' wrote it", "a cat", "--out", "a-cat.svg")
    Path("a-cat.svg").rename("kept.svg")
    Path("a-cat.png").write_bytes(b"a photograph")
    refused("'a-cat.png' exists, and no run in 'runs' wrote it.*--force", "a cat")


def test_an_output_that_is_an_input(refused: Callable[..., None]) -> None:
    Path("i.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M1 1h5v5z"/></svg>')
    refused("'i.svg' is a file that is read", "a cat", "--init", "i.svg", "--out", "i.svg", "--force")


def test_a_start_that_is_not_there(refused: Callable[..., None]) -> None:
    refused("nowhere.svg", "a cat", "--init", "nowhere.svg")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"<html></html>", b"<svg", b"hello"])
def test_a_start_that_is_no_svg(refused: Callable[..., None], content: bytes) -> None:
    Path("start.svg").write_bytes(content)
    refused("start.svg", "a cat", "--init", "start.svg")


def test_a_start_without_shapes(refused: Callable[..., None]) -> None:
    Path("start.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"/>')
    refused("draws nothing", "a cat", "--init", "start.svg")


def test_resuming_what_is_no_run(refused: Callable[..., None]) -> None:
    refused("no run is here", "--resume", "runs/nothing")


def stored_run(change: dict[str, object], config: dict[str, object]) -> None:
    """Write the folder of a run that has not begun, changed."""
    from runtime import __version__

    values = to_json(Config(prompt="a cat", out=Path("a-cat.svg"))) | config
    document = {
        "format": FORMAT,
        "version": __version__,
        "method": "vectorfusion",
        "bundle_sha256": "0",
        "config": values,
    }
    document["placement"] = {"device": "auto", "backend": "auto", "compile": False}
    document["ran_on"] = {"device": "cpu", "networks": {}}
    Path("runs/a-cat").mkdir(parents=True)
    Path("runs/a-cat/config.json").write_text(json.dumps(document | change))


def test_resuming_a_run_of_another_version(refused: Callable[..., None]) -> None:
    stored_run({"version": "0.0.1"}, {})
    refused("the run is of tgm '0.0.1'", "--resume", "runs/a-cat")


def test_resuming_a_run_of_another_command(refused: Callable[..., None]) -> None:
    stored_run({"method": "dreamfusion"}, {})
    refused("of another command", "--resume", "runs/a-cat")


@pytest.mark.parametrize(
    "config", [{"steps": "many"}, {"magic": 1}, {"upper_t": None}, {"steps": 0}, {"prompt": ""}, {"preset": "oil"}]
)
def test_resuming_an_edited_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, object]) -> None:
    monkeypatch.chdir(tmp_path)
    stored_run({}, config)
    with pytest.raises(UserError):
        main(["--resume", "runs/a-cat"])


def test_resuming_with_other_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored_run({}, {})
    with pytest.raises(UserError, match="the run has seed 0, steps None; leave these options out"):
        main(["--resume", "runs/a-cat", "--steps", "7", "--seed", "1"])
    with pytest.raises(UserError, match="the run has prompt 'a cat'"):
        main(["a dog", "--resume", "runs/a-cat"])


def test_resuming_with_another_bundle_in_its_place(tmp_path: Path, monkeypatch, tiny_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    stored_run({}, {"bundle": str(tiny_folder)})
    with pytest.raises(UserError, match="bundle 'tiny' is not the one that the run began with"):
        main(["--resume", "runs/a-cat"])


def test_a_checked_prompt_is_trimmed() -> None:
    assert check(Config(prompt="  a cat ")).prompt == "a cat"
