"""Run folders that somebody has edited: each resumes to the same bytes or is refused in words."""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from runtime.command.method import draw
from runtime.command.run import main_of
from runtime.errors import UserError
from runtime.field.fields.grid import DenseGrid
from runtime.loop.folder import Checkpoint
from runtime.loop.optimize import _moments  # pyright: ignore[reportPrivateUsage]
from runtime.loop.signals import StoppedRun
from tests.serving import toy

main = main_of(toy.METHOD)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Return a run that was stopped on its way, and the files that it ends in."""
    work = tmp_path_factory.mktemp("cut")
    picture = work / "photo.png"
    picture.write_bytes(b"12345")
    config = toy.Config(text="x", steps=9, seed=3, picture=picture, out=work / "toy.svg")
    stop = threading.Event()

    def report(event: object) -> None:
        if getattr(event, "done", 0) == 4:
            stop.set()

    with pytest.raises(StoppedRun):
        draw(toy.METHOD, config, run=work / "run", report=report, stop=stop)
    shutil.copytree(work / "run", work / "whole")
    assert main(["--resume", str(work / "whole"), "--out", str(work / "whole.svg")]) == 0
    return work / "run", results(work / "whole")


def results(run: Path) -> dict[str, bytes]:
    return {file.suffix: file.read_bytes() for file in (run / "result").iterdir()}


def note_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "checkpoint.json").read_text())


def with_note(**changes: Any) -> Callable[[Path], object]:
    """Return an edit of checkpoint.json; a value of None takes the field out."""

    def edit(run: Path) -> None:
        values = {name: value for name, value in {**note_of(run), **changes}.items() if value is not None}
        (run / "checkpoint.json").write_text(json.dumps(values))

    return edit


def with_config(**changes: Any) -> Callable[[Path], object]:
    def edit(run: Path) -> None:
        document = json.loads((run / "config.json").read_text())
        document["config"] |= {name: value for name, value in changes.items() if name in document["config"]}
        document |= {name: value for name, value in changes.items() if name not in document["config"]}
        (run / "config.json").write_text(json.dumps(document))

    return edit


def with_tensors(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], object]:
    """Return an edit of the checkpoint's tensors that also writes their hash anew, as an attacker would."""

    def edit(run: Path) -> None:
        file = run / note_of(run)["file"]
        tensors = load(file.read_bytes())
        change(tensors)
        file.write_bytes(save(tensors))
        with_note(sha256=hashlib.sha256(file.read_bytes()).hexdigest())(run)

    return edit


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def sparse(name: str) -> Callable[[Path], object]:
    """Return an edit that makes a file of the run a tebibyte long, which takes no room; "" is the checkpoint."""

    def edit(run: Path) -> None:
        with (run / (name or note_of(run)["file"])).open("ab") as file:
            file.truncate(1 << 40)

    return edit


HEIGHTS = "scene/heights"

REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a step beyond the end": (with_note(step=10_000), "expected one within the 1 stages"),
    "a stage that there is not": (with_note(stage=1), "expected one within the 1 stages"),
    "a huge stage": (with_note(stage=2**70), "expected one within the 1 stages"),
    "a step of text": (with_note(step="4"), "cannot be read"),
    "no step": (with_note(step=None), "cannot be read"),
    "a flag for a step": (with_note(step=True), "cannot be read"),
    "another file": (with_note(file="checkpoint-000-000009.safetensors"), "cannot be read"),
    "a path": (with_note(file="../run/checkpoint-000-000004.safetensors"), "cannot be read"),
    "a null byte": (with_note(file="checkpoint-000-000004.safetensors\0"), "cannot be read"),
    "another hash": (with_note(sha256="0" * 64), "is not what was written"),
    "numbers of text": (with_note(numbers="x"), "cannot be read"),
    "a note that is none": (text("checkpoint.json", "{"), "cannot be read"),
    "a nested note": (text("checkpoint.json", "[" * 100_000), "cannot be read"),
    "a list for a note": (text("checkpoint.json", "[]"), "cannot be read"),
    "bytes for a note": (text("checkpoint.json", b"\xff\xfe"), "cannot be read"),
    "a checkpoint cut short": (lambda run: (run / note_of(run)["file"]).write_bytes(b"123"), "is not what was written"),
    "no checkpoint": (lambda run: (run / note_of(run)["file"]).unlink(), "cannot be read"),
    "a checkpoint that is a folder": (
        lambda run: ((run / note_of(run)["file"]).unlink(), (run / note_of(run)["file"]).mkdir()),
        "cannot be read",
    ),
    "a tensor too few": (with_tensors(lambda t: t.pop(HEIGHTS)), "make no scene"),
    "a tensor too many": (with_tensors(lambda t: t.update({"scene/other": torch.zeros(2)})), "make no scene"),
    "a tensor that is no number": (with_tensors(lambda t: t[HEIGHTS].fill_(float("nan"))), "are no scene's"),
    "another seed": (with_config(seed=4), "config.json' is not the one"),
    "other steps": (with_config(steps=5), "config.json' is not the one"),
    "another text": (with_config(text="y"), "config.json' is not the one"),
    "a seed of text": (with_config(seed="4"), "'seed': expected"),
    "an option that there is not": (with_config(config={"a": 1}), "expected the options"),
    "a count out of range": (with_config(count=10**9), "--count"),
    "another method": (with_config(method="lmconv"), "another command"),
    "another version": (with_config(version="0.0.0"), "the run is of tgm"),
    "another format": (with_config(format="tgm-run-1"), "the run is of tgm"),
    "no digests of inputs": (with_config(inputs_sha256=None), "inputs_sha256"),
    "an input outside": (with_config(inputs_sha256={"../../x": "0"}), "is not what the run began with"),
    "a config that is none": (text("config.json", "nothing"), "config.json is not a run's"),
    "a nested config": (text("config.json", "[" * 100_000), "config.json is not a run's"),
    "no config": (lambda run: (run / "config.json").unlink(), "no run is here"),
    "a changed input": (text("inputs/picture/photo.png", "54321"), "is not what the run began with"),
    "a tebibyte of config": (sparse("config.json"), "expected at most"),
    "a tebibyte of note": (sparse("checkpoint.json"), "cannot be read"),
    "a tebibyte of checkpoint": (sparse(""), "cannot be read"),
    "a tebibyte of losses": (sparse("loss.jsonl"), "cannot be read"),
    "a tebibyte of input": (sparse("inputs/picture/photo.png"), "is not what the run began with"),
    "a lost input": (lambda run: (run / "inputs/picture/photo.png").unlink(), "is not what the run began with"),
}

