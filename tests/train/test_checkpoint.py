"""Checkpoints of training are believed as they were written, and refused in words otherwise."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime.errors import UserError
from runtime.locking import lock_folder
from runtime.loop.signals import InterruptedRun
from tests.train.test_fit import config, line, network
from train.checkpoint import MARK, NAME, forget_after, read_checkpoint, write_checkpoint
from train.fit import fit

STATE = {"b": torch.arange(3.0), "a": torch.ones(2, 2, dtype=torch.bfloat16), "n": torch.tensor(7)}


def test_it_comes_back(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path, STATE) is None
    write_checkpoint(tmp_path, STATE, 12)
    step, state = read_checkpoint(tmp_path, STATE) or (0, {})
    assert step == 12 and state.keys() == STATE.keys()
    assert all(torch.equal(state[name], value) for name, value in STATE.items())


def damages(file: Path) -> dict[str, bytes]:
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    return {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"{}", "flipped": bytes(flipped)}


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
def test_a_damaged_one_is_refused_and_stays(tmp_path: Path, damage: str) -> None:
    write_checkpoint(tmp_path, STATE, 12)
    content = damages(tmp_path / NAME)[damage]
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint '.*' ?(: expected one of this program|is not what was written)"):
        read_checkpoint(tmp_path, STATE)
    assert (tmp_path / NAME).read_bytes() == content


def test_that_of_another_network_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, STATE, 12)
    for changed, message in (
        ({**STATE, "b": torch.zeros(1)}, r"b: expected \(1,\), got \(3,\)"),  # would be broadcast
        ({**STATE, "c": torch.zeros(1)}, r"c: expected \(1,\), got none"),
        ({"b": STATE["b"]}, r"a: expected none, got \(2, 2\)"),
    ):
        with pytest.raises(UserError, match=message):
            read_checkpoint(tmp_path, changed)


def test_one_without_a_step_is_refused_and_one_without_a_digest_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / NAME, {"step": "x"})
    with pytest.raises(UserError, match="expected one of this program"):
        read_checkpoint(tmp_path, STATE)
    save_file(STATE, tmp_path / NAME, {"step": "3"})  # as earlier versions wrote it
    assert (read_checkpoint(tmp_path, STATE) or (0,))[0] == 3


def test_a_log_has_no_step_twice(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 5, "loss": 1.0}\n{"step": 9, "loss": 0.5}\n{"step": 1')
    forget_after(log, 5)
    assert [json.loads(entry) for entry in log.read_text().splitlines()] == [{"step": 5, "loss": 1.0}]


def test_one_process_trains_in_a_folder(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path, "run", "wait")
    with pytest.raises(UserError, match=r"run '.*' is in use by another process: wait, or choose another --out"):
        fit(network(), line, config(tmp_path, 3), lambda _: None)
    lock.release()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_step_and_training_is_resumed_to_the_same_bits(tmp_path: Path, number: int) -> None:
    whole = network()
    fit(whole, line, config(tmp_path / "whole", 9), lambda _: None)
    steps, lines = 0, []

    def signalled(net: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 4:
            os.kill(os.getpid(), number)
        return line(net, generator)

    before = signal.getsignal(number)
    with pytest.raises(InterruptedRun, match="stopped after step 4 of stage 'training'") as stopped:
        fit(network(), signalled, config(tmp_path / "cut", 9), lines.append)
    assert stopped.value.signal_number == number and signal.getsignal(number) is before
    assert lines == ["the same command resumes the training"]
    assert json.loads((tmp_path / "cut" / "checkpoint.json").read_text()) == {"step": 4}
    fit(network(), line, config(tmp_path / "cut", 9), lambda _: None)
    one, two = (load_file(tmp_path / name / NAME) for name in ("whole", "cut"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize("beside", ["README", "config.json", ".lock"])  # the latter two, others write as well
@pytest.mark.parametrize("name", ["ema.safetensors", "log.jsonl", "checkpoint.json", "samples-1.png", MARK, NAME])
def test_files_that_no_training_has_written_are_not_replaced(tmp_path: Path, name: str, beside: str) -> None:
    for file in (name, beside):
        (tmp_path / file).write_text("{}")
    with pytest.raises(UserError, match=f"{name}' exists, and no run of training is in its folder"):
        fit(network(), line, config(tmp_path, 3), lambda _: None)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "{}", beside: "{}"}


def test_a_run_that_an_earlier_version_began_is_resumed(tmp_path: Path) -> None:
    fit(network(), line, config(tmp_path, 3), lambda _: None)
    (tmp_path / MARK).unlink()
    fit(network(), line, config(tmp_path, 5), lambda _: None)
    assert json.loads((tmp_path / "checkpoint.json").read_text()) == {"step": 5} and (tmp_path / MARK).is_file()
