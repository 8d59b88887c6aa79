"""What a method gets from the frame without code of its own: command, resume, progress, cancel, errors."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.command.method import draw, read_inputs
from runtime.engines.bundle import Bundle
from runtime.errors import UserError
from runtime.loop.events import Event, Stepped
from runtime.loop.signals import StoppedRun
from tests.command.toy import METHOD, Config, main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_method_is_under_sixty_lines() -> None:
    assert len((Path(__file__).parent / "toy.py").read_text("utf-8").splitlines()) < 60


def test_drawing_from_python_fits_the_colour() -> None:
    events: list[Event] = []
    scene = draw(METHOD, Config(grey=0.3, steps=60), Bundle.load("icons"), report=events.append)
    far = [event.loss for event in events if isinstance(event, Stepped)]
    assert len(far) == 60 and far[-1] < 0.01 * far[0]
    assert scene.render(1).flatten().tolist() == pytest.approx([0.3, 0.3, 0.3], abs=0.05)
    assert events[-1].scene is scene


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.png", r"^--picture 'none\.png': expected a file, got none$"),
        ("a\0b.png", r"^--picture 'a\\x00b\.png': expected a file, got none$"),
    ],
)
def test_an_input_that_cannot_be_read_is_named_once(work: Path, name: str, message: str) -> None:
    method = replace(METHOD, inputs=lambda config: {"picture": Path(name)})
    with pytest.raises(UserError, match=message):
        read_inputs(method, Config())


def test_the_command_writes_says_and_stores(work: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bundle", str(tiny_folder), "--steps", "3"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "drew drawing.png; the run is in runs/drawing/\n"
    assert "paint 3/3" in printed.err
    config = json.loads(Path("runs/drawing/config.json").read_text())
    assert config["method"] == "toy" and config["config"]["steps"] == 3 and config["format"] == "tgm-run-3"
    assert Path("drawing.png").read_bytes() == Path("runs/drawing/result/drawing.png").read_bytes()


def test_the_same_request_is_drawn_once_and_another_gets_another_folder(work: Path, tiny_folder: Path, capsys) -> None:
    words = ["--bundle", str(tiny_folder), "--steps", "3"]
    assert main(words) == 0
    first = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out == ("drawing.png is drawn already by the run in runs/drawing/; --again draws anew\n")
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if path.is_file()} == first
    assert main([*words, "--seed", "1"]) == 0  # another request: it may replace the file, which is ours, not the run
    assert main([*words, "--again", "--quiet"]) == 0
    out = capsys.readouterr()
    assert "runs/drawing-2/" in out.out and "runs/drawing-3/" in out.out
    assert {path: path.stat().st_mtime_ns for path in first} == first
    Path("drawing.png").unlink()
    assert main(words) == 0  # the run is done, its file is gone: written again
    assert Path("drawing.png").read_bytes() == Path("runs/drawing/result/drawing.png").read_bytes()


def test_a_file_that_no_run_wrote_is_kept(work: Path, tiny_folder: Path) -> None:
    words = ["--bundle", str(tiny_folder), "--steps", "2"]
    Path("drawing.png").write_bytes(b"mine")
    for more in ([], ["--out", "drawing.png"]):
        with pytest.raises(UserError, match=r"'drawing\.png' exists, and no run in 'runs' wrote it.*--force"):
            main([*words, *more])
    assert Path("drawing.png").read_bytes() == b"mine" and not Path("runs").exists()
    assert main([*words, "--force"]) == 0
    Path("drawing.png").write_bytes(Path("drawing.png").read_bytes() + b"edited")
    with pytest.raises(UserError, match="wrote it as it is now"):
        main([*words, "--again"])


def test_a_folder_of_somebody_else_is_left_alone(work: Path, tiny_folder: Path) -> None:
    Path("runs/drawing/snapshots").mkdir(parents=True)
    for name in ("config.json", "loss.jsonl", "snapshots/mine.svg"):
        Path("runs/drawing", name).write_text('{"format": 1, "version": "0.1.0"}')
    assert main(["--bundle", str(tiny_folder), "--steps", "2"]) == 0
    assert sorted(p.name for p in Path("runs/drawing").rglob("*")) == sorted(
        ["config.json", "loss.jsonl", "mine.svg", "snapshots"]
    )
    assert Path("runs/drawing-2/result.json").is_file()


def test_an_interrupted_run_is_resumed_by_the_same_request(work: Path, tiny_folder: Path, capsys, monkeypatch) -> None:
    words = ["--bundle", str(tiny_folder), "--steps", "6", "--quiet"]
    monkeypatch.setattr("runtime.loop.folder.INTERVAL_S", 0.0)
    plain, steps = torch.optim.Adam.step, []

    def step(self, *arguments):
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", step)
        assert main(words) == 128 + signal.SIGTERM
    assert "stopped after step 3 of stage 'paint'; resume with: " in capsys.readouterr().err
    assert not Path("drawing.png").exists()
    assert main(words) == 0
    assert capsys.readouterr().out == "drew drawing.png; the run is in runs/drawing/\n"
    Path("whole").mkdir()
    monkeypatch.chdir("whole")
    assert main(words) == 0
    for name in ("drawing.png", "runs/drawing/loss.jsonl", "runs/drawing/loss.svg"):
        assert Path(name).read_bytes() == Path("..", name).read_bytes()


def test_a_server_cancels_and_resumes(work: Path, tiny_folder: Path) -> None:
    stop, networks = threading.Event(), Bundle.load(tiny_folder)
    config = Config(steps=8)

    def report(event: Event) -> None:
        if isinstance(event, Stepped) and event.done == 5:
            stop.set()

    with pytest.raises(StoppedRun, match="step 5 of stage 'paint'"):
        draw(METHOD, config, networks, run=work / "job", report=report, stop=stop)
    resumed: list[int] = []
    scene = draw(METHOD, config, networks, run=work / "job", report=lambda e: resumed.append(getattr(e, "done", 0)))
    assert resumed == [6, 7, 8]
    assert torch.equal(scene.colour, draw(METHOD, config, networks).colour)
    with pytest.raises(UserError, match="holds a run of another request"):
        draw(METHOD, Config(steps=9), networks, run=work / "job")


def test_a_kill_resumes_to_the_same_bytes(work: Path, tiny_folder: Path) -> None:
    code = (
        "import runtime.loop.folder as f; f.INTERVAL_S = 0.0; import tests.command.toy as t; raise SystemExit(t.main())"
    )
    command = [sys.executable, "-c", code, "--bundle", str(tiny_folder), "--steps", "60"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for folder in ("whole", "cut"):
        (work / folder).mkdir()
    subprocess.run(command, cwd=work / "whole", env=environment, check=True, capture_output=True)
    process = subprocess.Popen(command, cwd=work / "cut", env=environment, stderr=subprocess.PIPE)
    log = work / "cut/runs/drawing/loss.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") > 20):
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (work / "cut/drawing.png").exists()
    subprocess.run(command, cwd=work / "cut", env=environment, check=True, capture_output=True)
    for name in ("drawing.png", "runs/drawing/loss.jsonl"):
        assert (work / "cut" / name).read_bytes() == (work / "whole" / name).read_bytes()


def test_errors_name_the_thing(work: Path, tiny_folder: Path) -> None:
    for words, message in (
        (["--grey", "1.5"], "--grey: expected 0 to 1, got 1.5"),
        (["--steps", "0"], "--steps: expected 1 to 1000, got 0"),
        (["--out", "a.jpg"], "--out: expected the name of a file of kind PNG, ending in .png, got 'a.jpg'"),
        (["--out", "nowhere/a.png"], "folder 'nowhere' does not exist"),
        (["--resume", "runs/none"], "no run is here"),
    ):
        with pytest.raises(UserError, match=message.replace(".", r"\.")):
            main([*words, "--bundle", str(tiny_folder)])
    assert list(work.iterdir()) == []
    with pytest.raises(UserError, match="toy: expected a bundle for latent-diffusion, got 'mnist' for lmconv"):
        draw(METHOD, Config(), Bundle.load("mnist"))
    with pytest.raises(UserError, match="got none"):
        draw(METHOD, Config())


def test_help_lists_options_and_loads_nothing(work: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