HARMLESS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda run: None,
    "no losses": lambda run: (run / "loss.jsonl").unlink(missing_ok=True),
    "losses that are none": text(
        "loss.jsonl", '{"stage": 0}\n[]\nnull\n{"stage": "a", "step": {}, "loss": 1, "name": 1}\n'
    ),
    "losses of bytes": text("loss.jsonl", b"\xff\x00\n" * 50),
    "a result that is none": text("result.json", '{"files": [1]}'),
    "a result of nothing": text("result.json", "{"),
    "a stranger's file": text("notes.txt", "mine"),
    "an old checkpoint beside it": text("checkpoint-000-000001.safetensors", b"old"),
    "no snapshots": lambda run: shutil.rmtree(run / "snapshots"),
}


def copy_of(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def contents_of(run: Path) -> dict[Path, tuple[int, bytes]]:
    """Return size and beginning of each file: some are a tebibyte long."""

    def beginning(file: Path) -> bytes:
        with file.open("rb") as stream:
            return stream.read(1 << 20)

    files = [file for file in run.rglob("*") if file.is_file() and file.name != ".lock"]
    return {file: (file.stat().st_size, beginning(file)) for file in files}


@pytest.mark.parametrize("name", REFUSED)
def test_an_edited_run_is_refused_in_words(name: str, cut: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    run = copy_of(cut[0], tmp_path)
    edit, message = REFUSED[name]
    edit(run)
    before = contents_of(run)
    with pytest.raises(UserError, match=message):
        main(["--resume", str(run), "--out", str(tmp_path / "out.svg"), "--quiet"])
    # What is refused stays, so that it can be put right.
    after = contents_of(run)
    assert [file for file, content in before.items() if after[file] != content and file.name != "loss.jsonl"] == []
    assert not (tmp_path / "out.svg").exists()


@pytest.mark.parametrize("name", HARMLESS)
def test_other_edits_change_nothing(name: str, cut: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    run = copy_of(cut[0], tmp_path)
    HARMLESS[name](run)
    assert main(["--resume", str(run), "--out", str(tmp_path / "out.svg"), "--quiet"]) == 0
    assert results(run) == cut[1]


@pytest.mark.parametrize(
    ("tensors", "numbers"),
    [
        ({"optimizer/0/exp_avg": torch.zeros(4)}, {}),
        ({"optimizer/0/exp_avg": torch.full((3,), float("nan"))}, {}),
        ({"optimizer/1/exp_avg": torch.zeros(3)}, {}),
        ({"optimizer/x/exp_avg": torch.zeros(3)}, {}),
        ({"optimizer/0": torch.zeros(3)}, {}),
        ({}, {"optimizer/0/step": "4"}),
        ({}, {"optimizer/0/step": [4]}),
        ({}, {"optimizer/-1/step": 4}),
    ],
)
def test_moments_that_fit_no_parameter_are_refused(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))])
    with pytest.raises(UserError, match="optimizer/"):
        _moments(Checkpoint(0, 1, tensors, numbers), optimizer)
    sound = Checkpoint(0, 1, {"optimizer/0/exp_avg": torch.ones(3), "optimizer/0/step": torch.tensor(1.0)}, {})
    assert set(_moments(sound, optimizer)[0]) == {"exp_avg", "step"}


GRID = {"values": torch.zeros(9, 9, 9, 1, 4), "occupied": torch.ones(4, 4, 4, dtype=torch.uint8)}


@pytest.mark.parametrize(
    "change",
    [
        {"values": torch.zeros(9, 9, 8, 1, 4)},
        {"values": torch.zeros(9, 9, 9, 2, 4)},
        {"values": torch.zeros(9, 9, 9, 1, 4, dtype=torch.float64)},
        {"values": torch.zeros(8, 8, 8, 1, 4)},
        {"occupied": torch.ones(3, 3, 3, dtype=torch.uint8)},
        {"occupied": torch.ones(4, 4, 2, dtype=torch.uint8)},
        {"occupied": torch.ones(0, 0, 0, dtype=torch.uint8)},
        {"box": torch.tensor([0.0, 0, 0, 0])},
        {"box": torch.tensor([0.0, float("nan"), 0, 1])},
    ],
)
def test_kernels_get_no_grid_whose_parts_do_not_fit(change: dict[str, Tensor]) -> None:
    # jaxtyping refuses some of these before the grid's own check, which is all that users have.
    with pytest.raises((UserError, TypeError)):
        DenseGrid.from_state({**GRID, "box": torch.tensor([-1.0, -1, -1, 2]), **change})
