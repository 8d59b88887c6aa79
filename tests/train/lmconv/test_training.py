"""Training learns, goes on after kill -9 as if nothing had been, and refuses a run of something else."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import train.lmconv.__main__ as command
from runtime.errors import UserError
from tests.train.lmconv.digits import write_digits
from train.lmconv.data import load_pictures
from train.lmconv.evaluate import Config as Evaluation
from train.lmconv.evaluate import tables
from train.lmconv.likelihood import joint_log_likelihoods
from train.lmconv.runs import load_run, read_run

ROOT = Path(__file__).parents[3]
TINY = {"filters": 4, "blocks": 1}
PROGRAM = """
import train.fit, train.lmconv.__main__ as command
command.PRESETS["small"] = {"filters": 4, "blocks": 1}
advance = train.fit._Run.advance
def told(run, *given):
    loss = advance(run, *given)
    print("loss of step", run.step, float(loss).hex(), flush=True)
    return loss
train.fit._Run.advance = told
command.run_main(command.main)
"""
"""The command with a tiny network that tells the loss of every step."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> command.Config:
    monkeypatch.setitem(command.PRESETS, "small", TINY)
    return command.Config(
        data="mnist",
        data_dir=write_digits(tmp_path),
        out=tmp_path / "run",
        binarized=True,
        steps=2,
        bf16=False,
        batch=4,
    )


def start(out: Path, data: Path) -> subprocess.Popen[str]:
    options = ["--data", "mnist", "--data-dir", str(data), "--binarized", "--out", str(out), "--batch", "4"]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *options, "--steps", "9", "--minutes", "0"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip


def losses(lines: str) -> dict[int, str]:
    return {int(step): loss for step, loss in re.findall(r"loss of step (\d+) (\S+)", lines)}


def test_killed_training_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    data = write_digits(tmp_path)
    whole, _ = start(tmp_path / "whole", data).communicate(timeout=300)
    process, seen = start(tmp_path / "cut", data), ""
    assert process.stdout is not None
    while 5 not in losses(seen):
        line = process.stdout.readline()
        assert line, "the training has ended"
        seen += line
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    rest, _ = start(tmp_path / "cut", data).communicate(timeout=300)
    assert len(losses(whole)) == 9
    assert min(losses(rest)) in (5, 6, 7) and max(losses(rest)) == 9  # from the checkpoint before the kill or at it
    assert {**losses(seen), **losses(rest)} == losses(whole)
    a, b = (load_file(tmp_path / name / "ema.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_lowers_the_likelihoods_loss_and_its_tables_are_printed(tiny: command.Config) -> None:
    lines: list[str] = []
    config = replace(tiny, steps=60, batch=8, lr=1e-2, bf16=True, orders="s-curve:0,s-curve:3", ema=0.9)
    command.train(config, lines.append)
    assert re.search(r"step 60/60  [\d.]+ nats  [\d.]+ bits/dim", lines[-1])
    network, run = load_run(tiny.out)
    assert (run.size, run.orders, run.binarization) == ((8, 8), config.orders, "dynamic")
    printed = list(tables(Evaluation(run=tiny.out, data_dir=tiny.data_dir, orders="1,2", batch=7)))
    found = {
        line.split(" | ")[0].strip("| "): float(line.split(" | ")[1])
        for line in printed
        if re.match(r"\|.*\d \|", line) and "/" not in line
    }
    assert found["1 order"] == found["order 0"] < 40.0  # log 2 a pixel would be 44.4
    assert found["2 orders"] <= max(found["order 0"], found["order 1"]) + 1e-9
    assert {"raster, 1 order", "raster, 8 orders", "s-curve, 6 orders", "hilbert, 8 orders"} <= found.keys()
    assert sum(line.startswith(("| adversarial", "| 1 max", "| 2 max")) for line in printed) == 3
    orders = command.parse_orders(run.orders, run.size)
    test = load_pictures("mnist", tiny.data_dir, binarization="dynamic").test
    expected = -float(joint_log_likelihoods(network, test, orders).mean(1)[1])
    assert found["order 1"] == pytest.approx(expected, abs=0.006)


def test_a_run_may_begin_with_another_ones_weights(tiny: command.Config) -> None:
    command.train(tiny, lambda _: None)
    other = replace(tiny, out=tiny.out.with_name("other"), start=tiny.out, steps=1, lr=1e-12)
    command.train(other, lambda _: None)
    a, b = (load_file(folder / "ema.safetensors") for folder in (tiny.out, other.out))
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"binarized": False}, "architecture: expected levels 256 as asked, got a checkpoint of levels 2"),
        ({"mask_conditioning": True}, "got a checkpoint of mask_conditioning False"),
        ({"orders": "hilbert"}, "orders: expected hilbert as asked, got a checkpoint of s-curve:8"),
        ({"binarization": "static"}, "binarization: expected static as asked"),
        ({"preset": "thesis-46m"}, "expected filters 160, blocks 5 as asked, got a checkpoint of filters 4, blocks 1"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tiny: command.Config, change: dict, message: str) -> None:
    command.write_run(tiny.out, command.run_of(tiny, load_pictures("mnist", tiny.data_dir, binarization="dynamic")))
    with pytest.raises(UserError, match=message):
        command.train(replace(tiny, **change), lambda _: None)


def test_weights_of_another_architecture_are_refused(tiny: command.Config) -> None:
    command.train(tiny, lambda _: None)
    weights = load_file(tiny.out / "ema.safetensors")
    save_file({**weights, "head.weight": torch.zeros(30, 4)}, tiny.out / "ema.safetensors")
    with pytest.raises(UserError, match=r"expected head.weight of shape \(2, 4\), got \(30, 4\)"):
        load_run(tiny.out)
    (tiny.out / "ema.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="cannot be read"):
        load_run(tiny.out)
    (tiny.out / "ema.safetensors").unlink()
    with pytest.raises(UserError, match="wait for the first checkpoint"):
        load_run(tiny.out)


def test_folders_and_choices_that_are_none(tiny: command.Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config.json is here"):
        load_run(tmp_path)
    with pytest.raises(UserError, match="--batch and --steps: expected at least 1, got 4 and 0"):
        command.train(replace(tiny, steps=0), lambda _: None)
    with pytest.raises(UserError, match="is here"):
        command.train(replace(tiny, start=tmp_path / "none"), lambda _: None)
    assert not tiny.out.exists()
    with pytest.raises(UserError, match="expected numbers from 1 to 8"):
        command.train(tiny, lambda _: None)
        list(tables(Evaluation(run=tiny.out, data_dir=tiny.data_dir, orders="9")))
    with pytest.raises(UserError, match="--tables 'all'"):
        list(tables(Evaluation(run=tiny.out, data_dir=tiny.data_dir, tables="all")))
    values = json.loads((tiny.out / "config.json").read_text())
    (tiny.out / "config.json").write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(UserError, match="not one of this version"):
        read_run(tiny.out)
