"""Which weights of a run are kept, and that the command keeps them."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from tests.train.latent_diffusion.made import write_prepared
from train.latent_diffusion import keep, prepared
from train.latent_diffusion.camera_weights import load_weights, make_denoiser
from train.latent_diffusion.held_out import measure


def test_better_is_a_lower_loss_with_cameras_and_icons_within_a_twentieth() -> None:
    before = {"right": 0.2, "icons": 0.1}
    assert keep.is_better({"right": 0.19, "icons": 0.105}, before)
    assert not keep.is_better({"right": 0.19, "icons": 0.1051}, before)
    assert not keep.is_better({"right": 0.2, "icons": 0.1}, before)


def write_run(folder: Path) -> Path:
    """Write a run folder with the weights of an untrained denoiser."""
    torch.manual_seed(0)
    network = make_denoiser(DiffusionBundle.load("icons", threads=1))
    weights = {name: weight.detach() for name, weight in network.named_parameters() if weight.requires_grad}
    folder.mkdir()
    save_file(weights, folder / "ema.safetensors")
    (folder / "checkpoint.json").write_text(json.dumps({"step": 10}))
    (folder / "run.json").write_text(json.dumps({"images_a_step": 48, "images_before": 1000}))
    return folder


def test_images_are_those_of_the_run_and_of_its_start(tmp_path: Path) -> None:
    assert keep.images_seen(write_run(tmp_path / "run")) == 1480
    with pytest.raises(UserError, match="expected the run folder of a teacher"):
        keep.images_seen(tmp_path)


@pytest.mark.parametrize("better", [True, False])
def test_the_command_keeps_what_is_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: bool) -> None:
    run, (objects, icons), out = write_run(tmp_path / "run"), write_prepared(tmp_path), tmp_path / "kept"
    monkeypatch.setattr(prepared, "hold_out", lambda objects: torch.arange(len(objects)) == 0)
    monkeypatch.setattr(keep, "is_better", lambda after, before: better)
    monkeypatch.setattr(keep, "measure", partial(measure, batch=2))
    arguments = [f"--{k}={v}" for k, v in {"run": run, "objects": objects, "icons": icons, "out": out}.items()]
    monkeypatch.setattr(sys, "argv", ["keep", *arguments, "--batches=1"])
    if not better:
        with pytest.raises(SystemExit):
            keep.main()
        assert not out.exists()
        return
    keep.main()
    bundle = DiffusionBundle.load("icons", threads=1)
    facts = load_weights(out, make_denoiser(bundle), bundle)
    assert facts["images"] == 1480
    assert facts["held_out"]["right"] == pytest.approx(facts["held_out_of_the_start"]["right"], rel=1e-2)
